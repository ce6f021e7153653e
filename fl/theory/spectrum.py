r"""Spectrum of the learned features: a fixed point of ``k x k`` matrices and one Gaussian average.

For ``n`` samples and ``p`` neurons on ``d`` inputs let :math:`\alpha = n/p`, :math:`\delta = p/d`, and
:math:`A = sI + \Phi^\top\Phi/p`. Given :math:`\kappa_i`, row ``i`` of :math:`\Phi` has the covariance
:math:`\mu_1\mu_1^\top\circ W_0W_0^\top + \operatorname{diag}\mu_2^2`, block by block. Leaving one row out, then one
neuron, closes on :math:`\nu_b = \frac1p\operatorname{tr}(A^{-1})_{bb}` and
:math:`V_{bb'} = \frac1p\operatorname{tr}(W_0W_0^\top)_{bb'}(A^{-1})_{b'b}`:

.. math:: \chi(\kappa) = \mu_1^\top V\mu_1 + \mu_2^2\cdot\nu,\quad
          \hat V = \alpha\,\mathbb E\frac{\mu_1\mu_1^\top}{1+\chi},\quad
          \hat\nu = \alpha\,\mathbb E\frac{\mu_2^2}{1+\chi},

.. math:: V = (I + \delta P\hat V)^{-1}P,\quad P = \operatorname{diag}\nu,\quad
          \nu_b(s + \hat\nu_b) + (V\hat V)_{bb} = \pi_b .

The Marchenko-Pastur law of :math:`W_0W_0^\top` is already inside the last line: no matrix is sampled. All of it is
derived in chapter `spectrum`; the points ``s`` are solved together, shape (g,).
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.integrate import cumulative_trapezoid
from scipy.optimize import brentq

from fl import validate
from fl.theory.spiked_features import Features

RELATIVE_ERROR = 1e-11  # of a solved point; what is left is the rule for kappa


@dataclass(frozen=True)
class FixedPoint:
    r"""Solution at ``g`` points: ``nu`` (g, k), ``V`` (g, k, k), their hats, and ``D`` = 1/(1 + chi), shape (g, q).

    ``converged`` (g,) tells where the last Newton step was below `RELATIVE_ERROR`.
    """

    s: np.ndarray
    alpha: np.ndarray
    delta: np.ndarray
    nu: np.ndarray
    V: np.ndarray
    nu_hat: np.ndarray
    V_hat: np.ndarray
    D: np.ndarray
    converged: np.ndarray

    @property
    def x(self) -> np.ndarray:
        """``V``, row by row, then ``nu``: shape (g, k * k + k)."""
        return np.concatenate([self.V.reshape(len(self.s), -1), self.nu], axis=1)


def fixed_point(features: Features, s, alpha, delta, start: FixedPoint | None = None) -> FixedPoint:
    r"""Solve the fixed point at each ``s``; ``s``, ``alpha`` and ``delta`` broadcast to shape (g,).

    Damped iteration brings a cold start near the solution and Newton's method ends it; ``start``, a solution at
    nearby arguments, goes to Newton at once.
    """
    s, alpha, delta = np.broadcast_arrays(*(np.atleast_1d(a) for a in (s, alpha, delta)))
    if start is None:
        nu = features.pi / (s[:, None] + 1)
        state = _state(features, s, alpha, delta, nu[:, :, None] * np.eye(len(features.pi)), nu)
        state = _iterate(features, state, 20)
    else:
        state = _state(features, s, alpha, delta, start.V, start.nu)
    return _newton(features, state)


def products(features: Features) -> np.ndarray:
    r"""Return the products :math:`\mu_{1b}\mu_{1b'}`, row by row, then :math:`\mu_{2b}^2`: shape (q, k * k + k)."""
    outer = features.mu1[:, :, None] * features.mu1[:, None, :]
    return np.concatenate([outer.reshape(len(outer), -1), features.mu2sq], axis=1)


def linearise(point: FixedPoint) -> tuple[np.ndarray, np.ndarray]:
    r"""Return the derivatives of the last two equations by ``(V, nu)`` and by their hats, each (g, m, m).

    The equations are :math:`(I+\delta P\hat V)V - P = 0` and
    :math:`\nu(s+\hat\nu)+\operatorname{diag}(V\hat V)-\pi = 0`, and ``m = k * k + k``.
    """
    g, k = point.nu.shape
    basis = np.eye(k * k + k)
    dV, dnu = basis[:, : k * k].reshape(-1, k, k), basis[:, k * k :]
    dP, P = dnu[:, :, None] * np.eye(k), point.nu[:, None, :, None] * np.eye(k)
    V, V_hat, delta = point.V[:, None], point.V_hat[:, None], point.delta[:, None, None, None]
    diagonal = np.arange(k)

    def flat(matrix, vector):  # (g, m directions, .) to columns of a matrix
        return np.concatenate([matrix.reshape(g, len(basis), -1), vector], axis=2).swapaxes(1, 2)

    own = flat(
        dV - dP + delta * (dP @ V_hat @ V + P @ V_hat @ dV),
        dnu * (point.s[:, None] + point.nu_hat)[:, None] + (dV @ V_hat)[..., diagonal, diagonal],
    )
    hats = flat(delta * P @ dV @ V, dnu * point.nu[:, None] + (V @ dV)[..., diagonal, diagonal])
    return own, hats


def total_derivative(features: Features, point: FixedPoint) -> tuple[np.ndarray, np.ndarray]:
    """Return the derivative of the closed equations by ``(V, nu)``, and the part by the hats, each (g, m, m)."""
    Q = products(features)
    own, hats = linearise(point)
    weight = features.weight * point.alpha[:, None] * point.D**2  # (g, q)
    return own - hats @ ((weight[:, None, :] * Q.T) @ Q), hats


def stieltjes(features: Features, z, alpha: float, delta: float) -> np.ndarray:
    r"""Return :math:`m(z) = \frac1p\operatorname{tr}(\Phi^\top\Phi/n - z)^{-1}` in the limit, at each complex ``z`` (g,).

    The imaginary part is lowered from at least one to its value in steps of a factor four, each started from the last.
    """
    return alpha * resolvent(features, z, alpha, delta).nu.sum(axis=1)


def resolvent(features: Features, z, alpha: float, delta: float) -> FixedPoint:
    r"""Return the fixed point at :math:`s = -\alpha z` for each ``z`` of positive imaginary part, shape (g,).

    Raises:
        ValueError: if ``alpha`` or ``delta`` is not > 0 or an imaginary part is not > 0.
    """
    alpha = validate.number("alpha", alpha, 0, open_low=True)
    delta = validate.number("delta", delta, 0, open_low=True)
    z = np.atleast_1d(z)
    height = validate.positive("imaginary part of z", z.imag, ("g",))
    top = np.maximum(height, 1.0)
    levels = int(np.ceil(np.log(top / height).max() / np.log(4)))
    point = None
    for share in np.linspace(0, 1, levels + 1):
        s = -alpha * (z.real + 1j * top ** (1 - share) * height**share)
        point = fixed_point(features, s, alpha, delta, point)
        # a Newton step may leave the upper half plane, where the one true solution lives
        lost = ~point.converged | (point.nu.imag < 0).any(axis=1)
        if lost.any():
            point = _rescue(features, point, lost)
    return point


@dataclass(frozen=True)
class Law:
    """A limit law on a grid ``x`` (g,): its ``density`` and its ``cdf``; ``mass`` is the integral before normalising."""

    x: np.ndarray
    density: np.ndarray
    cdf: np.ndarray
    mass: float

    def distance(self, eigenvalues) -> float:
        """Return the Kolmogorov distance to the empirical law of ``eigenvalues``, shape (p,)."""
        values = np.sort(validate.array("eigenvalues", eigenvalues, ("p",)))
        steps, law = np.arange(len(values) + 1) / len(values), np.interp(values, self.x, self.cdf, 0.0, 1.0)
        return float(max((steps[1:] - law).max(), (law - steps[:-1]).max()))


def sample_law(features: Features, alpha: float, delta: float, points: int = 200) -> Law:
    r"""Return the bulk of the spectrum of :math:`\Phi^\top\Phi/n`; the mass misses one by less than 2e-3.

    The density is :math:`\operatorname{Im} m(x + i\epsilon)/\pi` with :math:`\epsilon = 10^{-4}x`. A first logarithmic
    grid finds the mass, a second puts half of its ``points`` where the mass is.

    Raises:
        ValueError: if ``alpha`` <= 1: a part of the spectrum is then exactly zero.
    """
    alpha = validate.number("alpha", alpha, 1, open_low=True)
    validate.count("points", points, 20)
    size = features.mean(features.mu1**2 + features.mu2sq) @ features.pi  # mean eigenvalue of the bulk
    x = size * np.geomspace(1e-4, 300, points // 2)
    first = _law(features, x, alpha, delta)
    quantiles = np.interp((np.arange(points) + 0.5) / points, first.cdf, first.x)
    inside = (first.cdf > 1e-5) & (first.cdf < 1 - 1e-5)
    low, high = first.x[inside][0] / 1.3, first.x[inside][-1] * 1.3
    return _law(features, np.unique(np.concatenate([quantiles, np.geomspace(low, high, points // 2)])), alpha, delta)


def population_law(features: Features, delta: float, points: int = 200) -> Law:
    r"""Return the bulk of the spectrum of the population covariance of the features: many samples per neuron."""
    return sample_law(features, 1e8, delta, points)


def averaged(features: Features) -> Features:
    r"""Return features with one row law, the :math:`\kappa`-average of the covariance: the mixture is dropped.

    For one block the average is again of the form of `Features`; it is what a single Gaussian would have.

    Raises:
        ValueError: for more than one block.
    """
    if len(features.pi) > 1:
        raise ValueError(f"features has {len(features.pi)} blocks: must have one")
    mu1 = np.sqrt(features.mean(features.mu1**2))[None]
    mu2sq = features.mean(features.mu2sq)[None]
    return Features(np.zeros(1), np.ones(1), np.zeros((1, 1)), mu1, mu2sq, features.pi)


def diverging_outliers(features: Features) -> np.ndarray:
    r"""Return the limits of :math:`\lambda/p` of the diverging eigenvalues, shape (k,), falling.

    They are the eigenvalues of :math:`\sqrt{\pi_b\pi_{b'}}\,\mathbb E\mu_{0b}\mu_{0b'}`, for the sample covariance and
    the population covariance alike.
    """
    root = np.sqrt(features.pi)
    return np.linalg.eigvalsh(np.outer(root, root) * features.mean(_outer(features.mu0, features.mu0)))[::-1]


def outlier_determinant(features: Features, z, alpha: float, delta: float) -> np.ndarray:
    r"""Return the determinant whose zeros outside the bulk are the outliers of order one, at each real ``z`` (g,).

    .. math:: \det\bigl(I + \alpha\delta\,\tilde N(z)\operatorname{diag}\nu(z)\bigr),\quad
              \tilde N = N - C^\top M^+ C,

    with :math:`M, C, N` the averages of :math:`\mu_0\mu_0^\top, \kappa\mu_0\mu_1^\top, \kappa^2\mu_1\mu_1^\top`
    over :math:`1+\chi`. It is NaN inside the bulk, where it means nothing.
    """
    z = validate.array("z", np.atleast_1d(z), ("g",))
    near = resolvent(features, z + 1e-6j * np.abs(z), alpha, delta)
    point = fixed_point(features, near.s.real, alpha, delta, _state(features, near.s.real, near.alpha, near.delta, near.V.real, near.nu.real))
    kappa, mu0, mu1 = features.kappa[:, None], features.mu0, features.mu1
    weight = point.D * features.weight
    M, C, N = (np.tensordot(weight, _outer(a, b), 1) for a, b in [(mu0, mu0), (mu0, kappa * mu1), (kappa * mu1, kappa * mu1)])
    reduced = N - C.swapaxes(1, 2) @ np.linalg.pinv(M, rcond=1e-10, hermitian=True) @ C
    value = np.linalg.det(np.eye(len(features.pi)) + alpha * delta * reduced * point.nu[:, None, :])
    outside = point.converged & (np.abs(near.nu.imag) < 1e-3 * np.abs(near.nu.real)).all(axis=1)
    return np.where(outside, value, np.nan)


def order_one_outliers(features: Features, alpha: float, delta: float, window: tuple[float, float]) -> np.ndarray:
    r"""Return the zeros of `outlier_determinant` in ``window``, above the bulk, rising; maybe none.

    The determinant is scanned on 60 points; a zero needs the fixed point to stand at every point above it. Where
    :math:`\mu_1(\kappa)` is unbounded the bulk has no edge: cut the rule for :math:`\kappa`, and the zero is an outlier
    up to the mass cut off.

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
    crossings = first + np.flatnonzero(np.sign(values[first:-1]) != np.sign(values[first + 1 :]))
    return np.array([brentq(lambda x: outlier_determinant(features, x, alpha, delta)[0], *z[i : i + 2]) for i in crossings])


