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

import numpy as np

from fl import numerics, validate
from fl.tasks import Link


@dataclass(frozen=True)
class SpikedModel:
    r"""Rows ``c_b w0_j + r_b v`` and a teacher at cosine ``gamma`` to ``v``; every
    field but ``gamma`` has shape (k,).

    The step also ties a row to its own overlap :math:`t_j = \langle w^0_j, w_*\rangle`,
    of order :math:`d^{-1/2}`: ``s`` is the strength of :math:`t_j` along the teacher,
    ``beta`` of :math:`t_j` in the squared norm of the row. They do not touch the bulk
    of the spectrum; they do enter the test error.
    """

    r: np.ndarray
    c: np.ndarray
    pi: np.ndarray
    gamma: float
    s: np.ndarray
    beta: np.ndarray


def spiked_model(r, c=1.0, pi=None, gamma: float = 1.0, s=0.0, beta=0.0) -> SpikedModel:
    """Return the model with these block parameters; ``pi`` defaults to equal blocks,
    ``c``, ``s``, ``beta`` broadcast.

    Raises:
        ValueError: if ``c`` or ``pi`` is not > 0, ``pi`` does not sum to 1, or
            ``gamma`` is outside [-1, 1].
    """
    r = validate.array("r", np.atleast_1d(r), ("k",))
    k = len(r)
    c = validate.positive("c", np.broadcast_to(c, (k,)), (k,))
    pi = np.full(k, 1 / k) if pi is None else validate.positive("pi", pi, (k,))
    if abs(pi.sum() - 1) > 1e-12:
        raise ValueError(f"pi sums to {pi.sum():g}: must sum to 1")
    s, beta = (
        validate.array(n, np.broadcast_to(a, (k,)), (k,))
        for n, a in [("s", s), ("beta", beta)]
    )
    return SpikedModel(r, c, pi, validate.number("gamma", gamma, -1, 1), s, beta)


def giant_step(
    link: Link,
    activation: Link,
    eta: float,
    alpha0: float,
    zeta=1.0,
    pi=None,
    noise=0.0,
) -> SpikedModel:
    r"""Return the spiked model after one step of size ``eta`` on ``alpha0 * d``
    samples.

    The step is :math:`w_j \leftarrow w^0_j + \eta\zeta_b\frac1{n_0}\sum_i
    (y_i-f(x_i))\varphi'(\langle w^0_j,x_i\rangle)x_i`, and the labels are ``link`` plus
    noise of variance ``noise``. With :math:`h_1 = \mathbb E g(z)z`, :math:`G = \mathbb
    E g^2 + \text{noise}`, :math:`m_1 = \mathbb E\varphi'`:

    .. math:: |\nabla| = \sqrt{h_1^2 + G/\alpha_0},\quad \gamma = h_1/|\nabla|,\quad r_b = \eta\zeta_b m_1|\nabla|,\quad
              c_b^2 = 1 + \eta^2\zeta_b^2\, G \operatorname{Var}\varphi'(z)/\alpha_0,

    :math:`s_b = \eta\zeta_b\,\mathbb E\varphi''\,\mathbb E g(z)(z^2-1)/c_b` and
    :math:`\beta_b = \eta\zeta_b\,h_1\, \mathbb E\varphi'''`, so that :math:`|w_j -
    r_bv|^2 = c_b^2 + 2\beta_b t_j`. Derived in chapter `spectrum`; exact as ``alpha0``
    grows.

    Args: ``zeta`` and ``pi`` have shape (k,).

    Raises:
        ValueError: if ``alpha0`` is not > 0, ``noise`` < 0, or the link is not centred.
    """
    eta = validate.number("eta", eta, 0)
    alpha0 = validate.number("alpha0", alpha0, 0, open_low=True)
    noise = validate.number("noise", noise, 0)
    zeta = validate.array("zeta", np.atleast_1d(zeta), ("k",))
    z, weight = numerics.gaussian_rule((*link.kinks, *activation.kinks))
    g, slope = link(z), activation.slope(z)
    if abs(weight @ g) > 1e-8 * np.sqrt(weight @ g**2):
        raise ValueError(
            f"link = {link.name} has mean {weight @ g:.3g}: must be centred"
        )
    h1, g2, G = weight @ (g * z), weight @ (g * (z**2 - 1)), weight @ g**2 + noise
    # E phi'' = E z phi' and E phi''' = E (z^2 - 1) phi', also where phi has a kink
    m1, m2, m3 = weight @ slope, weight @ (slope * z), weight @ (slope * (z**2 - 1))
    gradient = np.sqrt(h1**2 + G / alpha0)
    c = np.sqrt(1 + (eta * zeta) ** 2 * G * (weight @ slope**2 - m1**2) / alpha0)
    s, beta = eta * zeta * m2 * g2 / c, eta * zeta * h1 * m3
    return spiked_model(eta * zeta * m1 * gradient, c, pi, h1 / gradient, s, beta)


