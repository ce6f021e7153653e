"""Claims of the chapter on one gradient step and a single-index teacher."""

import numpy as np

from fl.evidence import Evidence, claim
from fl.simulate import single_index as simulate
from fl.sweep import sweep
from fl.tasks import Task, log_spaced, spectral_task, two_level
from fl.theory import single_index as theory
from fl.theory import single_index_network as network

# d, draws of a whole batch per unit, units (seeds); for the network: d, seeds
DIRECTIONS = {"smoke": (100, 80, 1), "book": (200, 40, 2), "paper": (1000, 5, 40)}
PAIRED = {"smoke": (60, 200, 1), "book": (100, 300, 2), "paper": (400, 50, 32)}
NETWORK = {"smoke": (120, 12), "book": (250, 8), "paper": (500, 20)}
POWERS, DAMPINGS = (-1.0, -0.5, 0.0, 0.5), (0.0, 0.1, 1.0)


def spectra(d: int) -> dict:
    """Return the two spectra of the chapter, both of mean 1: two levels 1.8 and 0.2,
    and a log-spaced one 1 to 30.
    """
    return {
        "two-level": two_level(1.8, d // 2, 0.2, d // 2),
        "log-spaced": log_spaced(d, 30.0),
    }


def tasks(d: int) -> list[Task]:
    """Return teachers spread evenly, on weak and on strong directions, each with
    another link, noise 0.25.
    """
    s = spectra(d)
    return [
        spectral_task(s["two-level"], 0.0, "linear", 0.25),
        spectral_task(s["log-spaced"], -1.0, "tanh", 0.25),
        spectral_task(s["log-spaced"], 1.0, "relu", 0.25),
    ]


def _cells(scale):
    # (task, gamma, measured data set): all three families of directions on the same
    # batches
    d, draws, seeds = DIRECTIONS[scale]
    for task in tasks(d):
        for ratio in (0.5, 2, 4):
            n = int(ratio * d)
            # a sample covariance of rank n < d has no inverse
            families = (
                dict(sample_powers=POWERS, dampings=DAMPINGS)
                if n > d
                else dict(dampings=DAMPINGS[1:])
            )
            data = sweep(
                simulate.directions,
                seeds=range(seeds),
                task=task,
                n=n,
                draws=draws,
                powers=POWERS,
                **families,
            )
            yield (
                task,
                d / n,
                data.stack(sample_=("seed", "draw")).transpose("sample_", ...),
            )


def _evidence(found, reason, tolerance, size, predicted=0.0, **sizes) -> Evidence:
    # found: a value and its standard error per cell; the worst cell is the measurement
    error, (d, *draws, seeds) = max(e for _, e in found), size
    return Evidence(
        predicted=predicted,
        measured=max((value for value, _ in found), key=lambda v: abs(v - predicted)),
        tolerance=tolerance(error),
        reason=f"four standard errors of the worst cell, {reason}",
        standard_error=error,
        sizes={
            "d": d,
            "draws": int(np.prod(draws)) * seeds,
            "cells": len(found),
            "seeds": list(range(seeds)),
        }
        | sizes,
    )


def _mean(draws) -> tuple[float, float]:
    return float(np.mean(draws)), float(np.std(draws, ddof=1) / np.sqrt(np.size(draws)))


def _worst(cells, size, cap=0.03, **sizes) -> Evidence:
    # cells of (measured draws, predicted)
    gaps = [_mean(draws - predicted) for draws, predicted in cells]
    return _evidence(
        gaps, f"at most {cap:g}", lambda error: min(cap, 4 * error), size, **sizes
    )


@claim(
    "single_index.population_power",
    statement="the step filtered by the power Σ^p of the true covariance aligns with the teacher as the "
    "bias-variance formula in p, d/n and the label's second moment says",
    source="derived",
    control="the formula for the power of the batch's own covariance",
)
def population_power(scale, broken, block=0):
    """Three teachers, three sample sizes, four powers."""
    cells = []
    for task, gamma, data in _cells(scale):
        (s, b), m = theory.weights(task), theory.moments(task)
        for p in POWERS:
            if broken and gamma < 1:
                predicted = theory.sample_power(s, b, gamma, m.rho, p).cos2
            else:
                predicted = theory.population_power(s, b, gamma, m.nu, p).cos2
            cells.append((data.population.sel(p=p), predicted))
    return _worst(
        cells, DIRECTIONS[scale], powers=list(POWERS), n="d/2, 2d, 4d", noise=0.25
    )


@claim(
    "single_index.kfac",
    statement="the step preconditioned by the damped covariance of the same batch, (Σ̂ + λ)^-1, aligns "
    "with the teacher as the ridge formula with the effective κ(λ) says",
    source="derived",
    control="the formula for the same filter of the true covariance",
)
def kfac(scale, broken, block=0):
    """Three teachers, three sample sizes, dampings 0 (where n > d), 0.1 and 1."""
    cells = []
    for task, gamma, data in _cells(scale):
        (s, b), m = theory.weights(task), theory.moments(task)
        for damping in data.damping.values:
            if broken:
                predicted = theory.population_filter(
                    s, b, gamma, m.nu, 1 / (s + damping)
                ).cos2
            else:
                predicted = theory.kfac(s, b, gamma, m.rho, damping).cos2
            cells.append((data.kfac.sel(damping=damping), predicted))
    return _worst(
        cells, DIRECTIONS[scale], dampings=list(DAMPINGS), n="d/2, 2d, 4d", noise=0.25
    )


@claim(
    "single_index.sample_power",
    statement="the step filtered by the power Σ̂^p of the batch's own covariance aligns with the teacher as a "
    "contour integral over its spectrum says",
    source="derived",
    control="the formula for the power of the true covariance",
)
def sample_power(scale, broken, block=0):
    """Three teachers, two sample sizes n > d, four powers."""
    cells = []
    for task, gamma, data in _cells(scale):
        if gamma < 1:
            (s, b), m = theory.weights(task), theory.moments(task)
            for q in POWERS:
                if broken:
                    predicted = theory.population_power(s, b, gamma, m.nu, q).cos2
                else:
                    predicted = theory.sample_power(s, b, gamma, m.rho, q).cos2
                cells.append((data["sample"].sel(q=q), predicted))
    return _worst(cells, DIRECTIONS[scale], powers=list(POWERS), n="2d, 4d", noise=0.25)


@claim(
    "single_index.best_damping",
    statement="for an evenly spread teacher the damping that aligns best is (d/n) ρ, whatever the covariance",
    source="derived",
    control="the damping of another noise level: four times ρ",
)
def best_damping(scale, broken, block=0):
    """The top of a parabola through three dampings a factor 2 apart, on the same
    batches, in units of log2.
    """
    d, draws, seeds = PAIRED[scale]
    tops = []
    for name, ratio in (("two-level", 2.0), ("log-spaced", 2.0), ("log-spaced", 0.75)):
        task, n = (
            spectral_task(spectra(d)[name], 0.0, "linear", 0.5),
            int(ratio * d),
        )
        dampings = tuple(d / n * theory.moments(task).rho * np.array([0.5, 1, 2, 4, 8]))
        data = sweep(
            simulate.directions,
            seeds=range(seeds),
            task=task,
            n=n,
            dampings=dampings,
            draws=draws,
        )
        tops.append(vertex(data.kfac[..., 2:5] if broken else data.kfac[..., 0:3]))
    return _top(tops, scale, n="2d, 2d, 3d/4", noise=0.5)


@claim(
    "single_index.best_exponent",
    statement="for a teacher with weights like s^r the power Σ^p that aligns best, which runs from p = -1 without "
    "noise to p = r in noise alone, is the optimum of the formula",
    source="derived",
    control="the best exponent of another teacher: weights like 1/s",
)
def best_exponent(scale, broken, block=0):
    """The top of a parabola through three exponents 0.15 apart, on the same batches, in
    units of p.
    """
    d, draws, seeds = PAIRED[scale]
    tops, gap = [], 0.15
    for noise in (0.09, 1.0, 9.0):
        task = spectral_task(spectra(d)["log-spaced"], 1.0, "linear", noise)
        (s, b), m = theory.weights(task), theory.moments(task)
        best = theory.best_exponent(
            s, (1 / s) / (1 / s).sum() if broken else b, 1.0, m.nu
        )
        powers = tuple(best + gap * np.array([-1, 0, 1]))
        data = sweep(
            simulate.directions,
            seeds=range(seeds),
            task=task,
            n=d,
            powers=powers,
            draws=draws,
        )
        top, error = vertex(data.population)
        tops.append((gap * top, gap * error))
    return _top(tops, scale, n="d", noise="0.09, 1, 9")


def vertex(curves) -> tuple[float, float]:
    """Return where the parabola through the mean of ``curves`` (.., 3) at -1, 0, 1
    turns, and its jackknife error.
    """
    curves = np.asarray(curves).reshape(-1, 3)

    def top(c):
        return (c[..., 0] - c[..., 2]) / (c[..., 0] - 2 * c[..., 1] + c[..., 2]) / 2

    m = len(curves)
    left_out = (curves.sum(0) - curves) / (m - 1)
    return float(top(curves.mean(0))), float(np.sqrt((m - 1) * np.var(top(left_out))))


def _top(tops, scale, **sizes) -> Evidence:
    reason = "and 0.02 because the curve is not quite a parabola and d is finite"
    return _evidence(
        tops, reason, lambda error: 4 * error + 0.02, PAIRED[scale], **sizes
    )


@claim(
    "single_index.whitening_crossing",
    statement="whitening by the true covariance and by the batch's own align equally well at d/n = τ²/(τ² + ρ)",
    source="derived",
    control="ν in place of ρ",
)
def whitening_crossing(scale, broken, block=0):
    """The paired difference of the two alignments at the predicted sample size, three
    problems.
    """
    d, draws, seeds = PAIRED[scale]
    s, gaps, finite = spectra(d), [], 0.0
    for name, link, noise in (
        ("two-level", "linear", 0.25),
        ("log-spaced", "tanh", 0.09),
        ("two-level", "relu", 0.04),
    ):
        task = spectral_task(s[name], 0.0, link, noise)
        m = theory.moments(task)
        n = round(d / theory.whitening_crossing(m.tau2, m.nu if broken else m.rho))
        data = sweep(
            simulate.directions,
            seeds=range(seeds),
            task=task,
            n=n,
            powers=(-1.0,),
            dampings=(0.0,),
            draws=draws,
        )
        gaps.append(_mean(data.population[..., 0] - data.kfac[..., 0]))
        finite = max(finite, 0.25 / (n - d - 1))
    reason = "and a quarter of the finite-size factor 1/(n - d - 1)"
    return _evidence(
        gaps,
        reason,
        lambda error: 4 * error + finite,
        PAIRED[scale],
        n="at the crossing",
    )


@claim(
    "single_index.spike",
    statement="after a step of strength θ = 2 the weights of a network have an outlying singular value, and its "
    "vector aligns with the teacher as the direction times the overlap of the spike says",
    source="derived",
    control="a step below the threshold θ = (N/d)^(1/4)",
)
def spike(scale, broken, block=0):
    """Plain and preconditioned steps of a tanh network with N = 2d neurons."""
    d, seeds = NETWORK[scale]
    n, N, theta = 2 * d, 2 * d, 2.0
    task = spectral_task(spectra(d)["two-level"], 0.0, "linear", 0.09)
    (s, b), m = theory.weights(task), theory.moments(task)
    outlier, overlap = network.spike(theta, N / d)
    plain, whitened = (
        theory.population_power(s, b, d / n, m.nu, 0),
        theory.kfac(s, b, d / n, m.rho, 0.1),
    )
    scores = []
    for direction, damping in ((plain, None), (whitened, 0.1)):
        eta = network.step_size(
            direction, m.slope, "tanh", s, 0.25 * theta if broken else theta
        )
        fixed = dict(
            task=task, n=n, neurons=N, activation="tanh", eta=eta, damping=damping
        )
        data = sweep(simulate.stepped_weights, seeds=range(seeds), **fixed)
        scores.append((data["values"].isel(k=0) / outlier - 1) / 0.03)
        scores.append((data.alignment - overlap * direction.cos2) / 0.06)
    return Evidence(
        predicted=1.0,
        measured=max(abs(_mean(score)[0]) for score in scores),
        tolerance=0.0,
        reason="finite size: an error of 3 % of the singular value, or of 0.06 of the alignment, counts as 1",
        standard_error=max(_mean(score)[1] for score in scores),
        relation="at most",
        sizes={
            "d": d,
            "n": n,
            "neurons": N,
            "theta": theta,
            "activation": "tanh",
            "seeds": list(range(seeds)),
        },
    )


@claim(
    "single_index.natural_gradient",
    statement="the full natural-gradient step on the first layer aligns like the batch-covariance step with damping "
    "(tr Σ/n) Var σ'/(E σ')², which only a linear activation escapes",
    source="derived",
    control="no implicit damping",
)
def natural_gradient(scale, broken, block=0):
    """Gauss-Newton steps of a tanh and a ReLU network."""
    cells = []
    for task, activation, gamma, data in _networks(scale):
        (s, b), m = theory.weights(task), theory.moments(task, centred=True)
        damping = 0.0 if broken else network.implicit_damping(activation, s, gamma)
        cells.append((data.ngd, theory.kfac(s, b, gamma, m.rho, damping).cos2))
    return _worst(cells, NETWORK[scale], 0.05, n="2d", neurons="2d", noise=0.09)


@claim(
    "single_index.adam_batchnorm_muon",
    statement="in randomly rotated coordinates batch-norm and Muon keep the alignment of plain gradient descent, and "
    "Adam multiplies it by r/arcsin r < 1",
    source="derived",
    control="coordinates that are the eigenvectors of the covariance",
)
def adam_batchnorm_muon(scale, broken, block=0):
    """First updates of a tanh and a ReLU network, three methods each."""
    cells = []
    for task, activation, gamma, data in _networks(scale, rotate=not broken):
        (s, b), m = theory.weights(task), theory.moments(task, centred=True)
        plain = theory.population_power(s, b, gamma, m.nu, 0).cos2
        adam = network.adam(s, b, gamma, m.nu, activation)
        cells += [(data.batchnorm, plain), (data.muon, plain), (data.adam, adam)]
    return _worst(cells, NETWORK[scale], 0.05, n="2d", neurons="2d", noise=0.09)


def _networks(scale, rotate=True):
    d, seeds = NETWORK[scale]
    s, n = spectra(d), 2 * d
    for name, r, activation in (
        ("two-level", 0.0, "tanh"),
        ("log-spaced", -1.0, "relu"),
    ):
        task = spectral_task(s[name], r, "linear", 0.09)
        fixed = dict(
            task=task, n=n, neurons=2 * d, activation=activation, rotate=rotate
        )
        yield (
            task,
            activation,
            d / n,
            sweep(simulate.updates, seeds=range(seeds), **fixed),
        )


@claim(
    "single_index.even_teacher",
    statement="an even teacher shows nothing: the alignment of the step is that of chance, a known multiple of 1/d",
    source="derived",
    control="the same teacher plus an odd part (ReLU instead of the absolute value)",
)
def even_teacher(scale, broken, block=0):
    """Alignment over its chance level for the absolute value, two spectra, p = 0 and p
    = -1.
    """
    d, draws, seeds = PAIRED[scale]
    ratios, powers = [], (0.0, -1.0)
    for spectrum in spectra(d).values():
        even = spectral_task(spectrum, -1.0, "abs", 0.25)
        task = spectral_task(spectrum, -1.0, "relu", 0.25) if broken else even
        data = sweep(
            simulate.directions,
            seeds=range(seeds),
            task=task,
            n=2 * d,
            powers=powers,
            draws=draws,
        )
        ratios += [
            _mean(data.population.sel(p=p) / network.chance(even, p)) for p in powers
        ]
    reason = "at most a half"
    return _evidence(
        ratios,
        reason,
        lambda error: min(4 * error, 0.5),
        PAIRED[scale],
        predicted=1.0,
        n="2d",
        noise=0.25,
    )
