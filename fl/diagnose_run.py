"""What a table says about the exponent of a preconditioner: `diagnose`.

The exponent is estimated by its likelihood (`fl.theory.choosing_p`), the penalty of each
exponent by cross-validation, both from the moments of one pass. The answer is about ridge
regression on the columns of the table, not about a network: chapters "choosing_p" and
"diagnose" say why, and the exponent of an optimizer is never set from here.
"""

import numpy as np
import pandas as pd

from fl import validate
from fl.diagnose_pass import Table, gather, unique, usable
from fl.diagnose_read import framed, open_table
from fl.diagnose_report import Report, compared
from fl.moments import spectral
from fl.moments_folds import shrinkage, tuned
from fl.theory import choosing_p as theory

EXPONENTS = (-1.0, -0.5, 0.0, 0.5, 1.0)


def diagnose(X, y, standardise: bool = True) -> Report:
    """Return what inputs ``X`` (n, d), an array or a data frame, and labels ``y`` (n,)
    say; print it, or look at its attributes. Two pandas objects must have one index.

    Columns that cannot be used are left out by name, those with masked entries too. With
    ``standardise`` each is divided by its standard deviation, found in the same pass;
    without, the exponent measures the units of the columns too.

    >>> import numpy as np
    >>> X = np.random.default_rng(0).standard_normal((200, 3))
    >>> diagnose(X, X.sum(1)).told  # three directions of one size
    False

    Raises:
        ValueError: for shapes or indexes that do not fit, fewer than three rows, labels
            that are constant or no numbers, or no column that can be used.
    """
    if not isinstance(X, pd.DataFrame):
        X = np.asanyarray(X)
    shape, rows = X.shape, np.shape(y)
    if len(shape) != 2 or rows != shape[:1]:
        raise ValueError(f"X, y have shapes {shape}, {rows}: must be (n, d) and (n,)")
    d = shape[1]
    names = getattr(X, "columns", [f"column {j + 1}" for j in range(d)])
    frame = pd.DataFrame(X, copy=False)
    frame.columns = list(map(str, names))
    labels = pd.Series(y)
    if isinstance(X, pd.DataFrame) and isinstance(y, pd.Series):
        if not frame.index.equals(labels.index):
            raise ValueError("y has another index than X: both must hold the same rows")
    name = getattr(y, "name", None)
    name = "y" if name is None else str(name)
    frame.insert(d, name, labels.array, allow_duplicates=True)
    return _report(gather(framed(frame), d), name, standardise)


def diagnose_file(path, target: str, standardise: bool = True) -> Report:
    """Return what the table in the file ``path`` says about its column ``target``, one of
    several of a name by its number, as "a (column 2)"; ``standardise`` as in `diagnose`.

    Raises:
        ValueError: as `diagnose`; for a file that cannot be read, or a target that is not
            the name of a column.
    """
    try:
        source = open_table(path)
        names = unique(source.names)
        validate.choice("target", target, names)
        table = gather(source, names.index(target))
    except Exception as error:  # what a parser raises on foreign bytes, nobody knows
        raise ValueError(f"{path}: {error}") from error
    return _report(table, target, standardise)


def _report(table: Table, target: str, standardise: bool) -> Report:
    whole, deviations, left_out = usable(table)
    kept = ~table.names.isin(left_out)
    deviations = deviations[kept]
    by = deviations if standardise else 1.0
    whole, *folds = (m.take(kept, by) for m in (whole, *table.folds) if m.n)
    seen = spectral(whole)
    choice = theory.fit(*seen.statistics)
    exponents = [*EXPONENTS, *[choice.p] * choice.told]
    penalties, errors = tuned(whole, folds, exponents)
    dimensions = shrinkage(seen.lam, exponents, penalties).sum(1)
    sizes = np.array([fold.n for fold in folds])
    relative = errors * whole.n / whole.v
    return Report(
        rows=whole.n,
        target=target,
        columns=table.names[kept].tolist(),
        left_out=left_out,
        unlabelled=table.rows - whole.n,
        binary=table.levels == 2,
        standardised=standardise,
        ratio=float(deviations.max() / deviations.min()),
        lam=seen.lam,
        noise=choice.noise * seen.dof / whole.v,
        choice=choice,
        folds=len(folds),
        risks=compared(exponents, penalties, dimensions, relative, sizes),
    )
