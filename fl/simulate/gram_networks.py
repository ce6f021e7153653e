r"""The networks that are trained both ways: small ones, digits, twins.

Inputs of the small networks are Gaussian with eigenvalues 1/r, labels a sine of a
linear teacher.
"""

from dataclasses import astuple, dataclass
from typing import NamedTuple

import numpy as np

from fl import datasets, numerics, tasks, validate
from fl.simulate import gram
from fl.updates import Rule

TWIN, LAW = 1, 2  # streams: what the second entry of a seed draws
STARTS = ["P-isotropic", "isotropic"]


@dataclass(frozen=True)
class Sizes:
    """Numbers of inputs ``d``, training samples ``n``, test samples ``n_test``, and
    neurons ``width`` of a hidden layer.
    """

    d: int
    n: int
    n_test: int
    width: int

    @property
    def spectrum(self) -> tasks.Spectrum:
        """The eigenvalues 1/r of the inputs."""
        return tasks.power_law(self.d, 1.0)


class Cell(NamedTuple):
    """One network, its data and its rule: the arguments of `fl.simulate.gram.train`."""

    X: np.ndarray
    Y: np.ndarray
    W0: np.ndarray
    theta0: list
    P: np.ndarray
    rule: Rule


def problem(sizes: Sizes, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs (d, n + n_test) of these ``sizes``, drawn from ``seed``, and the
    labels (n,) of the first n.
    """
    rng = np.random.default_rng(seed)
    d, n, n_test, _ = astuple(sizes)
    direction = rng.standard_normal(d)
    teacher = tasks.Teacher(2 * direction, "sin")
    task = tasks.Task(sizes.spectrum, teacher)
    X, y, _ = task.sample(n + n_test, rng)
    return X, y[:n]


def small(
    sizes: Sizes,
    depth: int,
    steps: int,
    seed: int,
    *,
    moving: bool = False,
    batch: int | None = None,
    **rule,
) -> Cell:
    r"""Return a small network started isotropic for :math:`P = \Sigma^{-1/2}`.

    Args:
        sizes: of the data and of every hidden layer.
        depth: number of layers.
        steps: number of updates.
        seed: of data, weights and batches.
        moving: whether P is not that one but changes at every step: unrelated PSD
            matrices of the same size.
        batch: samples per step; all of them if None.
        rule: further fields of the `Rule`.
    """
    rng = np.random.default_rng([seed, depth])
    X, y = problem(sizes, seed)
    d, n, _, width = astuple(sizes)
    P = sizes.spectrum.power(-0.5)
    W0 = gram.first_layer(rng, width, P)
    hidden = [width] * (depth - 1)
    theta0 = gram.later_layers(rng, [*hidden, 1])
    if moving:
        A = rng.standard_normal((steps, d, d))
        size = np.trace(P) / d**2
        squares = A @ A.mT
        P = size * squares
    if batch is not None:
        chosen = [rng.choice(n, batch, replace=False) for _ in range(steps)]
        rule["batches"] = np.array(chosen)
    rule = Rule(steps=steps, **rule)
    return Cell(X, y, W0, theta0, P, rule)


def digits(sizes: Sizes, p: float, seed: int, rule: Rule) -> Cell:
    r"""Return a network on real digits (ten outputs, one per class) with :math:`P =
    \hat\Sigma^p` of all *other* digits.

    P is scaled so that the first pre-activations have mean square about 1. ``sizes``
    are those of the data and the hidden layer, ``p`` is the exponent, ``seed`` draws
    digits and weights, ``rule`` says how to train.
    """
    _, n, n_test, width = astuple(sizes)
    rng = np.random.default_rng([seed, n, n_test])
    images = datasets.load("digits")
    number = len(images.labels)
    order = rng.permutation(number)
    shuffled = images.X[:, order]
    X, other = np.split(shuffled, [n + n_test], axis=1)
    first = order[:n]
    labels = images.labels[first]
    classes = np.eye(10)
    Y = classes[labels].T
    second_moment = other @ other.T / other.shape[1]
    P = numerics.psd_power(second_moment, p)
    P /= np.trace(P @ second_moment)
    W0 = gram.first_layer(rng, width, P)
    theta0 = gram.later_layers(rng, [width, 10])
    return Cell(X, Y, W0, theta0, P, rule)


def twins(
    sizes: Sizes, p: float, seed: int, trained: float | None = None, **rule
) -> list[Cell]:
    r"""Return two networks whose data sets are twins for :math:`\Sigma^p`.

    Args:
        sizes: of the data and the hidden layer.
        p: the twins share the Gram matrix of :math:`\Sigma^p`.
        seed: of data, weights and twin.
        trained: exponent of the preconditioner they are trained with; ``p`` if None.
        rule: fields of the `Rule`.
    """
    rng = np.random.default_rng([seed, TWIN])
    X, y = problem(sizes, seed)
    X = X[:, : len(y)]
    power = sizes.spectrum.power
    P = power(p)
    used = P if trained is None else power(trained)
    W0 = gram.first_layer(rng, sizes.width, P)
    theta0 = gram.later_layers(rng, [sizes.width, 1])
    other, W1 = gram.twin(X, W0, P, rng)
    rest = theta0, used, Rule(**rule)
    return [Cell(X, y, W0, *rest), Cell(other, y, W1, *rest)]


def distance(one: Cell, other: Cell) -> float:
    """Return how far the inputs X' of a cell ``other`` are from those X of ``one``, as
    :math:`|X'-X|/|X|`.
    """
    moved = np.linalg.norm(other.X - one.X)
    size = np.linalg.norm(one.X)
    return float(moved / size)


def starts(
    sizes: Sizes, start: str, p: float, draws: int, runs: int, steps: int, seed: int
) -> list[Cell]:
    r"""Draw initialisations on a data set and, independently, on its twin for
    :math:`\Sigma^p`, test inputs and all.

    Args:
        sizes: of the data and the hidden layer.
        start: ``P-isotropic``, or ``isotropic`` with the same trace.
        p: exponent of the preconditioner.
        draws: number of first layers.
        runs: number of the first of them that have later layers.
        steps: number of updates.
        seed: of data, twin and weights.

    Returns:
        A cell for each of the two data sets, with all its networks.

    Raises:
        ValueError: for an unknown start.
    """
    validate.choice("start", start, STARTS)
    rng = np.random.default_rng([seed, LAW])
    X, y = problem(sizes, seed)
    P = shape = sizes.spectrum.power(p)
    if start == "isotropic":
        shape = _level(P) * np.eye(sizes.d)
    no_layer = np.zeros((1, sizes.d))
    X2, _ = gram.twin(X, no_layer, P, rng)
    rule = Rule(steps=steps, eta=0.02, activation="relu", every=steps)
    cells = []
    for inputs in (X, X2):
        W0 = gram.first_layer(rng, sizes.width, shape, (draws,))
        theta0 = gram.later_layers(rng, [sizes.width, 1], (runs,))
        cells.append(Cell(inputs, y, W0, theta0, P, rule))
    return cells


def _level(P) -> float:
    return np.trace(P) / len(P)


def law(runs: int, **sizes) -> dict:
    r"""Train the first ``runs`` of the `starts` of these ``sizes``.

    Returns:
        ``moment`` (set, draw): mean of the squared entries of Z0; ``squares`` (set,
        run, sample): squared errors after ``steps``; ``tests`` (set, run, test): absolute
        outputs at the test inputs; the matrices ``G`` (sample, other) that both sets share
        and ``K`` (set, sample, other) :math:`= sX^\top X` with the isotropic start's
        variance ``s``.
    """
    moments, squares, tests, K = [], [], [], []
    for cell in starts(runs=runs, **sizes):
        n, P = len(cell.Y), cell.P
        run = gram.train(*cell._replace(W0=cell.W0[:runs]))
        X = cell.X[:, :n]
        Z0 = cell.W0 @ X
        moment = (Z0**2).mean((1, 2))
        moments.append(moment)
        outputs = run.outputs[-1, :, 0]
        errors = outputs[:, :n] - cell.Y
        squares.append(errors**2)
        unseen = outputs[:, n:]
        tests.append(abs(unseen))
        K.append(_level(P) * X.T @ X)
    return {
        "moment": (("set", "draw"), moments),
        "squares": (("set", "run", "sample"), squares),
        "tests": (("set", "run", "test"), tests),
        "G": (("sample", "other"), X.T @ P @ X),
        "K": (("set", "sample", "other"), K),
    }


def data_sets(number: int, seed: int) -> list[np.ndarray]:
    """Return three sets of inputs drawn from ``seed``: Gaussian of dimension ``number``
    with eigenvalues 1/r, half as many and twice as many, and ``number`` digits.
    """
    rng = np.random.default_rng(seed)
    law = tasks.power_law(number, 1.0)
    chosen = rng.choice(1797, number, replace=False)
    few = law.inputs(number // 2, rng)
    many = law.inputs(2 * number, rng)
    images = datasets.load("digits")
    return [few, many, images.X[:, chosen]]
