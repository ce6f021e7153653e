r"""What a meter shows of a layer: the exponent, or why there is none.

With displacement :math:`D` and gradient sum :math:`S` of a window, both (h, d), and the
eigenpairs :math:`\lambda_k,u_k` of the moment of the layer's inputs, the gain is

.. math:: \alpha_k=\overline{\frac{-\langle Du_k,Su_k\rangle/\lVert Su_k\rVert^2}
          {\lvert\sum_l\langle Du_l,Su_l\rangle\rvert/\sum_l\lVert Su_l\rVert^2}},

the bar being the mean over windows: ratios are averaged, not numerators and denominators,
for only so are powers of one moment read exactly. Its slope against
:math:`\log\lambda_k` is the exponent p of chapter "effective_exponent", and
:math:`\kappa` is the mean cosine of :math:`-D` and :math:`SM^p`.
"""

from collections import namedtuple
from typing import NamedTuple

import numpy as np

ROUNDS = 4  # moments differ between windows: the slope is what is left of gain / law
TIED = 1e-9  # of logarithms of eigenvalues
KEPT = 1e-4  # of the largest eigenvalue
# seen: errors of readings on networks whose exponent is known
SHARED, OWN = 0.03, 0.1
# what a slope needs to be an exponent: why there is none, for a number below its least
# value; the third of three is the slope
LEAST = {
    "no complete window in which it saw training inputs and a gradient": 1,
    "the weights moved by {:.2g} roundings a window, fewer than {}: meter a float32 "
    "copy": 100,
    "{} directions, fewer than {}": 4,
    "eigenvalues within a factor {:.2g}, less than {}": 5,
    "the update follows the gradient in a share {:.2f} of the directions, less than "
    "{}": 0.9,
    "kappa = {:.2f}, less than {}: no power of this input moment (slope {:+.2f})": 0.8,
    "slope {2:+.2f}: positive powers are read with a given moment only": -OWN,
}
TEXT = (
    "p = {slope:+z.2f} +- {error:g} ({moment} moment; spread of {windows} windows "
    "{spread:.3f}; kappa {kappa:.2f}; {rows} rows a window)"
)


class Window(namedtuple("Window", "lam along size length still rows")):
    """One window in the eigenbasis of the moment, K kept directions, largest first.

    ``lam`` (K,) are eigenvalues; ``along`` (K,) is :math:`-<Du_k,Su_k>`, ``size`` (K,)
    :math:`|Su_k|^2`, ``length`` (K,) :math:`|Du_k|^2`; ``still`` is the displacement in
    roundings of the weights; ``rows`` is the number of inputs seen.
    """


class Reading(NamedTuple):
    """What is read of one layer.

    ``slope`` is the number, ``refusal`` why it is no exponent, empty where it is one (then
    `p` is the slope). ``kappa`` is the fit, ``positive`` the share of directions in which
    the update goes down the gradient, ``still`` how many roundings the weights moved in a
    window. ``spread`` is the standard error of the slopes of single windows: it covers
    the sampling of windows and nothing else, so it is no confidence interval. ``moment``
    says whose eigenvectors were used: ``given``, ``uncentred`` or ``centred``;
    ``windows``, how many were read, ``rows`` the inputs in the smallest of them, and
    ``lam`` and ``gain`` (K,) the curve.
    """

    slope: float
    refusal: str
    kappa: float
    positive: float
    still: float
    spread: float
    moment: str
    windows: int
    rows: int
    lam: np.ndarray
    gain: np.ndarray

    @property
    def p(self) -> float:
        """The exponent, NaN where it is refused."""
        return np.nan if self.refusal else self.slope

    def __str__(self) -> str:
        if self.refusal:
            return f"refused: {self.refusal}"
        error = SHARED if self.moment == "given" else OWN
        return TEXT.format(**self._asdict(), error=error)


def read(windows: list, moment: str, reason: str = "") -> Reading:
    """Return the reading of ``windows``, refused for a ``reason`` if there is one.

    ``moment`` is as in `Reading`.
    """
    nothing = Window(*np.empty((4, 0)), np.nan, 0)
    *curves, still, rows = zip(*windows or [nothing], strict=True)
    K = min(map(len, curves[0]))
    lam, along, size, length = (np.array([c[:K] for c in four]) for four in curves)
    with np.errstate(all="ignore"):
        whole = abs(along.sum(1)) / size.sum(1)
        each = along / size
        # a direction in which some window had no gradient has no mean gain
        gains = each / whole[:, None]
        slopes = [*map(slope, lam, gains)]
        spread = np.std(slopes) / np.sqrt(len(windows) - 1)
        gain, p = gains.mean(0), 0.0
        mean = np.exp(np.log(lam).mean(0))
        relative = lam / lam[:, :1]
        for _ in range(ROUNDS):
            left = gains / relative**p
            p += slope(mean, left.mean(0))
        law = relative**p
        fitted = size * law**2
        squares = length.sum(1) * fitted.sum(1)
        kappa = np.mean((along * law).sum(1) / np.sqrt(squares))
        positive = (gain > 0).sum() / K
    ratio = mean.max(initial=0) / mean.min(initial=np.inf)
    own = moment != "given"
    numbers = K, min(still), K, ratio, positive, kappa, -p * own
    for (text, least), x in zip(LEAST.items(), numbers, strict=True):
        if not x >= least:
            reason = reason or text.format(x, least, p)
    return Reading(
        p,
        reason,
        *map(float, (kappa, positive, min(still), spread)),
        moment,
        len(windows),
        min(rows),
        mean,
        gain,
    )


def slope(lam, gain) -> float:
    """Return the least-squares slope of log ``gain`` (K,) on log ``lam`` (K,) where both
    are > 0 and finite; NaN where that are fewer than two directions.
    """
    points = np.log([lam, gain])
    x, y = points[:, np.isfinite(points).all(0)]
    if len(x) < 2 or np.ptp(x) < TIED:
        return np.nan
    return float(np.polyfit(x, y, 1)[0])
