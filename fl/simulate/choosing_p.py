r"""Choosing the exponent: ridge regression with the preconditioner :math:`\hat\Sigma^p`
over a grid of exponents and penalties, its cross-validation, and what comes out on fresh
rows of real tables. All from moments, of one pass over the rows.

Rows are samples here: ``X`` is (n, d).
"""

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr

from fl import validate
from fl.moments import Moments, Spectrum, merged, spectral
from fl.moments_folds import HeldOut, shrinkage

EXPONENTS = np.linspace(-2, 2, 17)
PENALTIES, FOLDS = 33, 5


def penalties(lam) -> np.ndarray:
    """Return `PENALTIES` log-spaced penalties for each of `EXPONENTS`, (P, L), from where
    every eigenvalue of ``lam`` (r,) is fitted to where none is.

    Raises:
        ValueError: for eigenvalues that are not > 0.
    """
    t = validate.positive("lam", lam) ** (EXPONENTS[:, None] + 1)
    low = t.min(1) * np.exp(-8.0)
    high = t.max(1) * np.exp(8.0)
    return np.geomspace(low, high, PENALTIES, axis=1)


def cross_validated(folds: Sequence[Moments], p, penalty) -> np.ndarray:
    """Return the mean over the rows of all ``folds`` of the error in their absence, for
    exponents ``p`` and a ``penalty`` of any shape that fits them.
    """
    whole = merged(folds)
    errors = (fold.n * HeldOut(whole, fold).error(p, penalty) for fold in folds)
    return sum(errors) / whole.n


def generalised(seen: Spectrum, p, penalty) -> np.ndarray:
    r"""Return the criterion of generalised cross-validation,
    :math:`\frac1n[\mathrm{RSS}+\sum(1-s)^2q]\,/\,(1-(1+\sum s)/n)^2`, of the rows that are
    ``seen``, for exponents ``p`` and a ``penalty`` of any shape that fits them; infinite
    where nothing is left to judge by.
    """
    n = seen.dof + 1
    u = shrinkage(seen.lam, p, penalty)
    left = seen.dof - u.sum(-1)
    missed = (1 - u) ** 2 @ seen.scores + seen.residual
    return np.divide(
        n * missed,
        left**2,
        np.full(left.shape, np.inf),
        where=left > 1e-9 * n,
    )


def gathered(X, y, number: int = FOLDS) -> list[Moments]:
    """Return the moments of ``number`` folds of the rows ``X`` (n, d), ``y`` (n,)."""
    parts = zip(
        np.array_split(X, number),
        np.array_split(y, number),
        strict=True,
    )
    return [Moments(X.shape[1]).add(*rows) for rows in parts]


def assessed(folds: list[Moments], risk: Callable) -> tuple:
    """Return what can be known from the moments of ``folds``, and the ``risk``, a function
    of their spectrum, exponents and penalties.

    Returns:
        the `Spectrum` of all folds; ``cv``, ``gcv`` and ``risk`` (p, penalty), and the
        ``grid`` of penalties.
    """
    seen = spectral(merged(folds))
    grid = penalties(seen.lam)
    column = EXPONENTS[:, None]
    where = "p", "penalty"
    run = {
        "cv": (where, cross_validated(folds, column, grid)),
        "gcv": (where, generalised(seen, column, grid)),
        "risk": (where, risk(seen, column, grid)),
        "grid": (where, grid),
    }
    return seen, xr.Dataset(run, {"p": EXPONENTS})
