"""Sizes and sweeps of the chapter on the first step: the spike, and what ridge makes of
it.

Ratios are ``psi1`` = n/d and ``psi2`` = N/d. Every run names its sizes in ``attrs``.
"""

import numpy as np
import xarray as xr

from fl.scales import Scale, at, seeds
from fl.simulate.spikes import rank_one_error, spike
from fl.simulate.spikes_risk import first_layer, kernel, risk, spectrum
from fl.sweep import sweep
from fl.theory import spikes as theory

ERF, ERF3, RELU = ("erf", 1.0), ("erf", 3.0), ("relu", 1.0)
PAIRS = (
    {"student": ERF, "teacher": ERF3},
    {"student": RELU, "teacher": ERF3},
    {"student": ("tanh", 1.0), "teacher": RELU},
    {"student": ("softplus10", 0.1), "teacher": RELU},
)
RELUS = {"student": RELU, "teacher": RELU}
# pairs that no step takes below the floor
NEVER = ({"student": ERF, "teacher": RELU}, {"student": RELU, "teacher": ERF3})
RATIO = {"psi1": 2.0, "psi2": 1.0}
RATIOS = ((2.0, 1.0), (4.0, 0.5), (1.0, 2.0))  # psi1, psi2
MULTIPLES = (0.5, 0.75, 1.5, 2.0, 3.0)  # steps in units of the threshold
SMALL_STEPS, PENALTIES = (0.0, 1.0, 2.0, 4.0), (0.01, 0.1, 1.0)
PENALTY = 0.1  # where there is one
GIANT_STEPS = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0)  # eta / sqrt(N)
KERNELS = ((1.0, 4.0), (4.0, 3.0))  # psi1, eta
# psi1, eta / sqrt(N); the first is where features are least Gaussian
LAYERS = ((3.0, 8.0), (4.0, 0.0), (4.0, 1.0), (10.0, 4.0))
DEPARTURES = (0.0, 0.5, 0.7, 1.0)  # eta / sqrt(N)
WIDTHS, STEP = (1.0, 2.0, 4.0), 2.0  # psi2 and eta where only the width grows
WINDOW = 0.9  # penalty = N n^-0.9, for eps < 0.1 in the window of the theorem
MUCH_DATA = (10.0, 20.0, 40.0, 80.0)  # psi1


def gradients(scale: Scale, block: int = 0) -> xr.Dataset:
    """Return the relative errors of the rank-one part (d, seed) at doubled sizes, for
    the seeds of ``block`` at ``scale``.
    """
    dims = at(
        scale,
        smoke=(32, 64, 128, 256),
        book=(64, 128, 256, 512),
        paper=(128, 256, 512, 1024),
    )
    return _run(rank_one_error, {"d": dims}, 24, block, **RATIO)


def exponents(values: xr.DataArray) -> xr.DataArray:
    """Return the exponent of ``values`` (d, seed) in d, fitted for every seed."""
    logs = np.log(values.assign_coords(d=np.log(values.d)))
    fit = logs.polyfit("d", 1).polyfit_coefficients
    return fit.sel(degree=1, drop=True)


def remainders(
    scale: Scale, block: int = 0, pairs: tuple = PAIRS, offset: float = 0.0
) -> xr.Dataset:
    """Return the relative errors of the rank-one part (pair, seed).

    Args:
        scale: sizes; ``smoke`` takes the first two pairs.
        block: of seeds.
        pairs: ``student`` and ``teacher``, each a link ``(name, tau)``.
        offset: added to every label.
    """
    d, number = at(scale, smoke=(256, 12), book=(512, 12), paper=(1024, 12))
    pairs = pairs[: at(scale, smoke=2, book=4, paper=4)]
    fixed = {"d": d, "offset": offset, **RATIO}
    runs = [
        _run(rank_one_error, {}, number, block, **links, **fixed) for links in pairs
    ]
    return _together(runs, "pair").assign_attrs(pairs=pairs)


