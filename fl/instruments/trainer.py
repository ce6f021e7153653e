r"""Full-batch (or mini-batch) training of many two-layer ReLU networks with a
preconditioned first layer.

.. math:: f(x) = c + \sum_j a_j\,\mathrm{relu}(w_j^\top x + b_j),\qquad
          W \leftarrow W - \eta\,(\nabla_W)\,P,\quad (b, a, c) \leftarrow (b, a, c) - \eta\,\nabla,

with the loss :math:`\frac1N\sum_i (f(x_i)-y_i)^2`. One call trains a whole list of
configurations; each runs alone in a core's cache (`fl.instruments.trainer_kernel`), and
the test error is evaluated at chosen steps only.
"""

from typing import NamedTuple

import numpy as np

from fl import validate
from fl.instruments import trainer_kernel as kernel


class Network(NamedTuple):
    """Weights of B networks: ``W`` (B, h, d), ``b`` (B, h), ``a`` (B, h), ``c`` (B, 1)."""

    W: np.ndarray
    b: np.ndarray
    a: np.ndarray
    c: np.ndarray

    def __call__(self, X) -> np.ndarray:
        """Return the outputs (B, n) on the columns of ``X`` (d, n)."""
        return (
            np.einsum(
                "bh,bhn->bn", self.a, np.maximum(self.W @ X + self.b[:, :, None], 0)
            )
            + self.c
        )


class History(NamedTuple):
    """``steps`` (C,); mean squared errors on training (B, C) and test targets (B, C,
    K); the trained networks.
    """

    steps: np.ndarray
    train: np.ndarray
    test: np.ndarray
    network: Network


def kaiming(
    B: int, h: int, d: int, rng: np.random.Generator, scale: float = 1e-3
) -> Network:
    r"""Return B copies of one Kaiming-uniform network times ``scale``, with zero
    biases.

    Entries of a layer are uniform on :math:`\pm\sqrt{6/\text{fan-in}}` times ``scale``.

    Raises:
        ValueError: if a size is < 1 or ``scale`` is not a finite number > 0.
    """
    B, h, d = validate.count("B", B), validate.count("h", h), validate.count("d", d)
    scale = validate.number("scale", scale, 0, open_low=True)
    W = scale * np.sqrt(6 / d) * rng.uniform(-1, 1, (h, d))
    a = scale * np.sqrt(6 / h) * rng.uniform(-1, 1, h)
    return Network(
        np.tile(W, (B, 1, 1)), np.zeros((B, h)), np.tile(a, (B, 1)), np.zeros((B, 1))
    )


def p_isotropic(P, h: int, rng: np.random.Generator, scale: float = 1e-3) -> Network:
    r"""Return one network per preconditioner ``P`` (B, d, d) with neurons
    :math:`w_j\sim N(0,\sigma^2 P)`.

    :math:`\sigma^2` is set so that W has the mean square of `kaiming` at the same
    ``scale``; all networks share the same normal draws, and the second layer is the
    Kaiming one.

    Raises:
        ValueError: if ``P`` holds a matrix that is not PSD, or a size or the scale is
            out of range.
    """
    P = validate.array("P", P, ("B", "d", "d"))
    B, d = P.shape[:2]
    start = kaiming(B, h, d, rng, scale)
    z = rng.standard_normal((h, d))
    for i in range(B):
        values, vectors = np.linalg.eigh(validate.psd(f"P[{i}]", P[i]))
        root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
        start.W[i] = z @ root * scale * np.sqrt(2 / np.trace(P[i]))
    return start


