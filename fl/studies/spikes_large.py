"""Sizes and sweeps of the chapter on the first step, second part: large steps, where
they begin, and what no step can pass.
"""

import numpy as np
import xarray as xr

from fl.scales import Scale, at, seeds
from fl.simulate.spikes_risk import first_layer, risk
from fl.simulate.spikes_shares import kernel_risks, shares
from fl.studies.spikes import ERF, ERF3, PENALTY, RELU, TANH
from fl.sweep import sweep
from fl.theory import spikes_departure

GIANT_STEPS = (
    0.0,
    0.25,
    0.5,
    1.0,
    2.0,
    4.0,
)  # eta / sqrt(N)
RELUS = {"student": RELU, "teacher": RELU}
# pairs that no step takes below the floor
NEVER = (
    {"student": ERF, "teacher": RELU},
    {"student": RELU, "teacher": ERF3},
)
BELOW = (  # and pairs inside the theorem that a large one does
    {"student": ERF, "teacher": ERF},
    {"student": ERF, "teacher": ERF3},
    {"student": TANH, "teacher": TANH},
)
CELL = ("psi1", "psi2", "penalty", "eta")
WINDOW = 0.9  # penalty = N n^-0.9, for eps < 0.1 in the window of the theorem
MUCH_DATA = (10.0, 20.0, 40.0, 80.0)  # psi1
# psi1, eta / sqrt(N); the first is where features are least Gaussian
LAYERS = ((3.0, 8.0), (4.0, 1.0), (4.0, 0.0), (6.0, 4.0))
# eta / sqrt(N) for the first two of `BELOW`: projections near the ones they want
EXACT = (4.0, 8.0)
# degrees of which student and teacher both have a part, the first beyond the linear one
DEGREES = {2: RELUS, 3: {"student": ERF, "teacher": ERF3}}
STEP_RATIOS = {"psi1": 4.0, "psi2": 2.0}
LEVEL, SPREADS = (
    0.03,
    (0.7, 1.4, 2.8),
)  # spreads in units of the predicted


def giant_steps(
    scale: Scale,
    block: int = 0,
    psi1: float = 10.0,
    **links: tuple,
) -> xr.DataArray:
    """Return the ridge risk (seed, etabar, draw) over ``etabar`` = eta / sqrt(N).

    Args:
        scale: sizes.
        block: of seeds.
        psi1: samples per dimension.
        links: ``student`` and ``teacher``, each ``(name, tau)``.
    """
    d, number = at(scale, smoke=(50, 2), book=(100, 3), paper=(400, 4))
    fixed = {
        "d": d,
        "psi1": psi1,
        "psi2": 2.0,
        "penalties": (PENALTY,),
        "draws": 2,
    }
    return _giant(GIANT_STEPS, number, block, **fixed, **links)


def in_window(
    scale: Scale,
    block: int = 0,
    etabar: float = 2.0,
    much: tuple = MUCH_DATA,
    **links: tuple,
) -> xr.DataArray:
    """Return the ridge risk (psi1, seed) for ``much`` data, with penalties in the window
    n^(eps-1) < penalty/N < n^-eps.

    Args:
        scale: sizes.
        block: of seeds.
        etabar: eta / sqrt(N).
        much: samples per dimension.
        links: ``student`` and ``teacher``, each ``(name, tau)``.
    """
    d, number = at(scale, smoke=(60, 8), book=(80, 10), paper=(400, 8))
    runs, fixed = [], {"d": d, "psi2": 2.0, **links}
    penalties = [2 * d * (psi1 * d) ** -WINDOW for psi1 in much]
    for psi1, penalty in zip(much, penalties, strict=True):
        one = {"psi1": psi1, "penalties": (penalty,)}
        runs.append(_giant((etabar,), number, block, **one, **fixed))
    run = xr.concat(runs, "psi1").squeeze(["etabar", "draw"], drop=True)
    run = run.assign_coords(psi1=list(much))
    sizes = {
        "etabar": etabar,
        "penalties": penalties,
        "seeds": number,
    }
    return run.assign_attrs(fixed, psi1=much, **sizes)


def staircase(scale: Scale, degree: int, block: int = 0) -> list[xr.Dataset]:
    """Return the shares of the Hermite polynomial of a ``degree`` (seed, eta), one run
    for each of several widths, with steps around those at which theory expects `LEVEL`;
    ``scale`` sets the sizes, ``block`` the seeds. Few seeds stand at the largest width.
    """
    cells = at(  # seeds to d
        scale,
        smoke={40: 16, 160: 16},
        book={50: 24, 100: 4, 200: 24, 400: 4},
        paper={100: 24, 400: 24, 1600: 2},
    )
    links, ratios = (
        DEGREES[degree],
        tuple(STEP_RATIOS.values()),
    )
    runs = []
    for d, number in cells.items():
        levels = LEVEL * np.array(SPREADS) ** degree
        _, etas = spikes_departure.departure(
            links, degree, 2 * d, *ratios, PENALTY, levels
        )
        fixed = {
            "degree": degree,
            "penalty": PENALTY,
            **links,
            **STEP_RATIOS,
        }
        run = sweep(
            shares,
            {},
            seeds(number, block),
            d=d,
            etas=tuple(etas.tolist()),
            **fixed,
        )
        runs.append(run.assign_coords(eta=etas).assign_attrs(fixed, d=d, seeds=number))
    return runs


