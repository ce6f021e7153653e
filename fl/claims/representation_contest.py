"""Claims of the chapter on representation learning that compare tuned optimizers.

All run from the same starts on the same batches, so their final distances are compared
seed by seed, in logarithms.
"""

from dataclasses import replace

import numpy as np

from fl import judging
from fl.evidence import claim
from fl.studies import representation_contest as study


def _behind(data, *optimizers: str):
    # the paired logarithm (optimizer, seed) of the final distances of ``optimizers``
    # over that of K-FAC
    last = data.distance.isel(condition=0, progress=-1)
    last = np.log(last)
    theirs = last.sel(optimizer=list(optimizers))
    return theirs - last.sel(optimizer="KFAC")


@claim(
    "representation.head_to_head",
    statement="On the moderate problem (κ(S) = 30, κ(F*) = 3, 100 steps) tuned K-FAC "
    "ends nearer than each of SGD, Adam and Muon, and at less than a quarter of SGD's "
    "distance, in geometric mean",
    source="observed",
    uses=("thm-representation-kfac", "thm-representation-bound"),
    control="the isotropic problem, SGD alone",
)
def head_to_head(scale, broken, block):
    """The logarithms of the ratios, of SGD's over 4.

    On the isotropic problem the factors of K-FAC say nothing, and estimating the right one
    multiplies the variance of a step by n/(n - dX - 1) (`representation.variance`): SGD
    ends nearer by the root of that, give or take as much for the left factor and for what
    the two were tuned to.
    """
    condition = "isotropic" if broken else "moderate"
    data = study.compact_contest(scale, block, condition)
    sizes = data.attrs | {"condition": condition}
    others = ["SGD"] if broken else ["SGD", "Adam", "Muon"]
    leads = _behind(data, *others)
    leads = leads - np.log(4) * (leads.optimizer == "SGD")
    if not broken:
        return judging.order(leads, sizes)
    n = data.attrs["n"]
    free = n - data.attrs["dX"] - 1
    dearer = np.log(n / free) / 2
    found = judging.order(leads, sizes, -np.log(4) - dearer)
    allowed = found.sizes["worst cell"]["allowed"]
    return replace(found, within=found.within + dearer / allowed)


@claim(
    "representation.isotropic_tie",
    statement="On the isotropic problem with a well-conditioned head tuned SGD ends "
    "within 1.5 times K-FAC's distance, in geometric mean",
    source="observed",
    uses=("thm-representation-bound",),
    control="the moderate problem",
)
def isotropic_tie(scale, broken, block):
    """Compare SGD and K-FAC seed by seed.

    The control states the side alone: SGD's way from a far start has no closed form; that
    it is a factor of 4 behind at least is `head_to_head`.
    """
    condition = "moderate" if broken else "isotropic"
    data = study.compact_contest(scale, block, condition)
    spare = np.log(1.5) - _behind(data, "SGD")
    return judging.order(spare, data.attrs | {"condition": condition})


@claim(
    "representation.equal_operations",
    statement="With as many operations in place of as many steps K-FAC's lead is gone: on "
    "the moderate problem tuned Adam, with the 467 steps that the operations of 100 steps "
    "of K-FAC buy, ends at less than twice K-FAC's distance, in geometric mean",
    source="observed",
    uses=("representation.head_to_head",),
    control="as many steps",
)
def equal_operations(scale, broken, block):
    """Compare Adam and K-FAC seed by seed. The control states the side alone: how fast Adam
    descends here is measured, not derived.
    """
    run = study.compact_contest if broken else study.equal_operations
    data = run(scale, block)
    spare = np.log(2) - _behind(data, "Adam")
    return judging.order(spare, data.attrs)
