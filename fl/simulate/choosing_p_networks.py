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
    X = X - X[:, train].mean(1, keepdims=True)
    X /= np.sqrt((X[:, train] ** 2).sum(0).mean())
    drawn = np.random.default_rng([seed, NOISE]).standard_normal(ROWS)
    labels = y[train] + noise**0.5 * drawn
    S = X[:, train] @ X[:, train].T / ROWS
    S += FLOOR * np.linalg.eigvalsh(S)[-1] * np.eye(len(S))
    powers = np.array([psd_power(S, p) for p in EXPONENTS])
    # the first step of a linear layer has the same size for all of them
    powers *= (np.trace(S) / np.einsum("pde,ed->p", powers, S))[:, None, None]
    P = np.repeat(powers, len(etas), 0)
    eta = np.tile(etas, len(EXPONENTS))
    rng = np.random.default_rng([seed, WEIGHTS])
    rows = X[:, train], labels, X[:, test], y[test]
    errors = _descend(rows, P, eta, steps, rng).reshape(len(EXPONENTS), -1)
    seen = statistics(Moments(len(S)).add(X[:, train].T, labels))
    best = {"error": errors.min(1), "eta": np.take(etas, errors.argmin(1))}
    named = {name: ("p", values) for name, values in best.items()}
    return seen.assign(named).assign_coords(p=list(EXPONENTS))


def _descend(rows, P, eta, steps: int, rng) -> np.ndarray:
    """Return the least mean squared error on the path of a two-layer ReLU network for each
    preconditioner (B, d, d) and step size (B,).
    """
    X, y, X_test, y_test = (np.asarray(part, np.float32) for part in rows)
    P, eta = np.float32(P), np.float32(eta)[:, None, None]
    d, n = X.shape
    W = rng.normal(0, d**-0.5, (WIDTH, d)) + 0 * P[:, :1, :1]
    a = rng.normal(0, WIDTH**-0.5, (1, WIDTH)) + 0 * P[:, :1, :1]
    W, a = np.float32(W), np.float32(a)
    best = np.full(len(P), np.inf)
    with np.errstate(over="ignore", invalid="ignore"):  # a step size may be too large
        for step in range(steps):
            H = W @ X
            active = H > 0
            H *= active
            residual = (a @ H - y) / n
            gradient = (a.transpose(0, 2, 1) * residual * active) @ X.T
            a = a - eta * residual @ H.transpose(0, 2, 1)
            W = W - eta * gradient @ P
            if step % EVERY == 0:
                output = a @ np.maximum(W @ X_test, 0)
                error = ((output[:, 0] - y_test) ** 2).mean(1)
                best = np.fmin(best, error)
    return best
