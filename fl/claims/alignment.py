"""Claims of the chapter on alignment: the early feature, the escape from zero, and the
linear student.
"""

import numpy as np

from fl.evidence import Evidence, claim
from fl.numerics import standard_error
from fl.simulate import alignment as experiment
from fl.simulate import alignment_student
from fl.sweep import evaluate, sweep
from fl.theory import alignment_growth, alignment_ridge
from fl.theory.alignment import early_alignment


def worst(deviation, tolerance) -> tuple[float, float]:
    """Return deviation and tolerance of the cell that comes nearest to breaking its
    tolerance, or breaks it most.
    """
    deviation, tolerance = np.broadcast_arrays(np.abs(deviation), tolerance)
    cell = np.unravel_index(np.argmax(deviation / tolerance), deviation.shape)
    return float(deviation[cell]), float(tolerance[cell])


PS = (-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0)
# exponents at which A(p) stays below one; at the others it is one with or without
# sampling noise
TELLING = {"High": [-2.0, -1.5, -1.0], "Low": [-1.0, -0.5, 0.0, 0.5, 1.0]}


@claim(
    "alignment.early_feature",
    statement="The early feature's squared correlation with the teacher is A(p), in both cases and at every SNR.",
    source="derived",
    control="A(p) without sampling noise",
)
def early_feature(scale, broken, block=0):
    """Relative deviation of the mean over drawn training sets, in the cell that
    deviates by most standard errors.
    """
    n, snrs = 200, [0.5, 1.0, 5.0]
    draws = {"smoke": 300, "book": 2000, "paper": 20000}[scale]
    deviation, error = [], []
    for case, ps in TELLING.items():
        runs = sweep(
            experiment.early_feature, {"snr": snrs}, case=case, ps=PS, n=n, draws=draws
        )
        run = runs.isel(seed=0).sel(p=ps)
        size = np.inf if broken else n
        theory = np.array(
            [
                [
                    early_alignment(experiment.extreme_task(case, snr), p, size)
                    for p in ps
                ]
                for snr in snrs
            ]
        )
        deviation += [(run["alignment"].values - theory) / theory]
        error += [run["error"].values / theory]
    measured, tolerance = worst(np.hstack(deviation), 4 * np.hstack(error))
    sizes = {"N": n, "d": 10, "draws": draws, "snr": snrs, "p": TELLING, "seed": 0}
    reason = "relative; four standard errors of the mean over training sets, in the worst cell"
    return Evidence(0, measured, tolerance, reason, tolerance / 4, sizes=sizes)


@claim(
    "alignment.growth_rate",
    statement="A tiny ReLU network grows at twice the largest absolute value of h on the preconditioned unit sphere.",
    source="derived",
    control="the exponent of the lazy regime, P² in place of P",
)
def growth_rate(scale, broken, block=0):
    """Relative deviation of the measured growth rate, worst cell."""
    cells = {
        "smoke": [("High", -1.0), ("High", 1.0), ("Low", -2.0)],
        "book": [
            ("High", -1.0),
            ("High", 0.0),
            ("High", 1.0),
            ("Low", -2.0),
            ("Low", -1.0),
        ],
    }
    cells["paper"] = cells["book"]
    n, h, seeds = (
        200,
        50 if scale == "smoke" else 100,
        {"smoke": 1, "book": 2, "paper": 10}[scale],
    )
    units = [
        {"case": c, "p": p, "n": n, "h": h, "seed": s}
        for c, p in cells[scale]
        for s in range(seeds)
    ]
    deviation = []
    for unit, run in zip(units, evaluate(experiment.escape_rate, units), strict=True):
        X, y, task = experiment.small_sample(unit["case"], n, unit["seed"])
        P = task.spectrum.power(2 * unit["p"] if broken else unit["p"])
        deviation.append(run["rate"] / alignment_growth.growth_rate(X, y, P) - 1)
    reason = "relative; between 16 and 20 e-foldings slower directions still carry part of the norm"
    sizes = {
        "N": n,
        "d": 7,
        "neurons": h,
        "cells": [list(c) for c in cells[scale]],
        "seeds": list(range(seeds)),
    }
    return Evidence(0, float(np.abs(deviation).max()), 0.005, reason, sizes=sizes)


