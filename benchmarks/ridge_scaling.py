"""Time and memory of one step and ridge, from d = N = 500 to 4,000: ``python benchmarks/ridge_scaling.py [D ...]``.

n = 2d in both stages. Every size runs in a process of its own; its peak memory, less that of a process that has only
imported the libraries, is set against the bytes of one N x N matrix, and its time against the flop count. The features
of all samples at once would be an n x N matrix, twice as large, and the pipeline would need several.
"""

import json
import resource
import subprocess
import sys
import time

import numpy as np

PENALTY = 0.1


def flops(d: int) -> float:
    """Multiplications and additions of all matrix products and of the Cholesky factor, N = d and n = 2d."""
    n = 2 * d
    step = 4 * n * d * d  # X W0 and X'(...)
    features = 2 * n * d * d + 2 * n * d * d  # X W1 and S'S
    moments = 2 * d**3  # W1'W1
    return step + features + moments + d**3 / 3


def measure(d: int) -> dict[str, float]:
    from fl.simulate import ridge, spikes

    if d == 0:
        return {"peak": _peak()}
    start = time.perf_counter()
    setting = spikes.Setting(d)
    W1 = spikes.first_step(setting, 0).weights(4.0)
    equations = ridge.normal_equations(setting.sample(0, 3), spikes._features(setting, W1, "network", 0, 0))
    w = ridge.ridge(equations, PENALTY)
    risk = ridge.quadratic_risk(w, *spikes._moments(setting, W1, "network"))
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "peak": _peak(), "risk": risk, "device": str(ridge.device())}


def _peak() -> float:
    import torch

    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def alone(d: int) -> dict[str, float]:
    output = subprocess.run([sys.executable, __file__, "--one", str(d)], check=True, capture_output=True, text=True)
    return json.loads(output.stdout)


def main(dims: list[int]) -> None:
    base = alone(0)["peak"]
    rows = [alone(d) for d in dims]
    print(f"{'d = N':>6} {'seconds':>9} {'GFlop/s':>9} {'memory MB':>10} {'in N x N':>9} {'risk':>7}  device")
    for d, r in zip(dims, rows, strict=True):
        memory = r["peak"] - base
        rate = flops(d) / r["seconds"] / 1e9
        print(
            f"{d:6d} {r['seconds']:9.2f} {rate:9.1f} {memory / 1e6:10.0f} {memory / (8 * d * d):9.1f} {r['risk']:7.4f}  {r['device']}"
        )
    if len(dims) > 1:
        log = np.log(dims)
        for name, values in {
            "time": [r["seconds"] for r in rows],
            "flop count": [flops(d) for d in dims],
            "memory": [r["peak"] - base for r in rows],
        }.items():
            print(f"exponent of {name}: {np.polyfit(log, np.log(values), 1)[0]:.2f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(int(sys.argv[2]))))
    else:
        main([int(d) for d in sys.argv[1:]] or [500, 1000, 2000, 4000])
