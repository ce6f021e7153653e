r"""What one gradient step writes into the first layer: a rank-one matrix, and the
singular value it raises.

With entries of variance 1/d, ``N = psi2 d`` neurons and ``n = psi1 d`` samples, the
stepped weights are, in operator norm, :math:`W_1\simeq W_0+\theta_2\,\hat b\,a^\top`
with :math:`\hat b\propto X^\top y`, a rectangular spiked matrix. Every quantity here
depends on student and teacher through the six numbers of `Pair`.
"""

from typing import NamedTuple

import numpy as np

from fl import validate
from fl.links import LINKS


class Pair(NamedTuple):
    r"""The numbers of a centred student and a centred teacher that the limits depend
    on, z ~ N(0, 1).

    ``mu1`` is the first Hermite coefficient of the student, :math:`\mathbb
    E\,z\sigma(z)`; ``rest`` is :math:`\mu_\perp^2=\mathbb E\sigma^2-\mu_1^2`;
    ``slope_variance`` is :math:`\operatorname{Var}\sigma'(z)`. ``mu1s`` is the first
    coefficient of the teacher and ``floor`` its squared size beyond the linear part,
    the risk of the best linear predictor. ``noise`` is the variance of the label noise.
    """

    mu1: float
    rest: float
    slope_variance: float
    mu1s: float
    floor: float
    noise: float

    @property
    def energy(self) -> float:
        r""":math:`\mathbb E y^2`."""
        signal = self.mu1s**2 + self.floor
        return signal + self.noise


def pair(
    student: tuple = ("erf", 1.0),
    teacher: tuple = ("erf", 3.0),
    noise: float = 0.01,
) -> Pair:
    """Return the numbers of a ``student`` and a ``teacher``, each a link ``(name,
    tau)``: u -> f(tau u), then centred. ``noise`` is the variance of the label noise.

    >>> p = pair()
    >>> bool(abs(p.mu1 - 2 / np.sqrt(3 * np.pi)) < 1e-14), round(p.floor, 5)
    (True, 0.18942)

    Raises:
        ValueError: for an unknown link, ``tau`` not > 0, ``noise`` < 0, or a student or
            teacher without linear part.
    """
    noise = validate.number("noise", noise, 0)
    mu1, rest, slopes = _split("student", *student)
    mu1s, floor, _ = _split("teacher", *teacher)
    return Pair(mu1, rest, slopes, mu1s, floor, noise)


def _split(role: str, name: str, tau: float) -> tuple:
    """Return the first Hermite coefficient of a link, its squared size beyond it, and
    the variance of its slope.
    """
    link = LINKS[validate.choice(role, name, LINKS)]
    linear = float(link.hermite(1, tau)[1])
    if abs(linear) < 1e-12:
        raise ValueError(
            f"{role} = {name!r}: must have a non-zero first Hermite coefficient"
        )
    _, variance, _ = link.moments(tau)
    rest = max(variance - linear**2, 0.0)  # a linear link has none, not even rounding
    return linear, rest, link.slope_variance(tau)


def frobenius_limit(
    pair: Pair,
    psi1: float,
    offset: float = 0,
    bend: float = 0,
):
    r"""Return the limit of :math:`|G_0-A|_F/|A|_F`, A the rank-one part; derived.

    .. math:: \sqrt{\frac{\operatorname{Var}\sigma'(z)\;\mathbb Ey^2/\psi_1
                          +(\mathbb Ey)^2(\mathbb E\sigma'')^2}
                         {\mu_1^2(\mu_{1*}^2+\mathbb Ey^2/\psi_1)}}.

    ``pair`` holds the numbers of `Pair`, ``psi1`` = n/d > 0, ``offset`` is the mean of
    the labels and ``bend`` the mean of the student's second derivative.
    """
    sampling = (pair.energy + offset**2) / _ratio("psi1", psi1)
    mean = offset * bend
    remainder = pair.slope_variance * sampling + mean**2
    length = pair.mu1s**2 + sampling
    share = remainder / (pair.mu1**2 * length)
    return float(np.sqrt(share))


def strengths(pair: Pair, psi1, eta) -> tuple:
    r"""Return :math:`\theta_1=\eta\mu_1\mu_{1*}` and
    :math:`\theta_2=\eta\mu_1\sqrt{\mu_{1*}^2+\mathbb Ey^2/\psi_1}`.

    ``theta2`` is the size of the rank-one part, ``theta1`` its component along the
    teacher. ``pair`` holds the numbers of `Pair`; ``psi1`` = n/d > 0 and the step
    sizes ``eta`` have any shapes.

    Raises:
        ValueError: for a ratio that is not > 0 or a step size that is not finite.
    """
    validate.array("eta", eta, np.shape(eta))
    sampling = pair.energy / _ratio("psi1", psi1)
    length = np.sqrt(pair.mu1s**2 + sampling)
    gain = np.multiply(eta, pair.mu1)
    return gain * pair.mu1s, gain * length


