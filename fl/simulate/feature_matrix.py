"""Small networks whose first layer moves in a metric (`fl.instruments.metric_descent`):
where descent ends, and the flow of linear ones.

All layers are (6, 6), of 6 outputs three are zero.
"""

from dataclasses import dataclass
from functools import reduce

import numpy as np
import xarray as xr
from scipy import integrate

from fl import validate
from fl.instruments.metric_descent import ACTIVATIONS, Rule, gradients, train
from fl.tasks import from_data, log_spaced

DATA, WEIGHTS = 1, 2
D, N, OUTPUTS, NOISE = 6, 40, 3, 0.1
SQUARE = ("row", "column")


@dataclass(frozen=True)
class Case:
    """A small network in training: ``activation``, ``depth``, exponents of the metric,
    rule and steps.
    """

    activation: str
    depth: int
    exponents: tuple[float, ...]
    rule: Rule
    steps: int


def problem(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return 40 inputs (6, 40) with eigenvalues over a factor 16 in a random basis, and
    noisy linear labels (6, 40) whose last three rows are zero, drawn by a ``seed``.
    """
    rng = np.random.default_rng([seed, DATA])
    spectrum = log_spaced(D, 16).rotated(rng)
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
        For every exponent p, matrices (row, column): of the first layer the weights ``W``
        and the gradient ``G`` at the end, the ``metric`` P, and ``J``, the product of all
        layers; ``X`` and ``Y`` (row, sample); the ``decay``.

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
    end = train(start, slopes, P, case.rule, case.steps).weights
    square, data = ("p", *SQUARE), ("row", "sample")
    return {
        "W": (square, end[0]),
        "G": (square, slopes(end)[0]),
        "J": (square, reduce(lambda J, W: W @ J, end)),
        "metric": (square, P),
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

    def speed(_, flat) -> np.ndarray:
        weights = flat.reshape(start.shape)
        slopes = gradients(weights, X, Y, "linear")
        moves = rule.moves(weights, slopes, P)
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
