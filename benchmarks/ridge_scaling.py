"""Time and memory of one step and ridge, from d = N = 500 to 4,000: ``python
benchmarks/ridge_scaling.py [D ...]``.

n = 2d in both stages. Every size runs in a process of its own; its peak memory, less
that of a process that has only imported the libraries, is set against the bytes of one
N x N matrix, and its time against the flop count. The features of all samples at once
would be an n x N matrix, twice as large, and the pipeline would need several.
"""

import json
import resource
import subprocess
import sys
import time

import numpy as np

PENALTY = 0.1


def flops(d: int) -> float:
    """Multiplications and additions of the matrix products and the Cholesky factors, N
    = d and n = 2d.
    """
    n = 2 * d
    step = 4 * n * d * d  # X W0 and X'(...)
    fits = 2 * (
        2 * n * d * d + 2 * n * d * d + d**3 / 3
    )  # X W1, S'S and the factor, on a fresh and on the first sample
    return step + fits + 2 * d**3  # and W1'W1


def measure(d: int) -> dict[str, float]:
    from fl.instruments import streamed_ridge
    from fl.simulate.spikes_risk import risk

    risk(0, 1.0, (PENALTY,), d=20)  # libraries warm up outside the clock
    if d == 0:
        return {"peak": _peak()}
    start, cpu = time.perf_counter(), time.process_time()
    run = risk(0, 4.0, (PENALTY,), d=d)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return {
        "seconds": seconds,
        "cpu": cpu,
        "peak": _peak(),
        "risk": float(run.fresh.squeeze()),
        "device": str(streamed_ridge.device()),
    }


def _peak() -> float:
    import torch

    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def alone(d: int) -> dict[str, float]:
    output = subprocess.run(
        [sys.executable, __file__, "--one", str(d)],
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(output.stdout)


def main(dims: list[int]) -> None:
    base = alone(0)["peak"]
    rows = [alone(d) for d in dims]
    print("  d = N   seconds     CPU s   GFlop/s  memory MB  in N x N    risk  device")
    for d, r in zip(dims, rows, strict=True):
        memory, rate = r["peak"] - base, flops(d) / r["cpu"] / 1e9
        clocks = f"{r['seconds']:9.2f} {r['cpu']:9.2f} {rate:9.1f}"
        sizes = f"{memory / 1e6:10.0f} {memory / (8 * d * d):9.1f}"
        print(f"{d:7d} {clocks} {sizes} {r['risk']:7.4f}  {r['device']}")
    columns = {
        "time": [r["seconds"] for r in rows],
        "CPU time": [r["cpu"] for r in rows],
        "flop count": [flops(d) for d in dims],
        "memory": [r["peak"] - base for r in rows],
    }
    for name, values in columns.items() if len(dims) > 1 else ():
        steps = np.diff(np.log(values)) / np.diff(np.log(dims))
        fit = np.polyfit(np.log(dims), np.log(values), 1)[0]
        each = ", ".join(f"{step:.2f}" for step in steps)
        print(f"exponent of {name}: {fit:.2f} over all sizes; {each} from size to size")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(int(sys.argv[2]))))
    else:
        main([int(d) for d in sys.argv[1:]] or [500, 1000, 2000, 4000])
