r"""From one giant gradient step to features that are Gaussian given the spike.

Before the step the rows :math:`w^0_j` of the first layer are uniform on the unit sphere
of :math:`\mathbb R^d`, and the second layer takes ``k`` values :math:`\zeta_b/\sqrt p`,
each on a fraction :math:`\pi_b` of the ``p`` neurons. After it, block ``b`` is
:math:`w_j = c_b w^0_j + r_b v` with one common unit vector :math:`v`, and the teacher
direction is :math:`w_* = \gamma v + \sqrt{1-\gamma^2}\,\theta`. Given :math:`\kappa =
\langle v, x\rangle`, a feature is a constant :math:`\mu_0`, a linear part
:math:`\mu_1\langle w^0_j, x\rangle` and independent noise of variance :math:`\mu_2^2`.

Letters: ``k`` blocks, ``q`` points of a rule for the standard normal ``kappa``.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fl import numerics, validate
from fl.tasks import Link


@dataclass(frozen=True)
class SpikedModel:
    r"""Rows ``c_b w0_j + r_b v`` and a teacher at a cosine to ``v``.

    The step also ties a row to its own overlap :math:`t_j = \langle w^0_j, w_*\rangle`,
    of order :math:`d^{-1/2}`. That does not touch the bulk of the spectrum; it does
    enter the test error.

    Attributes:
        r: (k,), spike of each block.
        c: (k,), what is left of the old row.
        pi: (k,), fractions of the neurons.
        gamma: cosine of teacher and ``v``.
        s: (k,), what a row gains along the teacher, per overlap of the rest of it.
        beta: (k,), strength of :math:`t_j` in the squared norm of the row.
    """

    r: np.ndarray
    c: np.ndarray
    pi: np.ndarray
    gamma: float
    s: np.ndarray
    beta: np.ndarray


def spiked_model(r, c=1.0, pi=None, gamma: float = 1.0, s=0.0, beta=0.0) -> SpikedModel:
    """Return the model with these block parameters.

    Args:
        r: spikes, a number or (k,).
        c: what is left of the old rows, a number or (k,).
        pi: (k,) fractions of the neurons; None is equal blocks.
        gamma: cosine of teacher and spike.
        s: strength of the own overlap along the teacher, a number or (k,).
        beta: strength of the own overlap in the squared norm, a number or (k,).

    Raises:
        ValueError: if there is no block, ``c`` or ``pi`` is not > 0, ``pi`` does not
            sum to 1, or ``gamma`` is outside [-1, 1].
    """
    r, c, s, beta = np.broadcast_arrays(np.atleast_1d(r), c, s, beta)
    r = validate.array("r", r, ("k",))
    if pi is None:
        pi = np.full(len(r), 1 / len(r))
    model = SpikedModel(
        r=r,
        c=validate.positive("c", c),
        pi=validate.positive("pi", pi, r.shape),
        gamma=validate.number("gamma", gamma, -1, 1),
        s=validate.array("s", s, ("k",)),
        beta=validate.array("beta", beta, ("k",)),
    )
    _whole("pi", model.pi)
    return model


def giant_step(
    link: Link,
    activation: Link,
    eta: float,
    alpha0: float,
    zeta=1.0,
    pi=None,
    noise=0.0,
) -> SpikedModel:
    r"""Return the spiked model after one giant step.

    The step is :math:`w_j \leftarrow w^0_j + \eta\zeta_b\frac1{n_0}\sum_i
    (y_i-f(x_i))\varphi'(\langle w^0_j,x_i\rangle)x_i`. With :math:`h_1 = \mathbb E
    g(z)z`, :math:`G = \mathbb E g^2 + \text{noise}`, :math:`m_1 = \mathbb E\varphi'`:

    .. math:: |\nabla| = \sqrt{h_1^2 + G/\alpha_0},\quad \gamma = h_1/|\nabla|,\quad
              r_b = \eta\zeta_b m_1|\nabla|,\quad
              c_b^2 = 1 + \eta^2\zeta_b^2\, G \operatorname{Var}\varphi'(z)/\alpha_0,

    :math:`s_b = \eta\zeta_b\,\mathbb E\varphi''\,\mathbb E g(z)(z^2-1)/c_b^2` and
    :math:`\beta_b = \eta\zeta_b\,h_1\, \mathbb E\varphi'''`: along the teacher the row
    gains :math:`s_bc_b^2t_j`, its noise having hidden a part of :math:`t_j`, and
    :math:`|w_j - r_bv|^2 = c_b^2 + 2\beta_b t_j`. Derived in chapter `spectrum`; exact as
    ``alpha0`` grows; at finite ``alpha0`` rows with mean curvature share noise. The output
    of the network has to vanish, :math:`\mathbb E\varphi\sum_b\pi_b\zeta_b = 0`.

    Args:
        link: the teacher's link, centred.
        activation: the activation of the network.
        eta: size of the step.
        alpha0: samples of the step per input.
        zeta: values of the second layer, a number or (k,).
        pi: (k,) fractions of the neurons; None is equal blocks.
        noise: variance of the label noise.

    Raises:
        ValueError: if ``alpha0`` is not > 0, ``noise`` < 0, or the link or the output
            of the network is not centred.
    """
    eta = validate.number("eta", eta, 0)
    alpha0 = validate.number("alpha0", alpha0, 0, open_low=True)
    noise = validate.number("noise", noise, 0)
    zeta = validate.array("zeta", np.atleast_1d(zeta), ("k",))
    h0, h1, h2 = link.hermite(2)
    _, variance, _ = link.moments()
    # the mean derivatives of the activation, from normalised coefficients
    m0, m1, m2, m3 = activation.hermite(3)
    if abs(h0) > 1e-8 * np.sqrt(variance):
        raise ValueError(f"link = {link.name} has mean {h0:.3g}: must be centred")
    output = m0 * np.average(zeta, weights=pi)
    if abs(output) > 1e-8:
        raise ValueError(f"zeta = {zeta}: output {output:.3g}: must be centred")
    move = eta * zeta
    sampling = (variance + noise) / alpha0
    gradient = np.sqrt(h1**2 + sampling)
    spread = sampling * activation.slope_variance()
    c = np.sqrt(1 + move**2 * spread)
    return spiked_model(
        r=move * m1 * gradient,
        c=c,
        pi=pi,
        gamma=h1 / gradient,
        s=move * 2 * m2 * h2 / c**2,
        beta=move * 6**0.5 * m3 * h1,
    )


@dataclass(frozen=True, eq=False)
class Features:
    r"""The conditional features of ``k`` blocks on a rule of ``q`` points for
    :math:`\kappa`.

    Attributes:
        kappa: (q,), nodes.
        weight: (q,), their weights.
        mu0: (q, k), mean.
        mu1: (q, k), linear part.
        mu2sq: (q, k), variance of the noise.
        curvature: (q, k), mean second derivative.
        pi: (k,), fractions of the neurons.
    """

    kappa: np.ndarray
    weight: np.ndarray
    mu0: np.ndarray
    mu1: np.ndarray
    mu2sq: np.ndarray
    curvature: np.ndarray
    pi: np.ndarray

    def mean(self, values) -> np.ndarray:
        r"""Return :math:`\mathbb E_\kappa` of ``values``, of shape (q, ...)."""
        return np.tensordot(self.weight, values, 1)

    @cached_property
    def products(self) -> np.ndarray:
        r""":math:`\mu_1\mu_1^\top`, row by row, then :math:`\mu_2^2`: shape
        (q, k * k + k).
        """
        outer = np.einsum("qb,qc->qbc", self.mu1, self.mu1)
        rows = outer.reshape(len(outer), -1)
        return np.hstack([rows, self.mu2sq])


def normal_grid(points: int = 81, cut: float = 7.0) -> tuple[np.ndarray, np.ndarray]:
    """Return the trapezoid rule for a standard normal on ``points`` nodes in [-``cut``,
    ``cut``], its weights normalised.

    The test errors of this book are off by less than 1e-10 at 81 points, 1e-5 at 41.

    >>> kappa, weight = normal_grid()
    >>> bool(abs(weight @ kappa**4 - 3) < 1e-7)
    True

    Raises:
        ValueError: for fewer than 3 points or ``cut`` not > 0.
    """
    points = validate.count("points", points, 3)
    cut = validate.number("cut", cut, 0, open_low=True)
    kappa = np.linspace(-cut, cut, points)
    weight = np.exp(-(kappa**2) / 2)
    return kappa, weight / weight.sum()


def sample_grid(kappa) -> np.ndarray:
    r"""Return the realised ``kappa``, shape (n,), as min(50, n) equal-mass bins: their
    means and weights, shape (2, min(50, n)).

    Raises:
        ValueError: if ``kappa`` is not a vector of finite numbers.
    """
    kappa = np.sort(validate.array("kappa", kappa, ("n",)))
    parts = np.array_split(kappa, min(50, len(kappa)))
    means = [part.mean() for part in parts]
    numbers = [len(part) for part in parts]
    return np.array([means, np.divide(numbers, len(kappa))])


def conditional_features(activation: Link, model: SpikedModel, grid=None) -> Features:
    r"""Return the coefficients of :math:`\varphi(r_b\kappa + c_b z)` in ``z``, given
    :math:`\kappa`.

    .. math:: \mu_0 = \mathbb E\,\varphi(r\kappa+cz),\quad
              \mu_1 = \mathbb E\,z\,\varphi(r\kappa+cz),\quad
              \mu_2^2 = \mathbb E\,\varphi(r\kappa+cz)^2 - \mu_0^2 - \mu_1^2.

    The average runs over :math:`u = r\kappa + cz` on Gauss-Legendre panels of width at
    most ``c``, cut at the kinks of the activation: ReLU comes out to rounding, like
    tanh.

    Args:
        activation: the activation of the network.
        model: the spiked model.
        grid: nodes and weights for kappa, each (q,); None is `normal_grid`.

    Raises:
        ValueError: unless the grid is finite, its weights as many as its nodes and of
            sum 1; for an activation that the panels do not resolve.
    """
    kappa, weight = normal_grid() if grid is None else grid
    kappa = validate.array("grid[0]", kappa, ("q",))
    weight = validate.array("grid[1]", weight, kappa.shape)
    _whole("grid[1]", weight)
    blocks = zip(model.r, model.c, strict=True)
    moments = [_moments(activation, r, c, kappa) for r, c in blocks]
    mu0, mu1, second, bent = np.stack(moments, axis=-1)
    variance = second - mu0**2 - mu1**2
    mu2sq = np.maximum(variance, 0.0)
    curvature = bent / model.c**2
    return Features(kappa, weight, mu0, mu1, mu2sq, curvature, model.pi)


def realised_features(activation: Link, model: SpikedModel, kappa) -> Features:
    """Return `conditional_features` of ``activation`` and ``model`` under the empirical
    law of the realised ``kappa``, shape (n,).
    """
    return conditional_features(activation, model, sample_grid(kappa))


def teacher_given_spike(link: Link, gamma: float, kappa) -> np.ndarray:
    r"""Return the means of :math:`g`, :math:`\tau g` and :math:`g^2`, given
    :math:`\kappa`: shape (3, q).

    Here :math:`g = g(\gamma\kappa+\rho\tau)` is the ``link`` with :math:`\rho^2 =
    1-\gamma^2`, ``gamma`` the cosine to the spike, a standard normal :math:`\tau`, and
    ``kappa`` of shape (q,).

    Raises:
        ValueError: if ``gamma`` is outside [-1, 1] or ``kappa`` is not finite.
    """
    gamma = validate.number("gamma", gamma, -1, 1)
    kappa = validate.array("kappa", kappa, ("q",))
    rho = np.sqrt(1 - gamma**2)
    if rho < 1e-6:  # the teacher is the spike: nothing is left to average
        g = link(gamma * kappa)
        return np.array([g, np.zeros_like(g), g**2])
    return _moments(link, gamma, rho, kappa)[:3]


def _whole(name: str, shares: np.ndarray) -> None:
    total = shares.sum()
    if abs(total - 1) > 1e-9:
        raise ValueError(f"{name} sums to {total:g}: must sum to 1")


def _moments(f: Link, r: float, c: float, kappa: np.ndarray) -> np.ndarray:
    """Return E f, E z f, E f^2 and E (z^2 - 1) f of f(r kappa + c z) over a standard
    normal z: shape (4, q).
    """
    mean = r * kappa[:, None]
    # a rule for a normal u wide enough to reach ten c beyond every mean
    reach = np.abs(mean).max() + 10 * c
    scale = reach / 12
    panels = np.ceil(2 * reach / min(c, 1.0))
    kinks = [kink / scale for kink in f.kinks]
    found = size = None
    for halvings in range(6):
        last = found
        rule = numerics.gaussian_rule(kinks, int(panels), 12, halvings)
        found, size = _averages(f, scale, rule, mean, c)
        if last is not None and (abs(found - last) <= 1e-9 * size).all():
            return last
    raise ValueError(
        f"link = {f.name}: {rule[0].size} nodes do not resolve it, it must be smoother "
        "between its kinks"
    )


def _averages(f: Link, scale: float, rule: tuple, mean, c: float) -> tuple:
    """Return the means of `_moments` on a rule for u, and those of absolute values."""
    nodes, weights = rule
    u = scale * nodes
    z = (u - mean) / c  # (q, nodes)
    ratio = np.exp((nodes**2 - z**2) / 2)
    density = weights * ratio * scale / c
    fu = f(u)
    factors = [density, density * z, density, density * (z**2 - 1)]
    outputs = [fu, fu, fu**2, fu]
    pairs = list(zip(factors, outputs, strict=True))
    means = [factor @ f for factor, f in pairs]
    sizes = [abs(factor) @ abs(f) for factor, f in pairs]
    return np.array(means), np.array(sizes) + numerics.TINY
