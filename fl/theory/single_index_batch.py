r"""Where the first step points when the covariance of its own batch preconditions it.

:math:`\hat\Sigma = XX^\top/n` is made of the samples that also give the gradient, and
undoes part of their fluctuation: what is left of the label is ``rho``, where the true
covariance leaves all of it, ``nu``. Letters as in `fl.theory.single_index`.
"""

import numpy as np
from scipy import optimize

from fl import validate
from fl.tasks import Task
from fl.theory.alignment_ridge import resolvent_scale
from fl.theory.single_index import (
    Direction,
    check,
    moments,
    population_power,
    weights,
)

MOST = 1_000_000  # points of a contour


def first_step(
    task: Task, gamma: float, damping: float | None = None, centred: bool = False
) -> Direction:
    """Return the limits for the first step on ``task``, at ``gamma`` dimensions per
    sample: that of the plain gradient, or with a ``damping`` that of `kfac`.

    ``centred`` subtracts the mean of the labels first.

    Raises:
        ValueError: what `moments`, `population_filter` and `kfac` refuse.
    """
    s, b = weights(task)
    m = moments(task, centred)
    if damping is None:
        return population_power(s, b, gamma, m.nu, 0)
    return kfac(s, b, gamma, m.rho, damping)


def kfac(s, b, gamma: float, rho: float, damping: float) -> Direction:
    r"""Return the limits for :math:`\hat\beta = (\hat\Sigma+\lambda)^{-1} X y/n`, the
    covariance of the same batch.

    With :math:`D = s+\kappa`, :math:`\mathrm{df}_2 = \gamma\bar{\mathbb E}[s^2/D^2]`:

    .. math:: \hat\beta^\top\beta_*\to\alpha\sum_i \frac{b_i s_i}{D_i},\qquad
              |\hat\beta|^2\to\alpha^2\Bigl[
              \sum_i \frac{b_i s_i^2}{D_i^2} + \frac{\gamma\bar{\mathbb E}[s/D^2]}{1-\mathrm{df}_2}
              \Bigl(\rho + \kappa^2\sum_i\frac{b_i s_i}{D_i^2}\Bigr)\Bigr].

    ``s``, ``b`` and ``gamma`` as in `population_filter`, ``rho`` of `Moments`. Beyond
    gamma = 1 zero ``damping`` means its limit, the pseudo-inverse.

    Raises:
        ValueError: at gamma = 1 without damping, where the sample covariance has
            eigenvalues down to zero; for an argument out of range.
    """
    s, b, gamma = check(s, b, gamma)
    rho = validate.number("rho", rho, 0)
    damping = validate.number("damping", damping, 0)
    if damping == 0 and gamma == 1:
        raise ValueError(
            "damping = 0 at gamma = 1: must be > 0, "
            "the sample covariance has no bounded inverse"
        )
    kappa = resolvent_scale(s, gamma, damping)
    D = s + kappa
    share = s / D
    df2 = gamma * np.mean(share**2)
    v = gamma * np.mean(share / D) / (1 - df2)
    bias = kappa**2 * (b @ (share / D))
    return Direction(b @ share, b @ share**2 + v * (rho + bias))


def best_damping(s, b, gamma: float, rho: float) -> float:
    r"""Return the damping at which `kfac` aligns best, by search; ``gamma * rho`` for
    an evenly spread teacher, 0 where every damping costs. ``s``, ``b``, ``gamma`` and
    ``rho`` as there.

    Raises:
        ValueError: for s or b out of range, gamma <= 0 or rho <= 0, and where the
            alignment still rises at the end of the search.
    """
    s, b, gamma = check(s, b, gamma)
    rho = validate.number("rho", rho, 0, open_low=True)

    def loss(logarithm):
        damping = np.exp(logarithm)
        return -kfac(s, b, gamma, rho, damping).cos2

    grid = np.log(gamma * rho) + np.linspace(-16, 16, 129)
    k = int(np.argmin([loss(point) for point in grid]))
    if k == 0 and gamma != 1 and -kfac(s, b, gamma, rho, 0).cos2 <= loss(grid[0]):
        return 0.0
    if k in (0, len(grid) - 1):
        raise ValueError(
            f"gamma = {gamma:g}, rho = {rho:g}: the best damping lies beyond "
            f"{np.exp(grid[k]):g}"
        )
    around = grid[k - 1], grid[k + 1]
    options = {"xatol": 1e-9}
    best = optimize.minimize_scalar(loss, bounds=around, options=options).x
    return np.exp(best)


