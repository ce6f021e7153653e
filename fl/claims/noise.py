"""Claims of the chapter on label noise, after [YN25] Figs 1, 4 and 5.

Errors are noise-free ones at the best epoch unless said otherwise. Two of them are
compared by the log of their ratio on the same data; an order holds if every mean
log-ratio is significantly positive, an equivalence if both ends of its margin are.
"""

import numpy as np
import xarray as xr

from fl.evidence import Evidence, claim
from fl.judging import agreement, order
from fl.studies import noise as study
from fl.theory.alignment_ridge import linear_part
from fl.theory.noise import flow_risk, least_share

FACTOR = np.log(2)  # the margin of "about as large"
QUARTER = np.log(4 / 3)  # of an error: more than chance leaves to shuffled labels


def _best(run: xr.Dataset) -> xr.DataArray:
    best = study.at_best(run)
    return best["clean"]


def _within(gaps: xr.DataArray, sizes: dict, *rival) -> Evidence:
    """Hold that the mean of ``gaps`` lies between -FACTOR and FACTOR, by two one-sided
    tests in every cell; ``rival`` and its margin are those of `order`.
    """
    sides = xr.IndexVariable("side", ["above", "below"])
    above = FACTOR - gaps
    below = FACTOR + gaps
    leads = xr.concat([above, below], sides)
    sizes = sizes | {"margin": FACTOR}
    return order(leads, sizes, *rival)


def _falling(case: str, scale, broken, block) -> Evidence:
    run, rival = study.main(scale, block), None
    if broken:
        run = study.variants(scale, block, permuted=True)
        rival = -QUARTER
    errors = _best(run.sel(case=[case]))
    leads = study.log_gaps(errors) - QUARTER
    return order(leads, run.attrs, rival, QUARTER / 10)


SHUFFLED = "shuffled training labels, from which nothing can be learned"
TRACE = (
    "an order against none lies one quantile off, less the trace of an order that the "
    "oracle's stopping leaves to the control"
)


@claim(
    "noise.high",
    statement="Case High, stopped at the best epoch: the noise-free error falls by a "
    "quarter or more from p = -2 to -1, and again from -1 to 0, at each SNR",
    source="observed",
    uses=("thm-noise-fig1", "thm-alignment-early"),
    control=SHUFFLED,
)
def high(scale, broken, block):
    """Teacher on the direction of large variance."""
    return _falling("high", scale, broken, block)


@claim(
    "noise.low",
    statement="Case Low, stopped at the best epoch: the noise-free error rises by a "
    "third or more from p = -2 to -1, and again from -1 to 0, at each SNR",
    source="observed",
    uses=("thm-noise-fig1", "thm-alignment-early"),
    control=SHUFFLED,
)
def low(scale, broken, block):
    """Teacher on the direction of small variance."""
    return _falling("low", scale, broken, block)


@claim(
    "noise.network_sizes",
    statement="SNR 1, p = -1: from 200 rows to 20 the best noise-free error of the "
    "network grows as that of the best linear student does, give or take a quarter",
    source="observed",
    uses=("thm-noise-linear",),
    control="the exponent that points away from the teacher",
)
def network_sizes(scale, broken, block):
    """Some sixfold; the linear student is the closed form. Pointing away, the network
    learns nothing from either number of rows.
    """
    full = study.main(scale, block)
    full = full.sel(snr=[1.0])
    few = study.variants(scale, block, n=study.FEW)
    exponents = study.AWAY if broken else dict.fromkeys(study.CASES, -1.0)
    growth = np.log(_best(few) / _best(full))
    cases = xr.IndexVariable("case", list(exponents))
    measured, sizes = [], []
    for case, p in exponents.items():
        here = growth.sel(case=case, p=p, drop=True)
        measured.append(here)
        sizes.append(_growth(case, p))
    predicted = xr.DataArray(sizes, {"case": cases})
    measured = xr.concat(measured, cases)
    gaps = measured - predicted
    reason = "ten inputs, and a link that is not linear"
    return agreement(gaps, np.log(1.25), reason, few.attrs, -predicted)


def _growth(case: str, p: float) -> float:
    """Return the log of the linear student's best error with `FEW` rows over that with
    200.
    """
    task = study.task(case, 1.0)
    few = least_share(task, p, study.FEW)
    full = least_share(task, p, study.ALL)
    return float(np.log(few / full))


