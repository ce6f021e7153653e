"""Studies of the chapter on alignment: the sizes at each scale, and the runs at these
sizes.

Every study takes a ``scale`` and a ``block`` of seeds (`fl.scales`); its data set holds
the sizes in ``attrs``. A dimension ``cell`` stands for settings that fill no grid.
"""

import xarray as xr

from fl import scales
from fl.numerics import standard_error
from fl.scales import Scale
from fl.simulate import alignment, alignment_student

# what the runs draw from, for whoever predicts them
from fl.simulate.alignment import extreme_task as extreme_task
from fl.simulate.alignment import small_sample as small_sample
from fl.simulate.alignment_student import power_law_task as power_law_task
from fl.sweep import evaluate, sweep

CASES = ["high", "low"]
# decays a of the eigenvalues and b of the energies, with an exponent or a noise
FLOWS = [
    {"a": 2.0, "b": 2.5, "p": 0.0},
    {"a": 1.0, "b": 2.8, "p": 1.0},
    {"a": 1.0, "b": 2.0, "p": 0.5},
    {"a": 3.0, "b": 1.8, "p": -0.5},
]
LAWS = [
    {"a": 1.0, "b": 1.5, "noise": 0.5},
    {"a": 1.0, "b": 2.5, "noise": 0.1},
    {"a": 1.5, "b": 1.2, "noise": 1.0},
]


def early_feature(scale: Scale, block: int = 0) -> xr.Dataset:
    """Return ``along`` and ``total`` (case, snr, p, draw), at ``scale``, the
    ``alignment`` that is the ratio of their means, and its standard ``error``;
    ``block`` draws the training sets.
    """
    run = _sweep(
        alignment.early_feature,
        {"case": CASES, "snr": [0.5, 1.0, 5.0]},
        scales.seeds(1, block),
        exponents=[-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0],
        n=200,
        draws=scales.at(scale, smoke=500, book=2000, paper=20_000),
    ).isel(seed=0)
    mean = run.total.mean("draw")
    ratio = run.along.mean("draw") / mean
    error = standard_error(run.along - ratio * run.total, "draw") / mean
    return run.assign(alignment=ratio, error=error)


def escape(scale: Scale, block: int = 0) -> xr.Dataset:
    """Return the ``rate`` of ReLU networks, (case, p, seed), at ``scale``; ``block``
    draws samples and weights.
    """
    number = scales.at(scale, smoke=1, book=2, paper=10)
    exponents = [-2.0, 1.0] if scale == "smoke" else [-2.0, -1.0, 0.0, 1.0]
    return _sweep(
        alignment.escape_rate,
        {"case": CASES, "p": exponents},
        scales.seeds(number, block),
        n=200,
        width=scales.at(scale, smoke=50, book=100, paper=100),
    )


def conservation(scale: Scale, block: int = 0) -> xr.Dataset:
    """Return the drifts ``preconditioned`` and ``plain``, (case, p, eta, seed), over
    the same time for three step sizes, each half of the one before, at ``scale``;
    ``block`` draws samples and weights.
    """
    number = scales.at(scale, smoke=1, book=3, paper=10)
    return _sweep(
        alignment.conservation_drift,
        {"case": CASES, "p": [-1.0, 0.5, 0.7], "eta": [2e-3, 1e-3, 5e-4]},
        scales.seeds(number, block),
        time=0.4,
        n=100,
        width=50,
    )


def population_flow(scale: Scale, block: int = 0) -> xr.Dataset:
    """Return the ``risk`` on the power laws `FLOWS`, (cell, time), at ``scale``;
    nothing is drawn, and a ``block`` has power laws of its own, up to a fifth steeper.
    """
    steeper = 1 + block % 10 / 45
    return _cells(
        alignment_student.population_descent,
        [flow | {"a": flow["a"] * steeper} for flow in FLOWS],
        d=scales.at(scale, smoke=10_000, book=20_000, paper=100_000),
        eta=0.25,
        times=[400.0, 800.0, 1600.0],
    )


def ridge(scale: Scale, block: int = 0) -> xr.Dataset:
    """Return the ``error``, (n, seed, p, penalty, sample), below and above n = d, at
    ``scale``; ``block`` draws the training sets.
    """
    d = scales.at(scale, smoke=200, book=300, paper=600)
    number = scales.at(scale, smoke=30, book=60, paper=400)
    return _sweep(
        alignment_student.ridge_errors,
        {"n": [d // 2, 2 * d]},
        scales.seeds(number, block),
        d=d,
        exponents=[-1.0, -0.5, 0.0, 1.0],
        penalties=[0.003, 0.03],
    )


def interpolation(scale: Scale, block: int = 0) -> xr.Dataset:
    """Return the excess ``risk``, (seed, q, part, b), at ``scale``; ``block`` draws the
    training sets, the same for every b.
    """
    number = scales.at(scale, smoke=24, book=40, paper=40)
    return _sweep(
        alignment_student.interpolation_errors,
        {},
        scales.seeds(number, block),
        d=scales.at(scale, smoke=2000, book=10_000, paper=50_000),
        n=scales.at(scale, smoke=100, book=100, paper=400),
        bs=[1.6, 2.0, 2.7],
        qs=[2.0, 3.0],
    )


def best_exponent(scale: Scale, block: int = 0, tuned: bool = True) -> xr.Dataset:
    """Return the best ``p`` and ``penalty`` on drawn inputs for each of `LAWS`,
    (cell, seed), at ``scale``, with a ``tuned`` penalty or none; ``block`` draws the
    inputs.
    """
    seeds = scales.seeds(scales.at(scale, smoke=4, book=12, paper=12), block)
    d = scales.at(scale, smoke=60, book=100, paper=300)
    size = {"d": d, "n": d // 2, "tuned": tuned}
    runs = [
        sweep(alignment_student.best_on_average, None, seeds, **law, **size)
        for law in LAWS
    ]
    named = [run.assign_coords(law) for run, law in zip(runs, LAWS, strict=True)]
    return xr.concat(named, "cell").assign_attrs(size, cells=LAWS, seeds=list(seeds))


def _sweep(function, grid: dict, seeds: range, **size) -> xr.Dataset:
    run = sweep(function, grid, seeds, **size)
    return run.assign_attrs(size, seeds=list(seeds), **grid)


def _cells(function, cells: list[dict], **size) -> xr.Dataset:
    units = [cell | size for cell in cells]
    runs = zip(evaluate(function, units), cells, strict=True)
    named = [xr.Dataset(run).assign_coords(cell) for run, cell in runs]
    return xr.concat(named, "cell").assign_attrs(size, cells=cells)
