r"""Small networks written out by hand: gradients of all layers, and descent with a left
and a right preconditioner Q and P for each, and weight decay of both kinds.

A layer moves by :math:`-\eta(QGP+kW)` under decoupled decay and by
:math:`-\eta Q(G+kW)P` under coupled decay. Samples stand in columns; there are no biases.
The loss is :math:`|Y-f|^2/2N`, or the mean cross-entropy of a softmax. Weights may carry
leading dimensions, one network per entry.
"""

from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple

import numpy as np
from scipy.special import softmax

# the derivative is a function of the activation's value
ACTIVATIONS = {
    "linear": (lambda z: z, np.ones_like),
    "relu": (lambda z: z * (z > 0), np.sign),
    "tanh": (np.tanh, lambda h: 1 - h**2),
}


@dataclass(frozen=True)
class Rule:
    """How all layers move: step size, decay, momentum, and the kind of decay."""

    eta: float
    decay: float = 0.0
    momentum: float = 0.0
    coupled: bool = False

    def moves(self, weights, slopes, sides) -> list:
        """Return what each of ``weights`` with its gradient in ``slopes`` moves against,
        decay included; ``sides`` are the pairs Q, P of the layers.
        """
        found = []
        for W, G, (Q, P) in zip(weights, slopes, sides, strict=True):
            pull = self.decay * W
            if self.coupled:
                found.append(Q @ (G + pull) @ P)
            else:
                found.append(Q @ G @ P + pull)
        return found


class End(NamedTuple):
    """Where training led: all ``weights``, and of the first layer over the second half of
    the steps the means ``W`` and ``G`` of weights and gradients, and the weights
    ``before``.
    """

    weights: list
    W: np.ndarray
    G: np.ndarray
    before: np.ndarray


def gradients(weights, X, Y, activation: str, classes: bool = False) -> list:
    """Return the gradient of the loss in every layer.

    Args:
        weights: the layers, the first on the inputs.
        X: inputs (d, N).
        Y: labels (C, N).
        activation: of the hidden layers, one of `ACTIVATIONS`.
        classes: whether the outputs go through a softmax.
    """
    act, slope = ACTIVATIONS[activation]
    layers = [X]
    for W in weights[:-1]:
        layers.append(act(W @ layers[-1]))
    output = weights[-1] @ layers[-1]
    if classes:
        output = softmax(output, axis=-2)
    n = len(X.T)
    error = (output - Y) / n
    found = [error @ layers[-1].mT]
    for W, above, below in zip(
        weights[:0:-1], layers[:0:-1], layers[-2::-1], strict=True
    ):
        error = W.mT @ error * slope(above)
        found.append(error @ below.mT)
    return found[::-1]


def product(weights) -> np.ndarray:
    """Return the matrix J (..., C, d) of the linear network with these ``weights``, the
    first on the inputs.
    """
    return reduce(np.matmul, weights[::-1])


def in_metric(P, weights) -> list[tuple]:
    """Return the pairs Q, P of ``weights`` of which the first layer alone moves in a
    metric ``P`` (..., d, d).
    """
    plain = [tuple(map(np.eye, W.shape[-2:])) for W in weights]
    return [(plain[0][0], P), *plain[1:]]


def train(weights, slopes, sides, rule: Rule, steps: int) -> End:
    """Return where ``steps`` steps of a ``rule`` lead from ``weights``.

    ``slopes`` takes weights to gradients, ``sides`` are the pairs Q, P of the layers.
    """
    moves, half, total = [0.0] * len(weights), steps // 2, 0.0
    for step in range(steps):
        found = slopes(weights)
        if step == half:
            before = weights[0]
        if step >= half:
            total = total + np.stack([weights[0], found[0]])
        plan = rule.moves(weights, found, sides)
        pairs = zip(moves, plan, strict=True)
        moves = [rule.momentum * m + new for m, new in pairs]
        pairs = zip(weights, moves, strict=True)
        weights = [W - rule.eta * m for W, m in pairs]
    W, G = total / (steps - half)
    return End(weights, W, G, before)
