"""Claims of the chapter on alignment: the early feature, the escape from zero, and the
linear student.
"""

import numpy as np
import xarray as xr

from fl.evidence import Evidence, claim
from fl.numerics import standard_error, worst_cell
from fl.studies import alignment as study
from fl.theory import alignment as theory
from fl.theory import alignment_growth, alignment_laws, alignment_ridge


def predictions(function, *labels, dims=()) -> xr.DataArray:
    """Return ``function`` at every combination of the labelled values ``labels``, an
    array with the dimensions ``dims`` for each.
    """
    return xr.apply_ufunc(function, *labels, vectorize=True, output_core_dims=[dims])


def relative(measured, predicted, tolerance) -> tuple[float, float]:
    """Return the relative deviation of ``measured`` from ``predicted`` and its
    ``tolerance``, relative too, in the cell that comes nearest to it.
    """
    deviation = abs(measured / predicted - 1)
    _, (_, *worst) = worst_cell(deviation / tolerance, deviation, tolerance)
    return tuple(worst)


def quantile(cells: int, draws: int, sides: int = 2) -> float:
    """Return how many standard errors the mean of ``draws`` may be off so that noise
    alone exceeds it in one of the ``cells`` with probability 1/1000.

    Student's t; Bonferroni over the cells; ``sides`` is 1 for a bound.
    """
    from scipy import stats

    return stats.t.isf(1e-3 / (sides * cells), draws - 1)


CHANCE = (
    "standard errors of the mean in its own cell, so many that noise alone exceeds "
    "them in one of all cells with probability 1/1000 (Student, Bonferroni)"
)


@claim(
    "alignment.early_feature",
    statement="The early feature's squared correlation with the teacher, a ratio of "
    "means over training sets, is A(p): cases High and Low, SNR 1/2, 1 and 5, N = 200.",
    source="proved",
    control="A(p) without sampling noise",
)
def early_feature(scale, broken, block):
    """Relative deviation of the mean over drawn training sets, in the cell that
    deviates by most standard errors.
    """
    run = study.early_feature(scale, block)
    n = np.inf if broken else run.attrs["n"]

    def alignment(case, snr, p):
        return theory.early_alignment(study.extreme_task(case, snr), p, n)

    A = predictions(alignment, run.case, run.snr, run.p)
    # elsewhere A(p) is one, with or without sampling noise
    telling = xr.where(run.case == "high", run.p <= -1, run.p >= -1)
    measured = run.alignment.where(telling, A)
    errors = quantile(int(telling.sum()) * run.sizes["snr"], run.attrs["draws"])
    tolerance = errors * run.error / A
    deviation, tolerance = relative(measured, A, tolerance)
    return Evidence(
        0, deviation, tolerance, CHANCE, tolerance / errors, sizes=run.attrs
    )


@claim(
    "alignment.growth_rate",
    statement="A tiny ReLU network grows at twice the largest absolute value of h "
    "on the preconditioned unit sphere: High with p >= -1 and Low with p <= -1, where "
    "one direction grows clearly faster than those of sampling noise.",
    source="derived",
    control="the exponent of the lazy regime, P² in place of P",
)
def growth_rate(scale, broken, block):
    """Relative deviation of the measured growth rate, worst cell."""
    run = study.escape(scale, block)

    def rate(case, p, seed):
        X, y, task = study.small_sample(case, run.attrs["n"], seed)
        P = task.spectrum.power(2 * p if broken else p)
        return alignment_growth.growth_rate(X, y, P)

    deviation = run["rate"] / predictions(rate, run.case, run.p, run.seed) - 1
    # elsewhere several directions of sampling noise grow at nearly the same rate
    clear = xr.where(run.case == "high", run.p > -2, run.p < 0)
    return Evidence(
        0,
        abs(deviation.where(clear)).max(),
        0.005,
        "relative; between 16 and 20 e-foldings slower directions still carry part of "
        "the norm",
        sizes=run.attrs,
    )


@claim(
    "alignment.conservation",
    statement="Gradient flow conserves $w^T P^{-1} w + b^2 - a^2$ of every ReLU "
    "neuron.",
    source="proved",
    control="the same quantity without P",
)
def conservation(scale, broken, block):
    """Drift over the change of a², extrapolated to step size zero, worst run."""
    run = study.conservation(scale, block)
    drift = run["plain" if broken else "preconditioned"]
    limit = 2 * drift.isel(eta=1) - drift.isel(eta=0)
    return Evidence(
        0,
        abs(limit).max(),
        1e-3,
        "share of the change of a²; what is left of second order in the step size "
        "after extrapolation",
        sizes=run.attrs,
    )


@claim(
    "alignment.population_flow",
    statement="On power laws the preconditioned flow learns like Γ(s)(2t)^-s/q "
    "with q = a(p+1), s = (b-1)/q, corrected for the modes beyond d and the step size.",
    source="derived",
    control="the curve of the exponent p + 1/4",
)
def population_flow(scale, broken, block):
    """Relative deviation of gradient descent from the power law, worst time of the
    worst cell.
    """
    run = study.population_flow(scale, block)
    d, eta, t = run.attrs["d"], run.attrs["eta"], run.time.values

    def law(a, b, p):
        q = a * (p + (0.25 if broken else 0) + 1)
        correction = alignment_laws.flow_correction(q, b, t, d, eta)
        return alignment_laws.flow_power_law(q, b, t) * (1 + correction)

    predicted = predictions(law, run.a, run.b, run.p, dims=["time"])
    return Evidence(
        0,
        abs(run.risk / predicted - 1).max(),
        1e-4,
        "relative; second order of corrections that reach 1/200: their square is 3e-5",
        sizes=run.attrs,
    )


