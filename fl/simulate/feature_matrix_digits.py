r"""Networks 64-48-10 on the digits whose first layer moves in a power of the inputs'
moment, and what is read from their weights.

Pixels are centred. The moment has 1 % of its largest eigenvalue added, for the metric
and the readers alike: pixels that are almost always dark would otherwise lead every
negative power. There are no biases. A start has the size of its weights over the root of
the fan-in.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fl import datasets
from fl.instruments.exponent_reader import read_balance, read_gradient
from fl.simulate.feature_matrix import DATA, WEIGHTS, Rule, gradients, train
from fl.tasks import Spectrum

HIDDEN, CLASSES, FLOOR = 48, 10, 0.01


class Images(NamedTuple):
    """Centred pixels ``X`` (64, n), one-hot labels ``Y`` (10, n), and the ``moment`` with
    its floor.
    """

    X: np.ndarray
    Y: np.ndarray
    moment: Spectrum


@dataclass(frozen=True)
class Course:
    """A training course: exponent ``p`` of the metric, size of the ``start``, how the
    layers move, number of ``steps`` and of images, and the activation.
    """

    p: float
    start: float
    rule: Rule
    steps: int
    n: int
    activation: str = "relu"


def images(seed: int, n: int) -> Images:
    """Return ``n`` digits drawn by a ``seed``, with their classes and moment."""
    pixels, labels = datasets.load("digits")
    chosen = np.random.default_rng([seed, DATA]).permutation(len(labels))[:n]
    X = pixels[:, chosen]
    X = X - X.mean(1, keepdims=True)
    lam, U = np.linalg.eigh(X @ X.T / n)
    moment = Spectrum(lam.clip(0) + FLOOR * lam[-1], U)
    return Images(X, np.eye(CLASSES)[:, labels[chosen]], moment)


def layers(seed: int, size: float) -> list[np.ndarray]:
    """Return the two layers (48, 64) and (10, 48) of a start of this ``size``, drawn by a
    ``seed``.
    """
    rng = np.random.default_rng([seed, WEIGHTS])
    shapes = (HIDDEN, 64), (CLASSES, HIDDEN)
    return [size * rng.standard_normal(s) / np.sqrt(s[1]) for s in shapes]


def course(seed: int, course: Course) -> dict:
    r"""Train one network and read its exponent in both ways.

    The metric is scaled so that the trace of its product with the moment is the
    moment's. Weights and gradients are averaged over the second half.

    Args:
        seed: of the images and the start.
        course: how it is trained.

    Returns:
        ``p_balance``, its ``error`` and its ``misfit``; ``p_law``, the same reader's
        answer if every neuron had kept the imbalance of its start; with decay also what
        the other reads from the averages, ``p_mean``, from them and the way that the
        weights went meanwhile, ``p_moved``, and from the end alone, ``p_last``;
        ``squares`` (neuron, lam) of the weights along the eigenvectors and squared
        ``readout`` (neuron,), for the pictures.
    """
    X, Y, moment = images(seed, course.n)
    P = moment.power(course.p)
    P *= moment.eigenvalues.sum() / np.sum(moment.power(1) * P)
    start = layers(seed, course.start)

    def slopes(weights) -> list:
        return gradients(weights, X, Y, course.activation, classes=True)

    end = train(start, slopes, P, course.rule, course.steps)
    W, readout = end.weights[0], np.sum(end.weights[1] ** 2, 0)
    size = np.sum(W @ np.linalg.inv(P) * W, 1)
    kept = np.sum(start[0] @ np.linalg.inv(P) * start[0], 1) - np.sum(start[1] ** 2, 0)
    balance = read_balance(W, readout, moment)
    found = {"p_balance": balance.p, "error": balance.error, "misfit": balance.misfit}
    found |= {"p_law": read_balance(W, size - kept, moment).p}
    if course.rule.decay:
        way = (end.before - W) / (course.rule.eta * (course.steps - course.steps // 2))
        last = W, slopes(end.weights)[0]
        moved = end.W - way / course.rule.decay
        for name, pair in {
            "mean": end[1:3],
            "moved": (moved, end.G),
            "last": last,
        }.items():
            found[f"p_{name}"] = read_gradient(*pair, moment).p
    squares = ("neuron", "lam"), (W @ moment.rotation) ** 2
    return found | {"squares": squares, "readout": ("neuron", readout)}
