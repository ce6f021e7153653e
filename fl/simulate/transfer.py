r"""Features of one task serve the next: [YN25], Fig 3, what changes it, its mechanism,
and five tasks in a row.

A network is trained on task 1 exactly as in `fl.simulate.noise`. Its first layer is
kept, :math:`\phi(x)=\mathrm{relu}(Wx+b)`, and a new head is fitted to 200 rows of task
2 by centred ridge regression,

.. math:: \min_{w,c}\ \sum_i(w^\top\phi(x_i)+c-y_i)^2+\lambda N|w|^2 .

Both tasks share the law of the inputs and the link. The teacher of task 2 is on a
direction from the other end of the spectrum (`DIRECTIONS`): of small variance after
case ``high``, of large variance after ``low``. Its rows, its noise and its coefficient
are drawn anew. Another 200 rows choose the ridge where it is tuned; the rest measure
the error.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import xarray as xr

from fl import validate
from fl.instruments import trainer
from fl.simulate import noise
from fl.stored import stored
from fl.sweep import sweep
from fl.tasks import Batch, Spectrum, Task, Teacher

RIDGE = 1e-3  # of the released scripts
RIDGES = tuple(10.0**k for k in range(-8, 1))
VALIDATION = 200  # rows that choose the ridge, after the training rows
# case -> directions of tasks 1 and 2; argsort puts index 1 or 8 at the other end,
# whatever the order among equals
DIRECTIONS = {"high": (0, 1), "low": (9, 8)}
# order of the teachers -> case -> directions of the five tasks
ORDERS = {
    "staying": {"high": (0, 0, 0, 0, 0), "low": (9, 9, 9, 9, 9)},
    "alternating": {"high": (0, 1, 0, 2, 0), "low": (9, 8, 9, 7, 9)},
    "wandering": {"high": (0, 1, 2, 3, 4), "low": (9, 8, 7, 6, 5)},
}
STEPS = (1000, 3000, noise.LONGEST)
ROWS = 5000  # of task 2: 200 train, 200 choose the ridge, the rest measure
SEQUENCE_ROWS = 2400  # of each task in a sequence


def draw(
    seed: int, case: str, snr: float, direction: int, number: int, rows: int = ROWS
) -> Batch:
    """Return standardised rows of task ``number`` of a seed, with its teacher on the
    axis ``direction``.

    Inputs, coefficient and noise directions depend on the seed and the number alone,
    not on the SNR or the direction.

    Raises:
        ValueError: for an unknown case, a direction outside 0..9, or an SNR that is not
            > 0.
    """
    spectrum = _spectrum(case)
    if validate.count("direction", direction, minimum=0) >= spectrum.d:
        raise ValueError(f"direction = {direction}: must be at most {spectrum.d - 1}")
    rng = np.random.default_rng([seed, 4, number])
    beta = np.zeros(spectrum.d)
    beta[direction] = rng.standard_normal()
    return noise.standardised(
        *Task(spectrum, Teacher(beta, "softplus10"), snr).sample(rows, rng)
    )


def arranged(batch: Batch, coordinate: int) -> Batch:
    """Return the batch with the noise values of its training rows in another order:
    they rise with one coordinate.

    The same noise values then say something about that coordinate only, and nothing
    about the others.
    """
    order = np.argsort(batch.X[coordinate, : noise.TRAIN])
    y = batch.y.copy()
    y[order] = batch.clean[order] + np.sort((batch.y - batch.clean)[: noise.TRAIN])
    return noise.standardised(batch.X, y, batch.clean)


def ridge_errors(
    network: trainer.Network, batches: Sequence[Batch], ridges: Sequence[float] = RIDGES
) -> xr.Dataset:
    r"""Fit heads to the features of B networks and return their errors.

    Args:
        network: the networks; their second layers are not used.
        batches: K sets of labels on the same inputs; training rows, then validation
            rows, then test rows.
        ridges: values of :math:`\lambda` (R,).

    Returns:
        mean squared errors on noisy labels in units of their variance, dimensions p
        (B), target (K) and ridge (R): on the ``validation`` rows and on the ``test``
        rows.

    Raises:
        ValueError: unless all ``ridges`` are > 0.
    """
    ridges = validate.positive("ridges", ridges, ("R",))
    N, V = noise.TRAIN, noise.TRAIN + VALIDATION
    Y = np.array([batch.y for batch in batches])
    mean = Y[:, :N].mean(1, keepdims=True)
    errors = []
    for W, b in zip(network.W, network.b, strict=True):
        F = np.maximum(W @ batches[0].X + b[:, None], 0).astype(float)
        heads = ridge_heads(F[:, :N], Y[:, :N] - mean, ridges)
        gaps = (
            heads @ (F[:, N:] - F[:, :N].mean(1, keepdims=True))
            - (Y[:, N:] - mean)[:, None]
        )
        errors.append(
            [np.mean(gaps[..., : V - N] ** 2, -1), np.mean(gaps[..., V - N :] ** 2, -1)]
        )
    validation, test = np.moveaxis(np.array(errors), 1, 0)
    dims = ("p", "target", "ridge")
    return xr.Dataset(
        {"validation": (dims, validation), "test": (dims, test)}, {"ridge": ridges}
    )


def ridge_heads(F, Y, ridges) -> np.ndarray:
    r"""Return :math:`w=(F_cF_c^\top+\lambda NI)^{-1}F_cy` on centred features for all
    labels and ridges.

    Args:
        F: features (h, N), centred here.
        Y: centred labels (K, N).
        ridges: (R,).

    Returns:
        weights (K, R, h), all from one singular value decomposition.
    """
    U, s, Vt = np.linalg.svd(F - F.mean(1, keepdims=True), full_matrices=False)
    gain = s / (s**2 + np.multiply.outer(ridges, np.full(len(s), F.shape[1])))
    return ((Y @ Vt.T)[:, None] * gain) @ U.T


def tuned(errors: xr.Dataset) -> xr.DataArray:
    """Return the test errors at the ridge with the smallest validation error; the ridge
    stays as a coordinate.
    """
    return errors["test"].isel(ridge=errors["validation"].argmin("ridge"))


def variance_share(
    network: trainer.Network, spectrum: Spectrum, direction: int
) -> np.ndarray:
    r"""Return the share (B,) of the variance of the pre-activations Wx along one axis.

    .. math:: \frac{\lambda_r\sum_jW_{jr}^2}{\sum_s\lambda_s\sum_jW_{js}^2}
    """
    energy = (network.W.astype(float) ** 2).sum(1) * spectrum.eigenvalues
    return energy[:, direction] / energy.sum(1)


def reuse(
    seed: int,
    case: str,
    snr: float,
    steps: Sequence[int] = (noise.LONGEST,),
    p: Sequence[float] = noise.POWERS,
    targets: Sequence[float] = (1.0,),
    optimizer: str = "exact",
    hidden: int = noise.HIDDEN,
    same: bool = False,
    arrange: bool = False,
) -> xr.Dataset:
    """Train on task 1 with each exponent and measure at ``steps`` how well the features
    serve task 2.

    Args:
        seed: draws both tasks and the initial weights; shared by all exponents, so
            differences are paired.
        case: ``high`` or ``low``.
        snr: of task 1; ``inf`` for no noise.
        steps: increasing numbers of updates on task 1.
        p: exponents, for ``exact`` of the population covariance, for ``adahessian`` of
            its diagonal curvature.
        targets: signal-to-noise ratios of task 2.
        optimizer: ``exact`` or ``adahessian``; the latter averages along the run, so it
            takes one number of steps.
        hidden: number of neurons.
        same: put the teacher of task 2 on the direction of task 1.
        arrange: sort the noise of task 1 along the direction of its teacher
            (`arranged`).

    Returns:
        the errors of `ridge_errors` with dimensions p, step, target and ridge; with
        dimensions p and step the error ``train`` on task 1 and the ``share`` of the
        first layer's variance along the direction of task 2.

    Raises:
        ValueError: for an unknown name or a number out of range.
    """
    if (
        validate.choice("optimizer", optimizer, ["exact", "adahessian"]) == "adahessian"
        and len(steps) > 1
    ):
        raise ValueError(
            f"steps = {steps!r}: must be one number for adahessian, whose averages run on"
        )
    first, second = DIRECTIONS[validate.choice("case", case, DIRECTIONS)]
    the_task, batch = noise.sample(seed, case, snr)
    batch = arranged(batch, first) if arrange else batch
    tasks = [
        draw(seed, case, target, first if same else second, 2) for target in targets
    ]
    P = np.array([the_task.spectrum.power(q) for q in p])
    network = trainer.kaiming(
        len(p), hidden, the_task.spectrum.d, np.random.default_rng([seed, 3])
    )
    power = p if optimizer == "adahessian" else None
    results = []
    for trained, train in _stages(network, batch, P, steps, power):
        share = variance_share(trained, the_task.spectrum, second)
        results.append(
            ridge_errors(trained, tasks).assign(train=("p", train), share=("p", share))
        )
    coords = {"p": list(p), "step": list(steps), "target": list(targets)}
    return (
        xr.concat(results, "step")
        .assign_coords(coords)
        .transpose("p", "step", "target", "ridge")
    )


def share_curve(
    seed: int,
    case: str,
    snr: float,
    steps: Sequence[int],
    p: float = -1.0,
    hidden: int = noise.HIDDEN,
) -> dict:
    """Return the ``share`` along ``step`` of one direction of task 2, the mean over the
    nine equal ones.

    The runs are those of `reuse`.

    Raises:
        ValueError: for an unknown case or a number out of range.
    """
    the_task, batch = noise.sample(seed, case, snr)
    spectrum = the_task.spectrum
    network = trainer.kaiming(1, hidden, spectrum.d, np.random.default_rng([seed, 3]))
    k = DIRECTIONS[case][0]
    stages = _stages(network, batch, spectrum.power(p)[None], steps)
    shares = [
        (1 - variance_share(trained, spectrum, k)[0]) / (spectrum.d - 1)
        for trained, _ in stages
    ]
    return {"share": ("step", np.array(shares))}


def sequence(
    seed: int,
    case: str,
    order: str,
    head: str = "fresh",
    steps: int = 1000,
    p: Sequence[float] = (-2.0, -1.0, 0.0, 1.0),
    snr: float = 1.0,
    hidden: int = 200,
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
        p: exponents of the population covariance.
        snr: of all tasks.
        hidden: number of neurons.

    Returns:
        errors of a ridge head: with dimensions p and task (2..5), on each task with the
            features of those before it,
        ``next`` at the ridge `RIDGE` and ``next_tuned`` on validation rows; with
        dimensions p and after (1..5), on task 1 with the features after each task,
        ``first``.

    Raises:
        ValueError: for an unknown name or a number out of range.
    """
    validate.choice("head", head, ["fresh", "kept"])
    directions = ORDERS[validate.choice("order", order, ORDERS)][
        validate.choice("case", case, DIRECTIONS)
    ]
    tasks = [
        draw(seed, case, snr, r, 10 + i, SEQUENCE_ROWS)
        for i, r in enumerate(directions)
    ]
    spectrum = _spectrum(case)
    P = np.array([spectrum.power(q) for q in p])
    weights = np.random.default_rng([seed, 3])
    network = trainer.kaiming(len(p), hidden, spectrum.d, weights)
    first, following = [], []
    for i, batch in enumerate(tasks):
        if i:
            following.append(ridge_errors(network, [batch]))
            new = trainer.kaiming(len(p), hidden, spectrum.d, weights)
            network = network._replace(a=new.a, c=new.c) if head == "fresh" else network
        network, _ = next(_stages(network, batch, P, [steps]))
        first.append(ridge_errors(network, tasks[:1])["test"].sel(ridge=RIDGE))
    following = xr.concat(following, "task")
    errors = {
        "next": following["test"].sel(ridge=RIDGE),
        "next_tuned": tuned(following),
        "first": xr.concat(first, "after"),
    }
    numbers = np.arange(1, len(tasks) + 1)
    result = xr.Dataset(
        {k: v.isel(target=0).drop_vars("ridge") for k, v in errors.items()}
    )
    return result.assign_coords(p=list(p), task=numbers[1:], after=numbers).transpose(
        "p", "task", "after"
    )


