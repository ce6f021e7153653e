"""What the meter costs: seconds a step with it over seconds a step without.

    python benchmarks/meter.py [--tens 1]

For the MLP and the CNN of the book on the digits, in single precision, batches of 64, SGD
and Adam; every window read, and one in ten. One thread; run it on a quiet machine.
"""

import argparse
import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from fl.instruments.digits_networks import NETWORKS, Digits, network
from fl.meter import Meter

SGD, ADAM = torch.optim.SGD, torch.optim.Adam


def seconds(name: str, make, steps: int, every: int) -> float:
    """Return CPU seconds a step, the best of three; without a meter if ``every`` is 0."""
    times = []
    for _ in range(3):
        model, digits = network(name, 0).float(), Digits(0)
        optimizer = make(model.parameters(), lr=1e-3)
        meter = Meter(model, optimizer, every=every) if every else None
        start = time.process_time()
        digits.train(model, optimizer, steps)
        times.append((time.process_time() - start) / steps)
        if meter:
            meter.close()
    return min(times)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words = "how many times ten windows of 20 steps are trained"
    arguments.add_argument("--tens", type=int, default=1, help=words)
    steps = 200 * arguments.parse_args().tens
    torch.set_num_threads(1)
    print(
        f"{'network':8s} {'optimizer':10s} {'bare, ms':>9s} {'every':>7s} {'1 in 10':>8s}"
    )
    for name in NETWORKS:
        for make in (SGD, ADAM):
            bare, whole, tenth = (seconds(name, make, steps, n) for n in (0, 1, 10))
            ratios = f"{whole / bare:6.2f}x {tenth / bare:7.2f}x"
            print(f"{name:8s} {make.__name__:10s} {bare * 1e3:9.2f} {ratios}")


if __name__ == "__main__":
    main()
