r"""Where a step stops being small: the step size at which features come to hold a
Hermite polynomial of the direction of the step, and how it moves with the width.
"""

import numpy as np
from scipy.special import factorial

from fl import validate
from fl.links import LINKS
from fl.theory.spikes import companion, pair, strengths


def departure_exponent(degree: int) -> float:
    r"""Return q = (k-1)/(2k): steps of order :math:`N^q` are the first at which the
    features hold the polynomial of ``degree`` k; derived, to leading order.

    Every neuron has a projection of order :math:`\eta/\sqrt N` on the direction of X'y,
    so the Hermite part of degree k of the features holds a spike of size
    :math:`(\eta/\sqrt N)^k\sqrt N`, beside a bulk of order one.

    >>> departure_exponent(2), round(departure_exponent(3), 3)
    (0.25, 0.333)

    Raises:
        ValueError: if ``degree``, the first beyond the linear part, is < 2.
    """
    degree = validate.count("degree", degree, minimum=2)
    return (degree - 1) / (2 * degree)


def departure(
    links: dict, degree: int, width, psi1: float, psi2: float, penalty: float, level
) -> tuple:
    r"""Return the spread :math:`A=|W_1^\top b|^2` and the step at which the share q of
    :math:`h_k(u)` has q / (1 - q) = ``level``; derived, to leading order.

    The spike has the squared length :math:`f_k^2\,k!\,N(A/N)^k` across those of lower
    degree, and the bulk the mean resolvent :math:`\zeta=\tilde m(s)/\mu_1^2`,
    :math:`s=(\mu_\perp^2+\lambda)/\mu_1^2`, so that

    .. math:: A=N\Bigl(\frac{\text{level}}{f_k^2\,k!\,N\zeta}\Bigr)^{1/k},\qquad
              \eta\mu_1\sqrt{\mu_{1*}^2+\mathbb Ey^2/\psi_1}=\sqrt{A-\psi_2},

    and 0 where the weights have that spread without a step.

    Args:
        links: ``student`` and ``teacher``, each a link ``(name, tau)``.
        degree: k, of which the student has a part.
        width: N, a number or an array.
        psi1: n/d of the step.
        psi2: N/d.
        penalty: lambda.
        level: q / (1 - q), a number or an array in the shape of ``width``.

    Raises:
        ValueError: for a degree below 2 or of which the student has no part, a width,
            ratio or level that is not > 0, or a negative penalty.
    """
    degree = validate.count("degree", degree, minimum=2)
    width = validate.positive("width", width, np.shape(width))
    level = validate.positive("level", level, np.shape(level))
    penalty = validate.number("penalty", penalty, 0)
    numbers = pair(**links)
    name, tau = links["student"]
    top = LINKS[name].hermite(degree, tau)[degree]
    if abs(top) < 1e-12:
        raise ValueError(f"links: the student {name} has no part of degree {degree}")
    size = numbers.mu1**2
    s = (numbers.rest + penalty) / size
    mt, _ = companion(s, psi2)
    square = top**2 * factorial(degree)
    strength = square * mt / size
    share = level / (strength * width)
    spread = width * share ** (1 / degree)
    _, gain = strengths(numbers, psi1, 1.0)
    stretched = np.maximum(spread - psi2, 0)
    return spread, np.sqrt(stretched) / gain
