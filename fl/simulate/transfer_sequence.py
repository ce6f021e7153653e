"""Five tasks in a row: one first layer goes through them, each measured before it is
trained.

The tasks are those of `fl.simulate.transfer`, with their teachers in one of three
orders.
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from fl import validate
from fl.instruments import trainer
from fl.simulate import noise
from fl.simulate.transfer import DIRECTIONS, draw, stages
from fl.simulate.transfer_heads import PENALTY, ridge_errors, tuned

# order of the teachers -> case -> directions of the five tasks
ORDERS = {
    "staying": {"high": (0, 0, 0, 0, 0), "low": (9, 9, 9, 9, 9)},
    "alternating": {"high": (0, 1, 0, 2, 0), "low": (9, 8, 9, 7, 9)},
    "wandering": {"high": (0, 1, 2, 3, 4), "low": (9, 8, 7, 6, 5)},
}
ROWS = 2400  # of each task: 200 train, 200 choose the penalty, the rest measure
SNR = 1.0  # of all tasks
FIRST = 10  # number of the first task: another draw than those of two tasks


def sequence(
    seed: int,
    case: str,
    order: str,
    head: str = "fresh",
    steps: int = 1000,
    exponents: Sequence[float] = (-2.0, -1.0, 0.0, 1.0),
    width: int = 200,
    eta: float = noise.ETA,
) -> xr.Dataset:
    """Train one first layer on five tasks in a row; measure its features on the next
    task, and on the first.

    Args:
        seed: draws all tasks and weights; shared by all exponents and orders.
        case: ``high`` or ``low``.
        order: ``staying`` (always the distinguished direction), ``alternating`` (it,
            and others in turn) or ``wandering`` (from it to four others).
        head: ``fresh`` draws a small second layer for each task, ``kept`` goes on with
            that of the task before.
        steps: updates on each task.
        exponents: p of the population covariance.
        width: number of neurons.
        eta: step size.

    Returns:
        Errors of a ridge head. With dimensions p and task (2..5), on each task with the
        features of those before it, ``next`` at the penalty `PENALTY` and
        ``next_tuned`` on validation rows; with dimensions p and after (1..5), on task 1
        with the features after each task, ``first``.

    Raises:
        ValueError: for an unknown name or a number out of range.
    """
    validate.choice("head", head, ["fresh", "kept"])
    validate.choice("case", case, DIRECTIONS)
    directions = ORDERS[validate.choice("order", order, ORDERS)][case]
    steps = validate.count("steps", steps)
    tasks = [
        draw(seed, case, SNR, r, FIRST + i, ROWS) for i, r in enumerate(directions)
    ]
    spectrum = noise.task(case, SNR).spectrum
    P = np.array([spectrum.power(p) for p in exponents])
    weights = np.random.default_rng([seed, noise.WEIGHTS])
    network = trainer.kaiming(len(P), width, noise.D, weights)
    first, following = [], []
    for i, batch in enumerate(tasks):
        if i:
            following.append(ridge_errors(network, [batch]))
            new = trainer.kaiming(len(P), width, noise.D, weights)
            if head == "fresh":
                network = network._replace(a=new.a, c=new.c)
        network = next(stages(network, batch, P, [steps], eta=eta))
        first.append(ridge_errors(network, tasks[:1])["test"].sel(penalty=PENALTY))
    following = xr.concat(following, "task")
    errors = {
        "next": following["test"].sel(penalty=PENALTY),
        "next_tuned": tuned(following),
        "first": xr.concat(first, "after"),
    }
    numbers = np.arange(1, len(tasks) + 1)
    return (
        xr.Dataset({k: v.drop_vars("penalty") for k, v in errors.items()})
        .isel(target=0)
        .assign_coords(p=list(exponents), task=numbers[1:], after=numbers)
        .transpose("p", "task", "after")
    )


def average(errors: xr.DataArray) -> xr.DataArray:
    """Return the geometric mean of the ``errors`` over the tasks of a sequence."""
    return np.exp(np.log(errors).mean("task"))
