r"""Small networks whose layers move in a metric, to rest or along the flow, with weight
decay of both kinds.

Layer l moves by :math:`-\eta(Q_lG_lP_l+kW_l)` under decoupled decay and by
:math:`-\eta\,Q_l(G_l+kW_l)P_l` under coupled decay, with heavy-ball momentum on the
whole. Samples stand in columns, ``X`` is (d, N), ``Y`` is (C, N). The loss is
:math:`|Y-f|^2/2N`, or the mean cross-entropy of a softmax. Weights may carry leading
dimensions, one network per entry.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import xarray as xr
from scipy import integrate
from scipy.special import softmax
from scipy.stats import ortho_group

from fl import validate
from fl.tasks import from_data, log_spaced

DATA, WEIGHTS = 1, 2
D, N, OUTPUTS, NOISE = 6, 40, 3, 0.1
# the derivative is a function of the activation's value
ACTIVATIONS = {
    "linear": (lambda z: z, np.ones_like),
    "relu": (lambda z: z * (z > 0), lambda h: (h > 0) * 1.0),
    "tanh": (np.tanh, lambda h: 1 - h**2),
}
# networks that are trained to rest: activation, hidden layers, rule, and which of the
# first layer's left factor and the second layer's metric they have
NETWORKS = {
    "left factor": ("tanh", 2, (0.2, 0.2, 0.95), (True, False)),
    "two metrics": ("tanh", 2, (0.2, 0.2, 0.95), (False, True)),
    "linear": ("linear", 3, (0.05, 0.05, 0.9), (False, False)),
}


@dataclass(frozen=True)
class Rule:
    """How all layers move: step size, decay, momentum, and the kind of decay.

    Raises:
        ValueError: for a step size that is not > 0, a decay < 0 or a momentum outside
            [0, 1).
    """

    eta: float
    decay: float = 0.0
    momentum: float = 0.0
    coupled: bool = False

    def __post_init__(self):
        validate.number("eta", self.eta, 0, open_low=True)
        validate.number("decay", self.decay, 0)
        validate.number("momentum", self.momentum, 0, 1 - 1e-9)

    def move(self, W, G, metric) -> np.ndarray:
        """Return what W (..., h, d) of gradient ``G`` moves against in a ``metric`` (Q,
        P), decay included.
        """
        Q, P = metric
        if self.coupled:
            return Q @ (G + self.decay * W) @ P
        return Q @ G @ P + self.decay * W


class Descent:
    """Networks in training: ``weights``, a list of (..., h, d), and their momenta.

    Args:
        weights: where they start.
        rule: how they move.
        metrics: (Q, P) of the layers that have one, by their number.
    """

    def __init__(self, weights, rule: Rule, metrics: dict):
        self.weights = list(weights)
        self.rule = rule
        self.moves = [np.zeros_like(W) for W in weights]
        plain = [tuple(map(np.eye, W.shape[-2:])) for W in weights]
        self.metrics = [metrics.get(i, both) for i, both in enumerate(plain)]

    def plan(self, slopes) -> list:
        """Return what each layer of gradient ``slopes`` moves against, without momentum."""
        return list(map(self.rule.move, self.weights, slopes, self.metrics))

    def step(self, slopes) -> None:
        """Move every layer by one step on its gradient, given in ``slopes``."""
        for i, move in enumerate(self.plan(slopes)):
            self.moves[i] = self.rule.momentum * self.moves[i] + move
            self.weights[i] = self.weights[i] - self.rule.eta * self.moves[i]

    def still(self) -> bool:
        """Return whether no layer moves by more than its rounding."""
        pairs = zip(self.moves, self.weights, strict=True)
        return all(np.abs(m).max() < 1e-13 * np.abs(W).max() for m, W in pairs)


def gradients(weights, X, Y, activation: str, classes: bool = False) -> list:
    """Return the gradient of the loss in every layer.

    Args:
        weights: the layers, the first on the inputs.
        X: inputs (d, N).
        Y: labels (C, N).
        activation: of the hidden layers, one of `ACTIVATIONS`.
        classes: whether the outputs go through a softmax; ``Y`` then holds
            probabilities.

    Raises:
        ValueError: for another activation.
    """
    validate.choice("activation", activation, ACTIVATIONS)
    act, slope = ACTIVATIONS[activation]
    layers = [X]
    for W in weights[:-1]:
        layers.append(act(W @ layers[-1]))
    output = weights[-1] @ layers[-1]
    if classes:
        output = softmax(output, axis=-2)
    error = (output - Y) / len(X.T)
    found = []
    for W, below in zip(weights[::-1], layers[::-1], strict=True):
        found.append(error @ below.mT)
        if below is not X:
            error = W.mT @ error * slope(below)
    return found[::-1]


def pack(weights) -> np.ndarray:
    """Return the entries of ``weights``, a list of matrices, as one vector (K,)."""
    return np.concatenate([W.ravel() for W in weights])


class Packing:
    """The shapes of ``weights``; called with a vector (K,) it gives back the matrices."""

    def __init__(self, weights):
        self.shapes = [W.shape for W in weights]
        self.cuts = np.cumsum([W.size for W in weights])[:-1]

    def __call__(self, flat) -> list:
        parts = np.split(flat, self.cuts)
        return [p.reshape(s) for p, s in zip(parts, self.shapes, strict=True)]


def problem(seed: int, n: int = N) -> tuple[np.ndarray, np.ndarray]:
    """Return ``n`` inputs (6, n) with eigenvalues over a factor 16 in a random basis, and
    noisy linear labels (3, n), drawn by a ``seed``.
    """
    rng = np.random.default_rng([seed, DATA])
    X = log_spaced(D, 16).rotated(rng).inputs(n, rng)
    teacher = rng.standard_normal((OUTPUTS, D)) / np.sqrt(D)
    noise = np.sqrt(NOISE) * rng.standard_normal((OUTPUTS, n))
    return X, teacher @ X + noise


def layers(rng, widths, size: float = 1.0) -> list[np.ndarray]:
    """Return Gaussian layers between ``widths``, entries of standard deviation ``size``
    over the root of the fan-in, drawn by ``rng``.
    """
    shapes = pairwise(widths)
    return [size * rng.standard_normal((m, n)) / np.sqrt(n) for n, m in shapes]


def rest(seed: int, network: str, coupled: bool = False, steps: int = 4000) -> dict:
    """Train a network until no layer moves.

    The metric of the first layer is the power -1/2 of the inputs' moment.

    Args:
        seed: of the data, the start and the metrics.
        network: one of `NETWORKS`: tanh of depth 3 whose first layer has a left factor,
            or whose second layer has a metric of its own, or linear of depth 4.
        coupled: whether the decay is.
        steps: at most so many.

    Returns:
        ``features`` :math:`W'Q^{-1}W`, ``fact`` F and ``metric`` P of the first two
        layers, all (layer, row, column).

    Raises:
        ValueError: for another network.
    """
    validate.choice("network", network, NETWORKS)
    activation, hidden, (eta, decay, momentum), extra = NETWORKS[network]
    X, Y = problem(seed)
    rng = np.random.default_rng([seed, WEIGHTS])
    left, right = (log_spaced(D, 4).rotated(rng).power(float(has)) for has in extra)
    metrics = {0: (left, from_data(X).power(-0.5)), 1: (np.eye(D), right)}
    start = layers(rng, [D] * (hidden + 1) + [OUTPUTS])
    descent = Descent(start, Rule(eta, decay, momentum, coupled), metrics)
    for step in range(1, steps + 1):
        descent.step(gradients(descent.weights, X, Y, activation))
        if step % 50 == 0 and descent.still():
            break
    slopes = gradients(descent.weights, X, Y, activation)
    found = {"features": [], "fact": [], "metric": []}
    for W, G, (Q, P) in zip(descent.weights[:2], slopes, descent.metrics, strict=False):
        found["features"].append(W.T @ np.linalg.solve(Q, W))
        found["fact"].append(-W.T @ G / decay)
        found["metric"].append(P)
    dims = ("layer", "row", "column")
    return {name: (dims, value) for name, value in found.items()}


def ends(
    seed: int, exponents: list, coupled: bool, decay: float = 0.05, steps: int = 4000
) -> dict:
    """Train two linear layers to the end for every power of the inputs' moment, from one
    large start.

    Args:
        seed: of the data and the start.
        exponents: the powers p.
        coupled: whether the decay is.
        decay: of both layers.
        steps: at most so many.

    Returns:
        ``J`` (p, output, row), ``features`` W'W and ``metric`` P (p, row, column), the
        data ``X`` (row, sample) and ``Y`` (output, sample).
    """
    X, Y = problem(seed)
    P = np.stack([from_data(X).power(p) for p in exponents])
    start = layers(np.random.default_rng([seed, WEIGHTS]), [D, D + 2, OUTPUTS])
    weights = [np.stack([W] * len(P)) for W in start]
    rule = Rule(0.03, decay, 0.9, coupled)
    descent = Descent(weights, rule, {0: (np.eye(D + 2), P)})
    for step in range(steps):
        descent.step(gradients(descent.weights, X, Y, "linear"))
        if step % 100 == 0 and descent.still():
            break
    W, A = descent.weights
    return {
        "J": (("p", "output", "row"), A @ W),
        "features": (("p", "row", "column"), W.mT @ W),
        "metric": (("p", "row", "column"), P),
        "X": (("row", "sample"), X),
        "Y": (("output", "sample"), Y),
        "p": ("p", list(exponents)),
    }


def averages(seed: int, batch: int, steps: int, p: float = -0.5) -> dict:
    """Train a ReLU network of depth 3 by plain steps with decoupled decay and average
    over the second half.

    Args:
        seed: of the data, the start and the batches.
        batch: samples per step, all of them for ``N``.
        steps: an even number; the second half is averaged.
        p: exponent of the metric of the first layer.

    Returns:
        Rows of the first layer (neuron, row): the means ``W`` and ``G`` of weights and
        used gradients, the ``first`` and the ``last`` weights of the average, the
        gradient ``G_last`` at the last, and the ``next`` weights; ``metric`` P, ``eta``
        and ``decay``.

    Raises:
        ValueError: for a batch or a number of steps out of range.
    """
    half = validate.count("steps", steps, minimum=2) // 2
    batch = min(validate.count("batch", batch), N)
    X, Y = problem(seed)
    rng = np.random.default_rng([seed, WEIGHTS])
    P = from_data(X).power(p)
    start = layers(rng, [D, 12, 12, OUTPUTS])
    rule = Rule(0.03, 0.05)
    descent = Descent(start, rule, {0: (np.eye(12), P)})
    path = []
    for _ in range(2 * half + 1):
        chosen = rng.permutation(N)[:batch]
        slopes = gradients(descent.weights, X[:, chosen], Y[:, chosen], "relu")
        path.append((descent.weights[0], slopes[0]))
        descent.step(slopes)
    W, G = (np.stack(values) for values in zip(*path[half:], strict=True))
    found = {"W": W[:-1].mean(0), "G": G[:-1].mean(0), "first": W[0], "last": W[-1]}
    found |= {"G_last": G[-1], "next": descent.weights[0]}
    arrays = {name: (("neuron", "row"), value) for name, value in found.items()}
    metric = {"metric": (("row", "column"), P), "eta": rule.eta, "decay": rule.decay}
    return arrays | metric


@dataclass(frozen=True)
class Start:
    """Where a flow starts: Gaussian layers of a ``size``, or layers that are ``balanced``
    in the metric.
    """

    size: float = 1.0
    balanced: bool = False


def flow(
    seed: int,
    depth: int,
    start: Start = Start(),  # noqa: B008, it is frozen
    decay: float = 0.0,
    coupled: bool = False,
    p: float = -0.7,
    times: int = 41,
) -> xr.Dataset:
    """Follow the gradient flow of a linear network, the first layer in the metric of a
    power of the inputs' moment.

    Args:
        seed: of the data and the start.
        depth: number of layers, at least 2.
        start: where it starts.
        decay: of all layers.
        coupled: whether the decay is.
        p: exponent of the metric.
        times: moments at which the flow is read, up to time 4.

    Returns:
        Along ``time``: ``J`` (output, row), ``features`` W'W (row, column), and the
        imbalance of the first two layers (neuron, other), in the metric and ``plain``;
        ``metric`` P.

    Raises:
        ValueError: for a depth < 2 or fewer than two times.
    """
    depth = validate.count("depth", depth, minimum=2)
    X, Y = problem(seed)
    metric = from_data(X)
    P = metric.power(p)
    widths = [D, *[D + 1] * (depth - 1), OUTPUTS]
    weights = _start(seed, widths, start, metric.power(p / 2))
    rule = Rule(1.0, decay, coupled=coupled)
    descent = Descent(weights, rule, {0: (np.eye(D + 1), P)})
    unpack = Packing(weights)

    def speed(_, flat) -> np.ndarray:
        descent.weights = unpack(flat)
        return -pack(descent.plan(gradients(descent.weights, X, Y, "linear")))

    at = np.linspace(0, 4, validate.count("times", times, minimum=2))
    solve = {"method": "DOP853", "t_eval": at, "rtol": 1e-10, "atol": 1e-12}
    path = integrate.solve_ivp(speed, (0, 4), pack(weights), **solve).y.T
    return _along(at, [unpack(flat) for flat in path], P)


def _along(times, path, P) -> xr.Dataset:
    found = {"J": [], "features": [], "imbalance": [], "plain": []}
    for first, second, *later in path:
        J = second @ first
        for W in later:
            J = W @ J
        gram = second.T @ second
        found["J"].append(J)
        found["features"].append(first.T @ first)
        found["imbalance"].append(first @ np.linalg.solve(P, first.T) - gram)
        found["plain"].append(first @ first.T - gram)
    sides = ["output row", "row column", "neuron other", "neuron other"]
    dims = [("time", *names.split()) for names in sides]
    arrays = dict(zip(found, zip(dims, found.values(), strict=True), strict=True))
    return xr.Dataset(arrays | {"metric": (("row", "column"), P)}, {"time": times})


def _start(seed: int, widths, start: Start, root) -> list:
    """Return layers of a size, or balanced ones of rank C with singular values 1/2 to 1
    in the metric whose root is given.
    """
    rng = np.random.default_rng([seed, WEIGHTS])
    if not start.balanced:
        return layers(rng, widths, start.size)
    values = np.linspace(0.5, 1.0, OUTPUTS)
    frames = [ortho_group.rvs(n, random_state=rng)[:, :OUTPUTS] for n in widths]
    made = [upper * values @ lower.T for lower, upper in pairwise(frames)]
    return [made[0] @ root, *made[1:]]
