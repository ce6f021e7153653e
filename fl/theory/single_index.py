r"""Where one gradient step on the first layer points when the teacher has a single
index and the inputs a covariance.

The labels are :math:`y = f^*(\beta_*^\top x) + \varepsilon` with :math:`|\beta_*| = 1`
and :math:`x\sim N(0,\Sigma)`; n samples in d dimensions, :math:`\gamma = d/n`. One step
moves the weights by a multiple of :math:`a\,\hat\beta^\top`, and the optimizer decides
which :math:`\hat\beta` that is: a filter of :math:`X y/n`.

Letters: ``s`` (d,) eigenvalues of Sigma; ``b`` (d,) squared coordinates of the
teacher's direction in the eigenbasis, summing to 1; :math:`\bar{\mathbb E}` is the mean
over the d eigenvalues. All formulas are limits d, n to infinity at a fixed ``gamma``
and are derived in chapter single_index. Of the teacher they see two numbers only:
``rho`` (what a linear fit leaves over) and ``nu`` (all of the label), both in units of
the squared slope. Since `s` enters through means, a spectrum of two levels with equal
weight may be given as two numbers.
"""

from typing import NamedTuple

import numpy as np
from scipy import optimize

from fl import validate
from fl.tasks import Task
from fl.theory.alignment_ridge import resolvent_scale


class Moments(NamedTuple):
    r"""What one step sees of a teacher.

    ``tau2`` :math:`=\beta_*^\top\Sigma\beta_*`; ``slope`` :math:`\alpha = \mathbb E
    f^{*\prime}`; ``rho`` :math:`=(\mathbb E y^2 - \alpha^2\tau^2)/\alpha^2`; ``nu``
    :math:`=\mathbb E y^2/\alpha^2 = \rho+\tau^2`.
    """

    tau2: float
    slope: float
    rho: float
    nu: float


class Direction(NamedTuple):
    r"""The limits of :math:`\hat\beta^\top\beta_*/\alpha` and
    :math:`|\hat\beta|^2/\alpha^2`.
    """

    overlap: float
    square: float

    @property
    def cos2(self) -> float:
        r"""The alignment :math:`\cos^2(\hat\beta,\beta_*)`."""
        return self.overlap**2 / self.square


def moments(task: Task, centred: bool = False) -> Moments:
    r"""Return the moments of a task's labels; ``centred`` subtracts the mean of y
    first.

    By Stein's lemma :math:`\alpha = \mathbb E[u f^*(\tau u)]/\tau = \mathbb E
    f^{*\prime}(\tau u)`.

    Raises:
        ValueError: unless the teacher has one direction of length 1 and a slope that is
            not zero.
    """
    weights(task)
    tau = task.tau[0]
    mean, variance, slope = task.teacher.link.moments(tau)
    if abs(slope) < 1e-10 * np.sqrt(mean**2 + variance) / tau:
        raise ValueError(
            f"teacher has link {task.teacher.link.name!r} of mean slope 0: no step shows its direction"
        )
    power = variance + task.noise_variance + (0.0 if centred else mean**2)
    nu = power / slope**2
    return Moments(float(tau**2), slope, float(nu - tau**2), float(nu))


