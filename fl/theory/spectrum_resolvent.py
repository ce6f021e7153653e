r"""Resolvent of the feature covariance: a fixed point of ``k x k`` matrices and one
Gaussian average.

For ``n`` samples and ``p`` neurons on ``d`` inputs let :math:`\alpha = n/p`,
:math:`\delta = p/d`, and :math:`A = sI + \Phi^\top\Phi/p`. Given :math:`\kappa_i`, row
``i`` of :math:`\Phi` has the covariance :math:`\mu_1\mu_1^\top\circ W_0W_0^\top +
\operatorname{diag}\mu_2^2`, block by block. Leaving one row out, then one neuron,
closes on :math:`\nu_b = \frac1p\operatorname{tr}(A^{-1})_{bb}` and :math:`V_{bb'} =
\frac1p\operatorname{tr}(W_0W_0^\top)_{bb'}(A^{-1})_{b'b}`:

.. math:: \chi(\kappa) = \mu_1^\top V\mu_1 + \mu_2^2\cdot\nu,\quad
          \hat V = \alpha\,\mathbb E\frac{\mu_1\mu_1^\top}{1+\chi},\quad
          \hat\nu = \alpha\,\mathbb E\frac{\mu_2^2}{1+\chi},

.. math:: V = (I + \delta P\hat V)^{-1}P,\quad P = \operatorname{diag}\nu,\quad
          \nu_b(s + \hat\nu_b) + (V\hat V)_{bb} = \pi_b .

The Marchenko-Pastur law of :math:`W_0W_0^\top` is already inside the last line: no
matrix is sampled. All of it is derived in chapter `spectrum`; the points ``s`` are
solved together, shape (g,). A pair of a ``k x k`` matrix and a ``k`` vector travels as
one row of length ``m = k * k + k``, the matrix first.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from fl import validate
from fl.theory.spectrum_features import Features

RELATIVE_ERROR = 1e-11  # of a solved point; what is left is the rule for kappa


@dataclass(frozen=True, eq=False)
class FixedPoint:
    """Solution at ``g`` points.

    Attributes:
        features: the conditional features.
        s: (g,), minus the spectral argument, or the penalty.
        alpha: (g,), samples per neuron.
        delta: (g,), neurons per input.
        x: (g, m), the pair ``V``, ``nu``.
        converged: (g,), where the last Newton step was below `RELATIVE_ERROR`.
    """

    features: Features
    s: np.ndarray
    alpha: np.ndarray
    delta: np.ndarray
    x: np.ndarray
    converged: np.ndarray | bool = False

    @cached_property
    def D(self) -> np.ndarray:
        r""":math:`1/(1+\chi)` on the rule for :math:`\kappa`, shape (g, q)."""
        chi = self.x @ self.features.products.T
        return 1 / (1 + chi)

    @cached_property
    def weight(self) -> np.ndarray:
        r"""The weights :math:`\alpha D` of an average over samples, shape (g, q)."""
        D = self.D * self.features.weight
        return self.alpha[:, None] * D

    @cached_property
    def hats(self) -> np.ndarray:
        """The pair ``V_hat``, ``nu_hat``, shape (g, m)."""
        return self.weight @ self.features.products

    @property
    def trace(self) -> np.ndarray:
        r"""The limit of :math:`\frac1p\operatorname{tr}(\Phi^\top\Phi/n-z)^{-1}`,
        shape (g,); eigenvalues that diverge do not count in it.

        Raises:
            ArithmeticError: if the fixed point was not reached at some point.
        """
        if not np.all(self.converged):
            z = -self.s / self.alpha
            missed = z[~self.converged]
            raise ArithmeticError(f"the fixed point was not reached at z = {missed}")
        trace = self.nu.sum(axis=1)
        return self.alpha * trace

    @property
    def V(self) -> np.ndarray:
        """The matrices, shape (g, k, k)."""
        return _split(self.x)[0]

    @property
    def nu(self) -> np.ndarray:
        """The traces, shape (g, k)."""
        return _split(self.x)[1]


def fixed_point(features: Features, s, alpha, delta) -> FixedPoint:
    r"""Solve the fixed point at each penalty ``s``.

    Small penalties are reached from large ones in steps of a factor ten, and of less
    where Newton's method leaves the solution on the way: the true one has ``nu`` > 0.

    Args:
        features: the conditional features.
        s: the penalty > 0, a number or (g,).
        alpha: samples per neuron, a number or in the shape of ``s``.
        delta: neurons per input, a number or in the shape of ``s``.

    Returns:
        The point, converged everywhere.

    Raises:
        ArithmeticError: if no path ends at a solution with ``nu`` > 0.
    """
    low = np.atleast_1d(s)
    for factor in (10, 3, 1.2):
        point = follow(features, descent(low, factor), alpha, delta)
        if point.converged.all() and (point.nu > 0).all():
            return point
    raise ArithmeticError(f"the fixed point was not reached at all of s = {low}")


def follow(features: Features, path, alpha, delta, start=None) -> FixedPoint:
    """Return the fixed point at the end of a path, each point of it solved by Newton's
    method from the one before.

    Args:
        features: the conditional features.
        path: (steps, g), values of ``s``.
        alpha: samples per neuron, a number or (g,).
        delta: neurons per input, a number or (g,).
        start: (g, m), the ``x`` of a solution near the first point; None if its ``s``
            is large.
    """
    each = np.ones(len(path[0]))
    x = start
    if start is None:
        nu = features.pi / path[0][:, None]
        x = _join(_diagonal(nu), nu)
    for s in path:
        near = FixedPoint(features, s, alpha * each, delta * each, x)
        point = _newton(near)
        x = point.x
    return point


def descent(low: np.ndarray, factor: float) -> np.ndarray:
    """Return a path from far up, a thousand or ``low`` (g,), down to ``low`` by steps
    of at most ``factor``: shape (steps, g).

    Raises:
        ValueError: unless all of ``low`` is > 0 and ``factor`` > 1.
    """
    low = validate.positive("s", low, ("g",))
    factor = validate.number("factor", factor, 1, open_low=True)
    top = np.maximum(low, 1e3)
    farthest = (top / low).max()
    steps = np.ceil(np.log(farthest) / np.log(factor))
    return np.geomspace(top, low, int(steps) + 1)


def resolvent(
    features: Features, z, alpha: float, delta: float, start=None
) -> FixedPoint:
    r"""Return the fixed point at :math:`s = -\alpha z` for each ``z`` of positive
    imaginary part, shape (g,).

    The imaginary part is lowered to its value in steps of a factor four, or the ``start``
    is near.

    Args:
        features: the conditional features.
        z: complex spectral arguments, a number or (g,).
        alpha: samples per neuron.
        delta: neurons per input.
        start: (g, m), the ``x`` of a solution for features much like these, or None.

    Raises:
        ValueError: if ``alpha`` or ``delta`` is not > 0 or an imaginary part is not >
            0.
    """
    z = np.atleast_1d(z)
    height = validate.positive("imaginary part of z", z.imag)
    alpha = validate.number("alpha", alpha, 0, open_low=True)
    delta = validate.number("delta", delta, 0, open_low=True)
    heights = descent(height, 4) if start is None else height[None]
    path = z.real + 1j * heights
    point = follow(features, -alpha * path, alpha, delta, start)
    # the one true solution lives in the upper half plane
    above = (point.nu.imag >= 0).all(axis=1)
    converged = point.converged & above
    return replace(point, converged=converged)


def linearise(point: FixedPoint) -> tuple[np.ndarray, np.ndarray]:
    r"""Return the derivatives of the last two equations at ``point`` by ``(V, nu)`` and
    by their hats, each (g, m, m).

    The equations are :math:`(I+\delta P\hat V)V - P = 0` and
    :math:`\nu(s+\hat\nu)+\operatorname{diag}(V\hat V)-\pi = 0`.
    """
    m = point.x.shape[1]
    dV, dnu = _split(np.eye(m))  # all directions at once
    dP = _diagonal(dnu)
    V_hat, nu_hat = _split(point.hats)
    shift = point.s[:, None] + nu_hat
    delta = point.delta[:, None, None]
    # a second axis, for the directions
    nu, V = point.nu[:, None], point.V[:, None]
    before = (delta * _diagonal(point.nu))[:, None]  # delta P
    after = (delta * V_hat @ point.V)[:, None]
    V_hat = V_hat[:, None]
    matrix = dV - dP + dP @ after + before @ V_hat @ dV
    vector = dnu * shift[:, None] + _diagonal_of(dV @ V_hat)
    own = _join(matrix, vector)
    matrix = before @ dV @ V
    vector = dnu * nu + _diagonal_of(V @ dV)
    hats = _join(matrix, vector)
    return own.swapaxes(1, 2), hats.swapaxes(1, 2)


def total_derivative(point: FixedPoint) -> tuple[np.ndarray, np.ndarray]:
    """Return the derivative of the closed equations at ``point`` by ``(V, nu)``, and
    the part by the hats, each (g, m, m).
    """
    Q = point.features.products
    weight = point.weight * point.D
    own, hats = linearise(point)
    weighted = weight[:, None, :] * Q.T
    by_x = weighted @ Q  # minus the derivative of the hats
    return own - hats @ by_x, hats


def _join(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    leading = vector.shape[:-1]
    rows = matrix.reshape(*leading, -1)
    return np.concatenate([rows, vector], axis=-1)


def _split(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    k = math.isqrt(x.shape[1])  # m = k * k + k
    matrix = x[:, : k * k]
    vector = x[:, k * k :]
    return matrix.reshape(-1, k, k), vector


def _diagonal(vector: np.ndarray) -> np.ndarray:
    k = vector.shape[-1]
    return vector[..., None] * np.eye(k)


def _diagonal_of(matrix: np.ndarray) -> np.ndarray:
    return np.diagonal(matrix, axis1=-2, axis2=-1)


def _newton(point: FixedPoint) -> FixedPoint:
    """Return the point after Newton steps, until the last one is small everywhere, at
    most 12.
    """
    for _ in range(12):
        jacobian, by_hats = total_derivative(point)
        # the equations are linear in the hats
        nu = point.nu
        matrix = point.V - _diagonal(nu)
        vector = point.s[:, None] * nu - point.features.pi
        rest = _join(matrix, vector)
        residual = rest + np.einsum("gij,gj->gi", by_hats, point.hats)
        solved = np.linalg.solve(jacobian, residual[..., None])
        step = solved[..., 0]
        x = point.x - step
        point = replace(point, x=x)
        moved = np.abs(step).max(axis=1)
        size = np.abs(x).max(axis=1)
        small = moved <= RELATIVE_ERROR * size
        if small.all():
            break
    return replace(point, converged=small)
