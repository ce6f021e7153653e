"""Sizes and sweeps of the chapter on the first step: the spike, and what ridge makes of
it after a step of order one.

Ratios are ``psi1`` = n/d and ``psi2`` = N/d. Every run names its sizes in ``attrs``.
Where a limit is claimed there are two sizes ``d``, and `limit` takes the term in 1/d off.
"""

import numpy as np
import xarray as xr

from fl.scales import Scale, at, seeds
from fl.simulate.spikes import rank_one_error, spike
from fl.simulate.spikes_risk import kernel, risk
from fl.sweep import sweep
from fl.theory import spikes as theory

ERF, ERF3, RELU, TANH = ("erf", 1.0), ("erf", 3.0), ("relu", 1.0), ("tanh", 1.0)
PAIRS = (
    {"student": ERF, "teacher": ERF3},
    {"student": RELU, "teacher": ERF3},
    {"student": TANH, "teacher": RELU},
    {"student": ("softplus10", 0.1), "teacher": RELU},
)
RATIO = {"psi1": 2.0, "psi2": 1.0}
RATIOS = ((2.0, 1.0), (4.0, 0.5), (1.0, 2.0))  # psi1, psi2
MULTIPLES = (0.5, 0.75, 1.5, 2.0, 3.0)  # steps in units of the threshold
SMALL_STEPS, PENALTIES = (0.0, 1.0, 2.0, 4.0), (0.01, 0.1, 1.0)
PENALTY = 0.1  # where there is one
KERNELS = ((1.0, 4.0), (4.0, 3.0))  # psi1, eta
# psi1 and psi2 where the gain of a step is judged
WIDE, MUCH = ((2.0, 1.0), (2.0, 2.0), (2.0, 8.0)), ((2.0, 1.0), (10.0, 1.0))
GAIN_STEPS = (0.0, 1.0, 2.0)
# pairs of which one link has no linear part, and what puts it back
NO_LINEAR_PART = ({"teacher": ("abs", 1.0)}, {"student": ("abs", 1.0)})
LINEAR_PART = ({"teacher": RELU}, {})


def limit(values: xr.DataArray, decay: float = 1.0) -> xr.DataArray:
    """Return ``values`` of two sizes (d, ...) at infinite d, a term in d to the power
    minus ``decay`` taken off.
    """
    small, large = values.d.values
    ratio = (large / small) ** decay
    near, far = values.isel(d=0, drop=True), values.isel(d=1, drop=True)
    return (ratio * far - near) / (ratio - 1)


def gradients(scale: Scale, block: int = 0) -> xr.Dataset:
    """Return the relative errors of the rank-one part (d, seed) at doubled sizes, for
    the seeds of ``block`` at ``scale``.
    """
    dims = at(
        scale,
        smoke=(32, 64, 128),
        book=(64, 128, 256, 512),
        paper=(128, 256, 512, 1024),
    )
    return _run(rank_one_error, {"d": dims}, 24, block, **RATIO)


def exponents(values: xr.DataArray, size: str = "d") -> xr.DataArray:
    """Return the exponent of ``values``, fitted over their dimension ``size``."""
    logs = np.log(values.assign_coords({size: np.log(values[size])}))
    fit = logs.polyfit(size, 1).polyfit_coefficients
    return fit.sel(degree=1, drop=True)


def remainders(
    scale: Scale, block: int = 0, pairs: tuple = PAIRS, offset: float = 0.0
) -> xr.Dataset:
    """Return the relative errors of the rank-one part (pair, d, seed).

    Args:
        scale: sizes; ``smoke`` takes the first two pairs.
        block: of seeds.
        pairs: ``student`` and ``teacher``, each a link ``(name, tau)``.
        offset: added to every label.
    """
    dims = at(scale, smoke=(64, 128), book=(128, 256), paper=(512, 1024))
    pairs = pairs[: at(scale, smoke=2, book=4, paper=4)]
    fixed = {"offset": offset, **RATIO}
    runs = [
        _run(rank_one_error, {"d": dims}, 24, block, **links, **fixed)
        for links in pairs
    ]
    return _together(runs, "pair").assign_attrs(pairs=pairs)


def spikes(scale: Scale, block: int = 0) -> xr.Dataset:
    """Return the leading singular triples (ratio, d, multiple, seed) at ``multiple``
    times the threshold, for the seeds of ``block`` at ``scale``.
    """
    dims = at(scale, smoke=(70, 140), book=(200, 400), paper=(500, 1000))
    runs = []
    for psi1, psi2 in RATIOS:
        eta_c = theory.threshold(theory.pair(), psi1, psi2)
        etas = tuple(float(multiple * eta_c) for multiple in MULTIPLES)
        fixed = {"psi1": psi1, "psi2": psi2, "etas": etas}
        run = _run(spike, {"d": dims}, 16, block, **fixed)
        run = run.assign_coords(multiple=("eta", list(MULTIPLES)), psi2=psi2)
        runs.append(run.swap_dims(eta="multiple"))
    return _together(runs, "ratio").assign_attrs(ratios=RATIOS)


