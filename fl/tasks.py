r"""Tasks: an input law, a teacher, and label noise, checked when they are made.

An input is :math:`x = \Sigma^{1/2} z` with :math:`z \sim N(0, I_d)`; :math:`\Sigma` has
the eigenvalues of a `Spectrum` and, unless a rotation is given, the coordinate axes as
eigenvectors. A `Teacher` labels it with :math:`y = \sum_k f(\beta_k^\top x) +
\text{noise}`. The signal-to-noise ratio is a ratio of standard deviations: ``snr =
sd(signal) / sd(noise)``.

Samples stand in columns: ``X`` is (d, n), ``y`` is (n,).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from scipy import special

from fl import numerics, validate


@dataclass(frozen=True)
class Link:
    """A scalar function with its derivative and the points where it is not smooth.

    ``exact(degree, tau)``, if given, returns the Hermite coefficients in closed form.
    """

    name: str
    f: Callable = field(repr=False)
    slope: Callable = field(repr=False)
    kinks: tuple[float, ...] = ()
    exact: Callable[[int, float], np.ndarray] | None = field(default=None, repr=False)

    def __call__(self, u):
        """Return the link at ``u``, elementwise."""
        return self.f(u)

    def hermite(self, degree: int, tau: float = 1.0) -> np.ndarray:
        r"""Return the normalised Hermite coefficients of :math:`z\mapsto f(\tau z)`,
        shape (degree + 1,).

        In closed form where the link has one, else by a quadrature cut at the kinks.

        Raises:
            ValueError: if ``degree`` < 0 or ``tau`` is not a finite number > 0.
        """
        tau = validate.number("tau", tau, 0, open_low=True)
        if self.exact is not None:
            return self.exact(degree, tau)
        return numerics.hermite_coefficients(
            lambda z: self.f(tau * z), degree, self._scaled_kinks(tau)
        )

    def moments(self, tau: float = 1.0) -> tuple[float, float, float]:
        r"""Return mean, variance and mean slope :math:`c_1 = \mathbb E f'(\tau z)` of
        the link at scale ``tau``.
        """
        tau = validate.number("tau", tau, 0, open_low=True)
        nodes, weights = numerics.gaussian_rule(self._scaled_kinks(tau))
        values = self.f(tau * nodes)
        mean = float(weights @ values)
        return (
            mean,
            float(weights @ (values - mean) ** 2),
            float(weights @ self.slope(tau * nodes)),
        )

    def __reduce__(self):
        # lambdas do not pickle; a named link travels to workers and into cache keys by
        # its name
        return (
            (_named_link, (self.name,))
            if LINKS.get(self.name) is self
            else super().__reduce__()
        )

    def slope_variance(self, tau: float = 1.0) -> float:
        r"""Return the variance of the derivative of :math:`z\mapsto f(\tau z)`, z ~
        N(0, 1).
        """
        tau = validate.number("tau", tau, 0, open_low=True)
        nodes, weights = numerics.gaussian_rule(self._scaled_kinks(tau))
        values = tau * self.slope(tau * nodes)
        return float(weights @ (values - weights @ values) ** 2)

    def _scaled_kinks(self, tau: float) -> list[float]:
        return [k / tau for k in self.kinks]


def _named_link(name: str) -> Link:
    return LINKS[name]


def _softplus10(u):
    return np.logaddexp(0.0, 10.0 * np.asarray(u, dtype=float))


LINKS = {
    link.name: link
    for link in [
        Link("linear", lambda u: u, np.ones_like),
        Link(
            "relu",
            lambda u: np.maximum(u, 0.0),
            lambda u: np.heaviside(u, 0.5),
            (0.0,),
            numerics.hermite_relu,
        ),
        Link("abs", np.abs, np.sign, (0.0,), numerics.hermite_abs),
        Link("tanh", np.tanh, lambda u: 1 - np.tanh(u) ** 2, (0.0,)),
        Link(
            "erf",
            special.erf,
            lambda u: 2 / np.sqrt(np.pi) * np.exp(-(u**2)),
            (),
            numerics.hermite_erf,
        ),
        Link("sin", np.sin, np.cos),
        Link("square", lambda u: u**2, lambda u: 2 * u),
        # log(1 + e^(10 u)), the link of [YN25]; it bends within 1/10 of the origin, so
        # the origin is a cut
        Link("softplus10", _softplus10, lambda u: 10 * special.expit(10 * u), (0.0,)),
    ]
}


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Eigenvalues of the input covariance, shape (d,), and optionally its eigenvectors,
    the columns of ``rotation``.

    Raises:
        ValueError: if an eigenvalue is negative or not finite, or the rotation is not
            orthogonal to 1e-8.
    """

    eigenvalues: np.ndarray
    rotation: np.ndarray | None = None

    def __post_init__(self):
        values = validate.array("eigenvalues", self.eigenvalues, ("d",))
        if values.min() < 0 or values.max() == 0:
            raise ValueError(
                f"eigenvalues has entries from {values.min():g} to {values.max():g}: all >= 0, one > 0"
            )
        # copies: the caller may change its arrays, a checked spectrum stays what it was
        object.__setattr__(self, "eigenvalues", values.copy())
        if self.rotation is not None:
            U = validate.array("rotation", self.rotation, (len(values), len(values)))
            gap = np.abs(U.T @ U - np.eye(len(values))).max()
            if gap > 1e-8:
                raise ValueError(
                    f"rotation has |U'U - I| = {gap:.1e}: must be orthogonal to 1e-8"
                )
            object.__setattr__(self, "rotation", U.copy())

    @property
    def d(self) -> int:
        """The input dimension."""
        return len(self.eigenvalues)

    def power(self, p: float) -> np.ndarray:
        r"""Return :math:`\Sigma^p`, shape (d, d); null directions stay null for every
        ``p``.
        """
        p = validate.number("p", p)
        U = np.eye(self.d) if self.rotation is None else self.rotation
        powers = np.where(
            self.eigenvalues > 0,
            np.where(self.eigenvalues > 0, self.eigenvalues, 1.0) ** p,
            0.0,
        )
        return (U * powers) @ U.T

    def inputs(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return ``n`` samples as the columns of a (d, n) array."""
        n, rng = validate.count("n", n), validate.generator("rng", rng)
        X = np.sqrt(self.eigenvalues)[:, None] * rng.standard_normal((self.d, n))
        return X if self.rotation is None else self.rotation @ X

    def rotated(self, rng: np.random.Generator) -> "Spectrum":
        """Return the same eigenvalues on Haar-random eigenvectors."""
        from scipy.stats import (
            ortho_group,
        )  # takes a second to import, and few processes need it

        rng = validate.generator("rng", rng)
        return Spectrum(
            self.eigenvalues,
            ortho_group.rvs(self.d, random_state=rng) if self.d > 1 else np.eye(1),
        )


def two_level(top: float, n_top: int, bottom: float, n_bottom: int) -> Spectrum:
    """Return ``n_top`` eigenvalues ``top`` followed by ``n_bottom`` eigenvalues
    ``bottom``.

    Raises:
        ValueError: if a level is not > 0 or a number is < 1.
    """
    top = validate.number("top", top, 0, open_low=True)
    bottom = validate.number("bottom", bottom, 0, open_low=True)
    numbers = [validate.count("n_top", n_top), validate.count("n_bottom", n_bottom)]
    return Spectrum(np.repeat([top, bottom], numbers))


def power_law(d: int, a: float) -> Spectrum:
    r"""Return the eigenvalues :math:`\lambda_r = r^{-a}`, r = 1..d.

    >>> power_law(3, 1.0).eigenvalues.round(3).tolist()
    [1.0, 0.5, 0.333]
    """
    d, a = validate.count("d", d), validate.number("a", a)
    return Spectrum(np.arange(1, d + 1, dtype=float) ** -a)


def log_spaced(d: int, ratio: float) -> Spectrum:
    """Return eigenvalues log-spaced from largest to smallest, ``ratio`` apart, with
    mean 1.

    Raises:
        ValueError: for ``ratio`` < 1.
    """
    values = np.geomspace(
        validate.number("ratio", ratio, 1), 1.0, validate.count("d", d)
    )
    return Spectrum(values / values.mean())


def from_data(X) -> Spectrum:
    """Return the spectrum and eigenvectors of the uncentred second moment of the
    columns of ``X`` (d, n), falling.

    Eigenvalues below 1e-12 of the largest are rounding and count as zero: with fewer
    samples than dimensions, a negative power must not blow them up.
    """
    X = validate.array("X", X, ("d", "n"))
    values, vectors = np.linalg.eigh(X @ X.T / X.shape[1])
    values = np.where(values > 1e-12 * values[-1], values, 0.0)
    return Spectrum(values[::-1], vectors[:, ::-1])


@dataclass(frozen=True, eq=False)
class Teacher:
    r"""A single- or multi-index teacher :math:`\sum_k f(\beta_k^\top x)`.

    ``directions`` holds one :math:`\beta_k` per row in input coordinates, shape (k, d);
    a single vector may be given as shape (d,). ``link`` is a name of `LINKS` or a
    `Link`.

    Raises:
        ValueError: for an unknown link name, a zero or a non-finite direction.
    """

    directions: np.ndarray
    link: Link | str = "linear"

    def __post_init__(self):
        rows = [self.directions] if _is_flat(self.directions) else self.directions
        directions = validate.array("directions", rows, ("k", "d")).copy()
        if not directions.any(axis=1).all():
            raise ValueError(
                "directions has a row of zeros: every row must be non-zero"
            )
        object.__setattr__(self, "directions", directions)
        if not isinstance(self.link, Link):
            object.__setattr__(
                self, "link", LINKS[validate.choice("link", self.link, LINKS)]
            )

    def __call__(self, X) -> np.ndarray:
        """Return the noise-free labels (n,) of the columns of ``X`` (d, n)."""
        return self.link(self.directions @ X).sum(axis=0)


def _is_flat(values) -> bool:
    try:
        return np.ndim(values) == 1
    except ValueError:  # ragged: leave the message to the check
        return False


class Batch(NamedTuple):
    """Inputs ``X`` (d, n), labels ``y`` (n,) and the labels without noise ``clean``
    (n,).
    """

    X: np.ndarray
    y: np.ndarray
    clean: np.ndarray


@dataclass(frozen=True, eq=False)
class Task:
    """A spectrum, a teacher and a signal-to-noise ratio (of standard deviations;
    ``inf`` means no noise).

    Raises:
        ValueError: if the dimensions differ, ``snr`` is not > 0, or the teacher's
            directions of a multi-index teacher are not uncorrelated under the spectrum
            (the signal's variance would not be a plain sum).
    """

    spectrum: Spectrum
    teacher: Teacher
    snr: float = np.inf

    def __post_init__(self):
        for name, kind in [("spectrum", Spectrum), ("teacher", Teacher)]:
            if not isinstance(getattr(self, name), kind):
                raise ValueError(
                    f"{name} = {getattr(self, name)!r}: must be a {kind.__name__}"
                )
        if self.teacher.directions.shape[1] != self.spectrum.d:
            raise ValueError(
                f"teacher has directions of length {self.teacher.directions.shape[1]}: must be d = {self.spectrum.d}"
            )
        if not (
            isinstance(self.snr, float) and self.snr == np.inf
        ):  # inf means no noise
            validate.number("snr", self.snr, 0, open_low=True)
        cross = (
            self.teacher.directions @ self.spectrum.power(1) @ self.teacher.directions.T
        )
        if np.abs(cross - np.diag(np.diag(cross))).max() > 1e-10 * np.abs(cross).max():
            raise ValueError(
                "teacher has directions that are correlated under the spectrum: must be uncorrelated"
            )
        if np.diag(cross).min() <= 0:
            raise ValueError(
                "teacher has a direction in the null space of the spectrum: it must see some variance"
            )

    @property
    def tau(self) -> np.ndarray:
        r"""Standard deviations of :math:`\beta_k^\top x`, shape (k,)."""
        B = self.teacher.directions
        return np.sqrt(np.einsum("kd,de,ke->k", B, self.spectrum.power(1), B))

    @property
    def signal_variance(self) -> float:
        """Variance of the noise-free label."""
        return sum(self.teacher.link.moments(t)[1] for t in self.tau)

    @property
    def noise_variance(self) -> float:
        """Variance of the label noise, ``signal_variance / snr**2``."""
        return self.signal_variance / self.snr**2

    def sample(self, n: int, rng: np.random.Generator) -> Batch:
        """Return ``n`` labelled samples; draws the inputs first, then the noise.

        Raises:
            ValueError: if ``n`` is not a whole number >= 1.
        """
        X = self.spectrum.inputs(n, rng)
        clean = self.teacher(X)
        return Batch(
            X, clean + np.sqrt(self.noise_variance) * rng.standard_normal(n), clean
        )


def spectral_task(
    spectrum: Spectrum, r: float, link: Link | str = "linear", noise: float = 0.0
) -> Task:
    r"""Return a task whose teacher is one unit direction with squared eigen-coordinates
    going like :math:`s^r`.

    r = 0 spreads the teacher evenly over the eigendirections; ``noise`` is the variance
    of the label noise.

    >>> spectral_task(two_level(4.0, 1, 1.0, 1), r=-1).teacher.directions.round(3).tolist()
    [[0.447, 0.894]]

    Raises:
        ValueError: for a spectrum with null directions, where a negative power has no
            meaning, or ``noise`` < 0.
    """
    s = validate.positive("eigenvalues", spectrum.eigenvalues)
    noise = validate.number("noise", noise, 0)
    weight = s ** validate.number("r", r)
    coordinates = np.sqrt(weight / weight.sum())
    teacher = Teacher(
        coordinates if spectrum.rotation is None else spectrum.rotation @ coordinates,
        link,
    )
    clean = Task(spectrum, teacher)
    if noise == 0:
        return clean
    return Task(spectrum, teacher, np.sqrt(clean.signal_variance / noise))
