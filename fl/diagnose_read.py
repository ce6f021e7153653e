"""Tables of other programs, read in batches of rows.

Of .csv and .tsv the encoding, the separator and the decimal sign are read off the first
lines. What is no number is left to be found and named; nothing is guessed.
"""

import csv
import re
import warnings
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from fl import validate

CELLS = 4_000_000  # of a batch: 32 MB
SAMPLE = 1_000_000  # letters of a text that are looked at before it is read
LOOKS = 200  # lines of it


class Source(NamedTuple):
    """A table that is read once.

    Args:
        names: of its columns, as the file has them.
        rows: how many, None if that is not known before they are read.
        batches: data frames of rows with these columns.
        decimal: the decimal sign of entries that are texts.
    """

    names: list[str]
    rows: int | None
    batches: Iterator[pd.DataFrame]
    decimal: str = "."


def open_table(path) -> Source:
    """Return the table in the file ``path``.

    Raises:
        ValueError: for a file of another kind, or one that is no table. For one that is not
            there, or broken, whatever its parser raises; if it is broken further on, when
            the batches are read.
    """
    path = Path(path)
    kind = validate.choice("kind of file", path.suffix.lower(), READERS)
    return READERS[kind](path)


def framed(frame: pd.DataFrame) -> Source:
    """Return the table of a data ``frame`` (n, D), its names as texts."""
    names = list(map(str, frame.columns))
    n, height = len(frame), _height(names)
    batches = (frame.iloc[i : i + height] for i in range(0, n, height))
    return Source(names, n, batches)


def numbers(frame: pd.DataFrame, decimal: str = ".") -> np.ndarray:
    """Return the data ``frame`` (n, D), whose texts have this ``decimal`` sign, as an array
    (D, n), NaN where there is no number.
    """
    signs = str.maketrans(",.", ".,") if decimal == "," else {}
    columns = []
    for _, column in frame.infer_objects().items():
        if column.dtype.kind in "mMcO":  # times become numbers, and are none
            column = column.astype(str).str.translate(signs)
        found = pd.to_numeric(column, errors="coerce")
        columns.append(found.to_numpy(float, na_value=np.nan))
    return np.array(columns)


def _height(names: list[str]) -> int:
    """Return the number of rows in a batch."""
    return max(256, CELLS // max(len(names), 1))


def _text(path: Path) -> Source:
    """Open a .csv; its heading is read here, so that no name changes and no row shifts."""
    encoding = _encoding(path)
    cells = partial(csv.reader, skipinitialspace=True)
    with path.open(encoding=encoding, errors="replace", newline="") as file:
        first = [file.readline()]
        separator = max(",;\t|", key=lambda s: len(next(cells(first, delimiter=s), [])))
        file.seek(0)
        lines = filter(None, cells(file, delimiter=separator))
        names, *rows = list(islice(lines, LOOKS)) or [[]]
    if not rows:
        raise ValueError("must have a heading and at least one row")
    if all(re.fullmatch(r"[-+.,\d\s]+(e[-+]?\d+)?", name) for name in names):
        raise ValueError("its first line is all numbers: it must be the columns' names")
    if len(rows[0]) == len(names) + 1:  # row names of R, or a separator at the end
        at_end = all(row[-1] == "" for row in rows)
        names = [*names, ""] if at_end else ["", *names]
    decimal = _decimal(rows, separator)
    reader = partial(
        pd.read_csv,
        sep=separator,
        decimal=decimal,
        encoding=encoding,
        encoding_errors="replace",
        header=0,
        names=range(len(names)),
        index_col=False,
        skipinitialspace=True,
        low_memory=False,
        chunksize=_height(names),
    )
    names = [name.strip() for name in names]
    return Source(names, None, _chunks(path, reader), decimal)


def _chunks(path: Path, reader: Callable) -> Iterator[pd.DataFrame]:
    """Yield the rows of a text; one that is too long is an error, not a warning."""
    with path.open("rb") as file, reader(file) as chunks:
        while True:
            with warnings.catch_warnings(action="error"):
                frame = next(chunks, None)
            if frame is None:
                return
            yield frame


def _encoding(path: Path) -> str:
    with path.open("rb") as file:
        if file.read(2) in (BOM_UTF16_LE, BOM_UTF16_BE):
            return "utf-16"
    try:
        with path.open(encoding="utf-8-sig") as file:
            file.read(SAMPLE)
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8-sig"


def _decimal(rows: list[list[str]], separator: str) -> str:
    """Return the decimal sign; a comma before three digits proves nothing."""
    cells = pd.Series([cell for row in rows for cell in row]).str.strip()
    commas = cells[cells.str.fullmatch(r"[-+]?\d+,\d+")]
    if separator == "," or commas.empty:
        return "."
    if not commas.str.fullmatch(r"[-+]?[1-9]\d{0,2},\d{3}").all():
        return ","
    raise ValueError(
        f"is {commas.iloc[0]} a thousand or a fraction? Save it with points, as 1234 or 1.234"
    )


def _parquet(path: Path) -> Source:
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise ValueError("needs pyarrow: pip install 'fl[tables]'") from None
    file = ParquetFile(path)
    names = file.schema_arrow.names
    batches = file.iter_batches(_height(names))
    tables = (batch.to_pandas(ignore_metadata=True) for batch in batches)
    return Source(names, file.metadata.num_rows, tables)


def _npy(path: Path) -> Source:
    array = np.lib.format.open_memmap(path, mode="r")
    return framed(pd.DataFrame(array, copy=False))


def _npz(path: Path) -> Source:
    """Open a table of arrays (n,) or (n, k), whose columns are called name[0] ..."""
    columns = {}
    with path.open("rb") as file, np.load(file) as archive:
        for name, A in archive.items():
            if A.ndim == 2:
                columns |= {f"{name}[{j}]": z for j, z in enumerate(A.T)}
            else:
                columns[name] = A
    return framed(pd.DataFrame(columns, copy=False))


READERS = {
    ".csv": _text,
    ".tsv": _text,
    ".parquet": _parquet,
    ".npz": _npz,
    ".npy": _npy,
}
