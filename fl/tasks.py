r"""Tasks: an input law, a teacher, and label noise, checked when they are made.

An input is :math:`x = \Sigma^{1/2} z` with :math:`z \sim N(0, I_d)`; :math:`\Sigma` has
the eigenvalues of a `Spectrum` and, unless a rotation is given, the coordinate axes as
eigenvectors. A `Teacher` labels it with :math:`y = \sum_k f(\beta_k^\top x) +
\text{noise}`. The signal-to-noise ratio is a ratio of standard deviations: ``snr =
sd(signal) / sd(noise)``.

Samples stand in columns: ``X`` is (d, n), ``y`` is (n,).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fl import validate
from fl.links import LINKS, Link


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
        low, high = values.min(), values.max()
        if low < 0 or high == 0:
            raise ValueError(
                f"eigenvalues has entries from {low:g} to {high:g}: all >= 0, one > 0"
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
        r"""Return :math:`\Sigma^p`, shape (d, d); null directions stay null for all ``p``.

        Raises:
            ValueError: if ``p`` is not a finite number.
        """
        p, U = validate.number("p", p), self.rotation
        powers, alive = np.zeros(self.d), self.eigenvalues > 0
        powers[alive] = self.eigenvalues[alive] ** p
        return np.diag(powers) if U is None else (U * powers) @ U.T

    def inputs(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return ``n`` samples as the columns of a (d, n) array, drawn by ``rng``.

        Raises:
            ValueError: if ``n`` is not a whole number >= 1, or ``rng`` no generator.
        """
        n, rng = validate.count("n", n), validate.generator("rng", rng)
        X = np.sqrt(self.eigenvalues)[:, None] * rng.standard_normal((self.d, n))
        return X if self.rotation is None else self.rotation @ X

    def rotated(self, rng: np.random.Generator) -> "Spectrum":
        """Return the same eigenvalues on Haar-random eigenvectors, drawn by ``rng``.

        Raises:
            ValueError: if ``rng`` is no generator.
        """
        from scipy.stats import ortho_group  # takes a second, and few need it

        rng, U = validate.generator("rng", rng), np.eye(1)
        if self.d > 1:
            U = ortho_group.rvs(self.d, random_state=rng)
        return Spectrum(self.eigenvalues, U)


def two_level(top: float, n_top: int, bottom: float, n_bottom: int) -> Spectrum:
    """Return ``n_top`` eigenvalues ``top``, then ``n_bottom`` eigenvalues ``bottom``.

    Raises:
        ValueError: if a level is not > 0 or a number is < 1.
    """
    top = validate.number("top", top, 0, open_low=True)
    bottom = validate.number("bottom", bottom, 0, open_low=True)
    numbers = [validate.count("n_top", n_top), validate.count("n_bottom", n_bottom)]
    return Spectrum(np.repeat([top, bottom], numbers))


def power_law(d: int, a: float) -> Spectrum:
    r"""Return ``d`` eigenvalues :math:`\lambda_r = r^{-a}` with the exponent ``a``.

    >>> power_law(3, 1.0).eigenvalues.round(3).tolist()
    [1.0, 0.5, 0.333]

    Raises:
        ValueError: if ``d`` < 1 or ``a`` is not a finite number.
    """
    d, a = validate.count("d", d), validate.number("a", a)
    return Spectrum(np.arange(1, d + 1, dtype=float) ** -a)


def log_spaced(d: int, ratio: float) -> Spectrum:
    """Return ``d`` log-spaced eigenvalues with mean 1, the largest ``ratio`` times the
    smallest.

    Raises:
        ValueError: for ``ratio`` < 1 or ``d`` < 1.
    """
    ratio, d = validate.number("ratio", ratio, 1), validate.count("d", d)
    values = np.geomspace(ratio, 1.0, d)
    return Spectrum(values / values.mean())


def from_data(X) -> Spectrum:
    """Return spectrum and eigenvectors of the uncentred second moment of data, falling.

    The samples are the columns of ``X`` (d, n). Eigenvalues below 1e-12 of the largest
    are rounding and count as zero: with fewer samples than dimensions, a negative power
    must not blow them up.

    Raises:
        ValueError: if ``X`` is not a finite matrix.
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
            raise ValueError("directions has a row of zeros: all must be non-zero")
        object.__setattr__(self, "directions", directions)
        if not isinstance(self.link, Link):
            link = LINKS[validate.choice("link", self.link, LINKS)]
            object.__setattr__(self, "link", link)

    def __call__(self, X) -> np.ndarray:
        """Return the noise-free labels (n,) of the columns of ``X`` (d, n)."""
        return self.link(self.directions @ X).sum(axis=0)


def _is_flat(values) -> bool:
    try:
        return np.ndim(values) == 1
    except ValueError:  # ragged: leave the message to the check
        return False


class Batch(NamedTuple):
    """Inputs ``X`` (d, n), labels ``y`` (n,) and the same without noise, ``clean``."""

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
        B, d = self.teacher.directions, self.spectrum.d
        if B.shape[1] != d:
            raise ValueError(
                f"teacher has directions of length {B.shape[1]}: must be d = {d}"
            )
        if not (isinstance(self.snr, float) and self.snr == np.inf):  # no noise
            validate.number("snr", self.snr, 0, open_low=True)
        cross = B @ self.spectrum.power(1) @ B.T
        variances = np.diag(cross)
        if np.abs(cross - np.diag(variances)).max() > 1e-10 * np.abs(cross).max():
            raise ValueError(
                "teacher has directions that are correlated under the spectrum: must be "
                "uncorrelated"
            )
        if variances.min() <= 0:
            raise ValueError(
                "teacher has a direction in the null space of the spectrum: it must see "
                "some variance"
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
        """Return ``n`` labelled samples; ``rng`` draws first the inputs, then the noise.

        Raises:
            ValueError: if ``n`` is not a whole number >= 1, or ``rng`` no generator.
        """
        X = self.spectrum.inputs(n, rng)
        clean = self.teacher(X)
        noise = np.sqrt(self.noise_variance) * rng.standard_normal(n)
        return Batch(X, clean + noise, clean)


def spectral_task(
    spectrum: Spectrum, r: float, link: Link | str = "linear", noise: float = 0.0
) -> Task:
    r"""Return a task whose teacher is one unit direction, aligned with the spectrum.

    Args:
        spectrum: of the inputs, eigenvalues s (d,).
        r: the squared eigen-coordinates of the teacher go like :math:`s^r`; r = 0 spreads
            it evenly.
        link: of the teacher.
        noise: variance of the label noise.

    >>> task = spectral_task(two_level(4.0, 1, 1.0, 1), r=-1)
    >>> task.teacher.directions.round(3).tolist()
    [[0.447, 0.894]]

    Raises:
        ValueError: for a spectrum with null directions, where a negative power has no
            meaning, or ``noise`` < 0.
    """
    s = validate.positive("eigenvalues", spectrum.eigenvalues)
    noise = validate.number("noise", noise, 0)
    weight = s ** validate.number("r", r)
    direction = np.sqrt(weight / weight.sum())
    if spectrum.rotation is not None:
        direction = spectrum.rotation @ direction
    teacher = Teacher(direction, link)
    clean = Task(spectrum, teacher)
    if noise == 0:
        return clean
    return Task(spectrum, teacher, np.sqrt(clean.signal_variance / noise))
