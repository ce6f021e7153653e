r"""Full-batch (or mini-batch) training of many two-layer ReLU networks with a
preconditioned first layer.

.. math:: f(x) = c + \sum_j a_j\,\mathrm{relu}(w_j^\top x + b_j),\qquad
          W \leftarrow W - \eta\,(\nabla_W)\,P,\quad
          (b, a, c) \leftarrow (b, a, c) - \eta\,\nabla,

with the loss :math:`\frac1n\sum_i (f(x_i)-y_i)^2`. One call trains a whole list of
configurations; each runs alone in a core's cache (`fl.instruments.trainer_kernel`), and
the test error is evaluated at chosen steps only.
"""

from typing import NamedTuple

import numpy as np

from fl import validate
from fl.numerics import psd_power


class Network(NamedTuple):
    """Weights of B networks of width h: ``W`` (B, h, d), ``b`` (B, h), ``a`` (B, h),
    ``c`` (B, 1).
    """

    W: np.ndarray
    b: np.ndarray
    a: np.ndarray
    c: np.ndarray

    def __call__(self, X) -> np.ndarray:
        """Return the outputs (B, n) on the columns of ``X`` (d, n)."""
        activations = np.maximum(self.W @ X + self.b[:, :, None], 0)
        return np.einsum("bh,bhn->bn", self.a, activations) + self.c


class Data(NamedTuple):
    """Training rows ``X`` (d, n) with labels ``y`` (n,), and test rows ``X_test``
    (d, M) with K sets of labels ``Y_test`` (K, M), for instance with and without noise.
    """

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    Y_test: np.ndarray


class History(NamedTuple):
    """``steps`` (C,); mean squared errors ``train`` (B, C) on the training rows and
    ``test`` (B, C, K) on the test rows; the trained ``network``.
    """

    steps: np.ndarray
    train: np.ndarray
    test: np.ndarray
    network: Network


def kaiming(
    copies: int, width: int, d: int, rng: np.random.Generator, scale: float = 1e-3
) -> Network:
    r"""Return ``copies`` of one Kaiming-uniform network of ``width`` neurons on ``d``
    inputs, drawn from ``rng``, times ``scale``, with zero biases.

    Entries of a layer are uniform on :math:`\pm\sqrt{6/\text{fan-in}}` times ``scale``.

    Raises:
        ValueError: if a size is < 1 or ``scale`` is not a finite number > 0.
    """
    B = validate.count("copies", copies)
    h = validate.count("width", width)
    d = validate.count("d", d)
    scale = validate.number("scale", scale, 0, open_low=True)
    W = scale * np.sqrt(6 / d) * rng.uniform(-1, 1, (h, d))
    a = scale * np.sqrt(6 / h) * rng.uniform(-1, 1, h)
    return Network(
        W=np.tile(W, (B, 1, 1)),
        b=np.zeros((B, h)),
        a=np.tile(a, (B, 1)),
        c=np.zeros((B, 1)),
    )


def p_isotropic(
    P, width: int, rng: np.random.Generator, scale: float = 1e-3
) -> Network:
    r"""Return one network of ``width`` neurons :math:`w_j\sim N(0,\sigma^2 P)` per
    preconditioner ``P`` (B, d, d).

    :math:`\sigma^2` is set so that W has the mean square of `kaiming` at the same
    ``scale``; all networks share the same normal draws of ``rng``, and the second layer
    is the Kaiming one.

    Raises:
        ValueError: if ``P`` holds a matrix that is not PSD, or a size or the scale is
            out of range.
    """
    P = _preconditioners(P)
    B, d = P.shape[:2]
    start = kaiming(B, width, d, rng, scale)
    z = rng.standard_normal((width, d))
    for W, metric in zip(start.W, P, strict=True):
        size = np.sqrt(2 / np.trace(metric))
        root = psd_power(metric, 0.5)
        W[:] = z @ root * scale * size
    return start


