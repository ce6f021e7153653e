"""One pass over a table: the moments of its columns, in folds, and what had to be left out.

A column is left out, by name and with the reason, if it has no heading, counts the rows, is
constant, or has one entry that is no finite number, be it missing or text, or too large; the
other columns keep all their rows. A row without a label is left out. Labels that are text,
infinite or too large are refused.
"""

import os
import re
from collections import Counter
from functools import reduce
from typing import NamedTuple

import numpy as np

from fl import validate
from fl.diagnose_read import Source, numbers
from fl.moments import Moments

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

    width = len(source.names)
    _refuse_size(width - 1)
    seen = _Seen(unique(source.names), where)
    with tqdm(total=source.rows, unit=" rows", unit_scale=True, disable=None) as bar:
        for frame in source.batches:
            seen.add(frame)
            bar.update(len(frame))
    return seen.table()


class _Seen:
    """What the rows have shown so far."""

    def __init__(self, names: list[str], where: int):
        self.names = names
        self.where = where
        self.inputs = [j for j in range(len(names)) if j != where]
        self.folds = [Moments(len(self.inputs)) for _ in range(FOLDS)]
        self.rows = self.labelled = 0
        self.reasons = {}
        self.levels = set()
        self.counting = set(self.inputs)

    def add(self, frame) -> None:
        """Take in a batch of rows."""
        Z, wrong = _checked(frame, self.where, self.rows)
        if self.where in wrong:
            found = f"target {self.names[self.where]!r} has {wrong[self.where]}"
            cure = "labels must be finite numbers, two classes 0 and 1"
            raise ValueError(f"{found}: {cure}")
        for j, what in wrong.items():
            self.reasons.setdefault(j, f"has {what}")
        row = np.arange(self.rows, self.rows + len(frame))
        self.counting = {j for j in self.counting if _counts(Z[j], row)}
        y = Z[self.where]
        known = np.isfinite(y)
        if len(self.levels) < 3:
            few = np.unique(y[known])[:3]
            self.levels.update(few.tolist())
        order = self.labelled + np.cumsum(known) - 1
        which = PATTERN[order % PATTERN.size]
        self.labelled = int(order[-1]) + 1
        for k, fold in enumerate(self.folds):
            chosen = np.flatnonzero(known & (which == k))
            if len(chosen):
                X = Z[np.ix_(self.inputs, chosen)]
                fold.add(X.T, y[chosen])
        self.rows += len(frame)

    def table(self) -> Table:
        """Return what is kept, after the last row."""
        folds = [fold for fold in self.folds if fold.n]
        n, levels = self.labelled, len(self.levels)
        if n < LEAST or levels < 2:
            found = f"{n} rows with a label, {levels} different"
            least = f"must be at least {LEAST}, with different labels"
            raise ValueError(f"{found}: {least}")
        whole = reduce(Moments.merge, folds)
        left_out = self._left_out(whole)
        kept = [i for i, j in enumerate(self.inputs) if self.names[j] not in left_out]
        if not kept:
            said = "; ".join(map(" ".join, list(left_out.items())[:5]))
            raise ValueError(f"no column is left: {said}")
        names = [self.names[self.inputs[i]] for i in kept]
        whole, *folds = (m.take(kept) for m in (whole, *folds))
        return Table(names, whole, folds, left_out, self.rows - n, levels == 2)

    def _left_out(self, whole: Moments) -> dict[str, str]:
        rounding = validate.rounding(whole.mean) * whole.mean
        least = np.maximum(rounding**2, HUGE**-2)
        still = whole.C.diagonal() <= whole.n * least
        # the first that holds is said
        reasons = dict.fromkeys(np.compress(still, self.inputs), CONSTANT)
        reasons |= dict.fromkeys(self.counting, "counts the rows") | self.reasons
        for j in self.inputs:
            if NAMELESS.fullmatch(self.names[j]):
                reasons[j] = "has no heading: row names or a stray separator"
        return {self.names[j]: reasons[j] for j in self.inputs if j in reasons}


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


def _checked(frame, where: int, start: int) -> tuple[np.ndarray, dict[int, str]]:
    """Return the numbers of a ``frame`` that begins with row ``start``, 0 for what is none,
    NaN for a label that is missing; and the first wrong entry of each column that has one.
    """
    Z = numbers(frame)
    gaps = ~(abs(Z) <= HUGE)
    gaps[where] &= frame.iloc[:, where].notna()
    wrong = {}
    for j in np.flatnonzero(gaps.any(1)).tolist():
        i = int(gaps[j].argmax())
        entry = str(frame.iat[i, j])[:30]
        large = ", too large to be squared" * bool(np.isfinite(Z[j, i]))
        wrong[j] = f"{entry!r} in row {start + i + 1}{large}"
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
        sizes = f"{needed / 1e9:.0f} GB, this machine has {memory / 1e9:.0f}"
        raise ValueError(f"{d} columns need {sizes}: keep fewer columns")
