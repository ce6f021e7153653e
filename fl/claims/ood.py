"""Claims of the chapter on out-of-distribution accuracy, first part: what is measured
([YN25] Fig. 2).

D is the accuracy against the digit, N that against the pattern; both belong to the same
trained network. All optimizers of a seed share data and initial weights, so gaps are
taken seed by seed.
"""

import numpy as np
import xarray as xr
from scipy.stats import spearmanr

from fl import datasets
from fl.evidence import Evidence, claim
from fl.numerics import standard_error
from fl.simulate import ood
from fl.sweep import sweep

SEEDS = {"smoke": 1, "book": 3, "paper": 10}
PAIRED = {"smoke": 3, "book": 5, "paper": 10}  # seeds where a standard error decides
CONTROL = {
    "smoke": 1,
    "book": 1,
    "paper": 10,
}  # seeds of a control: one that breaks an order is enough
TEST = {"digits": 597, "mnist": 7600}  # test images
EXACT = ["exact -1", "exact -0.5", "GD", "exact +0.5", "exact +1"]  # in the order of p
POWERS = ["power-AdaHessian -1", "power-AdaHessian +0", "power-AdaHessian +1"]
TRIO = ["GD", "Adam", "K-FAC 1e-6"]
QUICK = [*EXACT, "Adam", "K-FAC 1e-6", "momentum", "Sophia-H", "L-BFGS"]
ORDER = "an order needs no tolerance: the mean over seeds has the claimed sign in every step"


def sets(scale: str) -> list[str]:
    """Return the data sets of a scale: the digits, and MNIST at scale ``paper`` where
    it is present.
    """
    return (
        ["digits", "mnist"]
        if scale == "paper" and datasets.mnist_folder()
        else ["digits"]
    )


def methods(scale: str) -> list[str]:
    """Return the compact set of optimizers: ten at scale ``smoke``, more for a chapter,
    all at scale ``paper``.
    """
    more = ["SAM", *POWERS]
    return {"smoke": QUICK, "book": QUICK + more, "paper": list(ood.METHODS)}[scale]


def runs(
    scale: str, names: list[str], seeds: int | None = None, **setting
) -> xr.Dataset:
    """Return the fresh runs of some methods; ``setting`` as in `fl.simulate.ood.draw`,
    for the digits alone.
    """
    seeds = range(SEEDS[scale] if seeds is None else seeds)
    if setting:
        return sweep(ood.run, {"optimizer": names}, seeds, **setting).expand_dims(
            data=["digits"]
        )
    return sweep(ood.run, {"data": sets(scale), "optimizer": names}, seeds)


def without_cue(scale: str, names: list[str], seeds: int | None = None) -> xr.Dataset:
    """Return the runs of a control, whose training images carry the pattern of a random
    class.
    """
    return runs(scale, names, CONTROL[scale] if seeds is None else seeds, cue="none")


def sampling_error(data: str = "digits", seeds: int = 1) -> float:
    """Return the standard error of an accuracy on the test images, at its largest
    (accuracy 1/2).
    """
    return 0.5 / np.sqrt(TEST[data] * seeds)


def sizes(data: xr.Dataset, **more) -> dict:
    """Return what the evidence of some runs rests on."""
    found = {
        "data": data["data"].values.tolist(),
        "seeds": data["seed"].values.tolist(),
    }
    return (
        found | {"methods": data["optimizer"].values.tolist(), "h": ood.HIDDEN} | more
    )


def gaps(data: xr.Dataset, names: list[str]) -> list[xr.DataArray]:
    """Return, seed by seed, by how much each method reads the digit more than the next,
    and the pattern less.
    """
    D, N = (
        [data[k].sel({"optimizer": name}, drop=True) for name in names]
        for k in ("digit", "noise")
    )
    return [D[i] - D[i + 1] for i in range(len(names) - 1)] + [
        N[i + 1] - N[i] for i in range(len(names) - 1)
    ]


@claim(
    "ood.reversal",
    statement="The ranking of the optimizers by the accuracy against the pattern is the reverse of that against the "
    "digit, up to neighbours",
    source="paper YN25 Fig. 2",
    control="training patterns that say nothing about the class",
)
def reversal(scale, broken, block=0):
    """Spearman's rank correlation of D and N over the optimizers, the largest among the
    data sets.

    If all ranks shift by the share delta of the range, 1 + rho is 6 delta^2 for many
    optimizers evenly spread.
    """
    data = without_cue(scale, QUICK) if broken else runs(scale, methods(scale))
    mean = data.mean("seed")
    worst = max(
        spearmanr(D, N).statistic
        for D, N in zip(mean["digit"].values, mean["noise"].values, strict=True)
    )
    tolerance = 6 * (0.1**2 + 2 * sampling_error(seeds=SEEDS[scale]) ** 2)
    reason = "ranks shift by the 0.1 that D + N = 1 + 0.1 D - 0.9 nu leaves open, and by the sampling error"
    return Evidence(-1, worst, tolerance, reason, None, "at most", sizes(data))


