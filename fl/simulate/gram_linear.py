r"""Whitening experiments: which data the whitening matrix is made of, and where the
first layer starts.

The linear model is trained from :math:`w = 0`, the network is one of
`fl.simulate.gram`. ``X`` is (d, N), test inputs are (d, M); the whitening matrix is the
pseudo-inverse of an uncentred second moment.
"""

from dataclasses import astuple

import numpy as np

from fl import datasets, numerics, tasks, validate
from fl.simulate import gram
from fl.simulate.gram_networks import STARTS, Cell, Sizes
from fl.updates import Rule

STEP_SIZES = {"tanh": 0.05, "relu": 0.01}  # of the networks
# the inputs a whitening matrix can be made of, for each source of data
WHITENED = {
    "power law": ["train", "train+test", "population"],
    "digits": ["train", "train+test"],
}


def linear_descent(X, y, P, eta: float, steps) -> np.ndarray:
    """Return the weights (len(steps), d) of a linear model after ``steps`` (a rising
    list) steps of preconditioned descent from 0.

    Inputs ``X`` are (d, N), labels ``y`` (N,), the preconditioner ``P`` is (d, d) and
    ``eta`` the step size. The loss is the mean square.

    Raises:
        ValueError: for data of the wrong shape.
    """
    X = validate.array("X", X, ("d", "N"))
    y = validate.array("y", y, (X.shape[1],))
    w = np.zeros(len(X))
    path = []
    for t in range(max(steps) + 1):
        if t in steps:
            path.append(w)
        errors = w @ X - y
        gradient = 2 * (X @ errors) / len(y)
        step = P @ gradient
        w = w - eta * step
    return np.array(path)


def descend(X, y, P) -> np.ndarray:
    """Return the end (d,) of preconditioned descent from 0, for linearly independent
    inputs ``X`` (d, N), labels ``y`` (N,) and ``P`` (d, d).

    The step size is the best constant one; the run stops when its distance to the limit
    is bounded by 1e-12 of the limit.
    """
    low, *_, high = np.linalg.eigvalsh(X.T @ P @ X)
    condition = high / low
    # each step shrinks errors by (condition - 1)/(condition + 1)
    steps = int(np.ceil(14 * condition)) + 1
    eta = len(y) / (low + high)
    path = linear_descent(X, y, P, eta, [steps])
    return path[0]


def whitening(*inputs) -> np.ndarray:
    """Return the pseudo-inverse of the second moment of all columns of all ``inputs``
    (d, .) together, (d, d).
    """
    X = np.hstack(inputs)
    second_moment = X @ X.T / X.shape[1]
    return numerics.psd_power(second_moment, -1)


def linear_chance(
    source: str, over: str, n: int, n_test: int, d: int, seed: int
) -> dict:
    r"""Return the ``risk`` :math:`|f-y|^2/|y|^2` of a whitened linear model on the test
    set (predicting 0 has 1), and its data ``X`` (input, sample), ``y`` (sample,).

    Args:
        source: ``power law`` (eigenvalues 1/r, linear teacher) or ``digits`` (zeros
            against ones, labels -1 and 1).
        over: whitening from ``train`` or ``train+test`` inputs, or with the
            ``population`` covariance (power law only).
        n: number of training inputs.
        n_test: number of test inputs.
        d: dimension, 64 for the digits.
        seed: of the draw.

    Raises:
        ValueError: for an unknown source, or a whitening it does not have.
    """
    validate.choice("source", source, WHITENED)
    validate.choice("over", over, WHITENED[source])
    rng = np.random.default_rng([seed, n, n_test, d])
    if source == "digits":
        X, y = _zeros_and_ones(n + n_test, rng)
    else:
        spectrum = tasks.power_law(d, 1.0)
        direction = rng.standard_normal(d)
        X, y = _labelled(spectrum, direction, n + n_test, rng)
    train = X[:, :n]
    if over == "population":
        P = spectrum.power(-1)
    elif over == "train":
        P = whitening(train)
    else:
        P = whitening(X)
    w = descend(train, y[:n], P)
    errors = w @ X[:, n:] - y[n:]
    signal = (y[n:] ** 2).sum()
    X = (("input", "sample"), X)
    return {"risk": (errors**2).sum() / signal, "X": X, "y": ("sample", y)}