@claim(
    "alignment.ridge_risk",
    statement="Training and test error of ridge regression with P = Σ^p are those of "
    "the deterministic equivalent.",
    source="derived",
    control="without the factor 1/(1-γ)",
)
def ridge_risk(scale, broken, block):
    """Relative deviation of the mean over training sets, in the cell that comes nearest
    to its tolerance.
    """
    run = study.ridge(scale, block)
    task = study.power_law_task(run.attrs["d"])
    lam, energy, noise = alignment_ridge.linear_part(task)

    def errors(n, p, penalty):
        risk = alignment_ridge.ridge_risk(lam, energy, p, n, penalty, noise)
        factor = 1 - risk.gamma if broken else 1
        return factor * np.array([risk.test, risk.train])

    predicted = predictions(errors, run.n, run.p, run.penalty, dims=["sample"])
    measured, error = run["error"].mean("seed"), standard_error(run["error"])
    errors = quantile(predicted.size, run.sizes["seed"])
    tolerance = errors * error / measured + 1 / run.n
    deviation, tolerance = relative(measured, predicted, tolerance)
    return Evidence(
        0,
        deviation,
        tolerance,
        "relative; 1/N for the finite size, and " + CHANCE,
        sizes=run.attrs,
    )


@claim(
    "alignment.interpolation",
    statement="On power laws the interpolator's excess risk is C(q) N^(1-b) plus "
    "(q-1) times the noise, up to first corrections in N and N/d.",
    source="derived",
    control="the exponent makes no difference: the constants of the smallest q for all",
)
def interpolation(scale, broken, block):
    """Relative deviation of the mean over training sets, in the cell that comes nearest
    to its tolerance.
    """
    run = study.interpolation(scale, block)
    d, n = run.attrs["d"], run.attrs["n"]
    qs = run.q if not broken else xr.full_like(run.q, run.q.min())

    def parts(function, *size):
        def both(q, b):
            return np.array(function(q, b, *size))

        return predictions(both, qs, run.b, dims=["part"])

    law = parts(alignment_laws.interpolation_power_law, n)
    correction = parts(alignment_laws.interpolation_correction, n, d)
    measured, error = run.risk.mean("seed"), standard_error(run.risk)
    errors = quantile(law.size, run.sizes["seed"])
    tolerance = errors * error / measured + correction**2
    deviation, tolerance = relative(measured, law * (1 + correction), tolerance)
    return Evidence(
        0,
        deviation,
        tolerance,
        "relative; the square of the first correction, and " + CHANCE,
        sizes=run.attrs,
    )


@claim(
    "alignment.optimal_p",
    statement="With tuned ridge the best exponent is p* = b/a - 1 for every N and "
    "noise level.",
    source="proved",
    control="no ridge: with noise the best p moves below",
)
def optimal_p(scale, broken, block):
    """Distance of the best p from p*: deterministic equivalent, and teachers averaged
    over one drawn set of inputs; of the control the smaller of the two.
    """
    run = study.best_exponent(scale, block, tuned=not broken)
    d, samples = study.EQUIVALENT["d"], study.EQUIVALENT["n"]
    if broken:
        samples = samples[:2]  # without ridge d > N is needed
    r = np.arange(1, d + 1.0)

    def best(a, b, noise, n):
        return alignment_ridge.best_exponent(r**-a, r**-b, n, noise, tuned=not broken)

    n = xr.DataArray(samples, dims="n")
    matched = run.b / run.a - 1
    gap = abs(predictions(best, run.a, run.b, run.noise, n) - matched).max()
    drawn = abs(run.p - matched).max()
    return Evidence(
        0,
        min(gap, drawn) if broken else max(gap, drawn),
        0.001,
        "accuracy of the numerical minimisation",
        sizes=run.attrs | study.EQUIVALENT,
    )


@claim(
    "alignment.matched_student",
    statement="On average over drawn teachers no exponent with its tuned ridge gives a "
    "linear student a smaller error than p* = b/a - 1: p* - 1 to p* + 1, three pairs of "
    "power laws, d = 100, N = 50.",
    source="derived",
    control="no ridge: smaller exponents win",
)
def matched_student(scale, broken, block):
    """Smallest difference of a mean error to that of p*, in paired standard errors."""
    run = study.students(scale, block)
    risk = run.risk.sel(factor=0.0)
    if not broken:  # for each exponent the penalty that is best on average
        factor = run.risk.mean("seed").idxmin("factor")
        risk = run.risk.sel(factor=factor)
    others = risk.drop_sel(shift=0.0)
    gain = others - risk.sel(shift=0.0, drop=True)
    score = gain.mean("seed") / standard_error(gain)
    cells, seeds = score.size, run.sizes["seed"]
    return Evidence(
        0,
        score.min(),
        quantile(cells, seeds, sides=1),
        "paired " + CHANCE,
        standard_error=1,
        relation="at least",
        sizes=run.attrs,
    )
