r"""Numerical tools that belong to no theorem: matrix powers, Gaussian expectations,
Hermite coefficients, angles.

Hermite polynomials are the probabilists' :math:`He_k` (leading coefficient 1). The
normalised coefficients are :math:`c_k = \mathbb E[f(z)\,He_k(z)]/\sqrt{k!}` with
:math:`z\sim N(0,1)`, so that :math:`\mathbb E f(z)^2 = \sum_k c_k^2`.
"""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from scipy import linalg

from fl import validate


def psd_power(S, p: float, rcond: float | None = None) -> np.ndarray:
    r"""Return :math:`S^p` for a symmetric PSD ``S`` of shape (d, d).

    Eigenvalues below ``rcond`` times the largest count as zero and stay zero for every
    ``p``, so ``p = -1`` is the pseudo-inverse and ``p = 0`` the projection on the
    range. By default ``rcond`` is 1e-12, or 4 d times the rounding unit of the type of
    ``S`` if that is more: a covariance computed in single precision has no smaller
    eigenvalues than that.

    >>> psd_power([[4.0, 0.0], [0.0, 0.0]], -0.5).tolist()
    [[0.5, 0.0], [0.0, 0.0]]

    Raises:
        ValueError: if ``S`` is not PSD or ``p`` is not finite.
    """
    p = validate.number("p", p)
    values, vectors = np.linalg.eigh(validate.psd("S", S))
    if rcond is None:
        rcond = _vanishing(S)
    largest = max(values[-1], 0.0)
    kept = values > rcond * largest
    powers = np.zeros_like(values)
    powers[kept] = values[kept] ** p
    return (vectors * powers) @ vectors.T


def positive_definite(name: str, S) -> np.ndarray:
    """Return ``S`` (d, d), called ``name`` in the error, as a float64 matrix.

    Raises:
        ValueError: unless it is symmetric and has no eigenvalue that is zero, or that
            `psd_power` counts as zero.
    """
    S = validate.psd(name, S)
    low, high = np.linalg.eigvalsh(S)[[0, -1]]
    if low <= _vanishing(S) * high:
        raise ValueError(
            f"{name} is singular, its eigenvalues run from {low:g} to {high:g}: must be "
            "positive definite, with a condition number below 1e12"
        )
    return S


def _vanishing(S) -> float:
    """Return below which share of the largest an eigenvalue of ``S`` counts as zero."""
    return max(1e-12, len(S) * validate.rounding(S))


def raised(values, p: float) -> np.ndarray:
    """Return ``values`` > 0 to the power ``p``, if floating point holds all of them.

    Raises:
        ValueError: if ``p`` is not finite, or a power overflows or vanishes.
    """
    p = validate.number("p", p)
    with np.errstate(over="ignore", under="ignore"):
        found = np.asarray(values, float) ** p
    if not (np.isfinite(found).all() and found.all()):
        raise ValueError(
            f"p = {p:g}: must leave the powers of the eigenvalues within floating point"
        )
    return found


TINY = np.finfo(float).tiny
_legendre = cache(np.polynomial.legendre.leggauss)


