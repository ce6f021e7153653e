"""Seconds of the processor and of the clock, as medians with a spread, and rows of them.

A benchmark is a generator of `Row`; `main` runs it alone and prints its rows as a table,
or as JSON for `tools/bench.py`. Two ways of doing one thing are held against each other
with `agree` before either is timed.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from statistics import median, quantiles

THREADS = os.environ.setdefault("OMP_NUM_THREADS", "1")
REPEATS = 5


@dataclass(frozen=True)
class Row:
    """One measurement: medians of ``cpu`` and ``wall`` seconds of what is named.

    ``spread`` is the distance of the quartiles of ``cpu`` over its median. ``size`` is
    what is varied in a row of rows; ``work`` the operations, bytes or table rows done,
    whichever the name says; ``memory`` the bytes that it needed at most.
    """

    group: str
    name: str
    cpu: float
    wall: float
    spread: float
    size: float = 0.0
    work: float = 0.0
    memory: float = 0.0


def clocked(act: Callable, calls: int = 1, repeats: int = REPEATS) -> dict:
    """Return median CPU and wall seconds of a call of ``act``, and the spread, over
    ``repeats`` times ``calls`` calls, after one that warms up.
    """
    act()
    cpu, wall = [], []
    for _ in range(repeats):
        clock, processor = time.perf_counter(), time.process_time()
        for _ in range(calls):
            act()
        cpu.append((time.process_time() - processor) / calls)
        wall.append((time.perf_counter() - clock) / calls)
    low, middle, high = quantiles(cpu, n=4)
    return {"cpu": middle, "wall": median(wall), "spread": (high - low) / middle}


def shared(times: dict, number: int) -> dict:
    """Return the seconds ``times`` of `clocked` for each of ``number`` equal parts."""
    return times | {key: times[key] / number for key in ("cpu", "wall")}


def agree(name: str, gap: float, limit: float) -> None:
    """Print by how much two ways differ, and refuse to time them if it is too much."""
    print(f"{name}: differ by {gap:.1e}, at most {limit:.0e}", file=sys.stderr)
    if not gap <= limit:
        raise ValueError(f"{name}: differ by {gap:.3g}, must be at most {limit:.0e}")


def table(rows: list[Row]) -> str:
    """Return the rows as text."""
    lines = [f"{'':45s} {'size':>8s} {'cpu, ms':>10s} {'wall, ms':>10s} {'+-':>5s}"]
    for row in rows:
        size = f"{row.size:8g}" if row.size else " " * 8
        times = f"{row.cpu * 1e3:10.3f} {row.wall * 1e3:10.3f} {row.spread:5.0%}"
        rate = f"  {row.work / row.cpu:9.3g} /s" if row.work else ""
        more = f"  {row.memory / 1e6:.0f} MB" if row.memory else ""
        lines.append(f"{row.name:45s} {size} {times}{rate}{more}")
    return "\n".join(lines)


def main(rows: Callable[[bool], Iterator[Row]], words: str) -> None:
    """Run the benchmark ``rows``, which is told whether the long rows are wanted, and
    print what it finds; ``words`` describe it.
    """
    arguments = argparse.ArgumentParser(description=words.splitlines()[0])
    arguments.add_argument("--long", action="store_true", help="the largest sizes too")
    arguments.add_argument("--json", action="store_true", help="rows as JSON")
    given = arguments.parse_args()
    found = list(rows(given.long))
    print(json.dumps([asdict(row) for row in found]) if given.json else table(found))
