r"""Networks 64-48-10 on the digits whose first layer moves in a power of the inputs'
moment, and what is read from their weights.

Pixels are centred. The moment has 1 % of its largest eigenvalue added, for the metric
and the readers alike: pixels that are almost always dark would otherwise lead every
negative power. There are no biases.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import log_softmax

from fl import datasets
from fl.instruments.exponent_reader import read_balance, read_gradient, slack
from fl.simulate.feature_matrix import Descent, Rule, gradients, layers
from fl.tasks import Spectrum

DATA, WEIGHTS = 1, 2
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
    """A training course: exponent ``p`` of the metric, size of the ``start`` relative to
    one over the root of the fan-in, how the layers move, and how many ``steps``.
    """

    p: float
    start: float
    rule: Rule
    steps: int
    n: int = 200
    activation: str = "relu"


def images(seed: int, n: int) -> Images:
    """Return ``n`` digits drawn by a ``seed``, with their classes and moment."""
    everything = datasets.load("digits")
    rng = np.random.default_rng([seed, DATA])
    chosen = rng.permutation(len(everything.labels))[:n]
    X = everything.X[:, chosen]
    X = X - X.mean(1, keepdims=True)
    lam, U = np.linalg.eigh(X @ X.T / n)
    lam = lam.clip(0) + FLOOR * lam[-1]
    moment = Spectrum(lam[::-1], U[:, ::-1])
    return Images(X, np.eye(CLASSES)[everything.labels[chosen]].T, moment)


def course(seed: int, course: Course) -> dict:
    r"""Train one network and read its exponent in both ways.

    The metric is scaled so that the trace of its product with the moment is the
    moment's. Weights and gradients are averaged over the second half.

    Args:
        seed: of the images and the start.
        course: how it is trained.

    Returns:
        ``p_balance``, ``p_gradient``, and the same with ``error_`` and ``misfit_``, the
        readers' answers; ``p_law``, what the first would answer if every neuron had kept the
        imbalance of its start; ``slack``, how far the second can be off because the
        weights moved during the average; the ``loss``; ``squares`` (neuron, lam) of the
        weights along the eigenvectors and ``readout`` (neuron,), squared; ``features``
        W'W and ``agop`` (row, column), the mean of J'J over the images; ``metric`` P;
        ``moment`` (lam,), the eigenvalues.
    """
    X, Y, moment = images(seed, course.n)
    P = moment.power(course.p)
    P = P * moment.eigenvalues.sum() / np.sum(moment.power(1) * P)
    descent = _begin(seed, course, P)
    first, second = descent.weights
    kept = _balance(first, second, P)
    half = course.steps // 2
    sums = np.zeros((2, *first.shape))
    for step in range(course.steps):
        slopes = gradients(descent.weights, X, Y, course.activation, classes=True)
        if step == half:
            left = _smooth(descent)
        if step >= half:
            sums += descent.weights[0], slopes[0]
        descent.step(slopes)
    W, A = descent.weights
    left = (left - _smooth(descent)) * (1 - course.rule.momentum) / course.rule.eta
    weights = course.rule.decay * sums[0]
    readout = np.sum(A**2, 0)
    # a start so large that the steps do not keep its imbalance leaves nothing to read
    lawful = readout + _balance(W, A, P) - kept
    law = read_balance(W, lawful, moment).p if np.sum(lawful > 0) > 4 else np.nan
    found = {"p_law": law, "slack": slack(weights, left, moment)}
    for name, reading in {
        "balance": read_balance(W, readout, moment),
        "gradient": read_gradient(sums[0], sums[1], moment),
    }.items():
        found |= {f"{field}_{name}": v for field, v in reading._asdict().items()}
    gates = np.sign((W @ X).clip(0))
    gram = A.T @ A * (gates @ gates.T) / course.n
    said = log_softmax(A @ (W @ X).clip(0), axis=0)
    return found | {
        "loss": -np.mean(np.sum(Y * said, 0)),
        "squares": (("neuron", "lam"), (W @ moment.rotation) ** 2),
        "readout": ("neuron", readout),
        "features": (("row", "column"), W.T @ W),
        "agop": (("row", "column"), W.T @ gram @ W),
        "metric": (("row", "column"), P),
        "moment": ("lam", moment.eigenvalues),
    }


def _begin(seed: int, course: Course, P) -> Descent:
    rng = np.random.default_rng([seed, WEIGHTS])
    start = layers(rng, [len(P), HIDDEN, CLASSES], course.start)
    return Descent(start, course.rule, {0: (np.eye(HIDDEN), P)})


def _balance(W, A, P) -> np.ndarray:
    """Return the imbalance of every neuron (h,), in the metric."""
    return np.sum(W @ np.linalg.inv(P) * W, 1) - np.sum(A**2, 0)


def _smooth(descent: Descent) -> np.ndarray:
    """Return the first layer less what its momentum still has in store: each step moves
    this by the step size over one minus the momentum, times the plain move.
    """
    share = descent.rule.momentum / (1 - descent.rule.momentum)
    return descent.weights[0] - descent.rule.eta * share * descent.moves[0]
