"""Does the exponent that the evidence chooses suit a trained network? Pairs of digits, a
two-layer network, a power of the input covariance before its first layer.
"""

import numpy as np
import xarray as xr

from fl import datasets, validate
from fl.moments import Moments
from fl.numerics import psd_power
from fl.simulate.choosing_p import statistics

EXPONENTS = (-1.0, -0.5, 0.0, 0.5, 1.0)
ETAS, STEPS, WIDTH, ROWS, EVERY = (0.1, 0.3), 600, 64, 150, 10
FLOOR = 1e-4  # added to the eigenvalues, relative to the largest
SPLIT, NOISE, WEIGHTS = 1, 2, 3  # streams of random numbers


def trained(
    seed: int, pair: str, noise: float, steps: int = STEPS, etas=ETAS
) -> xr.Dataset:
    """Return how well networks with five exponents tell a pair of digits apart, and what
    the likelihood needs of the same rows.

    Args:
        seed: of the rows, the noise and the initial weights.
        pair: two digits, such as ``"3 8"``; their labels are -1 and 1.
        noise: variance of normal noise on the labels that train.
        steps: of gradient descent on all rows; the best on the path counts.
        etas: step sizes, of which the best counts too.

    Returns:
        ``error`` (p): mean squared error on the rows that were left, without noise; and
        `fl.simulate.choosing_p.statistics`.

    Raises:
        ValueError: for a negative noise.
    """
    noise = validate.number("noise", noise, 0)
    images = datasets.load("digits")
    first, second = map(int, pair.split())
    here = np.isin(images.labels, [first, second])
    X = images.X[:, here]
    y = np.where(images.labels[here] == second, 1.0, -1.0)
    order = np.random.default_rng([seed, SPLIT]).permutation(len(y))
    train, test = order[:ROWS], order[ROWS:]
    labels = y[train] + noise**0.5 * _normal(seed, NOISE, ROWS)
    X = X - X[:, train].mean(1, keepdims=True)
    S = X[:, train] @ X[:, train].T / ROWS
    size = np.trace(S)
    X /= size**0.5
    S /= size
    S += FLOOR * np.linalg.norm(S, 2) * np.eye(len(S))
    P = np.array([psd_power(S, p) for p in EXPONENTS])
    # the first step of a linear layer has the same size for all of them
    P *= np.trace(S) / np.trace(P @ S, axis1=1, axis2=2)[:, None, None]
    rows = X[:, train], labels, X[:, test], y[test]
    errors = np.array([_descend(rows, P, eta, steps, seed) for eta in etas])
    seen = statistics(Moments(len(S)).add(X[:, train].T, labels))
    best = ("p", np.take(etas, errors.argmin(0)))
    run = seen.assign(error=("p", errors.min(0)), eta=best)
    return run.assign_coords(p=list(EXPONENTS))


def _normal(seed: int, stream: int, *shape: int) -> np.ndarray:
    return np.random.default_rng([seed, stream]).standard_normal(shape)


def _descend(rows, P, eta: float, steps: int, seed: int) -> np.ndarray:
    """Return the least mean squared error (B,) on the path of a two-layer ReLU network for
    each preconditioner (B, d, d).
    """
    X, y, X_test, y_test = (np.float32(part) for part in rows)
    P = np.float32(P)
    B, d = P.shape[:2]
    start = np.float32(_normal(seed, WEIGHTS, WIDTH, d + 1))
    W = np.tile(start[:, :d] / d**0.5, (B, 1, 1))
    a = np.tile(start[:, d] / WIDTH**0.5, (B, 1, 1))
    best = np.full(B, np.inf)
    with np.errstate(over="ignore", invalid="ignore"):  # a step size may be too large
        for step in range(steps):
            H = W @ X
            active = H > 0
            H *= active
            residual = (a @ H - y) / len(y)
            back = a.transpose(0, 2, 1) * residual
            gradient = (back * active) @ X.T
            a = a - eta * residual @ H.transpose(0, 2, 1)
            W = W - eta * gradient @ P
            if step % EVERY == 0:
                hidden = np.maximum(W @ X_test, 0)
                missed = (a @ hidden)[:, 0] - y_test
                best = np.fmin(best, (missed**2).mean(1))
    return best
