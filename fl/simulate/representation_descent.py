r"""Experiments on linear representation learning: many steps, the head refitted by least
squares before each of them.

The head undoes every invertible map of the features, so the loss sees their row space
alone. What else a step may see is the *gauge*: which basis of the row space is used.
With the singular values :math:`s` and right vectors :math:`V` of the student's map
:math:`FG` the gauge :math:`q` takes :math:`G = s^q V^\top`; near the teacher, :math:`G =
B(G_\star + T)`, this is :math:`B^\top B = (F_\star^\top F_\star)^q`.
"""

import numpy as np
from numpy.linalg import svd
from scipy import linalg

from fl import numerics, validate
from fl.simulate.representation import (
    KFAC,
    SGD,
    Factors,
    Problem,
    distance,
    feature_step,
    least_squares_head,
    population,
)

# what is kept: orthonormal features, F'F = GG', an orthonormal head
GAUGES = {"features": 0.0, "balanced": 0.5, "head": 1.0}


def in_gauge(problem: Problem, G, gauge: float) -> np.ndarray:
    """Return features (k, dX) with the rows' span of ``G`` (k, dX) in the ``gauge`` that
    ``problem`` and its least-squares head give it.
    """
    F = least_squares_head(problem, G, population(problem))
    _, s, rows = svd(F @ G)
    k = len(G)
    scale = s[:k, None] ** gauge
    return scale * rows[:k]


def descend(
    problem: Problem,
    G,
    eta: float,
    factors: Factors = SGD,
    gauge: float | None = 0.0,
    stop: float = 1e-10,
) -> np.ndarray:
    """Return the distances along alternating descent on the population, (steps made +
    1,), down to ``stop`` or over 2000 steps.

    Every step refits the head by least squares, then moves the features, then brings
    them back into the gauge.

    Args:
        problem: what is to be learned.
        G: features to start from, (k, dX).
        eta: step size.
        factors: the two sides of the step.
        gauge: the exponent of the gauge; None to leave the features as they are.
        stop: distance at which to stop.
    """
    batch = population(problem)
    path = [distance(problem, G)]
    if gauge is not None:
        G = in_gauge(problem, G, gauge)
    while len(path) <= 2000 and path[-1] > stop:
        F = least_squares_head(problem, G, batch)
        G = feature_step(problem, F, G, batch, eta, factors)
        if gauge is not None:
            G = in_gauge(problem, G, gauge)
        path.append(distance(problem, G))
    return np.array(path)


def gauge_gap(problem: Problem, maps, batches: list, eta: float, factors) -> float:
    """Return the largest distance between the row spaces of two students along noisy
    alternating descent that begins in one row space.

    Args:
        problem: what is to be learned.
        maps: the features of the first student, (k, dX), and the invertible map (k, k)
            that makes those of the second of them.
        batches: the moments of the batch of each step, shared by head and features.
        eta: step size.
        factors: the two sides of the step.
    """
    G, A = maps
    students = [G, A @ G]
    gaps = []
    for batch in batches:
        for i, features in enumerate(students):
            F = least_squares_head(problem, features, batch)
            after = feature_step(problem, F, features, batch, eta, factors)
            students[i] = after
        first, second = students
        gaps.append(numerics.subspace_distance(first.T, second.T))
    return max(gaps)


def measured_factor(path, quarter: int = 4) -> float:
    """Return the factor per step over the last ``quarter`` of a ``path`` of distances, or
    over the one of this number; what came before selects the mode.

    Raises:
        ValueError: for a path of fewer than 12 steps, which has selected nothing.
    """
    validate.count("steps of the path", len(path) - 1, minimum=12)
    first = (quarter - 1) * len(path) // 4
    last = quarter * len(path) // 4 - 1
    return (path[last] / path[first]) ** (1 / (last - first))


def angles(
    problem: Problem, G, eta: float, steps: int, whitened: bool = True
) -> np.ndarray:
    """Return the principal angles, falling, along population K-FAC with a least-squares
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
