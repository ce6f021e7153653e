r"""Even teachers: how a quadratic student leaves the origin, and which direction wins.

The student :math:`f_W(x)=\lvert Wx\rvert^2`, inputs :math:`N(0,\Sigma)`, learns
:math:`f(\beta^\top x)` with an even f and a unit eigenvector :math:`\beta` of
:math:`\Sigma`, under a quarter of the mean square. Near W = 0 a step preconditioned by
:math:`P=\Sigma^p` is linear, :math:`\dot W=WHP` with

.. math:: H=\mathbb E[f\,xx^\top]
          =\mathbb E f\,\Sigma+\mathbb E f''\,\Sigma\beta\beta^\top\Sigma .

Derived in chapter "spectral_updates"; the setting is that of [BBHI26]. Direction 0 is
the signal's, as everywhere in this module.
"""

import numpy as np

from fl import numerics, validate
from fl.links import Link


def contrast(link: Link, variance: float = 1.0) -> float:
    r"""Return :math:`\kappa=1+\lambda\,\mathbb E f''/\mathbb E f`, the advantage of the
    signal at equal variance, for u of ``variance`` :math:`\lambda` and f the ``link``.

    By Stein's identity it is :math:`\mathbb E[f(u)u^2]/(\lambda\mathbb E f)`, so f needs
    no second derivative.

    >>> from fl.links import LINKS
    >>> round(contrast(LINKS["square"]), 9), round(contrast(LINKS["abs"]), 9)
    (3.0, 2.0)

    Raises:
        ValueError: for a variance that is not > 0, or a link without a positive mean.
    """
    variance = validate.number(
        "variance",
        variance,
        0,
        open_low=True,
    )
    mean, _, second = link.hermite(2, variance**0.5)
    if mean < 1e-12:
        raise ValueError(f"link = {link.name!r}: must have a positive mean")
    return float(1 + 2**0.5 * second / mean)


def escape_rates(lam, link: Link, p: float = 0.0, centred: bool = False) -> np.ndarray:
    r"""Return the growth rates (d,) of the directions near W = 0.

    .. math:: r_l=\mathbb E f\,\lambda_l^{1+p}\,\kappa^{1\{l=0\}}

    Args:
        lam: eigenvalues (d,) of the inputs, the signal's first.
        link: the link f.
        p: exponent of the preconditioner.
        centred: labels and outputs have their means removed: then only the signal
            grows, at :math:`\mathbb E f\,\lambda_0^{1+p}(\kappa-1)`.

    Raises:
        ValueError: for an eigenvalue that is not > 0, a p whose powers are not within
            floating point, or a link without positive mean.
    """
    lam = validate.positive("lam", lam)
    weight = np.full_like(lam, 1 - centred)
    weight[0] += contrast(link, lam[0]) - 1
    numerics.raised(lam, p)  # refuses by name what the next line would call p + 1
    return link.hermite(0, lam[0] ** 0.5) * weight * numerics.raised(lam, 1 + p)


def one_neuron(speeds, length: float, steps: int = 10000) -> np.ndarray:
    r"""Return the growth factors (d,) of one neuron under the polar step, which for one
    row is the normalised gradient: the gradient's path at unit speed.

    Args:
        speeds: growth rates (d,) under the gradient.
        length: of the path, in units of the neuron's equal parts along all directions.
        steps: of the integration along the path.

    Raises:
        ValueError: for a rate that is not > 0, a length < 0, or steps < 1.
    """
    speeds = validate.positive("speeds", speeds)
    speeds = speeds / speeds.max()  # their squares must be within floating point
    short = validate.number("length", length, 0) / validate.count("steps", steps)
    grown = np.ones_like(speeds)
    for _ in range(steps):
        move = speeds * grown
        grown += short * move / np.linalg.norm(move)
    return grown
