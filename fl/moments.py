r"""First and second moments of a table, gathered in one pass over its rows.

Of rows :math:`x_i` (d,) and labels :math:`y_i` are kept the number n, the means, and

.. math:: C=\sum(x_i-\bar x)(x_i-\bar x)^\top,\quad b=\sum(x_i-\bar x)(y_i-\bar y),\quad
          v=\sum(y_i-\bar y)^2,

sums about the means of the rows themselves: raw sums of squares lose their digits where a
mean is large. Memory is :math:`(d+1)^2` numbers for any n. Two disjoint sets of rows merge
by

.. math:: C=C_1+C_2+\frac{n_1n_2}{n_1+n_2}\,(\bar x_1-\bar x_2)(\bar x_1-\bar x_2)^\top

and likewise b and v; with the sign turned one is taken out of the whole, which gives the
training set of a fold without a second look at its rows.
"""

from collections.abc import Sequence
from copy import copy
from functools import reduce
from typing import NamedTuple

import numpy as np

from fl import validate


class Moments:
    """Moments of rows that come in chunks.

    Args:
        d: number of columns of the input.

    Raises:
        ValueError: unless ``d`` is a whole number >= 1.

    >>> import numpy as np
    >>> x = np.array([[1e8], [1e8 + 1], [1e8 + 2]])
    >>> seen = Moments(1).add(x[:1], [5.0]).add(x[1:], [6.0, 7.0])
    >>> seen.n, seen.C.tolist(), seen.b.tolist(), seen.v
    (3, [[2.0]], [2.0], 2.0)
    """

    def __init__(self, d: int):
        size = validate.count("d", d) + 1  # the label is the last of the columns
        self.n = 0
        self._means = np.zeros(size)
        self._sums = np.zeros((size, size))

    @property
    def mean(self) -> np.ndarray:
        """Means of the columns (d,)."""
        return self._means[:-1]

    @property
    def label_mean(self) -> float:
        """Mean of the label."""
        return float(self._means[-1])

    @property
    def C(self) -> np.ndarray:
        """Centred sums of products of the columns (d, d)."""
        inputs = slice(-1)
        return self._sums[inputs, inputs]

    @property
    def b(self) -> np.ndarray:
        """Centred sums of products of the columns with the label (d,)."""
        return self._sums[:-1, -1]

    @property
    def v(self) -> float:
        """Centred sum of squares of the label."""
        return float(self._sums[-1, -1])

    def add(self, X, y) -> "Moments":
        """Take in rows ``X`` (n, d) with labels ``y`` (n,), n >= 1; return itself.

        Raises:
            ValueError: for another shape, entries that are not finite, or so large that
                their squares are not.
        """
        d = len(self.mean)
        X = validate.array("X", X, ("n", d))
        y = validate.array("y", y, (len(X),))
        Z = np.column_stack([X, y])
        first = Z[0].copy()
        Z -= first  # a constant column becomes exactly zero
        shift = Z.mean(0)
        Z -= shift
        with np.errstate(over="ignore", invalid="ignore"):
            sums = Z.T @ Z
        return self._combine(len(Z), first + shift, sums, 1)

    def merge(self, other: "Moments") -> "Moments":
        """Return the moments of these rows and those of ``other``."""
        return copy(self)._combine(other.n, other._means, other._sums, 1)

    def without(self, other: "Moments") -> "Moments":
        """Return the moments of these rows without those of ``other``, which are among
        them.

        Raises:
            ValueError: if ``other`` has as many rows or more.
        """
        if other.n >= self.n:
            raise ValueError(f"other has {other.n} rows: must be fewer than {self.n}")
        return copy(self)._combine(other.n, other._means, other._sums, -1)

    def take(self, kept, by=1.0) -> "Moments":
        """Return the moments of the columns ``kept`` (k,), indices or a mask (d,), divided
        by ``by``, one number > 0 or (k,).

        Raises:
            ValueError: if ``by`` is not > 0.
        """
        d = len(self.mean)
        inputs = np.arange(d)[kept]
        chosen = np.append(inputs, d)
        scale = np.ones(len(chosen))
        scale[:-1] = validate.positive("by", by, np.shape(by))
        new = copy(self)
        new._means = self._means[chosen] / scale
        sums = self._sums[chosen][:, chosen]
        new._sums = sums / np.outer(scale, scale)
        return new

    def about(self, center: "Moments") -> "Moments":
        """Return these rows with their sums C (d, d), b (d,) and v about the means of
        ``center`` in place of their own.
        """
        gap = self._means - center._means
        moved = copy(self)
        moved._sums = self._sums + self.n * np.outer(gap, gap)
        return moved

    def _combine(self, n: int, means, sums, sign: int) -> "Moments":
        """Add other moments to these (``sign`` 1), or take them out (-1)."""
        validate.array("the means of the others", means, self._means.shape)
        before = self.n
        self.n += sign * n
        share = sign * n / max(self.n, 1)
        gap = means - self._means
        with np.errstate(over="ignore", invalid="ignore"):
            between = np.outer(before * share * gap, gap)
            change = sign * sums + between
        self._sums = self._sums + change
        self._means = self._means + share * gap
        if not np.isfinite(self._sums).all():
            raise ValueError("X, y: entries too large to be squared: divide them first")
        return self


def merged(parts: Sequence[Moments]) -> Moments:
    """Return the moments of the rows of all ``parts``."""
    return reduce(Moments.merge, parts)


class Spectrum(NamedTuple):
    r"""A table in the eigenbasis :math:`U` of its covariance :math:`C/n`.

    Args:
        lam: eigenvalues (r,) above rounding, falling.
        along: :math:`z_r=u_r^\top b/(n\sqrt{\lambda_r})` (r,).
        residual: sum of squares of the label that no direction explains; 0 if r = n - 1.
        dof: degrees of freedom m = n - 1.
        basis: eigenvectors (d, r).
    """

    lam: np.ndarray
    along: np.ndarray
    residual: float
    dof: int
    basis: np.ndarray

    @property
    def scores(self) -> np.ndarray:
        """Scores :math:`q_r=nz_r^2` (r,)."""
        n = self.dof + 1
        return n * self.along**2

    @property
    def statistics(self) -> tuple:
        """What the likelihood of an exponent takes: `lam`, `scores`, `residual`, `dof`."""
        return self.lam, self.scores, self.residual, self.dof

    @property
    def least_squares(self) -> np.ndarray:
        """Weights of least squares along the eigenvectors (r,)."""
        return self.along / np.sqrt(self.lam)


def spectral(moments: Moments) -> Spectrum:
    """Return what ``moments`` of at least two rows say in the eigenbasis of the inputs.

    An eigenvalue counts if it is above 1e-12 of the largest, or above 4 d rounding units
    if that is more; at most n - 1 of them do.

    Raises:
        ValueError: for fewer than two rows.
    """
    n = validate.count("moments.n", moments.n, minimum=2)
    dof = n - 1
    lam, U = np.linalg.eigh(moments.C / n)
    unit = validate.rounding(lam)
    least = max(1e-12, len(lam) * unit)
    above = lam > least * max(lam[-1], 0.0)
    r = min(above.sum(), dof)
    largest = slice(None, -r - 1, -1)
    lam = lam[largest].copy()
    U = U[:, largest]
    along = U.T @ moments.b / (n * np.sqrt(lam))
    explained = n * float(along @ along)
    residual = max(moments.v - explained, unit * moments.v)  # known to rounding
    if r == dof:
        residual = 0.0
    return Spectrum(lam, along, residual, dof, U)
