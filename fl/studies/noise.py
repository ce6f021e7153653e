"""Label noise at three sizes: the main sweep, the changes of the protocol, the stored
run, and the read-outs that chapter and claims share.
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from fl import scales
from fl.scales import Scale
from fl.simulate import noise as simulate
from fl.simulate.noise import task as task
from fl.stored import stored
from fl.sweep import sweep

CASES = ("high", "low")
SNRS = (0.5, 1.0, 2.0, 5.0)
OPTIMIZERS = ("exact", "adahessian")
# p = 2 is run in case High alone, for the fair comparison
CLAIMED = simulate.EXPONENTS[:-1]
# a teacher elsewhere: at SNR 5, where fitting noise matters least, so that what is left
# is the alignment
ELSEWHERE = {"snr": 5.0, "teacher": "other"}
ERRORS = {
    "train": "mean squared error on the training rows",
    "noisy": "mean squared error on test rows with noisy labels",
    "clean": "mean squared error on the same test rows without noise",
}


def steps(scale: Scale) -> int:
    """Return the number of steps of the main sweep at a ``scale``."""
    return scales.at(scale, smoke=3000, book=2500, paper=simulate.LONGEST)


def shorter(scale: Scale) -> int:
    """Return the number of steps of the variants at a ``scale``; the main sweep records
    it too, and therefore serves as the run without a change.
    """
    return scales.at(scale, smoke=2099, book=1796, paper=simulate.LONGEST)


def main(
    scale: Scale, block: int = 0, case: Sequence[str] = CASES, **changes
) -> xr.Dataset:
    """Return the errors along training in every SNR of a ``scale``; claims and chapter
    read the same runs.

    Args:
        scale: ``smoke``, ``book`` or ``paper``.
        block: of seeds.
        case: ``high`` and ``low``, or one of them.
        changes: fields of `fl.simulate.noise.Setting`; the exponents are `CLAIMED` if
            there are no others.
    """
    snrs = scales.at(scale, smoke=(1.0,), book=SNRS, paper=SNRS)
    return _run(scale, block, case, snrs, {"steps": steps(scale)} | changes)


def variants(
    scale: Scale,
    block: int = 0,
    case: Sequence[str] = CASES,
    snr: float = 1.0,
    **changes,
) -> xr.Dataset:
    """Return the last errors with something changed.

    Args:
        scale: ``smoke``, ``book`` or ``paper``.
        block: of seeds.
        case: ``high`` and ``low``, or one of them.
        snr: the one signal-to-noise ratio.
        changes: fields of `fl.simulate.noise.Setting`; the exponents are `CLAIMED` if
            there are no others.
    """
    fixed = {"steps": shorter(scale), "last_only": True}
    return _run(scale, block, case, (snr,), fixed | changes)


def unchanged(scale: Scale, block: int = 0) -> xr.Dataset:
    """Return what `variants` without a change would give at a ``scale`` and a
    ``block``, read from the main sweep.
    """
    return main(scale, block).sel(snr=[1.0], step=[shorter(scale)])


def high_case(scale: Scale, block: int = 0) -> xr.Dataset:
    """Return case High of the main sweep at a ``scale`` and a ``block``, with p = 2."""
    claimed = main(scale, block).sel(case=["high"])
    return xr.concat([claimed, main(scale, block, ["high"], exponents=(2.0,))], "p")


def adahessian(scale: Scale, block: int = 0, rotated: bool = False) -> xr.Dataset:
    """Return the last errors of AdaHessian's powers -2 and 1 at SNR 1, at a ``scale``
    and a ``block``, the inputs on the axes or ``rotated``.
    """
    changes = {"exponents": (-2.0, 1.0), "optimizer": "adahessian"}
    return variants(scale, block, rotated=rotated, **changes)


@stored("noise")
def published(scale: Scale) -> xr.Dataset:
    """Return the main sweep at a ``scale`` with both optimizers and all exponents; at
    ``paper``: Figs 1, 4 and 5 at full size.
    """
    runs = [
        main(scale, exponents=simulate.EXPONENTS, optimizer=optimizer)
        for optimizer in OPTIMIZERS
    ]
    run = xr.concat(runs, xr.IndexVariable("optimizer", list(OPTIMIZERS)))
    units = "variances of the training labels"
    for name, text in ERRORS.items():
        run[name].attrs = {"description": text, "units": units}
    return run


def last(run: xr.Dataset) -> xr.Dataset:
    """Return the errors of a ``run`` after the last step."""
    return run.isel(step=-1)


def at_best(run: xr.Dataset) -> xr.Dataset:
    """Return the errors of a ``run`` at the recorded step with the smallest noisy test
    error (early stopping by an oracle).
    """
    return run.isel(step=run["noisy"].argmin("step"))


def at_equal_train_error(run: xr.Dataset) -> xr.Dataset:
    """Return the errors of a ``run`` at the smallest training error that all exponents
    reach, seed by seed.
    """
    level = run["train"].min("step").max("p")
    return run.isel(step=(run["train"] <= level).argmax("step"))


def log_gaps(errors: xr.DataArray, upto: float = 1) -> xr.DataArray:
    """Return log-ratios of the ``errors`` of adjacent exponents, ``upto`` the last,
    positive where they move as claimed: down in case High, up in Low.
    """
    sign = xr.where(errors["case"] == "high", -1.0, 1.0)
    return (sign * np.log(errors)).sel(p=slice(-2, upto)).diff("p")


def _run(
    scale: Scale, block: int, case: Sequence[str], snrs: Sequence[float], changes: dict
) -> xr.Dataset:
    setting = simulate.Setting(**({"exponents": CLAIMED} | changes))
    seeds = scales.seeds(scales.at(scale, smoke=2, book=3, paper=5), block)
    grid = {"case": list(case), "snr": list(snrs)}
    run = sweep(simulate.trajectories, grid, seeds, setting=setting)
    return run.assign_attrs(
        n=simulate.TRAIN,
        n_test=simulate.ROWS - simulate.TRAIN,
        width=simulate.WIDTH,
        steps=setting.steps,
        seeds=list(seeds),
        snr=list(snrs),
        p=list(setting.exponents),
    )
