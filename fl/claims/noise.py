"""Claims of the chapter on label noise: [YN25] Figs 1, 4 and 5.

An order of errors is measured by log-ratios of the errors of adjacent exponents on the
same data, signed so that the claimed order is positive. ``measured`` is the smallest
mean over seeds among a claim's cells: one wrong cell fails it.
"""

import numpy as np
import xarray as xr

from fl.evidence import Evidence, claim
from fl.numerics import standard_error, worst_cell
from fl.studies import noise as study
from fl.theory.alignment import early_alignment

ORDER = (
    "an order needs no tolerance: the mean over seeds has the claimed sign in every "
    "cell"
)


def _ordered(run: xr.Dataset, error: str = "noisy") -> Evidence:
    errors = study.last(run)[error]
    gaps = study.log_gaps(errors)
    score = -gaps.mean("seed")
    where, (lead, spread) = worst_cell(score, standard_error(gaps))
    sizes = run.attrs | {"worst cell": where}
    return Evidence(0, -lead, 0, ORDER, spread, "at least", sizes)


def _main(case: str, scale, broken, block) -> Evidence:
    if broken:
        run = study.variants(scale, block, [case], **study.ELSEWHERE)
    else:
        run = study.main(scale, block).sel(case=[case])
    return _ordered(run)


@claim(
    "noise.high",
    statement="Case High: the final test error falls as p rises from -2 to 1, at each "
    "SNR",
    source="paper YN25 Fig. 1",
    control="the teacher on a direction of small variance, SNR 5",
)
def high(scale, broken, block):
    """Teacher on the direction of large variance."""
    return _main("high", scale, broken, block)


@claim(
    "noise.low",
    statement="Case Low: the final test error rises as p rises from -2 to 1, at each "
    "SNR",
    source="paper YN25 Fig. 1",
    control="the teacher on a direction of large variance, SNR 5",
)
def low(scale, broken, block):
    """Teacher on the direction of small variance."""
    return _main("low", scale, broken, block)


@claim(
    "noise.matches_closed_form",
    statement="The trained networks rank p = -2, -1, 0, 1 as the alignment A(p) of the "
    "early feature does",
    source="derived",
    control="A(p) of the other case",
)
def matches_closed_form(scale, broken, block):
    """Kendall's rank correlation of A(p) and minus the final test error, worst case and
    SNR.
    """
    from scipy.stats import kendalltau  # a second to import, and only this claim ranks

    run = study.main(scale, block)
    final = study.last(run)["noisy"].mean("seed").stack(cell=["case", "snr"])
    other = {"high": "low", "low": "high"}
    ranks = []
    for case, snr in final["cell"].values:
        task = study.task(other[case] if broken else case, snr)
        n, exponents = run.attrs["n"], run.attrs["p"]
        alignment = [early_alignment(task, p, n) for p in exponents]
        errors = final.sel(cell=(case, snr))
        ranks.append(kendalltau(alignment, -errors).statistic)
    reason = "a rank correlation of 1 is exact"
    return Evidence(1, min(ranks), 0, reason, sizes=run.attrs)


@claim(
    "noise.adahessian",
    statement="Powers of AdaHessian's diagonal, inputs on the axes, SNR 1: the final "
    "noise-free error at p = -2 is larger than at p = 1 in case High, smaller in case "
    "Low",
    source="paper YN25 Fig. 1",
    control="randomly rotated inputs",
)
def adahessian(scale, broken, block):
    """One log-ratio a case, p = 1 over p = -2 and nothing between; rotated, the
    diagonal has no spectrum to show.
    """
    return _ordered(study.adahessian(scale, block, rotated=broken), "clean")


@claim(
    "noise.fair_comparison",
    statement="At best epoch and at equal training error High p = 0, 1, 2 coincide, "
    "p = -1 is worse, Low is in order",
    source="derived",
    control="the last epoch",
)
def fair_comparison(scale, broken, block):
    """The largest violation in log units: the gaps within p = 0, 1, 2 in High, and
    orders that turn round.
    """
    low_case = study.main(scale, block).sel(case=["low"])
    runs = study.high_case(scale, block), low_case
    fair = [study.at_best, study.at_equal_train_error]
    violations = []
    for read in [study.last] if broken else fair:
        errors = [np.log(read(run)["noisy"]) for run in runs]
        high, low = (error.mean("seed").squeeze("case") for error in errors)
        middle = high.sel(p=0)
        apart = high.sel(p=[1, 2]) - middle
        turned = middle - high.sel(p=-1)
        rising = low.sel(p=slice(-2, 0)).diff("p")
        violations += [abs(apart).max(), turned.max()]
        violations.append(-rising.min())
    best = np.log(study.at_best(runs[0])["noisy"])
    apart = best.sel(p=[1, 2]) - best.sel(p=0)
    error = standard_error(apart).max()
    reason = "two standard errors of the paired log-ratios"
    sizes = low_case.attrs | {"p": "-2 to 2 in case High"}
    return Evidence(0, max(violations), 2 * error, reason, error, "at most", sizes)


@claim(
    "noise.isotropic_init",
    statement="P-isotropic initial weights leave the order of p = -2, -1, 0, 1 as it "
    "is, in both cases (SNR 1)",
    source="derived",
    control="the teacher on the other direction, SNR 5",
)
def isotropic_init(scale, broken, block):
    """The start that the theorem of the chapter "gram" wants."""
    return _variant(scale, broken, block, init="isotropic")


@claim(
    "noise.minibatch",
    statement="Mini-batches of 20 at the same number of updates leave the order of p = "
    "-2, -1, 0, 1 as it is, in both cases (SNR 1)",
    source="derived",
    control="the teacher on the other direction, SNR 5",
)
def minibatch(scale, broken, block):
    """A tenth of the rows in each step."""
    return _variant(scale, broken, block, batch=20)


def _variant(scale, broken, block, **changes) -> Evidence:
    # one wrong case breaks the order; the control runs the one that it breaks most
    if broken:
        changes |= {"case": ["high"]} | study.ELSEWHERE
    return _ordered(study.variants(scale, block, **changes))


@claim(
    "noise.multi_index",
    statement="With a teacher of two directions of equal variance the order of p = -2, "
    "-1, 0, 1 is the same (SNR 1)",
    source="derived",
    control="its two directions at opposite ends of the spectrum",
)
def multi_index(scale, broken, block):
    """Two distinguished directions, both of large (High) or both of small variance
    (Low).
    """
    teacher = "opposite" if broken else "two"
    return _ordered(study.variants(scale, block, teacher=teacher))
