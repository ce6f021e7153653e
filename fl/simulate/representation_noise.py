r"""Experiments on noisy batches in linear representation learning: the spread of one
step, the floor of many, frozen features, and batch-norm.

Problems, moments and steps are those of `fl.simulate.representation`; label noise has
the variance ``noise`` per output.
"""

from typing import NamedTuple

import numpy as np
from numpy.linalg import cholesky, solve
from numpy.random import default_rng

from fl import validate
from fl.simulate.representation import (
    METHODS,
    SGD,
    Problem,
    feature_step,
    least_squares_head,
    moments,
    samples,
)


class Setting(NamedTuple):
    """Step size ``eta``, samples ``n`` of a batch, variance ``noise`` of the label
    noise, and whether inputs are made of ``signs``.
    """

    eta: float
    n: int
    noise: float
    signs: bool = False


def step_spread(
    problem: Problem, F, G, method: str, setting: Setting, batches: int, seed: int
) -> np.ndarray:
    """Return the squared distances of one step's result from its mean over batches,
    shape (batches,).

    Args:
        problem: what is to be learned.
        F: head, (dY, k).
        G: features, (k, dX).
        method: sgd or kfac.
        setting: step size, batch size and noise.
        batches: number of batches.
        seed: of the batches.
    """
    rng = default_rng(seed)
    eta, n, noise, signs = setting
    batch = moments(problem, n, noise, rng, (batches,), signs)
    rule = METHODS[method]
    after = feature_step(problem, F, G, batch, eta, rule)
    apart = after - after.mean(0)
    squares = np.sum(apart**2, axis=(1, 2))
    return squares * batches / (batches - 1)


def wander(
    problem: Problem, method: str, setting: Setting, steps: int, chains: int, seed: int
) -> np.ndarray:
    r"""Return :math:`\lVert T\rVert_F^2` of each chain after noisy steps from the
    teacher, shape (chains,).

    After each step the features are written as :math:`G_\star + T` again, which changes
    no subspace.

    Args:
        problem: what has been learned.
        method: sgd, kfac (head and features share the batch) or sgd separate (two
            batches).
        setting: step size, batch size and noise.
        steps: number of steps.
        chains: number of independent chains.
        seed: of all batches.

    Raises:
        ValueError: for an unknown method or fewer than one step.
    """
    validate.choice("method", method, [*METHODS, "sgd separate"])
    steps = validate.count("steps", steps)
    rng = default_rng(seed)
    eta, n, noise, signs = setting
    law = (problem, n, noise, rng, (chains,), signs)
    G_star = problem.G_star
    G = np.broadcast_to(G_star, (chains, *G_star.shape))
    for _ in range(steps):
        batch = moments(*law)
        other = moments(*law) if method == "sgd separate" else batch
        F = least_squares_head(problem, G, other)
        G = feature_step(problem, F, G, batch, eta, METHODS.get(method, SGD))
        G = solve(G @ G_star.T, G)
    slopes = G @ problem.hidden
    return np.sum(slopes**2, axis=(1, 2))


def transfer(
    problem: Problem, G, n: int, noise: float, draws: int, seed: int, signs=False
) -> np.ndarray:
    """Return the excess risks of least-squares heads on frozen features, (draws,).

    Args:
        problem: the new task.
        G: frozen features, (k, dX).
        n: samples of a draw.
        noise: variance of the label noise.
        draws: number of independent draws.
        seed: of all samples.
        signs: whether inputs are made of signs, see `samples`.
    """
    rng = default_rng(seed)
    X, Y = samples(problem, n, noise, rng, (draws,), signs)
    Z = X @ G.T
    gram, with_labels = Z.mT @ Z, Z.mT @ Y
    F = solve(gram, with_labels).mT
    error = F @ G - problem.W
    root = cholesky(problem.S)
    error = error @ root
    return np.sum(error**2, axis=(1, 2))


def batchnorm_gap(
    problem: Problem, n: int, noise: float, seed: int, refit: bool = True
) -> dict:
    """Return the relative ``gap`` between the gradients in random features with and
    without batch-norm, by autograd, and what they are gradients at: the features ``G``
    (k, dX), the moments ``S_hat`` (dX, dX) of the inputs and ``C`` (dX, dY) with the labels.

    Args:
        problem: what is to be learned.
        n: samples of the batch.
        noise: variance of the label noise.
        seed: of the features and of the batch.
        refit: whether both networks carry their own least-squares head; if not, the
            same function is computed by a head that is off by 10 percent.
    """
    import torch  # nothing else here needs it

    G = default_rng(seed).standard_normal(problem.G_star.shape)
    batch = samples(problem, n, noise, default_rng(seed))
    inputs, labels = map(torch.tensor, batch)
    grads = []
    for normalise in (False, True):
        weights = torch.tensor(G, requires_grad=True)
        Z = inputs @ weights.T
        if normalise:
            Z = Z / Z.pow(2).mean(0).sqrt()
        head = torch.linalg.lstsq(Z.detach(), labels).solution
        if not refit:
            head = 1.1 * head
        loss = (Z @ head - labels).pow(2).sum() / (2 * n)
        grads += torch.autograd.grad(loss, weights)
    plain, normalised = grads
    gap = (normalised - plain).norm() / plain.norm()
    X, Y = batch
    return {"gap": float(gap), "G": G, "S_hat": X.T @ X / n, "C": X.T @ Y / n}
