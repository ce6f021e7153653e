r"""What the one-step direction does to the weights, and which direction three other
optimizers take.

The first layer G (N, d) starts with entries N(0, 1/d), so a preactivation has variance
:math:`\bar{\mathbb E}[s]`; the head a (N,) is small and fixed. One step gives
:math:`G_1 = G_0 + \eta\,c\,a\hat\beta^\top`, a spike of strength :math:`\theta = \eta
c|a||\hat\beta|` with :math:`c = \mathbb E\sigma'`. Letters as in
`fl.theory.single_index`; ``V`` is the variance of :math:`\sigma'`. All formulas are
derived in chapter single_index.
"""

import numpy as np
from scipy import special

from fl import numerics, validate
from fl.links import LINKS, Link
from fl.tasks import Task
from fl.theory.single_index import Direction, check, population_power, weights


def slope_moments(activation: str, s) -> tuple[float, float]:
    r"""Return mean ``c`` and variance ``V`` of :math:`\sigma'(u)`, :math:`u\sim
    N(0,\bar{\mathbb E}[s])`, for the ``activation`` of that name and eigenvalues ``s``.

    >>> np.round(slope_moments("relu", [1.8, 0.2]), 12).tolist()
    [0.5, 0.25]

    Raises:
        ValueError: for an unknown activation or eigenvalues that are not positive.
    """
    link, scale = _seen(activation, s)
    _, _, c = link.moments(scale)
    return c, link.slope_variance(scale) / scale**2


def mean_curvature(activation: str, s) -> float:
    r"""Return :math:`c_2 = \mathbb E\sigma''(u) = \mathbb E[u\,\sigma'(u)]/\mathbb E
    u^2`, ``activation`` and ``s`` as in `slope_moments`; 0 for an odd activation.

    >>> float(mean_curvature("relu", [1.8, 0.2]).round(6))  # 1/sqrt(2 pi)
    0.398942

    Raises:
        ValueError: what `slope_moments` refuses.
    """
    link, scale = _seen(activation, s)
    return np.sqrt(2) * link.hermite(2, scale)[2] / scale**2


def spike(theta: float, aspect: float) -> tuple[float, float]:
    r"""Return the outlying singular value of :math:`G_0+\theta\,\hat
    a\hat\beta^\top/|\hat\beta|` and its overlap.

    .. math:: \frac{\sqrt{(1+\theta^2)(\varphi+\theta^2)}}{\theta}, \qquad
              \langle v_1,\hat\beta/|\hat\beta|\rangle^2
              = 1-\frac{\varphi+\theta^2}{\theta^2(\theta^2+1)}.

    ``v_1`` is the right singular vector. Its alignment with the teacher is the overlap
    times that of the direction. ``theta`` is the strength of the spike, ``aspect``
    is :math:`\varphi = N/d`.

    Raises:
        ValueError: for theta at most :math:`\varphi^{1/4}`, where no singular value
            leaves the bulk, which ends at :math:`1+\sqrt\varphi`.
    """
    aspect = validate.number("aspect", aspect, 0, open_low=True)
    theta = validate.number("theta", theta, aspect**0.25, open_low=True)
    square = theta**2
    product = (1 + square) * (aspect + square)
    outlier = np.sqrt(product) / theta
    lost = (aspect + square) / (square * (square + 1))
    return outlier, 1 - lost


def implicit_damping(activation: str, s, gamma: float) -> float:
    r"""Return the damping hidden in the full Gauss-Newton step on G.

    .. math:: \lambda_{\mathrm{eff}} = \frac{\mathrm{tr}\,\Sigma}{n}\Bigl(
              \frac{\mathbb E\sigma'^2}{(\mathbb E\sigma')^2}-1\Bigr).

    It is zero for a linear ``activation`` only; ``s`` are the eigenvalues, ``gamma`` is
    d/n.

    >>> round(float(implicit_damping("relu", [1.8, 0.2], gamma=0.5)), 12)
    0.5

    Raises:
        ValueError: for an activation without mean slope, or gamma <= 0.
    """
    c, V = _sloped(activation, s)
    gamma = validate.number("gamma", gamma, 0, open_low=True)
    return gamma * np.mean(s) * V / c**2


def adam(s, b, gamma: float, nu: float, activation: str) -> float:
    r"""Return the alignment of Adam's first step, the sign of the gradient matrix,
    labels centred, for Sigma rotated at random.

    The noise of single neurons dithers the sign:

    .. math:: \cos^2_{\mathrm{Adam}} = \cos^2_{\mathrm{SGD}}\,\frac{\chi}{\arcsin\chi},
              \qquad \chi = \frac{q}{1+q},\qquad
              q = \frac{c^2|\hat\beta|^2}{\gamma\nu\,V\,\bar{\mathbb E}[s]},

    between 2/pi of the plain gradient (one sign for all neurons) and all of it. On the
    axes of Sigma the signs would give Sigma away. ``s``, ``b``, ``gamma`` and ``nu`` as
    in `population_power`, ``activation`` is the name of a link.

    Raises:
        ValueError: for an activation whose slope does not vary or is zero in the mean
            (nothing points at the teacher), a label without power, ``nu`` = 0 (nothing
            dithers), or an argument out of range.
    """
    c, V = _dither(s, nu, activation)
    gradient = population_power(s, b, gamma, nu, 0)
    dither = gamma * nu * V * np.mean(s)
    q = c**2 * gradient.square / dither
    chi = q / (1 + q)
    kept = chi / np.arcsin(chi)
    return gradient.cos2 * kept


