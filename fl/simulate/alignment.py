r"""Experiments on the early phase of training: the first feature, the escape from zero,
and a conserved quantity.

Samples stand in columns, ``X`` is (d, N). Labels of the network experiments are
standardised: mean 0, variance 1.
"""

from typing import NamedTuple

import numpy as np

from fl import validate
from fl.simulate import noise
from fl.tasks import Task, Teacher, two_level

# streams: what the second entry of a seed draws; a seed alone draws the data
WEIGHTS = 1
# seven inputs, milder than the ten of the paper: case -> spectrum, axis of the teacher
SMALL = {
    "high": (two_level(6.0, 1, 0.25, 6), 0),
    "low": (two_level(6.0, 6, 0.25, 1), 6),
}


def extreme_task(case: str, snr: float) -> Task:
    """Return the task of `fl.simulate.noise` with a teacher of length one, on the one
    eigenvalue that differs from all others.

    ``case`` is ``high`` or ``low``, ``snr`` the ratio of the standard deviations of
    signal and noise.
    """
    return noise.task(case, snr, [1.0])


def early_feature(
    case: str, snr: float, exponents: list, n: int, draws: int, seed: int
) -> dict:
    r"""Measure the alignment of :math:`v=\Sigma^p\frac1N\sum_i(y_i-\bar y)x_i` with the
    teacher of `extreme_task`.

    Args:
        case: ``high`` or ``low``.
        snr: sd(signal) / sd(noise).
        exponents: the values of p, all measured on the same training sets.
        n: number N of samples in a training set, >= 2.
        draws: number of training sets, >= 2.
        seed: draws the training sets.

    Returns:
        ``along`` (p, draw), :math:`(v^\top\Sigma\beta)^2` of each training set, and
        ``total`` (p, draw), :math:`\tau^2v^\top\Sigma v`; A(p) is the ratio of their
        means.

    Raises:
        ValueError: for another case, or numbers out of range.
    """
    n = validate.count("n", n, minimum=2)
    draws = validate.count("draws", draws, minimum=2)
    task = extreme_task(case, snr)
    X, y, _ = task.sample(n * draws, np.random.default_rng(seed))
    X = X.reshape(-1, draws, n)
    y = y.reshape(draws, n)
    y -= y.mean(1, keepdims=True)
    g = np.einsum("dmn,mn->md", X, y) / n
    lam = task.spectrum.eigenvalues
    beta = task.teacher.directions[0]
    v = g * lam ** np.reshape(exponents, (-1, 1, 1))
    return {
        "along": (("p", "draw"), (v @ (lam * beta)) ** 2),
        "total": (("p", "draw"), v**2 @ lam * task.tau[0] ** 2),
        "p": ("p", list(exponents)),
    }


class Network(NamedTuple):
    """A two-layer network with one output: ``W`` (width, d), biases ``b`` (width,),
    read-out ``a`` (width,).
    """

    W: np.ndarray
    b: np.ndarray
    a: np.ndarray

    def first_layer(self, metric) -> np.ndarray:
        r"""Return :math:`w^\top Mw+b^2` of each neuron, (width,); M is ``metric``
        (d, d).
        """
        squares = self.W @ metric * self.W
        return np.sum(squares, axis=1) + self.b**2


def initial(width: int, d: int, size: float, rng: np.random.Generator) -> Network:
    """Return a network of ``width`` neurons on ``d`` inputs whose parameters ``rng``
    draws, all normal with standard deviation ``size``.

    Raises:
        ValueError: if ``width`` is < 1 or ``size`` not > 0.
    """
    width = validate.count("width", width)
    size = validate.number("size", size, 0, open_low=True)
    return Network(
        W=size * rng.standard_normal((width, d)),
        b=size * rng.standard_normal(width),
        a=size * rng.standard_normal(width),
    )


def gradients(net: Network, X, y, activation: str = "relu") -> Network:
    """Return the gradients of the mean square of ``a @ activation(W X + b) - y``, in
    the form of a network.

    ``net`` sees the inputs ``X`` (d, N) and the labels ``y`` (N,); ``activation`` is
    ``relu`` or ``linear``.

    Raises:
        ValueError: for another activation.
    """
    validate.choice("activation", activation, ["relu", "linear"])
    Z = net.W @ X + net.b[:, None]
    slope = Z > 0
    if activation == "linear":
        slope = np.ones_like(Z)
    H = Z * slope
    residual = 2 / len(y) * (net.a @ H - y)
    D = net.a[:, None] * slope * residual
    return Network(
        W=D @ X.T,
        b=D.sum(1),
        a=H @ residual,
    )