def spikes(scale: Scale, block: int = 0) -> xr.Dataset:
    """Return the leading singular triples (ratio, multiple, seed) at ``multiple`` times
    the threshold, for the seeds of ``block`` at ``scale``.
    """
    d, number = at(scale, smoke=(200, 16), book=(400, 16), paper=(1000, 16))
    runs = []
    for psi1, psi2 in RATIOS:
        eta_c = theory.threshold(theory.pair(), psi1, psi2)
        etas = [float(multiple * eta_c) for multiple in MULTIPLES]
        run = _run(spike, {"eta": etas}, number, block, d=d, psi1=psi1, psi2=psi2)
        run = run.assign_coords(
            multiple=("eta", list(MULTIPLES)),
            psi2=psi2,
            width=psi2 * d,
        )
        runs.append(run.swap_dims(eta="multiple"))
    return _together(runs, "ratio").assign_attrs(ratios=RATIOS)


def finite_sizes(scale: Scale, block: int = 0) -> xr.Dataset:
    """Return the leading singular triples (d, output, seed) at eta = 4 over doubled
    ``d``, with f(X) in the residual and without it, for the seeds of ``block`` at
    ``scale``.
    """
    dims, number = at(
        scale,
        smoke=((25, 50, 100), 8),
        book=((50, 100, 200, 400), 40),
        paper=((100, 200, 400, 800), 40),
    )
    grid = {"d": dims, "output": [True, False]}
    return _run(spike, grid, number, block, eta=4.0, **RATIO)


def kernels(scale: Scale, block: int = 0) -> xr.Dataset:
    """Return what the features see of the spike (cell, seed), for the seeds of
    ``block``; ``scale`` sets the number of cells too.
    """
    d, number = at(scale, smoke=(400, 24), book=(400, 24), paper=(1000, 24))
    cells = KERNELS[: at(scale, smoke=1, book=2, paper=2)]
    runs = [
        _run(kernel, {"psi1": [psi1], "eta": [eta]}, number, block, d=d, psi2=1.0)
        for psi1, eta in cells
    ]
    return _together(runs, "cell").assign_attrs(cells=cells)


def small_steps(scale: Scale, block: int = 0, **kinds: str) -> xr.Dataset:
    """Return the ridge risk (eta, seed, penalty) after steps of order one.

    Args:
        scale: sizes.
        block: of seeds.
        kinds: ``features`` and ``labels`` of `fl.simulate.spikes_risk.risk`.
    """
    d, number = at(scale, smoke=(200, 16), book=(200, 24), paper=(800, 32))
    fixed = {"d": d, "penalties": PENALTIES, **RATIO, **kinds}
    run = _run(risk, {"eta": SMALL_STEPS}, number, block, **fixed)
    return run.squeeze("draw")


def biases(scale: Scale, block: int = 0) -> xr.Dataset:
    """Return the ridge risk (output, features, seed) after a step of order one, with
    f(X) in the first residual and without it, for the seeds of ``block`` at ``scale``.
    """
    d, number = at(scale, smoke=(100, 8), book=(200, 24), paper=(800, 32))
    grid = {"output": [True, False], "features": ["network", "gaussian"]}
    cell = {"psi1": 4.0, "psi2": 0.5, "eta": 4.0, "penalties": (PENALTY,)}
    return _run(risk, grid, number, block, d=d, **cell).squeeze()


def giant_steps(
    scale: Scale,
    block: int = 0,
    psi1: float = 10.0,
    **links: tuple,
) -> xr.Dataset:
    """Return the ridge risk (etabar, seed, draw) over ``etabar`` = eta / sqrt(N).

    Args:
        scale: sizes.
        block: of seeds.
        psi1: samples per dimension.
        links: ``student`` and ``teacher``, each ``(name, tau)``.
    """
    d, number, draws = at(scale, smoke=(50, 2, 2), book=(100, 3, 6), paper=(400, 4, 6))
    etas = [etabar * (2 * d) ** 0.5 for etabar in GIANT_STEPS]
    fixed = {"d": d, "psi1": psi1, "psi2": 2.0, "penalties": (PENALTY,), "draws": draws}
    run = _run(risk, {"eta": etas}, number, block, **links, **fixed)
    return (
        run.squeeze("penalty").assign_coords(eta=list(GIANT_STEPS)).rename(eta="etabar")
    )


