r"""Linear models in Gram space: exact path, limit, and what whitening leaves of the
test risk.

The model is :math:`f(x) = w^\top x`, started at :math:`w = 0`, trained on the mean
square with :math:`w \leftarrow w - \eta\,P\,\nabla`. Letters as in `fl.theory.gram`:
``X`` is (d, N), ``G`` :math:`= X^\top PX` is (N, N), the cross-Gram ``C`` :math:`=
X^\top Px` is (N, M).
"""

import numpy as np

from fl import validate


def linear_outputs(
    G, C, y, eta: float | None = None, steps: int | None = None
) -> np.ndarray:
    r"""Return the test outputs (M,) of a linear model trained from 0, after ``steps``
    steps or in the limit if None.

    .. math:: f(x) = c(x)^\top G^+\bigl(I - (I - 2\eta G/N)^{n}\bigr)\,y .

    ``G`` is (N, N), ``C`` (N, M), ``y`` (N,); the loss is the mean square. With
    ``steps`` the step size ``eta`` is needed. Eigenvalues of G at most 1e-12 of the
    largest count as zero, or 4 N rounding units of its type if that is more. Derived in
    chapter gram.

    Raises:
        ValueError: for an argument of the wrong shape, or out of range, an ``eta``
            above :math:`N/\lambda_{\max}(G)` among them.
    """
    unit = validate.rounding(G)
    G = validate.psd("G", G)
    N = len(G)
    C = validate.array("C", C, (N, "M"))
    y = validate.array("y", y, (N,))
    values, V = np.linalg.eigh(G)
    top = values[-1]  # 0 if there is nothing to learn from
    kept = values > max(1e-12, N * unit) * top
    values, V = values[kept], V[:, kept]
    filled = np.ones_like(values)
    if steps is not None:
        eta = validate.number("eta", eta, 0, open_low=True)
        steps = validate.count("steps", steps, minimum=0)
        largest = N / top if top > 0 else np.inf
        if eta > largest:
            raise ValueError(
                f"eta = {eta:g}: must be at most {largest:g}, beyond it descent diverges"
            )
        factors = 1 - 2 * eta * values / N
        filled = 1 - factors**steps
    coordinates = V.T @ y
    solved = filled / values * coordinates
    return C.T @ V @ solved


def interpolator(X, y) -> np.ndarray:
    r"""Return the minimum-norm least-squares weights :math:`(X^\top)^+y`, (d,), of
    inputs ``X`` (d, N) and labels ``y`` (N,): the limit for every training power.

    Raises:
        ValueError: for an argument of the wrong shape.
    """
    X = validate.array("X", X, ("d", "N"))
    y = validate.array("y", y, (X.shape[1],))
    return np.linalg.lstsq(X.T, y)[0]


def whitened_risk(n: int, d: int, noise: float = 0.0) -> float:
    r"""Return the expected excess risk of interpolation with :math:`P = \Sigma^{-1}`,
    relative to the signal.

    .. math:: 1 - \frac nd + \mathrm{noise}\,\frac{n}{d - n - 1}

    for ``n`` < d - 1 Gaussian inputs of dimension ``d`` and covariance :math:`\Sigma`
    and any linear teacher; ``noise`` is the noise variance over the signal variance.
    Derived in chapter gram.

    >>> whitened_risk(25, 100)
    0.75

    Raises:
        ValueError: for ``n`` above d - 2.
    """
    n = validate.count("n", n)
    d = validate.count("d", d, minimum=3)
    noise = validate.number("noise", noise, 0)
    if n > d - 2:
        raise ValueError(f"n = {n}: must be at most d - 2 = {d - 2}")
    lost = 1 - n / d
    return lost + noise * n / (d - n - 1)
