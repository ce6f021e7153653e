"""How long `fl diagnose` takes, and how much of it is reading.

    python benchmarks/diagnose.py [--rows 1000000] [--columns 100] [--kinds .npy .csv]

Writes a table of normal numbers in each format (.parquet needs the extra `tables`), reads
it alone, and diagnoses it; says seconds of the clock and of the processor, and the largest
memory. Two threads; run it on a quiet machine.
"""

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")

import numpy as np

from fl.diagnose_read import open_table
from fl.diagnose_run import diagnose_file

BLOCK = 50_000  # rows


def write(path: Path, rows: int, columns: int) -> None:
    """Write a table whose label, the last column, is a noisy sum of the others."""
    names = [f"x{j}" for j in range(columns)] + ["y"]
    rng = np.random.default_rng(0)

    def block(k: int) -> np.ndarray:
        X = rng.standard_normal((min(BLOCK, rows - k), columns))
        return np.column_stack([X, X.sum(1) + rng.standard_normal(len(X))])

    starts = range(0, rows, BLOCK)
    if path.suffix == ".npy":
        shape = (rows, columns + 1)
        Z = np.lib.format.open_memmap(path, "w+", np.float64, shape)
        for k in starts:
            Z[k : k + BLOCK] = block(k)
        Z.flush()
    elif path.suffix == ".csv":
        import pandas as pd

        for k in starts:
            options = {"header": k == 0, "index": False, "mode": "a"}
            pd.DataFrame(block(k), columns=names).to_csv(path, **options)
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = pa.schema([(name, pa.float64()) for name in names])
        with pq.ParquetWriter(path, schema) as writer:
            for k in starts:
                writer.write_table(pa.table(list(block(k).T), schema))


def read(path: Path) -> None:
    for _ in open_table(path).batches:
        pass


def seconds(act, *arguments) -> str:
    """Return what the clock and the processor took for a call of ``act``."""
    clock, processor = time.perf_counter(), time.process_time()
    act(*arguments)
    return f"{time.perf_counter() - clock:.1f} {time.process_time() - processor:7.1f}"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rows", type=int, default=1_000_000)
    arguments.add_argument("--columns", type=int, default=100)
    kinds = [".npy", ".parquet", ".csv"]
    arguments.add_argument("--kinds", nargs="+", choices=kinds, default=kinds)
    asked = arguments.parse_args()
    print(
        f"{'format':>9s} {'MB':>6s} {'reading, s':>11s} {'in all, s':>10s} {'memory':>8s}"
    )
    with tempfile.TemporaryDirectory() as folder:
        for kind in asked.kinds:
            path = Path(folder) / f"table{kind}"
            write(path, asked.rows, asked.columns)
            label = str(asked.columns) if kind == ".npy" else "y"
            reading = seconds(read, path)
            total = seconds(diagnose_file, path, label)
            most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
            size = path.stat().st_size / 1e6
            path.unlink()
            times = f"{reading:>16s} {total:>16s}"
            print(f"{kind:>9s} {size:6.0f} {times} {most:6.0f} MB", flush=True)


if __name__ == "__main__":
    main()