def gaussian_rule(
    kinks: Sequence[float] = (), panels: int = 24, order: int = 40, halvings: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    r"""Return nodes and weights, both (K,), of a quadrature for the normal law.

    :math:`\sum_k w_kf(x_k)=\mathbb E f(z)`, :math:`z\sim N(0,1)`: composite
    Gauss-Legendre with ``panels`` pieces of [-12, 12], cut at ``kinks``, then each cut in
    two ``halvings`` times, and ``order`` nodes in each. Each piece is smooth, so ReLU, the
    absolute value and the softplus of slope 10 come out to rounding, which Gauss-Hermite
    nodes do not reach.
    """
    inner = [k for k in kinks if -12 < k < 12]
    even = np.linspace(-12, 12, panels + 1)
    cuts = np.unique(np.concatenate([even, inner]))
    for _ in range(halvings):
        middles = (cuts[1:] + cuts[:-1]) / 2
        cuts = np.sort([*cuts, *middles])
    left = cuts[:-1, None]
    right = cuts[1:, None]
    x, w = _legendre(order)
    middle = (left + right) / 2
    half = (right - left) / 2
    nodes = middle + half * x
    weights = half * w
    density = np.exp(-(nodes**2) / 2)
    density /= np.sqrt(2 * np.pi)
    weights *= density
    return nodes.ravel(), weights.ravel()


def resolving_rule(f: Callable, kinks: Sequence[float] = ()) -> tuple:
    """Return the coarsest `gaussian_rule` cut at ``kinks`` that resolves ``f``, whose many
    outputs are (..., K) on K nodes.

    Raises:
        ValueError: if finer and finer rules do not agree to 1e-9 of the mean of the
            absolute value, or f is not finite.
    """
    before, mean = None, np.nan
    for halvings in range(7):
        rule = gaussian_rule(kinks, halvings=halvings)
        with np.errstate(over="ignore", invalid="ignore"):
            values = f(rule[0])
            last, mean = mean, values @ rule[1]
            size = abs(values) @ rule[1]
            gap = abs(mean - last)
            close = gap <= 1e-9 * size + TINY
        if np.all(close):
            return before
        before = rule
    raise ValueError(
        f"f: its Gaussian mean is not resolved by {rule[0].size} nodes: it must be finite, "
        "smooth between its kinks, and of a scale that they resolve"
    )


def gaussian_mean(f: Callable, kinks: Sequence[float] = ()) -> float:
    r"""Return :math:`\mathbb E f(z)` for a standard normal ``z``; ``kinks`` are the
    points where ``f`` is not smooth.

    >>> bool(abs(gaussian_mean(np.abs, kinks=[0.0]) - np.sqrt(2 / np.pi)) < 1e-14)
    True

    Raises:
        ValueError: as `resolving_rule`.
    """
    nodes, weights = resolving_rule(f, kinks)
    mean = weights @ f(nodes)
    return float(mean)


def hermite_coefficients(
    f: Callable, degree: int, kinks: Sequence[float] = ()
) -> np.ndarray:
    r"""Return the normalised coefficients :math:`c_0..c_{degree}` of ``f``.

    Shape (``degree`` + 1,); ``kinks`` are the points where ``f`` is not smooth.

    >>> square = hermite_coefficients(lambda z: z**2, 3)  # 1 + sqrt(2) He_2/sqrt(2)
    >>> np.abs(square).round(6).tolist()
    [1.0, 0.0, 1.414214, 0.0]

    Raises:
        ValueError: if ``degree`` is not a whole number >= 0, or as `resolving_rule`.
    """
    degree = validate.count("degree", degree, minimum=0)

    def table(z):
        rows = [f(z), z * f(z)]
        for k in range(1, degree):  # He_k / sqrt(k!), which does not overflow
            before = np.sqrt(k) * rows[k - 1]
            step = z * rows[k] - before
            rows.append(step / np.sqrt(k + 1))
        return np.stack(rows[: degree + 1])

    nodes, weights = resolving_rule(table, kinks)
    return table(nodes) @ weights


def hermite_erf(degree: int, tau: float = 1.0) -> np.ndarray:
    r"""Return the normalised coefficients of :math:`\mathrm{erf}(\tau z)`.

    .. math:: c_{2m+1} = \frac{2\tau}{\sqrt{\pi(1+2\tau^2)}}
              \Bigl(\frac{-2\tau^2}{1+2\tau^2}\Bigr)^m
              \frac{(2m-1)!!}{\sqrt{(2m+1)!}},\qquad c_{2m}=0.

    In closed form, shape (``degree`` + 1,), for a scale ``tau`` > 0.

    Raises:
        ValueError: if ``degree`` or ``tau`` is out of range.
    """
    c, tau = _no_coefficients(degree, tau)
    sine = np.sin(np.arctan(np.sqrt(2) * tau))  # the root of 2 tau^2 / (1 + 2 tau^2)
    k = 2.0 * np.arange(1, (degree + 1) // 2)
    root = np.sqrt(k * (k + 1))
    ratios = (1 - k) * sine**2 / root
    first = sine * np.sqrt(2 / np.pi)
    odd = np.cumprod([first, *ratios])
    c[1::2] = odd[: len(c) // 2]
    return c


def hermite_abs(degree: int, tau: float = 1.0) -> np.ndarray:
    r"""Return the normalised coefficients of :math:`|\tau z|`.

    .. math:: c_0=\tau\sqrt{2/\pi},\qquad
              c_{2m}=c_0\,(-1)^{m-1}\frac{(2m-3)!!}{\sqrt{(2m)!}},\qquad c_{2m+1}=0.

    In closed form, shape (``degree`` + 1,), for a scale ``tau`` > 0.

    Raises:
        ValueError: if ``degree`` or ``tau`` is out of range.
    """
    c, tau = _no_coefficients(degree, tau)
    k = 2.0 * np.arange(1, degree // 2 + 1)
    root = np.sqrt(k * (k - 1))
    ratios = (3 - k) / root
    first = tau * np.sqrt(2 / np.pi)
    c[::2] = np.cumprod([first, *ratios])
    return c


def hermite_relu(degree: int, tau: float = 1.0) -> np.ndarray:
    r"""Return the normalised coefficients of :math:`\max(\tau z, 0)`.

    Half of :math:`\tau z+|\tau z|`; shape (``degree`` + 1,), for a scale ``tau`` > 0.

    >>> hermite_relu(3).round(6).tolist()  # 1/sqrt(2 pi), 1/2, 1/(2 sqrt(pi)), 0
    [0.398942, 0.5, 0.282095, 0.0]
    """
    c = hermite_abs(degree, tau) / 2
    c[1:2] = tau / 2
    return c


def _no_coefficients(degree: int, tau: float) -> tuple[np.ndarray, float]:
    """Return zeros (degree + 1,) and tau, both arguments checked."""
    c = np.zeros(validate.count("degree", degree, minimum=0) + 1)
    return c, validate.number("tau", tau, 0, open_low=True)


def subspace_distance(A, B) -> float:
    """Return the sine of the largest principal angle between the column spaces of ``A``
    (d, k) and ``B`` (d, l).

    0 if one space contains the other, 1 if some direction of the smaller is orthogonal
    to the larger.

    Raises:
        ValueError: if the numbers of rows differ or a matrix is zero.
    """
    A = validate.array("A", A, ("d", "k"))
    B = validate.array("B", B, ("d", "l"))
    rows = len(B)
    if rows != len(A):
        raise ValueError(f"B has {rows} rows: must have as many as A, {len(A)}")
    for name, M in [("A", A), ("B", B)]:
        if not M.any():
            raise ValueError(f"{name} is zero: it must span at least one direction")
    largest = linalg.subspace_angles(A, B)[0]
    return float(np.sin(largest))


def log_steps(last: int, number: int) -> np.ndarray:
    """Return at most ``number`` distinct whole steps from 1 to ``last``, log-spaced,
    both ends included.

    >>> log_steps(100, 5).tolist()
    [1, 3, 10, 32, 100]

    Raises:
        ValueError: if ``last`` < 1 or ``number`` < 2.
    """
    last = validate.count("last", last)
    number = validate.count("number", number, minimum=2)
    steps = np.geomspace(1, last, number)
    return np.unique(np.rint(steps).astype(int))


def standard_error(values, dim: str = "seed"):
    """Return the standard error of the mean of labelled ``values`` over ``dim``.

    From the sample standard deviation, one degree of freedom off.
    """
    number = values.sizes[dim]
    return values.std(dim, ddof=1) / np.sqrt(number)


def worst_cell(score, *others) -> tuple[dict, list[float]]:
    """Return the labels of the largest entry of ``score`` and what stands there.

    Args:
        score: labelled array, without NaN; the larger, the worse.
        others: labelled arrays with the dimensions of ``score``.

    Returns:
        The coordinates of the entry, and the entries of ``score`` and of each of
        ``others`` in that very cell.
    """
    where = score.argmax(...)
    cells = [array[where] for array in (score, *others)]
    labels = cells[0].coords.items()
    values = [float(cell) for cell in cells]
    return {name: label.item() for name, label in labels}, values
