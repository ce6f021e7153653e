"""Claims of the chapter on representation learning about noise: the spread of a step,
the floor of many, a new head on frozen features, and what random signs change.
"""

import xarray as xr

from fl import judging
from fl.evidence import Evidence, claim
from fl.studies import representation_noise as study
from fl.theory import representation as theory
from fl.theory import representation_noise as noise_theory

EXACT = "none, the law is exact"
SIGNS = -2.0  # the excess kurtosis of a random sign
GROUPS = 200  # of draws, whose means are judged


def _agrees(found: dict, laws: dict, rivals: dict, sizes, bias=0.0, why=EXACT):
    # the sampled means of the arrays ``found`` against ``laws``, or against ``rivals``,
    # if there are some, which are then off by what the laws say
    gaps, leads = [], []
    for case, values in found.items():
        law = laws[case]
        taken = rivals.get(case, law)
        ratios = values.reshape(GROUPS, -1) / taken
        mean = ratios.mean(1)
        gaps.append(mean - 1)
        leads.append(law / taken - 1)
    rival = xr.DataArray(leads, dims="case") if rivals else None
    coords = {"case": list(found)}
    labelled = xr.DataArray(gaps, coords, ("case", "seed"))
    return judging.agreement(labelled, bias, why, sizes, rival)


def _spread_laws(run, kurtosis: float) -> dict:
    problem, F, G, *_ = run
    setting = *study.SPREAD[:3], kurtosis
    sgd = noise_theory.sgd_variance(problem, F, G, *setting)
    kfac = noise_theory.kfac_variance(problem.S, F, *setting)
    return {"sgd": sgd, "kfac": kfac}


@claim(
    "representation.variance",
    statement="The variance of one step is $\\eta^2/n$ times (multiplicative noise + "
    "label noise) for SGD and $\\eta^2\\sigma^2\\,\\mathrm{tr}(F^\\top F)^{-1}\\,"
    "\\mathrm{tr}S^{-1}/(n-d_X-1)$ for K-FAC, "
    "whose noise, not its rate, pays for the conditioning",
    source="proved",
    uses=("thm-representation-variance",),
    control="n in place of n - dX - 1 for K-FAC",
)
def variance(scale, broken, block) -> Evidence:
    """Estimate both variances over many batches."""
    run = study.spreads(scale, block)
    laws = _spread_laws(run, 0.0)
    d = len(run.problem.S)
    lost = d + 1
    kept = 1 - lost / study.SPREAD.n
    rival = {"kfac": kept * laws["kfac"]}
    return _agrees(run.found, laws, rival if broken else {}, run.attrs)


@claim(
    "representation.signs",
    statement="With random signs in place of Gaussian inputs the variance of an SGD step "
    "is smaller by $2\\frac{\\eta^2}n\\sum_i(LA^\\top AL)_{ii}S_{ii}$, $L = S^{1/2}$, and "
    "K-FAC's has $n - d_X + 1 - 2d_X/n$ for $n - d_X - 1$, in its noise floor too; SGD's "
    "floor and the risk of a new head are those of Gaussian inputs, to the order given",
    source="derived",
    uses=(
        "thm-representation-variance",
        "thm-representation-transfer",
        "representation.noise_floor",
    ),
    control="the laws of Gaussian inputs",
)
def signs(scale, broken, block) -> Evidence:
    """Estimate both variances over many batches of signs, both floors over many chains,
    and the risk over many draws.
    """
    run = study.spreads(scale, block, signs=True)
    floors = study.floors(scale, block, signs=True)
    heads = study.transfers(scale, block, signs=True)
    laws = _spread_laws(run, SIGNS)
    rivals = _spread_laws(run, 0.0) if broken else {}
    free = study.SPREAD.n - len(run.problem.S)
    bias = dict.fromkeys(laws, 1 / free**2)
    found, k = dict(run.found), len(floors.G)
    d = len(floors.problem.S)
    for method, law in _floor_laws(floors).items():
        n = study.FLOORS[method].n
        name = f"floor of {method}"
        laws[name] = law
        found[name] = floors.found[method]
        bias[name] = k / n
        if method == "kfac":
            fewer = n - d - 1
            more = n - d + 1 - 2 * d / n
            laws[name] *= fewer / more
    case = (*heads.problem, heads.G)
    laws["head"] = theory.transfer_risk(*case, **study.TRANSFER)
    found["head"] = heads.found["risk"]
    samples = study.TRANSFER["n"] - len(heads.G) - 1
    bias["head"] = 1 / samples
    why = (
        "relative: 1/(n - dX)² for a step, k/n for a floor, 1/(n - k - 1) for a head, the "
        "next order of each"
    )
    cases = list(found)
    values = [bias[case] for case in cases]
    allowed = xr.DataArray(values, {"case": cases})
    return _agrees(found, laws, rivals, run.attrs, allowed, why)


def _floor_laws(run) -> dict:
    laws = {}
    both = zip(run.found, run.attrs["steps"], strict=True)
    for method, steps in both:
        setting = study.FLOORS[method][:3]
        case = (method, *setting, steps)
        laws[method] = noise_theory.noise_floor(*run.problem, *case)
    return laws


@claim(
    "representation.noise_floor",
    statement="At a constant step SGD and K-FAC settle at the noise floors "
    "$\\frac{\\sigma^2}{n f_i s_j}\\frac{r}{2-r}$ per mode, $r = \\eta f_i s_j$ for "
    "SGD, $r = \\eta$ and n - dX - 1 for K-FAC",
    source="derived",
    uses=(
        "thm-representation-kfac",
        "thm-representation-bound",
        "thm-representation-modes",
    ),
    control="for SGD, the law of separate batches for head and features",
)
def noise_floor(scale, broken, block) -> Evidence:
    """Compare the squared slope after many noisy steps with the law, over independent
    chains.
    """
    run = study.floors(scale, block)
    laws, rivals = _floor_laws(run), {}
    if broken:
        setting = study.FLOORS["sgd"][:3]
        steps = run.attrs["steps"][0]
        case = ("sgd separate", *setting, steps)
        rivals["sgd"] = noise_theory.noise_floor(*run.problem, *case)
    n = study.FLOORS["sgd"].n
    bias = len(run.G) / n
    why = "relative: k/n of the kicks, which the calculation leaves out"
    return _agrees(run.found, laws, rivals, run.attrs, bias, why)


@claim(
    "representation.transfer",
    statement="On frozen features a new head has excess risk "
    "$b + (\\sigma^2 d_Y + b)\\,k/(n-k-1)$, with the bias b of the features measured "
    "in the covariance of the new task",
    source="proved",
    uses=("thm-representation-transfer",),
    control="the missed signal not counted as label noise: b + σ² dY k/(n - k - 1)",
)
def transfer(scale, broken, block) -> Evidence:
    """Fit new heads on draws of 30 samples from a second covariance."""
    run = study.transfers(scale, block)
    case = (*run.problem, run.G)
    law = theory.transfer_risk(*case, **study.TRANSFER)
    k = len(run.G)
    samples = study.TRANSFER["n"] - k - 1
    counted = theory.transfer_bias(*case) * k / samples
    rival = {"risk": law - counted}
    return _agrees(run.found, {"risk": law}, rival if broken else {}, run.attrs)