def average(errors: xr.DataArray) -> xr.DataArray:
    """Return the geometric mean over the tasks of a sequence."""
    return np.exp(np.log(errors).mean("task"))


@stored("transfer")
def published(scale: str) -> xr.Dataset:
    """Fig 3 and its sweep at full size, the arranged noise, AdaHessian's powers, and
    sequences with 200 neurons.
    """
    steps, seeds, each = {
        "smoke": ((10, 20), 2, 10),
        "book": ((300, 1000), 2, 100),
        "paper": (STEPS, 5, 3000),
    }[scale]
    cases, snrs, longest = (
        {"case": ["high", "low"]},
        [0.5, 1.0, 5.0, np.inf],
        steps[-1:],
    )
    main = sweep(reuse, cases | {"snr": snrs}, range(seeds), steps=steps, targets=snrs)
    chosen = tuned(main)
    main = main.assign(
        tuned=chosen.drop_vars("ridge"), chosen=chosen["ridge"]
    ).drop_vars("validation")
    at = {"target": 1.0, "ridge": RIDGE, "step": longest[0]}
    p = [-2.0, -1.0, 0.0, 1.0]
    diagonal = sweep(
        reuse, cases, range(seeds), snr=1.0, steps=longest, p=p, optimizer="adahessian"
    ).sel(at, drop=True)
    at |= {"target": 5.0, "p": -1.0}
    along = {
        "snr": 0.5,
        "steps": longest,
        "p": [-1.0],
        "targets": [5.0],
        "arrange": True,
    }
    arranged_noise = sweep(reuse, cases, range(seeds), **along).sel(at, drop=True)
    parts = [
        main,
        diagonal[["test"]].rename(test="adahessian"),
        arranged_noise[["test", "share"]].rename(
            test="arranged_test", share="arranged_share"
        ),
        sweep(
            sequence,
            cases | {"order": list(ORDERS), "head": ["fresh", "kept"]},
            range(seeds),
            steps=each,
        ),
    ]
    return xr.merge(parts, join="outer", compat="no_conflicts")


def _spectrum(case: str) -> Spectrum:
    return noise.CASES["distinguished"][validate.choice("case", case, DIRECTIONS)][0]


def _stages(
    network: trainer.Network, batch: Batch, P, steps: Sequence[int], power=None
):
    """Yield the networks and their training errors (B,) after each of the increasing
    numbers of ``steps``.
    """
    for done, step in pairwise([0, *steps]):
        # errors on new rows are those of the ridge heads; the trainer wants at least
        # one row to test on
        X, y = batch.X[:, : noise.TRAIN], batch.y[: noise.TRAIN]
        fixed = {
            "rate": noise.RATE,
            "X_test": X[:, :1],
            "Y_test": y[None, :1],
            "power": power,
        }
        history = trainer.train(X, y, P, network, [step - done], **fixed)
        network = history.network
        yield network, history.train[:, -1]
