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

STEPS = EARLY, MIDDLE, LAST = (1000, 3000, noise.LONGEST)
EXPONENTS = (-2.0, -1.0, 0.0)
TARGETS = (1.0, 5.0, np.inf)  # SNRs of task 2
NOISY = 0.5  # the SNR of a noisy task 1
SNRS = (NOISY, *TARGETS)  # of both tasks in the stored run
# the exponent that favours the direction of task 2
TOWARDS = {"high": -2.0, "low": 0.0}
CURVE = (30, 100, 200, 300, 500, 700, 1000, 1500, 2000, 3000)
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
    snr: Sequence[float] = (1.0, np.inf),
    **changes,
) -> xr.Dataset:
    """Return what the features of task 1 are worth on task 2; claims and chapter read
    the same runs.

    Args:
        scale: ``smoke``, ``book`` or ``paper``.
        block: of seeds.
        case: ``high`` and ``low``, or one of them.
        snr: of task 1, several.
        changes: fields of `fl.simulate.transfer.Setting`.
    """
    fixed = {"steps": STEPS, "exponents": EXPONENTS, "targets": TARGETS}
    width = scales.at(scale, smoke=200, book=200, paper=noise.WIDTH)
    setting = simulate.Setting(**({"width": width} | fixed | changes))
    grid = {"case": case, "snr": snr}
    run = _run(simulate.reuse, grid, scale, block, setting=setting)
    return run.assign_attrs(width=width)


def noisy(scale: Scale, block: int = 0, arrange: bool = False) -> xr.Dataset:
    """Return the runs of p = -1 on a noisy task 1 at a ``scale`` and a ``block``, the
    noise as drawn or, with ``arrange``, sorted along the direction of task 1.
    """
    changes = {"exponents": (-1.0,), "arrange": arrange}
    run = main(scale, block, snr=[NOISY], **changes)
    return run.isel(snr=0)


def adahessian(
    scale: Scale,
    block: int = 0,
    case: Sequence[str] = ("high",),
    exponents: Sequence[float] = EXPONENTS,
) -> xr.Dataset:
    """Return the runs of the ``exponents`` of AdaHessian's diagonal where Fig 3 looks,
    at a ``scale``, a ``block`` and each ``case``.
    """
    changes = {"exponents": tuple(exponents), "optimizer": "adahessian"}
    return main(scale, block, case, [1.0], steps=(LAST,), **changes)


def share_curves(scale: Scale, block: int = 0) -> xr.DataArray:
    """Return the mean share of the nine directions that task 1 does not ask for, at p =
    -1 along training, after a noisy and a noise-free task 1, at a ``scale`` and a
    ``block``.
    """
    changes = {"steps": CURVE, "exponents": (-1.0,), "targets": (1.0,)}
    run = main(scale, block, snr=(NOISY, np.inf), **changes)
    return run["others"].isel(p=0)


def untrained(scale: Scale, block: int = 0) -> xr.Dataset:
    """Return the errors on task 2 with features that were never trained, at a ``scale``
    and a ``block``.
    """
    changes = {"steps": (0,), "exponents": (0.0,), "targets": (1.0, 5.0)}
    run = main(scale, block, snr=[1.0], **changes)
    return run.isel(snr=0, p=0, step=0)


def sequences(
    scale: Scale,
    block: int = 0,
    heads: Sequence[str] = ("fresh",),
    exponents: Sequence[float] = EXPONENTS,
) -> xr.Dataset:
    """Return the sequences of five tasks in all orders at a ``scale`` and a ``block``,
    with each of the ``heads`` and the ``exponents``.
    """
    steps = scales.at(scale, smoke=1000, book=1000, paper=3000)
    grid = {"case": CASES, "order": list(transfer_sequence.ORDERS), "head": heads}
    fixed = {"exponents": tuple(exponents), "steps": steps, "width": 200}
    run = _run(transfer_sequence.sequence, grid, scale, block, **fixed)
    return run.assign_attrs(fixed | {"tasks": run.sizes["after"]})


@stored("transfer")
def published(scale: Scale) -> xr.Dataset:
    """Return Fig 3 and its sweep, the arranged noise, AdaHessian's powers, and the
    sequences, at a ``scale``; ``paper`` is full size.
    """
    snrs = scales.at(scale, smoke=(1.0, 5.0), book=SNRS, paper=SNRS)
    run = main(scale, snr=snrs, targets=snrs, exponents=noise.EXPONENTS)
    best = tuned(run)
    four = noise.EXPONENTS[:-1]
    diagonal = adahessian(scale, case=CASES, exponents=four).isel(snr=0)
    diagonal = fixed_penalty(diagonal).sel(step=LAST, drop=True)
    where = {"step": LAST, "p": -1, "drop": True}
    along = noisy(scale, arrange=True)
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
        sequences(scale, heads=("fresh", "kept"), exponents=four),
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


def _run(unit, grid: dict, scale: Scale, block: int, **fixed) -> xr.Dataset:
    number = scales.at(scale, smoke=2, book=3, paper=5)
    seeds = scales.seeds(number, block)
    run = sweep(unit, {k: list(v) for k, v in grid.items()}, seeds, **fixed)
    return run.assign_attrs(n=noise.TRAIN, seeds=list(seeds))
