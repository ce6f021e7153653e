"""Time per step of every optimizer of the zoo, next to the loop one would write with
`torch.optim.SGD`.

    python benchmarks/optimizers.py [--steps 60] [--data digits]

The problem is that of the two-cue protocol: 600 digits, the network 64-256-10, full
batch; nothing stops the run. Prints CPU milliseconds a step (loss, gradients, second
derivatives, update) and the ratio to the plain loop. L-BFGS counts iterations, of one
loss or more each. Run it on a quiet machine.
"""

import argparse
import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch.nn.functional import cross_entropy

from fl.optimizers import ZOO, minimise
from fl.simulate import ood, ood_images


def best(function, repeats: int = 3) -> float:
    """Return CPU seconds per step; ``function`` returns how many it made. The best of
    three.
    """
    times = []
    for _ in range(repeats):
        start = time.process_time()
        steps = function()
        times.append((time.process_time() - start) / max(steps, 1))
    return min(times)


def plain(model, loss, steps: int) -> int:
    """Train with the loop of a tutorial."""
    descent = torch.optim.SGD(model.parameters(), lr=1.0)
    for _ in range(steps):
        descent.zero_grad()
        loss().backward()
        descent.step()
    return steps


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--steps", type=int, default=60)
    arguments.add_argument(
        "--data", choices=list(ood_images.PROTOCOLS), default="digits"
    )
    given = arguments.parse_args()
    torch.set_num_threads(1)
    data = ood_images.draw(0, given.data)
    X = {
        t: torch.as_tensor(data.X["train"], dtype=t)
        for t in (torch.float32, torch.float64)
    }
    y = torch.as_tensor(data.labels["train"])

    def seconds(train, dtype=torch.float32) -> float:
        def once() -> int:
            model = ood.network(X[dtype].shape[1], 0, dtype)
            return train(model, lambda: cross_entropy(model(X[dtype]), y))

        once()  # imports and warms up
        return best(once)

    base = seconds(lambda model, loss: plain(model, loss, given.steps))
    print(f"CPU milliseconds a step on {given.data}")
    print(f"  {'loop with torch.optim.SGD':26s} {base * 1e3:7.2f}")
    for name in ZOO:
        hyper = {"covariance": data.covariance} if name == "exact" else {}
        dtype = torch.float64 if name == "L-BFGS" else torch.float32
        each = seconds(
            lambda model, loss, n=name, h=hyper: minimise(
                n, model, loss, given.steps, **h
            ),
            dtype,
        )
        print(f"  {name:26s} {each * 1e3:7.2f}   {each / base:5.1f} x")


if __name__ == "__main__":
    main()