@claim(
    "alignment.conservation",
    statement="Gradient flow conserves $w^T P^{-1} w + b^2 - a^2$ of every ReLU neuron.",
    source="derived",
    control="the same quantity without P",
)
def conservation(scale, broken, block=0):
    """Drift over the change of a², extrapolated to step size zero, worst run."""
    lr, steps, n, h = 2e-3, 200, 100, 50
    seeds = {"smoke": 1, "book": 3, "paper": 10}[scale]
    units = [
        {
            "case": case,
            "p": p,
            "lr": lr / k,
            "steps": k * steps,
            "n": n,
            "h": h,
            "seed": s,
        }
        for case, p in [("High", 0.7), ("High", -1.0), ("Low", 0.5)]
        for s in range(seeds)
        for k in (1, 2)
    ]
    name = "plain" if broken else "preconditioned"
    drift = np.array(
        [run[name] for run in evaluate(experiment.conservation_drift, units)]
    ).reshape(-1, 2)
    measured = float(np.abs(2 * drift[:, 1] - drift[:, 0]).max())
    reason = "share of the change of a²; what is left of second order in the step size after extrapolation"
    sizes = {
        "N": n,
        "d": 7,
        "neurons": h,
        "lr": lr,
        "steps": steps,
        "p": [0.7, -1.0, 0.5],
        "seeds": list(range(seeds)),
    }
    return Evidence(0, measured, 1e-3, reason, sizes=sizes)


@claim(
    "alignment.population_flow",
    statement="On power laws the preconditioned flow learns like Γ(s)(2t)^-s/q with q = a(p+1), s = (b-1)/q.",
    source="derived",
    control="the curve of the exponent p + 1/4",
)
def population_flow(scale, broken, block=0):
    """Relative deviation of gradient descent from the power law, worst time of the
    worst cell.
    """
    d = {"smoke": 20_000, "book": 50_000, "paper": 500_000}[scale]
    lr, times = 0.25, [100.0, 200.0, 400.0]
    cells = [(2.5, 3.0, 0.0), (1.25, 3.0, 1.0), (1.0, 2.0, 0.5), (3.0, 2.0, -0.5)]
    deviation = []
    for a, b, p in cells:
        run = alignment_student.population_descent(a, b, p, d, lr, times)
        q = a * (p + (0.25 if broken else 0) + 1)
        deviation.append(run / alignment_ridge.flow_power_law(q, b, times) - 1)
    reason = "relative; modes beyond d, the sum in place of the integral, and the finite step"
    sizes = {"d": d, "lr": lr, "t": times, "cells (a, b, p)": [list(c) for c in cells]}
    return Evidence(0, float(np.abs(deviation).max()), 0.01, reason, sizes=sizes)


