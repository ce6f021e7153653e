"""Small networks whose layers are preconditioned (`fl.instruments.metric_descent`): where
descent ends, and the flow of linear ones.

All layers are (7, 7), of 7 outputs four are zero.
"""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy import integrate

from fl import validate
from fl.instruments.metric_descent import (
    ACTIVATIONS,
    Rule,
    gradients,
    in_metric,
    product,
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
    X = log_spaced(D, 12).rotated(rng).inputs(N, rng)
    teacher = rng.standard_normal((D, D)) / np.sqrt(D)
    Y = teacher @ X + np.sqrt(NOISE) * rng.standard_normal((D, N))
    Y[OUTPUTS:] = 0
    return X, Y


def gaussian(seed: int, size: float, shapes) -> list[np.ndarray]:
    """Return Gaussian layers of the ``shapes`` (h, d), each of this ``size`` over the root
    of its fan-in, drawn by a ``seed``.
    """
    rng = np.random.default_rng([seed, WEIGHTS])
    return [size * rng.standard_normal(s) / np.sqrt(s[1]) for s in shapes]


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
    sides = np.empty((2, case.depth, len(case.exponents), D, D))
    sides[:] = np.eye(D)
    if case.everywhere:
        rng = np.random.default_rng([seed, SIDES])
        drawn = rng.standard_normal((2, case.depth, 1, D, 12 * D))
        sides[:] = drawn @ drawn.mT / (12 * D)  # Wishart
    left, right = sides
    right[0] = [moment.power(p) for p in case.exponents]

    def slopes(weights):
        return gradients(weights, X, Y, case.activation)

    def stacked(layers):
        return ("p", "layer", *SQUARE), np.stack(layers, 1)

    start = gaussian(seed, 0.7, [(D, D)] * case.depth)
    end = train(start, slopes, sides.swapaxes(0, 1), case.rule, case.steps).weights
    return {
        "W": stacked(end),
        "G": stacked(slopes(end)),
        "J": (("p", *SQUARE), product(end)),
        "metric": stacked(right),
        "left": stacked(left),
        "X": (("row", "sample"), X),
        "Y": (("row", "sample"), Y),
        "decay": case.rule.decay,
        "p": ("p", list(case.exponents)),
    }


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
    P = moment.power(p)
    start = np.stack(gaussian(seed, 0.7, [(D, D)] * depth))
    if balanced:
        start[:] = 0.7 * np.eye(D)
        start[0] = 0.7 * moment.power(p / 2)
    sides = in_metric(P, start)

    def speed(_, flat):
        weights = flat.reshape(start.shape)
        slopes = gradients(weights, X, Y, "linear")
        return -np.ravel(rule.moves(weights, slopes, sides))

    at = np.linspace(0, 4, times)
    path = integrate.solve_ivp(
        speed, (0, 4), start.ravel(), "DOP853", at, rtol=1e-10, atol=1e-12
    ).y.T
    layers = path.reshape(times, *start.shape).swapaxes(0, 1)
    square = ("time", *SQUARE)
    return xr.Dataset(
        {
            "first": (square, layers[0]),
            "second": (square, layers[1]),
            "J": (square, product(layers)),
            "metric": (SQUARE, P),
        },
        {"time": at},
    )
