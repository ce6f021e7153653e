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
from fl.tasks import LINKS


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
        return self.mu1s**2 + self.floor + self.noise


def pair(
    student: tuple[str, float] = ("erf", 1.0),
    teacher: tuple[str, float] = ("erf", 3.0),
    noise=0.01,
) -> Pair:
    """Return the numbers of a student and a teacher, each a link ``(name, tau)``: u ->
    f(tau u), then centred.

    >>> p = pair()
    >>> bool(abs(p.mu1 - 2 / np.sqrt(3 * np.pi)) < 1e-14), round(p.floor, 5)
    (True, 0.18942)

    Raises:
        ValueError: for an unknown link, ``tau`` not > 0, ``noise`` < 0, or a student or
            teacher without linear part.
    """
    noise = validate.number("noise", noise, 0)
    numbers = []
    for role, (name, tau) in {"student": student, "teacher": teacher}.items():
        link = LINKS[validate.choice(role, name, LINKS)]
        linear = float(link.hermite(1, tau)[1])
        if abs(linear) < 1e-12:
            raise ValueError(
                f"{role} = {name!r}: must have a non-zero first Hermite coefficient"
            )
        # a linear link has no rest, not even one of rounding
        numbers.append(
            (
                linear,
                max(link.moments(tau)[1] - linear**2, 0.0),
                link.slope_variance(tau),
            )
        )
    (mu1, rest, slopes), (mu1s, floor, _) = numbers
    return Pair(mu1, rest, slopes, mu1s, floor, noise)


def frobenius_limit(pair: Pair, psi1: float) -> float:
    r"""Return the limit of :math:`|G_0-A|_F/|A|_F`, A the rank-one part; derived, for
    centred labels.

    .. math:: \sqrt{\frac{\operatorname{Var}\sigma'(z)\;\mathbb Ey^2/\psi_1}
                         {\mu_1^2(\mu_{1*}^2+\mathbb Ey^2/\psi_1)}}.

    A label mean would add a term :math:`(\mathbb Ey)^2(\mathbb E\sigma'')^2` to the
    numerator.
    """
    sampling = pair.energy / validate.number("psi1", psi1, 0, open_low=True)
    return float(
        np.sqrt(
            pair.slope_variance * sampling / (pair.mu1**2 * (pair.mu1s**2 + sampling))
        )
    )


def strengths(pair: Pair, psi1: float, eta) -> tuple[np.ndarray, np.ndarray]:
    r"""Return :math:`\theta_1=\eta\mu_1\mu_{1*}` and
    :math:`\theta_2=\eta\mu_1\sqrt{\mu_{1*}^2+\mathbb Ey^2/\psi_1}`.

    ``theta2`` is the size of the rank-one part, ``theta1`` its component along the
    teacher. ``eta`` has any shape.
    """
    sampling = pair.energy / validate.number("psi1", psi1, 0, open_low=True)
    eta = np.asarray(eta, dtype=float)
    return eta * pair.mu1 * pair.mu1s, eta * pair.mu1 * np.sqrt(pair.mu1s**2 + sampling)


def threshold(pair: Pair, psi1: float, psi2: float) -> float:
    r"""Return the step size :math:`\eta_c` at which :math:`\theta_2=\psi_2^{1/4}`."""
    return float(
        validate.number("psi2", psi2, 0, open_low=True) ** 0.25
        / strengths(pair, psi1, 1.0)[1]
    )


def location(theta2, psi2: float) -> np.ndarray:
    r"""Return the limit of the largest singular value of W1.

    .. math:: s_1^2=\frac{(1+\theta_2^2)(\psi_2+\theta_2^2)}{\theta_2^2}\quad\text{above }\theta_2=\psi_2^{1/4},
              \qquad s_1=1+\sqrt{\psi_2}\quad\text{below}.

    >>> float(location(1.0, 1.0)), float(location(2.0, 1.0))
    (2.0, 2.5)
    """
    t = np.maximum(
        np.asarray(theta2, dtype=float) ** 2,
        np.sqrt(validate.number("psi2", psi2, 0, open_low=True)),
    )
    return np.sqrt((1 + t) * (psi2 + t) / t)


def bulk_density(x, psi2: float) -> np.ndarray:
    r"""Return the density of the non-zero singular values of W0, and of the bulk of W1,
    at ``x`` > 0.

    .. math:: \frac{\sqrt{(\lambda_+-x^2)(x^2-\lambda_-)}}{\pi x\min(1,\psi_2)},
              \qquad\lambda_\pm=(1\pm\sqrt{\psi_2})^2.
    """
    x, root = (
        np.asarray(x, dtype=float),
        np.sqrt(validate.number("psi2", psi2, 0, open_low=True)),
    )
    inside = np.clip(((1 + root) ** 2 - x**2) * (x**2 - (1 - root) ** 2), 0, None)
    return np.sqrt(inside) / (np.pi * x * min(1.0, psi2))