def _smallest(data: xr.Dataset, names: list[str]) -> float:
    """Return the smallest mean gap between adjacent methods, given in the order of
    rising D, over all data sets.
    """
    return min(float(gap.mean("seed").min()) for gap in gaps(data, names[::-1]))


@claim(
    "ood.exact_power",
    statement="With the metric Sigma^p, D rises and N falls at each step of p = -1, -1/2, 0, 1/2, 1, and D is 0 at -1",
    source="paper YN25 Fig. 2",
    control="training patterns that say nothing about the class",
)
def exact_power(scale, broken, block=0):
    """The smallest step in the claimed direction, or by how much D(-1) stays below two
    sampling errors.
    """
    data = without_cue(scale, EXACT) if broken else runs(scale, EXACT)
    low = (
        2 * sampling_error()
        - data["digit"].sel({"optimizer": "exact -1"}).mean("seed").max()
    )
    return Evidence(
        0,
        min(_smallest(data, EXACT), float(low)),
        0,
        ORDER,
        None,
        "at least",
        sizes(data),
    )


@claim(
    "ood.power_sweep",
    statement="With powers of AdaHessian's diagonal, D, the exponent of the updates and 1 - N rise from -1 to 0 to 1",
    source="paper YN25 Fig. 2",
    control="training patterns that say nothing about the class",
)
def power_sweep(scale, broken, block=0):
    """The smallest step of the three in the claimed direction."""
    data = without_cue(scale, POWERS) if broken else runs(scale, POWERS)
    exponents = data["p_gain"].sel({"optimizer": POWERS}).mean("seed").diff("optimizer")
    smallest = min(_smallest(data, POWERS), float(exponents.min()))
    return Evidence(0, smallest, 0, ORDER, None, "at least", sizes(data))


@claim(
    "ood.id_near_ceiling",
    statement="In distribution every optimizer is right about 0.95 of the validation images or more",
    source="paper YN25 Fig. 2",
    control="inputs that are not centred, at p = -1",
)
def id_near_ceiling(scale, broken, block=0):
    """The lowest validation accuracy among the optimizers; the control needs the one
    whose training it breaks.
    """
    data = (
        runs(scale, ["exact -1"], CONTROL[scale], centred=False)
        if broken
        else runs(scale, methods(scale))
    )
    tolerance = 2 * np.sqrt(0.95 * 0.05 / ood.PROTOCOLS["digits"].validation)
    reason = "two sampling errors on the 600 validation images"
    return Evidence(
        0.95,
        float(data["id"].mean("seed").min()),
        tolerance,
        reason,
        None,
        "at least",
        sizes(data),
    )


@claim(
    "ood.gd_adam_kfac",
    statement="GD reads the digit more than Adam, and Adam more than K-FAC (damping 1e-6); for the pattern the reverse",
    source="paper YN25 Fig. 2",
    control="training patterns that say nothing about the class",
)
def gd_adam_kfac(scale, broken, block=0):
    """The smallest of the four gaps, each less two paired standard errors."""
    data = (
        without_cue(scale, TRIO, max(3, CONTROL[scale]))
        if broken
        else runs(scale, TRIO, PAIRED[scale])
    )
    low, spread = min(
        (
            float((gap.mean("seed") - 2 * standard_error(gap)).min()),
            float(standard_error(gap).max()),
        )
        for gap in gaps(data, TRIO)
    )
    reason = "the mean over seeds less two paired standard errors; what is left must be positive"
    return Evidence(0, low, 0, reason, spread, "at least", sizes(data))


@claim(
    "ood.cue_conflict",
    statement="The two accuracies add up to about 1 for every optimizer: a prediction follows one cue or the other",
    source="derived",
    control="a digit test whose patterns agree with the digits",
)
def cue_conflict(scale, broken, block=0):
    """The largest distance of D + N from 1 among all runs; the control puts the
    congruent test in the place of D.
    """
    data = runs(scale, methods(scale))
    gap = abs(data["congruent" if broken else "digit"] + data["noise"] - 1)
    # D is a mean over ten pairs of cues, N over ninety: each pair is read with a rate
    # of deviation 1/2 at most
    reason = "two standard deviations of a mean over the ten pairs of cues of the digit test, 1/2 each at most"
    return Evidence(
        0,
        float(gap.max()),
        2 * 0.5 / np.sqrt(ood.CLASSES),
        reason,
        None,
        "at most",
        sizes(data),
    )