@claim(
    "noise.adahessian",
    statement="Powers of AdaHessian's diagonal, inputs on the axes, SNR 1: the best "
    "noise-free error at p = -2 is larger than at p = 1 in case High, smaller in case "
    "Low",
    source="observed",
    uses=("thm-noise-fig1",),
    control="randomly rotated inputs",
    blunt=TRACE,
)
def adahessian(scale, broken, block):
    """One log-ratio a case, p = 1 over p = -2 and nothing between; rotated, the
    diagonal has no spectrum to show, and the worst case has no order.
    """
    run = study.adahessian(scale, block, rotated=broken)
    gaps = study.log_gaps(_best(run), upto=1)
    return order(gaps, run.attrs, 0.0)


@claim(
    "noise.fair_comparison",
    statement="Case High, SNR 1: at the best epoch the noise-free errors of p = 0 and p "
    "= 1 are equal within a factor of two",
    source="observed",
    uses=("thm-noise-fig1",),
    control="the last step",
)
def fair_comparison(scale, broken, block):
    """What the last step shows between them is how fast they overfit.

    The network overfits more slowly than the linear student, by an amount that depends on
    its width: its gap is expected between the factor and the largest gap that the closed
    form of the student has on the way.
    """
    run = study.longer(scale, block)
    errors = study.last(run)["clean"] if broken else _best(run)
    gaps = np.log(errors).diff("p")
    if not broken:
        return _within(gaps, run.attrs)
    *part, noise = linear_part(study.task("high", 1.0))
    way = study.ETA * run.attrs["steps"] * np.geomspace(0.01, 1, 50)
    slow, fast = (
        flow_risk(
            *part,
            p,
            study.ALL,
            noise,
            way,
        )
        for p in (0, 1)
    )
    middle = (FACTOR + np.log(fast / slow).min()) / 2
    return _within(gaps, run.attrs, middle, abs(middle))


@claim(
    "noise.isotropic_init",
    statement="From P-isotropic initial weights the best noise-free error is in the same "
    "order: it falls from p = -2 to 0 in High and rises in Low (SNR 1)",
    source="observed",
    uses=("noise.high", "noise.low"),
    control="shuffled training labels, so that the start alone could make an order",
    blunt=TRACE,
)
def isotropic_init(scale, broken, block):
    """The start that the theorem of the chapter "gram" wants; it knows P."""
    run = study.variants(scale, block, 8, init="isotropic", permuted=broken)
    gaps = study.log_gaps(_best(run))
    return order(gaps, run.attrs, 0.0)


@claim(
    "noise.minibatch",
    statement="SNR 1, p = -1: at the same number of updates mini-batches of 20 of the 200 "
    "rows change the best noise-free error by less than a factor of two, in both cases",
    source="observed",
    uses=("thm-noise-fig1",),
    control="the same 20 rows in every batch",
)
def minibatch(scale, broken, block):
    """The rows that the whole run sees count, not those of a step."""
    full = study.main(scale, block)
    full = full.sel(snr=[1.0])
    few = {"n": study.FEW} if broken else {"batch": study.FEW}
    run = study.variants(scale, block, **few)
    gaps = np.log(_best(run) / _best(full))
    growth = [_growth(case, -1.0) for case in study.CASES]
    return _within(
        gaps.sel(p=[-1.0]),
        run.attrs,
        FACTOR - max(growth),
    )


@claim(
    "noise.multi_index",
    statement="With a teacher of two directions of equal variance the best noise-free "
    "error at p = -2 is more than three times that at p = 0 in case High, less than a "
    "third of it in case Low (SNR 1)",
    source="observed",
    uses=("thm-noise-fig1",),
    control="its two directions at opposite ends of the spectrum",
)
def multi_index(scale, broken, block):
    """Two distinguished directions, both of large (High) or both of small variance
    (Low).

    The control states the side alone: at opposite ends each exponent serves one of the
    two directions. In Low the order is lost; which way what is left of it points depends
    on the coefficients drawn and on when the network leaves its start.
    """
    teacher = "opposite" if broken else "two"
    run = study.variants(scale, block, 8, teacher=teacher, exponents=(-2.0, 0.0))
    leads = study.log_gaps(_best(run)) - np.log(3)
    return order(leads, run.attrs)
