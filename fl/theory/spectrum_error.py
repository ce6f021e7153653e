r"""Test error of ridge regression on the features of a spiked network, for any number
of blocks.

The read-out minimises :math:`\sum_i (y_i - \phi_i\cdot a/\sqrt p)^2 + \lambda|a|^2`
over ``n`` fresh samples. In the limit the prediction at a point with spike coordinate
:math:`\kappa` and residual teacher coordinate :math:`\tau` has the mean
:math:`\mu_0\cdot m + \kappa\,\mu_1\cdot\vartheta + \tau\,\mu_1\cdot\omega`, where the
overlaps ``m``, ``theta`` and ``omega`` are sums of the read-out over each block, weighted
by one, by the spike and by the rest of the teacher. The linearised fixed point of
`fl.theory.spectrum_resolvent` gives the variance around it. Errors contain the label
noise. Derived in chapter `spectrum`.
"""

from collections.abc import Callable
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
    total_derivative,
)


@dataclass(frozen=True)
class ReadOut:
    """A ridge read-out on the features of a spiked model.

    Attributes:
        link: the teacher's link.
        activation: the activation of the network.
        model: the spiked model, from `giant_step` or `spiked_model`.
        noise: variance of the label noise.
        grid: nodes and weights for kappa; None is `normal_grid`.
        change: a function of the features, to put a rival in their place.
    """

    link: Link
    activation: Link
    model: SpikedModel
    noise: float = 0.0
    grid: tuple[np.ndarray, np.ndarray] | None = None
    change: Callable[[Features], Features] | None = None

    def error(self, penalty, alpha, delta, width=None) -> np.ndarray:
        r"""Return the limit of the test error; ``penalty``, ``alpha`` and ``delta`` broadcast to
        (g,).

        All settings are solved at once. With the default grid of
        81 points for :math:`\kappa` the relative error is below 1e-9.

        Args:
            penalty: penalty, a number or (g,).
            alpha: samples per neuron, a number or (g,).
            delta: neurons per input, a number or (g,).
            width: the number of neurons ``p``, to keep the penalty on the block sums
                ``m``, which vanishes like 1/p; None is the limit. This matters where
                the :math:`\mu_{0b}` are nearly collinear.

        Raises:
            ValueError: if ``penalty``, ``alpha`` or ``delta`` is not > 0, the noise is
                negative or ``width`` is no count.
            ArithmeticError: if the fixed point is not reached.
        """
        grid = np.broadcast_arrays(*map(np.atleast_1d, (penalty, alpha, delta)))
        penalty = validate.positive("penalty", grid[0])
        alpha = validate.positive("alpha", grid[1])
        delta = validate.positive("delta", grid[2])
        noise = validate.number("noise", self.noise, 0)
        share = 0.0
        if width is not None:
            share = 1 / validate.count("width", width)
        model = self.model
        features = conditional_features(self.activation, model, self.grid)
        if self.change is not None:
            features = self.change(features)
        teacher = teacher_given_spike(self.link, model.gamma, features.kappa)
        labels = teacher[:2].ravel()
        point = fixed_point(features, penalty, alpha, delta)
        design = _design(features, model)
        unknowns, cost = _regression(design, labels, point, share)
        mean = unknowns @ design.T
        gain = mean * (2 * labels - mean)
        explained = sum(np.split(gain, 2, axis=1))
        bias = teacher[2] + noise - explained
        error = bias + _variance(point, bias, cost)
        return error @ features.weight


def linear_floor(link: Link) -> float:
    r"""Return :math:`\operatorname{Var} g - h_1^2` of ``link``, the least error of a
    linear model, label noise not included.
    """
    mean, variance, _ = link.moments()
    return variance - link.hermite(1)[1] ** 2


def _design(features: Features, model: SpikedModel) -> np.ndarray:
    r"""Return what ``m``, ``theta`` and ``omega`` of each block multiply: shape (2q, 3k),
    the parts by :math:`\kappa`, then those by :math:`\tau`.

    Theta and omega are here in units of :math:`I + s_btt^\top`, the effect of the step on
    a row, with the teacher's coordinates ``t`` along and across the spike.
    """
    mu0, mu1 = features.mu0, features.mu1
    along = model.gamma
    across = np.sqrt(1 - along**2)
    bend = features.curvature * model.beta / model.c
    channel = features.kappa[:, None] * mu1
    mixed = model.s * along * across
    by_kappa = [
        mu0,
        channel * (1 + model.s * along**2) + bend * along,
        channel * mixed + bend * across,
    ]
    by_tau = [
        np.zeros_like(mu0),
        mu1 * mixed,
        mu1 * (1 + model.s * across**2),
    ]
    return np.block([by_kappa, by_tau])


def _regression(
    design: np.ndarray, labels: np.ndarray, point: FixedPoint, share: float
) -> tuple[np.ndarray, np.ndarray]:
    r"""Return the unknowns (g, 3k) and their cost (g, k).

    It is a regression weighted by :math:`\alpha D` with the penalty ``share``
    :math:`m_b^2/\nu_b + (\vartheta_b^2+\omega_b^2)/(\delta\nu_b)`. The cost, which adds
    to the source of the variance, is what each block pays, over :math:`\nu_b`.
    """
    nu = point.nu
    one = np.ones_like(nu)
    price = np.hstack([share / nu, one, one])
    # the unknowns in units that make the penalty of theta and omega one
    root = np.sqrt(point.delta[:, None] * nu)
    unit = np.hstack([one, root, root])
    columns = unit[:, :, None] * design.T
    weight = np.tile(point.weight, 2)[:, None]
    weighted = columns * weight
    system = weighted @ columns.swapaxes(1, 2)
    diagonal = np.arange(len(design.T))
    system[:, diagonal, diagonal] += price
    pairs = zip(system, weighted @ labels, strict=True)
    # the block sums of dependent mu0 are not unique, their prediction is
    solved = [np.linalg.lstsq(*pair, rcond=1e-13)[0] for pair in pairs]
    unknowns = np.array(solved)
    paid = np.split(price * unknowns**2, 3, axis=1)
    return unit * unknowns, sum(paid) / nu


def _variance(point: FixedPoint, bias: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """Return the variance of the prediction at each kappa, shape (g, q), from the bias
    with the noise (g, q) and the cost of the mean (g, k).
    """
    Q = point.features.products
    k = cost.shape[1]
    weight = point.weight * point.D
    source = (weight * bias) @ Q
    source[:, -k:] += cost
    jacobian, by_hats = total_derivative(point)
    right = by_hats @ source[..., None]
    q = np.linalg.solve(jacobian, right)
    return q[..., 0] @ Q.T
