r"""Test error of ridge regression on the features of a spiked network, for any number
of blocks.

The read-out minimises :math:`\sum_i (y_i - \phi_i\cdot a/\sqrt p)^2 + \lambda|a|^2`
over ``n`` fresh samples. In the limit the prediction at a point with spike coordinate
:math:`\kappa` and residual teacher coordinate :math:`\tau` has the mean
:math:`\mu_0\cdot m + \kappa\,\mu_1\cdot\vartheta + \tau\,\mu_1\cdot\psi`, where the
overlaps ``m``, ``theta`` and ``psi`` are sums of the read-out over each block, weighted
by one, by the spike and by the rest of the teacher. The linearised fixed point of
`fl.theory.spectrum_resolvent` gives the variance around it. Errors contain the label
noise. Derived in chapter `spectrum`.
"""

from dataclasses import dataclass

import numpy as np

from fl import validate
from fl.tasks import Link
from fl.theory.spectrum_features import (
    Features,
    SpikedModel,
    conditional_features,
    teacher_given_spike,
)
from fl.theory.spectrum_resolvent import (
    FixedPoint,
    fixed_point,
    products,
    total_derivative,
)


@dataclass(frozen=True)
class RidgeError:
    """Errors at ``g`` settings, each (g,): on fresh data, and the mean square residual
    on the training data.
    """

    test: np.ndarray
    train: np.ndarray


def ridge_error(
    link: Link,
    activation: Link,
    model: SpikedModel,
    lam,
    alpha,
    delta,
    noise: float = 0.0,
    width=None,
    grid=None,
) -> RidgeError:
    r"""Return the limit errors for penalties ``lam``, ``alpha`` = n/p and ``delta`` =
    p/d, which broadcast to (g,).

    All settings are solved at once; penalties below one are reached from one in steps
    of a factor ten, each step started from the last. With the default ``grid`` of 81
    points for :math:`\kappa` the relative error is below 1e-9.

    Args:
        link: the teacher's link.
        activation: the activation of the network.
        model: the spiked model, from `giant_step` or `spiked_model`.
        lam: penalty, a number or (g,).
        alpha: samples per neuron, a number or (g,).
        delta: neurons per input, a number or (g,).
        noise: variance of the label noise.
        width: the number of neurons ``p``, to keep the penalty on the block sums ``m``,
            which vanishes like 1/p; None is the limit. This matters where the
            :math:`\mu_{0b}` are nearly collinear.
        grid: nodes and weights for :math:`\kappa`.

    Raises:
        ValueError: if ``lam``, ``alpha`` or ``delta`` is not > 0, ``noise`` is negative
            or ``width`` is no count.
    """
    lam, alpha, delta = np.broadcast_arrays(
        *(np.atleast_1d(np.asarray(a, float)) for a in (lam, alpha, delta))
    )
    for name, values in [("lam", lam), ("alpha", alpha), ("delta", delta)]:
        validate.positive(name, values, ("g",))
    noise = validate.number("noise", noise, 0)
    features = conditional_features(activation, model, grid)
    point = _along_penalty(features, lam, alpha, delta)
    teacher = teacher_given_spike(link, model.gamma, features.kappa)
    penalty = (
        np.zeros_like(point.nu)
        if width is None
        else 1 / (validate.count("width", width) * point.nu)
    )
    mean, price = _overlaps(features, model, teacher, point, penalty)
    error = _quadratic_part(features, teacher, noise, point, mean, price)
    return RidgeError(error @ features.weight, (point.D**2 * error) @ features.weight)


def linear_floor(link: Link) -> float:
    r"""Return :math:`\operatorname{Var} g - h_1^2`, the least error of a linear model,
    label noise not included.
    """
    mean, variance, _ = link.moments()
    return variance - link.hermite(1)[1] ** 2


def _along_penalty(features: Features, lam, alpha, delta) -> FixedPoint:
    top = np.maximum(lam, 1.0)
    levels = int(np.ceil(np.log10((top / lam).max())))
    point = None
    for share in np.linspace(0, 1, levels + 1):
        point = fixed_point(
            features, top ** (1 - share) * lam**share, alpha, delta, point
        )
    return point


def _overlaps(
    features: Features, model: SpikedModel, teacher, point: FixedPoint, penalty
) -> tuple:
    r"""Return the mean prediction (2, g, q), parts by :math:`\kappa` and by
    :math:`\tau`, and a price.

    The unknowns are ``m``, ``theta``, ``psi``, in a regression weighted by ``D``; the
    last two are penalised through :math:`(\vartheta_b,\psi_b) =
    \delta\nu_bK_b(\hat\vartheta_b,\hat\psi_b)`. The price (g, k) is what they add to
    the source of the variance.
    """
    k, kappa = len(features.pi), features.kappa[:, None]
    t = np.array([model.gamma, np.sqrt(1 - model.gamma**2)])
    K = np.array(
        [np.linalg.matrix_power(np.eye(2) + s * np.outer(t, t), 2) for s in model.s]
    )  # (k, 2, 2)
    bend = (
        features.curvature * model.beta / (model.c * (1 + model.s))
    )  # multiplies <w0_j, w*>, in units of the row
    nothing = np.zeros_like(features.mu0)
    by_kappa = np.hstack(
        [features.mu0, kappa * features.mu1 + t[0] * bend, t[1] * bend]
    )
    by_tau = np.hstack([nothing, nothing, features.mu1])
    design = np.array([by_kappa, by_tau])  # (2, q, 3k): what m, theta, psi multiply
    means, prices = [], []
    for D, nu, alpha, delta, extra in zip(
        point.D, point.nu, point.alpha, point.delta, penalty, strict=True
    ):
        w = alpha * D * features.weight
        moment = np.einsum("tqi,q,tqj->ij", design, w, design, optimize=True)
        target = np.einsum(
            "tqi,q,tq->i", design, w, np.array(teacher[:2]), optimize=True
        )
        moment[:k, :k] += np.diag(extra)
        gain = delta * np.block(
            [[np.diag(nu * K[:, i, j]) for j in range(2)] for i in range(2)]
        )
        # overlaps = gain @ hats with hats = target - moment @ unknowns; m has no
        # penalty, so its hats are zero
        system = np.vstack([moment[:k], np.eye(3 * k)[k:] + gain @ moment[k:]])
        # the block sums of dependent mu0 are not unique, their prediction is
        solution = np.linalg.lstsq(
            system, np.concatenate([target[:k], gain @ target[k:]]), rcond=1e-13
        )[0]
        hats = (target - moment @ solution)[k:].reshape(2, k)
        means.append(design @ solution)
        prices.append(
            delta * np.einsum("ib,bij,jb->b", hats, K, hats)
            + extra * solution[:k] ** 2 / nu
        )
    return np.stack(means, axis=1), np.array(prices)


def _quadratic_part(
    features: Features, teacher, noise: float, point: FixedPoint, mean, price
) -> np.ndarray:
    """Return the squared error at each kappa, shape (g, q): of the mean prediction,
    plus the variance.
    """
    h, h1, hh = teacher
    k = len(features.pi)
    spike, rest = mean
    bias = hh + noise - 2 * h * spike + spike**2 - 2 * h1 * rest + rest**2
    Q = products(features)
    jacobian, hats = total_derivative(features, point)
    source = point.alpha[:, None] * ((point.D**2 * bias * features.weight) @ Q)
    source[:, k * k :] += price
    q = np.linalg.solve(jacobian, hats @ source[..., None])[..., 0]
    return bias + q @ Q.T
