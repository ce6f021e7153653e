r"""The effective exponent of an optimizer: which power of the input covariance do its
updates look like?

In windows of a few steps, :math:`D` is the displacement of the first layer W (h, d) and
:math:`S` the sum of the plain gradients at the starts of those steps. Along the
eigenvectors :math:`u_k` of the covariance, with :math:`d_k=\lVert Du_k\rVert`,
:math:`g_k=\lVert Su_k\rVert`,

.. math:: r_k=\overline{\log (d_k/g_k)},\qquad
          \alpha_k=\overline{\frac{-\langle Du_k,Su_k\rangle/g_k^2}
          {\lvert\langle D,S\rangle\rvert/\lVert S\rVert^2}},

the bars being means over windows. An eigenvalue that repeats does not say which
:math:`u_k` are its eigenvectors: there squares and inner products are summed over the
eigenspace, and all its directions share one value. ``p_ratio`` is the slope of r
against :math:`\log\lambda`, ``p_gain`` that of :math:`\log\alpha` where it is > 0, and
``kappa`` the mean cosine of :math:`-D` with :math:`S\Sigma^{p_{\rm ratio}}`. For
:math:`\Delta W=-\eta G\Sigma^p` all three are exact: p, p and 1. The definition is ours
(chapter "effective_exponent").
"""

from typing import NamedTuple

import numpy as np
from torch import Tensor

from fl import validate
from fl.meter_reading import slope

WINDOW, KEPT = 5, 1e-4
# of the largest eigenvalue: across smaller gaps rounding chooses the eigenvectors
TIED = 1e-9


class Exponent(NamedTuple):
    r"""Both exponents, their fit, and the curves they are read from, K directions, from
    the largest eigenvalue on.

    ``eigenvalues`` (K,) in units of the inputs squared; ``ratio`` (K,) is r, ``gain``
    (K,) is :math:`\alpha`; ``r2`` is the coefficient of determination of ``ratio``; ``windows`` how
    many windows were complete. NaN without any, where the weights stood still through
    a whole window, and for exponents where only one eigenvalue is left.
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
        window: steps per window; the exponent is exact for a step size that is constant
            inside each.
        kept: smallest relative eigenvalue.

    Raises:
        ValueError: if the covariance is not PSD or zero, window < 1, or ``kept`` is
            outside (0, 1].
    """

    def __init__(self, covariance, window: int = WINDOW, kept: float = KEPT):
        covariance = validate.psd("covariance", covariance)
        kept = validate.number("kept", kept, 0, 1, open_low=True)
        values, vectors = np.linalg.eigh(covariance)
        if values[-1] <= 0:
            raise ValueError("covariance = 0: must have a positive eigenvalue")
        first = np.searchsorted(values, kept * values[-1])
        self.basis = vectors[:, first:][:, ::-1]
        lam = values[first:][::-1]
        apart = -np.diff(lam, prepend=np.inf) > TIED * lam[0]
        space = apart.cumsum()
        self.together = np.equal.outer(space, space)  # (K, K): in one eigenspace
        self.eigenvalues = lam[np.searchsorted(space, space)]
        self.window = validate.count("window", window)
        self.windows = []

    def see(self, step: int, W: Tensor, gradient: Tensor) -> None:
        """Take in the weights ``W`` (h, d) after ``step`` = 0, 1, 2, ... updates and
        the ``gradient`` (h, d) there; call at every step.
        """
        if step % self.window == 0:
            if step:
                move = W.detach() - self.start
                window = move.double().numpy(), self.total.double().numpy()
                self.windows.append(window)
            self.start = W.detach().clone()
            self.total = 0.0
        self.total = self.total + gradient.detach()

    def result(self) -> Exponent:
        """Return the exponent over the windows that were completed."""
        lam, count = self.eigenvalues, len(self.windows)
        nothing = np.full((2, 1, len(self.basis)), np.nan)
        D, S = np.swapaxes(self.windows or [nothing], 0, 1)
        # a direction that never moved has no logarithm
        with np.errstate(divide="ignore", invalid="ignore"):
            whole = abs(_inner(D, S)) / _inner(S, S)
            moved = -D @ self.basis
            slopes = S @ self.basis
            ratio, gain = self._curves(moved, slopes, whole[:, None])
            p_ratio = slope(lam, np.exp(ratio))
            p_gain = slope(lam, gain)
            # the slopes of either logarithm on the other
            r2 = p_ratio * slope(np.exp(ratio), lam)
            law = slopes * (lam / lam[0]) ** p_ratio
            cosines = _inner(moved, law) / _norm(moved) / _norm(law)
            kappa = float(cosines.mean())
        return Exponent(
            p_ratio,
            p_gain,
            kappa,
            r2,
            count,
            lam,
            ratio,
            gain,
        )

    def _curves(self, moved, slopes, whole) -> tuple[np.ndarray, np.ndarray]:
        """Return r and alpha (K,): means over windows of what each window (h, K) shows."""
        size, length, along = (
            np.sum(A, 1) @ self.together for A in (slopes**2, moved**2, moved * slopes)
        )
        ratio = np.log(length / size) / 2
        return ratio.mean(0), np.mean(along / size / whole, 0)


def _inner(A, B) -> np.ndarray:
    """Return the inner products of the matrices (window, h, d) of each window."""
    return np.sum(A * B, (1, 2))


def _norm(A) -> np.ndarray:
    return np.sqrt(_inner(A, A))
