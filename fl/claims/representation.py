"""Claims of the chapter on representation learning: what one Kronecker factor repairs,
and what both repair.
"""

from functools import partial

import numpy as np

from fl.evidence import Evidence, claim
from fl.simulate import representation as simulate
from fl.sweep import cached
from fl.theory import representation as theory

ROUNDING = "rounding, times the condition numbers of covariance and head"


def _wrong_head(p: simulate.Problem, rng: np.random.Generator) -> np.ndarray:
    return p.F_star + 0.3 * rng.standard_normal(p.F_star.shape)


@claim(
    "representation.kfac_contraction",
    statement="One KFAC step multiplies the part of G outside the teacher's rows by exactly 1 - η and adds "
    "$\\eta F^+ \\Xi P$ from the label noise, for every head, covariance and batch",
    source="derived",
    control="the SGD step on the same batches",
)
def kfac_contraction(scale, broken, block=0):
    """Compare the complement of one step on single batches with the closed form; worst
    relative deviation.
    """
    eta, factors, worst = 0.3, (("I", "I") if broken else ("FF", "S")), 0.0
    kappas = [(1, 1), (50, 3), (1000, 10)]
    for seed, (kappa_S, kappa_F) in enumerate(kappas):
        p, rng = (
            simulate.problem(20, 8, 3, kappa_S, kappa_F, seed),
            np.random.default_rng(seed),
        )
        N = theory.complement(p.G_star)
        for n, sigma in [(25, 0.0), (64, 0.0), (64, 0.5)]:
            m, F, G = (
                simulate.moments(p, n, sigma, rng),
                _wrong_head(p, rng),
                rng.standard_normal((3, 20)),
            )
            predicted = theory.kfac_outside(
                G, F, p.G_star, np.linalg.solve(m.S_hat, m.R.T).T, eta
            )
            measured = simulate.feature_step(p, F, G, m, eta, *factors) @ N
            worst = max(
                worst, np.linalg.norm(measured - predicted) / np.linalg.norm(predicted)
            )
    sizes = {
        "dX": 20,
        "dY": 8,
        "k": 3,
        "n": [25, 64],
        "kappa_S, kappa_F": [str(c) for c in kappas],
        "seeds": [0, 1, 2],
    }
    return Evidence(0, worst, 1e-10, ROUNDING, sizes=sizes)


@claim(
    "representation.angles",
    statement="With a least-squares head every whitened principal angle obeys "
    "$\\tan\\theta_+ = (1-\\eta)\\tan\\theta/(1+\\eta\\tan^2\\theta)$ under population KFAC, for any F*",
    source="derived",
    control="the angles between the row spaces without whitening",
)
def angles(scale, broken, block=0):
    """Follow the angles from far starts; worst deviation of a sine, over step sizes
    0.1, 0.3 and 1.
    """
    worst, steps, etas = 0.0, 10, [0.1, 0.3, 1.0]
    for seed, eta in enumerate(etas):
        p = simulate.problem(12, 6, 3, 10, 5, seed)
        G = simulate.start(p, 1.2, np.random.default_rng(seed))
        path = simulate.angles(p, G, eta, steps, whitened=not broken)
        # a large angle may overtake a smaller one, so both sides are sorted
        predicted = np.sort(
            np.arctan(theory.kfac_tangents(np.tan(path[0]), eta, steps))
        )[:, ::-1]
        worst = max(worst, np.abs(np.sin(path) - np.sin(predicted)).max())
    sizes = {
        "dX": 12,
        "dY": 6,
        "k": 3,
        "kappa_S": 10,
        "kappa_F": 5,
        "eta": etas,
        "steps": steps,
        "seeds": [0, 1, 2],
    }
    return Evidence(0, worst, 1e-9, "rounding over ten steps", sizes=sizes)


def _modes(p: simulate.Problem, left: str, right: str, broken: bool) -> np.ndarray:
    """Return the rates of the modes; ``broken`` forgets the square on the condition
    number of the teacher's head.
    """
    m = theory.modes(p.F_star, p.S, p.G_star, left, right)
    if broken and left == "I":
        f = np.linalg.eigvalsh(p.F_star.T @ p.F_star)
        m = m / np.sqrt(f)[:, None]
    return m


