r"""What the meter and the bench should read.

The bench's gradients are :math:`G=A\mu^{1/2}\Xi\lambda^{1/2}B^\top`; in the coordinates
:math:`A^\top\cdot B` their entries are independent of variance :math:`\mu_j\lambda_k`,
:math:`\mathbb EGG^\top` has the eigenvalues :math:`\mu_j\sum\lambda` and
:math:`\mathbb EG^\top G` has :math:`\lambda_k\sum\mu`. All derived in chapter
"exponent_meter".
"""

import numpy as np

from fl import validate
from fl.theory.effective_exponent import slope


def damped_slope(lam, p: float, damping: float) -> float:
    r"""Return the slope of :math:`p\log(\lambda+\delta\lambda_1)` on :math:`\log\lambda`:
    what is read of a damped power.

    Args:
        lam: eigenvalues (d,), the largest first.
        p: the exponent.
        damping: :math:`\delta`, relative to the largest eigenvalue.

    Raises:
        ValueError: for eigenvalues that are not > 0 or all equal, a p that is not finite,
            or a damping < 0.
    """
    lam = validate.positive("lam", lam)
    p = validate.number("p", p)
    damping = validate.number("damping", damping, 0)
    raised = lam + damping * lam[0]
    return p * slope(lam, raised)


def exponents(mu, lam, gain) -> tuple[float, float]:
    """Return the exponents of rows and columns that describe a ``gain`` (h, d) best: the
    least-squares slopes of its logarithm on those of ``mu`` (h,) and ``lam`` (d,).

    Raises:
        ValueError: for an entry that is not > 0, or equal eigenvalues.
    """
    shape = len(mu), len(lam)
    gain = validate.positive("gain", gain, shape)
    logs = np.log(gain)
    rows = np.exp(logs.mean(1))
    columns = np.exp(logs.mean(0))
    return slope(mu, rows), slope(lam, columns)


def two_sided(mu, lam, left: float, right: float, memory: float) -> np.ndarray:
    r"""Return the gain (h, d) of :math:`L^{\rm left}GR^{\rm right}` with moving averages
    L of :math:`GG^\top` and R of :math:`G^\top G`, to first order in one minus their
    ``memory`` :math:`\beta`.

    With :math:`f(x)=x^{\rm left}`, :math:`l_j=\mu_j\sum\lambda` and divided differences
    :math:`f[\cdot]` the factor of the left side is :math:`f(l_j)` times

    .. math:: 1+(1-\beta)\frac{\lambda_k}{f(l_j)}\Bigl[\sum_if[l_j,l_i]\mu_i
              +f'(l_j)\mu_j\Bigr]+\frac{1-\beta}{1+\beta}\frac{\sum\lambda^2}{f(l_j)}
              \sum_if[l_j,l_i,l_j]\mu_j\mu_i(1+\delta_{ij}) .

    The first correction is the present gradient in its own factor, the second the
    fluctuation of the factor; the right side is the same with rows and columns exchanged.
    Both factors are made of the same gradients, which adds :math:`\frac{1-\beta}{1+\beta}\,
    2\,{\rm left}\,{\rm right}\,\mu_j\lambda_k/(\sum\mu\sum\lambda)`.
    ``mu`` (h,) and ``lam`` (d,) are the eigenvalues, ``left`` and ``right`` the powers.

    Raises:
        ValueError: for eigenvalues that are not > 0, powers that are not finite, a memory
            outside [0, 1], or one for which a correction exceeds one half.
    """
    mu = validate.positive("mu", mu)
    lam = validate.positive("lam", lam)
    left = validate.number("left", left)
    right = validate.number("right", right)
    beta = validate.number("memory", memory, 0, 1)
    first, rows = _side(mu, lam, left, beta)
    second, columns = _side(lam, mu, right, beta)
    window = (1 - beta) / (1 + beta)
    both = 2 * left * right * window
    share = np.outer(mu / mu.sum(), lam / lam.sum())
    effect = rows + columns.T + both * share
    largest = np.abs(effect).max()
    if not largest <= 0.5:
        raise ValueError(
            f"memory = {memory!r}: must be so long that its effect is at most one half; "
            f"it is {largest:.3g}"
        )
    return np.outer(first, second) * (1 + effect)


def _side(mu, lam, q: float, beta: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the factor (h,) of the rows in the limit of long memory, and its relative
    correction (h, d).
    """
    size = mu * lam.sum()
    value = size**q
    first = q * value / size
    second = (q - 1) / 2 * first / size
    gap = np.subtract.outer(size, size)
    same = gap == 0
    apart = np.where(same, 1.0, gap)
    rise = np.subtract.outer(value, value)
    differences = np.where(same, first, rise / apart)
    rest = first[:, None] - differences
    bends = np.where(same, second, rest / apart)
    own = differences @ mu + first * mu
    spread = bends @ mu + second * mu
    share = lam @ lam / (1 + beta)
    present = np.outer(own, lam)
    others = share * mu * spread
    moved = present + others[:, None]
    return value, (1 - beta) * moved / value[:, None]


def turned(mu, lam, rows, columns) -> np.ndarray:
    r"""Return the gain (h, d) of division by the root of each entry's second moment, off
    the axes: Adam on turned gradients.

    With :math:`v_{ab}=\sum_{jk}A_{aj}^2B_{bk}^2\mu_j\lambda_k` it is
    :math:`\sum_{ab}A_{aj}^2B_{bk}^2v_{ab}^{-1/2}`.

    Args:
        mu: eigenvalues (h,).
        lam: eigenvalues (d,).
        rows: eigenvectors A (h, h), in columns.
        columns: eigenvectors B (d, d), in columns.

    Raises:
        ValueError: for eigenvalues that are not > 0, or bases that do not fit.
    """
    mu = validate.positive("mu", mu)
    lam = validate.positive("lam", lam)
    h, d = len(mu), len(lam)
    A = validate.array("rows", rows, (h, h)) ** 2
    B = validate.array("columns", columns, (d, d)) ** 2
    moment = A @ np.outer(mu, lam) @ B.T
    root = moment**-0.5
    return A.T @ root @ B
