"""Experiments on linear representation learning: many steps on the population.

The head is refitted by least squares before every feature step.
"""

import numpy as np
from scipy import linalg

from fl import numerics
from fl.simulate.representation import (
    KFAC,
    SGD,
    Factors,
    Problem,
    distance,
    feature_step,
    least_squares_head,
    orthonormal,
    population,
)


def descend(
    problem: Problem,
    G,
    eta: float,
    factors: Factors = SGD,
    steps: int = 2000,
    stop: float = 1e-10,
) -> np.ndarray:
    """Return the distances along alternating descent on the population, (steps made +
    1,).

    Every step refits the head by least squares, then moves the features, then makes
    their rows orthonormal again.

    Args:
        problem: what is to be learned.
        G: features to start from, (k, dX).
        eta: step size.
        factors: the two sides of the step.
        steps: largest number of steps.
        stop: distance at which to stop.
    """
    batch = population(problem)
    path = [distance(problem, G)]
    while len(path) <= steps and path[-1] > stop:
        F = least_squares_head(problem, G, batch)
        G = orthonormal(feature_step(problem, F, G, batch, eta, factors))
        path.append(distance(problem, G))
    return np.array(path)


def measured_factor(path) -> float:
    """Return the factor per step over the last quarter of a ``path`` of distances; what
    came before selects the mode.
    """
    first = 3 * len(path) // 4
    steps = len(path) - 1 - first
    return (path[-1] / path[first]) ** (1 / steps)


def angles(
    problem: Problem, G, eta: float, steps: int, whitened: bool = True
) -> np.ndarray:
    """Return the principal angles, falling, along population KFAC with a least-squares
    head, shape (steps + 1, k).

    Args:
        problem: what is to be learned.
        G: features to start from, (k, dX).
        eta: step size.
        steps: number of steps.
        whitened: whether to multiply both row spaces by the root of ``S`` first.
    """
    root = numerics.psd_power(problem.S, 0.5 if whitened else 0.0)
    target = root @ problem.G_star.T
    batch = population(problem)
    path = []
    for _ in range(steps + 1):
        path.append(linalg.subspace_angles(root @ G.T, target))
        F = least_squares_head(problem, G, batch)
        G = feature_step(problem, F, G, batch, eta, KFAC)
    return np.array(path)