def whitened_network(
    sizes: Sizes, start: str, activation: str, steps: int, seed: int
) -> tuple[Cell, np.ndarray]:
    r"""Return a network whitened over train+test, without biases, and all its labels
    (n + n_test,): a linear teacher of variance 1, stronger along directions of larger
    variance, plus 0.7.

    Args:
        sizes: of the data and the hidden layer.
        start: ``P-isotropic`` or ``isotropic``; both give pre-activations of mean
            square about 1 over the inputs.
        activation: ``relu`` or ``tanh``.
        steps: number of updates.
        seed: of data and weights.

    Raises:
        ValueError: for an unknown start.
    """
    validate.choice("start", start, STARTS)
    d, n, n_test, width = astuple(sizes)
    rng = np.random.default_rng([seed, n, n_test, d, width])
    lam = sizes.spectrum.eigenvalues
    root = np.sqrt(lam)
    beta = root * rng.standard_normal(d)
    beta /= np.linalg.norm(root * beta)
    X, y = _labelled(sizes.spectrum, beta, n + n_test, rng)
    y = y + 0.7
    P = whitening(X)
    shape = P / (n + n_test)
    if start == "isotropic":
        shape = np.eye(d) / lam.sum()
    W0 = gram.first_layer(rng, width, shape)
    theta0 = gram.later_layers(rng, [width, 1])
    rule = Rule(
        steps=steps,
        eta=STEP_SIZES[activation],
        activation=activation,
        train_biases=False,
        every=steps,
    )
    return Cell(X, y[:n], W0, theta0, P, rule), y


def network_chance(**sizes) -> dict:
    """Train the `whitened_network` of these ``sizes``.

    Returns:
        ``outputs`` (n_test,), ``labels`` (n_test,); at the end of training the training
        ``loss`` and ``moved``, the largest change of a first-layer test pre-activation.
    """
    cell, y = whitened_network(**sizes)
    run, n = gram.train(*cell), len(cell.Y)
    first, last = run.Z[..., n:]
    moved = np.abs(last - first)
    return {
        "outputs": ("test", run.outputs[-1, 0, n:]),
        "labels": ("test", y[n:]),
        "loss": run.loss[-1],
        "moved": moved.max(),
    }


def limit(of: str, p: float, n: int, d: int, seed: int) -> dict:
    r"""Return where preconditioned descent on a linear model ends.

    Inputs are Gaussian with eigenvalues :math:`r^{-1/2}`; labels are a linear teacher
    plus noise of a third of its variance. The run takes the best constant step size and
    stops when theory bounds its distance to the limit by 1e-12.

    Args:
        of: ``training`` (:math:`P = \hat\Sigma^p`) or ``population`` (:math:`P =
            \Sigma^p`).
        p: the exponent.
        n: number of samples.
        d: dimension, at least ``n``.
        seed: of the draw.

    Returns:
        ``X`` (input, sample), ``y`` (sample,), ``P`` (input, other) and the final
        weights ``w`` (input,).

    Raises:
        ValueError: for an unknown ``of``.
    """
    validate.choice("of", of, ["training", "population"])
    rng = np.random.default_rng([seed, n, d])
    spectrum = tasks.power_law(d, 0.5)
    direction = rng.standard_normal(d)
    X, y = _labelled(spectrum, direction, n, rng, snr=3**0.5)
    covariance = spectrum.power(1)
    if of == "training":
        covariance = X @ X.T / n
    P = numerics.psd_power(covariance, p)
    w = descend(X, y, P)
    X = (("input", "sample"), X)
    P = (("input", "other"), P)
    return {"X": X, "y": ("sample", y), "P": P, "w": ("input", w)}


def _labelled(spectrum, direction, number, rng, snr=np.inf):
    """Return inputs (d, number) and their labels by a linear teacher."""
    teacher = tasks.Teacher(direction)
    task = tasks.Task(spectrum, teacher, snr)
    X, y, _ = task.sample(number, rng)
    return X, y


def _zeros_and_ones(number, rng):
    """Return so many digits 0 and 1, (64, number), and their labels -1 and 1."""
    images = datasets.load("digits")
    binary = np.flatnonzero(images.labels < 2)
    chosen = rng.choice(binary, number, replace=False)
    labels = images.labels[chosen]
    return images.X[:, chosen], 2.0 * labels - 1
