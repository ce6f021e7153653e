r"""What weights at rest, or balanced ones, remember of the preconditioner.

The first layer W (h, d) moves in the metric of a fixed symmetric positive definite P
(d, d). With M = W'W, J the matrix (C, d) of a linear network and k the weight decay,

.. math:: W^\top Q^{-1}W=FP,\qquad F=-\tfrac1kW^\top\frac{\partial L}{\partial W},

holds at rest under decoupled decay (Q is the left factor), and

.. math:: M=P\,\#_{1/L}\,J^\top J,\qquad
          P\,\#_t\,B=P^{1/2}(P^{-1/2}BP^{-1/2})^tP^{1/2},

holds for a linear network of depth L whose layers are balanced in that metric. Samples
stand in columns, X is (d, N), Y is (C, N), the loss is :math:`|Y-f(X)|^2/2N`. All is
derived in chapter "feature_matrix".
"""

from typing import NamedTuple

import numpy as np
from scipy import integrate

from fl import validate
from fl.numerics import positive_definite, psd_power


class Fit(NamedTuple):
    """A linear fit ``J`` (C, d) and the feature matrix ``M`` (d, d) that goes with it."""

    J: np.ndarray
    M: np.ndarray


def geometric_mean(P, J, t: float = 0.5) -> np.ndarray:
    r"""Return :math:`P\,\#_t\,J^\top J` (d, d) for ``P`` (d, d) and ``J`` (C, d).

    From the singular values s of :math:`JP^{-1/2}`, which go in to the power 2``t``: the
    root of a square is never taken, so nothing is lost where C < d. The weight t in (0,
    1] is that of :math:`J^\top J`.

    >>> geometric_mean(np.diag([4.0, 0.25]), np.diag([1.0, 3.0])).round(9).tolist()
    [[2.0, 0.0], [0.0, 1.5]]

    Raises:
        ValueError: unless P is symmetric positive definite with eigenvalues within a
            factor 1e12, J fits and t is in (0, 1].
    """
    P = positive_definite("P", P)
    J = validate.array("J", J, ("C", len(P)))
    t = validate.number("t", t, 0, 1, open_low=True)
    root = psd_power(P, 0.5)
    U, s, _ = np.linalg.svd(np.linalg.solve(root, J.T), full_matrices=False)
    half = root @ U * s**t
    return half @ half.T


def nuclear_fit(X, Y, P, decay: float) -> Fit:
    r"""Return the network that decoupled decay ends at, two linear layers, from a convex
    programme that knows neither.

    .. math:: \min_J\ \tfrac1{2N}|Y-JX|^2+k\,|JP^{-1/2}|_*

    by the accelerated proximal gradient method in the coordinates :math:`P^{1/2}x`.

    Args:
        X: inputs (d, N) whose second moment is regular.
        Y: labels (C, N).
        P: metric (d, d).
        decay: k > 0.

    Returns:
        The minimiser J and :math:`M=P\,\#\,J^\top J`.

    Raises:
        ValueError: if P is not as in `geometric_mean`, the second moment of X is singular
            in the metric of P, or decay <= 0.
    """
    S, cross, P, decay = _moments(X, Y, P, decay)
    root = psd_power(P, 0.5)
    S, cross = root @ S @ root, cross @ root
    low, high = np.linalg.eigvalsh(S)[[0, -1]]
    if low <= 1e-12 * high:
        raise ValueError(
            "X has a singular second moment in the metric of P: give more samples"
        )
    ratio = np.sqrt(low / high)
    push = (1 - ratio) / (1 + ratio)
    J = before = np.zeros_like(cross)
    moved, shrink = np.inf, decay / high
    while moved > 1e-15 * max(np.abs(J).max(), shrink):
        ahead = J + push * (J - before)
        U, s, V = np.linalg.svd(
            ahead - (ahead @ S - cross) / high,
            full_matrices=False,
        )
        before, J = J, U * (s - shrink).clip(0) @ V
        moved = np.abs(J - before).max()
    J = J @ root
    return Fit(J, geometric_mean(P, J))


def recursive_step(X, Y, M, P, decay: float) -> Fit:
    r"""Return one step of the recursive feature machine whose metric is pulled half-way
    to P.

    .. math:: J=\tfrac1NYX^\top M\,(\hat\Sigma M+kI)^{-1},\qquad
              M\leftarrow P\,\#\,J^\top J

    Kernel ridge regression with the kernel :math:`x^\top Mz` and the ridge k, then the
    new metric. With P = I it is the linear recursive feature machine of exponent 1/2.

    Args:
        X: inputs (d, N).
        Y: labels (C, N).
        M: the present metric (d, d), PSD.
        P: the metric (d, d) that pulls.
        decay: k > 0.

    Raises:
        ValueError: if a matrix has the wrong shape or sign, or decay <= 0.
    """
    S, cross, P, decay = _moments(X, Y, P, decay)
    M = validate.psd("M", M)
    ridge = decay * np.eye(len(S))
    J = np.linalg.solve(M @ S + ridge, M @ cross.T).T
    return Fit(J, geometric_mean(P, J))


def coupled_imbalance(start, plain, decay: float, times) -> np.ndarray:
    r"""Return the imbalance in the metric of P under *coupled* decay, :math:`\Delta_0-2k\int
    \Delta_I\,dt` (T, h, h), where :math:`\Delta_I` is the imbalance without P.

    Args:
        start: :math:`\Delta_0` (h, h).
        plain: :math:`\Delta_I` (T, h, h) along the way.
        decay: k >= 0.
        times: (T,), where ``plain`` is known; Simpson's rule in between.

    Raises:
        ValueError: for shapes that do not fit, NaN, or a decay < 0.
    """
    start = validate.array("start", start, ("h", "h"))
    times = validate.array("times", times, ("T",))
    plain = validate.array("plain", plain, (len(times), *start.shape))
    decay = validate.number("decay", decay, 0)
    whole = integrate.cumulative_simpson(plain, x=times, axis=0, initial=0)
    return start - 2 * decay * whole


def _moments(X, Y, P, decay) -> tuple:
    """Return XX'/N (d, d) and YX'/N (C, d), and P and the decay, all checked."""
    X = validate.array("X", X, ("d", "N"))
    d, n = X.shape
    Y = validate.array("Y", Y, ("C", n))
    P = validate.array("P", positive_definite("P", P), (d, d))
    decay = validate.number("decay", decay, 0, open_low=True)
    return (
        X @ X.T / n,
        Y @ X.T / n,
        P,
        decay,
    )
