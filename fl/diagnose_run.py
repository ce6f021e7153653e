"""What a table says about the exponent of a preconditioner: `diagnose`.

The exponent is estimated by its likelihood (`fl.theory.choosing_p`), the penalty of each
exponent by cross-validation, both from the moments of one pass. The answer is about ridge
regression on the columns of the table, not about a network: chapters "choosing_p" and
"diagnose" say why, and the exponent of an optimizer is never set from here.
"""

import numpy as np

from fl.diagnose_pass import gather
from fl.diagnose_read import Source, frames, open_table
from fl.diagnose_report import Report, compared
from fl.moments import spectral
from fl.moments_folds import shrinkage, tuned
from fl.theory import choosing_p as theory

EXPONENTS = (-1.0, -0.5, 0.0, 0.5, 1.0)


def diagnose(X, y, standardise: bool = True) -> Report:
    """Return what inputs ``X`` (n, d), an array or a data frame, and labels ``y`` (n,)
    say; print it, or look at its attributes. Two pandas objects must have one index.

    Columns that cannot be used are left out by name. With ``standardise`` each is divided
    by its standard deviation, found in the same pass; without, the exponent measures the
    units of the columns too.

    >>> import numpy as np
    >>> X = np.random.default_rng(0).standard_normal((200, 3))
    >>> diagnose(X, X.sum(1)).told  # three directions of one size
    False

    Raises:
        ValueError: for shapes or indexes that do not fit, masked entries, fewer than three
            rows, labels that are constant or no numbers, or no column that can be used.
    """
    framed = hasattr(X, "iloc")
    for name, part in (("X", X), ("y", y)):
        if np.ma.is_masked(part):
            raise ValueError(
                f"{name} has masked entries: must have none (NaN if unknown)"
            )
    if framed and hasattr(y, "iloc") and not X.index.equals(y.index):
        raise ValueError("y has another index than X: both must hold the same rows")
    label = getattr(y, "name", None)
    label = "y" if label is None else str(label)
    if not framed:
        X = np.asarray(X)
    y = np.asarray(y)
    if X.ndim != 2 or 0 in X.shape or y.shape != (len(X),):
        raise ValueError(
            f"X, y have shapes {X.shape}, {y.shape}: must be (n, d) and (n,), n and d >= 1"
        )
    d = X.shape[1]
    columns = X.columns if framed else [f"column {j + 1}" for j in range(d)]
    source = frames([*map(str, columns), label], X, y)
    return _report(source, d, standardise)


def diagnose_file(path, target: str, standardise: bool = True) -> Report:
    """Return what the table in the file ``path`` says about its column ``target``;
    ``standardise`` as in `diagnose`.

    Raises:
        ValueError: as `diagnose`; for a file that cannot be read, or a target that is not
            the name of one column.
    """
    source = open_table(path)
    names = source.names
    often = names.count(target)
    if often != 1 or len(names) < 2:
        shown = ", ".join(name or "(no name)" for name in names[:20])
        more = ", ..." if len(names) > 20 else ""
        said = f"must be the name of one column of {shown}{more}"
        raise ValueError(f"{path}: target {target!r} stands {often} times: {said}")
    return _report(source, names.index(target), standardise)


def _report(source: Source, where: int, standardise: bool) -> Report:
    columns, whole, folds, *left_out = gather(source, where)
    deviations = np.sqrt(whole.C.diagonal() / whole.n)
    by = deviations if standardise else 1.0
    whole, *folds = (m.take(slice(None), by) for m in (whole, *folds))
    seen = spectral(whole)
    choice = theory.fit(*seen.statistics)
    exponents = [*EXPONENTS, *[choice.p] * choice.told]
    penalties, errors = tuned(whole, folds, exponents)
    dimensions = shrinkage(seen.lam, exponents, penalties).sum(1)
    sizes = np.array([fold.n for fold in folds])
    relative = errors * whole.n / whole.v
    return Report(
        whole.n,
        source.names[where],
        columns,
        *left_out,
        standardised=standardise,
        ratio=float(deviations.max() / deviations.min()),
        lam=seen.lam,
        noise=choice.noise * seen.dof / whole.v,
        choice=choice,
        folds=len(folds),
        risks=compared(exponents, penalties, dimensions, relative, sizes),
    )
