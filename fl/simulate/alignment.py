r"""Experiments on the early phase of training: the first feature, the escape from zero,
and a conserved quantity.

Samples stand in columns, ``X`` is (d, N). Labels of the network experiments are
standardised: mean 0, variance 1.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fl import validate
from fl.tasks import Task, Teacher, two_level


def extreme_task(
    case: str, snr: float, d: int = 10, top: float = 10.0, bottom: float = 0.1
) -> Task:
    """Return the softplus teacher on the one eigenvalue that differs from all others.

    Case ``High``: it is the only ``top`` one among d - 1 at ``bottom``. Case ``Low``:
    the other way round. The distinguished direction is index 0 in High and d - 1 in
    Low; the teacher has length one.
    """
    validate.choice("case", case, ["High", "Low"])
    d = validate.count("d", d, minimum=2)
    high = case == "High"
    beta = np.eye(d)[0 if high else d - 1]
    spectrum = (
        two_level(top, 1, bottom, d - 1) if high else two_level(top, d - 1, bottom, 1)
    )
    return Task(spectrum, Teacher(beta, "softplus10"), snr)


def early_feature(
    case: str, snr: float, ps: Sequence[float], n: int, draws: int, seed: int
) -> dict:
    r"""Measure the alignment of :math:`v=\Sigma^p\frac1N\sum_i(y_i-\bar y)x_i` with the
    teacher of `extreme_task`.

    Returns:
        ``alignment`` (p,), over the drawn training sets the mean of
        :math:`(v^\top\Sigma\beta)^2` divided by the mean of :math:`\tau^2v^\top\Sigma
        v`, and ``error`` (p,), its standard error.
    """
    task = extreme_task(case, snr)
    n, draws = (
        validate.count("n", n, minimum=2),
        validate.count("draws", draws, minimum=2),
    )
    beta, S = task.teacher.directions[0], task.spectrum.power(1)
    X, y, _ = task.sample(n * draws, np.random.default_rng(seed))
    y = y.reshape(draws, n)
    g = (
        np.einsum("dmn,mn->md", X.reshape(-1, draws, n), y - y.mean(1, keepdims=True))
        / n
    )
    values, errors = [], []
    for p in ps:
        v = g @ task.spectrum.power(p)
        top, bottom = (
            (v @ S @ beta) ** 2,
            task.tau[0] ** 2 * np.einsum("md,de,me->m", v, S, v),
        )
        values.append(top.mean() / bottom.mean())
        errors.append(
            np.std(top - values[-1] * bottom, ddof=1) / np.sqrt(draws) / bottom.mean()
        )
    return {
        "alignment": ("p", np.array(values)),
        "error": ("p", np.array(errors)),
        "p": ("p", np.array(ps)),
    }


class Network(NamedTuple):
    """A two-layer network with one output: ``W`` (h, d), biases ``b`` (h,), read-out
    ``a`` (h,).
    """

    W: np.ndarray
    b: np.ndarray
    a: np.ndarray


def initial(h: int, d: int, size: float, rng: np.random.Generator) -> Network:
    """Return a network whose parameters are all normal with standard deviation
    ``size``.
    """
    h, size = validate.count("h", h), validate.number("size", size, 0, open_low=True)
    return Network(*(size * rng.standard_normal(shape) for shape in [(h, d), h, h]))


def gradients(net: Network, X, y, activation: str = "relu") -> Network:
    """Return the gradients of the mean square of ``a @ activation(W X + b) - y``, in
    the form of a network.
    """
    Z = net.W @ X + net.b[:, None]
    slope = (
        np.ones_like(Z)
        if validate.choice("activation", activation, ["relu", "linear"]) == "linear"
        else Z > 0
    )
    H = Z * slope
    residual = 2 / len(y) * (net.a @ H - y)
    D = net.a[:, None] * slope * residual
    return Network(D @ X.T, D.sum(1), H @ residual)


def descend(net: Network, X, y, P, lr: float, activation: str = "relu") -> Network:
    """Return the network after one step, the gradient of the first layer multiplied by
    ``P`` on the right.
    """
    G = gradients(net, X, y, activation)
    return Network(net.W - lr * G.W @ P, net.b - lr * G.b, net.a - lr * G.a)


def small_sample(case: str, n: int, seed: int) -> tuple[np.ndarray, np.ndarray, Task]:
    """Return inputs (7, n), labels (n,) of sample mean 0 and variance 1, and the task:
    eigenvalues 6 and 1/4, SNR 1.
    """
    task = extreme_task(case, 1.0, d=7, top=6.0, bottom=0.25)
    X, y, _ = task.sample(n, np.random.default_rng(seed))
    return X, (y - y.mean()) / y.std(ddof=1), task


def escape_rate(
    case: str,
    p: float,
    n: int,
    h: int,
    seed: int,
    activation: str = "relu",
    folds=(16.0, 20.0),
) -> dict:
    r"""Train from parameters of size 1e-12 and measure their growth rate, t being the
    number of steps times ``lr``.

    The norm is :math:`(\sum_j w_j^\top P^{-1}w_j+b_j^2+a_j^2)^{1/2}`. Between ``folds``
    e-foldings it grows per step by a factor :math:`1+\text{lr}\cdot\text{rate}`; the
    step size is set so that this is about 1.01.
    """
    X, y, task = small_sample(case, n, seed)
    P, inverse = task.spectrum.power(p), task.spectrum.power(-p)
    lr = 0.005 * n / np.sqrt(y @ X.T @ P @ X @ y)
    net = initial(h, len(X), 1e-12, np.random.default_rng([seed, 1]))
    logs = []
    while not logs or logs[-1] - logs[0] < folds[1]:
        logs.append(
            0.5
            * np.log(
                np.sum(net.W @ inverse * net.W) + np.sum(net.b**2) + np.sum(net.a**2)
            )
        )
        net = descend(net, X, y, P, lr, activation)
    grown = np.array(logs) - logs[0]
    start = np.argmax(grown > folds[0])
    return {
        "rate": np.expm1((grown[-1] - grown[start]) / (len(grown) - 1 - start)) / lr
    }


def conservation_drift(
    case: str, p: float, lr: float, steps: int, n: int, h: int, seed: int
) -> dict:
    r"""Train a ReLU network of order-one size and measure what should stay constant.

    Returns:
        ``preconditioned`` and ``plain``: the largest change over neurons of
        :math:`w^\top P^{-1}w+b^2-a^2` and of :math:`w^\top w+b^2-a^2`, each as a share
        of the largest change of :math:`a^2`.
    """
    X, y, task = small_sample(case, n, seed)
    P, inverse = task.spectrum.power(p), task.spectrum.power(-p)
    net = start = initial(h, len(X), 1 / np.sqrt(h), np.random.default_rng([seed, 1]))
    for _ in range(validate.count("steps", steps)):
        net = descend(net, X, y, P, lr)

    def change(metric):
        before, after = (
            np.sum(w.W @ metric * w.W, axis=1) + w.b**2 - w.a**2 for w in (start, net)
        )
        return float(np.abs(after - before).max() / np.abs(net.a**2 - start.a**2).max())

    return {"preconditioned": change(inverse), "plain": change(np.eye(len(X)))}
