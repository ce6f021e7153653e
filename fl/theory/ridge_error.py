r"""Test error of ridge regression on the features of a spiked network, for any number of blocks.

The read-out minimises :math:`\sum_i (y_i - \phi_i\cdot a/\sqrt p)^2 + \lambda|a|^2` over ``n`` fresh samples. In the
limit the prediction at a point with spike coordinate :math:`\kappa` and residual teacher coordinate :math:`\tau` has
the mean :math:`\mu_0\cdot m + \kappa\,\mu_1\cdot\vartheta + \tau\,\mu_1\cdot\psi` (the overlaps ``m``, ``theta``, ``psi``
are sums of the read-out over each block, weighted by 1, by the spike and by the rest of the teacher) and a variance
that the linearised fixed point of `fl.theory.spectrum` gives. Errors contain the label noise. Derived in chapter
`spectrum`.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from fl import validate
from fl.tasks import Link
from fl.theory.spectrum import FixedPoint, fixed_point, products, total_derivative
from fl.theory.spiked_features import Features, SpikedModel, conditional_features, teacher_given_spike


@dataclass(frozen=True)
class RidgeError:
    """Errors at ``g`` settings, each of shape (g,): on fresh data and, as mean square residual, on the training data."""

    test: np.ndarray
    train: np.ndarray


def ridge_error(
    link: Link, activation: Link, model: SpikedModel, lam, alpha, delta, noise: float = 0.0, width=None, grid=None
) -> RidgeError:
    r"""Return the limit errors for penalties ``lam``, ``alpha`` = n/p and ``delta`` = p/d, which broadcast to (g,).

    All settings are solved at once; penalties below one are reached from one in steps of a factor ten, each step
    started from the last. With the default ``grid`` of 81 points for :math:`\kappa` the relative error is below 1e-9.

    Args:
        link: the teacher's link; its label noise has the variance ``noise``.
        activation: the activation of the network.
        model: the spiked model, from `giant_step` or `spiked_model`.
        width: the number of neurons ``p``, to keep the penalty on the block sums ``m``, which vanishes like 1/p; None
            is the limit. This matters where the :math:`\mu_{0b}` are nearly collinear.
        lam, alpha, delta, noise, grid: numbers or arrays of shape (g,), a variance, and a rule (nodes, weights).

    Raises:
        ValueError: if ``lam``, ``alpha`` or ``delta`` is not > 0, ``noise`` is negative or ``width`` is no count.
    """
    lam, alpha, delta = np.broadcast_arrays(*(np.atleast_1d(np.asarray(a, float)) for a in (lam, alpha, delta)))
    for name, values in [("lam", lam), ("alpha", alpha), ("delta", delta)]:
        validate.positive(name, values, ("g",))
    noise = validate.number("noise", noise, 0)
    features = conditional_features(activation, model, grid)
    point = _along_penalty(features, lam, alpha, delta)
    teacher = teacher_given_spike(link, model.gamma, features.kappa)
    penalty = np.zeros_like(point.nu) if width is None else 1 / (validate.count("width", width) * point.nu)
    mean, price = _overlaps(features, model, teacher, point, penalty)
    error = _quadratic_part(features, teacher, noise, point, mean, price)
    return RidgeError(error @ features.weight, (point.D**2 * error) @ features.weight)


def linear_floor(link: Link, noise: float = 0.0) -> float:
    r"""Return :math:`\operatorname{Var} g - h_1^2 + \text{noise}`, the least error of a linear model, noise included."""
    mean, variance, _ = link.moments()
    return variance - link.hermite(1)[1] ** 2 + validate.number("noise", noise, 0)


def random_features_risk(link: Link, activation: Link, lam: float, psi1: float, psi2: float, noise: float = 0.0) -> float:
    r"""Return the ridge risk of the untrained network in closed form, label noise not included.

    ``psi1`` = n/d and ``psi2`` = p/d, and the penalty is :math:`n\lambda|w|^2`, the convention of chapter `spikes`: it is
    ``lam * psi1 / psi2`` in `ridge_error`. Link and activation are taken centred and the activation without a constant.
    The Gaussian equivalent of the features has the covariance :math:`\mu_1^2 W_0^\top W_0 + \mu_\star^2 I`; its ridge
    risk needs only :math:`m(s)`, the transform of the Marchenko-Pastur law that solves :math:`sm^2+(s+\psi_2-1)m=1`.
    Derived in chapter `spectrum`; an independent route to the same number as `ridge_error`.
    """
    lam, psi1 = validate.number("lam", lam, 0, open_low=True), validate.number("psi1", psi1, 0, open_low=True)
    psi2, noise = validate.number("psi2", psi2, 0, open_low=True), validate.number("noise", noise, 0)
    (_, variance, mu1), (_, energy, slope) = activation.moments(), link.moments()
    star = variance - mu1**2

    def transforms(kappa):
        s = (star + kappa) / mu1**2
        b = s + psi2 - 1
        m = (np.sqrt(b**2 + 4 * s) - b) / (2 * s)
        dm = -(m**2 + m) / (2 * s * m + b)
        return s, m, dm, m / psi2 + (1 - 1 / psi2) / s, dm / psi2 - (1 - 1 / psi2) / s**2

    def excess(logarithm):
        kappa = np.exp(logarithm)
        s, *_, dual, _ = transforms(kappa)
        return kappa * (1 - psi2 / psi1 * (1 - kappa / mu1**2 * dual)) - lam

    kappa = np.exp(brentq(excess, -30.0, 20.0, xtol=1e-14))
    s, m, dm, dual, ddual = transforms(kappa)
    ratio = kappa / mu1**2
    gamma = psi2 / psi1 * (1 - 2 * ratio * dual - ratio**2 * ddual)
    bias = slope**2 * (star / mu1**2 * m - ratio * s * dm)
    return float((energy - slope**2 + noise + bias) / (1 - gamma) - noise)


def _along_penalty(features: Features, lam, alpha, delta) -> FixedPoint:
    top = np.maximum(lam, 1.0)
    levels = int(np.ceil(np.log10((top / lam).max())))
    point = None
    for share in np.linspace(0, 1, levels + 1):
        point = fixed_point(features, top ** (1 - share) * lam**share, alpha, delta, point)
    return point


def _overlaps(features: Features, model: SpikedModel, teacher, point: FixedPoint, penalty) -> tuple:
    """Return the mean prediction's parts (g, q, 2), by kappa and by tau, and what ``m``, theta, psi add to ``q2``."""
    h, h1, _ = teacher
    k, kappa = len(features.pi), features.kappa[:, None]
    t = np.array([model.gamma, np.sqrt(1 - model.gamma**2)])
    K = np.array([np.linalg.matrix_power(np.eye(2) + s * np.outer(t, t), 2) for s in model.s])  # (k, 2, 2)
    eye = np.eye(k)
    mean, price = [], []
    for D, nu, alpha, delta, extra in zip(point.D, point.nu, point.alpha, point.delta, penalty, strict=True):
        w = D * features.weight
        regressors = np.concatenate([features.mu0, kappa * features.mu1], axis=1)  # (q, 2k): for m, theta
        moment = regressors.T @ (w[:, None] * regressors)
        slope = features.mu1.T @ (w[:, None] * features.mu1)
        # unknowns m, theta, psi, theta^, psi^: two regressions, then (theta, psi) = delta nu K (theta^, psi^)
        system = np.zeros((5 * k, 5 * k))
        m, theta, psi, hat0, hat1 = (slice(i * k, (i + 1) * k) for i in range(5))
        system[m, : 2 * k] = moment[:k]
        system[m, m] += np.diag(extra / alpha)
        system[theta, : 2 * k], system[theta, hat0] = alpha * moment[k:], eye
        system[psi, psi], system[psi, hat1] = alpha * slope, eye
        for row, own, left, right in [(hat0, theta, 0, 1), (hat1, psi, 1, 0)]:
            system[row, own] = eye
            system[row, (hat0, hat1)[left]] = -delta * np.diag(nu * K[:, left, left])
            system[row, (hat0, hat1)[right]] = -delta * np.diag(nu * K[:, left, right])
        target = regressors.T @ (w * h)
        right_side = np.concatenate([target[:k], alpha * target[k:], alpha * (features.mu1.T @ (w * h1)), np.zeros(2 * k)])
        # the block sums of dependent mu0 are not unique, their prediction is
        solution = np.linalg.lstsq(system, right_side, rcond=1e-13)[0]
        mean.append(np.stack([regressors @ solution[: 2 * k], features.mu1 @ solution[psi]], axis=1))
        hats = np.stack([solution[hat0], solution[hat1]], axis=1)  # (k, 2)
        price.append(delta * np.einsum("bi,bij,bj->b", hats, K, hats) + extra * solution[m] ** 2 / nu)
    return np.array(mean), np.array(price)


def _quadratic_part(features: Features, teacher, noise: float, point: FixedPoint, mean, price) -> np.ndarray:
    """Return the squared error at each kappa, shape (g, q): bias of the mean prediction plus its variance."""
    h, h1, hh = teacher
    k = len(features.pi)
    spike, rest = mean[..., 0], mean[..., 1]
    bias = hh + noise - 2 * h * spike + spike**2 - 2 * h1 * rest + rest**2
    Q = products(features)
    jacobian, hats = total_derivative(features, point)
    source = point.alpha[:, None] * ((point.D**2 * bias * features.weight) @ Q)
    source[:, k * k :] += price
    q = np.linalg.solve(jacobian, hats @ source[..., None])[..., 0]
    return bias + q @ Q.T