def whitening_crossing(tau2: float, rho: float) -> float:
    r"""Return the gamma beyond which whitening by the true covariance beats the batch's
    own.

    It is :math:`\tau^2/(\tau^2+\rho)`, the share of the label that a linear function
    explains; ``tau2`` and ``rho`` are those of `Moments`.

    Raises:
        ValueError: for tau2 <= 0 or rho < 0.
    """
    tau2 = validate.number("tau2", tau2, 0, open_low=True)
    rho = validate.number("rho", rho, 0)
    return tau2 / (tau2 + rho)


def sample_power(s, b, gamma: float, rho: float, p: float) -> Direction:
    r"""Return the limits for :math:`\hat\beta = \hat\Sigma^p X y/n`, the batch's own
    covariance, ``gamma`` < 1; ``s``, ``b`` and ``rho`` as in `kfac`, any ``p``.

    :math:`\hat\beta^\top\beta_*\to\alpha\,\beta_*^\top\hat\Sigma^{p+1}\beta_*` and
    :math:`|\hat\beta|^2\to\alpha^2 [\beta_*^\top\hat\Sigma^{2p+2}\beta_* +
    \gamma\rho\,\mathrm{tr}\,\hat\Sigma^{2p+1}/d]`; each is a contour integral around
    the eigenvalues of :math:`\hat\Sigma`, taken on a circle in the plane of
    :math:`\kappa`.

    Raises:
        ValueError: for gamma >= 1, where the sample covariance is singular; for an
            argument out of range; for a power so large that the integral is lost in
            rounding.
    """
    s, b, gamma = check(s, b, gamma)
    if gamma >= 1:
        raise ValueError(
            f"gamma = {gamma:g}: must be < 1 for a power of the sample covariance"
        )
    rho = validate.number("rho", rho, 0)
    p = validate.number("p", p)
    found, other = (_sample_power(s, b, gamma, rho, p, c) for c in (0.9, 0.8))
    if not np.allclose(found, other, rtol=1e-5, atol=0):
        raise ValueError(
            f"p = {p:g}: must be nearer to 0, the integral came out as "
            f"{found.cos2:g} and {other.cos2:g} on two circles"
        )
    return found


def _sample_power(
    s, b, gamma: float, rho: float, p: float, closeness: float
) -> Direction:
    kappa, weight = _circle(s, gamma, closeness)
    resolvent = 1 / (s + kappa[:, None])
    share = s * resolvent
    z = -kappa * (1 - gamma * np.mean(share, axis=1))
    dz = -(1 - gamma * np.mean(share**2, axis=1))
    weight = weight * dz * kappa / z

    def limit(exponent, equivalent):
        integrand = z**exponent * equivalent
        return (integrand @ weight).real  # conjugate points make it real

    signal = resolvent @ b
    noise = gamma * rho * limit(2 * p + 1, resolvent.mean(axis=1))
    return Direction(limit(p + 1, signal), limit(2 * p + 2, signal) + noise)


def _circle(
    s: np.ndarray, gamma: float, closeness: float
) -> tuple[np.ndarray, np.ndarray]:
    # The edges of the bulk are the images of the two real kappa with gamma
    # E[s^2/(s+kappa)^2] = 1, left < right < 0. The integrand is analytic between the
    # circle on which they are opposite points and the line Re kappa = 0 (on any circle
    # around the real axis |s + kappa|^2 is linear in Re kappa, so E[s^2/|s+kappa|^2] is
    # largest at its ends). w = (kappa + c)/(kappa - c) makes circle and line
    # concentric. Near the edges (closeness 1) the integrand of a large power stays small.
    def excess(kappa):
        share = s / (s + kappa)
        return gamma * np.mean(share**2) - 1

    right = optimize.brentq(excess, -s.min() * (1 - 1e-9), 0.0, xtol=1e-16)
    far = -s.max() * (2 + 2 * np.sqrt(gamma))
    near = -s.max() * (1 + 1e-9)
    left = optimize.brentq(excess, far, near)
    c = np.sqrt(left * right)
    digits = 200
    # -log of the radius, which is 1 where gamma is
    width = 2 * closeness * np.arctanh(-right / c) if right else 0.0
    if digits > MOST * width:
        raise ValueError(
            f"gamma = {gamma!r}: must be < 1 by more, the integral takes over {MOST:.0e} "
            "points"
        )
    points = int(np.ceil(digits / width))
    radius = np.exp(-width)
    turns = (np.arange(points) + 0.5) / points
    w = radius * np.exp(2j * np.pi * turns)
    kappa = c * (w + 1) / (w - 1)
    slope = -2 * c * w / (w - 1) ** 2  # of kappa in the angle, over i
    return kappa, slope / points