def kernels(scale: Scale, block: int = 0) -> xr.Dataset:
    """Return what the features see of the spike (cell, d, seed), for the seeds of
    ``block``; ``scale`` sets the number of cells too.
    """
    dims = at(scale, smoke=(100, 200), book=(200, 400), paper=(500, 1000))
    cells = KERNELS[: at(scale, smoke=1, book=2, paper=2)]
    runs = [
        _run(kernel, {"psi1": [psi1], "eta": [eta], "d": dims}, 36, block, psi2=1.0)
        for psi1, eta in cells
    ]
    runs = [run.squeeze(["psi1", "eta"]) for run in runs]
    return _together(runs, "cell").assign_attrs(cells=cells)


def small_steps(
    scale: Scale, block: int = 0, features: str = "network", reuse: bool = False
) -> xr.DataArray:
    """Return the ridge risk (d, seed, eta, penalty) after steps of order one, at
    ``scale`` for the seeds of ``block``; ``features`` and ``reuse`` are those of
    `fl.simulate.spikes_risk.risk`.
    """
    dims, number = at(
        scale, smoke=((40, 80), 20), book=((100, 200), 32), paper=((400, 800), 32)
    )
    fixed = {"etas": SMALL_STEPS, "penalties": PENALTIES, **RATIO}
    fixed |= {"features": features, "reuse": reuse}
    return _risk({"d": dims}, number, block, **fixed)


def biases(scale: Scale, block: int = 0) -> xr.DataArray:
    """Return the ridge risk (output, features, seed) after a step of order one, with
    f(X) in the first residual and without it, for the seeds of ``block`` at ``scale``.
    """
    d, number = at(scale, smoke=(100, 8), book=(200, 24), paper=(800, 32))
    firsts = {"with": {"output": True}, "without": {"output": False}}
    grid = {"first": firsts, "features": ["network", "gaussian"]}
    cell = {"psi1": 4.0, "psi2": 0.5, "etas": (4.0,), "penalties": (PENALTY,)}
    return _risk(grid, number, block, d=d, **cell)


def gains(
    scale: Scale, cells: tuple, block: int = 0, labels: str = "true"
) -> xr.DataArray:
    """Return the ridge risk (cell, d, seed, eta) after the steps `GAIN_STEPS`.

    Args:
        scale: sizes.
        cells: psi1 and psi2.
        block: of seeds.
        labels: of the first step, ``true`` or ``shuffled``.
    """
    dims = at(scale, smoke=(30, 60), book=(60, 120), paper=(200, 400))
    fixed = {"etas": GAIN_STEPS, "penalties": (PENALTY,), "first": {"labels": labels}}
    runs = [
        _risk({"d": dims}, 16, block, psi1=psi1, psi2=psi2, **fixed)
        for psi1, psi2 in cells
    ]
    return _together(runs, "cell").assign_attrs(cells=cells)


def no_linear_part(
    scale: Scale, block: int = 0, pairs: tuple = NO_LINEAR_PART
) -> xr.DataArray:
    """Return the ridge risk (pair, d, seed, eta) without a step and after eta = 4 for
    ``pairs`` of links at ``scale``, for the seeds of ``block``.
    """
    dims = at(scale, smoke=(30, 60), book=(60, 120), paper=(200, 400))
    fixed = {"etas": (0.0, 4.0), "penalties": (PENALTY,)} | RATIO
    runs = [_risk({"d": dims}, 48, block, **links, **fixed) for links in pairs]
    return _together(runs, "pair").assign_attrs(pairs=pairs)


def _run(function, grid: dict, number: int, block: int, **fixed) -> xr.Dataset:
    """Return the sweep of ``function`` with its sizes in ``attrs``."""
    run = sweep(function, grid, seeds(number, block), **fixed)
    sizes = {name: list(axis) for name, axis in grid.items()}
    return run.assign_attrs(sizes, seeds=number, **fixed)


def _risk(grid: dict, number: int, block: int, **fixed) -> xr.DataArray:
    """Return the risks of a sweep, without dimensions of length one."""
    run = _run(risk, grid, number, block, **fixed)
    return run.risk.squeeze(drop=True).assign_attrs(run.attrs)


def _together(runs: list, dim: str):
    """Return runs of single cells along ``dim``, with the sizes they share."""
    return xr.concat(runs, dim, combine_attrs="drop_conflicts")
