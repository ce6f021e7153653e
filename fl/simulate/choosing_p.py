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
SPLIT = 2  # a stream of random numbers
# table -> the set of scikit-learn, and what is the label: a class, or a column by name
TABLES = {
    "diabetes": ("diabetes", "target"),
    "breast cancer": ("breast_cancer", "target"),
    "wine, class 0": ("wine", 0),
    "wine, class 1": ("wine", 1),
    "wine, alcohol": ("wine", "alcohol"),
    "iris, petal width": ("iris", "petal width (cm)"),
    "digits, the digit": ("digits", "target"),
    "digits, 0": ("digits", 0),
    "digits, 3": ("digits", 3),
    "digits, 8": ("digits", 8),
    "linnerud, weight": ("linnerud", "Weight"),
}
UNITS = ("standardised", "raw")


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


def table(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs (n, d) and label (n,) of the table ``name`` of `TABLES`, as scikit-learn
    ships it.

    Raises:
        ValueError: for an unknown name.
    """
    from sklearn import datasets  # two seconds, for those who need it

    source, label = TABLES[validate.choice("name", name, TABLES)]
    raw = {"scaled": False} if source == "diabetes" else {}
    load = getattr(datasets, f"load_{source}")
    found = load(as_frame=True, **raw)
    if isinstance(label, int):
        y = found.target == label
    else:
        y = found.frame[label]
    X = found.data.drop(columns=label, errors="ignore")
    return np.array(X, float, order="C"), np.array(y, float)


def half(seed: int, name: str, units: str = "standardised") -> xr.Dataset:
    """Return the risks on one half of a real table of ridge regression on the other.

    Args:
        seed: of the split; the smaller half trains.
        name: of the table, one of `TABLES`.
        units: ``raw``, or ``standardised`` by the training rows, which drops columns that
            are constant there.

    Returns:
        what `assessed` returns, and ``risk`` (p, penalty) in units of the label's variance
        on the other half.

    Raises:
        ValueError: for an unknown table or units.
    """
    validate.choice("units", units, UNITS)
    X, y = table(name)
    n = len(y)
    rows = np.random.default_rng([seed, SPLIT]).permutation(n)
    train, test = np.split(rows, [n // 2])
    if units == "standardised":
        spread = X[train].std(0)
        size = abs(X[train]).max(0)
        varied = spread > 1e-9 * size
        X = X[:, varied] / spread[varied]
    folds = gathered(X[train], y[train])
    (fresh,) = gathered(X[test], y[test], 1)
    run = assessed(folds)
    whole = merged([*folds, fresh])
    risk = held_out(whole, fresh, EXPONENTS, run.grid.values)
    risk *= fresh.n / fresh.v
    return run.assign(risk=(("p", "penalty"), risk))


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
