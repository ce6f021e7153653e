"""Claims of the chapter on alignment: the early feature, the escape from zero, and the
linear student.
"""

import numpy as np
import xarray as xr
from scipy.special import lambertw

from fl import judging
from fl.cells import predictions
from fl.evidence import Evidence, claim
from fl.studies import alignment as study
from fl.theory import alignment as theory
from fl.theory import alignment_growth, alignment_laws, alignment_ridge


@claim(
    "alignment.early_feature",
    statement="The early feature's squared correlation with the teacher, a ratio of "
    "means over training sets, is A(p): cases High and Low, SNR 1/2, 1 and 5, N = 200.",
    source="proved",
    uses=("thm-alignment-early",),
    control="A(p) without sampling noise",
)
def early_feature(scale, broken, block):
    """The mean of the numerator minus A(p) times the denominator, over the mean of the
    latter, which is linear in both.
    """
    run = study.early_feature(scale, block)

    def alignment(case, snr, p, n):
        return theory.early_alignment(study.extreme_task(case, snr), p, n)

    A, endless = [
        predictions(alignment, run.case, run.snr, run.p, n)
        for n in (run.attrs["n"], np.inf)
    ]
    taken = endless if broken else A
    gaps = (run.along - taken * run.total) / run.total.mean("draw")
    rival = A - endless
    reason = "none, the law is exact"
    return judging.agreement(gaps, 0.0, reason, run.attrs, rival, dim="draw")


@claim(
    "alignment.growth_rate",
    statement="A tiny ReLU network grows at twice the largest absolute value of h "
    "on the preconditioned unit sphere: High with p >= -1 and Low with p <= -1, where "
    "one direction grows clearly faster than those of sampling noise.",
    source="derived",
    uses=("thm-alignment-growth",),
    control="the exponent of the lazy regime, P² in place of P",
)
def growth_rate(scale, broken, block):
    """Relative deviation of the measured growth rate, worst cell. A second direction of
    the rate r ω, with as many neurons as the first, takes (1 - r)/(1 + exp(32 (1 - r)))
    off the rate of the norm after 16 e-foldings; the tolerance is its largest value.
    """
    run = study.escape(scale, block).stack(cell=["case", "p"])
    # elsewhere several directions of sampling noise grow at nearly the same rate
    clear = xr.where(run.case == "high", run.p > -2, run.p < 0)
    run = run.isel(cell=clear)

    def rate(case, p, seed, times):
        X, y, task = study.small_sample(case, run.attrs["n"], seed)
        P = task.spectrum.power(times * p)
        return alignment_growth.growth_rate(X, y, P)

    cells = run.case, run.p, run.seed
    right, lazy = (predictions(rate, *cells, times) for times in (1, 2))
    deviation = run["rate"] / (lazy if broken else right) - 1
    tolerance = lambertw(np.exp(-1)).real / 32
    return Evidence(
        0,
        abs(deviation).max(),
        tolerance,
        "relative; the most that a second direction with as many neurons takes off the "
        "rate of the norm between 16 and 20 e-foldings",
        sizes=run.attrs,
        expected=abs(right / lazy - 1).max(),
        within=tolerance * (right / lazy).max(),
    )


@claim(
    "alignment.conservation",
    statement="Gradient flow conserves $w^T P^{-1} w + b^2 - a^2$ of every ReLU "
    "neuron.",
    source="proved",
    uses=("thm-alignment-conserved",),
    control="the same quantity without P",
)
def conservation(scale, broken, block):
    """Drift over the change of a², extrapolated to step size zero from the two smaller of
    three steps, worst run.

    The control states the side alone: a neuron that moves along the eigenvector r changes
    the square of w by λ_r^p times what it changes a², and which one the worst neuron of a
    block moves along has no closed form.
    """
    run = study.conservation(scale, block)
    drift = run["plain" if broken else "preconditioned"]
    fine = 2 * drift.isel(eta=2) - drift.isel(eta=1)
    own = run["preconditioned"]
    halved = 2 * own.isel(eta=2) - 3 * own.isel(eta=1) + own.isel(eta=0)
    return Evidence(
        0,
        abs(fine).max(),
        abs(halved).max(),
        "share of the change of a²; what halving the step still changes in the "
        "extrapolated drift, of which a term of second order leaves a third",
        sizes=run.attrs,
    )


