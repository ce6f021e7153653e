"""What the chapter on linear representation learning runs on the population and on
single batches, and at which sizes.

Block 0 holds the problems of the book, each other block problems of its own.
"""

from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.random import default_rng

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
    seeds = scales.seeds(len(kappas), block)
    attrs = LARGE | {"eta": 0.3, "n, noise": batches, "seeds": seeds}
    runs = []
    for seed, pair in zip(seeds, kappas, strict=True):
        rng = default_rng(seed)
        problem = random_problem(*LARGE.values(), *pair, seed)
        for n, noise in batches:
            batch = simulate.moments(problem, n, noise, rng)
            F = simulate.wrong_head(problem, rng)
            G = rng.standard_normal(problem.G_star.shape)
            found = simulate.both_steps(problem, F, G, batch, attrs["eta"])
            found["xi"] = batch.xi
            runs.append(Run(problem, F, G, found, attrs))
    return runs


def wrong_head(scale, block=0, invariant: bool = False) -> Run:
    """Return the distances after one population step from perfect features with a wrong
    head: the same at every ``scale``, seed of ``block``.

    With ``invariant`` the teacher's rows span an invariant subspace of the covariance.
    """
    (seed,) = scales.seeds(1, block)
    attrs = NEAR | {"eta": 0.2, "seed": seed}
    problem = random_problem(**NEAR, seed=seed, invariant=invariant)
    F = simulate.wrong_head(problem, default_rng(seed))
    G = problem.G_star
    batch = simulate.population(problem)
    found = simulate.both_steps(problem, F, G, batch, attrs["eta"])
    for method, after in found.items():
        found[method] = simulate.distance(problem, after)
    return Run(problem, F, G, found, attrs)


def first_step(scale, block=0, invariant: bool = False) -> xr.Dataset:
    """Return the distances after one step from zero features, see `from_zero`: the same
    at every ``scale``, seed of ``block``, for a teacher that is ``invariant`` or not.
    """
    (seed,) = scales.seeds(1, block)
    attrs = {"dX": 20, "dY": 5, "levels": (1.8, 0.2), "eta": 0.1, "seed": seed}
    found = simulate.from_zero(**attrs, invariant=invariant)
    return xr.Dataset(found, attrs=attrs)


def batchnorm(scale, block=0, refit: bool = True) -> xr.Dataset:
    """Return the relative ``gap`` (seed) that batch-norm makes in the gradient, at
    ``kappa_S`` (seed): the same at every ``scale``, seeds of ``block``.

    Without ``refit`` the head is off by 10 percent.
    """
    kappas = [1, 30, 300]
    batch = {"n": 64, "noise": 0.09}
    seeds = scales.seeds(len(kappas), block)
    gaps = []
    for seed, kappa_S in zip(seeds, kappas, strict=True):
        problem = random_problem(**LARGE, kappa_S=kappa_S, kappa_F=3, seed=seed)
        gaps.append(batchnorm_gap(problem, **batch, seed=seed, refit=refit))
    attrs = LARGE | batch | {"kappa_S": kappas, "kappa_F": 3, "seeds": seeds}
    return xr.Dataset({"gap": ("seed", gaps)}, attrs=attrs)


def far_starts(scale, block=0, whitened: bool = True) -> xr.Dataset:
    """Return the principal ``angles`` (eta, step, angle) along KFAC from 1.2 radians,
    ``whitened`` or plain: the same at every ``scale``, seeds of ``block``.
    """
    etas = [0.1, 0.3, 1.0]
    seeds = scales.seeds(len(etas), block)
    sizes = SMALL | {"kappa_S": 10, "kappa_F": 5}
    paths = []
    for seed, eta in zip(seeds, etas, strict=True):
        problem = random_problem(**sizes, seed=seed)
        G = simulate.start(problem, 1.2, default_rng(seed))
        paths.append(angles(problem, G, eta, 10, whitened))
    found = {"angles": (("eta", "step", "angle"), paths)}
    return xr.Dataset(found, {"eta": etas}, sizes | {"seeds": seeds})


def near_start(block=0) -> tuple[Problem, np.ndarray]:
    """Return the problem of ``block`` and the features (k, dX), .05 radians from the
    teacher's, from which all descents begin.
    """
    seeds = scales.seeds(4, block)
    problem = random_problem(**NEAR, seed=seeds[3])
    return problem, simulate.start(problem, 0.05, default_rng(seeds[0]))


def step_sizes(scale, block=0) -> dict[float, xr.Dataset]:
    """Return plain descents at shares of the best step size, more of them at a larger
    ``scale``, on the problem of ``block``: share -> ``distance`` (step) down to 1e-10
    and the asymptotic ``factor`` per step.
    """
    many = [0.25, 0.5, 0.75, 0.9, 0.95, 1.0, 1.005, 1.01, 1.1, 1.3]
    shares = scales.at(scale, smoke=[0.5, 1.0, 1.01], book=many, paper=many)
    best = theory.best_step(theory.modes(*near_start(block)[0]))
    return {share: _descent(block, share * best, SGD) for share in shares}


def factor_choices(scale, block=0) -> dict[str, xr.Dataset]:
    """Return descents with each of `FACTORS` at its best step size, at a half with
    both, the same at every ``scale``, on the problem of ``block``: name -> ``distance``
    (step) down to 1e-10 and the asymptotic ``factor`` per step.
    """
    problem = near_start(block)[0]
    runs = {}
    for name, factors in FACTORS.items():
        eta = theory.best_step(theory.modes(*problem, *factors))
        if factors == KFAC:
            eta = 0.5
        runs[name] = _descent(block, eta, factors)
    return runs


def _descent(block, eta: float, factors: Factors) -> xr.Dataset:
    problem, G = near_start(block)
    path = cached(descend, problem=problem, G=G, eta=eta, factors=factors)
    found = {"distance": ("step", path), "factor": measured_factor(path)}
    seeds = scales.seeds(4, block)[::3]
    attrs = NEAR | {"eta": eta, "seeds": seeds}
    return xr.Dataset(found, attrs=attrs)
