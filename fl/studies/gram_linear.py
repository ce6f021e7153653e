"""Studies of whitening and of linear models, for the chapter on the Gram matrix.

``scale`` is smoke, book or paper; ``block`` asks again with other seeds. Every result
has its sizes in ``attrs``.
"""

import itertools
from collections.abc import Iterator
from dataclasses import asdict

import xarray as xr

from fl import scales
from fl.scales import Scale
from fl.simulate import gram_linear
from fl.simulate.gram_networks import Cell, Sizes
from fl.studies.gram import ACTIVATIONS, EXPONENTS, seed
from fl.sweep import sweep

POWER_LAW = {"source": "power law", "n_test": 60, "d": 120}
DIGITS = {"source": "digits", "n_test": 24, "d": 64}
STEPS = 80  # of the networks
NETWORK = Sizes(d=60, n=15, n_test=45, width=100)


def linear(scale: Scale, block: int = 0, over: str = "train+test") -> list[xr.Dataset]:
    """Return the test ``risk`` (n, seed) of a linear model on two kinds of data,
    whitened ``over`` train or train+test inputs, with the data ``X`` and ``y``.

    ``scale`` and ``block`` set the number of draws and their seeds.
    """
    number = scales.at(scale, smoke=2, book=5, paper=20)
    seeds = scales.seeds(number, block)
    found = []
    for n, sizes in {40: POWER_LAW, 12: DIGITS}.items():
        run = sweep(
            gram_linear.linear_chance, {"over": [over], "n": [n]}, seeds, **sizes
        )
        found.append(run.assign_attrs(sizes, n=n, draws=number))
    return found


def risks(scale: Scale, block: int = 0) -> xr.Dataset:
    """Return the test ``risk`` (over, n, seed) of a linear model for each whitening and
    several numbers of training inputs.

    ``scale`` and ``block`` set the number of draws and their seeds.
    """
    number = scales.at(scale, smoke=4, book=10, paper=100)
    seeds = scales.seeds(number, block)
    found = []
    for n in (12, 24, 36, 48):  # one by one: their data have different shapes
        grid = {"over": gram_linear.WHITENED["power law"], "n": [n]}
        run = sweep(gram_linear.linear_chance, grid, seeds, **POWER_LAW)
        found.append(run[["risk"]])
    found = xr.concat(found, "n")
    return found.assign_attrs(POWER_LAW)


def networks(scale: Scale, block: int = 0, start: str = "P-isotropic") -> xr.Dataset:
    """Return ``outputs`` and ``labels`` (activation, seed, test), ``loss`` and ``moved``
    (activation, seed) of networks whitened over train+test inputs, for one ``start``.

    ``scale`` and ``block`` set the number of networks and their seeds.
    """
    grid = {"activation": ACTIVATIONS}
    seeds = _networks(scale, block)
    sizes = {"sizes": NETWORK, "start": start, "steps": STEPS}
    found = sweep(gram_linear.network_chance, grid, seeds, **sizes)
    ran = {"network": asdict(NETWORK), "steps": STEPS, "network seeds": len(seeds)}
    return found.assign_attrs(ran)


def starts(scale: Scale, block: int, start: str) -> Iterator[Cell]:
    """Yield the networks that `networks` trains at a ``scale``, a ``block`` and a
    ``start``, one activation after the other.
    """
    for case in itertools.product(ACTIVATIONS, [STEPS], _networks(scale, block)):
        cell, _ = gram_linear.whitened_network(NETWORK, start, *case)
        yield cell


def _networks(scale: Scale, block: int) -> list[int]:
    return scales.seeds(scales.at(scale, smoke=8, book=16, paper=32), block)


def limits(scale: Scale, block: int = 0, of: str = "training") -> xr.Dataset:
    """Return where descent ends, ``w`` (p, seed, input), for all powers of the
    covariance ``of`` training or population, with its data ``X``, ``y``.

    ``scale`` sets the sizes, ``block`` the seed.
    """
    n = scales.at(scale, smoke=10, book=20, paper=40)
    d = scales.at(scale, smoke=60, book=60, paper=120)
    seeds = [seed(6, block)]
    found = sweep(gram_linear.limit, {"p": EXPONENTS}, seeds, of=of, n=n, d=d)
    return found.assign_attrs({"n": n, "d": d, "p": EXPONENTS, "seeds": seeds})
