r"""Features of one task serve the next: [YN25], Fig 3, what changes it, its mechanism.

A network is trained on task 1 exactly as in `fl.simulate.noise`. Its first layer is
kept, and a new head is fitted to 200 rows of task 2 (`fl.simulate.transfer_heads`).

Both tasks share the law of the inputs and the link. The teacher of task 2 is on a
direction from the other end of the spectrum (`DIRECTIONS`): of small variance after
case ``high``, of large variance after ``low``. Its rows, its noise and its coefficient
are drawn anew.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import xarray as xr

from fl import validate
from fl.instruments import trainer
from fl.simulate import noise
from fl.simulate.transfer_heads import VALIDATION, ridge_errors
from fl.tasks import Batch, Spectrum, Task, Teacher

# case -> directions of tasks 1 and 2; argsort puts index 1 or 8 at the other end,
# whatever the order among equals
DIRECTIONS = {"high": (0, 1), "low": (9, 8)}
ROWS = 5000  # of task 2: 200 train, 200 choose the penalty, the rest measure
LATER = 4  # stream: what the second entry of a seed draws, here tasks after the first


@dataclass(frozen=True)
class Setting:
    """What a run may change; the defaults are Fig 3.

    Attributes:
        steps: increasing numbers of updates on task 1; 0 for features that were never
            trained.
        exponents: p, for ``exact`` of the population covariance, for ``adahessian`` of
            its diagonal curvature.
        targets: signal-to-noise ratios of task 2.
        optimizer: ``exact`` or ``adahessian``; the latter averages along the run, so it
            takes one number of steps.
        width: number of neurons.
        eta: step size; a larger one takes fewer steps for the same flow.
        n_test: number of rows of task 2 that measure, at most 4,600.
        same: put the teacher of task 2 on the direction of task 1.
        arrange: sort the noise of task 1 along the direction of its teacher
            (`arranged`).

    Raises:
        ValueError: for an unknown optimizer, or several numbers of steps for
            ``adahessian``.
    """

    steps: Sequence[int] = (noise.LONGEST,)
    exponents: Sequence[float] = noise.EXPONENTS
    targets: Sequence[float] = (1.0,)
    optimizer: str = "exact"
    width: int = noise.WIDTH
    eta: float = noise.ETA
    n_test: int = ROWS - noise.TRAIN - VALIDATION
    same: bool = False
    arrange: bool = False

    def __post_init__(self):
        validate.choice("optimizer", self.optimizer, ["exact", "adahessian"])
        if self.optimizer == "adahessian" and len(self.steps) > 1:
            raise ValueError(
                f"steps = {self.steps!r}: "
                "must be one number for adahessian, whose averages run on"
            )


FIG_3 = Setting()


def draw(
    seed: int, case: str, snr: float, direction: int, number: int, rows: int = ROWS
) -> Batch:
    """Return standardised ``rows`` of task ``number`` of a ``seed`` and a ``case``,
    with its teacher on the axis ``direction``.

    Inputs, coefficient and noise directions depend on the seed and the number alone,
    not on the ``snr`` or the direction.

    Raises:
        ValueError: for an unknown case, a direction outside 0..9, or an SNR that is not
            > 0.
    """
    spectrum = noise.task(case, np.inf).spectrum
    if validate.count("direction", direction, minimum=0) >= spectrum.d:
        raise ValueError(f"direction = {direction}: must be at most {spectrum.d - 1}")
    rng = np.random.default_rng([seed, LATER, number])
    beta = np.zeros(spectrum.d)
    beta[direction] = rng.standard_normal()
    task = Task(spectrum, Teacher(beta, "softplus10"), snr)
    return noise.standardised(task.sample(rows, rng))


def arranged(batch: Batch, coordinate: int) -> Batch:
    """Return the ``batch`` with the noise values of its training rows in another order:
    they rise with one ``coordinate``.

    The same noise values then say something about that coordinate only, and nothing
    about the others.
    """
    order = np.argsort(batch.X[coordinate, : noise.TRAIN])
    values = np.sort((batch.y - batch.clean)[: noise.TRAIN])
    y = batch.y.copy()
    y[order] = batch.clean[order] + values
    return noise.standardised(batch._replace(y=y))


def variance_shares(network: trainer.Network, spectrum: Spectrum) -> np.ndarray:
    r"""Return the shares (d, B) of the variance of the pre-activations Wx of B networks,
    a ``network``, along the axes of the ``spectrum``.

    .. math:: \frac{\lambda_r\sum_jW_{jr}^2}{\sum_s\lambda_s\sum_jW_{js}^2}
    """
    energy = (network.W.astype(float) ** 2).sum(1) * spectrum.eigenvalues
    return (energy / energy.sum(1, keepdims=True)).T


def reuse(seed: int, case: str, snr: float, setting: Setting = FIG_3) -> xr.Dataset:
    """Train on task 1 with each exponent and measure how well the features serve task
    2, after each number of steps.

    Args:
        seed: draws both tasks and the initial weights; shared by all exponents, so
            differences are paired.
        case: ``high`` or ``low``.
        snr: of task 1; ``inf`` for no noise.
        setting: everything else.

    Returns:
        the errors of `ridge_errors` with dimensions p, step, target and penalty; with
        dimensions p and step the error ``train`` on task 1, the ``share`` of the first
        layer's variance along the direction of task 2, and ``others``, the mean share
        of the nine directions that task 1 does not ask for.

    Raises:
        ValueError: for an unknown name or a number out of range.
    """
    task, batch = noise.sample(seed, case, snr)
    first, second = DIRECTIONS[case]
    if setting.arrange:
        batch = arranged(batch, first)
    direction = first if setting.same else second
    tasks = [draw(seed, case, target, direction, 2) for target in setting.targets]
    rows = slice(noise.TRAIN + VALIDATION + setting.n_test)
    tasks = [Batch(b.X[:, rows], b.y[rows], b.clean[rows]) for b in tasks]
    P = np.array([task.spectrum.power(p) for p in setting.exponents])
    weights = np.random.default_rng([seed, noise.WEIGHTS])
    start = trainer.kaiming(len(P), setting.width, noise.D, weights)
    rule = {"eta": setting.eta}
    if setting.optimizer == "adahessian":
        rule["exponents"] = setting.exponents
    results = []
    for network in stages(start, batch, P, setting.steps, **rule):
        gaps = network(batch.X[:, : noise.TRAIN]) - batch.y[: noise.TRAIN]
        shares = variance_shares(network, task.spectrum)
        others = (1 - shares[first]) / (noise.D - 1)
        errors = ridge_errors(network, tasks)
        errors["train"] = "p", (gaps**2).mean(1)
        errors["share"] = "p", shares[second]
        errors["others"] = "p", others
        results.append(errors)
    return (
        xr.concat(results, "step")
        .assign_coords(
            p=list(setting.exponents),
            step=list(setting.steps),
            target=list(setting.targets),
        )
        .transpose("p", "step", "target", "penalty")
    )


def stages(
    network: trainer.Network,
    batch: Batch,
    P,
    steps: Sequence[int],
    **rule,
) -> Iterator[trainer.Network]:
    """Yield the B networks after each of the increasing numbers of ``steps``.

    Args:
        network: B initial networks.
        batch: the task; its first 200 rows are used.
        P: preconditioners (B, d, d).
        steps: numbers of updates, counted from the start; 0 for none.
        rule: further arguments of `fl.instruments.trainer.train`.
    """
    X, y = batch.X[:, : noise.TRAIN], batch.y[: noise.TRAIN]
    data = trainer.Data(X, y, X, y[None])  # ridge heads measure errors on new rows
    for done, step in pairwise([0, *steps]):
        if step != done:
            network = trainer.train(data, P, network, [step - done], **rule).network
        yield network