@claim(
    "alignment.population_flow",
    statement="On power laws the preconditioned flow learns like Γ(s)(2t)^-s/q "
    "with q = a(p+1), s = (b-1)/q < 1, corrected for the modes beyond d and the step "
    "size.",
    source="derived",
    uses=("thm-alignment-flow",),
    control="the curve of the exponent p + 1/4",
)
def population_flow(scale, broken, block):
    """Relative deviation of gradient descent from the power law, the worst time of the
    worst cell in units of the square of the first correction.
    """
    run = study.population_flow(scale, block)
    d, eta, t = run.attrs["d"], run.attrs["eta"], run.time.values

    def law(a, b, p):
        q = a * (p + 1)
        correction = alignment_laws.flow_correction(q, b, t, d, eta)
        return alignment_laws.flow_power_law(q, b, t) * (1 + correction), correction

    dims = [["time"], ["time"]]
    right, wrong = (
        xr.apply_ufunc(law, run.a, run.b, p, vectorize=True, output_core_dims=dims)
        for p in (run.p, run.p + 0.25)
    )
    predicted, correction = wrong if broken else right
    deviation = abs(run.risk / predicted - 1) / correction**2
    rival = abs(right[0] / wrong[0] - 1) / wrong[1] ** 2
    own = right[0] / wrong[0] * (right[1] / wrong[1]) ** 2
    return Evidence(
        0,
        deviation.max(),
        1,
        "units of the square of the first correction, which is what comes next for s < 1",
        sizes=run.attrs,
        expected=rival.max(),
        within=own.max(),
    )


@claim(
    "alignment.ridge_risk",
    statement="Training and test error of ridge regression with P = Σ^p are those of "
    "the deterministic equivalent, what is not linear in a label counted as noise.",
    source="derived",
    uses=("thm-alignment-ridge",),
    control="without the factor 1/(1-γ)",
)
def ridge_risk(scale, broken, block):
    """Relative deviation of the mean over training sets from the equivalent."""
    run = study.ridge(scale, block)
    task = study.power_law_task(run.attrs["d"])
    lam, energy, noise = alignment_ridge.linear_part(task)

    def errors(n, p, penalty):
        risk = alignment_ridge.ridge_risk(lam, energy, p, n, penalty, noise)
        factor = 1 - risk.gamma if broken else 1
        return np.array([risk.test, risk.train]) * factor, factor

    dims = [["sample"], []]

    def at(n):
        cells = n, run.p, run.penalty
        return xr.apply_ufunc(errors, *cells, vectorize=True, output_core_dims=dims)

    predicted, factor = at(run.n)
    gaps = run["error"] / predicted - 1
    rival = 1 / factor - 1
    bias = abs(at(run.n + 1)[0] / predicted - 1)
    reason = "a sample more or less in the equivalent, which leaves one out"
    return judging.agreement(gaps, bias, reason, run.attrs, rival)


@claim(
    "alignment.interpolation",
    statement="On power laws the interpolator's excess risk is C(q) N^(1-b) plus "
    "(q-1) times the noise, up to first corrections in N and N/d.",
    source="derived",
    uses=("thm-alignment-interpolation",),
    control="the exponent makes no difference: the constants of the smallest q for all",
)
def interpolation(scale, broken, block):
    """Relative deviation of the mean over training sets from the corrected law."""
    run = study.interpolation(scale, block)
    d, n = run.attrs["d"], run.attrs["n"]

    def law(q, b):
        limit = np.array(alignment_laws.interpolation_power_law(q, b, n))
        terms = alignment_laws.interpolation_correction(q, b, n, d)
        return limit * (1 + terms.sum(1)), abs(terms).sum(1) ** 2

    def laws(qs):
        dims = [["part"], ["part"]]
        return xr.apply_ufunc(law, qs, run.b, vectorize=True, output_core_dims=dims)

    right, second = laws(run.q)
    taken, rival = right, None
    if broken:
        taken, _ = laws(xr.full_like(run.q, run.q.min()))
        rival = right / taken - 1
    gaps = run.risk / taken - 1
    reason = (
        "relative: the square of the first corrections, and q/N = 1/(N(1-γ)), a sample "
        "more or less in the equivalent"
    )
    bias = (second + run.q / n) * right / taken
    return judging.agreement(gaps, bias, reason, run.attrs, rival)


@claim(
    "alignment.optimal_p",
    statement="With tuned ridge the exponent and the penalty that serve a drawn set of "
    "inputs best, on average over Gaussian teachers and noise, are p* = b/a - 1 and "
    "noise/N.",
    source="proved",
    uses=("thm-alignment-optimal",),
    control="no ridge: the best p moves below, to that of the deterministic equivalent",
)
def optimal_p(scale, broken, block):
    """Distance of the best p from p* and of the logarithm of the best penalty from that of
    noise/N, three pairs of power laws, worst drawn inputs; of the control that of p in the
    mean over inputs, nearest pair.
    """
    run = study.best_exponent(scale, block, tuned=not broken)
    d, n = run.attrs["d"], run.attrs["n"]
    off = run.p - (run.b / run.a - 1)
    reason = "accuracy of the numerical minimisation"
    if not broken:
        penalty = np.log(run.penalty * n / run.noise)
        worst = max(abs(off).max(), abs(penalty).max())
        return Evidence(0, worst, 0.001, reason, sizes=run.attrs)
    r = np.arange(1, d + 1.0)

    def below(a, b, noise):
        best = alignment_ridge.best_exponent(r**-a, r**-b, n, noise, tuned=False)
        return b / a - 1 - best

    expected = predictions(below, run.a, run.b, run.noise).min()
    measured = -off.mean("seed").max()
    rival = {"expected": expected, "within": n**-0.5}
    return Evidence(0, measured, 0.001, reason, sizes=run.attrs, **rival)
