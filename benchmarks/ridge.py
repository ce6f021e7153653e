"""One step and ridge: the streamed ridge against scikit-learn's, and how time and memory
grow: ``python benchmarks/ridge.py``.

scikit-learn holds the features of all samples, n x N; the stream folds them into one N x N
matrix. Each size of the whole experiment (N = d, n = 2d) runs in a process of its own,
whose peak memory is taken less that of a process that has only imported the libraries.
"""

import json
import resource
import subprocess
import sys

from clock import THREADS, Row, agree, clocked, main

# isort: split
import numpy as np
import torch
from sklearn.linear_model import Ridge

from fl.instruments import streamed_ridge as stream
from fl.simulate.spikes_risk import risk

PENALTY = 0.1


def flops(d: int) -> float:
    """Return the multiplications and additions of the experiment, N = d and n = 2d: the
    step, the normal equations and the factor, and the moments of the features.
    """
    n = 2 * d
    step = 4 * n * d * d  # X W0 and X'(...)
    fits = 4 * n * d * d + 2 * d**3 / 3  # X W1, S'S and the factor
    return step + fits + 2 * d**3  # and W1'W1


def against(n: int, N: int, varied: str):
    """Yield both ways of the same ridge on tanh features of as many inputs."""
    W = stream.normal((N, N), 0, 1) / N**0.5
    beta = torch.zeros(N, dtype=torch.float64)
    beta[0] = 1.0
    sample = stream.Samples(n, beta, torch.sin, 0.1, (0, 2))
    features = lambda X: torch.tanh(X @ W)  # noqa: E731

    def ours() -> np.ndarray:
        return stream.ridge(stream.normal_equations(sample, features), PENALTY).numpy()

    def theirs() -> np.ndarray:
        X, y = map(torch.cat, zip(*sample, strict=True))
        fit = Ridge(alpha=n * PENALTY, fit_intercept=False, solver="cholesky")
        return fit.fit(features(X).numpy(), y.numpy()).coef_

    w = theirs()
    agree(f"ridge, n = {n}, N = {N}", np.abs(ours() - w).max() / np.abs(w).max(), 1e-9)
    size = {"n": n, "N": N}[varied]
    work = 4.0 * n * N**2 + N**3 / 3
    for name, way in (("streamed ridge", ours), ("scikit-learn's Ridge", theirs)):
        made = clocked(way, repeats=3)
        yield Row("ridge", f"{name}, {varied}:", **made, size=size, work=work)


def measure(d: int) -> dict[str, float]:
    """Return CPU and wall seconds and the peak memory of one experiment; 0 is none."""
    risk(0, (1.0,), (PENALTY,), d=20)  # libraries warm up outside the clock
    times = clocked(lambda: risk(0, (4.0,), (PENALTY,), d=d), repeats=2) if d else {}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
    return times | {"memory": peak}


def alone(d: int) -> dict[str, float]:
    """Return what `measure` finds in a process of its own."""
    command = [sys.executable, __file__, "--one", str(d)]
    made = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(made.stdout)


def rows(long: bool):
    """Yield all rows."""
    torch.set_num_threads(int(THREADS))
    for n in (500, 1000, 2000, 4000):
        yield from against(n, 400, "n")
    for N in (200, 400, 800):
        yield from against(1600, N, "N")
    base = alone(0)["memory"]
    for d in (250, 500, 1000, *[2000, 4000] * long):
        found = alone(d)
        found["memory"] -= base
        yield Row("one step", "one step and ridge, d:", **found, size=d, work=flops(d))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(int(sys.argv[2]))))
    else:
        main(rows, __doc__)
