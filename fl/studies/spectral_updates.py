"""Updates that act on singular values: the sizes at each scale, and the sweeps."""

import numpy as np
import xarray as xr

from fl import scales
from fl.simulate import spectral_updates as steps
from fl.simulate import spectral_updates_escape as escape
from fl.simulate.spectral_updates_order import descend
from fl.sweep import sweep

LAM = tuple(np.geomspace(10, 0.1, 8).tolist())  # of the gradients' columns
SQUARES = tuple(value**2 for value in LAM)  # the same for a signal
WIDTH = 40
POWERS = (-1 / 3, 0.0, 1 / 3, 1 / 2)
ROOTS = ((1 / 4, 1 / 4), (1 / 3, 1 / 3), (1 / 8, 1 / 8), (1 / 2, 0.0))
MANY = 40  # gradients in the factors

MODES = ((8.0, 0.3), (2.0, 3.0), (0.5, 1.0))  # targets and input variances of nets
WHITE = tuple((s, 1.0) for s, _ in MODES)
NEAR = ((1.5, 1.0), (1.2, 1.0), (1.0, 1.0))  # the first is half learned, none is whole
# around the critical powers 1, 1/3, 1/5 of the depths
ORDERS = {"depth": [1, 2, 3], "q": [0.0, 1 / 5, 1 / 3, 1 / 2]}
FLIPS = {"depth": [2, 3], "q": [0.1, 0.27, 0.47]}
START = 0.02
UNEQUAL = {"start": 0.2, "tilt": 2.5}

SPECTRUM = escape.SPECTRUM
# around the thresholds -.523 and -.699 of the two teachers
TEACHERS = {"link": ["square", "abs"], "p": [0.0, -0.61, -1.0]}
SMALL = 1e-6  # start; a student's output is its square
GENTLE = {"eta": 0.004, "steps": 100, "start": SMALL}
POLAR = GENTLE | {"link": "square", "p": None, "eta": 1e-7}


def layers(scale: scales.Scale, block: int = 0) -> xr.Dataset:
    """Return one gradient and one spectral step on random layers, as many as the
    ``scale`` says, a ``block`` of seeds.
    """
    number = scales.at(scale, smoke=300, book=1500, paper=20000)
    return _run(steps.layers, 1, block, number=number).isel(seed=0)


def digits(scale: scales.Scale, block: int = 0, **fixed) -> xr.Dataset:
    """Return one step of layers on pixels and ReLU features of the digits, over choices
    of images: as many as ``scale`` says, of ``block``; ``fixed`` are further arguments.
    """
    seeds = scales.at(scale, smoke=3, book=6, paper=20)
    grid = {"features": ["pixels", "relu"]}
    return _run(steps.digits, seeds, block, grid, n=500, **fixed)


def gains(
    scale: scales.Scale, block: int, roots, lam=(LAM,), others=(0,), spike=0.0
) -> xr.DataArray:
    """Return multipliers (lam, roots, others, seed, axis) of updates of noise.

    Args:
        scale: how many draws.
        block: of seeds.
        roots: pairs of exponents.
        lam: spectra of the gradients' columns.
        others: numbers of gradients in the factors.
        spike: of a part of rank one.
    """
    sizes = {"smoke": (8, 16), "book": (12, 40), "paper": (40, 400)}
    seeds, draws = scales.at(scale, **sizes)
    grid = {
        "lam": dict(enumerate(lam)),
        "roots": dict(enumerate(roots)),
        "others": others,
    }
    fixed = {
        "spike": spike,
        "width": WIDTH,
        "draws": draws,
    }
    return _run(steps.gains, seeds, block, grid, **fixed)["gain"]


def one_sided() -> list[tuple]:
    """Return the exponents that make the q-steps of `POWERS`."""
    return [(0.0, (1 - q) / 2) for q in POWERS]


def trained(scale: scales.Scale, block: int, grid: dict, **fixed) -> xr.Dataset:
    """Return what `fl.simulate.spectral_updates_order.descend` finds on a ``grid``.

    ``scale`` says how many steps there are in a unit of time, twice as many the second
    time, and for Gaussian layers how many seeds of ``block``; else a seed turns the
    frames. ``fixed`` are further arguments.
    """
    number = scales.at(scale, smoke=25, book=60, paper=1000)
    seeds, numbers = 2, [number, 2 * number]
    if not fixed.get("aligned", True):
        seeds = scales.at(scale, smoke=5, book=8, paper=40)
        numbers = numbers[1:]
    grid = grid | {"steps": numbers}
    return _run(descend, seeds, block, grid, **fixed)


def grown(scale: scales.Scale, block: int, grid: dict, **fixed) -> xr.DataArray:
    """Return how signal, strong direction and one of the rest have grown in the end.

    ``scale`` says how many seeds of ``block``; ``grid`` and ``fixed`` are arguments of
    `fl.simulate.spectral_updates_escape.train`.
    """
    seeds = scales.at(scale, smoke=5, book=12, paper=60)
    growth = _run(escape.train, seeds, block, grid, **fixed)["growth"]
    return growth.isel(step=-1, axis=[0, 1, 2])


def _run(function, seeds: int, block: int, grid=None, **fixed) -> xr.Dataset:
    own = scales.seeds(seeds, block)
    found = sweep(function, grid, seeds=own, **fixed)
    sizes = fixed | {"seeds": seeds}
    for name in found:
        found[name].attrs = sizes
    return found
