"""Claims of the chapter on out-of-distribution accuracy, first part: what is measured.

D is the accuracy against the digit, N that against the pattern; both belong to the same
trained network. All optimizers of a seed share data and initial weights, so gaps are
taken seed by seed. [YN25] show in Fig. 2 what `reversal` and `id_near_ceiling` say, at
sizes and hyper-parameters of their own: here it is observed on other images.
"""

import numpy as np
from scipy.special import stdtrit
from scipy.stats import spearmanr

from fl.evidence import Evidence, claim
from fl.numerics import standard_error, worst_cell
from fl.studies import ood as study
from fl.theory.ood import pattern_reading

ORDER = (
    "an order needs no tolerance: "
    "the mean over seeds has the claimed sign in every step"
)
ROUNDING = 1e-9
NOISE_ALONE = 0.01
CEILING = {"digits": 0.985, "mnist": 0.95}


@claim(
    "ood.reversal",
    statement="The ranking of the optimizers by the accuracy against the pattern is "
    "the reverse of that against the digit, up to neighbours",
    source="observed",
    control="training patterns that say nothing about the class",
)
def reversal(scale, broken, block):
    """Spearman's rank correlation of D and N over the optimizers, the largest among the
    data sets.

    If all ranks shift by the share delta of the range, 1 + rho is 6 delta^2 for many
    optimizers evenly spread.
    """
    run = study.without_cue(scale, block) if broken else study.runs(scale, block)
    mean = run[["digit", "pattern"]].mean("seed").to_array()
    worst = max(spearmanr(*mean.sel(data=name)).statistic for name in run.data)
    error = study.sampling_error(number=run.sizes["seed"])
    tolerance = 6 * (0.1**2 + 2 * error**2)
    reason = (
        "ranks shift by the 0.1 that D + N = 1 + 0.1 D - 0.9 nu leaves open, "
        "and by the sampling error"
    )
    return Evidence(-1, worst, tolerance, reason, None, "at most", run.attrs)


@claim(
    "ood.exact_power",
    statement="With the metric Sigma^p, D rises and N falls at each step of p = -1, "
    "-1/2, 0, 1/2, 1, and D is 0 at -1",
    source="observed",
    control="training patterns that say nothing about the class",
)
def exact_power(scale, broken, block):
    """The smallest step in the claimed direction, or by how much D(-1) stays below two
    sampling errors.
    """
    runs = study.without_cue if broken else study.runs
    run = runs(scale, block, study.EXACT)
    step = study.gaps(run, study.EXACT[::-1]).mean("seed").min()
    lowest = run["digit"].sel({"optimizer": "exact -1"}).mean("seed").max()
    margin = min(step, 2 * study.sampling_error() - lowest)
    return Evidence(0, margin, 0, ORDER, None, "at least", run.attrs)


@claim(
    "ood.power_sweep",
    statement="With powers of AdaHessian's diagonal, D, the exponent of the updates "
    "and 1 - N rise from -1 to 0 to 1, by more than 0.01 at each step",
    source="observed",
    control="training patterns that say nothing about the class",
)
def power_sweep(scale, broken, block):
    """The smallest step of the three in the claimed direction; seeds alone move D by
    less than what is asked of a step.
    """
    if broken:
        run = study.without_cue(scale, block, study.DIAGONAL)
    else:
        run = study.runs(scale, block, study.DIAGONAL, study.SWEPT)
    step = study.gaps(run, study.DIAGONAL[::-1]).mean("seed").min()
    exponents = run["p_gain"].mean("seed").diff("optimizer")
    smallest = min(step, exponents.min())
    return Evidence(0.01, smallest, 0, ORDER, None, "at least", run.attrs)


@claim(
    "ood.id_near_ceiling",
    statement="At equal training loss every optimizer is right about 0.985 of the "
    "validation digits or more (MNIST: 0.95)",
    source="observed",
    control="training patterns that say nothing about the class: digits alone are harder",
)
def id_near_ceiling(scale, broken, block):
    """The lowest validation accuracy among the optimizers, less what is claimed."""
    run = study.without_cue(scale, block) if broken else study.runs(scale, block)
    lowest = run["id"].mean("seed").min("optimizer")
    above = [
        float(lowest.sel(data=name)) - CEILING[name] for name in run["data"].values
    ]
    images = study.PROTOCOLS["digits"].validation * study.SEEDS[scale]
    right = CEILING["digits"]
    tolerance = 2 * np.sqrt(right * (1 - right) / images)
    reason = "two sampling errors on the 600 validation images of each seed"
    return Evidence(0, min(above), tolerance, reason, None, "at least", run.attrs)


@claim(
    "ood.gd_adam_kfac",
    statement="GD reads the digit more than Adam, and Adam more than K-FAC (damping "
    "1e-6); for the pattern the reverse",
    source="observed",
    control="training patterns that say nothing about the class",
)
def gd_adam_kfac(scale, broken, block):
    """The worst of the four gaps in its own paired standard errors.

    All four must pass, so noise alone lets no more through than one test does.
    """
    runs = study.without_cue if broken else study.runs
    run = runs(scale, block, study.TRIO, study.PAIRED)
    gap = study.gaps(run, study.TRIO)
    error = standard_error(gap)
    quantile = stdtrit(gap.sizes["seed"] - 1, 1 - NOISE_ALONE)
    left = gap.mean("seed") - quantile * error
    _, (_, low, spread) = worst_cell(-left, left, error)
    reason = (
        "the mean over seeds less as many paired standard errors as noise alone exceeds "
        "once in a hundred cases (Student's t); what is left must be positive"
    )
    return Evidence(0, low, 0, reason, spread, "at least", run.attrs)


@claim(
    "ood.cue_conflict",
    statement="On the images of the pattern test N = a C + (1 - a)(1 - D - nu): what "
    "is not read as the digit is read as the pattern, but for the share nu",
    source="proved",
    control="D of the digit test, whose patterns are the neighbours' only",
)
def cue_conflict(scale, broken, block):
    """The largest distance of N from the identity among all runs.

    The control takes the digit's share from other images.
    """
    run = study.runs(scale, block)
    read = pattern_reading(
        digit=run["digit" if broken else "conflict_digit"],
        neither=run["conflict_neither"],
        agree=run["agree"],
        congruent=run["agree_right"],
    )
    gap = abs(run["pattern"] - read).max()
    reason = "rounding: an identity of counts"
    return Evidence(0, gap, ROUNDING, reason, None, "at most", run.attrs)