def weights(task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Return the eigenvalues ``s`` and the teacher's squared coordinates ``b`` in the
    eigenbasis, both (d,).

    Raises:
        ValueError: unless the teacher has one direction, of length 1.
    """
    B = task.teacher.directions
    if len(B) != 1 or abs(np.linalg.norm(B) - 1) > 1e-8:
        raise ValueError(
            f"teacher has directions of norm {np.linalg.norm(B, axis=1)}: must be one, of length 1"
        )
    U = task.spectrum.rotation
    return task.spectrum.eigenvalues, (B[0] if U is None else U.T @ B[0]) ** 2


def population_filter(s, b, gamma: float, nu: float, phi) -> Direction:
    r"""Return the limits for :math:`\hat\beta = \phi(\Sigma) X y/n`, a filter that
    knows Sigma; ``phi`` is (d,).

    .. math:: \hat\beta^\top\beta_* \to \alpha\sum_i b_i s_i\phi_i, \qquad
              |\hat\beta|^2 \to \alpha^2\Bigl[\sum_i b_i s_i^2\phi_i^2 + \gamma\nu\,\bar{\mathbb E}[s\phi^2]\Bigr].

    >>> population_filter([1.0], [1.0], gamma=0.5, nu=2.0, phi=[1.0]).cos2  # isotropic: 1/(1 + gamma nu)
    0.5

    Raises:
        ValueError: for s or b out of range, gamma <= 0, nu < 0 or a filter that
            vanishes.
    """
    s, b, gamma = _check(s, b, gamma)
    nu, phi = validate.number("nu", nu, 0), validate.array("phi", phi, s.shape)
    if not phi.any():
        raise ValueError("phi is zero everywhere: must have a non-zero entry")
    return Direction(
        float(b @ (s * phi)),
        float(b @ (s * phi) ** 2 + gamma * nu * np.mean(s * phi**2)),
    )


def population_power(s, b, gamma: float, nu: float, p: float) -> Direction:
    r"""Return the limits for :math:`\hat\beta = \Sigma^p X y/n`: plain gradient p = 0,
    exact whitening p = -1.

    >>> whitened = population_power([1.8, 0.2], [0.5, 0.5], 0.5, 1.25, -1)
    >>> bool(np.isclose(whitened.overlap, 1))  # unbiased
    True
    """
    return population_filter(
        s, b, gamma, nu, validate.positive("s", s) ** validate.number("p", p)
    )


def best_filter(s, b, gamma: float, nu: float) -> np.ndarray:
    r"""Return the filter of Sigma that aligns best, :math:`\phi_i\propto b_i/(b_i s_i +
    \gamma\nu/d)`, shape (d,).

    For a teacher spread evenly, b = 1/d, it is :math:`(\Sigma + \gamma\nu)^{-1}`. ``b``
    is (d,) with the true d.
    """
    s, b, gamma = _check(s, b, gamma)
    return b / (b * s + gamma * validate.number("nu", nu, 0, open_low=True) / len(s))


def best_exponent(
    s, b, gamma: float, nu: float, low: float = -3.0, high: float = 4.0
) -> float:
    r"""Return the p in [low, high] whose `population_power` aligns best, to about 1e-6.

    With ``b`` proportional to :math:`s^r` it runs from -1 (no noise) to r (noise only).

    Raises:
        ValueError: for s or b out of range, gamma <= 0, nu < 0 or low >= high.
    """
    s, b, gamma = _check(s, b, gamma)
    nu, low = validate.number("nu", nu, 0), validate.number("low", low)
    high = validate.number("high", high, low, open_low=True)
    logs = np.log(s)

    def loss(p):  # minus cos2, for a column of exponents or for one
        powers = np.exp(p * logs)
        square = (s * powers) ** 2 @ b + gamma * nu * np.mean(s * powers**2, axis=-1)
        return -(((s * powers) @ b) ** 2) / square

    grid = np.linspace(low, high, 71)
    k = int(np.argmin(loss(grid[:, None])))
    around = grid[max(k - 1, 0)], grid[min(k + 1, len(grid) - 1)]
    return float(
        optimize.minimize_scalar(
            loss, bounds=around, method="bounded", options={"xatol": 1e-7}
        ).x
    )


def kfac(s, b, gamma: float, rho: float, damping: float) -> Direction:
    r"""Return the limits for :math:`\hat\beta = (\hat\Sigma+\lambda)^{-1} X y/n`, the
    covariance of the same batch.

    With :math:`D = s+\kappa`, :math:`\mathrm{df}_2 = \gamma\bar{\mathbb E}[s^2/D^2]`:

    .. math:: \hat\beta^\top\beta_*\to\alpha\sum_i \frac{b_i s_i}{D_i},\qquad |\hat\beta|^2\to\alpha^2\Bigl[
              \sum_i \frac{b_i s_i^2}{D_i^2} + \frac{\gamma\bar{\mathbb E}[s/D^2]}{1-\mathrm{df}_2}
              \Bigl(\rho + \kappa^2\sum_i\frac{b_i s_i}{D_i^2}\Bigr)\Bigr].

    Beyond gamma = 1 zero damping means its limit, the pseudo-inverse.

    Raises:
        ValueError: at gamma = 1 without damping, where the sample covariance has
            eigenvalues down to zero.
    """
    s, b, gamma = _check(s, b, gamma)
    rho, damping = (
        validate.number("rho", rho, 0),
        validate.number("damping", damping, 0),
    )
    if damping == 0 and gamma == 1:
        raise ValueError(
            "damping = 0 at gamma = 1: must be > 0, the sample covariance has no bounded inverse"
        )
    kappa = resolvent_scale(s, gamma, damping)
    D = s + kappa
    noise = gamma * np.mean(s / D**2) / (1 - gamma * np.mean((s / D) ** 2))
    square = b @ (s / D) ** 2 + noise * (rho + kappa**2 * (b @ (s / D**2)))
    return Direction(float(b @ (s / D)), float(square))


def best_damping(s, b, gamma: float, rho: float) -> float:
    r"""Return the damping at which `kfac` aligns best, by search; ``gamma * rho`` for
    an evenly spread teacher.
    """
    s, b, gamma = _check(s, b, gamma)
    guess = np.log(gamma * validate.number("rho", rho, 0, open_low=True))
    found = optimize.minimize_scalar(
        lambda t: -kfac(s, b, gamma, rho, np.exp(t)).cos2,
        bounds=(guess - 8, guess + 8),
        method="bounded",
        options={"xatol": 1e-9},
    )
    return float(np.exp(found.x))


def whitening_crossing(tau2: float, rho: float) -> float:
    r"""Return the gamma beyond which whitening by the true covariance beats the batch's
    own.

    It is :math:`\tau^2/(\tau^2+\rho)`, the share of the label that a linear function
    explains.
    """
    tau2, rho = (
        validate.number("tau2", tau2, 0, open_low=True),
        validate.number("rho", rho, 0),
    )
    return tau2 / (tau2 + rho)


def sample_power(s, b, gamma: float, rho: float, p: float) -> Direction:
    r"""Return the limits for :math:`\hat\beta = \hat\Sigma^p X y/n`, the batch's own
    covariance, gamma < 1.

    :math:`\hat\beta^\top\beta_*\to\alpha\,\beta_*^\top\hat\Sigma^{p+1}\beta_*` and
    :math:`|\hat\beta|^2\to\alpha^2 [\beta_*^\top\hat\Sigma^{2p+2}\beta_* +
    \gamma\rho\,\mathrm{tr}\,\hat\Sigma^{2p+1}/d]`; each is a contour integral around
    the eigenvalues of :math:`\hat\Sigma`, taken on a circle in the plane of
    :math:`\kappa`.

    Raises:
        ValueError: for gamma >= 1, where the sample covariance is singular.
    """
    s, b, gamma = _check(s, b, gamma)
    if gamma >= 1:
        raise ValueError(
            f"gamma = {gamma:g}: must be < 1 for a power of the sample covariance"
        )
    rho, p = validate.number("rho", rho, 0), validate.number("p", p)
    kappa, weight = _circle(s, gamma)
    resolvent = 1 / (s + kappa[:, None])
    z = -kappa * (1 - gamma * np.mean(s * resolvent, axis=1))
    dz = -(1 - gamma * np.mean((s * resolvent) ** 2, axis=1))

    def limit(
        h, mass
    ):  # of sum_i mass_i u_i' h(S_hat) u_i; conjugate points make it real
        return float((h(z) * kappa / z * (resolvent @ mass) * dz * weight).real.sum())

    even = np.full(len(s), 1 / len(s))
    square = limit(lambda x: x ** (2 * p + 2), b) + gamma * rho * limit(
        lambda x: x ** (2 * p + 1), even
    )
    return Direction(limit(lambda x: x ** (p + 1), b), square)


def _circle(s: np.ndarray, gamma: float) -> tuple[np.ndarray, np.ndarray]:
    # The edges of the bulk are the images of the two real kappa with gamma
    # E[s^2/(s+kappa)^2] = 1, left < right < 0. The integrand is analytic between the
    # circle on which they are opposite points and the line Re kappa = 0 (on any circle
    # around the real axis |s + kappa|^2 is linear in Re kappa, so E[s^2/|s+kappa|^2] is
    # largest at its ends). w = (kappa + c)/(kappa - c) makes circle and line
    # concentric; the mean circle between them converges fastest.
    def excess(kappa):
        return gamma * np.mean((s / (s + kappa)) ** 2) - 1

    right = optimize.brentq(excess, -s.min() * (1 - 1e-9), 0.0, xtol=1e-16)
    left = optimize.brentq(
        excess, -s.max() * (2 + 2 * np.sqrt(gamma)), -s.max() * (1 + 1e-9)
    )
    c = np.sqrt(left * right)
    radius = np.sqrt((c + right) / (c - right))
    points = int(np.ceil(40 / -np.log(radius)))
    w = radius * np.exp(2j * np.pi * (np.arange(points) + 0.5) / points)
    return c * (w + 1) / (w - 1), -2 * c * w / (w - 1) ** 2 / points


def _check(s, b, gamma) -> tuple[np.ndarray, np.ndarray, float]:
    s = validate.positive("s", s)
    b = validate.array("b", b, s.shape)
    if b.min() < 0 or abs(b.sum() - 1) > 1e-8:
        raise ValueError(
            f"b has smallest entry {b.min():g} and sum {b.sum():g}: must be >= 0 and sum to 1"
        )
    return s, b, validate.number("gamma", gamma, 0, open_low=True)
