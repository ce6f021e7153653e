r"""Choosing the exponent: ridge regression with the preconditioner :math:`\hat\Sigma^p`
over a grid of exponents and penalties, its cross-validation, and what comes out on fresh
rows of real tables. All from moments, of one pass over the rows.

Rows are samples here: ``X`` is (n, d).
"""

from collections.abc import Sequence
from functools import reduce

import numpy as np
import xarray as xr

from fl import validate
from fl.moments import Moments, spectral
from fl.moments_folds import HeldOut

EXPONENTS = np.linspace(-2, 2, 17)
PENALTIES, FOLDS = 33, 5


def penalties(lam) -> np.ndarray:
    """Return `PENALTIES` log-spaced penalties for each of `EXPONENTS`, (P, L), from where
    every eigenvalue of ``lam`` (r,) is fitted to where none is.

    Raises:
        ValueError: for eigenvalues that are not > 0.
    """
    lam = validate.positive("lam", lam)
    t = lam ** (EXPONENTS[:, None] + 1)
    low = t.min(1) * np.exp(-8.0)
    high = t.max(1) * np.exp(8.0)
    return np.geomspace(low, high, PENALTIES, axis=1)


def kept(lam, exponents, grid) -> np.ndarray:
    """Return the share (P, L, r) of each direction, of eigenvalue ``lam`` (r,), that ridge
    regression keeps at ``exponents`` (P,) and the penalties of ``grid`` (P, L).
    """
    t = lam ** np.add(exponents, 1)[:, None, None]
    return t / (t + grid[..., None])


def held_out(whole: Moments, fold: Moments, exponents, grid) -> np.ndarray:
    """Return the mean squared error (P, L) on the rows of ``fold`` of ridge regression
    on the others of the ``whole``, at ``exponents`` (P,) and the penalties of ``grid``
    (P, L).
    """
    judge = HeldOut(whole, fold)
    return np.array([*map(judge.error, exponents, grid)])


def cross_validated(folds: Sequence[Moments], exponents, grid) -> np.ndarray:
    """Return the mean over the rows of all ``folds`` of the error in their absence, (P, L),
    at ``exponents`` (P,) and the penalties of ``grid`` (P, L).
    """
    whole = merged(folds)
    errors = [fold.n * held_out(whole, fold, exponents, grid) for fold in folds]
    return sum(errors) / whole.n


def generalised(moments: Moments, exponents, grid) -> np.ndarray:
    r"""Return the criterion of generalised cross-validation,
    :math:`\frac1n[\mathrm{RSS}+\sum(1-s)^2q]\,/\,(1-(1+\sum s)/n)^2`, of the rows of
    ``moments`` at ``exponents`` (P,) and the penalties of ``grid`` (P, L): (P, L); infinite
    where nothing is left to judge by.
    """
    s, n = spectral(moments), moments.n
    u = kept(s.lam, exponents, grid)
    left = s.dof - u.sum(-1)
    missed = (1 - u) ** 2 @ s.scores + s.residual
    errors = np.full(left.shape, np.inf)
    return np.divide(n * missed, left**2, errors, where=left > 1e-9 * n)


def merged(parts: Sequence[Moments]) -> Moments:
    """Return the moments of the rows of all ``parts``."""
    return reduce(Moments.merge, parts)


def gathered(X, y, number: int = FOLDS) -> list[Moments]:
    """Return the moments of ``number`` folds of the rows ``X`` (n, d), ``y`` (n,)."""
    parts = zip(np.array_split(X, number), np.array_split(y, number), strict=True)
    return [Moments(X.shape[1]).add(*rows) for rows in parts]


def assessed(folds: list[Moments]) -> xr.Dataset:
    """Return what can be known from the moments of ``folds``.

    Returns:
        ``cv`` and ``gcv`` (p, penalty), the ``grid`` of penalties, and `statistics` of all
        folds.
    """
    train = merged(folds)
    run = statistics(train)
    grid = penalties(run.lam)
    where = "p", "penalty"
    return run.assign(
        cv=(where, cross_validated(folds, EXPONENTS, grid)),
        gcv=(where, generalised(train, EXPONENTS, grid)),
        grid=(where, grid),
        p=EXPONENTS,
    )


def statistics(moments: Moments) -> xr.Dataset:
    """Return ``lam`` and ``scores`` (direction), ``residual`` and ``dof``: what the
    likelihood needs of ``moments``.
    """
    s = spectral(moments)
    return xr.Dataset(
        {
            "lam": ("direction", s.lam),
            "scores": ("direction", s.scores),
            "residual": s.residual,
            "dof": s.dof,
        }
    )