@claim(
    "representation.sgd_lower_bound",
    statement="No constant step size lets alternating descent shrink the distance by an asymptotic factor below "
    "$(K-1)/(K+1)$ with $K = \\kappa(F_\\star)^2\\,\\kappa(S_\\perp)$, and the best step attains it",
    source="derived",
    control="κ(F*) not squared in K",
)
def sgd_lower_bound(scale, broken, block=0):
    """Measure the factor at several step sizes; the smallest must be the bound."""
    p = simulate.problem(12, 6, 3, 10, 3, 3)
    eta = theory.best_step(theory.modes(p.F_star, p.S, p.G_star))
    shares = (
        [0.5, 1.0, 1.01]
        if scale == "smoke"
        else [0.25, 0.5, 0.75, 0.9, 0.95, 1.0, 1.005, 1.01, 1.1, 1.3]
    )
    G = simulate.start(p, 0.05, np.random.default_rng(0))
    paths = [cached(simulate.descend, p=p, G=G, eta=share * eta) for share in shares]
    factors = [simulate.measured_factor(path) for path in paths]
    m = _modes(p, "I", "I", broken)
    sizes = {
        "dX": 12,
        "dY": 6,
        "k": 3,
        "K": m.max() / m.min(),
        "shares of the best step": shares,
        "factors": factors,
    }
    reason = "what is left of faster modes at distances below 0.01"
    return Evidence(
        theory.best_factor(m.max() / m.min()),
        min(factors),
        5e-4,
        reason,
        sizes=sizes | {"seeds": [3, 0]},
    )


@claim(
    "representation.one_factor_is_not_enough",
    statement="At the best step the factor of (P_G, Q_G) is $(K-1)/(K+1)$ with K = κ(F*)² κ(S_⊥) for (I, I), κ(F*)² "
    "for (I, S), κ(S_⊥) for (F'F, I); only (F'F, S) has 1 - η",
    source="derived",
    control="κ(F*) not squared",
)
def one_factor_is_not_enough(scale, broken, block=0):
    """Compare the measured with the predicted factor for all four choices; worst
    relative deviation.
    """
    p = simulate.problem(12, 6, 3, 10, 3, 3)
    G, table, worst = simulate.start(p, 0.05, np.random.default_rng(0)), {}, 0.0
    for left, right in [("I", "I"), ("I", "S"), ("FF", "I"), ("FF", "S")]:
        true, m = (
            theory.modes(p.F_star, p.S, p.G_star, left, right),
            _modes(p, left, right, broken),
        )
        both = (left, right) == ("FF", "S")
        eta = 0.5 if both else theory.best_step(true)
        predicted = (
            theory.factor(m, 0.5) if both else theory.best_factor(m.max() / m.min())
        )
        path = cached(simulate.descend, p=p, G=G, eta=eta, left=left, right=right)
        measured = simulate.measured_factor(path)
        table[f"{left}, {right}: predicted, measured"] = [predicted, measured]
        worst = max(worst, abs(measured / predicted - 1))
    sizes = {
        "dX": 12,
        "dY": 6,
        "k": 3,
        "kappa_S": 10,
        "kappa_F": 3,
        "seeds": [3, 0],
    } | table
    return Evidence(
        0,
        worst,
        5e-4,
        "what is left of faster modes at distances below 0.01",
        sizes=sizes,
    )


@claim(
    "representation.head_error",
    statement="Started at the right features with a wrong head, one SGD step leaves the right subspace by the closed "
    "form in $F^\\top(F-F_\\star)$ and $G_\\star S P$, while one KFAC step stays in it",
    source="derived",
    control="a teacher whose rows span an invariant subspace of S: SGD stays too",
)
def head_error(scale, broken, block=0):
    """Compare the distance after one population step; the reported cell is SGD at κ(S)
    = 10.
    """
    p = simulate.problem(12, 6, 3, 10, 3, 0)
    rng = np.random.default_rng(0)
    F, eta = _wrong_head(p, rng), 0.2
    predicted = theory.head_error_distance(F, p.F_star, p.S, p.G_star, eta)
    # the control keeps the prediction and lets the experiment have an invariant teacher
    q = simulate.problem(12, 6, 3, 10, 3, 0, invariant=True) if broken else p
    steps = [
        simulate.feature_step(q, F, q.G_star, simulate.population(q), eta, *f)
        for f in [("I", "I"), ("FF", "S")]
    ]
    sgd, kfac = (simulate.distance(q, G) for G in steps)
    sizes = {
        "dX": 12,
        "dY": 6,
        "k": 3,
        "eta": eta,
        "seeds": [0],
        "SGD": sgd,
        "KFAC": kfac,
    }
    return Evidence(predicted, sgd - kfac, 1e-9, ROUNDING, sizes=sizes)


