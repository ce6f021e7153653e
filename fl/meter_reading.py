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

from typing import NamedTuple

import numpy as np

ROUNDS = 4  # moments differ between windows: the slope is what is left of gain / law
TIED = 1e-9  # of logarithms of eigenvalues
KEPT = 1e-4  # of the largest eigenvalue
STILL, DIRECTIONS, RANGE, POSITIVE, KAPPA = 100, 4, 5, 0.9, 0.8
# seen: errors of readings on networks whose exponent is known
SHARED, OWN = 0.03, 0.1


class Window(NamedTuple):
    """One window in the eigenbasis of the moment, K kept directions, largest first.

    ``lam`` (K,) are eigenvalues; ``along`` (K,) is :math:`-<Du_k,Su_k>`, ``size`` (K,)
    :math:`|Su_k|^2`, ``length`` (K,) :math:`|Du_k|^2`; ``still`` is the displacement in
    roundings of the weights; ``rows`` is the number of inputs seen.
    """

    lam: np.ndarray
    along: np.ndarray
    size: np.ndarray
    length: np.ndarray
    still: float
    rows: int


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
        spread = f"spread of {self.windows} windows {self.spread:.3f}"
        if self.refusal:
            return f"refused: {self.refusal}"
        error = SHARED if self.moment == "given" else OWN
        text = f"p = {self.slope:+z.2f} +- {error:g} ({self.moment} moment; {spread}; "
        return f"{text}kappa {self.kappa:.2f}; {self.rows} rows a window)"


def read(windows: list[Window], moment: str, reason: str = "") -> Reading:
    """Return the reading of ``windows``, refused for a ``reason`` if there is one.

    ``moment`` is as in `Reading`.
    """
    K = min((len(w.lam) for w in windows), default=0)
    if not K:
        nothing = "no complete window in which it saw training inputs and a gradient"
        empty = np.empty(0)
        numbers = np.nan, reason or nothing, *[np.nan] * 4
        return Reading(*numbers, moment, 0, 0, empty, empty)
    lam, along, size, length = (np.array([w[i][:K] for w in windows]) for i in range(4))
    with np.errstate(divide="ignore", invalid="ignore"):
        each = along / size
        whole = abs(along.sum(1)) / size.sum(1)
        # a direction in which some window had no gradient has no mean gain
        gains = each / whole[:, None]
        slopes = np.array([slope(*pair) for pair in zip(lam, gains, strict=True)])
        gain, mean, p = gains.mean(0), np.exp(np.log(lam).mean(0)), 0.0
        relative = lam / lam[:, :1]
        for _ in range(ROUNDS):
            left = gains / relative**p
            p += slope(mean, left.mean(0))
        law = relative**p
        squares = length.sum(1) * (size * law**2).sum(1)
        cosines = (along * law).sum(1) / np.sqrt(squares)
    number = len(slopes)
    spread = slopes.std() / np.sqrt(number - 1) if number > 1 else np.nan
    found = Reading(
        slope=p,
        refusal=reason,
        kappa=float(cosines.mean()),
        positive=float(np.mean(gain > 0)),
        still=min(w.still for w in windows),
        spread=float(spread),
        moment=moment,
        windows=number,
        rows=min(w.rows for w in windows),
        lam=mean,
        gain=gain,
    )
    return found._replace(refusal=reason or _refusal(found))


def slope(lam, gain) -> float:
    """Return the least-squares slope of log ``gain`` (K,) on log ``lam`` (K,) where the
    gain is > 0; NaN where that are fewer than two directions.
    """
    up = np.isfinite(gain) & (gain > 0)
    x = np.log(lam[up])
    if up.sum() < 2 or np.ptp(x) < TIED:
        return np.nan
    return float(np.polyfit(x, np.log(gain[up]), 1)[0])


def _refusal(found: Reading) -> str:
    """Return the first reason not to call the slope an exponent, with its number."""
    few = len(found.lam)
    ratio = found.lam[0] / found.lam[-1]
    reasons = {
        f"the weights moved by {found.still:.2g} roundings a window, fewer than {STILL}: "
        "meter a float32 copy": found.still < STILL,
        f"{few} directions, fewer than {DIRECTIONS}": few < DIRECTIONS,
        f"eigenvalues within a factor {ratio:.2g}, less than {RANGE}": ratio < RANGE,
        f"the update follows the gradient in a share {found.positive:.2f} of the "
        f"directions, less than {POSITIVE}": not found.positive >= POSITIVE,
        f"kappa = {found.kappa:.2f}, less than {KAPPA}: no power of this input moment "
        f"(slope {found.slope:+.2f})": not found.kappa >= KAPPA,
        f"slope {found.slope:+.2f}: positive powers are read with a given moment only": (
            found.moment != "given" and found.slope > OWN
        ),
    }
    return next((why for why, holds in reasons.items() if holds), "")
