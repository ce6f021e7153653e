"""One pass over a table: the moments of its columns, in folds, and what had to be left out.

A column is left out, by name and with the reason, if it has no heading, counts the rows, is
constant, or has one entry that is no finite number, be it missing or text; the other columns
keep all their rows. A row without a label is left out. Labels that are text or infinite are
refused.
"""

import os
import re
from collections import Counter
from functools import reduce
from typing import NamedTuple

import numpy as np

from fl.diagnose_read import Source, numbers
from fl.moments import Moments

FOLDS = 5
LEAST = 3  # rows
# the fold of row i is entry i modulo the length: balanced, and no pattern of the rows
PATTERN = np.random.default_rng(0).permuted(np.tile(range(FOLDS), (1009, 1)), axis=1)
NAMELESS = r"column \d+ without a name|Unnamed: \d+"


class Table(NamedTuple):
    """What is known after the pass.

    Attributes:
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
    """Read a ``source`` with the labels in the column of index ``where``; a progress bar
    is shown in a terminal.

    Raises:
        ValueError: for more columns than the memory holds, labels that are no numbers or
            constant, fewer than three rows, no column that can be used.
    """
    from tqdm import tqdm

    _refuse_size(len(source.names) - 1)
    names = unique(source.names)
    inputs = [j for j in range(len(names)) if j != where]
    folds = [Moments(len(inputs)) for _ in range(FOLDS)]
    reasons, levels, counting, rows = {}, set(), set(inputs), 0
    with tqdm(total=source.rows, unit=" rows", unit_scale=True, disable=None) as bar:
        for frame in source.batches:
            row = np.arange(rows, rows + len(frame))
            Z, wrong = _checked(frame, where, rows)
            if where in wrong:
                cure = "labels must be finite numbers, two classes 0 and 1"
                raise ValueError(f"target {names[where]!r} has {wrong[where]}: {cure}")
            reasons = {j: f"has {what}" for j, what in wrong.items()} | reasons
            counting = {j for j in counting if _counts(Z[j], row)}
            y = Z[where]
            known = np.isfinite(y)
            if len(levels) < 3:
                levels |= set(np.unique(y[known])[:3])
            which = np.where(known, PATTERN.ravel()[row % PATTERN.size], FOLDS)
            for k, fold in enumerate(folds):
                if len(chosen := np.flatnonzero(which == k)):
                    fold.add(Z[np.ix_(inputs, chosen)].T, y[chosen])
            rows += len(frame)
            bar.update(len(frame))
    folds = [fold for fold in folds if fold.n]
    n = sum(fold.n for fold in folds)
    if n < LEAST or len(levels) < 2:
        least = f"must be at least {LEAST}, with different labels"
        raise ValueError(f"{n} rows with a label, {len(levels)} different: {least}")
    whole = reduce(Moments.merge, folds)
    still = whole.C.diagonal() <= n * (4 * np.finfo(float).eps * whole.mean) ** 2
    reasons = dict.fromkeys(counting, "counts the rows") | reasons
    reasons |= dict.fromkeys(np.array(inputs)[still], "is constant") | reasons
    nameless = (j for j in inputs if re.fullmatch(NAMELESS, names[j]))
    reasons |= dict.fromkeys(nameless, "has no heading: row names or a stray separator")
    left_out = {names[j]: why for j, why in sorted(reasons.items())}
    kept = [i for i, j in enumerate(inputs) if j not in reasons]
    if not kept:
        said = "; ".join(f"{k} {why}" for k, why in [*left_out.items()][:5])
        raise ValueError(f"no column is left: {said}")
    whole, *folds = (m.take(kept) for m in (whole, *folds))
    names = [names[inputs[i]] for i in kept]
    return Table(names, whole, folds, left_out, rows - n, len(levels) == 2)


def unique(names: list[str]) -> list[str]:
    """Return ``names`` with what tells them apart where one is missing or doubled."""
    named = [n or f"column {j + 1} without a name" for j, n in enumerate(names)]
    often = Counter(named)
    return [f"{n} (column {j + 1})" if often[n] > 1 else n for j, n in enumerate(named)]


def _checked(frame, where: int, start: int) -> tuple[np.ndarray, dict[int, str]]:
    """Return the numbers of a ``frame`` that begins with row ``start``, 0 for what is none,
    NaN for a label that is missing; and the first wrong entry of each column that has one.
    """
    Z = numbers(frame)
    gaps = ~np.isfinite(Z)
    gaps[where] &= frame.iloc[:, where].notna()
    Z[gaps] = 0
    columns = np.flatnonzero(gaps.any(1)).tolist()
    first = {j: int(gaps[j].argmax()) for j in columns}
    text = {j: str(frame.iat[i, j])[:30] for j, i in first.items()}
    return Z, {j: f"{text[j]!r} in row {start + i + 1}" for j, i in first.items()}


def _counts(z: np.ndarray, row: np.ndarray) -> bool:
    return any(np.array_equal(z, row + k) for k in (0, 1))


def _refuse_size(d: int) -> None:
    needed = 8 * (d + 1) ** 2 * 3 * FOLDS
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError):  # not every system says
        memory = 8 << 30
    if needed > memory:
        sizes = f"{needed / 1e9:.0f} GB, this machine has {memory / 1e9:.0f}"
        raise ValueError(f"{d} columns need {sizes}: keep fewer columns")
