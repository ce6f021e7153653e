"""Claims of the chapter on alignment: the early feature, the escape from zero, and the
linear student.
"""

import numpy as np
import xarray as xr

from fl.evidence import Evidence, claim
from fl.numerics import standard_error, worst_cell
from fl.studies import alignment as study
from fl.theory import alignment as theory
from fl.theory import alignment_growth, alignment_ridge


def predictions(function, *labels, dims=()) -> xr.DataArray:
    """Return ``function`` at every combination of the labelled values ``labels``, an
    array with the dimensions ``dims`` for each.
    """
    return xr.apply_ufunc(function, *labels, vectorize=True, output_core_dims=[dims])


def relative(measured, predicted, error, extra=0.0) -> tuple[float, float]:
    """Return the relative deviation of ``measured`` from ``predicted`` and its
    tolerance, ``error`` of the measurement plus ``extra``, in the cell that comes
    nearest to its tolerance.
    """
    deviation = abs(measured / predicted - 1)
    tolerance = error / predicted + extra
    _, (_, *worst) = worst_cell(deviation / tolerance, deviation, tolerance)
    return tuple(worst)


@claim(
    "alignment.early_feature",
    statement="The early feature's squared correlation with the teacher is A(p), "
    "in both cases and at every SNR.",
    source="derived",
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
    deviation, tolerance = relative(measured, A, 4 * run.error)
    return Evidence(
        0,
        deviation,
        tolerance,
        "relative; four standard errors of the mean over training sets, in the worst "
        "cell",
        tolerance / 4,
        sizes=run.attrs,
    )


@claim(
    "alignment.growth_rate",
    statement="A tiny ReLU network grows at twice the largest absolute value of h "
    "on the preconditioned unit sphere.",
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
    source="derived",
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
    "with q = a(p+1), s = (b-1)/q.",
    source="derived",
    control="the curve of the exponent p + 1/4",
)
def population_flow(scale, broken, block):
    """Relative deviation of gradient descent from the power law, worst time of the
    worst cell.
    """
    run = study.population_flow(scale, block)

    def law(a, b, p):
        q = a * (p + (0.25 if broken else 0) + 1)
        return alignment_ridge.flow_power_law(q, b, run.time.values)

    predicted = predictions(law, run.a, run.b, run.p, dims=["time"])
    return Evidence(
        0,
        abs(run.risk / predicted - 1).max(),
        0.01,
        "relative; modes beyond d, the sum in place of the integral, and the finite "
        "step",
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
    measured, error = run["error"].mean("seed"), 4 * standard_error(run["error"])
    deviation, tolerance = relative(measured, predicted, error, 2 / run.n)
    return Evidence(
        0,
        deviation,
        tolerance,
        "relative; four standard errors plus a finite-size term 2/N",
        sizes=run.attrs,
    )


@claim(
    "alignment.interpolation",
    statement="On power laws the interpolator's excess risk is C(q) N^(1-b) plus "
    "(q-1) times the noise.",
    source="derived",
    control="the constants of q + 1/2",
)
def interpolation(scale, broken, block):
    """Relative deviation of the mean over training sets, in the cell that comes nearest
    to its tolerance.
    """
    run = study.interpolation(scale, block)
    d, n, b = (run.attrs[name] for name in ["d", "n", "b"])

    def parts(q):
        q = q + (0.5 if broken else 0)
        return np.array(alignment_ridge.interpolation_power_law(q, b, n))

    predicted = predictions(parts, run.q, dims=["part"])
    measured, error = run.risk.mean("seed"), 3 * standard_error(run.risk)
    deviation, tolerance = relative(measured, predicted, error, 0.02 + n / d)
    return Evidence(
        0,
        deviation,
        tolerance,
        "relative; three standard errors, 2 % for the sum in place of the integral, "
        "N/d for the missing tail",
        sizes=run.attrs,
    )


@claim(
    "alignment.optimal_p",
    statement="With tuned ridge the best exponent is p* = b/a - 1 for every N and "
    "noise level.",
    source="derived",
    control="no ridge: with noise the best p moves below",
)
def optimal_p(scale, broken, block):
    """Distance of the best p from p*: deterministic equivalent, and teachers averaged
    over one drawn set of inputs.
    """
    run = study.best_exponent(scale, block)
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
        max(gap, drawn),
        0.001,
        "accuracy of the numerical minimisation",
        sizes=run.attrs | study.EQUIVALENT,
    )
