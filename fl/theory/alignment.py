r"""How the exponent p turns the early feature towards the teacher, or away from it.

Inputs :math:`x\sim N(0,\Sigma)`, labels :math:`y=f(\beta^\top x)+\text{noise}`. While
the weights are still tiny, every neuron moves along the same direction
:math:`v=\Sigma^p g` (up to its sign), where :math:`g=\frac1N\sum_i (y_i-\bar y)\,x_i`
is the sample covariance of label and input.

Letters: ``beta`` is (d,) in the eigenbasis of :math:`\Sigma`, ``lam`` its eigenvalues
(d,), ``n`` the number N of samples, :math:`\tau^2=\beta^\top\Sigma\beta`, ``c1`` the
mean slope :math:`\mathbb E f'` of the link.
"""

import numpy as np

from fl import numerics, validate
from fl.tasks import Task

# a smaller share of a link's variance in its linear part is the rounding of c1
ROUNDING = 1e-24


def early_alignment(task: Task, p: float, n: float) -> float:
    r"""Return A(p): the squared correlation of the early feature :math:`v^\top x` with
    :math:`\beta^\top x`.

    A ratio of expectations over training sets of ``n`` samples,

    .. math:: A(p)
              =\frac{\mathbb E\,(v^\top\Sigma\beta)^2}
              {\tau^2\,\mathbb E\,v^\top\Sigma v}
              =\frac{s\,(\beta^\top\Sigma^{p+2}\beta)^2+\nu\,\beta^\top\Sigma^{2p+3}\beta}
              {\tau^2\,[\,s\,\beta^\top\Sigma^{2p+3}\beta+\nu\,\operatorname{tr}\Sigma^{2p+2}\,]},

    with the weight of the signal
    :math:`s=c_1^2\bigl(1-\frac{N-2}{N(N-1)}\bigr)+\frac{m_{22}}{N}` and of the sampling
    noise :math:`\nu=\frac{m_2}{N-1}`, where :math:`m_2` is the variance of the label
    and :math:`m_{22}=\mathbb E[(f-\mathbb Ef)^2(u^2/\tau^2-1)]/\tau^2`,
    :math:`u=\beta^\top x`. Both expectations are exact at every N. Derived in chapter
    "alignment".

    Args:
        task: a single-index task of dimension d.
        p: the exponent of the preconditioner :math:`\Sigma^p`; null directions of
            :math:`\Sigma` stay null.
        n: number of training samples, a whole number >= 2, or ``inf`` for the gradient
            without sampling noise.

    Raises:
        ValueError: for a multi-index task, a p that is not finite or so large that the
            eigenvalues' powers overflow, n < 2, or n = ``inf`` and a link without a
            linear part, which has no early feature.

    >>> from fl.tasks import Teacher, two_level
    >>> task = Task(two_level(4.0, 1, 1.0, 1), Teacher([1.0, 0.0]), snr=1.0)
    >>> early_alignment(task, -1.0, np.inf), round(early_alignment(task, -1.0, 101), 3)
    (1.0, 0.981)
    """
    p = validate.number("p", p)
    signal, sampling = gradient_weights(task, n)
    lam, beta = eigenbasis(task)
    (tau,) = task.tau
    with np.errstate(all="ignore"):
        overlap = beta**2 @ lam ** (p + 2)
        energy = beta**2 @ lam ** (2 * p + 3)
        trace = np.sum(lam ** (2 * p + 2))
        along = signal * overlap**2 + sampling * energy
        total = signal * energy + sampling * trace
        alignment = float(along / (tau**2 * total))
    if not np.isfinite(alignment):
        raise ValueError(
            f"p = {p:g}: must leave the powers of the eigenvalues within floating point"
        )
    return alignment


def gradient_weights(task: Task, n: float) -> tuple[float, float]:
    r"""Return the weights s and :math:`\nu` of signal and sampling noise in
    :math:`\mathbb E\,gg^\top`.

    .. math:: \mathbb E\,gg^\top=s\,\Sigma\beta\beta^\top\Sigma+\nu\,\Sigma,

    for ``task`` and ``n`` samples, with s and :math:`\nu` as in `early_alignment`; they
    are :math:`c_1^2` and 0 for infinitely many samples.

    Raises:
        ValueError: for a multi-index task, n that is neither a whole number >= 2 nor
            ``inf``, or n = ``inf`` and a link without a linear part.
    """
    c1, m2, m22 = label_moments(task)
    if n == np.inf:
        linear = c1**2 * task.tau[0] ** 2
        if linear <= ROUNDING * (m2 - task.noise_variance):
            raise ValueError(
                f"n = {n} with a link without a linear part: must be finite"
            )
        return c1**2, 0.0
    n = validate.count("n", n, minimum=2)
    shrinkage = 1 - (n - 2) / (n * (n - 1))
    signal = c1**2 * shrinkage + m22 / n
    return signal, m2 / (n - 1)


def label_moments(task: Task) -> tuple[float, float, float]:
    r"""Return the three numbers through which link and noise of a ``task`` enter:
    :math:`c_1`, :math:`m_2`, :math:`m_{22}`.

    Raises:
        ValueError: if the teacher has more than one direction, or a link whose slope is
            not its derivative: by Stein's lemma it has the mean :math:`E zf/\tau`.
    """
    _direction(task)
    link = task.teacher.link
    (tau,) = task.tau
    mean, variance, c1 = link.moments(tau)
    kinks = [k / tau for k in link.kinks]

    def first(z):
        return z * (link(tau * z) - mean)

    def fourth(z):
        centred = link(tau * z) - mean
        return centred**2 * (z**2 - 1)

    stein = numerics.gaussian_mean(first, kinks) / tau
    if abs(c1 - stein) > 1e-6 * variance**0.5 / tau:
        raise ValueError(
            f"link {link.name!r} has the mean slope {c1:.6g}: must be {stein:.6g}, that "
            "of a function without jumps"
        )
    m22 = numerics.gaussian_mean(fourth, kinks) / tau**2
    return c1, variance + task.noise_variance, m22


def eigenbasis(task: Task) -> tuple[np.ndarray, np.ndarray]:
    r"""Return the non-zero eigenvalues of the covariance of a ``task`` and the teacher
    direction in their basis, both (r,).

    Raises:
        ValueError: if the teacher has more than one direction.
    """
    beta = _direction(task)
    lam = task.spectrum.eigenvalues
    rotation = task.spectrum.rotation
    if rotation is not None:
        beta = rotation.T @ beta
    return lam[lam > 0], beta[lam > 0]


def _direction(task: Task) -> np.ndarray:
    directions = task.teacher.directions
    if len(directions) != 1:
        raise ValueError(f"task has {len(directions)} teacher directions: must be one")
    return directions[0]