def train(
    data: Data,
    P,
    start: Network,
    steps,
    *,
    eta: float = 1e-2,
    batches=None,
    exponents=None,
    dtype: str = "float64",
) -> History:
    """Train B configurations and record each at ``steps``; the largest step ends the
    run.

    Args:
        data: training rows and test rows.
        P: preconditioners (B, d, d).
        start: B initial networks; not changed.
        steps: increasing whole numbers >= 1, (C,); errors are those of the network
            after that many steps.
        eta: step size.
        batches: columns of each step's mini-batch, (steps, m), or None for full
            batches.
        exponents: exponents (B,) of AdaHessian's curvature, which then takes the place
            of ``P``. The curvature is the root of the averaged square of the exact
            diagonal, relative to its mean over the layer, plus 1e-3; the gradient is
            averaged as AdaHessian does; the step has the first-order decrease of a
            gradient step.
        dtype: ``float64`` or ``float32``, which takes three quarters of the time; training
            amplifies its rounding, so that another processor has other errors.

    Returns:
        the errors at the recorded steps, and the trained networks.

    Raises:
        ValueError: for shapes that do not fit, non-finite input, a preconditioner that
            is not PSD, steps that do not increase, batch columns outside 0..n-1, or an
            unknown dtype.
    """
    # compiling takes seconds to import, and only training needs it
    from fl.instruments import trainer_kernel as kernel

    dtype = np.dtype(validate.choice("dtype", dtype, ["float32", "float64"]))
    P = _preconditioners(P)
    B, d = P.shape[:2]
    _check_shapes(data, start, B, d)
    steps = _steps(steps)
    eta = validate.number("eta", eta, 0, open_low=True)
    if exponents is None:
        exponents = np.full(B, np.nan)  # the kernel's word for: precondition with P
    else:
        exponents = validate.array("exponents", exponents, (B,))
    columns = _batches(batches, int(steps[-1]), len(data.y))
    X, y, X_test, Y_test = (np.ascontiguousarray(part, dtype) for part in data)
    P = np.ascontiguousarray(P, dtype)
    exponents = exponents.astype(dtype)
    rows = kernel.Rows(X, kernel.with_ones(X), y, columns)
    network = Network(*(np.array(part, dtype, order="C") for part in start))
    losses = np.empty((B, len(steps)), dtype)
    errors = np.empty((B, len(steps), len(Y_test)), dtype)
    for i in range(B):
        rule = kernel.Rule(P[i], exponents[i], dtype.type(eta))
        record = kernel.Record(steps, X_test, Y_test, losses[i], errors[i])
        net = Network(*(part[i] for part in network))
        kernel.train((0,) * d, rows, rule, net, record)
    return History(steps, losses, errors, network)


def shuffled_batches(
    n: int, size: int, steps: int, rng: np.random.Generator
) -> np.ndarray:
    """Return the columns (steps, size) of mini-batches of ``size`` that go through a
    fresh permutation of 0..n-1, drawn from ``rng``, in every epoch, for ``steps``.

    Raises:
        ValueError: unless ``size`` divides ``n``.
    """
    n = validate.count("n", n)
    size = validate.count("size", size)
    steps = validate.count("steps", steps)
    if n % size:
        raise ValueError(f"size = {size}: must divide n = {n}")
    epochs = -(-steps * size // n)
    passes = [rng.permutation(n) for _ in range(epochs)]
    columns = np.concatenate(passes)
    return columns.reshape(-1, size)[:steps]


def _preconditioners(P) -> np.ndarray:
    """Return the matrices, checked, in the precision in which they came."""
    validate.array("P", P, ("B", "d", "d"))
    P = np.asarray(P)
    for i, metric in enumerate(P):
        validate.psd(f"P[{i}]", metric)
    return P


def _check_shapes(data: Data, start: Network, B: int, d: int) -> None:
    _, n = validate.array("X", data.X, (d, "n")).shape
    validate.array("y", data.y, (n,))
    _, M = validate.array("X_test", data.X_test, (d, "M")).shape
    validate.array("Y_test", data.Y_test, ("K", M))
    _, h, _ = validate.array("start.W", start.W, (B, "h", d)).shape
    validate.array("start.b", start.b, (B, h))
    validate.array("start.a", start.a, (B, h))
    validate.array("start.c", start.c, (B, 1))


def _steps(steps) -> np.ndarray:
    result = validate.array("steps", steps, ("C",)).astype(np.int64)
    if result[0] < 1 or (np.diff(result) < 1).any():
        raise ValueError(
            f"steps = {list(steps)!r}: must be increasing whole numbers >= 1"
        )
    return result


def _batches(batches, steps: int, n: int) -> np.ndarray:
    if batches is None:
        return np.empty((0, 0), np.int64)
    result = np.asarray(batches)
    if result.ndim != 2 or len(result) < steps or result.dtype.kind not in "iu":
        raise ValueError(
            f"batches has shape {result.shape}: "
            f"must be whole numbers of shape (>= {steps}, size)"
        )
    low, high = result.min(), result.max()
    if low < 0 or high >= n:
        raise ValueError(
            f"batches has entries from {low} to {high}: must lie in 0..{n - 1}"
        )
    return result.astype(np.int64)
