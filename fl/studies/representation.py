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
from fl.simulate.representation_descent import (
    GAUGES,
    angles,
    descend,
    gauge_gap,
    measured_factor,
)
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


def single_batches(scale, block=0, damping: float = 0.0) -> list[Run]:
    """Return the features after one step of K-FAC with a ``damping`` from wrong heads and
    random features, on nine batches, three of each of three pairs of condition numbers:
    the same at every ``scale``, seeds of ``block``. ``found`` also holds the batch's
    ``xi`` and ``S_hat``.
    """
    factors = KFAC._replace(damping=damping)
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
            after = simulate.feature_step(problem, F, G, batch, attrs["eta"], factors)
            found = {"kfac": after, "xi": batch.xi, "S_hat": batch.S_hat}
            runs.append(Run(problem, F, G, found, attrs))
    return runs


def wrong_head(scale, block=0) -> list[Run]:
    """Return the distances after one population step from perfect features with a wrong
    head, at three condition numbers of the covariance: the same at every ``scale``,
    seeds of ``block``.
    """
    kappas = [3, 10, 100]
    seeds = scales.seeds(len(kappas), block)
    attrs = SMALL | {"kappa_S": kappas, "kappa_F": 3, "eta": 0.2, "seeds": seeds}
    runs = []
    for seed, kappa_S in zip(seeds, kappas, strict=True):
        sizes = SMALL | {"kappa_S": kappa_S, "kappa_F": 3}
        problem = random_problem(**sizes, seed=seed)
        F = simulate.wrong_head(problem, default_rng(seed))
        G = problem.G_star
        batch = simulate.population(problem)
        found = simulate.both_steps(problem, F, G, batch, attrs["eta"])
        for method, after in found.items():
            found[method] = simulate.distance(problem, after)
        run = Run(problem, F, G, found, attrs)
        runs.append(run)
    return runs


def first_step(scale, block=0) -> xr.Dataset:
    """Return the distances ``sgd`` and ``kfac`` (pair) after one step from zero
    features, see `from_zero`, at three pairs of levels of the covariance: the same at
    every ``scale``, seeds of ``block``.
    """
    levels = [(1.8, 0.2), (1.5, 0.5), (1.98, 0.02)]
    seeds = scales.seeds(len(levels), block)
    attrs = {"dX": 20, "dY": 5, "eta": 0.1}
    found = {"sgd": [], "kfac": []}
    for seed, pair in zip(seeds, levels, strict=True):
        case = {"levels": pair, "seed": seed}
        for name, distance in simulate.from_zero(**attrs, **case).items():
            found[name].append(distance)
    columns = {name: ("pair", values) for name, values in found.items()}
    attrs |= {"levels": levels, "seeds": seeds}
    return xr.Dataset(columns, attrs=attrs)


def batchnorm(scale, block=0, refit: bool = True) -> list[Run]:
    """Return the relative ``gap`` that batch-norm makes in the gradient, and the moments
    it was taken at (`batchnorm_gap`), at three condition numbers of the covariance: the
    same at every ``scale``, seeds of ``block``.

    Without ``refit`` the head is off by 10 percent.
    """
    kappas = [1, 30, 300]
    batch = {"n": 64, "noise": 0.09}
    seeds = scales.seeds(len(kappas), block)
    attrs = LARGE | batch | {"kappa_S": kappas, "kappa_F": 3, "seeds": seeds}
    runs = []
    for seed, kappa_S in zip(seeds, kappas, strict=True):
        problem = random_problem(**LARGE, kappa_S=kappa_S, kappa_F=3, seed=seed)
        found = batchnorm_gap(problem, **batch, seed=seed, refit=refit)
        runs.append(Run(problem, problem.F_star, found["G"], found, attrs))
    return runs


def far_starts(scale, block=0, whitened: bool = True) -> list[Run]:
    """Return the principal ``angles`` (step, angle) along K-FAC from 1.2 radians at three
    step sizes ``eta``, ``whitened`` or plain: the same at every ``scale``, seeds of
    ``block``.
    """
    etas = [0.1, 0.3, 1.0]
    seeds = scales.seeds(len(etas), block)
    sizes = SMALL | {"kappa_S": 10, "kappa_F": 5}
    runs = []
    for seed, eta in zip(seeds, etas, strict=True):
        problem = random_problem(**sizes, seed=seed)
        G = simulate.start(problem, 1.2, default_rng(seed))
        found = {"angles": angles(problem, G, eta, 10, whitened)}
        attrs = sizes | {"eta": eta, "seeds": seeds}
        runs.append(Run(problem, problem.F_star, G, found, attrs))
    return runs


