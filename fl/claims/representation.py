"""Claims of the chapter on representation learning: what one Kronecker factor repairs,
and what both repair.
"""

import numpy as np
from numpy.linalg import norm, pinv, solve

from fl.evidence import Evidence, claim
from fl.studies import representation as study
from fl.theory import representation as theory
from fl.theory import representation_rivals as rivals_theory

ROUNDING = "rounding, times the condition numbers of covariance and head"
SLOWER = (
    "what the last quarter of the way to 1e-10 still changed, faster modes losing half in "
    "a quarter or more, and rounding at its end"
)
# of a distance of 1e-10, times the condition numbers of covariance and head
LAST_DIGITS = np.finfo(float).eps / 1e-10 * study.NEAR["kappa_S"]
LAST_DIGITS *= study.NEAR["kappa_F"] ** 2


@claim(
    "representation.kfac_contraction",
    statement="One K-FAC step multiplies the part of G outside the teacher's rows by "
    "exactly 1 - η and adds $\\eta F^+ \\Xi P$ from the label noise, for every head of "
    "full rank, covariance and batch of at least d_X samples, without damping",
    source="proved",
    uses=("thm-representation-kfac",),
    control="a damping of 0.01 where the covariance has the trace d_X",
)
def kfac_contraction(scale, broken, block):
    """Compare the complement of one step on single batches with the closed form; worst
    relative deviation. A damping δ leaves η δ (G - F^+ (F* G* + Ξ)) (Ŝ + δ)^-1 P, as Ŝ (Ŝ +
    δ)^-1 = 1 - δ (Ŝ + δ)^-1.
    """
    damping = 0.01 if broken else 0.0
    gaps, leaks = [], []
    for problem, F, G, found, sizes in study.single_batches(scale, block, damping):
        _, F_star, G_star = problem
        hidden = theory.complement(G_star)
        predicted = theory.kfac_outside(G, F, G_star, found["xi"], sizes["eta"])
        size = norm(predicted)
        outside = found["kfac"] @ hidden
        gaps.append(norm(outside - predicted) / size)
        fitted = F_star @ G_star + found["xi"]
        off = G - pinv(F) @ fitted
        identity = np.eye(len(hidden))
        kept = solve(found["S_hat"] + damping * identity, hidden)
        leak = sizes["eta"] * damping * off @ kept
        leaks.append(norm(leak) / size)
    rival = {"expected": max(leaks), "within": 1e-9}
    return Evidence(0, max(gaps), 1e-10, ROUNDING, sizes=sizes, **rival)


@claim(
    "representation.angles",
    statement="With a least-squares head every whitened principal angle obeys "
    "$\\tan\\theta_+ = (1-\\eta)\\tan\\theta/(1+\\eta\\tan^2\\theta)$ under population "
    "K-FAC, for any F*, from starts without a right angle",
    source="proved",
    uses=("thm-representation-angles",),
    control="the angles between the row spaces without whitening",
)
def angles(scale, broken, block):
    """Follow the angles from far starts; worst deviation of a sine, over step sizes
    0.1, 0.3 and 1.
    """
    gaps, rivals = [], []
    for run in study.far_starts(scale, block, whitened=not broken):
        eta = run.attrs["eta"]
        path = run.found["angles"]
        steps = len(path) - 1
        tangents = theory.kfac_tangents(np.tan(path[0]), eta, steps)
        # a large angle may overtake a smaller one, so both sides are sorted
        falling = -np.sort(-tangents)
        predicted = np.sin(np.arctan(falling))
        gap = np.sin(path) - predicted
        gaps.append(abs(gap).max())
        if broken:
            S, _, G_star = run.problem
            plain = rivals_theory.kfac_plain_angles(S, G_star, run.G, eta, steps)
            gap = np.sin(plain) - predicted
            rivals.append(abs(gap).max())
    reason = "rounding over ten steps"
    rival = {"expected": max(rivals), "within": 1e-9} if broken else {}
    return Evidence(0, max(gaps), 1e-9, reason, sizes=run.attrs, **rival)


