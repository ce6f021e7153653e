r"""Networks 64-48-10 on the digits whose first layer moves in a power of the inputs'
moment, and what is read from their weights.

Pixels are centred. The moment has 1 % of its largest eigenvalue added, for the metric
and the readers alike: pixels that are almost always dark would otherwise lead every
negative power. There are no biases. A start has the size of its weights over the root of
the fan-in.
"""

from typing import NamedTuple

import numpy as np

from fl import datasets
from fl.instruments.exponent_reader import read_balance, read_gradient
from fl.instruments.metric_descent import Rule, gradients, in_metric, train
from fl.simulate.feature_matrix import DATA, gaussian
from fl.tasks import Spectrum

HIDDEN, CLASSES, FLOOR = 48, 10, 0.01


class Images(NamedTuple):
    """Centred pixels ``X`` (64, n), one-hot labels ``Y`` (10, n), and the ``moment`` with
    its floor.
    """

    X: np.ndarray
    Y: np.ndarray
    moment: Spectrum


def images(seed: int, n: int) -> Images:
    """Return ``n`` digits drawn by a ``seed``, with their classes and moment."""
    rng = np.random.default_rng([seed, DATA])
    X, labels = datasets.drawn("digits", n, rng)
    X -= X.mean(1, keepdims=True)
    lam, U = np.linalg.eigh(X @ X.T / n)
    moment = Spectrum(lam.clip(0) + FLOOR * lam[-1], U)
    return Images(X, np.eye(CLASSES)[:, labels], moment)


def layers(seed: int, size: float) -> list[np.ndarray]:
    """Return the two layers (48, 64) and (10, 48) of a start of this ``size``, drawn by a
    ``seed``.
    """
    return gaussian(seed, size, ((HIDDEN, 64), (CLASSES, HIDDEN)))


def course(seed: int, p: float, start: float, rule: Rule, steps: int, n: int) -> dict:
    r"""Train one ReLU network and read its exponent in both ways.

    The metric is scaled so that the trace of its product with the moment is the
    moment's. Weights and gradients are averaged over the second half.

    Args:
        seed: of the images and the start.
        p: exponent of the metric.
        start: its size.
        rule: how both layers move.
        steps: number of updates.
        n: number of images.

    Returns:
        ``p_balance``, its ``error`` and its ``misfit``; ``p_law``, the same reader's
        answer if every neuron had kept the imbalance of its start; with decay also what
        the other reads from the averages, ``p_mean``, and from them and the way that the
        weights went meanwhile, ``p_moved``; ``squares`` (neuron, lam) of the weights
        along the eigenvectors and squared ``readout`` (neuron,), for the pictures.
    """
    X, Y, moment = images(seed, n)
    P = moment.power(p)
    P *= moment.eigenvalues.sum() / np.sum(moment.power(1) * P)
    inverse = np.linalg.inv(P)
    first = layers(seed, start)

    def slopes(weights):
        return gradients(weights, X, Y, "relu", classes=True)

    def squares(W, A):
        return np.sum(W @ inverse * W, 1), np.sum(A**2, 0)

    end = train(first, slopes, in_metric(P, first), rule, steps)
    W = end.weights[0]
    size, readout = squares(*end.weights)
    kept = np.subtract(*squares(*first))
    balance = read_balance(W, readout, moment)
    found = {
        "p_balance": balance.p,
        "error": balance.error,
        "misfit": balance.misfit,
        "p_law": read_balance(W, size - kept, moment).p,
        "squares": (("neuron", "lam"), (W @ moment.rotation) ** 2),
        "readout": ("neuron", readout),
    }
    if rule.decay:
        way = (end.before - W) / (rule.eta * (steps - steps // 2))
        moved = end.W - way / rule.decay
        found |= {
            "p_mean": read_gradient(end.W, end.G, moment).p,
            "p_moved": read_gradient(moved, end.G, moment).p,
        }
    return found
