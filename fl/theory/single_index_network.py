r"""What the one-step direction does to the weights, and which direction three other
optimizers take.

The first layer G (N, d) starts with entries N(0, 1/d), so a preactivation has variance
:math:`\bar{\mathbb E}[s]`; the head a (N,) is small and fixed. One step gives
:math:`G_1 = G_0 + \eta\,c\,a\hat\beta^\top`, a spike of strength :math:`\theta = \eta
c|a||\hat\beta|` with :math:`c = \mathbb E\sigma'`. Letters as in
`fl.theory.single_index`; ``V`` is the variance of :math:`\sigma'`, ``r = N/d``. All
formulas are derived in chapter single_index.
"""

import numpy as np
from scipy import special

from fl import numerics, validate
from fl.tasks import LINKS, Task
from fl.theory.single_index import Direction, population_power, weights


def slope_moments(activation: str, s) -> tuple[float, float]:
    r"""Return mean ``c`` and variance ``V`` of :math:`\sigma'(u)`, :math:`u\sim
    N(0,\bar{\mathbb E}[s])`.

    >>> np.round(slope_moments("relu", [1.8, 0.2]), 12).tolist()
    [0.5, 0.25]

    Raises:
        ValueError: for an unknown activation.
    """
    link = LINKS[validate.choice("activation", activation, LINKS)]
    scale = np.sqrt(validate.positive("s", s).mean())
    nodes, measure = numerics.gaussian_rule([k / scale for k in link.kinks])
    slopes = link.slope(scale * nodes)
    c = float(measure @ slopes)
    return c, float(measure @ (slopes - c) ** 2)


def spike(theta: float, r: float) -> tuple[float, float]:
    r"""Return the outlying singular value of :math:`G_0+\theta\,\hat
    a\hat\beta^\top/|\hat\beta|` and its overlap.

    .. math:: s_1 = \frac{\sqrt{(1+\theta^2)(r+\theta^2)}}{\theta}, \qquad
              \langle v_1,\hat\beta/|\hat\beta|\rangle^2 = 1-\frac{r+\theta^2}{\theta^2(\theta^2+1)}.

    ``v_1`` is the right singular vector. Its alignment with the teacher is the overlap
    times that of the direction.

    Raises:
        ValueError: for theta at most :math:`r^{1/4}`, where no singular value leaves
            the bulk [.., 1 + sqrt(r)].
    """
    r = validate.number("r", r, 0, open_low=True)
    theta = validate.number("theta", theta, r**0.25, open_low=True)
    outlier = np.sqrt((1 + theta**2) * (r + theta**2)) / theta
    return float(outlier), float(1 - (r + theta**2) / (theta**2 * (theta**2 + 1)))


def implicit_damping(activation: str, s, gamma: float) -> float:
    r"""Return the damping hidden in the full Gauss-Newton step on G.

    .. math:: \lambda_{\mathrm{eff}} = \frac{\mathrm{tr}\,\Sigma}{n}\Bigl(
              \frac{\mathbb E\sigma'^2}{(\mathbb E\sigma')^2}-1\Bigr).

    It is zero for a linear activation only.

    >>> round(implicit_damping("relu", [1.8, 0.2], gamma=0.5), 12)
    0.5

    Raises:
        ValueError: for an activation without mean slope.
    """
    c, V = slope_moments(activation, s)
    if abs(c) < 1e-12:
        raise ValueError(
            f"activation = {activation!r}: must have a non-zero mean slope"
        )
    return (
        validate.number("gamma", gamma, 0, open_low=True) * float(np.mean(s)) * V / c**2
    )


def adam(
    s, b, gamma: float, nu: float, activation: str, *, on_axes: bool = False
) -> float:
    r"""Return the alignment of Adam's first step, the sign of the gradient matrix,
    labels centred.

    The noise of single neurons dithers the sign. For Sigma rotated at random,

    .. math:: \cos^2_{\mathrm{Adam}} = \cos^2_{\mathrm{SGD}}\,\frac{r}{\arcsin r},\qquad r = \frac{q}{1+q},\qquad
              q = \frac{c^2|\hat\beta|^2}{\gamma\nu\,V\,\bar{\mathbb E}[s]},

    between 2/pi of the plain gradient (one sign for all neurons) and all of it.
    ``on_axes`` is for Sigma diagonal in the coordinates whose signs are taken; they
    give Sigma away. ``b`` is (d,) with the true d.

    Raises:
        ValueError: for an activation whose slope does not vary (nothing dithers: the
            formula is for V > 0).
    """
    c, V = slope_moments(activation, s)
    if V < 1e-12:
        raise ValueError(f"activation = {activation!r}: its slope must vary")
    gradient = population_power(s, b, gamma, nu, 0)
    if not on_axes:
        q = c**2 * gradient.square / (gamma * nu * V * np.mean(s))
        r = q / (1 + q)
        return float(gradient.cos2 * r / np.arcsin(r))
    s, b, d = np.asarray(s, float), np.asarray(b, float), len(s)
    per_sample = s * gamma * nu / d  # variance of a coordinate of X y / n, alpha = 1
    z, w = numerics.gaussian_rule()
    beta = (s * np.sqrt(b))[:, None] + np.sqrt(per_sample)[:, None] * z
    m = special.erf(c * beta / np.sqrt(2 * V * per_sample)[:, None])
    return float((np.sqrt(b) @ (m @ w)) ** 2 / (m**2 @ w).sum())


def chance(task: Task, p: float) -> float:
    r"""Return the mean alignment of :math:`\Sigma^pXy/n` with the direction of an even
    teacher, to first order in 1/d.

    With the standardised index u and :math:`k = \mathbb E[y^2u^2]/\mathbb E y^2`,

    .. math:: \mathbb E\cos^2 \approx \frac{\sum_i b_is_i^{2p+1} + (k-1)(\sum_i b_is_i^{p+1})^2/\tau^2}
              {d\;\bar{\mathbb E}[s^{2p+1}]}.
    """
    s, b = weights(task)
    link, tau = task.teacher.link, task.tau[0]
    nodes, measure = numerics.gaussian_rule([kink / tau for kink in link.kinks])
    power = measure * (link(tau * nodes) ** 2 + task.noise_variance)
    k = power @ nodes**2 / power.sum()
    along = b @ s ** (2 * p + 1) + (k - 1) * (b @ s ** (p + 1)) ** 2 / tau**2
    return float(along / (s ** (2 * p + 1)).sum())


def step_size(
    direction: Direction, slope: float, activation: str, s, theta: float
) -> float:
    r"""Return the :math:`\eta` that makes a spike of strength ``theta`` with a head of
    norm 1.
    """
    c, _ = slope_moments(activation, s)
    return validate.number("theta", theta, 0, open_low=True) / abs(
        c * slope * np.sqrt(direction.square)
    )