def spread_exponent(runs: list[xr.Dataset], share: str) -> xr.DataArray:
    """Return the exponent in N (seed) of the spread at which a ``share``, together or
    alone, reaches a common level; from the first of the ``runs`` of `staircase` and the
    last that has as many seeds.
    """
    number = runs[0].sizes["seed"]
    small, *_, large = (run for run in runs if run.sizes["seed"] == number)
    level = sum(np.log(run[share]).mean() for run in (small, large)) / 2
    near, far = (_spread_at(run, share, float(level)) for run in (small, large))
    return (far - near) / np.log(large.attrs["d"] / small.attrs["d"])


def predicted_step(degree: int, width):
    """Return the step at which theory expects the share `LEVEL` of a ``degree``, at
    each ``width``.
    """
    cell = (
        DEGREES[degree],
        degree,
        width,
        *STEP_RATIOS.values(),
        PENALTY,
        LEVEL,
    )
    return spikes_departure.departure(*cell)[1]


def crossing(run: xr.Dataset) -> float:
    """Return the step at which the mean share of a ``run`` of `staircase` is `LEVEL`."""
    level = float(np.exp(_spread_at(run, "together", np.log(LEVEL)).mean()))
    square = np.interp(level, run.spread.mean("seed"), run.eta**2)
    return float(square**0.5)


def _spread_at(run: xr.Dataset, share: str, level: float) -> xr.DataArray:
    """Return the log of the spread (seed) where the log of the share is ``level``."""
    logs = np.log(run)
    pairs = zip(logs[share].values, logs.spread.values, strict=True)
    found = [np.interp(level, held, spread) for held, spread in pairs]
    return xr.DataArray(found, dims="seed")


def without_a_step(scale: Scale, block: int = 0, d: int | None = None) -> xr.DataArray:
    """Return the risks of ridge regression with fixed kernels (seed, kernel).

    Args:
        scale: sizes.
        block: of seeds.
        d: inputs, for the same number of samples; None is a tenth of them.
    """
    n, number = at(
        scale,
        smoke=(200, 16),
        book=(600, 8),
        paper=(3000, 8),
    )
    d = d or n // 10
    penalties = tuple(np.geomspace(1e-4, 1e2, 13).tolist())
    fixed = {
        "d": d,
        "psi1": n / d,
        "psi2": 2.0,
        "penalties": penalties,
    }
    run = sweep(kernel_risks, {}, seeds(number, block), **fixed)
    return run.risk.assign_attrs(fixed, seeds=number)


def layers(
    scale: Scale,
    block: int = 0,
    cells: tuple = LAYERS,
    d: int = 80,
    number: int = 1,
    draws: int | None = None,
    **links: tuple,
) -> list[xr.Dataset]:
    """Return stepped first layers and their risks (seed, draw), one run for each cell.

    Args:
        scale: sizes.
        block: of seeds.
        cells: psi1 and eta / sqrt(N); ``smoke`` takes the first two.
        d: number of inputs.
        number: of first layers.
        draws: of the second sample; 24, 48 or 96 if None.
        links: ``student`` and ``teacher``, each ``(name, tau)``.
    """
    draws = draws or at(scale, smoke=24, book=48, paper=96)
    cells = cells[: at(scale, smoke=2, book=10, paper=10)]
    fixed = {"d": d, "psi2": 2.0, "penalty": PENALTY, "draws": draws, "noise": 0.01}
    runs = []
    for psi1, etabar in cells:
        sizes = {"psi1": psi1, "eta": etabar * (2 * d) ** 0.5, **fixed, **links}
        run = sweep(first_layer, {}, seeds(number, block), **sizes)
        run = run.assign_coords(etabar=etabar, n=round(d * psi1))
        runs.append(run.assign_attrs(sizes, seeds=number))
    return runs


def layers_twice(scale: Scale, block: int = 0) -> list[list[xr.Dataset]]:
    """Return `layers` at two sizes d, for the seeds of ``block`` at ``scale``."""
    dims, number = at(
        scale, smoke=((20, 40), 12), book=((20, 40), 24), paper=((60, 120), 32)
    )
    return [layers(scale, block, d=d, number=number, draws=8) for d in dims]


def _giant(etabars: tuple, number: int, block: int, **fixed) -> xr.DataArray:
    root = (fixed["psi2"] * fixed["d"]) ** 0.5
    etas = tuple(etabar * root for etabar in etabars)
    run = sweep(risk, {}, seeds(number, block), etas=etas, **fixed)
    run = run.risk.assign_coords(eta=list(etabars)).rename(eta="etabar")
    return run.squeeze(["penalty"], drop=True).assign_attrs(fixed, seeds=number)
