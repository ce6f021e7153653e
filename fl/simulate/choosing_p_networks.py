"""Does the exponent that the evidence chooses suit a trained network? Pairs of digits, a
two-layer network, a power of the input covariance before its first layer.
"""

import numpy as np
import xarray as xr

from fl import datasets, validate
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
    order = np.random.default_rng([seed, SPLIT]).permutation(len(y))
    train = order[:ROWS]
    test = order[ROWS:]
    drawn = _normal(seed, NOISE, ROWS)
    labels = y[train] + noise**0.5 * drawn
    mean = X[:, train].mean(1, keepdims=True)
    X = X - mean
    X_train = X[:, train]
    X_test = X[:, test]
    S = X_train @ X_train.T / ROWS
    floor = FLOOR * np.linalg.norm(S, 2)
    S += floor * np.eye(len(S))
    P = np.array([psd_power(S, p) for p in EXPONENTS])
    # the first step of a linear layer has the same size for all of them
    first = np.trace(P @ S, axis1=1, axis2=2)
    P /= first[:, None, None]
    rows = X_train, labels, X_test, y[test]
    errors = [_descend(rows, P, eta, steps, seed) for eta in etas]
    errors = np.array(errors)
    seen = statistics(*gathered(X_train.T, labels, 1))
    return seen.assign(
        error=("p", errors.min(0)),
        eta=("p", np.take(etas, errors.argmin(0))),
        p=list(EXPONENTS),
    )


def _pair(pair: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the images (d, n) of two digits and their labels (n,), -1 and 1."""
    images = datasets.load("digits")
    digits = list(map(int, pair.split()))
    here = np.isin(images.labels, digits)
    second = images.labels[here] == digits[1]
    return images.X[:, here], np.where(second, 1.0, -1.0)


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
    n = len(y)
    size = np.linalg.norm(X) * (d / n) ** 0.5
    hidden = start[:, :d] / size
    outer = start[:, d] / WIDTH**0.5
    W = np.tile(hidden, (B, 1, 1))
    a = np.tile(outer, (B, 1, 1))
    best = np.full(B, np.inf)
    with np.errstate(over="ignore", invalid="ignore"):  # a step size may be too large
        for step in range(steps):
            H = W @ X
            active = H > 0
            H *= active
            output = a @ H
            residual = (output - y) / n
            back = residual * np.swapaxes(a, 1, 2)
            inner = back * active @ X.T
            outer = residual @ np.swapaxes(H, 1, 2)
            a = a - eta * outer
            W = W - eta * inner @ P
            if step % EVERY == 0:
                H = np.maximum(W @ X_test, 0)
                output = a @ H
                missed = output[:, 0] - y_test
                error = (missed**2).mean(1)
                best = np.fmin(best, error)
    return best