def _outer(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[:, :, None] * b[:, None, :]


def _law(features: Features, x: np.ndarray, alpha: float, delta: float) -> Law:
    density = np.maximum(stieltjes(features, x * (1 + 1e-4j), alpha, delta).imag, 0.0) / np.pi
    cdf = cumulative_trapezoid(density, x, initial=0.0)
    return Law(x, density, cdf / cdf[-1], float(cdf[-1]))


def _state(features: Features, s, alpha, delta, V, nu) -> FixedPoint:
    """Return the point with these (V, nu) and the hats that belong to them."""
    k = len(features.pi)
    Q = products(features)
    D = 1 / (1 + np.concatenate([V.reshape(len(s), -1), nu], axis=1) @ Q.T)
    hats = alpha[:, None] * ((D * features.weight) @ Q)
    V_hat = hats[:, : k * k].reshape(-1, k, k)
    return FixedPoint(s, alpha, delta, nu, V, hats[:, k * k :], V_hat, D, np.zeros(len(s), bool))


def _iterate(features: Features, point: FixedPoint, steps: int) -> FixedPoint:
    """Return the point after damped sweeps: hats, then three sweeps of the neurons' equation."""
    diagonal = np.arange(len(features.pi))
    for _ in range(steps):
        nu = point.nu
        for _ in range(3):
            gain = np.linalg.inv(np.eye(len(diagonal)) + point.delta[:, None, None] * nu[:, :, None] * point.V_hat)
            Theta = (point.V_hat @ gain)[:, diagonal, diagonal]
            nu = features.pi / (point.s[:, None] + point.nu_hat + Theta)
        V = np.linalg.inv(np.eye(len(diagonal)) + point.delta[:, None, None] * nu[:, :, None] * point.V_hat) * nu[:, None]
        V, nu = 0.3 * point.V + 0.7 * V, 0.3 * point.nu + 0.7 * nu
        point = _state(features, point.s, point.alpha, point.delta, V, nu)
    return point


def _newton(features: Features, point: FixedPoint, steps: int = 12) -> FixedPoint:
    """Return the point after Newton steps, until the last one is small or ``steps`` are done."""
    k, g = len(features.pi), len(point.s)
    P = lambda p: p.nu[:, :, None] * np.eye(k)  # noqa: E731
    for _ in range(steps):
        residual_V = point.V + point.delta[:, None, None] * (P(point) @ point.V_hat @ point.V) - P(point)
        residual_nu = point.nu * (point.s[:, None] + point.nu_hat) - features.pi
        residual_nu = residual_nu + np.einsum("gbc,gcb->gb", point.V, point.V_hat)
        residual = np.concatenate([residual_V.reshape(g, -1), residual_nu], axis=1)
        jacobian, _ = total_derivative(features, point)
        step = np.linalg.solve(jacobian, residual[..., None])[..., 0]
        x = point.x - step
        small = np.abs(step).max(axis=1) <= RELATIVE_ERROR * np.abs(x).max(axis=1)
        point = _state(features, point.s, point.alpha, point.delta, x[:, : k * k].reshape(-1, k, k), x[:, k * k :])
        if small.all():
            break
    return replace(point, converged=small)


def _rescue(features: Features, point: FixedPoint, lost: np.ndarray) -> FixedPoint:
    """Return the point with its ``lost`` entries found again by damped sweeps from a cold start."""
    s, alpha, delta = point.s[lost], point.alpha[lost], point.delta[lost]
    nu = features.pi / (s[:, None] + 1)
    again = _state(features, s, alpha, delta, nu[:, :, None] * np.eye(len(features.pi)), nu)
    again = _newton(features, _iterate(features, again, 400))
    merged = {name: getattr(point, name).copy() for name in ("nu", "V", "nu_hat", "V_hat", "D", "converged")}
    for name, values in merged.items():
        values[lost] = getattr(again, name)
    return replace(point, **merged)
