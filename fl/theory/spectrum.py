r"""Spectrum of the learned features: the bulk of the sample and population covariance,
and the outliers.

The bulk comes from the fixed point of `fl.theory.spectrum_resolvent`, :math:`m(z) =
\alpha\sum_b\nu_b` at :math:`s = -\alpha z`. Outside it stand eigenvalues that grow with
the width, one for each independent block mean. Derived in chapter `spectrum`. The
population covariance is that of very many samples per neuron, ``alpha`` = 1e8.

Letters: ``alpha`` = n/p, ``delta`` = p/d, ``k`` blocks, ``g`` points.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.integrate import cumulative_trapezoid

from fl import validate
from fl.theory.spectrum_features import Features
from fl.theory.spectrum_resolvent import resolvent

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


def sample_law(
    features: Features, alpha: float, delta: float, points: int = 200
) -> Law:
    r"""Return the bulk of the spectrum of :math:`\Phi^\top\Phi/n` in the limit.

    The density is :math:`\operatorname{Im} m(x + i\epsilon)/\pi` with :math:`\epsilon =
    10^{-5}x`. A first logarithmic grid finds the mass, a second puts ``points`` of its
    points where the mass is. The first grid reaches lower until the second misses less
    than `LOST` of the mass: strong spikes leave eigenvalues close to zero.

    For ``delta`` > 1 the population covariance of one block has an atom of mass
    1 - 1/delta, the directions that hold noise only. No grid resolves an atom: there
    ``alpha`` has to stay moderate.

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
        f"must be less than {LOST:.0%} (an atom of mass 1 - 1/delta, delta > 1 with a "
        "large alpha, cannot be resolved)"
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


def _law(features: Features, x: np.ndarray, alpha: float, delta: float) -> Law:
    near = x * (1 + 1e-5j)
    density = resolvent(features, near, alpha, delta).trace.imag / np.pi
    cdf = cumulative_trapezoid(density, x, initial=0.0)
    mass = cdf[-1]
    return Law(x, density, cdf / mass, mass)
