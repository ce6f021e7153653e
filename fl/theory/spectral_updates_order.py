r"""In which order a linear net learns its modes, when each step raises singular values
to a power q.

A net of depth L with the target :math:`U\operatorname{diag}(s)V^\top` starts aligned
and balanced: every layer has the singular value w in the mode. Its q-flow is
:math:`\dot w=\bigl(\lambda\,w^{L-1}(s-w^L)\bigr)^q`, with the input variance
:math:`\lambda` along the mode. Derived in chapter "spectral_updates"; for q = 0 and L =
2 see [RSK26].
"""

import numpy as np
from scipy import integrate

from fl import validate


def learning_time(s, q: float, depth: int, start: float, variance=1.0) -> np.ndarray:
    r"""Return when modes have reached one half of their targets.

    .. math:: t=\lambda^{-q}\,s^{(1-q(2L-1))/L}
              \int_{w_0s^{-1/L}}^{2^{-1/L}}\bigl(u^{L-1}(1-u^L)\bigr)^{-q}du

    Args:
        s: singular values of the target, (n,).
        q: power of the singular values of each step.
        depth: L, the number of layers.
        start: singular value :math:`w_0` > 0 of every layer at the start.
        variance: :math:`\lambda` of the inputs along the modes, (n,) or one number.

    Returns:
        The times (n,).

    >>> learning_time([8.0], 0.0, 2, 0.01).round(6).tolist()  # w grows like t, to 2
    [1.99]

    Raises:
        ValueError: for an argument out of range, or a start beyond the half.
    """
    s = validate.positive("s", s, ("n",))
    q = validate.number("q", q)
    variance = validate.positive(
        "variance",
        variance,
        np.shape(variance),
    )
    L = validate.count("depth", depth)
    start = validate.number("start", start, 0, open_low=True)
    low = start / s ** (1 / L)
    high = 0.5 ** (1 / L)
    if low.max() >= high:
        raise ValueError(f"start = {start!r}: must lie below half of every mode")

    def part(v: float) -> float:
        u = np.exp(v)  # a small start weighs as much as the end
        return u * (u ** (L - 1) * (1 - u**L)) ** -q

    whole = [integrate.quad(part, v, np.log(high))[0] for v in np.log(low)]
    return variance**-q * s ** speed(q, L) * whole


def speed(q, depth):
    r"""Return the exponent of s in the learning time of a net of ``depth`` L under the
    power ``q``, numbers or labelled arrays: :math:`(1-q(2L-1))/L`.

    Below zero strong modes come first, above it weak ones; it is zero at the critical
    power :math:`q^*=1/(2L-1)`.

    >>> speed(1.0, 2), speed(0.0, 2)
    (-1.0, 0.5)

    Raises:
        ValueError: for a power that is not finite, or a depth that is not > 0.
    """
    validate.array("q", q, np.shape(q))
    validate.positive("depth", depth, np.shape(depth))
    return (1 - q * (2 * depth - 1)) / depth
