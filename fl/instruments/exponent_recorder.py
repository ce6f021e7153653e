r"""The effective exponent of an optimizer: which power of the input covariance do its
updates look like?

In windows of a few steps, :math:`D` is the displacement of the first layer W (h, d) and
:math:`S` the sum of the plain gradients at the starts of those steps. Along the
eigenvectors :math:`u_k` of the covariance, with :math:`d_k=\lVert Du_k\rVert`,
:math:`g_k=\lVert Su_k\rVert`,

.. math:: r_k=\overline{\log (d_k/g_k)},\qquad
          a_k=\overline{\frac{-\langle Du_k,Su_k\rangle/g_k^2}{\lvert\langle D,S\rangle\rvert/\lVert S\rVert^2}},

the bars being means over windows. ``p_ratio`` is the slope of r against
:math:`\log\lambda`, ``p_gain`` that of :math:`\log a` where a > 0, and ``kappa`` the
mean cosine of :math:`-D` with :math:`S\Sigma^{p_{\rm ratio}}`. For :math:`\Delta
W=-\eta G\Sigma^p` all three are exact: p, p and 1. The definition is ours (chapter
"effective_exponent").
"""

from typing import NamedTuple

import numpy as np
from torch import Tensor

from fl import validate

WINDOW, KEPT = 5, 1e-4


class Exponent(NamedTuple):
    """Both exponents, their fit, and the curves they are read from, K directions, from
    the largest eigenvalue on.

    ``eigenvalues`` (K,) in units of the inputs squared; ``ratio`` (K,) is r, ``gain``
    (K,) is a; ``r2`` is the coefficient of determination of ``ratio``; ``windows`` how
    many windows were complete. NaN without any, or where the weights stood still
    through a whole window.
    """

    p_ratio: float
    p_gain: float
    kappa: float
    r2: float
    windows: int
    eigenvalues: np.ndarray
    ratio: np.ndarray
    gain: np.ndarray


class Recorder:
    """Watches a first layer W (h, d) with its plain gradients along training; `result`
    gives the exponent.

    Args:
        covariance: of the inputs (d, d); directions below ``kept`` times its largest
            eigenvalue are left out.
        window: steps per window; the exponent is exact for a rate that is constant
            inside each.
        kept: smallest relative eigenvalue.

    Raises:
        ValueError: if the covariance is not PSD or zero, window < 1, or ``kept`` is
            outside (0, 1].
    """

    def __init__(self, covariance, window: int = WINDOW, kept: float = KEPT):
        values, vectors = np.linalg.eigh(validate.psd("covariance", covariance))
        if values[-1] <= 0:
            raise ValueError("covariance = 0: must have a positive eigenvalue")
        keep = values >= validate.number("kept", kept, 0, 1, open_low=True) * values[-1]
        self.eigenvalues, self.basis = values[keep][::-1], vectors[:, keep][:, ::-1]
        self.window, self.windows = validate.count("window", window), []

    def see(self, step: int, W: Tensor, gradient: Tensor) -> None:
        """Take in the weights after ``step`` = 0, 1, 2, ... updates and the gradient
        there; call at every step.
        """
        if step % self.window == 0:
            if step:
                move = (W.detach() - self.start).double().numpy()
                self.windows.append((move, self.total.double().numpy()))
            self.start, self.total = W.detach().clone(), 0.0
        self.total = self.total + gradient.detach()

    def result(self) -> Exponent:
        """Return the exponent over the windows that were completed."""
        lam, U = self.eigenvalues, self.basis
        if not self.windows:
            nothing = np.full(len(lam), np.nan)
            return Exponent(*[np.nan] * 4, 0, lam, nothing, nothing)
        with np.errstate(
            divide="ignore", invalid="ignore"
        ):  # a direction that never moved has no logarithm
            ratios, gains = zip(
                *(_curves(D, S, U) for D, S in self.windows), strict=True
            )
            ratio, gain = np.mean(ratios, 0), np.mean(gains, 0)
            p_ratio, r2 = _slope(lam, ratio)
            p_gain, _ = _slope(lam, np.log(np.where(gain > 0, gain, np.nan)))
            scale = (lam / lam[0]) ** p_ratio
            kappa = np.mean(
                [_cosine(-(D @ U), (S @ U) * scale) for D, S in self.windows]
            )
        return Exponent(
            p_ratio, p_gain, float(kappa), r2, len(self.windows), lam, ratio, gain
        )


def _curves(D, S, U) -> tuple[np.ndarray, np.ndarray]:
    moved, slope = D @ U, S @ U
    size = np.sum(slope**2, 0)
    ratio = np.log(np.linalg.norm(moved, axis=0) / np.sqrt(size))
    whole = abs(np.sum(D * S)) / np.sum(S**2)
    return ratio, -np.sum(moved * slope, 0) / size / whole


def _slope(lam, y) -> tuple[float, float]:
    """Return the least-squares slope of y against log lam over finite y, and the share
    of variance it explains.
    """
    good = np.isfinite(y)
    if good.sum() < 2:
        return np.nan, np.nan
    x, y = np.log(lam[good]) - np.log(lam[good]).mean(), y[good] - y[good].mean()
    slope = float(x @ y / (x @ x))
    left = np.sum((y - slope * x) ** 2)
    return slope, float(1 - left / np.sum(y**2)) if np.any(y) else np.nan


def _cosine(A, B) -> float:
    return float(np.sum(A * B) / (np.linalg.norm(A) * np.linalg.norm(B)))