@claim(
    "alignment.ridge_risk",
    statement="Training and test error of ridge regression with P = Σ^p are those of the deterministic equivalent.",
    source="derived",
    control="without the factor 1/(1-γ)",
)
def ridge_risk(scale, broken, block=0):
    """Relative deviation of the mean over training sets, in the cell that comes nearest
    to its tolerance.
    """
    ps, regs = (-1.0, -0.5, 0.0, 1.0), (0.003, 0.03)
    d, draws = {"smoke": (200, 20), "book": (300, 40), "paper": (600, 200)}[scale]
    lam, energy, noise = modes(d)
    deviation, tolerance = [], []
    for n in (d // 2, 2 * d):
        runs = sweep(
            alignment_student.ridge_errors,
            seeds=range(draws),
            d=d,
            n=n,
            ps=ps,
            regs=regs,
        )
        for kind in ("test", "train"):
            theory = np.empty((len(ps), len(regs)))
            for i, p in enumerate(ps):
                for j, reg in enumerate(regs):
                    risk = alignment_ridge.ridge_risk(lam, energy, p, n, reg, noise)
                    theory[i, j] = getattr(risk, kind) * (
                        1 - risk.gamma if broken else 1
                    )
            mean, error = (
                runs[kind].mean("seed").values,
                standard_error(runs[kind]).values,
            )
            deviation.append(mean / theory - 1)
            tolerance.append(4 * error / theory + 2 / n)
    measured, allowed = worst(deviation, tolerance)
    sizes = {
        "d": d,
        "N": [d // 2, 2 * d],
        "p": list(ps),
        "reg": list(regs),
        "a": 1,
        "b": 1.5,
        "seeds": list(range(draws)),
    }
    return Evidence(
        0,
        measured,
        allowed,
        "relative; four standard errors plus a finite-size term 2/N",
        sizes=sizes,
    )


def modes(d: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Return eigenvalues, signal energies and the variance of the rest, for the task of
    `ridge_errors`.
    """
    task = alignment_student.power_law_task(d, 1.0, 1.5, 1.0)
    _, variance, c1 = task.teacher.link.moments(task.tau[0])
    lam = task.spectrum.eigenvalues
    energy = c1**2 * lam * task.teacher.directions[0] ** 2
    return lam, energy, variance - energy.sum() + task.noise_variance


@claim(
    "alignment.interpolation",
    statement="On power laws the interpolator's excess risk is C(q) N^(1-b) plus (q-1) times the noise.",
    source="derived",
    control="the constants of q + 1/2",
)
def interpolation(scale, broken, block=0):
    """Relative deviation of the mean over training sets, in the cell that comes nearest
    to its tolerance.
    """
    d, n, draws = {
        "smoke": (4000, 100, 12),
        "book": (20_000, 200, 20),
        "paper": (50_000, 400, 40),
    }[scale]
    b, qs = 2.0, (2.0, 3.0)
    runs = sweep(
        alignment_student.interpolation_errors, seeds=range(draws), d=d, n=n, b=b, qs=qs
    )
    theory = np.array(
        [
            alignment_ridge.interpolation_power_law(q + (0.5 if broken else 0), b, n)
            for q in qs
        ]
    )
    deviation, tolerance = [], []
    for kind, value in zip(("signal", "noise"), theory.T, strict=True):
        mean, error = runs[kind].mean("seed").values, standard_error(runs[kind]).values
        deviation.append(mean / value - 1)
        tolerance.append(3 * error / value + 0.02 + n / d)
    measured, allowed = worst(deviation, tolerance)
    sizes = {"d": d, "N": n, "b": b, "q": list(qs), "seeds": list(range(draws))}
    reason = "relative; three standard errors, 2 % for the sum in place of the integral, N/d for the missing tail"
    return Evidence(0, measured, allowed, reason, sizes=sizes)


@claim(
    "alignment.optimal_p",
    statement="With tuned ridge the best exponent is p* = b/a - 1 for every N and noise level.",
    source="derived",
    control="no ridge: with noise the best p moves below",
)
def optimal_p(scale, broken, block=0):
    """Distance of the best p from p*: deterministic equivalent, and teachers averaged
    over one drawn set of inputs.
    """
    d, drawn = 1000, {"smoke": (60, 30), "book": (100, 50), "paper": (300, 150)}[scale]
    laws = [(1.0, 1.5, 0.5), (1.0, 2.5, 0.1), (1.5, 1.2, 1.0)]
    gap = []
    for a, b, noise in laws:
        r = np.arange(1, d + 1.0)
        for n in (100, 300) if broken else (100, 300, 3000):
            gap.append(
                alignment_ridge.best_exponent(r**-a, r**-b, n, noise, tuned=not broken)
                - (b / a - 1)
            )
    if not broken:
        units = [
            {"a": a, "b": b, "noise": s, "d": drawn[0], "n": drawn[1], "seed": 0}
            for a, b, s in laws
        ]
        runs = evaluate(alignment_student.best_on_average, units)
        gap += [
            run["p"] - (b / a - 1) for run, (a, b, _) in zip(runs, laws, strict=True)
        ]
    sizes = {
        "d": d,
        "N": [100, 300, 3000],
        "drawn d, N": list(drawn),
        "laws (a, b, noise)": [list(x) for x in laws],
    }
    return Evidence(
        0,
        float(np.abs(gap).max()),
        0.001,
        "accuracy of the numerical minimisation",
        sizes=sizes,
    )
