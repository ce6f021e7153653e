r"""Linear models in Gram space: exact path, limit, and what whitening leaves of the
test risk.

The model is :math:`f(x) = w^\top x`, started at :math:`w = 0`, trained on the mean
square with :math:`w \leftarrow w - \eta\,P\,\nabla`. Letters as in `fl.theory.gram`:
``X`` is (d, N), ``G`` :math:`= X^\top PX` is (N, N), the cross-Gram ``C`` :math:`=
X^\top Px` is (N, M).
"""

import numpy as np
from scipy import linalg

from fl import validate


def linear_outputs(
    G, C, y, rate: float | None = None, steps: int | None = None
) -> np.ndarray:
    r"""Return the test outputs (M,) of a linear model trained from 0, after ``steps``
    steps or in the limit if None.

    .. math:: f(x) = c(x)^\top G^+\bigl(I - (I - 2\eta G/N)^{n}\bigr)\,y .

    The loss is the mean square; with ``steps`` the ``rate`` is needed. ``C`` is (N, M).
    Derived in chapter gram.
    """
    G = validate.psd("G", G)
    C, y = validate.array("C", C, (len(G), "M")), validate.array("y", y, (len(G),))
    values, V = np.linalg.eigh(G)
    kept = values > 1e-12 * values[-1]
    values, V = values[kept], V[:, kept]
    filled = np.ones_like(values)
    if steps is not None:
        rate, steps = (
            validate.number("rate", rate, 0, open_low=True),
            validate.count("steps", steps, minimum=0),
        )
        filled = 1 - (1 - 2 * rate * values / len(G)) ** steps
    return C.T @ (V * (filled / values)) @ (V.T @ y)


def interpolator(X, y) -> np.ndarray:
    r"""Return the minimum-norm least-squares weights :math:`(X^\top)^+y`, (d,): the
    limit for every training power.
    """
    X = validate.array("X", X, ("d", "N"))
    return linalg.lstsq(X.T, validate.array("y", y, (X.shape[1],)))[0]


def whitened_risk(N: int, d: int, noise: float = 0.0) -> float:
    r"""Return the expected excess risk of interpolation with :math:`P = \Sigma^{-1}`,
    relative to the signal.

    .. math:: 1 - \frac Nd + \mathrm{noise}\,\frac{N}{d - N - 1}

    for N < d - 1 Gaussian inputs of covariance :math:`\Sigma` and any linear teacher;
    ``noise`` is the noise variance over the signal variance. Derived in chapter gram.

    >>> whitened_risk(25, 100)
    0.75
    """
    N, d = validate.count("N", N), validate.count("d", d, minimum=3)
    if N > d - 2:
        raise ValueError(f"N = {N}: must be at most d - 2 = {d - 2}")
    return 1 - N / d + validate.number("noise", noise, 0) * N / (d - N - 1)