def near_start(block=0) -> tuple[Problem, np.ndarray]:
    """Return the problem of ``block`` and the features (k, dX), .05 radians from the
    teacher's, from which all descents begin.
    """
    seeds = scales.seeds(4, block)
    problem = random_problem(**NEAR, seed=seeds[3])
    return problem, simulate.start(problem, 0.05, default_rng(seeds[0]))


def step_sizes(scale, block=0, gauge: float = 0.0) -> dict[float, xr.Dataset]:
    """Return plain descents at shares of the best step size in a ``gauge``, more of them
    at a larger ``scale``, on the problem of ``block``: share -> ``distance`` (step) down
    to 1e-10 and the asymptotic ``factor`` per step.

    Two shares are above 1, a third and two thirds of the way to divergence: nearer to 1
    the mode that overshoots takes longer to show than the descent lasts.
    """
    m = theory.modes(*near_start(block)[0], gauge=gauge)
    best = theory.best_step(m)
    diverges = 2 / m.max()
    room = diverges / best - 1
    third = round(1 + room / 3, 4)
    two_thirds = round(1 + 2 * room / 3, 4)
    few = [0.5, 1.0, two_thirds]
    many = [0.5, 0.75, 0.9, 1.0, third, two_thirds]
    shares = scales.at(scale, smoke=few, book=many, paper=many)
    return {share: _descent(block, share * best, SGD, gauge) for share in shares}


def factor_choices(scale, block=0, gauge: float = 0.0) -> dict[str, xr.Dataset]:
    """Return descents in a ``gauge`` with each of `FACTORS` at its best step size, at
    half of it where one step would do, the same at every ``scale``, on the problem of
    ``block``: name -> ``distance`` (step) down to 1e-10 and the asymptotic ``factor``
    per step.
    """
    problem = near_start(block)[0]
    runs = {}
    for name, factors in FACTORS.items():
        m = theory.modes(*problem, *factors, gauge)
        eta = theory.best_step(m)
        if np.allclose(m, m[0, 0]):
            eta /= 2
        runs[name] = _descent(block, eta, factors, gauge)
    return runs


def gauges(scale, block=0) -> dict[str, dict[str, xr.Dataset]]:
    """Return `factor_choices` in each of `GAUGES`, the same at every ``scale``, on the
    problem of ``block``.
    """
    return {name: factor_choices(scale, block, gauge) for name, gauge in GAUGES.items()}


def regauged(scale, block=0, left: str = "FF") -> xr.Dataset:
    """Return how far apart two students ``gap`` (seed, right) come within five noisy
    steps that begin in one row space in two bases, a random map apart: on three
    problems, with the factor ``left`` and either right factor, the same at every
    ``scale``, seeds of ``block``.
    """
    kappas = [(1, 3), (10, 3), (50, 10)]
    batch = {"n": 64, "noise": 0.25}
    seeds = scales.seeds(len(kappas), block)
    gaps = []
    both = [Factors(left, "I"), Factors(left, "S")]
    for seed, pair in zip(seeds, kappas, strict=True):
        rng = default_rng(seed)
        problem = random_problem(*LARGE.values(), *pair, seed)
        G = simulate.start(problem, 0.5, rng)
        shape = (len(G), len(G))
        A = rng.standard_normal(shape)
        batches = [simulate.moments(problem, **batch, rng=rng) for _ in range(5)]
        case = (problem, (G, A), batches, 0.1)
        gap = [gauge_gap(*case, factors) for factors in both]
        gaps.append(gap)
    attrs = LARGE | batch | {"kappas": kappas, "eta": 0.1, "steps": 5, "seeds": seeds}
    return xr.Dataset({"gap": (("seed", "right"), gaps)}, attrs=attrs)


def _descent(block, eta: float, factors: Factors, gauge: float) -> xr.Dataset:
    problem, G = near_start(block)
    case = {"eta": eta, "factors": factors, "gauge": gauge}
    path = cached(descend, problem=problem, G=G, **case)
    found = {"distance": ("step", path), "factor": measured_factor(path)}
    found["before"] = measured_factor(path, 3)  # in the third quarter
    seeds = scales.seeds(4, block)[::3]
    attrs = NEAR | {"eta": eta, "gauge": gauge, "seeds": seeds}
    return xr.Dataset(found, attrs=attrs)