def train(
    X,
    y,
    P,
    start: Network,
    steps,
    *,
    rate: float = 1e-2,
    X_test,
    Y_test,
    batches=None,
    power=None,
    dtype: str = "float32",
) -> History:
    """Train B configurations and record each at ``steps``; the largest step ends the
    run.

    Args:
        X: training inputs (d, N), or one set per configuration (B, d, N).
        y: training labels, (N,) or (B, N).
        P: preconditioners (B, d, d).
        start: B initial networks; not changed.
        steps: increasing whole numbers >= 1; errors are those of the network after that
            many steps.
        rate: learning rate.
        X_test: test inputs (d, M).
        Y_test: K sets of test labels (K, M), for instance with and without noise.
        batches: columns of each step's mini-batch, (steps, n), or None for full
            batches.
        power: exponents (B,) of AdaHessian's curvature, which then takes the place of
            ``P``. The curvature is the root of the averaged square of the exact
            diagonal, relative to its mean over the layer, plus 1e-3; the gradient is
            averaged as AdaHessian does; the step has the first-order decrease of a
            gradient step.
        dtype: ``float32`` or ``float64``.

    Raises:
        ValueError: for shapes that do not fit, non-finite input, a preconditioner that
            is not PSD, steps that do not increase, batch columns outside 0..N-1, or an
            unknown dtype.
    """
    dtype = np.dtype(validate.choice("dtype", dtype, ["float32", "float64"]))
    P = validate.array("P", P, ("B", "d", "d"))
    B, d = P.shape[:2]
    for i in range(B):
        validate.psd(f"P[{i}]", P[i])
    X, y = np.asarray(X, float), np.asarray(y, float)
    X = validate.array(
        "X", np.broadcast_to(X, (B, *X.shape)) if X.ndim == 2 else X, (B, d, "N")
    )
    N = X.shape[2]
    y = validate.array(
        "y", np.broadcast_to(y, (B, *y.shape)) if y.ndim == 1 else y, (B, N)
    )
    X_test = validate.array("X_test", X_test, (d, "M"))
    Y_test = validate.array("Y_test", Y_test, ("K", X_test.shape[1]))
    h = validate.array("start.W", start.W, (B, "h", d)).shape[1]
    for name, shape in [("b", (B, h)), ("a", (B, h)), ("c", (B, 1))]:
        validate.array(f"start.{name}", getattr(start, name), shape)
    steps = _steps(steps)
    rate = validate.number("rate", rate, 0, open_low=True)
    powers = (
        np.full(B, np.nan) if power is None else validate.array("power", power, (B,))
    )
    columns = _batches(batches, int(steps[-1]), N)
    network = Network(*(np.array(part, dtype, order="C") for part in start))
    losses, errors = (
        np.empty((B, len(steps)), dtype),
        np.empty((B, len(steps), len(Y_test)), dtype),
    )
    X, y, P, X_test, Y_test = (
        np.ascontiguousarray(v, dtype) for v in (X, y, P, X_test, Y_test)
    )
    dims = (0,) * d
    for i in range(B):
        data = (
            X[i],
            kernel.with_ones(X[i]),
            y[i],
            columns,
            P[i],
            dtype.type(powers[i]),
            dtype.type(rate),
            steps,
            X_test,
            Y_test,
        )
        kernel.train(dims, *data, *(part[i] for part in network), losses[i], errors[i])
    return History(steps, losses, errors, network)


def shuffled_batches(
    N: int, n: int, steps: int, rng: np.random.Generator
) -> np.ndarray:
    """Return the columns (steps, n) of mini-batches that go through a fresh permutation
    of 0..N-1 in every epoch.

    Raises:
        ValueError: unless n divides N.
    """
    N, n, steps = (
        validate.count("N", N),
        validate.count("n", n),
        validate.count("steps", steps),
    )
    if N % n:
        raise ValueError(f"n = {n}: must divide N = {N}")
    epochs = -(-steps * n // N)
    return np.concatenate([rng.permutation(N) for _ in range(epochs)]).reshape(-1, n)[
        :steps
    ]


def _steps(steps) -> np.ndarray:
    result = validate.array("steps", steps, ("C",)).astype(np.int64)
    if result[0] < 1 or (np.diff(result) < 1).any():
        raise ValueError(
            f"steps = {list(steps)!r}: must be increasing whole numbers >= 1"
        )
    return result


def _batches(batches, steps: int, N: int) -> np.ndarray:
    if batches is None:
        return np.empty((0, 0), np.int64)
    result = np.asarray(batches)
    if result.ndim != 2 or len(result) < steps or result.dtype.kind not in "iu":
        raise ValueError(
            f"batches has shape {result.shape}: must be whole numbers of shape (>= {steps}, n)"
        )
    if result.min() < 0 or result.max() >= N:
        raise ValueError(
            f"batches has entries from {result.min()} to {result.max()}: must lie in 0..{N - 1}"
        )
    return result.astype(np.int64)
