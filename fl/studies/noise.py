"""Label noise at three sizes: the main sweep, the changes of the protocol, the stored
run, the linear student, and the read-outs that chapter and claims share.
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from fl import scales
from fl.scales import Scale
from fl.simulate import noise as simulate
from fl.simulate.noise import task as task
from fl.simulate.noise_linear import linear_student
from fl.stored import stored
from fl.sweep import sweep

CASES = ("high", "low")
D, ETA = simulate.D, simulate.ETA
SNRS = (0.5, 1.0, 2.0, 5.0)  # of the stored run
OPTIMIZERS = ("exact", "adahessian")
CLAIMED = (-2.0, -1.0, 0.0)
# exponent that points away from the teacher
AWAY = {"high": -2.0, "low": 0.0}
# rows of a mini-batch and of a small training set, and all that there are
FEW, ALL = 20, simulate.TRAIN
# the linear student: exponents, and times in units of what the teacher takes
POWERS, MOMENTS = (-2.0, -1.0, 0.0, 1.0), (0.1, 0.3, 1.0, 3.0, 10.0)
ERRORS = {
    "train": "mean squared error on the training rows",
    "noisy": "mean squared error on test rows with noisy labels",
    "clean": "mean squared error on the same test rows without noise",
}


def main(scale: Scale, block: int = 0) -> xr.Dataset:
    """Return the errors along training in both cases and every SNR of a ``scale``, on a
    ``block`` of seeds.
    """
    snrs = scales.at(scale, smoke=(1.0,), book=(0.5, 1.0), paper=SNRS)
    return _run(scale, block, snrs)


def variants(scale: Scale, block: int = 0, number: int = 10, **changes) -> xr.Dataset:
    """Return the errors along training at SNR 1 with something changed.

    Args:
        scale: ``smoke``, ``book`` or ``paper``.
        block: of seeds.
        number: of seeds; with the default those of `main`.
        changes: fields of `fl.simulate.noise.Setting`; the exponents are `CLAIMED` if
            there are no others.
    """
    return _run(scale, block, (1.0,), number=number, **changes)


def longer(scale: Scale, block: int = 0) -> xr.Dataset:
    """Return the errors of p = 0 and 1 in case High, SNR 1, over so many steps that the
    networks overfit; more seeds of a ``block``, at a ``scale``.
    """
    steps = scales.at(scale, smoke=2099, book=2454, paper=simulate.LONGEST)
    width = scales.at(scale, smoke=100, book=200, paper=simulate.WIDTH)
    changes = {"steps": steps, "exponents": (0.0, 1.0), "width": width}
    return _run(scale, block, (1.0,), ("high",), number=36, **changes)


def adahessian(scale: Scale, block: int = 0, rotated: bool = False) -> xr.Dataset:
    """Return the errors of AdaHessian's powers -2 and 1 at SNR 1, at a ``scale`` and a
    ``block``, the inputs on the axes or ``rotated``.
    """
    changes = {"exponents": (-2.0, 1.0), "optimizer": "adahessian", "rotated": rotated}
    return _run(scale, block, (1.0,), number=6, **changes)


def linear(scale: Scale, block: int = 0) -> xr.Dataset:
    """Return the risks of linear students in both cases at two numbers of rows, SNR 1,
    at a ``scale`` and a ``block``.
    """
    draws = scales.at(scale, smoke=1000, book=2000, paper=8000)
    grid = {"case": CASES, "n": (4 * D, ALL)}
    sizes = {"exponents": POWERS, "moments": MOMENTS, "draws": draws}
    run = sweep(linear_student, grid, scales.seeds(1, block), **sizes)
    return run.isel(seed=0, drop=True).assign_attrs(draws=draws, snr=1.0)


@stored("noise")
def published(scale: Scale) -> xr.Dataset:
    """Return Figs 1, 4 and 5: both optimizers and all exponents, at a ``scale``; at
    ``paper``: at full size.
    """
    run = xr.concat(
        [
            _run(scale, 0, SNRS, number=5, exponents=simulate.EXPONENTS, optimizer=name)
            for name in OPTIMIZERS
        ],
        xr.IndexVariable("optimizer", list(OPTIMIZERS)),
    )
    for name, text in ERRORS.items():
        units = "variances of the training labels"
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


def log_gaps(errors: xr.DataArray, upto: float = 0) -> xr.DataArray:
    """Return log-ratios of the ``errors`` of adjacent exponents, ``upto`` the last,
    positive where they move as claimed: down in case High, up in Low.
    """
    sign = xr.where(errors["case"] == "high", -1.0, 1.0)
    return (sign * np.log(errors)).sel(p=slice(-2, upto)).diff("p")


def _run(
    scale: Scale,
    block: int,
    snrs: Sequence[float],
    cases: Sequence[str] = CASES,
    number: int = 10,
    **changes,
) -> xr.Dataset:
    sizes = {
        "steps": scales.at(scale, smoke=962, book=1314, paper=simulate.LONGEST),
        "width": scales.at(scale, smoke=50, book=200, paper=simulate.WIDTH),
        "n_test": scales.at(scale, smoke=1000, book=1000, paper=9800),
        "exponents": CLAIMED,
    } | changes
    setting = simulate.Setting(**sizes)
    seeds = scales.seeds(number, block)
    grid = {"case": list(cases), "snr": list(snrs)}
    run = sweep(simulate.trajectories, grid, seeds, setting=setting)
    found = {name: getattr(setting, name) for name in ("n", "n_test", "width", "steps")}
    return run.assign_attrs(found | {"seeds": list(seeds), "p": setting.exponents})