def threshold(pair: Pair, psi1, psi2):
    r"""Return the step size :math:`\eta_c` at which :math:`\theta_2=\psi_2^{1/4}`;
    ``pair`` holds the numbers of `Pair`, ``psi1`` = n/d and ``psi2`` = N/d are > 0.

    >>> round(float(threshold(pair(), 2.0, 1.0)), 3)
    1.532
    """
    _, theta2 = strengths(pair, psi1, 1.0)
    return _ratio("psi2", psi2) ** 0.25 / theta2


def location(theta2, psi2):
    r"""Return the limit of the largest singular value of W1.

    .. math:: s_1^2=\frac{(1+\theta_2^2)(\psi_2+\theta_2^2)}{\theta_2^2}
              \quad\text{above }\theta_2=\psi_2^{1/4},
              \qquad s_1=1+\sqrt{\psi_2}\quad\text{below}.

    ``theta2`` >= 0 and ``psi2`` = N/d > 0 have any shapes; so have they in the two
    overlaps. Labelled arrays keep their labels.

    >>> float(location(1.0, 1.0)), float(location(2.0, 1.0))
    (2.0, 2.5)

    Raises:
        ValueError: for ``theta2`` negative or not finite, or ``psi2`` not > 0; so do
            the two overlaps.
    """
    t = _visible(theta2, psi2)
    square = (1 + t) * (psi2 + t) / t
    return np.sqrt(square)


def bulk_density(x, psi2: float) -> np.ndarray:
    r"""Return the density of the non-zero singular values of W0, and of the bulk of W1,
    at ``x`` > 0, for ``psi2`` = N/d > 0.

    .. math:: \frac{\sqrt{(\lambda_+-x^2)(x^2-\lambda_-)}}{\pi x\min(1,\psi_2)},
              \qquad\lambda_\pm=(1\pm\sqrt{\psi_2})^2.
    """
    square = np.square(_ratio("x", x))
    root = np.sqrt(_ratio("psi2", psi2))
    below = (1 + root) ** 2 - square
    above = square - (1 - root) ** 2
    height = np.sqrt(np.maximum(below * above, 0))
    share = min(1.0, psi2)
    return height / np.multiply(x, np.pi * share)


def left_overlap(theta2, psi2):
    r"""Return the limit of the squared cosine between u1 and X'y, 0 below the
    threshold, for ``theta2`` and ``psi2`` as in `location`.

    .. math:: \langle u_1,\hat b\rangle^2
              \to 1-\frac{\psi_2+\theta_2^2}{\theta_2^2(1+\theta_2^2)}.

    The overlap with the teacher is this times :math:`\theta_1^2/\theta_2^2`.
    """
    t = _visible(theta2, psi2)
    lost = (psi2 + t) / (t * (1 + t))
    return 1 - lost


def right_overlap(theta2, psi2):
    r"""Return the limit of the squared cosine between v1 and the second layer, 0 below
    the threshold, for ``theta2`` and ``psi2`` as in `location`.

    .. math:: \langle v_1,a\rangle^2
              \to 1-\frac{\psi_2(1+\theta_2^2)}{\theta_2^2(\psi_2+\theta_2^2)}.
    """
    t = _visible(theta2, psi2)
    lost = psi2 * (1 + t)
    size = t * (psi2 + t)
    return 1 - lost / size


def felt(pair: Pair, eta, theta2, width):
    r"""Return the strength that spectrum and risk feel at a finite ``width`` N, the
    network's own output included; derived.

    The residual is y - f(X), and f(X) takes :math:`\omega W_0aa^\top` off the
    weights, :math:`\omega=\eta\mu_1^2/\sqrt N`. Location, overlaps and the form T
    of the risk are then those without it, with

    .. math:: \theta^2=\theta_2^2+(1-\omega)^2-1

    in the place of :math:`\theta_2^2`, or 0 if that is negative; :math:`\theta_1` stays.
    ``pair`` holds the numbers of `Pair`; ``eta``, ``theta2`` and ``width`` are numbers
    or arrays.

    Raises:
        ValueError: for a step size or a strength that is not finite, or a width that is
            not > 0.
    """
    validate.array("eta", eta, np.shape(eta))
    validate.array("theta2", theta2, np.shape(theta2))
    output = np.multiply(eta, pair.mu1**2)
    root = np.sqrt(_ratio("width", width))
    kept = 1 - output / root
    change = kept**2 - 1
    square = np.square(theta2) + change
    return np.sqrt(np.maximum(square, 0))


