"""The fused trainer against a straightforward autograd loop, on the label-noise
experiment of the book.

    python benchmarks/trainer.py [--steps 10000]

Prints CPU milliseconds per configuration and epoch for: the autograd loop that
evaluates the 9,800 test rows in every epoch (as the published scripts of this
experiment do), the same loop without test rows, and the fused trainer with the test
error at 200 log-spaced steps; then the agreement of the final test errors, and where
the fused time goes, relative to what this machine can do. Run it on a quiet machine.
"""

import argparse
import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from fl.instruments import trainer
from fl.instruments import trainer_kernel as kernel
from fl.numerics import log_steps
from fl.simulate import noise

# the well-conditioned cells of case High: p = -2 amplifies rounding
EXPONENTS = [-1.0, 0.0, 1.0]


def cpu(function, repeats: int = 1) -> float:
    """Return CPU seconds per call; the best of three."""
    times = []
    for _ in range(3):
        start = time.process_time()
        for _ in range(repeats):
            function()
        times.append((time.process_time() - start) / repeats)
    return min(times)


def autograd(X, y, P, start, epochs: int, evaluate: bool) -> float:
    """Train one network the plain way; return its final test error."""
    W, b, a, c = (
        torch.tensor(part, dtype=torch.float32, requires_grad=True) for part in start
    )
    X, y, P = (torch.tensor(part, dtype=torch.float32) for part in (X.T, y, P))
    train, test, labels, test_labels = (
        X[: noise.TRAIN],
        X[noise.TRAIN :],
        y[: noise.TRAIN],
        y[noise.TRAIN :],
    )

    def error(inputs, targets):
        return ((torch.relu(inputs @ W.T + b) @ a + c - targets) ** 2).mean()

    for _ in range(epochs):
        error(train, labels).backward()
        with torch.no_grad():
            W -= noise.ETA * W.grad @ P
            for part in (b, a, c):
                part -= noise.ETA * part.grad
            for part in (W, b, a, c):
                part.grad = None
            if evaluate:
                error(test, test_labels)
    with torch.no_grad():
        return error(test, test_labels).item()


def fused(X, y, P, start, steps) -> np.ndarray:
    """Train all networks with `fl`; return their final test errors."""
    T = noise.TRAIN
    data = trainer.Data(X[:, :T], y[:T], X[:, T:], y[None, T:])
    return trainer.train(data, P, start, steps, eta=noise.ETA).test[:, -1, 0]


def parts(X, y, start) -> dict[str, tuple[float, float]]:
    """Return seconds and floating-point operations of the pieces of one full-batch
    step.
    """
    d, N, h = len(X), noise.TRAIN, noise.WIDTH
    X = np.ascontiguousarray(X[:, :N], np.float32)
    net = trainer.Network(*(part[0].astype(np.float32) for part in start))
    X1 = kernel.with_ones(X)
    Z, f, G = (
        np.empty((h, N), np.float32),
        np.empty(N, np.float32),
        np.empty((h, len(X1)), np.float32),
    )
    rho = y[:N].astype(np.float32)
    kernel.forward((0,) * d, X, net, Z, f)
    active = Z.copy()

    def backward():
        Z[:] = active
        kernel.moments(Z, rho, X1, G)

    copying = cpu(lambda: np.copyto(Z, active), 300)
    both = cpu(backward, 300) - copying
    one_pass = cpu(lambda: np.maximum(Z, 0, out=Z), 300)
    forward = cpu(lambda: kernel.forward((0,) * d, X, net, Z, f), 300)
    return {
        "forward: W X + b, relu and a'relu in one pass": (forward, h * N * (2 * d + 4)),
        "backward: mask in place, product with the inputs": (both, h * N * (2 * d + 3)),
        "  an elementwise pass in cache, for comparison": (one_pass, h * N),
    }


def peak() -> float:
    """Return one core's best float32 rate in a large matrix product (torch or numpy),
    operations per second.
    """
    A = torch.randn(1500, 1500)
    B = A.numpy()
    return 2 * 1500**3 / min(cpu(lambda: A @ A), cpu(lambda: B @ B))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--steps", type=int, default=noise.LONGEST)
    steps = arguments.parse_args().steps
    torch.set_num_threads(1)
    task, (X, y, _) = noise.sample(0, "high", 1.0)
    P = np.array([task.spectrum.power(p) for p in EXPONENTS])
    start = trainer.kaiming(len(P), noise.WIDTH, len(X), np.random.default_rng([0, 3]))
    first = [part[0] for part in start]
    fused(X, y, P, start, [1])  # compiles, or reads what was compiled before

    number = next(n for n in range(200, 5000) if len(log_steps(steps, n)) >= 200)
    begin = time.process_time()
    fused(X, y, P, start, log_steps(steps, number)[-200:])
    ours = (time.process_time() - begin) / (steps * len(P))
    with_test = cpu(lambda: autograd(X, y, P[0], first, 20, True)) / 20
    without = cpu(lambda: autograd(X, y, P[0], first, 500, False)) / 500
    print("CPU milliseconds per configuration and epoch")
    print(f"  autograd, 9,800 test rows each epoch         {with_test * 1e3:8.3f}")
    print(f"  autograd, no test rows                       {without * 1e3:8.3f}")
    print(f"  fused, 200 test errors in {steps:6d} steps      {ours * 1e3:8.3f}")
    print(
        f"ratios: {with_test / ours:.0f} x (at least 60 wanted), "
        f"{without / ours:.1f} x (at least 4 wanted)"
    )

    short = min(steps, 3000)
    ends = fused(X, y, P, start, [short])
    gaps = [
        abs(autograd(X, y, P[i], first, short, False) - ends[i]) for i in range(len(P))
    ]
    print(
        f"final test errors after {short} steps differ by at most {max(gaps):.1e} "
        "(at most 1e-4 wanted)"
    )

    best = peak()
    print(
        f"\none step, no test rows; one core reaches {best / 1e9:.0f} GFLOP/s "
        "(float32, large matrix product)"
    )
    alone = trainer.Network(*(part[:1] for part in start))
    total = cpu(lambda: fused(X, y, P[:1], alone, [1000])) / 1000
    left = total
    for name, (seconds, work) in parts(X, y, start).items():
        left -= 0 if name.startswith(" ") else seconds
        speed = work / seconds
        print(
            f"  {name:48s} {seconds * 1e6:6.1f} us {speed / 1e9:6.1f} GFLOP/s, "
            f"{speed / best:4.0%} of the core's rate"
        )
    print(f"  {'updates of all weights, and set-up':48s} {left * 1e6:6.1f} us")
    print(f"  {'together':48s} {total * 1e6:6.1f} us")


if __name__ == "__main__":
    main()
