"""Claims of the chapter on representation learning about noise: the spread of a step,
the floor of many, a new head on frozen features.
"""

import numpy as np

from fl.evidence import Evidence, claim
from fl.studies import representation_noise as study
from fl.studies.representation import Run
from fl.theory import representation as theory
from fl.theory import representation_noise as noise_theory

NOISE = "four standard errors of the worst case: noise alone fails one in 8,000"


def _within(run: Run, laws: dict, rivals: dict) -> Evidence:
    """Return the evidence of the sampled means in ``run`` against ``laws``: the ratio of
    the worst case, in four of its own standard errors.

    If there are ``rivals`` the ratios are those to the rivals, expected to be off by
    what the laws say.
    """
    assumed = laws | rivals
    cells = {}
    for case, law in assumed.items():
        ratio = run.found[case] / law
        error = ratio.std(ddof=1) / np.sqrt(len(ratio))
        cells[case] = ratio.mean() - 1, error
    worst = max(cells, key=lambda case: abs(cells[case][0]) / cells[case][1])
    gap, error = cells[worst]
    bound = 4 * error
    sizes = run.attrs | {"worst case": worst}
    rival = {}
    if rivals:
        expected = laws[worst] / assumed[worst] - 1
        rival = {"expected": expected, "within": bound}
    return Evidence(0, gap, bound, NOISE, error, sizes=sizes, **rival)


@claim(
    "representation.variance",
    statement="The variance of one step is $\\eta^2/n$ times (multiplicative noise + "
    "label noise) for SGD and $\\eta^2\\sigma^2\\,\\mathrm{tr}(F^\\top F)^{-1}\\,"
    "\\mathrm{tr}S^{-1}/(n-d_X-1)$ for KFAC, "
    "whose noise, not its rate, pays for the conditioning",
    source="derived",
    control="n in place of n - dX - 1 for KFAC",
)
def variance(scale, broken, block):
    """Estimate both variances over many batches."""
    run = study.spreads(scale, block)
    setting = study.SPREAD
    problem, F, G = run.problem, run.F, run.G
    sgd = noise_theory.sgd_variance(*problem, F, G, *setting)
    kfac = noise_theory.kfac_variance(problem.S, F, *setting)
    laws = {"sgd": sgd, "kfac": kfac}
    rivals = {}
    if broken:
        lost = len(problem.S) + 1
        rivals["kfac"] = kfac * (1 - lost / setting.n)
    return _within(run, laws, rivals)


@claim(
    "representation.noise_floor",
    statement="At a constant step SGD and KFAC settle at the noise floors "
    "$\\frac{\\sigma^2}{n f_i s_j}\\frac{r}{2-r}$ per mode, $r = \\eta f_i s_j$ for "
    "SGD, $r = \\eta$ and n - dX - 1 for KFAC",
    source="derived",
    control="for SGD, the law of separate batches for head and features",
)
def noise_floor(scale, broken, block):
    """Compare the squared slope after many noisy steps with the law, over independent
    chains.
    """
    run = study.floors(scale, block)
    laws, rivals = {}, {}
    for method, steps in zip(run.found, run.attrs["steps"], strict=True):
        case = (*study.FLOORS[method], steps)
        laws[method] = noise_theory.noise_floor(*run.problem, method, *case)
        if broken and method == "sgd":
            rival = noise_theory.noise_floor(*run.problem, "sgd separate", *case)
            rivals[method] = rival
    return _within(run, laws, rivals)


@claim(
    "representation.transfer",
    statement="On frozen features a new head has excess risk "
    "$b + (\\sigma^2 d_Y + b)\\,k/(n-k-1)$, with the bias b of the features measured "
    "in the covariance of the new task",
    source="proved",
    control="the missed signal not counted as label noise: b + σ² dY k/(n - k - 1)",
)
def transfer(scale, broken, block):
    """Fit new heads on draws of 30 samples from a second covariance."""
    run = study.transfers(scale, block)
    setting = study.TRANSFER
    law = theory.transfer_risk(*run.problem, run.G, **setting)
    bias = theory.transfer_bias(*run.problem, run.G)
    k = len(run.G)
    samples = setting["n"] - k - 1
    rivals = {}
    if broken:
        rivals["risk"] = law - bias * k / samples
    return _within(run, {"risk": law}, rivals)
