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
from fl.theory.spectrum_resolvent import fixed_point, resolvent


@dataclass(frozen=True)
class Law:
    """A law on a grid ``x`` (g,): ``density``, ``cdf``, and ``mass``, the integral of
    the density, ideally one.
    """

    x: np.ndarray
    density: np.ndarray
    cdf: np.ndarray
    mass: float

    def distance(self, eigenvalues) -> float:
        """Return the Kolmogorov distance to the empirical law of ``eigenvalues``, shape
        (p,).
        """
        values = np.sort(validate.array("eigenvalues", eigenvalues, ("p",)))
        steps, law = (
            np.arange(len(values) + 1) / len(values),
            np.interp(values, self.x, self.cdf, 0.0, 1.0),
        )
        return float(max((steps[1:] - law).max(), (law - steps[:-1]).max()))


def sample_law(
    features: Features, alpha: float, delta: float, points: int = 200
) -> Law:
    r"""Return the bulk of the spectrum of :math:`\Phi^\top\Phi/n` in the limit.

    The density is :math:`\operatorname{Im} m(x + i\epsilon)/\pi` with :math:`\epsilon =
    10^{-5}x`. A first logarithmic grid finds the mass, a second puts ``points`` of its
    points where the mass is. How much of the mass the grid misses is the accuracy:
    below 4e-3 for the default, ``alpha`` >= 1.05 and ``delta`` <= 5.

    Raises:
        ValueError: if ``alpha`` <= 1 (a part of the spectrum is then exactly zero), or
            ``delta`` is not > 0.
        ArithmeticError: if the fixed point is not reached at some point of the grid.
    """
    alpha = validate.number("alpha", alpha, 1, open_low=True)
    validate.count("points", points, 20)
    size = (
        features.mean(features.mu1**2 + features.mu2sq) @ features.pi
    )  # mean eigenvalue of the bulk
    x = size * np.geomspace(1e-4, 300, points // 2)
    first = _law(features, x, alpha, delta)
    quantiles = np.interp((np.arange(points) + 0.5) / points, first.cdf, first.x)
    inside = (first.cdf > 1e-4) & (first.cdf < 1 - 1e-4)
    low, high = first.x[inside][0] / 1.3, first.x[inside][-1] * 1.3
    return _law(
        features,
        np.unique(np.concatenate([quantiles, np.geomspace(low, high, points // 2)])),
        alpha,
        delta,
    )


def population_law(features: Features, delta: float, points: int = 200) -> Law:
    r"""Return the bulk of the spectrum of the population covariance of the features:
    many samples per neuron.

    Raises:
        ValueError: if ``delta`` is not in (0, 1]: with more neurons than inputs the law
            has atoms.
    """
    delta = validate.number("delta", delta, 0, 1, open_low=True)
    return sample_law(features, 1e8, delta, points)


def averaged(features: Features) -> Features:
    r"""Return features with one row law, the :math:`\kappa`-average of the covariance:
    the mixture is dropped.

    For one block the average is again of the form of `Features`; it is what a single
    Gaussian would have.

    Raises:
        ValueError: for more than one block.
    """
    if len(features.pi) > 1:
        raise ValueError(f"features has {len(features.pi)} blocks: must have one")
    mu1 = np.sqrt(features.mean(features.mu1**2))[None]
    mu2sq = features.mean(features.mu2sq)[None]
    zero = np.zeros((1, 1))
    return Features(np.zeros(1), np.ones(1), zero, mu1, mu2sq, zero, features.pi)


def diverging_outliers(features: Features) -> np.ndarray:
    r"""Return the limits of :math:`\lambda/p` of the diverging eigenvalues, shape (k,),
    falling.

    They are the eigenvalues of :math:`\sqrt{\pi_b\pi_{b'}}\,\mathbb
    E\mu_{0b}\mu_{0b'}`, for the sample covariance and the population covariance alike.
    """
    root = np.sqrt(features.pi)
    return np.linalg.eigvalsh(
        np.outer(root, root) * features.mean(_outer(features.mu0, features.mu0))
    )[::-1]


def outlier_determinant(
    features: Features, z, alpha: float, delta: float
) -> np.ndarray:
    r"""Return the determinant whose zeros outside the bulk are the outliers of order
    one, at each real ``z`` (g,).

    .. math:: \det\bigl(I + \alpha\delta\,\tilde N(z)\operatorname{diag}\nu(z)\bigr),\quad
              \tilde N = N - C^\top M^+ C,

    with :math:`M, C, N` the averages of :math:`\mu_0\mu_0^\top, \kappa\mu_0\mu_1^\top,
    \kappa^2\mu_1\mu_1^\top` over :math:`1+\chi`. It is NaN inside the bulk, where it
    means nothing.
    """
    z = validate.array("z", np.atleast_1d(z), ("g",))
    near = resolvent(features, z + 1e-6j * np.abs(z), alpha, delta)
    point = fixed_point(
        features,
        near.s.real,
        alpha,
        delta,
        replace(near, V=near.V.real, nu=near.nu.real),
    )
    kappa, mu0, mu1 = features.kappa[:, None], features.mu0, features.mu1
    weight = point.D * features.weight
    pairs = [(mu0, mu0), (mu0, kappa * mu1), (kappa * mu1, kappa * mu1)]
    M, C, N = (np.tensordot(weight, _outer(a, b), 1) for a, b in pairs)
    reduced = N - C.swapaxes(1, 2) @ np.linalg.pinv(M, rcond=1e-10, hermitian=True) @ C
    value = np.linalg.det(
        np.eye(len(features.pi)) + alpha * delta * reduced * point.nu[:, None, :]
    )
    outside = point.converged & (
        np.abs(near.nu.imag) < 1e-3 * np.abs(near.nu.real)
    ).all(axis=1)
    return np.where(outside, value, np.nan)


def order_one_outliers(
    features: Features, alpha: float, delta: float, window: tuple[float, float]
) -> np.ndarray:
    r"""Return the zeros of `outlier_determinant` in ``window``, above the bulk, rising;
    maybe none.

    The determinant is scanned on 60 points; a zero needs the fixed point to stand at
    every point above it. Where :math:`\mu_1(\kappa)` is unbounded the bulk has no edge:
    cut the rule for :math:`\kappa`, and the zero is an outlier up to the mass cut off.

    Raises:
        ValueError: if the window is empty.
    """
    low, high = validate.positive("window", window, (2,))
    if low >= high:
        raise ValueError(f"window = {window!r}: must be rising")
    z = np.linspace(low, high, 60)
    values = outlier_determinant(features, z, alpha, delta)
    inside = np.flatnonzero(np.isnan(values))
    first = inside[-1] + 1 if len(inside) else 0
    crossings = first + np.flatnonzero(
        np.sign(values[first:-1]) != np.sign(values[first + 1 :])
    )
    return np.array(
        [
            brentq(
                lambda x: outlier_determinant(features, x, alpha, delta)[0],
                *z[i : i + 2],
            )
            for i in crossings
        ]
    )


def _outer(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[:, :, None] * b[:, None, :]


def _law(features: Features, x: np.ndarray, alpha: float, delta: float) -> Law:
    point = resolvent(features, x * (1 + 1e-5j), alpha, delta)
    if not point.converged.all():
        raise ArithmeticError(
            f"the fixed point was not reached at x = {x[~point.converged]}"
        )
    density = alpha * point.nu.sum(axis=1).imag / np.pi
    cdf = cumulative_trapezoid(density, x, initial=0.0)
    return Law(x, density, cdf / cdf[-1], float(cdf[-1]))
