"""One pass over a table: the moments of its columns, in folds, and what had to be left out.

A column is left out, by name and with the reason, if it has no heading, counts the rows, is
constant, or has one entry that is no finite number, be it missing or text, or too large; the
other columns keep all their rows. A row without a label is left out. Labels that are no
numbers, infinite or too large are refused.
"""

from collections import Counter
from textwrap import shorten
from typing import NamedTuple

import numpy as np
import pandas as pd
import psutil
from tqdm import tqdm

from fl import validate
from fl.diagnose_read import Source, numbers
from fl.moments import Moments, merged

FOLDS = 5
LEAST = 3  # rows
HUGE = 1e150  # larger entries, and deviations below its inverse, have no squares
CONSTANT = "is constant to rounding, or out of floating-point range"
NO_HEADING = "has no heading: row names or a stray separator"
# fold of the i-th row with a label, modulo the length: balanced, no pattern of the rows
BLOCKS = np.tile(range(FOLDS), (1009, 1))
PATTERN = np.random.default_rng(0).permuted(BLOCKS, axis=1).ravel()
NAMELESS = r"column \d+ without a name|Unnamed: \d+"


class Table(NamedTuple):
    """What is known after the pass.

    Args:
        names: of the d columns, the label not among them.
        folds: moments of `FOLDS` disjoint sets of rows, all that have a label.
        reasons: why columns cannot be used, by name.
        rows: number of rows, those without a label too.
        levels: number of different labels; 3 or more say no more than that.
    """

    names: pd.Index
    folds: list[Moments]
    reasons: dict[str, str]
    rows: int
    levels: int


def gather(source: Source, where: int) -> Table:
    """Return what a ``source`` holds whose labels are in the column of index ``where``; a
    progress bar is shown in a terminal.

    Raises:
        ValueError: for more columns than the memory holds, or labels that are no numbers.
    """
    d = len(source.names) - 1
    _refuse_size(d)
    columns = pd.Index(unique(source.names), dtype=object)
    names, target = columns.delete(where), columns[where]
    folds = [Moments(d) for _ in range(FOLDS)]
    reasons = dict.fromkeys(names[names.str.fullmatch(NAMELESS)], NO_HEADING)
    rows, levels, counting = 0, set(), np.arange(d)
    with tqdm(total=source.rows, unit=" rows", unit_scale=True, disable=None) as bar:
        for frame in source.batches:
            row = np.arange(rows, rows + len(frame))
            frame = frame.set_axis(columns, axis=1).set_axis(row)
            labelled = frame.dropna(subset=[target])[[*names, target]]
            rows += len(row)
            bar.update(len(row))
            Z, wrong = _checked(labelled, source.decimal)
            if target in wrong:
                raise ValueError(
                    f"target {target!r} {wrong[target]}: labels must be finite numbers, "
                    "two classes 0 and 1"
                )
            reasons = wrong | reasons
            ahead = Z[counting] - labelled.index.to_numpy()
            counting = counting[(ahead == 0).all(1) | (ahead == 1).all(1)]
            levels.update(pd.unique(Z[-1])[:3])
            _deal(Z, folds)
    reasons = dict.fromkeys(names[counting], "counts the rows") | reasons
    return Table(names, folds, reasons, rows, len(levels))


def _deal(Z: np.ndarray, folds: list[Moments]) -> None:
    """Add rows, the columns of ``Z``, to the ``folds``."""
    order = np.arange(len(Z.T)) + sum(fold.n for fold in folds)
    which = PATTERN.take(order, mode="wrap")
    for k, fold in enumerate(folds):
        part = np.compress(which == k, Z, axis=1)
        if part.size:
            fold.add(part[:-1].T, part[-1])


def usable(table: Table) -> tuple[Moments, np.ndarray, dict[str, str]]:
    """Return the moments of all rows of a ``table``, the standard deviations of its columns
    (d,), and the reasons to leave some of them out, constant ones too, in their order.

    Raises:
        ValueError: for labels that are constant, fewer than three rows, or no column that
            can be used.
    """
    names = table.names
    whole = merged(table.folds)
    if whole.n < LEAST or table.levels < 2:
        raise ValueError(
            f"{whole.n} rows with a label, {table.levels} different: must be at least "
            f"{LEAST}, with different labels"
        )
    deviations, still = _spread(whole.C.diagonal() / whole.n, whole.mean)
    if _spread(whole.v / whole.n, whole.label_mean)[1]:
        raise ValueError(f"the label {CONSTANT}")
    reasons = dict.fromkeys(names[still], CONSTANT) | table.reasons
    left_out = {name: reasons[name] for name in names if name in reasons}
    if len(left_out) == len(names):
        said = "; ".join(map(" ".join, left_out.items()))
        raise ValueError(f"no column is left: {shorten(said, 400)}")
    return whole, deviations, left_out


def _spread(variances, means) -> tuple[np.ndarray, np.ndarray]:
    """Return standard deviations, and whether each is nothing but rounding."""
    deviations = np.sqrt(variances)
    rounding = validate.rounding(means) * abs(means)
    return deviations, deviations <= np.maximum(rounding, 1 / HUGE)


def unique(names: list[str]) -> list[str]:
    """Return ``names`` with what tells them apart where one is missing or doubled."""
    often = Counter(names)
    found = []
    for j, name in enumerate(names, 1):
        name = name or f"column {j} without a name"
        while often[name] > 1 or name in found:  # another column may be called that
            name = f"{name} (column {j})"
        found.append(name)
    return found


def _checked(frame: pd.DataFrame, decimal: str) -> tuple[np.ndarray, dict[str, str]]:
    """Return the numbers of a ``frame``, 0 for what is none, and what is wrong with the
    first such entry of each column that has one, by its name.
    """
    Z = numbers(frame, decimal)
    gaps = ~(abs(Z) <= HUGE)
    wrong = {}
    for j in np.flatnonzero(gaps.any(1)):
        i = gaps[j].argmax()
        entry = str(frame.iat[i, j])[:30]
        large = f", too large: above {HUGE:g}" * bool(np.isfinite(Z[j, i]))
        place = f"row {frame.index[i] + 1}"
        wrong[frame.columns[j]] = f"has {entry!r} in {place}{large}"
    Z[gaps] = 0
    return Z, wrong


def _refuse_size(d: int) -> None:
    needed = 32e-9 * FOLDS * (d + 1) ** 2  # GB, of four copies
    memory = psutil.virtual_memory().total / 1e9
    if needed > memory:
        raise ValueError(
            f"{d} columns need {needed:.0f} GB, this machine has "
            f"{memory:.0f}: keep fewer columns"
        )
