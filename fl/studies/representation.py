"""What the chapter on linear representation learning runs on the population and on
single batches, and at which sizes.

Block 0 holds the problems of the book, each other block problems of its own.
"""

from typing import NamedTuple

import numpy as np
import xarray as xr

from fl import scales
from fl.simulate import representation as simulate
from fl.simulate.representation import KFAC, SGD, Factors, Problem, random_problem
from fl.simulate.representation_descent import angles, descend, measured_factor
from fl.simulate.representation_noise import batchnorm_gap
from fl.sweep import cached
from fl.theory import representation as theory  # says which step size is the best

SMALL = {"dX": 12, "dY": 6, "k": 3}
LARGE = {"dX": 20, "dY": 8, "k": 3}
NEAR = SMALL | {"kappa_S": 10, "kappa_F": 3}
FACTORS = {
    "I, I": SGD,
    "I, S": Factors("I", "S"),
    "F'F, I": Factors("FF"),
    "F'F, S": KFAC,
}


class Run(NamedTuple):
    """What was found on a ``problem`` by a student with the head ``F`` and the features
    ``G``: ``found`` maps a method to an array; ``attrs`` are the sizes.
    """

    problem: Problem
    F: np.ndarray
    G: np.ndarray
    found: dict
    attrs: dict


def single_batches(scale, block=0) -> list[Run]:
    """Return the features after one step from wrong heads and random features, on nine
    batches, three of each of three pairs of condition numbers: the same at every
    ``scale``, seeds of ``block``. ``found`` also holds the batch's ``xi``.
    """
    kappas = [(1, 1), (50, 3), (1000, 10)]
    batches = [(25, 0.0), (64, 0.0), (64, 0.25)]
    seeds, runs = scales.seeds(len(kappas), block), []
    attrs = LARGE | {"eta": 0.3, "n, noise": batches, "seeds": seeds}
    for seed, (kappa_S, kappa_F) in zip(seeds, kappas, strict=True):
        rng = np.random.default_rng(seed)
        problem = random_problem(**LARGE, kappa_S=kappa_S, kappa_F=kappa_F, seed=seed)
        for n, noise in batches:
            batch = simulate.moments(problem, n, noise, rng)
            F = simulate.wrong_head(problem, rng)
            G = rng.standard_normal(problem.G_star.shape)
            found = simulate.both_steps(problem, F, G, batch, attrs["eta"])
            runs.append(Run(problem, F, G, found | {"xi": batch.xi}, attrs))
    return runs


def wrong_head(scale, block=0, invariant: bool = False) -> Run:
    """Return the distances after one population step from perfect features with a wrong
    head: the same at every ``scale``, seed of ``block``.

    With ``invariant`` the teacher's rows span an invariant subspace of the covariance.
    """
    eta, (seed,) = 0.2, scales.seeds(1, block)
    problem = random_problem(**NEAR, seed=seed, invariant=invariant)
    F, G = simulate.wrong_head(problem, np.random.default_rng(seed)), problem.G_star
    steps = simulate.both_steps(problem, F, G, simulate.population(problem), eta)
    found = {name: simulate.distance(problem, after) for name, after in steps.items()}
    return Run(problem, F, G, found, NEAR | {"eta": eta, "seed": seed})


def first_step(scale, block=0, invariant: bool = False) -> xr.Dataset:
    """Return the distances after one step from zero features, see `from_zero`: the same
    at every ``scale``, seed of ``block``, for a teacher that is ``invariant`` or not.
    """
    (seed,) = scales.seeds(1, block)
    attrs = {"dX": 20, "dY": 5, "levels": (1.8, 0.2), "eta": 0.1, "seed": seed}
    return xr.Dataset(simulate.from_zero(**attrs, invariant=invariant), attrs=attrs)


def batchnorm(scale, block=0, refit: bool = True) -> xr.Dataset:
    """Return the relative ``gap`` (seed) that batch-norm makes in the gradient, at
    ``kappa_S`` (seed): the same at every ``scale``, seeds of ``block``.

    Without ``refit`` the head is off by 10 percent.
    """
    kappas, batch = [1, 30, 300], {"n": 64, "noise": 0.09}
    seeds, gaps = scales.seeds(len(kappas), block), []
    for seed, kappa_S in zip(seeds, kappas, strict=True):
        problem = random_problem(**LARGE, kappa_S=kappa_S, kappa_F=3, seed=seed)
        gaps.append(batchnorm_gap(problem, **batch, seed=seed, refit=refit))
    attrs = LARGE | batch | {"kappa_S": kappas, "kappa_F": 3, "seeds": seeds}
    return xr.Dataset({"gap": ("seed", gaps)}, attrs=attrs)


def far_starts(scale, block=0, whitened: bool = True) -> xr.Dataset:
    """Return the principal ``angles`` (eta, step, angle) along KFAC from 1.2 radians,
    ``whitened`` or plain: the same at every ``scale``, seeds of ``block``.
    """
    attrs, paths = SMALL | {"kappa_S": 10, "kappa_F": 5}, []
    etas = dict(zip([0.1, 0.3, 1.0], scales.seeds(3, block), strict=True))
    for eta, seed in etas.items():
        problem = random_problem(**attrs, seed=seed)
        G = simulate.start(problem, 1.2, np.random.default_rng(seed))
        paths.append(angles(problem, G, eta, 10, whitened))
    attrs["seeds"] = list(etas.values())
    found = {"angles": (("eta", "step", "angle"), paths)}
    return xr.Dataset(found, {"eta": list(etas)}, attrs)


def near_start(block=0) -> tuple[Problem, np.ndarray]:
    """Return the problem of ``block`` and the features (k, dX), .05 radians from the
    teacher's, from which all descents begin.
    """
    first, *_, last = scales.seeds(4, block)
    problem = random_problem(**NEAR, seed=last)
    return problem, simulate.start(problem, 0.05, np.random.default_rng(first))


def step_sizes(scale, block=0) -> xr.Dataset:
    """Return the asymptotic ``factor`` (share) of plain descent at shares of the best
    step size, more of them at a larger ``scale``; problem of ``block``.
    """
    many = [0.25, 0.5, 0.75, 0.9, 0.95, 1.0, 1.005, 1.01, 1.1, 1.3]
    shares = scales.at(scale, smoke=[0.5, 1.0, 1.01], book=many, paper=many)
    problem, G = near_start(block)
    best = theory.best_step(theory.modes(*problem))
    paths = [cached(descend, problem=problem, G=G, eta=s * best) for s in shares]
    found = {"factor": ("share", list(map(measured_factor, paths)))}
    attrs = NEAR | {"seeds": scales.seeds(4, block)[::3]}
    return xr.Dataset(found, {"share": shares}, attrs)


def factor_choices(scale, block=0) -> dict[str, xr.Dataset]:
    """Return the ``distance`` (step) of each of `FACTORS` down to 1e-10 and its
    asymptotic ``factor`` per step, at the step size ``eta``, the best but a half for
    both factors: the same at every ``scale``; problem of ``block``.
    """
    runs, (problem, G) = {}, near_start(block)
    for name, factors in FACTORS.items():
        best = theory.best_step(theory.modes(*problem, *factors))
        eta = 0.5 if factors == KFAC else best
        path = cached(descend, problem=problem, G=G, eta=eta, factors=factors)
        found = {"distance": ("step", path), "factor": measured_factor(path)}
        attrs = NEAR | {"eta": eta, "seeds": scales.seeds(4, block)[::3]}
        runs[name] = xr.Dataset(found, attrs=attrs)
    return runs
