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

from fl import numerics, validate
from fl.tasks import Task


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
    r"""Return the moments of the labels of ``task``; ``centred`` subtracts their mean
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
            f"teacher has link {task.teacher.link.name!r} of mean slope 0: "
            "X y / n does not show its direction"
        )
    power = variance + task.noise_variance
    if not centred:
        power += mean**2
    nu = power / slope**2
    return Moments(tau**2, slope, nu - tau**2, nu)


def weights(task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Return the eigenvalues ``s`` of ``task`` and the teacher's squared coordinates
    ``b`` in the eigenbasis, both (d,).

    Raises:
        ValueError: unless the teacher has one direction, of length 1.
    """
    B = task.teacher.directions
    if len(B) != 1 or abs(np.linalg.norm(B) - 1) > 1e-8:
        raise ValueError(
            f"teacher has directions of norm {np.linalg.norm(B, axis=1)}: "
            "must be one, of length 1"
        )
    U = task.spectrum.rotation
    return task.spectrum.eigenvalues, (B[0] if U is None else U.T @ B[0]) ** 2


def population_filter(s, b, gamma: float, nu: float, phi) -> Direction:
    r"""Return the limits for :math:`\hat\beta = \phi(\Sigma) X y/n`, a filter that
    knows Sigma.

    .. math:: \hat\beta^\top\beta_* \to \alpha\sum_i b_i s_i\phi_i, \qquad
              |\hat\beta|^2 \to \alpha^2\Bigl[\sum_i b_i s_i^2\phi_i^2
              + \gamma\nu\,\bar{\mathbb E}[s\phi^2]\Bigr].

    >>> isotropic = population_filter([1.0], [1.0], gamma=0.5, nu=2.0, phi=[1.0])
    >>> float(isotropic.cos2)  # 1/(1 + gamma nu)
    0.5

    Args:
        s: eigenvalues (d,).
        b: squared coordinates of the teacher (d,), sum 1.
        gamma: d/n.
        nu: all of the label, see `Moments`.
        phi: the filter at each eigenvalue (d,), or a stack (.., d) of filters.

    Raises:
        ValueError: for s or b out of range, gamma <= 0, nu < 0 or a filter that
            vanishes.
    """
    s, b, gamma = check(s, b, gamma)
    nu = validate.number("nu", nu, 0)
    phi = validate.array("phi", phi, (*np.shape(phi)[:-1], len(s)))
    if not phi.any(axis=-1).all():
        raise ValueError("phi is zero everywhere: must have a non-zero entry")
    filtered = s * phi
    noise = gamma * nu * np.mean(filtered * phi, axis=-1)
    return Direction(filtered @ b, filtered**2 @ b + noise)


def population_power(s, b, gamma: float, nu: float, p: float) -> Direction:
    r"""Return the limits for :math:`\hat\beta = \Sigma^p X y/n`: plain gradient ``p`` =
    0, exact whitening -1; ``s``, ``b``, ``gamma`` and ``nu`` as in `population_filter`.

    >>> whitened = population_power([1.8, 0.2], [0.5, 0.5], 0.5, 1.25, -1)
    >>> bool(np.isclose(whitened.overlap, 1))  # unbiased
    True

    Raises:
        ValueError: what `population_filter` refuses.
    """
    s = validate.positive("s", s)
    phi = numerics.raised(s, p)
    return population_filter(s, b, gamma, nu, phi)


def best_exponent(s, b, gamma: float, nu: float) -> float:
    r"""Return the p in [-3, 4] whose `population_power` aligns best, to about 1e-6;
    ``s``, ``b``, ``gamma`` and ``nu`` as there.

    With ``b`` proportional to :math:`s^r` it runs from -1 (no noise) to r (noise only).

    Raises:
        ValueError: what `population_filter` refuses, equal eigenvalues, for which every
            p is as good, and where the best p lies beyond [-3, 4].
    """
    s, b, gamma = check(s, b, gamma)

    def loss(p):  # of a column of exponents, or of one
        return -population_filter(s, b, gamma, nu, s**p).cos2

    if s.max() <= s.min() * (1 + 1e-12):
        raise ValueError(f"s has eigenvalues {s[0]:g} only: every exponent is as good")
    grid = np.linspace(-3, 4, 71)
    k = int(np.argmin(loss(grid[:, None])))
    if k in (0, len(grid) - 1):
        raise ValueError(f"b: its best exponent lies beyond {grid[k]:g}")
    around = grid[k - 1], grid[k + 1]
    options = {"xatol": 1e-7}
    found = optimize.minimize_scalar(loss, bounds=around, options=options)
    return found.x


def check(s, b, gamma) -> tuple[np.ndarray, np.ndarray, float]:
    """Return eigenvalues ``s``, squared coordinates ``b`` and ``gamma`` = d/n as arrays
    (d,) and a float.

    Raises:
        ValueError: unless all of ``s`` are positive, ``b`` has none below 0 and the sum
            1, and gamma > 0.
    """
    s = validate.positive("s", s)
    b = validate.array("b", b, s.shape)
    if b.min() < 0 or abs(b.sum() - 1) > 1e-8:
        raise ValueError(
            f"b has smallest entry {b.min():g} and sum {b.sum():g}: "
            "must be >= 0 and sum to 1"
        )
    return s, b, validate.number("gamma", gamma, 0, open_low=True)