def descend(net: Network, X, y, P, eta: float, activation: str = "relu") -> Network:
    """Return the network after one step of size ``eta``, the gradient of the first
    layer multiplied by ``P`` (d, d) on the right; ``net``, ``X``, ``y`` and
    ``activation`` are those of `gradients`.
    """
    G = gradients(net, X, y, activation)
    return Network(
        W=net.W - eta * G.W @ P,
        b=net.b - eta * G.b,
        a=net.a - eta * G.a,
    )


def small_sample(case: str, n: int, seed: int) -> tuple[np.ndarray, np.ndarray, Task]:
    """Return inputs (7, n), labels (n,) of sample mean 0 and variance 1, and their
    task: eigenvalues 6 and 1/4, SNR 1.

    ``case`` is ``high`` or ``low``; ``seed`` draws the ``n`` samples.

    Raises:
        ValueError: for another case.
    """
    validate.choice("case", case, SMALL)
    spectrum, axis = SMALL[case]
    teacher = Teacher(np.eye(spectrum.d)[axis], "softplus10")
    task = Task(spectrum, teacher, snr=1.0)
    X, y, _ = task.sample(n, np.random.default_rng(seed))
    y -= y.mean()
    return X, y / y.std(ddof=1), task


def escape_rate(
    case: str, p: float, n: int, width: int, seed: int, activation: str = "relu"
) -> dict:
    r"""Train from parameters of size 1e-12 and measure their growth rate, t being the
    number of steps times the step size.

    The norm is :math:`(\sum_j w_j^\top P^{-1}w_j+b_j^2+a_j^2)^{1/2}`. Between 16 and 20
    e-foldings it grows per step by a factor :math:`1+\eta\cdot\text{rate}`; the step
    size :math:`\eta` is set so that this is 1.04 for a linear activation.

    Args:
        case: ``high`` or ``low``.
        p: exponent of the preconditioner of the first layer.
        n: number of training samples.
        width: number of neurons.
        seed: draws samples and weights.
        activation: ``relu`` or ``linear``.

    Returns:
        The ``rate``.
    """
    X, y, task = small_sample(case, n, seed)
    P = task.spectrum.power(p)
    inverse = task.spectrum.power(-p)
    g = X @ y / n
    eta = 0.02 / np.sqrt(g @ P @ g)
    rng = np.random.default_rng([seed, WEIGHTS])
    net = initial(width, len(X), 1e-12, rng)
    logs = []
    while not logs or logs[-1] - logs[0] < 20:
        squares = net.first_layer(inverse) + net.a**2
        logs.append(np.log(squares.sum()) / 2)
        net = descend(net, X, y, P, eta, activation)
    late = [log for log in logs if log - logs[0] > 16]
    per_step = np.mean(np.diff(late))
    rate = np.expm1(per_step) / eta
    return {"rate": rate}


def conservation_drift(
    case: str, p: float, eta: float, time: float, n: int, width: int, seed: int
) -> dict:
    r"""Train a ReLU network of order-one size and measure what should stay constant.

    Args:
        case: ``high`` or ``low``.
        p: exponent of the preconditioner of the first layer.
        eta: step size.
        time: ``eta`` times the number of steps.
        n: number of training samples.
        width: number of neurons.
        seed: draws samples and weights.

    Returns:
        ``preconditioned`` and ``plain``: the largest change over neurons of
        :math:`w^\top P^{-1}w+b^2-a^2` and of :math:`w^\top w+b^2-a^2`, each as a share
        of the largest change of :math:`a^2`.

    Raises:
        ValueError: for another case, or a ``time`` shorter than half a step.
    """
    X, y, task = small_sample(case, n, seed)
    rng = np.random.default_rng([seed, WEIGHTS])
    net = start = initial(width, len(X), 1 / np.sqrt(width), rng)
    P = task.spectrum.power(p)
    for _ in range(validate.count("time / eta", round(time / eta))):
        net = descend(net, X, y, P, eta)
    change = net.a**2 - start.a**2

    def drift(metric):
        gap = net.first_layer(metric) - start.first_layer(metric) - change
        return np.abs(gap).max() / np.abs(change).max()

    return {
        "preconditioned": drift(task.spectrum.power(-p)),
        "plain": drift(np.eye(len(X))),
    }