@dataclass(frozen=True)
class Features:
    r"""The conditional features of ``k`` blocks on a rule of ``q`` points for
    :math:`\kappa`.

    ``kappa`` and ``weight`` have shape (q,), ``mu0``, ``mu1``, ``mu2sq`` (the noise
    variance) and ``curvature`` (mean second derivative) shape (q, k), ``pi`` shape
    (k,).
    """

    kappa: np.ndarray
    weight: np.ndarray
    mu0: np.ndarray
    mu1: np.ndarray
    mu2sq: np.ndarray
    curvature: np.ndarray
    pi: np.ndarray

    def mean(self, values) -> np.ndarray:
        r"""Return :math:`\mathbb E_\kappa` of ``values``, an array with ``q`` as its
        first axis.
        """
        return np.tensordot(self.weight, values, 1)


def normal_grid(points: int = 81, cut: float = 7.0) -> tuple[np.ndarray, np.ndarray]:
    """Return the trapezoid rule for a standard normal on ``points`` nodes in [-cut,
    cut], its weights normalised.

    81 points leave an error below 1e-10 in the test errors of this book, 41 points one
    below 1e-5.

    >>> kappa, weight = normal_grid()
    >>> bool(abs(weight @ kappa**4 - 3) < 1e-7)
    True
    """
    points, cut = (
        validate.count("points", points, 3),
        validate.number("cut", cut, 0, open_low=True),
    )
    kappa = np.linspace(-cut, cut, points)
    weight = np.exp(-(kappa**2) / 2)
    return kappa, weight / weight.sum()


def sample_grid(kappa) -> tuple[np.ndarray, np.ndarray]:
    r"""Return the realised :math:`\kappa_i`, shape (n,), as 50 equal-mass bins: their
    means and weights.
    """
    kappa = np.sort(validate.array("kappa", kappa, ("n",)))
    parts = np.array_split(kappa, 50)
    return np.array([part.mean() for part in parts]), np.array(
        [len(part) for part in parts]
    ) / len(kappa)


def conditional_features(activation: Link, model: SpikedModel, grid=None) -> Features:
    r"""Return the coefficients of :math:`\varphi(r_b\kappa + c_b z)` in ``z``, given
    each :math:`\kappa` of ``grid``.

    .. math:: \mu_0 = \mathbb E\,\varphi(r\kappa+cz),\quad \mu_1 = \mathbb E\,z\,\varphi(r\kappa+cz),\quad
              \mu_2^2 = \mathbb E\,\varphi(r\kappa+cz)^2 - \mu_0^2 - \mu_1^2.

    The average runs over :math:`u = r\kappa + cz` on Gauss-Legendre panels of width at
    most ``c``, cut at the kinks of the activation: ReLU comes out to rounding, like
    tanh.
    """
    kappa, weight = normal_grid() if grid is None else grid
    columns = [
        _moments(activation, r, c, kappa) for r, c in zip(model.r, model.c, strict=True)
    ]
    mu0, mu1, second, bent = (
        np.stack(column, axis=1) for column in zip(*columns, strict=True)
    )
    mu2sq = np.maximum(second - mu0**2 - mu1**2, 0.0)
    return Features(kappa, weight, mu0, mu1, mu2sq, bent / model.c**2, model.pi)


def teacher_given_spike(
    link: Link, gamma: float, kappa
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""Return the means of :math:`g`, :math:`\tau g` and :math:`g^2`, given
    :math:`\kappa`; each of shape (q,).

    Here :math:`g = g(\gamma\kappa+\rho\tau)` with :math:`\rho^2 = 1-\gamma^2` and a
    standard normal :math:`\tau`.
    """
    gamma = validate.number("gamma", gamma, -1, 1)
    kappa = validate.array("kappa", kappa, ("q",))
    rho = np.sqrt(1 - gamma**2)
    if rho < 1e-6:  # the teacher is the spike: nothing is left to average
        g = link(gamma * kappa)
        return g, np.zeros_like(g), g**2
    return _moments(link, gamma, rho, kappa)[:3]


def _moments(f: Link, r: float, c: float, kappa: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return E f, E z f, E f^2 and E (z^2 - 1) f of f(r kappa + c z) over a standard
    normal z, each of shape (q,).
    """
    reach = 10.0 * c
    low, high = (r * kappa).min() - reach, (r * kappa).max() + reach
    cuts = np.linspace(low, high, 1 + int(np.ceil((high - low) / min(c, 1.0))))
    cuts = np.unique(np.concatenate([cuts, [k for k in f.kinks if low < k < high]]))
    x, w = np.polynomial.legendre.leggauss(12)
    half = np.diff(cuts)[:, None] / 2
    u = ((cuts[:-1] + cuts[1:])[:, None] / 2 + half * x).ravel()
    z = (u - r * kappa[:, None]) / c  # (q, nodes)
    density = np.exp(-(z**2) / 2) * (half * w).ravel() / (c * np.sqrt(2 * np.pi))
    fu = f(u)
    return (
        density @ fu,
        (density * z) @ fu,
        density @ fu**2,
        (density * (z**2 - 1)) @ fu,
    )
