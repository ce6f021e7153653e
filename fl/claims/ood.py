"""Claims of the chapter on out-of-distribution accuracy, first part: what is measured
([YN25] Fig. 2).

D is the accuracy against the digit, N that against the pattern; both belong to the same
trained network. All optimizers of a seed share data and initial weights, so gaps are
taken seed by seed.
"""

import numpy as np
from scipy.stats import spearmanr

from fl.evidence import Evidence, claim
from fl.numerics import standard_error, worst_cell
from fl.studies import ood as study

ORDER = (
    "an order needs no tolerance: "
    "the mean over seeds has the claimed sign in every step"
)


@claim(
    "ood.reversal",
    statement="The ranking of the optimizers by the accuracy against the pattern is "
    "the reverse of that against the digit, up to neighbours",
    source="paper YN25 Fig. 2",
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
    source="paper YN25 Fig. 2",
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
    "and 1 - N rise from -1 to 0 to 1",
    source="paper YN25 Fig. 2",
    control="training patterns that say nothing about the class",
)
def power_sweep(scale, broken, block):
    """The smallest step of the three in the claimed direction."""
    runs = study.without_cue if broken else study.runs
    run = runs(scale, block, study.DIAGONAL)
    step = study.gaps(run, study.DIAGONAL[::-1]).mean("seed").min()
    exponents = run["p_gain"].mean("seed").diff("optimizer")
    margin = min(step, exponents.min())
    return Evidence(0, margin, 0, ORDER, None, "at least", run.attrs)


@claim(
    "ood.id_near_ceiling",
    statement="In distribution every optimizer is right about 0.95 of the validation "
    "images or more",
    source="paper YN25 Fig. 2",
    control="inputs that are not centred, at p = -1",
)
def id_near_ceiling(scale, broken, block):
    """The lowest validation accuracy among the optimizers; the control needs the one
    whose training it breaks.
    """
    if broken:
        run = study.runs(scale, block, ["exact -1"], study.CONTROL, centred=False)
    else:
        run = study.runs(scale, block)
    lowest = run["id"].mean("seed").min()
    images = study.PROTOCOLS["digits"].validation
    tolerance = 2 * np.sqrt(0.95 * 0.05 / images)
    reason = "two sampling errors on the 600 validation images"
    return Evidence(0.95, lowest, tolerance, reason, None, "at least", run.attrs)


@claim(
    "ood.gd_adam_kfac",
    statement="GD reads the digit more than Adam, and Adam more than K-FAC (damping "
    "1e-6); for the pattern the reverse",
    source="paper YN25 Fig. 2",
    control="training patterns that say nothing about the class",
)
def gd_adam_kfac(scale, broken, block):
    """The smallest of the four gaps, each less two paired standard errors."""
    runs = study.without_cue if broken else study.runs
    run = runs(scale, block, study.TRIO, study.PAIRED)
    gap = study.gaps(run, study.TRIO)
    error = standard_error(gap)
    below = 2 * error - gap.mean("seed")
    _, (low, spread) = worst_cell(below, error)
    reason = (
        "the mean over seeds less two paired standard errors; "
        "what is left must be positive"
    )
    return Evidence(0, -low, 0, reason, spread, "at least", run.attrs)


@claim(
    "ood.cue_conflict",
    statement="The two accuracies add up to about 1 for every optimizer: a "
    "prediction follows one cue or the other",
    source="derived",
    control="a digit test whose patterns agree with the digits",
)
def cue_conflict(scale, broken, block):
    """The largest distance of D + N from 1 among all runs; the control puts the
    congruent test in the place of D.
    """
    run = study.runs(scale, block)
    total = run["congruent" if broken else "digit"] + run["pattern"]
    gap = abs(total - 1).max()
    # D is a mean over ten pairs of cues, N over ninety: each pair is read with a rate
    # of deviation 1/2 at most
    tolerance = 2 * 0.5 / np.sqrt(run.attrs["classes"])
    reason = (
        "two standard deviations of a mean over the ten pairs of cues "
        "of the digit test, 1/2 each at most"
    )
    return Evidence(0, gap, tolerance, reason, None, "at most", run.attrs)
