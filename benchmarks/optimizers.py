"""A step of every optimizer of the zoo beside a step of plain SGD:
``python benchmarks/optimizers.py``.

The problem is that of the two-cue protocol: 600 digits, the network 64-256-10, full batch.
A step is the loss, the gradients, second derivatives where they are needed, and the
update. Beside it stands what is left of a step when the evaluations of loss and gradients
that the driver asks for are taken away: the method itself, and our bookkeeping. L-BFGS
counts iterations, of one evaluation or more each.
"""

import time

from clock import THREADS, Row, agree, clocked, main, shared

# isort: split
import torch
from torch.nn.functional import cross_entropy

from fl.optimizers import ZOO, minimise
from fl.optimizers_drive import Problem
from fl.simulate import ood, ood_images

STEPS = 20


def plain(model, loss, steps: int) -> None:
    """Train with the loop of a tutorial."""
    descent = torch.optim.SGD(model.parameters(), lr=1.0)
    for _ in range(steps):
        descent.zero_grad()
        loss().backward()
        descent.step()


class Evaluations:
    """The CPU seconds that `Problem` spends on losses and gradients."""

    def __enter__(self):
        self.seconds, self.plain = 0.0, Problem.gradients

        def timed(problem, *arguments, **named) -> None:
            start = time.process_time()
            self.plain(problem, *arguments, **named)
            self.seconds += time.process_time() - start

        Problem.gradients = timed
        return self

    def __exit__(self, *error) -> None:
        Problem.gradients = self.plain


def rows(long: bool):
    """Yield all rows."""
    torch.set_num_threads(int(THREADS))
    data = ood_images.draw(0, "digits")
    y = torch.as_tensor(data.labels["train"])

    def problem(dtype) -> tuple:
        X = torch.as_tensor(data.X["train"], dtype=dtype)
        model = ood.network(X.shape[1], 0, dtype)
        return model, lambda: cross_entropy(model(X), y)

    ends = []
    for train in (plain, lambda *rest: minimise("GD", *rest)):
        model, loss = problem(torch.float64)
        train(model, loss, STEPS)
        ends.append(float(loss()))
    agree("GD of the zoo and torch's loop", abs(ends[0] / ends[1] - 1), 1e-12)

    single = torch.float32
    made = clocked(lambda: plain(*problem(single), STEPS), repeats=3)
    yield Row("optimizers", "torch.optim.SGD in a loop", **shared(made, STEPS))
    for name in ZOO:
        hyper = {"covariance": data.covariance} if name == "exact" else {}
        dtype = torch.float64 if name == "L-BFGS" else single
        act = lambda n=name, d=dtype, h=hyper: minimise(n, *problem(d), STEPS, **h)  # noqa: E731
        with Evaluations() as spent:
            made = shared(clocked(act, repeats=3), STEPS)
            runs = 4 * STEPS  # one that warms up
        yield Row("optimizers", name, **made)
        rest = max(0.0, made["cpu"] - spent.seconds / runs)
        yield Row(
            "optimizers", f"  {name}: without the evaluations", **made | {"cpu": rest}
        )


if __name__ == "__main__":
    main(rows, __doc__)