def left_overlap(theta2, psi2: float) -> np.ndarray:
    r"""Return the limit of the squared cosine between u1 and X'y, 0 below the
    threshold.

    .. math:: \langle u_1,\hat b\rangle^2\to 1-\frac{\psi_2+\theta_2^2}{\theta_2^2(1+\theta_2^2)}.

    The overlap with the teacher is this times :math:`\theta_1^2/\theta_2^2`.
    """
    t = np.maximum(
        np.asarray(theta2, dtype=float) ** 2,
        np.sqrt(validate.number("psi2", psi2, 0, open_low=True)),
    )
    return 1 - (psi2 + t) / (t * (1 + t))


def right_overlap(theta2, psi2: float) -> np.ndarray:
    r"""Return the limit of the squared cosine between v1 and the second layer, 0 below
    the threshold.

    .. math:: \langle v_1,a\rangle^2\to 1-\frac{\psi_2(1+\theta_2^2)}{\theta_2^2(\psi_2+\theta_2^2)}.
    """
    t = np.maximum(
        np.asarray(theta2, dtype=float) ** 2,
        np.sqrt(validate.number("psi2", psi2, 0, open_low=True)),
    )
    return 1 - psi2 * (1 + t) / (t * (psi2 + t))


def output_shift(pair: Pair, eta, theta2, psi2: float) -> np.ndarray:
    r"""Return :math:`\sqrt N` times the shift of :math:`s_1` caused by the network's
    own output; derived.

    The residual is y - f(X), and f(X) takes :math:`\eta\mu_1^2N^{-1/2}W_0aa^\top` off
    the weights. First order perturbation of the singular value, with both overlaps
    alpha = <v1, a> and beta = <u1, b> at their limits:

    .. math:: \sqrt N\,\delta s_1=-\eta\mu_1^2\,\alpha\,(s_1\alpha-\theta_2\beta).
    """
    alpha, beta = (
        np.sqrt(right_overlap(theta2, psi2)),
        np.sqrt(left_overlap(theta2, psi2)),
    )
    return (
        -np.asarray(eta)
        * pair.mu1**2
        * alpha
        * (location(theta2, psi2) * alpha - np.asarray(theta2) * beta)
    )


def stieltjes(s, psi2: float) -> tuple[np.ndarray, np.ndarray]:
    r"""Return :math:`m(s)=\lim\frac1d\operatorname{tr}(W_0W_0^\top+s)^{-1}` and its
    derivative.

    The root of :math:`sm^2+(s+\psi_2-1)m-1=0`, positive for s > 0 and negative for
    :math:`s<-(1+\sqrt{\psi_2})^2`, outside the spectrum.

    Raises:
        ValueError: for ``s`` on the spectrum.
    """
    s = np.asarray(s, dtype=float)
    psi2 = validate.number("psi2", psi2, 0, open_low=True)
    b = s + psi2 - 1
    discriminant = b**2 + 4 * s
    if ((s <= 0) & ((discriminant < 0) | (b > 0))).any():
        raise ValueError(f"s = {s!r}: must be > 0 or < {-((1 + np.sqrt(psi2)) ** 2):g}")
    root = np.sqrt(discriminant)
    # the form without cancellation on each side
    with np.errstate(divide="ignore", invalid="ignore"):
        m = np.where(
            s > 0,
            np.where(b >= 0, 2 / (b + root), (root - b) / (2 * s)),
            2 / (b - root),
        )
    return m, -(m**2 + m) / (2 * s * m + b)


def companion(s, psi2: float) -> tuple[np.ndarray, np.ndarray]:
    r"""Return :math:`\tilde m(s)=\lim\frac1N\operatorname{tr}(W_0^\top W_0+s)^{-1}` and
    its derivative.
    """
    m, slope = stieltjes(s, psi2)
    return m / psi2 + (1 - 1 / psi2) / s, slope / psi2 - (1 - 1 / psi2) / np.square(s)


def kernel_outlier(
    pair: Pair, psi1: float, psi2: float, theta2
) -> tuple[np.ndarray, np.ndarray]:
    r"""Return the outlier of S'S/n on a fresh sample and the squared overlap of its
    eigenvector with v1; derived.

    The features have covariance :math:`\Omega=\mu_1^2W_1^\top W_1+\mu_\perp^2 I` with
    the outlier :math:`\ell=\mu_1^2s_1^2+\mu_\perp^2`; sampling moves it to

    .. math:: \Lambda(\ell)=\ell\Bigl(1-\frac{\psi_2}{\psi_1}\bigl(1+\frac{\ell}{\mu_1^2}\tilde m(-s_1^2)\bigr)\Bigr),
              \qquad \text{overlap}=\ell\Lambda'(\ell)/\Lambda(\ell).

    Both are NaN where the spike does not stand out of the weights or of the sample.
    """
    psi1 = validate.number("psi1", psi1, 0, open_low=True)
    theta2 = np.asarray(theta2, dtype=float)
    out = theta2 > psi2**0.25
    x = location(np.where(out, theta2, 2 * psi2**0.25), psi2) ** 2
    ell = pair.mu1**2 * x + pair.rest
    mt, slope = companion(-x, psi2)
    ratio = ell / pair.mu1**2
    place = ell * (1 - psi2 / psi1 * (1 + ratio * mt))
    derivative = 1 - psi2 / psi1 * (1 + 2 * ratio * mt - ratio**2 * slope)
    seen = out & (derivative > 0)
    return np.where(seen, place, np.nan), np.where(
        seen, ell * derivative / place, np.nan
    )
