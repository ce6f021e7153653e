"""Does the exponent that the evidence chooses suit a trained network? Pairs of digits, a
two-layer network, a power of the input covariance before its first layer.
"""

import numpy as np
import xarray as xr

from fl import datasets, validate
from fl.instruments.metric_descent import gradients
from fl.moments import spectral
from fl.numerics import psd_power
from fl.simulate.choosing_p import gathered

EXPONENTS = (-1.0, -0.5, 0.0, 0.5, 1.0)
ETAS, STEPS, WIDTH, ROWS, EVERY = (0.1, 0.3), 600, 64, 150, 10
FLOOR = 1e-4  # added to the eigenvalues, relative to the largest
SPLIT, NOISE, WEIGHTS = 1, 2, 3  # streams of random numbers


def trained(seed: int, pair: str, noise: float, steps: int = STEPS, etas=ETAS) -> tuple:
    """Return how well networks with five exponents tell a pair of digits apart, and the
    `Spectrum` of the same rows.

    Args:
        seed: of the rows, the noise and the initial weights.
        pair: two digits, such as ``"3 8"``; their labels are -1 and 1.
        noise: variance of normal noise on the labels that train.
        steps: of gradient descent on all rows; the best on the path counts.
        etas: step sizes, of which the best counts too.

    Returns:
        the spectrum; ``error`` (p): mean squared error on the rows that were left, without
        noise; and ``eta`` (p), the best of the step sizes.

    Raises:
        ValueError: for a negative noise.
    """
    noise = validate.number("noise", noise, 0)
    X, y = _pair(pair)
    order = np.random.default_rng([seed, SPLIT]).permutation(len(y))
    train, test = np.split(order, [ROWS])
    drawn = np.random.default_rng([seed, NOISE]).standard_normal(ROWS)
    labels = y[train] + noise**0.5 * drawn
    X = X - X[:, train].mean(1, keepdims=True)
    X_train = X[:, train]
    S = X_train @ X_train.T / ROWS
    S += FLOOR * np.linalg.norm(S, 2) * np.eye(len(S))
    P = np.array([psd_power(S, p) for p in EXPONENTS])
    # the first step of a linear layer has the same size for all of them
    first = np.trace(P @ S, axis1=1, axis2=2)
    P /= first[:, None, None]
    parts = [
        X_train,
        labels,
        X[:, test],
        y[test],
        P,
        etas,
    ]
    path = {"eta": list(etas), "p": list(EXPONENTS)}
    error = xr.DataArray(_descend(seed, steps, *map(np.float32, parts)), path)
    best = {
        "error": error.min("eta"),
        "eta": error.idxmin("eta"),
    }
    return spectral(*gathered(X_train.T, labels, 1)), best


def _pair(pair: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the images (d, n) of two digits and their labels (n,), -1 and 1."""
    X, labels = datasets.load("digits")
    first, second = map(int, pair.split())
    here = np.isin(labels, [first, second])
    return X[:, here], np.where(labels[here] == second, 1.0, -1.0)


def _descend(seed: int, steps: int, X, y, X_test, y_test, P, etas) -> np.ndarray:
    """Return the least mean squared error (E, B) on the path of a two-layer ReLU network
    for each of the step sizes (E,) and the preconditioners (B, d, d).
    """
    d, n = X.shape
    rng = np.random.default_rng([seed, WEIGHTS])
    start = np.float32(rng.standard_normal((WIDTH, d + 1)))
    size = (d / n) ** 0.5 * np.linalg.norm(X)
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
                best = np.fmin(best, (missed**2).mean(-1))
    return best[..., 0]
