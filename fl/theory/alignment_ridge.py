r"""The linear student in closed form: preconditioned flow, ridge regression,
interpolation, and the best exponent.

Labels are :math:`y=w_*^\top x+` an uncorrelated rest of variance ``noise``; inputs have
covariance :math:`\Sigma` with eigenvalues ``lam`` (d,). The signal splits over the
eigenvectors into energies :math:`e_r=\lambda_r w_{*r}^2`, ``energy`` (d,). The
preconditioner is :math:`P=\Sigma^p`; ridge regression

.. math:: \min_w\ \tfrac1N|y-X^\top w|^2+\rho\,w^\top P^{-1}w

is ordinary ridge on :math:`P^{1/2}x`, whose covariance has the eigenvalues
:math:`t_r=\lambda_r^{p+1}`; the energies do not depend on p. ``reg`` is :math:`\rho`,
``n`` is N. All of it is derived in chapter "alignment".
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq, minimize_scalar
from scipy.special import gamma as gamma_function

from fl import validate


def flow_risk(lam, energy, p: float, t) -> np.ndarray:
    r"""Return the excess risk :math:`R(t)=\sum_re_re^{-2\lambda_r^{p+1}t}` of the flow
    :math:`\dot w=-P\Sigma(w-w_*)`.

    Args:
        lam: eigenvalues (d,).
        energy: signal energies (d,).
        p: the exponent of the preconditioner.
        t: times (T,); a step of size :math:`\eta` on the mean square lasts
            :math:`2\eta`.

    >>> flow_risk([1.0, 2.0], [3.0, 4.0], -1.0, [0.0]).tolist()
    [7.0]
    """
    rate, energy = _modes(lam, energy, p)
    return np.exp(-2 * np.multiply.outer(validate.array("t", t, ("T",)), rate)) @ energy


def flow_power_law(q: float, b: float, t) -> np.ndarray:
    r"""Return :math:`\Gamma(s)(2t)^{-s}/q`, :math:`s=(b-1)/q`: the flow's risk on power
    laws.

    Rates :math:`\lambda_r^{p+1}=r^{-q}`, energies :math:`e_r=r^{-b}`; valid for
    :math:`1\ll(2t)^{1/q}\ll d`. With :math:`\lambda_r=r^{-a}` the exponent is
    :math:`q=a(p+1)`.
    """
    q, s = _exponents(q, b, 0)
    return gamma_function(s) * (2 * validate.array("t", t, ("T",))) ** -s / q


class RidgeRisk(NamedTuple):
    """Test error (with the noise of a fresh label), training error, implicit ridge, and
    the variance factor.
    """

    test: float
    train: float
    kappa: float
    gamma: float


def ridge_risk(lam, energy, p: float, n: int, reg: float, noise: float) -> RidgeRisk:
    r"""Return the deterministic equivalent of ridge regression with the preconditioner
    :math:`\Sigma^p`.

    With the implicit ridge :math:`\kappa` and the shrinkage
    :math:`u_r=t_r/(t_r+\kappa)`,

    .. math:: \rho=\kappa\,\Bigl(1-\frac1N\sum_r u_r\Bigr),\qquad \gamma=\frac1N\sum_r u_r^2,\qquad
              \text{test}=\frac{\sum_r e_r(1-u_r)^2+\text{noise}}{1-\gamma},\qquad
              \text{train}=(\rho/\kappa)^2\,\text{test}.

    ``reg = 0`` is the interpolator of least :math:`w^\top P^{-1}w` for d > N and least
    squares for d < N.

    Raises:
        ValueError: for eigenvalues that are not > 0, negative ``reg`` or ``noise``, or
            ``reg = 0`` with d = N, where the risk is infinite.

    >>> ridge_risk([1.0, 1.0], [0.0, 0.0], 0.0, n=4, reg=0.0, noise=1.0).test  # least squares: noise/(1 - d/N)
    2.0
    """
    t, energy = _modes(lam, energy, p)
    noise = validate.number("noise", noise, 0)
    kappa = implicit_ridge(t, n, reg)
    return _at_kappa(t, energy, n, kappa, noise)


def implicit_ridge(t, n: int, reg: float) -> float:
    r"""Return the root :math:`\kappa\ge\rho` of
    :math:`\rho=\kappa(1-\frac1N\sum_r\frac{t_r}{t_r+\kappa})`.

    It is 0 for ``reg = 0`` and d < N.

    >>> round(implicit_ridge([1.0, 1.0], n=1, reg=0.0), 9)  # 1 = 2/(1 + kappa)
    1.0
    """
    t, n, reg = (
        validate.positive("t", t),
        validate.count("n", n),
        validate.number("reg", reg, 0),
    )
    if reg == 0 and len(t) == n:
        raise ValueError(
            f"reg = 0 with n = {n} equal to the dimension: the risk is infinite, take reg > 0"
        )
    return resolvent_scale(t, len(t) / n, reg)


def resolvent_scale(s, gamma: float, damping: float) -> float:
    r"""Return the :math:`\kappa\ge 0` with :math:`\lambda = \kappa\,(1 -
    \gamma\,\bar{\mathbb E}[s/(s+\kappa)])`.

    It turns the sample covariance into the true one,
    :math:`\lambda(\hat\Sigma+\lambda)^{-1}\approx \kappa(\Sigma+\kappa)^{-1}`; the mean
    is over the eigenvalues ``s`` (d,), ``gamma`` is d/n, ``damping`` is
    :math:`\lambda`. At zero damping it is 0 for gamma <= 1 and positive beyond.

    >>> round(resolvent_scale([1.0], gamma=2.0, damping=0.0), 12)  # isotropic: gamma - 1
    1.0
    """
    s, gamma = (
        validate.positive("s", s),
        validate.number("gamma", gamma, 0, open_low=True),
    )
    damping = validate.number("damping", damping, 0)
    if damping == 0 and gamma <= 1:
        return 0.0

    def excess(
        v,
        # divided by kappa = e^v: at zero damping the root kappa = 0 is not the one wanted
    ):
        return damping * np.exp(-v) + gamma * np.mean(s / (s + np.exp(v))) - 1

    # the mean lies between s_min/(s_min + kappa) and mean(s)/kappa: both ends enclose
    # the root
    low, high = (
        max(damping, s.min() * (gamma - 1)) / 2,
        2 * (damping + gamma * s.mean()),
    )
    return float(
        np.exp(brentq(excess, np.log(low), np.log(high), xtol=1e-14, rtol=1e-14))
    )


def tuned_ridge(lam, energy, p: float, n: int, noise: float) -> tuple[float, float]:
    r"""Return the smallest test error of `ridge_risk` over ``reg`` >= 0, and the
    ``reg`` that attains it.

    The search runs over :math:`\log\kappa`, in which the test error is explicit.
    """
    t, energy = _modes(lam, energy, p)
    n, noise = validate.count("n", n), validate.number("noise", noise, 0)
    floor = implicit_ridge(t, n, 0.0) if len(t) > n else t.min() * 1e-6
    ends = np.log(floor), np.log(100 * t.sum())
    best = minimize_scalar(
        lambda v: _at_kappa(t, energy, n, np.exp(v), noise).test,
        bounds=ends,
        method="bounded",
        options={"xatol": 1e-9},
    )
    kappa = np.exp(best.x)
    return float(best.fun), float(kappa * (1 - np.sum(t / (t + kappa)) / n))


def best_exponent(lam, energy, n: int, noise: float, *, tuned: bool = True) -> float:
    r"""Return the p in [-2, 4] of smallest test error, with ``reg`` tuned for each p,
    or without regularisation.

    With :math:`e_r\propto\lambda_r^{p^*+1}` and noise > 0 the tuned optimum is
    :math:`p^*` for every N and noise. Without regularisation d > N is needed.
    """
    if tuned:
        loss = lambda p: tuned_ridge(lam, energy, p, n, noise)[0]  # noqa: E731
    else:
        loss = lambda p: ridge_risk(lam, energy, p, n, 0.0, noise).test  # noqa: E731
    return float(
        minimize_scalar(
            loss, bounds=(-2.0, 4.0), method="bounded", options={"xatol": 1e-5}
        ).x
    )


def interpolation_power_law(q: float, b: float, n: int) -> tuple[float, float]:
    r"""Return the excess risk of the interpolator for :math:`t_r=r^{-q}`,
    :math:`e_r=r^{-b}`: signal part, noise part.

    .. math:: C(q)\,N^{-(b-1)},\quad C(q)=\Gamma(2-s)\,\Gamma(s)\Bigl[\frac{\pi/q}{\sin(\pi/q)}\Bigr]^{b-1},\quad
              s=\frac{b-1}{q};\qquad q-1\ \text{per unit of label noise},

    in the limit :math:`d/N\to\infty`, then :math:`N\to\infty`.

    Raises:
        ValueError: unless q > 1 and 1 < b < 2q + 1.
    """
    q, s = _exponents(q, b, 1)
    if s >= 2:
        raise ValueError(
            f"b = {b!r}: must be < 2q + 1 = {2 * q + 1:g}, beyond it the rate saturates"
        )
    n = validate.count("n", n)
    constant = (
        gamma_function(2 - s)
        * gamma_function(s)
        * (np.pi / q / np.sin(np.pi / q)) ** (b - 1)
    )
    return float(constant * n ** (1.0 - b)), q - 1


def _at_kappa(t, energy, n: int, kappa: float, noise: float) -> RidgeRisk:
    u = t / (t + kappa)
    gamma = np.sum(u**2) / n
    test = (energy @ (1 - u) ** 2 + noise) / (1 - gamma)
    return RidgeRisk(
        float(test), float((1 - np.sum(u) / n) ** 2 * test), float(kappa), float(gamma)
    )


def _modes(lam, energy, p: float) -> tuple[np.ndarray, np.ndarray]:
    lam, energy = (
        validate.positive("lam", lam),
        validate.array("energy", energy, ("d",)),
    )
    if len(energy) != len(lam) or energy.min() < 0:
        raise ValueError(
            f"energy has {len(energy)} entries from {energy.min():g}: must be {len(lam)}, none negative"
        )
    return lam ** (validate.number("p", p) + 1), energy


def _exponents(q: float, b: float, above: float) -> tuple[float, float]:
    q, b = (
        validate.number("q", q, above, open_low=True),
        validate.number("b", b, 1, open_low=True),
    )
    return q, (b - 1) / q
