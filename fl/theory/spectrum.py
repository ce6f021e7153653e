r"""Spectrum of the learned features: the bulk of the sample and population covariance,
and both kinds of outliers.

The bulk comes from the fixed point of `fl.theory.spectrum_resolvent`, :math:`m(z) =
\alpha\sum_b\nu_b` at :math:`s = -\alpha z`. Outside it stand eigenvalues that grow with
the width, one for each independent block mean, and for some activations one of order
one. Derived in chapter `spectrum`.

Letters: ``alpha`` = n/p, ``delta`` = p/d, ``k`` blocks, ``g`` points.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.integrate import cumulative_trapezoid
from scipy.optimize import brentq

from fl import validate
from fl.theory.spectrum_features import Features
from fl.theory.spectrum_resolvent import follow, resolvent

LOST = 0.01  # of the mass of a law, at most


@dataclass(frozen=True, eq=False)
class Law:
    """A law on a grid.

    Attributes:
        x: (g,), the grid, rising.
        density: (g,).
        cdf: (g,), its integral, ending at one.
        mass: the integral before it was normalised, ideally one.
    """

    x: np.ndarray
    density: np.ndarray
    cdf: np.ndarray
    mass: float

    def distance(self, eigenvalues) -> float:
        """Return the Kolmogorov distance to the empirical law of ``eigenvalues``, shape
        (p,).

        Raises:
            ValueError: if they are not finite numbers.
        """
        values = np.sort(validate.array("eigenvalues", eigenvalues, ("p",)))
        law = np.interp(values, self.x, self.cdf, 0.0, 1.0)
        steps = np.linspace(0, 1, len(values) + 1)
        above = steps[1:] - law
        below = law - steps[:-1]
        return max(above.max(), below.max())

    def gap(self, other: "Law") -> float:
        """Return the Kolmogorov distance to the law ``other``."""
        x = np.union1d(self.x, other.x)
        mine = np.interp(x, self.x, self.cdf, 0.0, 1.0)
        others = np.interp(x, other.x, other.cdf, 0.0, 1.0)
        return np.abs(mine - others).max()

    def quantile(self, share: float) -> float:
        """Return the point below which a ``share`` of the mass lies."""
        return np.interp(share, self.cdf, self.x)


def sample_law(
    features: Features, alpha: float, delta: float, points: int = 200
) -> Law:
    r"""Return the bulk of the spectrum of :math:`\Phi^\top\Phi/n` in the limit.

    The density is :math:`\operatorname{Im} m(x + i\epsilon)/\pi` with :math:`\epsilon =
    10^{-5}x`. A first logarithmic grid finds the mass, a second puts ``points`` of its
    points where the mass is. The first grid reaches lower until the second misses less
    than `LOST` of the mass: strong spikes leave eigenvalues close to zero.

    Args:
        features: the conditional features.
        alpha: samples per neuron.
        delta: neurons per input.
        points: size of the grid, at least 20.

    Raises:
        ValueError: if ``alpha`` <= 1 (a part of the spectrum is then exactly zero),
            ``delta`` is not > 0, or more than `LOST` of the mass is off the grid.
        ArithmeticError: if the fixed point is not reached at some point of the grid.
    """
    alpha = validate.number("alpha", alpha, 1, open_low=True)
    points = validate.count("points", points, 20)
    for low in (1e-4, 1e-6, 1e-8):
        law = _law_from(low, features, alpha, delta, points)
        lost = 1 - law.mass
        if abs(lost) < LOST:
            return law
    raise ValueError(
        f"features have {lost:.1%} of the spectrum off a grid of {points} points: "
        f"must be less than {LOST:.0%}"
    )


def _law_from(
    low: float, features: Features, alpha: float, delta: float, points: int
) -> Law:
    """Return the law of `sample_law` from a first grid that starts at ``low`` times the
    mean eigenvalue.
    """
    half = points // 2
    variance = features.mu1**2 + features.mu2sq
    size = features.mean(variance) @ features.pi
    coarse = size * np.geomspace(low, 300, half)
    first = _law(features, coarse, alpha, delta)
    shares = (np.arange(points) + 0.5) / points
    quantiles = np.interp(shares, first.cdf, first.x)
    inside = (first.cdf > 1e-4) & (first.cdf < 1 - 1e-4)
    kept = first.x[inside]
    even = np.geomspace(kept[0] / 1.3, kept[-1] * 1.3, half)
    x = np.union1d(quantiles, even)
    return _law(features, x, alpha, delta)


def population_law(features: Features, delta: float, points: int = 200) -> Law:
    r"""Return the bulk of the spectrum of the population covariance of ``features``:
    many samples per neuron, ``delta`` neurons per input, on a grid of ``points``.

    Raises:
        ValueError: if ``delta`` is not in (0, 1]: with more neurons than inputs the law
            has atoms.
    """
    delta = validate.number("delta", delta, 0, 1, open_low=True)
    many = 1e8  # samples per neuron
    return sample_law(features, many, delta, points)


def averaged(features: Features) -> Features:
    r"""Return ``features`` with one row law: of each block the linear part and the
    noise have their mean squares over :math:`\kappa`, whatever :math:`\kappa`. The
    means stay.

    For one block this is the covariance of a single Gaussian.
    """
    one = np.ones_like(features.mu1)
    variance = features.mean(features.mu1**2)
    noise = features.mean(features.mu2sq)
    return replace(features, mu1=one * np.sqrt(variance), mu2sq=one * noise)


def gaussian_equivalent(features: Features) -> Features:
    r"""Return ``features`` as they would be if a Gaussian of the same covariance with
    the input could replace them, as after a small step: `averaged`, with means linear
    in :math:`\kappa` and what the means lose as noise.
    """
    kappa = features.kappa[:, None]
    mean = features.mean(features.mu0)
    slope = features.mean(kappa * features.mu0)
    linear = mean + kappa * slope
    rest = features.mu0 - linear
    lost = features.mean(rest**2)
    flat = averaged(features)
    noise = flat.mu2sq + lost
    return replace(flat, mu0=linear, mu2sq=noise)


def diverging_outliers(features: Features) -> np.ndarray:
    r"""Return the limits of :math:`\lambda/p` of the diverging eigenvalues of
    ``features``, shape (k,), falling.

    They are the eigenvalues of :math:`\sqrt{\pi_b\pi_{b'}}\,\mathbb
    E\mu_{0b}\mu_{0b'}`, for the sample covariance and the population covariance alike.
    """
    means = np.sqrt(features.pi) * features.mu0
    weighted = features.weight * means.T
    moment = weighted @ means
    return np.linalg.eigvalsh(moment)[::-1]


def bulk_of(eigenvalues, features: Features) -> np.ndarray:
    """Return the ``eigenvalues`` (p,), falling, without the diverging ones, of which
    there are as many as the rank of the means of ``features``.
    """
    diverging = diverging_outliers(features) > 1e-9
    return eigenvalues[diverging.sum() :]


def outlier_determinant(
    features: Features, z, alpha: float, delta: float
) -> np.ndarray:
    r"""Return the determinant whose zeros outside the bulk are the outliers of order
    one, at each ``z``.

    .. math:: \det\bigl(I + \alpha\delta\,\tilde N(z)\operatorname{diag}\nu(z)\bigr),
              \quad \tilde N = N - C^\top M^+ C,

    with :math:`M, C, N` the averages of :math:`\mu_0\mu_0^\top, \kappa\mu_0\mu_1^\top,
    \kappa^2\mu_1\mu_1^\top` over :math:`1+\chi`.

    Args:
        features: the conditional features.
        z: real spectral arguments, a number or (g,).
        alpha: samples per neuron.
        delta: neurons per input.

    Returns:
        Shape (g,); NaN inside the bulk, where the determinant means nothing.

    Raises:
        ValueError: if ``z`` is not finite, or ``alpha`` or ``delta`` is not > 0.
    """
    z = validate.array("z", np.atleast_1d(z), ("g",))
    above = z + 1e-6j * np.abs(z)
    near = resolvent(features, above, alpha, delta)
    path = near.s.real[None]
    point = follow(features, path, alpha, delta, near.x.real)
    mu0 = features.mu0
    channel = features.kappa[:, None] * features.mu1

    def average(left, right):  # times alpha
        return np.einsum("gq,qb,qc->gbc", point.weight, left, right)

    M, C = average(mu0, mu0), average(mu0, channel)
    inverse = np.linalg.pinv(M, rcond=1e-10, hermitian=True)
    explained = C.swapaxes(1, 2) @ inverse @ C
    reduced = average(channel, channel) - explained
    nu = point.nu[:, None, :]
    strength = delta * reduced * nu
    eye = np.eye(len(features.pi))
    value = np.linalg.det(eye + strength)
    flat = np.abs(near.nu.imag) < 1e-3 * np.abs(near.nu.real)
    outside = point.converged & flat.all(axis=1)
    return np.where(outside, value, np.nan)


def order_one_outliers(
    features: Features, alpha: float, delta: float, window: tuple[float, float]
) -> np.ndarray:
    r"""Return the zeros of `outlier_determinant` above the bulk, rising; maybe none.

    The determinant is scanned on 60 points; a zero needs the fixed point to stand at
    every point above it. Where :math:`\mu_1(\kappa)` is unbounded the bulk has no edge,
    and nothing stands outside it.

    Args:
        features: the conditional features.
        alpha: samples per neuron.
        delta: neurons per input.
        window: where to look, from and to.

    Raises:
        ValueError: if the window is empty, or the slope ``mu1`` still grows where the
            rule for kappa ends.
    """
    low, high = validate.positive("window", window, (2,))
    if low >= high:
        raise ValueError(f"window = {window!r}: must be rising")
    _refuse_unbounded(features)

    def determinant(z):
        return outlier_determinant(features, z, alpha, delta).squeeze()

    z = np.linspace(low, high, 60)
    sign = np.sign(determinant(z))
    inside = np.flatnonzero(np.isnan(sign))
    first = inside[-1] + 1 if len(inside) else 0
    z, sign = z[first:], sign[first:]
    changes = np.flatnonzero(np.diff(sign))
    roots = [brentq(determinant, z[i], z[i + 1]) for i in changes]
    return np.array(roots)


def _refuse_unbounded(features: Features) -> None:
    far = np.abs(features.kappa) / np.abs(features.kappa).max()
    slope = np.abs(features.mu1).max(axis=1)
    end = slope[far > 0.6].max()
    if end > 1.3 * slope[far <= 0.6].max():
        raise ValueError(
            f"features have a slope mu1 = {end:.3g} that grows with kappa: must be bounded"
        )


def _law(features: Features, x: np.ndarray, alpha: float, delta: float) -> Law:
    near = x * (1 + 1e-5j)
    point = resolvent(features, near, alpha, delta)
    if not point.converged.all():
        missed = x[~point.converged]
        raise ArithmeticError(f"the fixed point was not reached at x = {missed}")
    trace = point.nu.sum(axis=1)
    density = alpha * trace.imag / np.pi
    cdf = cumulative_trapezoid(density, x, initial=0.0)
    mass = cdf[-1]
    return Law(x, density, cdf / mass, mass)
