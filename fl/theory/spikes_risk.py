r"""The ridge risk after a step of order one: a closed form, derived from the Gaussian
equivalent features.

Given W1, the features behave in the risk like :math:`\mu_1W_1^\top x+\mu_\perp z`.
Ridge with n = psi1 d samples on them is ridge on infinite data with a larger penalty
:math:`\kappa`, inflated by :math:`1/(1-\gamma)`; the step enters only through one
resolvent quadratic form :math:`T(s)={\beta^\star}^\top(W_1W_1^\top+s)^{-1}\beta^\star`.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq

from fl import validate
from fl.theory.spikes import Pair, companion, stieltjes, strengths


class Effective(NamedTuple):
    """``kappa``, the effective penalty; ``gamma``, the inflation; ``s`` = (rest +
    kappa) / mu1^2.
    """

    kappa: float
    gamma: float
    s: float


def effective(pair: Pair, psi1: float, psi2: float, penalty: float) -> Effective:
    r"""Return the effective ridge problem; it does not depend on the step.

    .. math:: \lambda=\kappa\Bigl[1-\frac{\psi_2}{\psi_1}\bigl(1-\frac{\kappa}{\mu_1^2}\tilde m(s)\bigr)\Bigr],\quad
              \gamma=\frac{\psi_2}{\psi_1}\Bigl[1-\frac{2\kappa}{\mu_1^2}\tilde m(s)
              -\frac{\kappa^2}{\mu_1^4}\tilde m'(s)\Bigr].

    Raises:
        ValueError: for a ratio or a penalty that is not > 0.
    """
    psi1 = validate.number("psi1", psi1, 0, open_low=True)
    psi2 = validate.number("psi2", psi2, 0, open_low=True)
    penalty = validate.number("penalty", penalty, 0, open_low=True)

    def bracket(log_kappa: float) -> tuple[float, float, float, float]:
        kappa = np.exp(log_kappa)
        s = (pair.rest + kappa) / pair.mu1**2
        mt, slope = companion(s, psi2)
        return kappa, s, kappa / pair.mu1**2 * mt, (kappa / pair.mu1**2) ** 2 * slope

    def gap(log_kappa: float) -> float:
        kappa, _, share, _ = bracket(log_kappa)
        return kappa * (1 - psi2 / psi1 * (1 - share)) - penalty

    # the right side grows from at most 0 to infinity, and lies between kappa -
    # (psi2/psi1) E s^2 and kappa
    high = np.log(
        penalty + psi2 / psi1 * (pair.mu1**2 * (1 + psi2) ** 2 + pair.rest) + 1
    )
    kappa, s, share, curved = bracket(
        brentq(gap, np.log(penalty) - 1, high + 1, xtol=1e-14, rtol=1e-14)
    )
    return Effective(kappa, psi2 / psi1 * (1 - 2 * share - curved), s)


def quadratic_form(s, psi2: float, theta1, theta2) -> tuple[np.ndarray, np.ndarray]:
    r"""Return the limit of :math:`{\beta^\star}^\top(W_1W_1^\top+s)^{-1}\beta^\star`
    and its derivative in s.

    .. math:: T(s)=m-\frac{\theta_1^2m^2}{1+m+\theta_2^2m}.

    Its pole on the negative axis is :math:`s=-s_1^2`, the outlier. Shapes broadcast.
    """
    m, slope = stieltjes(s, psi2)
    theta1, theta2 = np.asarray(theta1, dtype=float), np.asarray(theta2, dtype=float)
    bottom = 1 + m + theta2**2 * m
    gain = theta1**2 * m**2 / bottom
    gain_slope = theta1**2 * m * (2 * bottom - m * (1 + theta2**2)) / bottom**2
    return m - gain, slope * (1 - gain_slope)


def pole(psi2: float, theta1: float, theta2: float) -> float:
    r"""Return the pole of T on the negative axis, found from T alone: where it first
    turns positive from the left.

    Raises:
        ValueError: if T has no pole below the spectrum (theta2 under the threshold).
    """
    edge = (1 + np.sqrt(psi2)) ** 2

    def inverse(s):
        with np.errstate(divide="ignore", invalid="ignore"):  # 1/T is 0 at the pole
            return 1 / quadratic_form(s, psi2, theta1, theta2)[0]

    grid = -edge * (1 + np.geomspace(1e6, 1e-6, 4000))
    positive = np.flatnonzero(inverse(grid) > 0)
    if len(positive) == 0:
        raise ValueError(
            f"theta2 = {theta2!r}: must be above the threshold {psi2**0.25:g}"
        )
    return float(
        brentq(
            inverse, grid[positive[0] - 1], grid[positive[0]], xtol=1e-13, rtol=1e-14
        )
    )


def small_step_risk(
    pair: Pair, psi1: float, psi2: float, penalty: float, eta
) -> np.ndarray:
    r"""Return the limiting risk of ridge with this penalty after a step ``eta`` of
    order one, in the shape of ``eta``.

    .. math:: R=\frac{F+\sigma^2+\mu_{1*}^2\bigl[\frac{\mu_\perp^2}{\mu_1^2}T-\frac{\kappa s}{\mu_1^2}T'\bigr]}
              {1-\gamma}-\sigma^2.

    >>> round(float(small_step_risk(Pair(1, 0, 0, 1, 0, 0), 1e9, 1, 1e-9, 0.0)), 3)  # linear task, all the data
    0.0
    """
    kappa, gamma, s = effective(pair, psi1, psi2, penalty)
    form, slope = quadratic_form(s, psi2, *strengths(pair, psi1, eta))
    missed = pair.mu1s**2 * (pair.rest * form - kappa * s * slope) / pair.mu1**2
    return (pair.floor + pair.noise + missed) / (1 - gamma) - pair.noise
