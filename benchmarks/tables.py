"""How long `fl diagnose` takes, and how much of it is reading:
``python benchmarks/tables.py``.

Writes tables of normal numbers, 100 columns and a label, in each format (.parquet needs
the extra `tables`), reads them alone, and diagnoses them. ``--long`` takes a million rows.
"""

import tempfile
from importlib.util import find_spec
from pathlib import Path

from clock import Row, agree, clocked, main

# isort: split
import numpy as np
import pandas as pd

from fl.diagnose_read import open_table
from fl.diagnose_run import diagnose, diagnose_file

COLUMNS = 100


def write(path: Path, rows: int) -> tuple:
    """Write a table whose label, the last column, is a noisy sum of the others."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((rows, COLUMNS))
    y = X.sum(1) + rng.standard_normal(rows)
    Z = np.column_stack([X, y])
    frame = pd.DataFrame(
        Z, columns=[f"x{j}" for j in range(COLUMNS)] + ["y"], copy=False
    )
    if path.suffix == ".npy":
        np.save(path, Z)
    elif path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path, index=False)
    return X, y


def read(path: Path) -> None:
    """Read a table as `fl diagnose` does."""
    for _ in open_table(path).batches:
        pass


def rows(long: bool):
    """Yield all rows."""
    sizes = {".npy": [25_000, 50_000, 100_000, *[1_000_000] * long]}
    sizes[".csv"] = [10_000]
    if find_spec("pyarrow") is not None:
        sizes[".parquet"] = [25_000, 100_000, *[1_000_000] * long]
    with tempfile.TemporaryDirectory() as folder:
        for kind, rows in ((k, n) for k, ns in sizes.items() for n in ns):
            path = Path(folder) / f"table{kind}"
            X, y = write(path, rows)
            label = str(COLUMNS) if kind == ".npy" else "y"
            if rows <= 25_000:
                one, other = diagnose_file(path, label), diagnose(X, y)
                gap = abs(one.noise / other.noise - 1)
                agree(f"{kind} and arrays", gap, 1e-9)
            for act, words in (
                (lambda p=path: read(p), "read"),
                (lambda p=path, t=label: diagnose_file(p, t), "diagnosed"),
            ):
                made = clocked(act, repeats=3)
                yield Row(
                    "tables", f"{kind} {words}, rows:", **made, size=rows, work=rows
                )
            path.unlink()


if __name__ == "__main__":
    main(rows, __doc__)
