"""What the package costs: ``python tools/bench.py [--keep] [--long] [NAME ...]``.

Runs the benchmarks of ``benchmarks/``, each in a process of its own, prints their tables
and what the last build of the book took, and writes ``_build/bench.json``. Agreement is
checked before anything is timed. ``--keep`` stores the run in ``book/data`` for the page
on scaling; make it on a quiet machine. ``OMP_NUM_THREADS`` is the number of threads, one
if it is not set.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import numpy as np
import xarray as xr

from fl import stored

ROOT = Path(__file__).resolve().parent.parent
FOLDER, OUT = ROOT / "benchmarks", ROOT / "_build" / "bench.json"
NAMES = ["trainer", "ridge", "solvers", "optimizers", "meter", "tables"]
NUMBERS = {
    "cpu": ("processor time of a call", "s"),
    "wall": ("time of the clock of a call", "s"),
    "spread": ("quartile distance of the processor time over its median", "1"),
    "size": ("what is varied, 0 where nothing is", "1"),
    "work": ("operations, bytes or rows of a call, 0 where nothing is counted", "1"),
    "memory": ("largest memory beside that of the libraries", "B"),
}


def measured(name: str, long: bool) -> list[dict]:
    """Return the rows of one benchmark, after printing them."""
    sys.path.insert(0, str(FOLDER))
    from clock import Row, table

    command = [sys.executable, str(FOLDER / f"{name}.py"), "--json"] + ["--long"] * long
    print(f"\n{name}", flush=True)
    rows = json.loads(subprocess.run(command, check=True, stdout=-1, text=True).stdout)
    print(table([Row(**row) for row in rows]), flush=True)
    return rows


def machine() -> dict[str, str]:
    """Return what the numbers depend on."""
    lines = Path("/proc/cpuinfo")
    models = lines.read_text().splitlines() if lines.is_file() else []
    model = next((x.split(": ")[1] for x in models if x.startswith("model name")), "")
    return {
        "processor": model or platform.processor() or platform.machine(),
        "cores": str(os.cpu_count()),
        "load": f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown",
        "threads": os.environ["OMP_NUM_THREADS"],
        "date": date.today().isoformat(),
        "seeds": "those of each benchmark",
    }


def book() -> dict[str, float]:
    """Return the seconds of all claims and of all pages, by the last records."""
    kept = json.loads((ROOT / "tools" / "seconds.json").read_text())
    return {part: sum(seconds.values()) for part, seconds in kept.items()}


def as_dataset(rows: list[dict], about: dict[str, str]) -> xr.Dataset:
    """Return the rows as a data set along ``row``, with ``about`` as attributes."""
    words = {key: ("row", [row[key] for row in rows]) for key in ("group", "name")}
    data = xr.Dataset(coords=words, attrs=about)
    for key, (description, unit) in NUMBERS.items():
        said = {"long_name": description, "units": unit}
        data[key] = "row", np.array([row[key] for row in rows], float), said
    return data


def main() -> None:
    """Measure, print, and write."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    arguments.add_argument("--long", action="store_true", help="the largest sizes too")
    arguments.add_argument("--keep", action="store_true", help="store it in book/data")
    given = arguments.parse_args()
    if unknown := set(given.names) - set(NAMES):
        arguments.error(f"{sorted(unknown)}: must be among {', '.join(NAMES)}")
    if given.keep and given.names:
        arguments.error("--keep stores the whole run: give no names with it")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("MKL_NUM_THREADS", os.environ["OMP_NUM_THREADS"])
    start, about = time.perf_counter(), machine()
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    names = given.names or NAMES
    rows = [row for name in names for row in measured(name, given.long)]
    seconds = book()
    shares = ", ".join(f"{part} {spent:.0f} s" for part, spent in seconds.items())
    print(f"\nthe book, at the last record, processor seconds: {shares}")
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(
        json.dumps({"machine": about, "book": seconds, "rows": rows}, indent=1)
    )
    if given.keep:
        about |= {f"seconds of {part}": str(spent) for part, spent in seconds.items()}
        command = "python tools/bench.py --keep" + " --long" * given.long
        print(f"stored in {stored.write(as_dataset(rows, about), 'bench', command)}")
    print(f"written to {OUT} ({time.perf_counter() - start:.0f} s)")


if __name__ == "__main__":
    main()