def stieltjes(s, psi2) -> tuple:
    r"""Return :math:`m(s)=\lim\frac1d\operatorname{tr}(W_0W_0^\top+s)^{-1}` and its
    derivative, for ``psi2`` = N/d > 0.

    The root of :math:`sm^2+(s+\psi_2-1)m-1=0`, positive for s > 0 and negative for
    :math:`s<-(1+\sqrt{\psi_2})^2`, outside the spectrum.

    Raises:
        ValueError: for ``s`` elsewhere.
    """
    s = np.asarray(s, dtype=float)
    edge = (1 + np.sqrt(_ratio("psi2", psi2))) ** 2
    outside = (s > 0) | (s <= -edge)
    if not outside.all():
        raise ValueError(f"s = {s!r}: must be > 0 or < {-edge:g}")
    b = s + psi2 - 1
    square = np.maximum(b**2 + 4 * s, 0)
    root = np.copysign(np.sqrt(square), s)
    # on each side the form without cancellation
    same = b * s >= 0
    with np.errstate(divide="ignore", invalid="ignore"):
        near = (root - b) / (2 * s)
        far = 2 / (b + root)
        m = np.where(same, far, near)
        slope = -m * (m + 1) / root  # infinite at the edge itself
    return m, slope


def companion(s, psi2) -> tuple:
    r"""Return :math:`\tilde m(s)=\lim\frac1N\operatorname{tr}(W_0^\top W_0+s)^{-1}` and
    its derivative; ``s`` and ``psi2`` as in `stieltjes`.
    """
    if np.less(psi2, 1).all():
        # no null direction: the two sides exchanged, where nothing cancels
        turned = 1 / np.asarray(psi2, float)
        m, slope = stieltjes(turned * s, turned)
        return turned * m, turned**2 * slope
    m, slope = stieltjes(s, psi2)
    null = 1 - 1 / psi2
    mt = m / psi2 + null / s
    mt_slope = slope / psi2 - null / np.square(s)
    return mt, mt_slope


def kernel_outlier(pair: Pair, psi1, psi2: float, theta2) -> tuple:
    r"""Return the outlier of S'S/n on a fresh sample and the squared overlap of its
    eigenvector with v1; derived.

    The features have covariance :math:`\Omega=\mu_1^2W_1^\top W_1+\mu_\perp^2 I` with
    the outlier :math:`\ell=\mu_1^2s_1^2+\mu_\perp^2`; sampling moves it to

    .. math:: \Lambda(\ell)=\ell\Bigl(1-\frac{\psi_2}{\psi_1}
              \bigl(1+\frac{\ell}{\mu_1^2}\tilde m(-s_1^2)\bigr)\Bigr),
              \qquad \text{overlap}=\ell\Lambda'(\ell)/\Lambda(\ell).

    Both are NaN where the spike does not stand out of the weights or of the sample.
    ``pair`` holds the numbers of `Pair`; ``psi1`` = n/d and the strengths ``theta2``
    have any shapes, ``psi2`` = N/d is a number.
    """
    share = psi2 / _ratio("psi1", psi1)
    s1 = location(theta2, psi2)
    edge = 1 + np.sqrt(psi2)
    out = s1 > edge
    square = np.where(out, s1, 2 * edge) ** 2
    size = pair.mu1**2
    ratio = square + pair.rest / size
    mt, slope = companion(-square, psi2)
    first = ratio * mt
    kept = 1 - share * (1 + first)
    curved = ratio**2 * slope
    derivative = 1 - share * (1 + 2 * first - curved)
    seen = out & (derivative > 0)
    place = np.where(seen, size * ratio * kept, np.nan)
    overlap = np.where(seen, derivative / kept, np.nan)
    return place, overlap


def _ratio(name: str, value):
    """Return a ratio, a number or an array, if all of it is > 0."""
    if not (np.asarray(value) > 0).all():
        raise ValueError(f"{name} = {value!r}: must be > 0")
    return value


def _visible(theta2, psi2):
    """Return theta2^2, lifted to the threshold where it is below."""
    strengths = validate.array("theta2", theta2, np.shape(theta2))
    if (strengths < 0).any():
        raise ValueError(f"theta2 = {theta2!r}: must be >= 0")
    threshold = np.sqrt(_ratio("psi2", psi2))
    return np.maximum(np.square(theta2), threshold)