@claim(
    "representation.gauge_invariance",
    statement="With the left factor F'F and a least-squares head the row space of the "
    "features moves the same way in every basis, on any batch and with either right "
    "factor",
    source="proved",
    uses=("thm-representation-gauge",),
    control="the left factor left out: the loss sees the row space alone, the gradient "
    "does not",
)
def gauge_invariance(scale, broken, block):
    """Follow two students from one row space in two bases; worst distance of their row
    spaces over five steps, three problems and two right factors.

    The control states the side alone: the second student moves like the first with the
    left factor (A^T A)^-1 in place of 1, and the random map A makes that as large as it
    likes.
    """
    left = "I" if broken else "FF"
    run = study.regauged(scale, block, left)
    worst = run.gap.max()
    return Evidence(0, worst, 1e-9, ROUNDING, sizes=run.attrs)


@claim(
    "representation.sgd_lower_bound",
    statement="With orthonormal features after every step, no constant step size lets "
    "alternating descent shrink the distance by an asymptotic factor below "
    "$(K-1)/(K+1)$ with $K = \\kappa(F_\\star)^2\\,\\kappa(S_\\perp)$, and the best step "
    "attains it",
    source="proved",
    uses=("thm-representation-bound", "thm-representation-modes"),
    control="balanced layers, F'F = GG', after every step, at shares of their best "
    "step: κ(F*) without the square",
)
def sgd_lower_bound(scale, broken, block):
    """Measure the factor at several step sizes; the smallest must be the bound."""
    problem = study.near_start(block)[0]
    kept = "balanced" if broken else "features"
    gauge = study.GAUGES[kept]
    claimed = theory.modes(*problem)
    own = theory.modes(*problem, gauge=gauge)
    runs = study.step_sizes(scale, block, gauge)
    factors = {share: run.factor.item() for share, run in runs.items()}
    sizes = runs[1.0].attrs | {"factors": factors}
    smallest = min(factors.values())
    tolerance = max(map(_unsettled, runs.values()))
    rival = {"expected": _bound(own), "within": tolerance}
    return Evidence(_bound(claimed), smallest, tolerance, SLOWER, sizes=sizes, **rival)


def _unsettled(run) -> float:
    """Return how far the factor of ``run`` may be from its limit, see `SLOWER`."""
    quarter = len(run.distance) / 4
    changed = run.factor - run.before
    rounding = LAST_DIGITS / quarter
    return abs(changed.item()) + rounding


def _bound(m) -> float:
    """Return the factor that no constant step size beats with the rates ``m``."""
    spread = m.max() / m.min()
    return theory.best_factor(spread)


@claim(
    "representation.one_factor_is_not_enough",
    statement="At the best step the factor of (P_G, Q_G) is $(K-1)/(K+1)$ with K = "
    "κ((B'B)⁻¹F*'F*) κ(S_⊥) for (I, I), κ((B'B)⁻¹F*'F*) for (I, S), κ(S_⊥) for (F'F, I) "
    "and 1 for (F'F, S); the first spectrum has the condition number κ(F*)², κ(F*), 1 "
    "with orthonormal features, balanced layers, an orthonormal head",
    source="proved",
    uses=("thm-representation-bound", "thm-representation-gauge"),
    control="orthonormal features in place of each gauge, as if only the row space "
    "mattered",
)
def one_factor_is_not_enough(scale, broken, block):
    """Compare the measured with the predicted factor for four choices in three gauges;
    worst relative deviation. Where K = 1 the step is half the best.
    """
    problem = study.near_start(block)[0]
    every = study.gauges(scale, block)
    plain = every["features"]
    gaps, rivals, left = [], [], []
    for kept, gauge in study.GAUGES.items():
        for name, pair in study.FACTORS.items():
            own = every[kept][name]
            claimed = _factor(problem, pair, gauge, own)
            run = plain[name] if broken else own
            ratio = run.factor.item() / claimed
            gaps.append(abs(ratio - 1))
            allowed = _unsettled(own)
            left.append(allowed / claimed)
            rival = _factor(problem, pair, 0.0, plain[name])
            ratio = rival / claimed
            rivals.append(abs(ratio - 1))
    expected = {"expected": max(rivals), "within": 2 * max(left)}
    sizes = study.NEAR | {"gauges": study.GAUGES, "seeds": run.attrs["seeds"]}
    return Evidence(0, max(gaps), max(left), SLOWER, sizes=sizes, **expected)


