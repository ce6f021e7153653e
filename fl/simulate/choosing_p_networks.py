"""Does the exponent that the evidence chooses suit a trained network? Pairs of digits, a
two-layer network, a power of the input covariance before its first layer.
"""

import numpy as np
import xarray as xr

from fl import datasets, validate
from fl.instruments.metric_descent import gradients
from fl.numerics import psd_power
from fl.simulate.choosing_p import gathered, statistics

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
    X, y = _pair(pair)
    rng = np.random.default_rng([seed, SPLIT])
    order = rng.permutation(len(y))
    train, test = np.split(order, [ROWS])
    rng = np.random.default_rng([seed, NOISE])
    labels = noise**0.5 * rng.standard_normal(ROWS)
    labels += y[train]
    mean = X[:, train].mean(1, keepdims=True)
    X = X - mean
    X_train = X[:, train]
    S = X_train @ X_train.T
    S /= ROWS
    floor = FLOOR * np.linalg.norm(S, 2)
    S += floor * np.eye(len(S))
    P = np.array([psd_power(S, p) for p in EXPONENTS])
    # the first step of a linear layer has the same size for all of them
    first = np.trace(P @ S, axis1=1, axis2=2)
    P /= first[:, None, None]
    parts = X_train, labels, X[:, test], y[test], P, etas
    single = map(np.float32, parts)
    errors = _descend(seed, steps, *single)
    seen = statistics(*gathered(X_train.T, labels, 1))
    return seen.assign(
        error=("p", errors.min(0)),
        eta=("p", np.take(etas, errors.argmin(0))),
        p=list(EXPONENTS),
    )


def _pair(pair: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the images (d, n) of two digits and their labels (n,), -1 and 1."""
    X, labels = datasets.load("digits")
    first, second = map(int, pair.split())
    here = np.isin(labels, [first, second])
    y = np.where(labels[here] == second, 1.0, -1.0)
    return X[:, here], y


def _descend(seed: int, steps: int, X, y, X_test, y_test, P, etas) -> np.ndarray:
    """Return the least mean squared error (E, B) on the path of a two-layer ReLU network
    for each of the step sizes (E,) and the preconditioners (B, d, d).
    """
    d, n = X.shape
    rng = np.random.default_rng([seed, WEIGHTS])
    start = np.float32(rng.standard_normal((WIDTH, d + 1)))
    size = (d / n) ** 0.5
    size *= np.linalg.norm(X)
    W = start[:, :d] / size
    a = start[:, d:].T / WIDTH**0.5
    eta = etas[:, None, None, None]
    best = np.inf
    with np.errstate(over="ignore", invalid="ignore"):  # a step size may be too large
        for step in range(steps):
            slope, outer = gradients([W, a], X, y, "relu")
            a = a - eta * outer
            W = W - eta * slope @ P
            if step % EVERY == 0:
                active = np.maximum(W @ X_test, 0)
                missed = a @ active - y_test
                error = (missed**2).mean(-1)
                best = np.fmin(best, error)
    return best[..., 0]
