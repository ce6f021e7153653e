r"""The experiment of [YN25], Figs 1, 4 and 5: which exponent p withstands label noise?

Ten inputs, 200 training rows out of 10,000, a network of 500 ReLU neurons that starts
near zero, gradient descent with step size 0.01. Case ``high`` has the spectrum (10,
0.1 x 9) and ``low`` (10 x 9, 0.1). The teacher log(1 + e^(10u)) sees the one
distinguished direction, with a coefficient drawn from N(0, 1) for every seed. Labels
are standardised with the mean and the standard deviation (one degree of freedom off) of
the training labels; test labels are noisy too.

Two departures from the released scripts, neither visible in the results: the
signal-to-noise ratio uses the exact standard deviation of the signal, not the sample's,
and the weight decay of 5e-9 is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from fl import validate
from fl.instruments import trainer
from fl.numerics import log_steps
from fl.tasks import Batch, Task, Teacher, two_level

D, ROWS, TRAIN, WIDTH, ETA, LONGEST = 10, 10_000, 200, 500, 1e-2, 10_000
EXPONENTS = (-2.0, -1.0, 0.0, 1.0, 2.0)
# teacher -> case -> number of large variances, which come first, and the teacher's axes
CASES = {
    "distinguished": {"high": (1, [0]), "low": (9, [9])},
    "two": {"high": (2, [0, 1]), "low": (8, [8, 9])},
    "opposite": {"high": (2, [0, 2]), "low": (8, [0, 8])},
}
# streams: what the second entry of a seed draws (a variation: rotation, mini-batches)
DATA, VARIATION, WEIGHTS = 1, 2, 3


@dataclass(frozen=True)
class Setting:
    """What a run may change; the defaults are the protocol of the paper.

    Attributes:
        steps: number of updates; the errors are recorded at the steps of `recorded`.
        width: number of neurons.
        n: number of training rows, the first of the 200.
        n_test: number of test rows, the first of the 9,800.
        exponents: p, for ``exact`` of the population covariance, for ``adahessian`` of
            its diagonal curvature.
        teacher: ``distinguished``, ``two`` (two distinguished directions) or
            ``opposite`` (one at each end of the spectrum).
        optimizer: ``exact`` or ``adahessian``.
        rotated: turn the inputs by a random orthogonal matrix.
        init: ``kaiming`` or ``isotropic`` (P-isotropic).
        batch: size of mini-batches; None for the full batch.
        permuted: shuffle the training labels.

    Raises:
        ValueError: for an unknown name, a number < 1, or more rows than there are.
    """

    steps: int = LONGEST
    width: int = WIDTH
    n: int = TRAIN
    n_test: int = ROWS - TRAIN
    exponents: Sequence[float] = EXPONENTS
    teacher: str = "distinguished"
    optimizer: str = "exact"
    rotated: bool = False
    init: str = "kaiming"
    batch: int | None = None
    permuted: bool = False

    def __post_init__(self):
        validate.choice("teacher", self.teacher, CASES)
        validate.choice("optimizer", self.optimizer, ["exact", "adahessian"])
        validate.choice("init", self.init, ["kaiming", "isotropic"])
        validate.count("steps", self.steps)
        for name, most in [("n", TRAIN), ("n_test", ROWS - TRAIN)]:
            number = getattr(self, name)
            if validate.count(name, number) > most:
                raise ValueError(f"{name} = {number}: must be at most {most}")


PROTOCOL = Setting()


def task(
    case: str,
    snr: float,
    coefficients: Sequence[float] = (1.0,),
    teacher: str = "distinguished",
    link: str = "softplus10",
) -> Task:
    """Return the task of a ``case`` and a ``teacher`` (see `Setting`) at ``snr``;
    ``coefficients`` are those of the teacher along its one or two directions, which it
    sees through a ``link``.

    Raises:
        ValueError: for an unknown case or teacher, or another number of coefficients
            than directions.
    """
    cases = CASES[validate.choice("teacher", teacher, CASES)]
    large, axes = cases[validate.choice("case", case, cases)]
    directions = np.zeros((len(axes), D))
    coefficients = validate.array("coefficients", coefficients, (len(axes),))
    directions[np.arange(len(axes)), axes] = coefficients
    spectrum = two_level(10, large, 0.1, D - large)
    return Task(spectrum, Teacher(directions, link), snr)


def sample(
    seed: int,
    case: str,
    snr: float,
    teacher: str = "distinguished",
    permuted: bool = False,
) -> tuple[Task, Batch]:
    """Return the `task` of ``case``, ``snr`` and ``teacher`` and its 10,000
    standardised rows, the first 200 of which are for training.

    The same ``seed`` gives the same inputs, teacher coefficients and noise directions
    in every SNR. ``permuted`` shuffles the training labels, which leaves nothing to
    learn.

    Raises:
        ValueError: for an unknown case or teacher, or an SNR that is not > 0.
    """
    rng = np.random.default_rng([seed, DATA])
    _, axes = CASES[validate.choice("teacher", teacher, CASES)]["high"]
    coefficients = rng.standard_normal(len(axes))
    drawn = task(case, snr, coefficients, teacher)
    batch = drawn.sample(ROWS, rng)
    if permuted:
        batch.y[:TRAIN] = rng.permutation(batch.y[:TRAIN])
    return drawn, standardised(batch)


def standardised(batch: Batch) -> Batch:
    """Return the ``batch`` with both kinds of labels standardised by mean and sd of the
    training labels, its first 200.
    """
    X, y, clean = batch
    known = y[:TRAIN]
    mean, sd = known.mean(), known.std(ddof=1)
    return Batch(X, (y - mean) / sd, (clean - mean) / sd)


def trajectories(
    seed: int, case: str, snr: float, setting: Setting = PROTOCOL
) -> xr.Dataset:
    r"""Train one network per exponent on one draw of the data and return its errors
    along training.

    Args:
        seed: draws data, teacher and initial weights; shared by all exponents, so
            differences are paired.
        case: ``high`` or ``low``.
        snr: sd(signal) / sd(noise).
        setting: everything else.

    Returns:
        ``train``, ``noisy`` and ``clean`` with dimensions p and step: mean squared
        errors in units of the training labels' variance, on the training set, on the
        test rows with noisy labels, and on the same rows without noise.

    Raises:
        ValueError: for an unknown name or a number out of range.
    """
    drawn, (X, y, clean) = sample(seed, case, snr, setting.teacher, setting.permuted)
    spectrum, rng = drawn.spectrum, np.random.default_rng([seed, VARIATION])
    if setting.rotated:
        spectrum = spectrum.rotated(rng)
        X = spectrum.rotation @ X
    P = np.array([spectrum.power(p) for p in setting.exponents])
    batches = None
    if setting.batch is not None:
        size = setting.batch
        batches = trainer.shuffled_batches(setting.n, size, setting.steps, rng)
    test = slice(TRAIN, TRAIN + setting.n_test)
    Y_test = np.stack([y[test], clean[test]])
    n = setting.n
    data = trainer.Data(X[:, :n], y[:n], X[:, test], Y_test)
    exponents = None
    if setting.optimizer == "adahessian":
        exponents = setting.exponents
    history = trainer.train(
        data,
        P,
        _start(seed, P, setting),
        recorded(setting.steps),
        eta=ETA,
        batches=batches,
        exponents=exponents,
    )
    noisy, noise_free = np.moveaxis(history.test, 2, 0)
    errors = {"train": history.train, "noisy": noisy, "clean": noise_free}
    return xr.Dataset(
        {name: (("p", "step"), error) for name, error in errors.items()},
        coords={"p": list(setting.exponents), "step": history.steps},
    )


def _start(seed: int, P: np.ndarray, setting: Setting) -> trainer.Network:
    weights = np.random.default_rng([seed, WEIGHTS])
    if setting.init == "isotropic":
        return trainer.p_isotropic(P, setting.width, weights)
    return trainer.kaiming(len(P), setting.width, D, weights)


def recorded(steps: int) -> np.ndarray:
    """Return the recorded steps: those of the longest run (60, log-spaced) up to
    ``steps``, and ``steps`` itself.

    A short run therefore records at the same steps as the beginning of a long one.

    Raises:
        ValueError: if ``steps`` is not a whole number >= 1.
    """
    grid = log_steps(LONGEST, 60)
    return np.append(grid[grid < steps], validate.count("steps", steps))
