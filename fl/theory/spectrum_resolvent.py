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
solved together, shape (g,).
"""

from dataclasses import dataclass, replace

import numpy as np

from fl import validate
from fl.theory.spectrum_features import Features

RELATIVE_ERROR = 1e-11  # of a solved point; what is left is the rule for kappa


@dataclass(frozen=True)
class FixedPoint:
    r"""Solution at ``g`` points: ``nu`` (g, k), ``V`` (g, k, k), their hats, and ``D``
    = 1/(1 + chi), shape (g, q).

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


def fixed_point(
    features: Features, s, alpha, delta, start: FixedPoint | None = None
) -> FixedPoint:
    r"""Solve the fixed point at each ``s``; ``s``, ``alpha`` and ``delta`` broadcast to
    shape (g,).

    Damped iteration brings a cold start near the solution and Newton's method ends it;
    ``start``, a solution at nearby arguments, goes to Newton at once.
    """
    s, alpha, delta = np.broadcast_arrays(
        *(np.atleast_1d(a) for a in (s, alpha, delta))
    )
    if start is None:
        nu = features.pi / (s[:, None] + 1)
        state = _state(
            features, s, alpha, delta, nu[:, :, None] * np.eye(len(features.pi)), nu
        )
        state = _iterate(features, state, 20)
    else:
        state = _state(features, s, alpha, delta, start.V, start.nu)
    return _newton(features, state)


def resolvent(features: Features, z, alpha: float, delta: float) -> FixedPoint:
    r"""Return the fixed point at :math:`s = -\alpha z` for each ``z`` of positive
    imaginary part, shape (g,).

    The imaginary part is lowered from at least one to its value in steps of a factor
    four, each started from the last.

    Raises:
        ValueError: if ``alpha`` or ``delta`` is not > 0 or an imaginary part is not >
            0.
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
    # the one true solution lives in the upper half plane
    return replace(point, converged=point.converged & (point.nu.imag >= 0).all(axis=1))


def products(features: Features) -> np.ndarray:
    r"""Return the products :math:`\mu_{1b}\mu_{1b'}`, row by row, then
    :math:`\mu_{2b}^2`: shape (q, k * k + k).
    """
    outer = features.mu1[:, :, None] * features.mu1[:, None, :]
    return np.concatenate([outer.reshape(len(outer), -1), features.mu2sq], axis=1)


def linearise(point: FixedPoint) -> tuple[np.ndarray, np.ndarray]:
    r"""Return the derivatives of the last two equations by ``(V, nu)`` and by their
    hats, each (g, m, m).

    The equations are :math:`(I+\delta P\hat V)V - P = 0` and
    :math:`\nu(s+\hat\nu)+\operatorname{diag}(V\hat V)-\pi = 0`, and ``m = k * k + k``.
    """
    g, k = point.nu.shape
    basis = np.eye(k * k + k)
    dV, dnu = basis[:, : k * k].reshape(-1, k, k), basis[:, k * k :]
    dP, P = dnu[:, :, None] * np.eye(k), point.nu[:, None, :, None] * np.eye(k)
    V, V_hat, delta = (
        point.V[:, None],
        point.V_hat[:, None],
        point.delta[:, None, None, None],
    )
    diagonal = np.arange(k)

    def flat(matrix, vector):  # (g, m directions, .) to columns of a matrix
        return np.concatenate(
            [matrix.reshape(g, len(basis), -1), vector], axis=2
        ).swapaxes(1, 2)

    own = flat(
        dV - dP + delta * (dP @ V_hat @ V + P @ V_hat @ dV),
        dnu * (point.s[:, None] + point.nu_hat)[:, None]
        + (dV @ V_hat)[..., diagonal, diagonal],
    )
    hats = flat(
        delta * P @ dV @ V, dnu * point.nu[:, None] + (V @ dV)[..., diagonal, diagonal]
    )
    return own, hats


def total_derivative(
    features: Features, point: FixedPoint
) -> tuple[np.ndarray, np.ndarray]:
    """Return the derivative of the closed equations by ``(V, nu)``, and the part by the
    hats, each (g, m, m).
    """
    Q = products(features)
    own, hats = linearise(point)
    weight = features.weight * point.alpha[:, None] * point.D**2  # (g, q)
    return own - hats @ ((weight[:, None, :] * Q.T) @ Q), hats


def _state(features: Features, s, alpha, delta, V, nu) -> FixedPoint:
    """Return the point with these (V, nu) and the hats that belong to them."""
    k = len(features.pi)
    Q = products(features)
    D = 1 / (1 + np.concatenate([V.reshape(len(s), -1), nu], axis=1) @ Q.T)
    hats = alpha[:, None] * ((D * features.weight) @ Q)
    V_hat = hats[:, : k * k].reshape(-1, k, k)
    return FixedPoint(
        s, alpha, delta, nu, V, hats[:, k * k :], V_hat, D, np.zeros(len(s), bool)
    )


def _iterate(features: Features, point: FixedPoint, steps: int) -> FixedPoint:
    """Return the point after damped sweeps: hats, then three sweeps of the neurons'
    equation.
    """
    eye, delta = np.eye(len(features.pi)), point.delta[:, None, None]

    def gain(nu):  # (I + delta P V_hat)^-1
        return np.linalg.inv(eye + delta * nu[:, :, None] * point.V_hat)

    for _ in range(steps):
        nu = point.nu
        for _ in range(3):
            Theta = np.einsum("gbc,gcb->gb", point.V_hat, gain(nu))
            nu = features.pi / (point.s[:, None] + point.nu_hat + Theta)
        V = 0.3 * point.V + 0.7 * gain(nu) * nu[:, None]
        point = _state(
            features, point.s, point.alpha, point.delta, V, 0.3 * point.nu + 0.7 * nu
        )
    return point


def _newton(features: Features, point: FixedPoint) -> FixedPoint:
    """Return the point after Newton steps, until the last one is small everywhere, at
    most 12.
    """
    k, g = len(features.pi), len(point.s)
    for _ in range(12):
        P = point.nu[:, :, None] * np.eye(k)
        own = point.V + point.delta[:, None, None] * (P @ point.V_hat @ point.V) - P
        trace = point.nu * (point.s[:, None] + point.nu_hat) + np.einsum(
            "gbc,gcb->gb", point.V, point.V_hat
        )
        residual = np.concatenate([own.reshape(g, -1), trace - features.pi], axis=1)
        jacobian, _ = total_derivative(features, point)
        step = np.linalg.solve(jacobian, residual[..., None])[..., 0]
        x = point.x - step
        small = np.abs(step).max(axis=1) <= RELATIVE_ERROR * np.abs(x).max(axis=1)
        point = _state(
            features,
            point.s,
            point.alpha,
            point.delta,
            x[:, : k * k].reshape(-1, k, k),
            x[:, k * k :],
        )
        if small.all():
            break
    return replace(point, converged=small)