def _factor(problem, pair, gauge: float, run) -> float:
    """Return the predicted factor per step of ``run``."""
    m = theory.modes(*problem, *pair, gauge)
    return theory.factor(m, run.attrs["eta"])


@claim(
    "representation.head_error",
    statement="Started at the right features with a wrong head, one SGD step leaves "
    "the right subspace by the closed form in $F^\\top(F-F_\\star)$ and "
    "$G_\\star S P$, while one K-FAC step stays in it",
    source="proved",
    uses=("thm-representation-kfac",),
    control="the law for a covariance that is a multiple of the identity: SGD stays too",
)
def head_error(scale, broken, block):
    """Compare the distances after one population step with the law and with zero; the
    largest error over three condition numbers.
    """
    runs = study.wrong_head(scale, block)
    sizes = runs[0].attrs
    eta = sizes["eta"]
    laws = [theory.head_error_distance(*run.problem, run.F, eta) for run in runs]
    sgd = np.array([run.found["sgd"] for run in runs])
    kfac = np.array([run.found["kfac"] for run in runs])
    return _exact(sgd, kfac, laws, sizes, broken)


@claim(
    "representation.first_step",
    statement="From zero features the first SGD step on the population spans row(G* S), "
    "at a distance fixed by the covariance (0.6247 for levels 1.8 and 0.2), the first "
    "K-FAC step on any batch of full rank spans row(G*)",
    source="proved",
    uses=("thm-representation-kfac",),
    control="the law for a covariance that is a multiple of the identity: SGD finds "
    "row(G*) too",
)
def first_step(scale, broken, block):
    """Compare one step from G = 0 with the closed form and with zero, for one direction
    and three pairs of levels; the largest error.
    """
    run = study.first_step(scale, block)
    laws = [theory.two_level_first_step(*pair) for pair in run.levels]
    return _exact(run.sgd.values, run.kfac.values, laws, run.attrs, broken)


def _exact(sgd, kfac, laws, sizes, broken) -> Evidence:
    """Return the evidence that SGD ends at the distances ``laws`` and K-FAC at zero; the
    rival has SGD at zero too, and misses by the largest law.
    """
    off = sgd if broken else abs(sgd - laws)
    worst = max(off.max(), kfac.max())
    return Evidence(
        0,
        worst,
        1e-9,
        ROUNDING,
        sizes=sizes,
        expected=max(laws),
        within=1e-9,
    )


@claim(
    "representation.batchnorm_inert",
    statement="With a least-squares head, batch-norm on the features leaves the gradient "
    "in G unchanged",
    source="proved",
    uses=("thm-representation-gauge",),
    control="a head that is off by 10 percent",
)
def batchnorm_inert(scale, broken, block):
    """Compare the two gradients by automatic differentiation; worst relative gap over
    condition numbers.
    """
    runs = study.batchnorm(scale, block, refit=not broken)
    worst = max(run.found["gap"] for run in runs)
    rival = {"within": 1e-9}
    if broken:
        rival["expected"] = max(_radial(**run.found) for run in runs)
    sizes = runs[0].attrs
    return Evidence(0, worst, 1e-10, ROUNDING, sizes=sizes, **rival)


def _radial(G, S_hat, C, **_) -> float:
    """Return what batch-norm takes away at 1.1 times the least-squares head."""
    features = G @ S_hat @ G.T
    best = solve(features, G @ C)
    head = 1.1 * best.T
    return rivals_theory.batchnorm_radial_share(S_hat, C, head, G)
