r"""Ridge regression judged on rows that were held out, from moments alone.

On the training rows, in the eigenbasis of their covariance with `fl.moments.Spectrum`,

.. math:: \min_w\tfrac1n\lVert y-Xw\rVert^2+\rho\,w^\top\hat\Sigma^{-p}w,\qquad
          w_r=\frac{u_rz_r}{\sqrt{\lambda_r}},\quad
          u_r=\frac{\lambda_r^{p+1}}{\lambda_r^{p+1}+\rho},

with rows and labels centred by the *training* means. The mean square that is missed on the
rows held out is then a quadratic form in their moments about these means.
"""

from collections.abc import Sequence

import numpy as np

from fl import validate
from fl.moments import Moments, spectral


class HeldOut:
    """A fold of ``whole``, predicted from the rest.

    Args:
        whole: moments of all rows, at least two more than the fold has.
        fold: moments of those held out.

    Raises:
        ValueError: for a fold that leaves fewer than two rows.
    """

    def __init__(self, whole: Moments, fold: Moments):
        train = whole.without(fold)
        self.n = fold.n
        self.lam, self.along, *_, U = spectral(train)
        C, b, self.v = fold.about(train)
        self.C, self.b = U.T @ C @ U, U.T @ b

    def error(self, p: float, dampings) -> np.ndarray:
        r"""Return the mean squared error (L,) on the fold for the exponent ``p`` and each
        of ``dampings`` (L,), :math:`\rho`.

        Raises:
            ValueError: if one of these is not a number >= 0, or ``p`` is not finite.
        """
        t = self.lam ** (validate.number("p", p) + 1)
        damping = validate.array("dampings", dampings, ("L",))[:, None]
        if damping.min() < 0:
            raise ValueError(f"dampings has {damping.min():g}: must be >= 0")
        w = t / (t + damping) * (self.along / np.sqrt(self.lam))
        missed = self.v - 2 * w @ self.b + ((w @ self.C) * w).sum(1)
        return missed / self.n


def tuned(
    whole: Moments, folds: Sequence[Moments], exponents: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return for each of ``exponents`` (P,) the damping (P,) of least error over the
    ``folds`` (K,), which make up the ``whole``, and the mean squared errors (P, K) there.

    The search is over the logarithm, on a grid from where all directions are fitted to
    where none is, refined twice around its best point.

    Raises:
        ValueError: as `HeldOut`.
    """
    held = [HeldOut(whole, fold) for fold in folds]
    sizes = np.array([fold.n for fold in folds])
    logs = np.log(spectral(whole).lam)
    dampings, errors = [], []
    for p in exponents:
        ends = (p + 1) * logs
        low, high = ends.min() - 9, ends.max() + 9
        for points in (49, 13, 13):
            grid = np.linspace(low, high, points)
            missed = np.array([h.error(p, np.exp(grid)) for h in held])
            k = int((sizes @ missed).argmin())
            low, high = grid[max(k - 1, 0)], grid[min(k + 1, points - 1)]
        dampings.append(np.exp(grid[k]))
        errors.append(missed[:, k])
    return np.array(dampings), np.array(errors)
