r"""Ridge regression judged on rows that were held out, from moments alone.

On the training rows, in the eigenbasis of their covariance with `fl.moments.Spectrum`,

.. math:: \min_w\tfrac1n\lVert y-Xw\rVert^2+\rho\,w^\top\hat\Sigma^{-p}w,\qquad
          w_r=\frac{s_rz_r}{\sqrt{\lambda_r}},\quad
          s_r=\frac{\lambda_r^{p+1}}{\lambda_r^{p+1}+\rho},

with rows and labels centred by the *training* means. The mean square that is missed on the
rows held out is then a quadratic form in their moments about these means.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import expit

from fl import validate
from fl.moments import Moments, spectral

TIE = 1e-6  # errors nearer than that are equal


def shrinkage(lam, p, penalty) -> np.ndarray:
    r"""Return :math:`s_r=\lambda_r^{p+1}/(\lambda_r^{p+1}+\rho)`, the share of each
    direction that ridge regression keeps; :math:`\sum s_r` is the effective dimension.

    Args:
        lam: eigenvalues (r,).
        p: exponents, any shape.
        penalty: :math:`\rho`, a shape that fits ``p``.

    Returns:
        the shape of both, and then (r,).

    Raises:
        ValueError: for eigenvalues that are not > 0, a p that is not finite, or no penalty
            or a negative one.
    """
    lam = validate.positive("lam", lam)
    p = validate.array("p", p, np.shape(p))
    penalty = np.asarray(penalty)
    if not (penalty.size and penalty.min() >= 0):
        raise ValueError(f"penalty = {penalty}: must be one or more, all >= 0")
    above = p[..., None] + 1
    with np.errstate(divide="ignore"):  # no penalty keeps everything
        level = np.log(penalty)
    logs = above * np.log(lam)
    return expit(logs - level[..., None])


class HeldOut:
    """A fold of ``whole``, predicted from the rest.

    Args:
        whole: moments of all rows, at least two more than the fold has.
        fold: moments of those held out.

    Raises:
        ValueError: for a fold without rows, or one that leaves fewer than two.
    """

    def __init__(self, whole: Moments, fold: Moments):
        self.n = validate.count("fold.n", fold.n)
        train = whole.without(fold)
        seen = spectral(train)
        U = seen.basis
        self.lam = seen.lam
        self.least_squares = seen.least_squares
        moved = fold.about(train)
        self.v = moved.v
        self.C = U.T @ moved.C @ U
        self.b = U.T @ moved.b

    def error(self, p, penalty) -> np.ndarray:
        r"""Return the mean squared error on the fold for exponents ``p``, of any shape, and
        ``penalty``, :math:`\rho`, of a shape that fits it.

        Raises:
            ValueError: as `shrinkage`.
        """
        u = shrinkage(self.lam, p, penalty)
        w = u * self.least_squares
        linear = w @ self.b
        moved = w @ self.C
        square = (moved * w).sum(-1)
        missed = self.v - 2 * linear + square
        return np.maximum(missed, 0) / self.n  # rounding may leave less than nothing


def tuned(
    whole: Moments, folds: Sequence[Moments], exponents: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return for each of ``exponents`` (P,) the penalty (P,) of least error over the
    ``folds`` (K,), which make up the ``whole``, and the mean squared errors (P, K) there.

    The search is over the logarithm, on a grid from where all directions are fitted to
    where none is, refined twice around its best point; among equals the largest is taken.
    Its lower end stands for no penalty at all.

    Raises:
        ValueError: as `HeldOut`; for folds of more or fewer rows than the whole.
    """
    rows = sum(fold.n for fold in folds)
    if rows != whole.n:
        raise ValueError(f"folds have {rows} rows: must have those of whole, {whole.n}")
    exponents = validate.array("exponents", exponents, ("P",))
    held = [HeldOut(whole, fold) for fold in folds]
    logs = np.log(spectral(whole).lam)
    found = [_tuned(held, p, (p + 1) * logs) for p in exponents]
    penalties, errors = zip(*found, strict=True)
    return np.array(penalties), np.array(errors)


def _tuned(held: list[HeldOut], p: float, logs) -> tuple[float, np.ndarray]:
    """Return penalty and errors (K,) for one exponent, with the logarithms of its t."""
    sizes = np.array([h.n for h in held])
    low = none = logs.min() - 9
    high = logs.max() + 9
    for points in (49, 13, 13):
        grid = np.linspace(low, high, points)
        penalties = np.exp(grid)
        penalties[grid <= none] = 0
        errors = np.array([h.error(p, penalties) for h in held])
        total = sizes @ errors
        least = total.min() * (1 + TIE)
        k = np.flatnonzero(total <= least)[-1]
        around = np.clip([k - 1, k + 1], 0, points - 1)
        low, high = grid[around]
    return float(penalties[k]), errors[:, k]
