"""Small networks whose layers are preconditioned (`fl.instruments.metric_descent`): where
descent ends, and the flow of linear ones.

All layers are (7, 7), of 7 outputs four are zero.
"""

from dataclasses import dataclass
from functools import reduce

import numpy as np
import xarray as xr
from scipy import integrate

from fl import validate
from fl.instruments.metric_descent import (
    ACTIVATIONS,
    Rule,
    gradients,
    in_metric,
    train,
)
from fl.tasks import from_data, log_spaced

DATA, WEIGHTS, SIDES = 1, 2, 3
D, N, OUTPUTS, NOISE = 7, 50, 3, 0.1
SQUARE = ("row", "column")


@dataclass(frozen=True)
class Case:
    """A small network in training: ``activation``, ``depth``, exponents of the first
    layer's metric, rule and steps; ``everywhere`` says whether all layers have left
    factors, and the later ones metrics too.
    """

    activation: str
    depth: int
    exponents: tuple[float, ...]
    rule: Rule
    steps: int
    everywhere: bool = False


def problem(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return 50 inputs (7, 50) with eigenvalues over a factor 12 in a random basis, and
    noisy linear labels (7, 50) whose last four rows are zero, drawn by a ``seed``.
    """
    rng = np.random.default_rng([seed, DATA])
    spectrum = log_spaced(D, 12).rotated(rng)
    X = spectrum.inputs(N, rng)
    teacher = rng.standard_normal((D, D)) / np.sqrt(D)
    noise = rng.standard_normal((D, N))
    Y = teacher @ X + np.sqrt(NOISE) * noise
    Y[OUTPUTS:] = 0
    return X, Y


def descend(seed: int, case: Case) -> dict:
    """Train one network of a ``case`` for each of its exponents, from one start; the
    ``seed`` draws data and start.

    Returns:
        For every exponent p, matrices (row, column): of each layer the weights ``W`` and
        the gradient ``G`` at the end, the ``metric`` P and the ``left`` factor Q; and
        ``J``, the product of all layers; ``X`` and ``Y`` (row, sample); the ``decay``.

    Raises:
        ValueError: for another activation.
    """
    validate.choice("activation", case.activation, ACTIVATIONS)
    X, Y = problem(seed)
    moment = from_data(X)
    P = np.stack([moment.power(p) for p in case.exponents])

    def slopes(weights) -> list:
        return gradients(weights, X, Y, case.activation)

    start = _start(seed, case.depth)
    sides = in_metric(P, start)
    if case.everywhere:
        rng = np.random.default_rng([seed, SIDES])
        drawn = rng.standard_normal((2, case.depth, D, 12 * D))
        left, right = drawn @ drawn.mT / (12 * D)  # Wishart
        sides = list(zip(left, [P, *right[1:]], strict=True))
    end = train(start, slopes, sides, case.rule, case.steps).weights
    each, data = ("p", "layer", *SQUARE), ("row", "sample")
    left, right = zip(*sides, strict=True)

    def stacked(parts) -> tuple:
        alike = np.broadcast_arrays(P, *parts)[1:]
        return each, np.stack(alike, 1)

    return {
        "W": stacked(end),
        "G": stacked(slopes(end)),
        "J": (("p", *SQUARE), reduce(lambda J, W: W @ J, end)),
        "metric": stacked(right),
        "left": stacked(left),
        "X": (data, X),
        "Y": (data, Y),
        "decay": case.rule.decay,
        "p": ("p", list(case.exponents)),
    }


def _start(seed: int, depth: int) -> np.ndarray:
    rng = np.random.default_rng([seed, WEIGHTS])
    return 0.7 * rng.standard_normal((depth, D, D)) / np.sqrt(D)


def flow(
    seed: int,
    depth: int,
    rule: Rule,
    balanced: bool,
    p: float = -0.7,
    times: int = 41,
) -> xr.Dataset:
    """Follow the gradient flow of a linear network, the first layer in the metric of a
    power of the inputs' moment.

    Args:
        seed: of the data and the start.
        depth: number of layers, at least 2.
        rule: decay, and its kind.
        balanced: whether it starts at the identity in the coordinates of the metric, or
            at Gaussian layers, both times 0.7.
        p: exponent of the metric.
        times: moments at which the flow is read, up to time 4.

    Returns:
        Along ``time`` the ``first`` and the ``second`` layer and ``J``; ``metric`` P; all
        (row, column).

    Raises:
        ValueError: for a depth < 2.
    """
    depth = validate.count("depth", depth, minimum=2)
    X, Y = problem(seed)
    moment = from_data(X)
    start = _start(seed, depth)
    P, root = moment.power(p), moment.power(p / 2)
    if balanced:
        later = [np.eye(D)] * (depth - 1)
        start = 0.7 * np.stack([root, *later])

    sides = in_metric(P, start)

    def speed(_, flat) -> np.ndarray:
        weights = flat.reshape(start.shape)
        slopes = gradients(weights, X, Y, "linear")
        moves = rule.moves(weights, slopes, sides)
        return -np.ravel(moves)

    at = np.linspace(0, 4, times)
    solve = {"method": "DOP853", "t_eval": at, "rtol": 1e-10, "atol": 1e-12}
    path = integrate.solve_ivp(speed, (0, 4), start.ravel(), **solve).y.T
    layers = path.reshape(times, *start.shape).swapaxes(0, 1)
    square = ("time", *SQUARE)
    found = {
        "first": (square, layers[0]),
        "second": (square, layers[1]),
        "J": (square, reduce(lambda J, W: W @ J, layers)),
        "metric": (SQUARE, P),
    }
    return xr.Dataset(found, {"time": at})
