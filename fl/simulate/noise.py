r"""The experiment of [YN25], Figs 1, 4 and 5: which exponent p withstands label noise?

Ten inputs, 200 training rows out of 10,000, a network of 500 ReLU neurons that starts
near zero, gradient descent with rate 0.01. Case ``high`` has the spectrum (10, 0.1 x 9)
and ``low`` (10 x 9, 0.1). The teacher log(1 + e^(10u)) sees the one distinguished
direction, with a coefficient drawn from N(0, 1) for every seed. Labels are standardised
with the mean and the standard deviation (one degree of freedom off) of the training
labels; test labels are noisy too.

Two departures from the released scripts, neither visible in the results: the
signal-to-noise ratio uses the exact standard deviation of the signal, not the sample's,
and the weight decay of 5e-9 is left out.
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from fl import validate
from fl.instruments import trainer
from fl.numerics import log_steps
from fl.stored import stored
from fl.sweep import sweep
from fl.tasks import Batch, Spectrum, Task, Teacher, two_level

ROWS, TRAIN, HIDDEN, RATE, LONGEST = 10_000, 200, 500, 1e-2, 10_000
SNRS = [0.5, 1.0, 2.0, 5.0]
POWERS = (-2.0, -1.0, 0.0, 1.0, 2.0)
# teacher -> eigenvalues and teacher directions (indices) of each case
CASES = {
    "distinguished": {
        "high": (two_level(10, 1, 0.1, 9), [0]),
        "low": (two_level(10, 9, 0.1, 1), [9]),
    },
    "other": {
        "high": (two_level(10, 1, 0.1, 9), [1]),
        "low": (two_level(10, 9, 0.1, 1), [0]),
    },
    "two": {
        "high": (two_level(10, 2, 0.1, 8), [0, 1]),
        "low": (two_level(10, 8, 0.1, 2), [8, 9]),
    },
    "opposite": {
        "high": (two_level(10, 2, 0.1, 8), [0, 2]),
        "low": (two_level(10, 8, 0.1, 2), [0, 8]),
    },
}


def task(
    case: str, snr: float, coefficients: Sequence[float], teacher: str = "distinguished"
) -> Task:
    """Return the task of a case; ``coefficients`` are those of the teacher along its
    one or two directions.

    Raises:
        ValueError: for an unknown case or teacher, or another number of coefficients
            than directions.
    """
    spectrum, axes = CASES[validate.choice("teacher", teacher, CASES)][
        validate.choice("case", case, ["high", "low"])
    ]
    directions = np.zeros((len(axes), spectrum.d))
    directions[np.arange(len(axes)), axes] = validate.array(
        "coefficients", coefficients, (len(axes),)
    )
    return Task(spectrum, Teacher(directions, "softplus10"), snr)


def sample(
    seed: int,
    case: str,
    snr: float,
    teacher: str = "distinguished",
    permuted: bool = False,
) -> tuple[Task, Batch]:
    """Return the task and its 10,000 standardised rows, the first 200 of which are for
    training.

    The same seed gives the same inputs, teacher coefficients and noise directions in
    every SNR. ``permuted`` shuffles the training labels, which leaves nothing to learn.
    """
    rng = np.random.default_rng([seed, 1])
    coefficients = rng.standard_normal(
        len(CASES[validate.choice("teacher", teacher, CASES)]["high"][1])
    )
    the_task = task(case, snr, coefficients, teacher)
    X, y, clean = the_task.sample(ROWS, rng)
    if permuted:
        y = np.concatenate([rng.permutation(y[:TRAIN]), y[TRAIN:]])
    return the_task, standardised(X, y, clean)


def standardised(X, y, clean) -> Batch:
    """Return the rows with both kinds of labels standardised by mean and sd of the
    training labels ``y[:TRAIN]``.
    """
    mean, sd = y[:TRAIN].mean(), y[:TRAIN].std(ddof=1)
    return Batch(X, (y - mean) / sd, (clean - mean) / sd)


def trajectories(
    seed: int,
    case: str,
    snr: float,
    steps: int = LONGEST,
    p: Sequence[float] = POWERS,
    teacher: str = "distinguished",
    optimizer: str = "exact",
    rotated: bool = False,
    init: str = "kaiming",
    batch: int | None = None,
    permuted: bool = False,
    dtype: str = "float32",
    last_only: bool = False,
) -> xr.Dataset:
    r"""Train one network per exponent on one draw of the data and return its errors
    along training.

    Args:
        seed: draws data, teacher and initial weights; shared by all exponents, so
            differences are paired.
        case: ``high`` or ``low``.
        snr: sd(signal) / sd(noise).
        steps: number of updates; the errors are recorded at the steps of `recorded`.
        p: exponents, for ``exact`` of the population covariance, for ``adahessian`` of
            its diagonal curvature.
        teacher: ``distinguished``, ``other`` (a direction of the wrong variance),
            ``two`` (two distinguished directions) or ``opposite`` (one at each end of
            the spectrum).
        optimizer: ``exact`` or ``adahessian``.
        rotated: turn the inputs by a random orthogonal matrix.
        init: ``kaiming`` or ``isotropic`` (P-isotropic).
        batch: size of mini-batches; None for the full batch.
        permuted: shuffle the training labels.
        dtype: ``float32`` or ``float64``.
        last_only: record the last step alone; the evaluations of the 9,800 rows are a
            quarter of the work.

    Returns:
        ``train``, ``noisy`` and ``clean`` with dimensions p and step: mean squared
        errors in units of the training labels' variance, on the training set, on 9,800
        test rows with noisy labels, and on the same rows without noise.

    Raises:
        ValueError: for an unknown name or a number out of range.
    """
    validate.choice("optimizer", optimizer, ["exact", "adahessian"])
    validate.choice("init", init, ["kaiming", "isotropic"])
    the_task, (X, y, clean) = sample(seed, case, snr, teacher, permuted)
    rng = np.random.default_rng([seed, 2])
    spectrum: Spectrum = the_task.spectrum
    if rotated:
        spectrum = spectrum.rotated(rng)
        X = spectrum.rotation @ X
    exact = np.array([spectrum.power(q) for q in p])
    identity = np.array([np.eye(spectrum.d)] * len(p))
    weights = np.random.default_rng([seed, 3])
    start = (
        trainer.kaiming(len(p), HIDDEN, spectrum.d, weights)
        if init == "kaiming"
        else trainer.p_isotropic(exact, HIDDEN, weights)
    )
    history = trainer.train(
        X[:, :TRAIN],
        y[:TRAIN],
        exact if optimizer == "exact" else identity,
        start,
        [steps] if last_only else recorded(steps),
        rate=RATE,
        X_test=X[:, TRAIN:],
        Y_test=np.stack([y[TRAIN:], clean[TRAIN:]]),
        batches=None
        if batch is None
        else trainer.shuffled_batches(TRAIN, batch, steps, rng),
        power=p if optimizer == "adahessian" else None,
        dtype=dtype,
    )
    noisy, noise_free = np.moveaxis(history.test, 2, 0)
    dims = ("p", "step")
    return xr.Dataset(
        {
            "train": (dims, history.train),
            "noisy": (dims, noisy),
            "clean": (dims, noise_free),
        },
        coords={"p": list(p), "step": history.steps},
    )


def recorded(steps: int) -> np.ndarray:
    """Return the recorded steps: those of the longest run (60, log-spaced) up to
    ``steps``, and ``steps`` itself.

    A short run therefore records at the same steps as the beginning of a long one.
    """
    grid = log_steps(LONGEST, 60)
    return np.append(grid[grid < steps], validate.count("steps", steps))


@stored("noise")
def published(scale: str) -> xr.Dataset:
    """Figs 1, 4 and 5 at full size: both optimizers, both cases, four SNRs, five seeds,
    all exponents, 10,000 steps.
    """
    steps, seeds, snrs = {
        "smoke": (20, 2, [1.0]),
        "book": (1000, 3, SNRS),
        "paper": (LONGEST, 5, SNRS),
    }[scale]
    axes = {"optimizer": ["exact", "adahessian"], "case": ["high", "low"], "snr": snrs}
    return sweep(trajectories, axes, range(seeds), steps=steps)


def at_best(data: xr.Dataset) -> xr.Dataset:
    """Return the errors at the recorded step with the smallest noisy test error (early
    stopping by an oracle).
    """
    return data.isel(step=data["noisy"].argmin("step"))


def at_equal_train_error(data: xr.Dataset) -> xr.Dataset:
    """Return the errors of all exponents at the smallest training error that each of
    them reaches, run by run.
    """
    level = data["train"].min("step").max("p")
    return data.isel(step=(data["train"] <= level).argmax("step"))