@claim(
    "representation.first_step",
    statement="From zero features the first SGD step spans row(G* S), at a distance fixed by the covariance "
    "(0.6247 for levels 1.8 and 0.2), the first KFAC step spans row(G*)",
    source="derived",
    control="a teacher that is an eigenvector of S",
)
def first_step(scale, broken, block=0):
    """Compare one step from G = 0 with the closed form for two levels and one
    direction.
    """
    d, rng = 20, np.random.default_rng(0)
    axes = np.linalg.qr(rng.standard_normal((d, d)))[0]
    S = (axes * np.repeat([1.8, 0.2], d // 2)) @ axes.T
    weights = np.repeat([1.0, 0.0 if broken else 1.0], d // 2)
    g = axes @ (weights / np.linalg.norm(weights))
    p = simulate.Problem((S + S.T) / 2, rng.standard_normal((5, 1)), g[None])
    F, zero = rng.standard_normal((5, 1)), np.zeros((1, d))
    sgd = simulate.distance(
        p, simulate.feature_step(p, F, zero, simulate.population(p), 0.1)
    )
    batch = simulate.moments(p, 2 * d, 0.0, rng)
    kfac = simulate.distance(
        p, simulate.feature_step(p, F, zero, batch, 0.1, "FF", "S")
    )
    sizes = {
        "dX": d,
        "dY": 5,
        "k": 1,
        "levels": [1.8, 0.2],
        "KFAC on one batch of 2 dX": kfac,
        "seeds": [0],
    }
    return Evidence(
        theory.two_level_first_step(1.8, 0.2), sgd - kfac, 1e-9, ROUNDING, sizes=sizes
    )


@claim(
    "representation.batchnorm_inert",
    statement="With a refitted head, batch-norm on the features leaves the gradient in G unchanged",
    source="derived",
    control="a head that is off by 10 percent",
)
def batchnorm_inert(scale, broken, block=0):
    """Compare the two gradients by automatic differentiation; worst relative gap over
    condition numbers.
    """
    gaps = []
    for seed, kappa in enumerate([1, 30, 300]):
        p = simulate.problem(20, 8, 3, kappa, 3, seed)
        G = np.random.default_rng(seed).standard_normal((3, 20))
        gaps.append(simulate.batchnorm_gap(p, G, 64, 0.3, seed, refit=not broken))
    sizes = {
        "dX": 20,
        "dY": 8,
        "k": 3,
        "n": 64,
        "kappa_S": [1, 30, 300],
        "seeds": [0, 1, 2],
    }
    return Evidence(0, max(gaps), 1e-10, ROUNDING, sizes=sizes)


def _within(pairs: dict, sizes: dict, cap: float) -> Evidence:
    """Return the evidence of sampled means against predictions: the worst ratio, in
    four standard errors up to a cap.

    ``pairs`` maps a cell to (samples, prediction).
    """
    cells = {
        c: (np.mean(v) / q - 1, np.std(v, ddof=1) / np.sqrt(len(v)) / q)
        for c, (v, q) in pairs.items()
    }
    gap, error = max(
        cells.values(), key=lambda cell: abs(cell[0]) / min(cap, 4 * cell[1])
    )
    reason = f"four standard errors, at most {cap:.0%}"
    sizes = sizes | {
        f"{c}: relative gap, standard error": list(cell) for c, cell in cells.items()
    }
    return Evidence(
        0, gap, min(cap, 4 * error), reason, standard_error=error, sizes=sizes
    )


@claim(
    "representation.variance",
    statement="The variance of one step is $\\eta^2/n$ times (multiplicative noise + label noise) for SGD and "
    "$\\eta^2\\sigma^2\\,\\mathrm{tr}(F^\\top F)^{-1}\\,\\mathrm{tr}S^{-1}/(n-d_X-1)$ for KFAC, "
    "whose noise, not its rate, pays for the conditioning",
    source="derived",
    control="n in place of n - dX - 1 for KFAC",
)
def variance(scale, broken, block=0):
    """Estimate both variances over many batches."""
    batches = {"smoke": 1000, "book": 4000, "paper": 20000}[scale]
    p, rng, eta, n, sigma = (
        simulate.problem(20, 8, 3, 50, 2, 0),
        np.random.default_rng(0),
        0.1,
        50,
        0.5,
    )
    F, G = rng.standard_normal((8, 3)), rng.standard_normal((3, 20))
    spread = partial(
        cached,
        simulate.step_spread,
        p=p,
        F=F,
        G=G,
        eta=eta,
        n=n,
        sigma=sigma,
        batches=batches,
        seed=1,
    )
    kfac = theory.kfac_variance(F, p.S, eta, n, sigma) * ((n - 21) / n if broken else 1)
    pairs = {
        "SGD": (
            spread(kfac=False),
            theory.sgd_variance(F, G, p.F_star, p.S, p.G_star, eta, n, sigma),
        ),
        "KFAC": (spread(kfac=True), kfac),
    }
    return _within(
        pairs,
        {
            "dX": 20,
            "dY": 8,
            "k": 3,
            "kappa_S": 50,
            "n": n,
            "batches": batches,
            "seeds": [0, 1],
        },
        0.06,
    )


@claim(
    "representation.noise_floor",
    statement="At a constant step SGD and KFAC settle at the noise floors $\\frac{\\sigma^2}{n f_i s_j}\\frac{r}{2-r}$ "
    "per mode, $r = \\eta f_i s_j$ for SGD, $r = \\eta$ and n - dX - 1 for KFAC",
    source="derived",
    control="for SGD, the law of separate batches for head and features",
)
def noise_floor(scale, broken, block=0):
    """Compare the squared slope after many noisy steps with the law, over independent
    chains.
    """
    p, n, sigma = simulate.problem(14, 7, 2, 25, 2.5, 0), 150, 1e-3
    steps, chains = {
        "smoke": ((150, 30), (100, 400)),
        "book": ((600, 60), (300, 800)),
        "paper": ((3000, 100), (500, 3000)),
    }[scale]
    pairs = {}
    for method, eta, t, c in zip(
        ["sgd", "kfac"], [0.04, 0.1], steps, chains, strict=True
    ):
        v = cached(
            simulate.wander,
            p=p,
            method=method,
            eta=eta,
            n=n,
            sigma=sigma,
            steps=t,
            chains=c,
            seed=1,
        )
        law = "sgd separate" if broken and method == "sgd" else method
        pairs[method] = (
            v,
            theory.noise_floor(p.F_star, p.S, p.G_star, law, eta, n, sigma, t),
        )
    sizes = {
        "dX": 14,
        "dY": 7,
        "k": 2,
        "n": n,
        "steps": list(steps),
        "chains": list(chains),
        "seeds": [0, 1],
    }
    return _within(pairs, sizes, 0.1)


@claim(
    "representation.transfer",
    statement="On frozen features a new head has excess risk $b + (\\sigma^2 d_Y + b)\\,k/(n-k-1)$, with the bias b of "
    "the features measured in the covariance of the new task",
    source="derived",
    control="the training covariance in the formula",
)
def transfer(scale, broken, block=0):
    """Fit new heads on draws of 30 samples from a second covariance."""
    draws = {"smoke": 3000, "book": 12000, "paper": 100000}[scale]
    train, test = (
        simulate.problem(20, 8, 3, 20, 2, 0),
        simulate.problem(20, 8, 3, 5, 2, 1),
    )
    rng, n, sigma = np.random.default_rng(0), 30, 0.5
    p, F_new = test._replace(G_star=train.G_star), rng.standard_normal((8, 3))
    G = simulate.start(train, 0.5, rng)
    v = cached(
        simulate.transfer, p=p, G=G, F_new=F_new, n=n, sigma=sigma, draws=draws, seed=1
    )
    law = theory.transfer_risk(F_new, G, p.G_star, train.S if broken else p.S, n, sigma)
    return _within(
        {"risk": (v, law)},
        {"dX": 20, "dY": 8, "k": 3, "n": n, "draws": draws, "seeds": [0, 1]},
        0.02,
    )
