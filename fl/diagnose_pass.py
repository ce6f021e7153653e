"""One pass over a table: the moments of its columns, in folds, and what had to be left out.

A column is left out, by name and with the reason, if it has no heading, counts the rows, is
constant, or has one entry that is no finite number, be it missing or text, or too large; the
other columns keep all their rows. A row without a label is left out. Labels that are text,
infinite or too large are refused.
"""

import os
import re
from collections import Counter
from itertools import compress
from typing import NamedTuple

import numpy as np

from fl import validate
from fl.diagnose_read import Source, numbers
from fl.moments import Moments, merged

FOLDS = 5
LEAST = 3  # rows
HUGE = 1e150  # larger entries, and deviations below its inverse, have no squares
CONSTANT = "is constant to rounding, or out of floating-point range"
# fold of the i-th row with a label, modulo the length: balanced, no pattern of the rows
BLOCKS = np.tile(range(FOLDS), (1009, 1))
PATTERN = np.random.default_rng(0).permuted(BLOCKS, axis=1).ravel()
NAMELESS = re.compile(r"column \d+ without a name|Unnamed: \d+")


class Table(NamedTuple):
    """What is known after the pass.

    Args:
        names: of the d columns that are kept.
        whole: moments of all rows.
        folds: of at most `FOLDS` disjoint sets of rows, which make up the whole.
        left_out: column to reason.
        unlabelled: number of rows without a label.
        binary: whether there are two different labels.
    """

    names: list[str]
    whole: Moments
    folds: list[Moments]
    left_out: dict[str, str]
    unlabelled: int
    binary: bool


def gather(source: Source, where: int) -> Table:
    """Return what a ``source`` holds whose labels are in the column of index ``where``; a
    progress bar is shown in a terminal.

    Raises:
        ValueError: for more columns than the memory holds, labels that are no numbers or
            constant, fewer than three rows, no column that can be used.
    """
    from tqdm import tqdm

    d = len(source.names) - 1
    _refuse_size(d)
    # the label goes to the end
    order = [*range(where), *range(where + 1, d + 1), where]
    columns = unique(source.names)
    *names, target = columns = [columns[j] for j in order]
    folds = [Moments(d) for _ in range(FOLDS)]
    rows, wrong, levels, counting = 0, {}, set(), set(range(d))
    with tqdm(total=source.rows, unit=" rows", unit_scale=True, disable=None) as bar:
        for frame in source.batches:
            Z, found = _checked(frame.iloc[:, order], columns, rows)
            if target in found:
                raise ValueError(
                    f"target {target!r} {found[target]}: labels must be finite numbers, "
                    "two classes 0 and 1"
                )
            wrong = found | wrong
            row = np.arange(rows, rows + len(frame))
            counting = {j for j in counting if _counts(Z[j], row)}
            rows += len(frame)
            bar.update(len(frame))
            Z = np.compress(np.isfinite(Z[-1]), Z, axis=1)
            if len(levels) < 3:
                levels.update(np.unique(Z[-1])[:3])
            _deal(Z, folds)
    reasons = dict.fromkeys([names[j] for j in counting], "counts the rows") | wrong
    return _kept(names, folds, reasons, rows, len(levels))


def _deal(Z, folds: list[Moments]) -> None:
    """Add rows, the columns of Z, to the ``folds``."""
    order = np.arange(len(Z.T)) + sum(fold.n for fold in folds)
    which = PATTERN[order % PATTERN.size]
    for k, fold in enumerate(folds):
        part = np.compress(which == k, Z, axis=1)
        if part.size:
            fold.add(part[:-1].T, part[-1])


def _kept(names, folds, reasons: dict[str, str], rows: int, levels: int) -> Table:
    """Return the table without the columns that are constant, have no name, or are left
    out for one of the ``reasons``, of so many ``rows`` and different labels.
    """
    folds = [fold for fold in folds if fold.n]
    n = sum(fold.n for fold in folds)
    if n < LEAST or levels < 2:
        raise ValueError(
            f"{n} rows with a label, {levels} different: must be at least {LEAST}, with "
            "different labels"
        )
    whole = merged(folds)
    rounding = validate.rounding(whole.mean) * whole.mean
    least = np.maximum(rounding**2, HUGE**-2)
    still = whole.C.diagonal() <= whole.n * least
    stray = filter(NAMELESS.fullmatch, names)
    reasons = (  # the last that holds is said
        dict.fromkeys(np.compress(still, names), CONSTANT)
        | reasons
        | dict.fromkeys(stray, "has no heading: row names or a stray separator")
    )
    left_out = {name: reasons[name] for name in names if name in reasons}
    kept = [name not in left_out for name in names]
    if not any(kept):
        said = "; ".join(map(" ".join, list(left_out.items())[:5]))
        raise ValueError(f"no column is left: {said}")
    whole, *folds = (m.take(kept) for m in (whole, *folds))
    return Table(
        list(compress(names, kept)),
        whole,
        folds,
        left_out,
        rows - n,
        levels == 2,
    )


def unique(names: list[str]) -> list[str]:
    """Return ``names`` with what tells them apart where one is missing or doubled."""
    often = Counter(names)
    found = []
    for j, name in enumerate(names, 1):
        if not name:
            name = f"column {j} without a name"
        elif often[name] > 1:
            name = f"{name} (column {j})"
        while name in found:  # another column may be called that
            name = f"{name} (column {j})"
        found.append(name)
    return found


def _checked(frame, names: list[str], start: int) -> tuple[np.ndarray, dict[str, str]]:
    """Return the numbers of a ``frame`` that begins with row ``start``, 0 for what is none,
    NaN for a label, in the last column, that is missing; and what is wrong with the first
    such entry of each column that has one, by its name.
    """
    Z = numbers(frame)
    gaps = ~(abs(Z) <= HUGE)
    gaps[-1] &= frame.iloc[:, -1].notna()
    wrong = {}
    for j in np.flatnonzero(gaps.any(1)):
        i = gaps[j].argmax()
        entry = str(frame.iat[i, j])[:30]
        large = ", too large to be squared" * bool(np.isfinite(Z[j, i]))
        wrong[names[j]] = f"has {entry!r} in row {start + i + 1}{large}"
    Z[gaps] = 0
    return Z, wrong


def _counts(z: np.ndarray, row: np.ndarray) -> bool:
    first = z[0] - row[0]
    return first in (0, 1) and np.array_equal(z, row + first)


def _refuse_size(d: int) -> None:
    needed = 8 * (d + 1) ** 2 * 3 * FOLDS
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError):  # not every system says
        memory = 8 << 30
    if needed > memory:
        raise ValueError(
            f"{d} columns need {needed / 1e9:.0f} GB, this machine has "
            f"{memory / 1e9:.0f}: keep fewer columns"
        )
