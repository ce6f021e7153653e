r"""Predictions for the noise of layer-wise steps: the variance of one, and the floor at
which many settle.

A problem is ``S``, ``F_star``, ``G_star`` in this order, as in
`fl.theory.representation`; label noise has the variance ``noise`` per output. Every
formula here is derived in the chapter `representation`.
"""

import numpy as np
from numpy.linalg import eigh, inv, solve

from fl import numerics, validate
from fl.theory.representation import (
    complement,
    full_rank,
    modes,
    positive_definite,
    schur_complement,
)

METHODS = ("sgd", "sgd separate", "kfac")


def sgd_variance(
    problem, F, G, eta: float, n: int, noise: float, kurtosis: float = 0.0
) -> float:
    r"""Return :math:`\mathbb E\lVert G_+ - \mathbb E G_+\rVert_F^2` of one SGD step on
    a batch of inputs :math:`Lu`, :math:`L = S^{1/2}`.

    With :math:`A = F^\top(FG - F_\star G_\star)`: :math:`\frac{\eta^2}n[\tr A S^2
    A^\top + \tr A S A^\top\,\tr S + k_4\sum_i(L A^\top A L)_{ii}S_{ii} + \sigma^2\,\tr
    F^\top F\,\tr S]`.

    Args:
        problem: S, F_star (dY, k) and G_star (k, dX).
        F: head of the student, (dY, k).
        G: features of the student, (k, dX).
        eta: step size.
        n: samples of the batch.
        noise: variance :math:`\sigma^2` of the label noise.
        kurtosis: excess :math:`k_4` of the independent entries of u: 0 for Gaussian
            ones, -2 for signs.

    Raises:
        ValueError: for a covariance that is not positive definite, a rank-deficient
            ``F``, n < 1, a step size that is not finite, ``noise`` < 0 or
            ``kurtosis`` < -2.
    """
    S, F_star, G_star = problem
    S = positive_definite(S)
    F = full_rank("F", F)
    n = validate.count("n", n)
    eta = validate.number("eta", eta)
    noise = validate.number("noise", noise, 0)
    kurtosis = validate.number("kurtosis", kurtosis, -2)
    W = np.asarray(F_star) @ G_star
    A = F.T @ (F @ G - W)
    AS = A @ S
    spread = np.sum(AS * A) + noise * np.sum(F**2)
    seen = A @ numerics.psd_power(S, 0.5)
    own = np.sum(seen**2, axis=0) @ np.diag(S)
    total = np.sum(AS**2) + spread * np.trace(S) + kurtosis * own
    return eta**2 / n * total


def kfac_variance(
    S, F, eta: float, n: int, noise: float, kurtosis: float = 0.0
) -> float:
    r"""Return the same for a K-FAC step: :math:`\eta^2\sigma^2\,\tr (F^\top F)^{-1}\,\tr
    S^{-1}/m`.

    For Gaussian inputs :math:`m = n - d_X - 1`; else :math:`m = n - d_X - 1 -
    k_4(1-d_X/n)` up to a relative error of order :math:`(n-d_X)^{-2}`. Entries that
    take few values, such as signs, make the batch covariance singular with a positive
    probability, where the step does not exist; the formula is then that of the other
    batches, and further off the nearer n is to :math:`d_X`.

    Args:
        S: covariance of the inputs, (dX, dX), positive definite.
        F: head of the student, (dY, k), full column rank.
        eta: step size.
        n: samples of the batch.
        noise: variance :math:`\sigma^2` of the label noise.
        kurtosis: excess :math:`k_4` of the whitened inputs, as in `sgd_variance`.

    Raises:
        ValueError: for a covariance that is not positive definite, a rank-deficient
            ``F``, n <= dX + 1, where the inverse of the batch covariance has no mean,
            too few samples for such a ``kurtosis``, m <= 0, a step size that is not
            finite, ``noise`` < 0 or ``kurtosis`` < -2.
    """
    S = positive_definite(S)
    F = full_rank("F", F)
    n = validate.count("n", n, minimum=len(S) + 2)
    eta = validate.number("eta", eta)
    noise = validate.number("noise", noise, 0)
    kurtosis = validate.number("kurtosis", kurtosis, -2)
    head = np.trace(inv(F.T @ F))
    inputs = np.trace(inv(S))
    free = n - len(S)
    samples = free - 1 - kurtosis * free / n
    validate.number("n - dX - 1 - k4 (1 - dX/n)", samples, 0, open_low=True)
    return eta**2 * noise * head * inputs / samples


def noise_floor(
    S,
    F_star,
    G_star,
    method: str,
    eta: float,
    n: int,
    noise: float,
    steps: int | None = None,
) -> float:
    r"""Return :math:`\mathbb E\lVert T\rVert_F^2` of the slope after noisy steps from
    the teacher.

    With a fresh batch per step and a least-squares head, to leading order in the noise,
    mode (i, j) is an autoregression of factor :math:`1-r`.

    Args:
        S: covariance of the inputs, (dX, dX).
        F_star: head of the teacher, (dY, k).
        G_star: features of the teacher, (k, dX), orthonormal rows.
        method: ``sgd`` (head and features share the batch): :math:`r=\eta f_i s_j`,
            variance :math:`\frac{\sigma^2}{n f_i s_j}\frac{r}{2-r}`. ``kfac``:
            :math:`r=\eta` and n - dX - 1 for n. ``sgd separate`` (another batch for the
            head): :math:`\eta^2\sigma^2 f_i m_j/(n(1-(1-r)^2))` with :math:`m_j` the
            diagonal of :math:`S_\perp + 2 \Pi_\perp S G_\star^\top(G_\star S
            G_\star^\top)^{-1}G_\star S \Pi_\perp` in the eigenbasis of :math:`S_\perp`.
        eta: step size.
        n: samples of a batch.
        noise: variance :math:`\sigma^2` of the label noise.
        steps: number of steps, for ever if None.

    Raises:
        ValueError: for an unknown method, n <= dX + 1, ``noise`` or ``steps`` < 0, or a
            step size at which a mode does not decay.
    """
    validate.choice("method", method, METHODS)
    n = validate.count("n", n, minimum=len(S) + 2)
    noise = validate.number("noise", noise, 0)
    if steps is not None:
        steps = validate.count("steps", steps, minimum=0)
    m = rates = modes(S, F_star, G_star)
    if method == "kfac":
        n = n - len(S) - 1
        rates = np.ones_like(m)
    largest = 2 / rates.max()
    if not 0 < eta < largest:
        raise ValueError(
            f"eta = {eta!r}: must be in (0, {largest:.4g}), where every mode decays"
        )
    r = eta * rates
    floor = noise / (n * m)
    floor *= r / (2 - r)
    if method == "sgd separate":
        floor *= 1 + 2 * _leak(S, G_star)
    if steps is not None:
        floor *= 1 - (1 - r) ** (2 * steps)
    return floor.sum()


def _leak(S, G_star) -> np.ndarray:
    """Return the variance of what the teacher sees of an unseen mode, relative to what
    is left of the mode.
    """
    s, V = eigh(schur_complement(S, G_star))
    seen = G_star @ S
    off = seen @ complement(G_star) @ V
    fitted = solve(seen @ G_star.T, off)
    return np.sum(off * fitted, axis=0) / s
