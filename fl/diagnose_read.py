"""Tables of other programs, read in batches of rows.

Of .csv and .tsv the encoding, the separator and the decimal sign are read off the first
lines. What is no number is left to be found and named; nothing is guessed.
"""

import csv
import io
import re
import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fl import validate

KINDS = (".csv", ".tsv", ".parquet", ".npz", ".npy")
CELLS = 4_000_000  # of a batch: 32 MB
SAMPLE = 1 << 20  # bytes of a text that are looked at before it is read
LOOKS = 200  # lines of these
MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


class Source(NamedTuple):
    """A table that is read once.

    Args:
        names: of its columns, as the file has them.
        rows: how many, None if that is not known before they are read.
        batches: data frames of rows with these columns.
    """

    names: list[str]
    rows: int | None
    batches: Iterator


def open_table(path) -> Source:
    """Return the table in the file ``path``.

    Raises:
        ValueError: for a file that is not there, of another kind, or that is no table;
            when the batches are read, for one that is broken further on.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file")
    kind = validate.choice(f"{path}: kind of file", path.suffix.lower(), KINDS)
    opened = {".parquet": _parquet, ".npz": _npz, ".npy": _npy}.get(kind, _text)
    try:
        source = opened(path)
    except Exception as error:  # what a parser raises on foreign bytes, nobody knows
        raise ValueError(f"{path}: {error}") from error
    return source._replace(batches=_guarded(path, source.batches))


def _guarded(path: Path, batches: Iterator) -> Iterator:
    try:
        yield from batches
    except Exception as error:
        raise ValueError(f"{path}: {error}") from error


def frames(names, *parts) -> Source:
    """Return a table of ``parts``, arrays (n,) or (n, k) or data frames, side by side;
    ``names`` are those of all columns.
    """
    import pandas as pd

    n = len(parts[0])

    def batch(i: int):
        rows = [pd.DataFrame(part[i : i + height], copy=False) for part in parts]
        return pd.concat([r.reset_index(drop=True) for r in rows], axis=1)

    height = _height(names)
    return Source(list(names), n, map(batch, range(0, n, height)))


def numbers(frame) -> np.ndarray:
    """Return the data ``frame`` (n, D) as an array (D, n), NaN where there is no number."""
    import pandas as pd

    Z = np.full(frame.shape[::-1], np.nan)
    for j, row in enumerate(Z):
        column = frame.iloc[:, j]
        if column.dtype.kind not in "mMc":  # times become numbers, and are none
            found = pd.to_numeric(column, errors="coerce")
            row[:] = found.to_numpy(float, na_value=np.nan)
    return Z


def _height(names) -> int:
    """Return the number of rows in a batch."""
    return max(256, CELLS // len(names))


def _text(path: Path) -> Source:
    """Open a .csv; its heading is read here, so that no name changes and no row shifts."""
    with path.open("rb") as file:
        sample = file.read(SAMPLE)
    encoding = _encoding(sample)
    text = sample.decode(encoding, "ignore")
    first = text.splitlines()[:1]
    separator = max(
        ",;\t|", key=lambda s: len(next(csv.reader(first, delimiter=s), []))
    )
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    names, *rows = [row for row in islice(lines, LOOKS) if row] or [[]]
    if len(sample) == SAMPLE and len(rows) < LOOKS - 1:
        rows.pop()  # a line that the sample cuts
    if not rows:
        raise ValueError("must have a heading and at least one row")
    if all(re.fullmatch(r"[-+.,\d\s]+(e[-+]?\d+)?", name) for name in names):
        raise ValueError("its first line is all numbers: it must be the columns' names")
    if len(rows[0]) == len(names) + 1:  # row names of R, or a separator at the end
        at_end = all(row[-1] == "" for row in rows)
        names = [*names, ""] if at_end else ["", *names]
    look = {
        "sep": separator,
        "decimal": _decimal(rows, separator),
        "encoding": encoding,
        "encoding_errors": "replace",
        "header": 0,
        "names": range(len(names)),
        "index_col": False,
        "skipinitialspace": True,
        "low_memory": False,
        "chunksize": _height(names),
    }
    return Source([name.strip() for name in names], None, _chunks(path, look))


def _chunks(path: Path, look: dict) -> Iterator:
    """Yield the rows of a text; one that is too long is an error, not a warning."""
    import pandas as pd

    with path.open("rb") as file, pd.read_csv(file, **look) as reader:
        while True:
            with warnings.catch_warnings(action="error"):
                frame = next(reader, None)
            if frame is None:
                return
            yield frame


def _encoding(sample: bytes) -> str:
    for mark, encoding in MARKS.items():
        if sample.startswith(mark):
            return encoding
    try:
        sample[: sample.rfind(b"\n") + 1 or None].decode()
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def _decimal(rows: list[list[str]], separator: str) -> str:
    """Return the decimal sign; a comma before three digits proves nothing."""
    number = re.compile(r"\s*[-+]?\d+,\d+\s*")
    commas = [cell.strip() for row in rows for cell in filter(number.fullmatch, row)]
    if separator == "," or not commas:
        return "."
    if any(not re.fullmatch(r"[-+]?[1-9]\d{0,2},\d{3}", c) for c in commas):
        return ","
    raise ValueError(
        f"is {commas[0]} a thousand or a fraction? Save it with points, as 1234 or 1.234"
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
    return _arrays({"": np.lib.format.open_memmap(path, mode="r")})


def _npz(path: Path) -> Source:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        return _arrays(dict(archive))


def _arrays(named: dict[str, np.ndarray]) -> Source:
    """Return a table of arrays (n,) or (n, k), whose columns are called name[0] ..."""
    names = []
    for name, A in named.items():
        if A.ndim not in (1, 2) or A.dtype.kind not in "biuf" or not A.size:
            raise ValueError(
                f"array {name} is {A.dtype} {A.shape}: must be numbers (n, d)"
            )
        many = [f"{name}[{j}]" if name else str(j) for j in range(A.shape[-1])]
        names += many if A.ndim == 2 else [name]
    sizes = {name: len(A) for name, A in named.items()}
    if len(set(sizes.values())) != 1:
        raise ValueError(f"has arrays of {sizes} rows: must be as many in all")
    return frames(names, *named.values())