def in_window(
    scale: Scale, block: int = 0, teacher: tuple = ERF3, etabars: tuple = (2.0,)
) -> xr.Dataset:
    """Return the ridge risk (psi1, etabar, seed) of the erf student over `MUCH_DATA`,
    with penalties in the window n^(eps-1) < penalty/N < n^-eps.

    Args:
        scale: sizes.
        block: of seeds.
        teacher: link ``(name, tau)``.
        etabars: eta / sqrt(N).
    """
    d, number = at(scale, smoke=(100, 6), book=(100, 12), paper=(400, 8))
    width = 2 * d
    fixed = {"d": d, "psi2": 2.0, "teacher": teacher}
    runs, penalties = [], []
    for psi1 in MUCH_DATA:
        penalties.append(width * (psi1 * d) ** -WINDOW)
        etas = [etabar * width**0.5 for etabar in etabars]
        grid = {"psi1": [psi1], "eta": etas}
        run = _run(risk, grid, number, block, penalties=(penalties[-1],), **fixed)
        run = run.fresh.squeeze(["penalty", "draw"], drop=True).to_dataset()
        runs.append(run.assign_coords(eta=list(etabars)).rename(eta="etabar"))
    sizes = fixed | {"penalties": penalties, "etabar": etabars, "seeds": number}
    return xr.concat(runs, "psi1").assign_attrs(sizes, psi1=MUCH_DATA)


def widths(scale: Scale, block: int = 0) -> xr.Dataset:
    """Return the ridge risk (psi2, eta, seed) without a step and after one of size
    `STEP`, for the seeds of ``block`` at ``scale``.
    """
    d, number = at(scale, smoke=(100, 24), book=(200, 24), paper=(400, 32))
    grid = {"psi2": WIDTHS, "eta": [0.0, STEP]}
    run = _run(risk, grid, number, block, d=d, psi1=2.0, penalties=(PENALTY,))
    return run.squeeze(["draw", "penalty"], drop=True)


def departures(scale: Scale, block: int = 0) -> list:
    """Return the spectra of features (etabar, seed, features, mode) of the pair `RELUS`
    after steps on the way from small to giant, one run a width, for the seeds of
    ``block`` at ``scale``.
    """
    cells = at(  # seeds to d: narrow features scatter more
        scale,
        smoke={100: 48, 400: 2},
        book={100: 48, 200: 12, 400: 4},
        paper={100: 48, 400: 8, 800: 4},
    )
    sizes = {"psi1": 10.0, "psi2": 2.0, "noise": 0.01, **RELUS}
    runs = []
    for d, number in cells.items():
        etas = [etabar * (2 * d) ** 0.5 for etabar in DEPARTURES]
        run = _run(spectrum, {"eta": etas}, number, block, d=d, **sizes)
        run = run.assign_coords(eta=list(DEPARTURES)).rename(eta="etabar")
        runs.append(run.assign_attrs(n=10 * d, width=2 * d, penalty=PENALTY))
    return runs


def layers(scale: Scale, block: int = 0, cells: tuple = LAYERS) -> xr.Dataset:
    """Return stepped first layers and their risks (cell, seed, draw).

    Args:
        scale: sizes.
        block: of seeds.
        cells: psi1 and eta / sqrt(N); ``smoke`` takes the first two.
    """
    number = at(scale, smoke=3, book=4, paper=8)
    cells = cells[: at(scale, smoke=2, book=10, paper=10)]
    fixed = {"d": 100, "psi2": 2.0, "penalty": PENALTY, "draws": 96, "noise": 0.01}
    runs = []
    for psi1, etabar in cells:
        grid = {"psi1": [psi1], "eta": [etabar * 200**0.5]}
        run = _run(first_layer, grid, number, block, **fixed)
        runs.append(run.assign_coords(etabar=etabar, n=round(100 * psi1)))
    return _together(runs, "cell").assign_attrs(cells=cells)


def _run(function, grid: dict, number: int, block: int, **fixed) -> xr.Dataset:
    """Return the sweep of ``function`` with its sizes in ``attrs``."""
    run = sweep(function, grid, seeds(number, block), **fixed)
    return run.assign_attrs(grid, seeds=number, **fixed)


def _together(runs: list[xr.Dataset], dim: str) -> xr.Dataset:
    """Return runs of single cells along ``dim``, with the sizes they share."""
    cells = [run.squeeze() for run in runs]
    return xr.concat(cells, dim, combine_attrs="drop_conflicts")