def adam_on_axes(s, b, gamma: float, nu: float, activation: str) -> float:
    r"""Return the alignment of Adam's first step in the eigenvectors of Sigma, derived as
    `adam` is, coordinate by coordinate: with a standard normal z

    .. math:: \frac{\bigl(\sum_j\sqrt{b_j}\,\mathbb E\,t_j\bigr)^2}{\sum_jb_j\sum_j\mathbb
              E\,t_j^2},\qquad t_j=\operatorname{erf}\frac{c(m_j+z)}{\sqrt{2V}},\qquad
              m_j^2=\frac{d\,s_jb_j}{\gamma\nu}.

    ``s``, ``b``, ``gamma``, ``nu`` and ``activation`` are those of `adam`.

    Raises:
        ValueError: as `adam`.
    """
    s, b, gamma = check(s, b, gamma)
    c, V = _dither(s, nu, activation)
    noise = gamma * nu / len(s)
    power = s * b / noise
    total = c**2 + V
    inner = np.sqrt(c**2 * power / total)
    mean = special.erf(inner / np.sqrt(2))
    # E erf(.)^2 by Owen's T function
    spread = total + c**2
    angle = np.sqrt(V / spread)
    tails = special.owens_t(inner, angle)
    square = 1 - 8 * tails
    along = np.sqrt(b) @ mean
    size = b.sum() * square.sum()
    return float(along**2 / size)


def _dither(s, nu: float, activation: str) -> tuple[float, float]:
    """Return `slope_moments` of an activation that dithers the sign of a gradient."""
    validate.number("nu", nu, 0, open_low=True)
    c, V = _sloped(activation, s)
    if V < 1e-12:
        raise ValueError(f"activation = {activation!r}: its slope must vary")
    return c, V


def _sloped(activation: str, s) -> tuple[float, float]:
    """Return `slope_moments` of an activation whose mean slope is not zero."""
    c, V = slope_moments(activation, s)
    if abs(c) < 1e-12:
        raise ValueError(
            f"activation = {activation!r}: must have a non-zero mean slope"
        )
    return c, V


def chance(task: Task, p: float) -> float:
    r"""Return the mean alignment of :math:`\Sigma^pXy/n` with the direction of the even
    teacher of ``task``, to first order in 1/d; the labels are not centred.

    Of a teacher that is even in part only, such as a ReLU, this is the level of chance
    and not the alignment, which the mean slope raises: see `population_power`.

    With the standardised index :math:`t` and :math:`K = \mathbb E[y^2t^2]/\mathbb E
    y^2`,

    .. math:: \mathbb E\cos^2 \approx
              \frac{\sum_i b_is_i^{2p+1} + (K-1)(\sum_i b_is_i^{p+1})^2/\tau^2}
              {d\;\bar{\mathbb E}[s^{2p+1}]}.

    Raises:
        ValueError: unless the teacher has one direction, of length 1, and an even part,
            all eigenvalues are positive, and ``p`` leaves their powers within floating
            point.
    """
    s, b = weights(task)
    s = validate.positive("eigenvalues of the task", s)
    link, tau = task.teacher.link, task.tau[0]
    kinks = [kink / tau for kink in link.kinks]

    def power(z):
        square = link(tau * z) ** 2
        return np.stack([square, square * z**2])

    u, weight = numerics.resolving_rule(power, kinks)
    clean = link(tau * u)
    even = clean + link(-tau * u)
    if weight @ even**2 <= 1e-16 * (weight @ clean**2):
        raise ValueError(
            f"teacher has the link {link.name}, which is odd: must be even"
        )
    power = weight * (clean**2 + task.noise_variance)
    K = power @ u**2 / power.sum()
    noise = numerics.raised(s, 2 * p + 1)
    signal = b @ numerics.raised(s, p + 1)
    own = (K - 1) * signal**2 / tau**2
    total = noise.sum()
    return (b @ noise + own) / total


def step_size(
    direction: Direction, slope: float, activation: str, s, theta: float
) -> float:
    r"""Return the :math:`\eta` that makes a spike of strength ``theta`` with a head of
    norm 1.

    ``direction`` has the limits of :math:`\hat\beta`, ``slope`` is the teacher's mean
    slope, ``activation`` the name of a link, ``s`` are the eigenvalues.

    Raises:
        ValueError: for an unknown activation, theta <= 0, or a step that leaves no spike.
    """
    c, _ = slope_moments(activation, s)
    theta = validate.number("theta", theta, 0, open_low=True)
    length = np.sqrt(direction.square)
    strength = validate.number(
        "strength of a unit step", abs(c * slope * length), 0, open_low=True
    )
    return theta / strength


def _seen(activation: str, s) -> tuple[Link, float]:
    # the link and the standard deviation of a preactivation
    link = LINKS[validate.choice("activation", activation, LINKS)]
    variance = validate.positive("s", s).mean()
    return link, float(np.sqrt(variance))
