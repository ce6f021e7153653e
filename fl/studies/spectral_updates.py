"""Updates that act on singular values: the sizes at each scale, and the sweeps."""

import numpy as np
import xarray as xr

from fl import scales
from fl.scales import Scale
from fl.simulate import spectral_updates as steps
from fl.simulate.spectral_updates_escape import SPECTRUM as SPECTRUM
from fl.simulate.spectral_updates_escape import train
from fl.simulate.spectral_updates_order import descend
from fl.sweep import sized

LAM = np.geomspace(8, 0.12, 9)  # of the gradients' columns
SQUARES = LAM**2  # the same for a signal
WIDTH = 40
POWERS = (-0.4, 0.0, 0.25, 0.6)
ONE_SIDED = [(0.0, (1 - q) / 2) for q in POWERS]  # the roots of these q-steps
ROOTS = ((0.25, 0.25), (1 / 3, 1 / 3), (0.1, 0.2), (0.4, 0.0))
MANY = 50  # gradients in the factors

MODES = ((9.0, 0.4), (2.4, 2.5), (0.6, 1.0))  # targets and input variances of nets
WHITE = [(s, 1.0) for s, _ in MODES]
# around the critical powers 1, 1/3, 1/5 of the depths
ORDERS = {
    "grid": {"depth": [1, 2, 3], "q": [0.0, 0.13, 0.28, 0.45]},
    "modes": MODES,
    "start": 0.02,
}
# Gaussian starts
RELEASED = {
    "grid": {"depth": [2, 3], "q": [0.1, 0.27, 0.47]},
    "seeds": (5, 8, 40),
    "finer": [2],
    "modes": WHITE,
    "start": 0.01,
    "aligned": False,
}
UNEQUAL = {
    "grid": {"q": [0.0, 0.5, 1.0]},
    # the first mode is half learned, none is whole
    "modes": ((1.5, 1.0), (1.2, 1.0), (1.0, 1.0)),
    "depth": 2,
    "start": 0.2,
    "tilt": 2.5,
}

# around the thresholds -.472 and -.667 of the two teachers
TEACHERS = {
    "grid": {"link": ["square", "abs"], "p": [0.0, -0.57, -1.0]},
    "eta": 0.004,
    "steps": 100,
    "start": 1e-6,  # a student's output is its square
}
POLAR = {"link": "square", "p": None, "eta": 1e-7, "steps": 100, "start": 1e-6}


def layers(scale: Scale, block: int = 0, times: int = 1) -> xr.Dataset:
    """Return one gradient and one spectral step on random layers, so many ``times`` what
    the ``scale`` says, a ``block`` of seeds.
    """
    return sized(
        steps.layers,
        scale,
        block,
        (1, 1, 1),
        number=times * scales.at(scale, smoke=500, book=1500, paper=20000),
    ).isel(seed=0)


def digits(scale: Scale, block: int = 0, **fixed) -> xr.Dataset:
    """Return one step of layers on pixels and ReLU features of the digits, over choices
    of images: as many as ``scale`` says, of ``block``; ``fixed`` are further arguments.
    """
    return sized(
        steps.digits,
        scale,
        block,
        (7, 8, 20),
        {"features": ["pixels", "relu"]},
        n=500,
        **fixed,
    )


def gains(
    scale: Scale, block: int, roots, lam=(LAM,), others=(0,), spike=0.0
) -> xr.Dataset:
    """Return multipliers (lam, roots, others, seed, axis) of updates of noise.

    Args:
        scale: how many draws.
        block: of seeds.
        roots: pairs of exponents.
        lam: spectra of the gradients' columns.
        others: numbers of gradients in the factors.
        spike: of a part of rank one.
    """
    return sized(
        steps.gains,
        scale,
        block,
        (8, 12, 40),
        {
            "lam": dict(enumerate(lam)),
            "roots": dict(enumerate(roots)),
            "others": others,
        },
        spike=spike,
        width=WIDTH,
        draws=scales.at(scale, smoke=16, book=40, paper=400),
    )


def trained(
    scale: Scale, block: int, grid: dict, seeds=(2, 2, 2), finer=(1, 2), **fixed
) -> xr.Dataset:
    """Return what `fl.simulate.spectral_updates_order.descend` finds on a ``grid``.

    Args:
        scale: how many steps there are in a unit of time.
        block: of seeds.
        grid: arguments with several values.
        seeds: how many at each scale; two do for starts that are aligned, where they
            turn the frames alone.
        finer: how many times as many steps, (steps,); twice, for what halving changes.
        **fixed: further arguments.
    """
    number = scales.at(scale, smoke=25, book=60, paper=1000)
    return sized(
        descend,
        scale,
        block,
        seeds,
        grid | {"steps": [number * times for times in finer]},
        **fixed,
    )


def grown(scale: Scale, block: int, grid: dict, **fixed) -> xr.Dataset:
    """Return how signal, strong direction and one of the rest have grown in the end.

    ``scale`` says how many seeds of ``block``; ``grid`` and ``fixed`` are arguments of
    `fl.simulate.spectral_updates_escape.train`.
    """
    return sized(
        train,
        scale,
        block,
        (5, 12, 60),
        grid,
        **fixed,
    ).isel(step=-1, axis=slice(3))
