"""Transfer at three sizes: two tasks, the share of the second along training, five
tasks in a row, the stored run, and the read-outs that chapter and claims share.
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from fl import scales
from fl.scales import Scale
from fl.simulate import noise, transfer_heads, transfer_sequence
from fl.simulate import transfer as simulate
from fl.simulate.transfer import DIRECTIONS as DIRECTIONS
from fl.simulate.transfer_heads import tuned as tuned
from fl.simulate.transfer_sequence import average as average
from fl.stored import stored
from fl.studies.noise import CASES
from fl.studies.noise import task as task
from fl.sweep import sweep

# times of the flow: steps times the step size; and the steps of the stored run
TIMES = EARLY, MIDDLE, LAST = (10.0, 30.0, 100.0)
STEPS = (1000, 3000, noise.LONGEST)
EXPONENTS = (-2.0, -1.0, 0.0)
TARGETS = (1.0, 5.0, np.inf)  # SNRs of task 2
LADDER = (1.0, 2.0, np.inf)  # where the errors of one SNR say those of another
NOISY = 0.5  # the SNR of a noisy task 1
SNRS = (NOISY, *TARGETS)  # of both tasks in the stored run
# the exponent that favours the direction of task 2
TOWARDS = {"high": -2.0, "low": 0.0}
# and the one that favours the direction of task 1
ALONG = {"high": 0.0, "low": -2.0}
CURVE = (0.4, 1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 15.0, 20.0, 30.0)
# stored variable -> what it is, and its units
ERROR = "variances of the training labels"
DESCRIPTIONS = {
    "test": ("error of a ridge head on task 2", ERROR),
    "tuned": ("error on task 2 at the penalty chosen on validation rows", ERROR),
    "chosen": ("penalty chosen on validation rows", "1"),
    "train": ("error of the network on its training rows of task 1", ERROR),
    "share": ("share of the first layer's variance along task 2", "1"),
    "adahessian": ("error on task 2 after powers of AdaHessian's diagonal", ERROR),
    "arranged_test": ("error on task 2 after sorted noise in task 1", ERROR),
    "arranged_share": ("share along task 2 after sorted noise in task 1", "1"),
    "next": ("error on the next task, before it is trained", ERROR),
    "next_tuned": ("the same at the penalty chosen on validation rows", ERROR),
    "first": ("error on task 1 after each task", ERROR),
}


def main(
    scale: Scale,
    block: int = 0,
    case: Sequence[str] = CASES,
    snr: Sequence[float] = (1.0,),
    number: int = 20,
    times: Sequence[float] = TIMES,
    **changes,
) -> xr.Dataset:
    """Return what the features of task 1 are worth on task 2, with a dimension ``time``;
    claims and chapter read the same runs.

    Args:
        scale: ``smoke``, ``book`` or ``paper``; short of ``paper`` the step of powers of
            the covariance is four times that of the paper, and the network smaller.
        block: of seeds.
        case: ``high`` and ``low``, or one of them.
        snr: of task 1, several.
        number: of seeds.
        times: of the flow, steps times the step size.
        changes: fields of `fl.simulate.transfer.Setting`.
    """
    eta = _step_size(scale)
    if changes.get("optimizer") == "adahessian":  # it diverges at a longer step
        eta = noise.ETA
    sizes = {
        "width": scales.at(scale, smoke=120, book=200, paper=noise.WIDTH),
        "n_test": scales.at(scale, smoke=500, book=1000, paper=4600),
        "steps": tuple(round(time / eta) for time in times),
        "exponents": EXPONENTS,
        "targets": LADDER,
    } | changes
    setting = simulate.Setting(eta=eta, **sizes)
    grid = {"case": case, "snr": snr}
    run = _run(simulate.reuse, grid, scale, block, number, setting=setting)
    run = run.assign_coords(step=list(times)).rename(step="time")
    return run.assign_attrs(width=setting.width, eta=eta, n_test=setting.n_test)


def same(scale: Scale, block: int = 0) -> xr.Dataset:
    """Return what the features are worth on another task of the *same* direction, at a
    ``scale`` and a ``block``.
    """
    changes = {"exponents": (-1.0, 0.0), "targets": (1.0,), "same": True}
    return main(scale, block, number=6, times=(LAST,), **changes)


def quiet(scale: Scale, block: int = 0) -> xr.Dataset:
    """Return the runs after a task 1 without noise, at a ``scale`` and a ``block``."""
    return main(scale, block, snr=[np.inf], number=20, targets=(5.0, np.inf)).isel(
        snr=0
    )


def noisy(scale: Scale, block: int = 0, arrange: bool = False) -> xr.Dataset:
    """Return the runs of p = -1 on a noisy task 1 at a ``scale`` and a ``block``, the
    noise as drawn or, with ``arrange``, sorted along the direction of task 1.
    """
    changes = {"exponents": (-1.0,), "targets": (5.0,), "arrange": arrange}
    return main(scale, block, snr=[NOISY], number=20, **changes).isel(snr=0)


def adahessian(scale: Scale, block: int = 0) -> xr.Dataset:
    """Return the runs of powers of AdaHessian's diagonal where Fig 3 looks, case High,
    at a ``scale`` and a ``block``.
    """
    changes = {"targets": TARGETS, "optimizer": "adahessian"}
    number = scales.at(scale, smoke=8, book=14, paper=14)
    return main(scale, block, ["high"], number=number, times=(LAST,), **changes)


def share_curves(scale: Scale, block: int = 0) -> xr.DataArray:
    """Return the mean share of the nine directions that task 1 does not ask for, at p =
    -1 along training, after a noisy and a noise-free task 1, at a ``scale`` and a
    ``block``.
    """
    snrs, changes = (NOISY, np.inf), {"exponents": (-1.0,)}
    run = main(scale, block, snr=snrs, number=3, times=CURVE, **changes)
    return run["others"].isel(p=0)


def untrained(scale: Scale, block: int = 0) -> xr.Dataset:
    """Return the errors on task 2 with features that were never trained, at a ``scale``
    and a ``block``.
    """
    changes = {"exponents": (0.0,), "targets": (1.0, 5.0)}
    run = main(scale, block, number=5, times=(0.0,), **changes)
    return run.isel(snr=0, p=0, time=0)


def sequences(scale: Scale, block: int = 0) -> xr.Dataset:
    """Return the sequences of five tasks in the two extreme orders at a ``scale`` and a
    ``block``.
    """
    eta = _step_size(scale)
    orders = ("staying", "wandering")
    rule = {"eta": eta, "width": scales.at(scale, smoke=100, book=200, paper=200)}
    return _sequences(scale, block, orders, round(EARLY / eta), 6, **rule)


@stored("transfer")
def published(scale: Scale) -> xr.Dataset:
    """Return Fig 3 and its sweep, the arranged noise, AdaHessian's powers, and the
    sequences, at full size whatever the ``scale``.
    """
    run = _full(SNRS, targets=SNRS, exponents=noise.EXPONENTS)
    best = tuned(run)
    four = noise.EXPONENTS[:-1]
    diagonal = {"optimizer": "adahessian", "steps": STEPS[-1:], "exponents": four}
    diagonal = fixed_penalty(_full([1.0], **diagonal).isel(snr=0, step=0, drop=True))
    along = _full([NOISY], targets=TARGETS, exponents=(-1.0,), arrange=True).isel(snr=0)
    where = {"step": STEPS[-1], "p": -1, "drop": True}
    variables = {
        "adahessian": diagonal,
        "arranged_test": fixed_penalty(along, 5.0).sel(**where),
        "arranged_share": along["share"].sel(**where),
    }
    parts = [
        run.drop_vars(["validation", "others"]),
        best.drop_vars("penalty").rename("tuned"),
        best["penalty"].rename("chosen"),
        *(v.reset_coords(drop=True).rename(k) for k, v in variables.items()),
        _sequences(
            scale, 0, list(transfer_sequence.ORDERS), 3000, 5, four, ("fresh", "kept")
        ),
    ]
    merged = xr.merge(parts, join="outer", compat="no_conflicts")
    for name, (text, units) in DESCRIPTIONS.items():
        merged[name].attrs = {"description": text, "units": units}
    return merged


def fixed_penalty(run: xr.Dataset, target: float = 1.0) -> xr.DataArray:
    """Return the errors of a ``run`` on task 2 of SNR ``target`` at the penalty of the
    released scripts.
    """
    return run["test"].sel(target=target, penalty=transfer_heads.PENALTY, drop=True)


def implied(run: xr.Dataset, known: float, wanted: float) -> xr.DataArray:
    """Return the errors of a ``run`` on task 2 of SNR ``wanted`` that those at the SNR
    ``known`` and without noise imply: a head of fixed penalty is linear in the labels, its
    mean error in the noise's share 1/(1 + SNR^2) of their variance.
    """
    clean = fixed_penalty(run, np.inf)
    share = (1 + known**2) / (1 + wanted**2)
    return clean + share * (fixed_penalty(run, known) - clean)


def towards(errors: xr.DataArray) -> xr.DataArray:
    """Return the log of the error of the exponent towards task 2 over that of p = -1,
    case by case, from ``errors`` with dimensions case and p.
    """
    cases = errors["case"]
    pointing = [
        errors.sel(case=case, p=TOWARDS[case], drop=True) for case in cases.values
    ]
    agnostic = errors.sel(p=-1, drop=True)
    return np.log(xr.concat(pointing, cases) / agnostic)


def _step_size(scale: Scale) -> float:
    return scales.at(scale, smoke=4 * noise.ETA, book=4 * noise.ETA, paper=noise.ETA)


def _full(snrs: Sequence[float], **changes) -> xr.Dataset:
    """Return runs at full size, by steps."""
    setting = simulate.Setting(**({"steps": STEPS} | changes))
    grid = {"case": CASES, "snr": snrs}
    return _run(simulate.reuse, grid, "paper", 0, 5, setting=setting)


def _sequences(
    scale: Scale,
    block: int,
    orders: Sequence[str],
    steps: int,
    number: int,
    exponents: Sequence[float] = EXPONENTS,
    heads: Sequence[str] = ("fresh",),
    **rule,
) -> xr.Dataset:
    grid = {"case": CASES, "order": orders, "head": heads}
    fixed = {"exponents": tuple(exponents), "steps": steps, "width": 200} | rule
    run = _run(transfer_sequence.sequence, grid, scale, block, number, **fixed)
    return run.assign_attrs(fixed | {"tasks": run.sizes["after"]})


def _run(
    unit, grid: dict, scale: Scale, block: int, number: int, **fixed
) -> xr.Dataset:
    seeds = scales.seeds(number, block)
    run = sweep(unit, {k: list(v) for k, v in grid.items()}, seeds, **fixed)
    return run.assign_attrs(n=noise.TRAIN, seeds=list(seeds))
