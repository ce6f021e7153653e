r"""The ridge risk after a step of order one: a closed form, derived from the Gaussian
equivalent features.

Given W1, the features behave in the risk like :math:`\mu_1W_1^\top x+\mu_\perp z`.
Ridge with n = psi1 d samples on them is ridge on infinite data with a larger penalty
:math:`\kappa`, inflated by :math:`1/(1-\gamma)`; the step enters only through one
resolvent quadratic form :math:`T(s)={\beta^\star}^\top(W_1W_1^\top+s)^{-1}\beta^\star`.
"""

import numpy as np
from scipy.optimize import brentq

from fl import validate
from fl.theory.spikes import Pair, companion, felt, stieltjes, strengths


def effective(
    pair: Pair, psi1: float, psi2: float, penalty: float, trace=companion
) -> tuple:
    r"""Return the effective ridge problem; it does not depend on the step.

    .. math:: \lambda=\kappa\Bigl[1-\frac{\psi_2}{\psi_1}
              \bigl(1-\frac{\kappa}{\mu_1^2}\tilde m(s)\bigr)\Bigr],\quad
              \gamma=\frac{\psi_2}{\psi_1}\Bigl[1-\frac{2\kappa}{\mu_1^2}\tilde m(s)
              -\frac{\kappa^2}{\mu_1^4}\tilde m'(s)\Bigr].

    ``pair`` holds the numbers of `Pair`, ``psi1`` = n/d, ``psi2`` = N/d, ``penalty`` is
    lambda. ``trace`` is the function of s and psi2 that returns :math:`\tilde m` and its
    derivative: `companion`, or that of inputs of another covariance.

    Returns:
        kappa, the effective penalty; gamma, the inflation; s = (rest + kappa) / mu1^2.

    Raises:
        ValueError: for a ratio or a penalty that is not > 0.
    """
    psi1 = validate.number("psi1", psi1, 0, open_low=True)
    psi2 = validate.number("psi2", psi2, 0, open_low=True)
    penalty = validate.number("penalty", penalty, 0, open_low=True)
    share = psi2 / psi1

    def problem(log_kappa: float) -> tuple:
        kappa = np.exp(log_kappa)
        ratio = kappa / pair.mu1**2
        s = ratio + pair.rest / pair.mu1**2
        mt, slope = trace(s, psi2)
        left = 1 - ratio * mt
        curved = ratio**2 * slope
        gamma = share * (2 * left - 1 - curved)
        return kappa * (1 - share * left), (kappa, gamma, s)

    # the penalty grows with kappa, and kappa is at most share * E s^2 above it
    energy = pair.mu1**2 * (1 + psi2) ** 2 + pair.rest
    low = np.log(penalty) - 1
    high = np.log(penalty + share * energy + 1) + 1
    root = brentq(
        lambda log_kappa: problem(log_kappa)[0] - penalty,
        low,
        high,
        xtol=1e-14,
        rtol=1e-14,
    )
    return problem(root)[1]


def quadratic_form(s, psi2: float, theta1, theta2) -> tuple:
    r"""Return the limit of :math:`{\beta^\star}^\top(W_1W_1^\top+s)^{-1}\beta^\star`
    and its derivative in s.

    .. math:: T(s)=m-\frac{\theta_1^2m^2}{1+m+\theta_2^2m}.

    Its pole on the negative axis is :math:`s=-s_1^2`, the outlier. ``s`` outside the
    spectrum and the strengths ``theta1``, ``theta2`` broadcast; ``psi2`` = N/d.
    """
    m, slope = stieltjes(s, psi2)
    spread = m + m * np.square(theta2)
    bottom = 1 + spread
    gain = np.square(theta1) * m / bottom
    change = gain * (2 - spread / bottom)
    return m - gain * m, slope * (1 - change)


def pole(psi2: float, theta1: float, theta2: float) -> float:
    r"""Return the pole of T on the negative axis: where its denominator vanishes, below
    the spectrum. ``psi2`` = N/d, and the strengths ``theta1`` and ``theta2`` are those
    of `quadratic_form`.

    Raises:
        ValueError: if T has no pole there: ``theta1`` is 0, or ``theta2`` not above the
            threshold; for ``theta1`` beyond ``theta2``, of which it is a component.
    """
    theta2 = validate.number("theta2", theta2, 0)
    most = theta2 * (1 + 1e-12)
    theta1 = validate.number("theta1", theta1, -most, most)
    if theta1 == 0:
        raise ValueError("theta1 = 0: must not be 0, T has no pole then")
    edge = 1 + np.sqrt(psi2)

    def bottom(s):
        m, _ = stieltjes(s, psi2)
        return 1 + m + theta2**2 * m

    if bottom(-(edge**2)) >= 0:
        raise ValueError(
            f"theta2 = {theta2!r}: must be above the threshold {psi2**0.25:g}"
        )
    # a singular value of a sum is at most the sum of the largest ones
    far = -((edge + theta2) ** 2)
    return float(brentq(bottom, 2 * far, -(edge**2), xtol=1e-13, rtol=1e-14))


def small_step_risk(
    pair: Pair, psi1: float, psi2: float, penalty: float, eta, width=np.inf
) -> np.ndarray:
    r"""Return the limiting risk of ridge with this penalty after a step ``eta`` of
    order one, in the shape of ``eta``.

    .. math:: R=\frac{F+\sigma^2+\mu_{1*}^2\bigl[\frac{\mu_\perp^2}{\mu_1^2}T
                      -\frac{\kappa s}{\mu_1^2}T'\bigr]}
              {1-\gamma}-\sigma^2.

    ``pair``, ``psi1``, ``psi2`` and ``penalty`` are those of `effective`; with a finite
    ``width`` N the strength is that of `felt`, which leaves corrections of order 1/N.

    >>> linear = Pair(1, 0, 0, 1, 0, 0)
    >>> round(float(small_step_risk(linear, 1e9, 1, 1e-9, 0.0)), 3)  # all the data
    0.0

    Raises:
        ValueError: for a ratio, penalty or width that is not > 0, or a step size that
            is not finite.
    """
    found = effective(pair, psi1, psi2, penalty)
    theta1, theta2 = strengths(pair, psi1, eta)
    strength = felt(pair, eta, theta2, width)
    form = quadratic_form(found[2], psi2, theta1, strength)
    return from_form(pair, found, *form)


def from_form(pair: Pair, problem: tuple, form, slope):
    """Return the risk that follows from T, ``form``, and its derivative ``slope`` at the
    s of the `effective` ``problem``; ``pair`` holds the numbers of `Pair`.
    """
    kappa, gamma, s = problem
    signal = (pair.mu1s / pair.mu1) ** 2
    missed = pair.rest * form - kappa * s * slope
    noisy = pair.floor + pair.noise
    total = noisy + signal * missed
    return total / (1 - gamma) - pair.noise
