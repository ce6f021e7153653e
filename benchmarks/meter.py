"""What the meter costs: a step of training with it and without,
``python benchmarks/meter.py``.

For the MLP and the CNN of the book on the digits, in single precision, batches of 64, SGD
and Adam; every window read, and one in ten, each also as a multiple of the bare step.
"""

import sys

from clock import THREADS, Row, agree, clocked, main, shared

# isort: split
import torch

from fl.instruments.digits_networks import NETWORKS, Digits, network
from fl.meter import Meter

SGD, ADAM = torch.optim.SGD, torch.optim.Adam


def trained(name: str, make, steps: int, every: int) -> torch.Tensor:
    """Train for ``steps``, without a meter if ``every`` is 0; return the last weights."""
    model, digits = network(name, 0).float(), Digits(0)
    optimizer = make(model.parameters(), lr=1e-3)
    meter = Meter(model, optimizer, every=every) if every else None
    digits.train(model, optimizer, steps)
    if meter:
        meter.close()
    return next(model.parameters()).detach()


def rows(long: bool):
    """Yield all rows."""
    torch.set_num_threads(int(THREADS))
    steps = 2000 if long else 200  # whole windows of 20, a whole ten of them
    for name in NETWORKS:
        for make in (SGD, ADAM):
            gap = (trained(name, make, 40, 1) - trained(name, make, 40, 0)).abs().max()
            label = f"{name}, {make.__name__}"
            agree(f"{label}: training with and without the meter", float(gap), 1e-12)
            for every, words in (
                (0, "bare"),
                (10, "one window in ten"),
                (1, "metered"),
            ):
                act = lambda n=name, m=make, e=every: trained(n, m, steps, e)  # noqa: E731
                made = shared(clocked(act, repeats=3), steps)
                if not every:
                    bare = made["cpu"]
                ratio = f"{made['cpu'] / bare:.2f} times the bare step"
                print(f"{label}, {words}: {ratio}", file=sys.stderr)
                yield Row("meter", f"{label}, {words}", **made)


if __name__ == "__main__":
    main(rows, __doc__)
