"""Studies of the chapter on the Gram matrix: which networks, how long, which seeds.

``scale`` is smoke, book or paper; ``block`` asks again with other seeds. Every result
has its sizes in ``attrs``.
"""

import itertools
from dataclasses import asdict
from typing import NamedTuple

import numpy as np
import xarray as xr

from fl import scales
from fl.scales import Scale
from fl.simulate import gram, gram_networks
from fl.simulate.gram_networks import Cell, Sizes
from fl.sweep import sweep
from fl.updates import Rule

SMALL = Sizes(d=7, n=12, n_test=5, width=9)
DIGITS = Sizes(d=64, n=60, n_test=40, width=20)
EXPONENTS = (-2.0, -1.0, -0.5, 0.0, 1.0, 2.0)
ACTIVATIONS = ["relu", "tanh"]
ETA, BIAS_ETA, DECAY = 0.02, 0.03, 0.3
# the updates of gram.recursion; "moving" marks a preconditioner that changes at every
# step
RULES = {
    "plain": {},
    "bias": {"bias_eta": BIAS_ETA},
    "momentum before P, P moving": {"momentum": 0.7, "moving": True},
    "momentum after P, P moving": {"momentum": 0.7, "memory": "steps", "moving": True},
    "mini-batches of 4": {"batch": 4},
    "left factor": {"damping": 0.3},
    "P moving": {"moving": True},
    "decoupled decay, bias": {"decay": DECAY, "bias_eta": BIAS_ETA},
    "all at once": {
        "bias_eta": BIAS_ETA,
        "momentum": 0.6,
        "memory": "steps",
        "damping": 0.3,
        "decay": DECAY,
        "batch": 4,
        "moving": True,
    },
}
MOMENTUM = {
    "P fixed": {"momentum": 0.5},
    "P moving": {"momentum": 0.5, "moving": True},
}


class Found(NamedTuple):
    """What a study found in each cell, and the sizes."""

    cells: list
    attrs: dict


def seed(first: int, block: int) -> int:
    """Return the seed of ``block`` of the study whose seed in block 0 is ``first``."""
    return first + 1000 * block


def recursion(scale: Scale, block: int = 0, coupled: bool = False) -> Found:
    """Train small networks by every rule of `RULES` at two depths, and one on digits.

    Args:
        scale: longer runs, and at ``paper`` more networks.
        block: of seeds.
        coupled: whether the decay of a run is a penalty in the loss, whatever its cell
            says; only cells that decay, with a fixed P, are then trained.

    Returns:
        Pairs of a `gram_networks.Cell` and its run.
    """
    # the paper scale takes more networks, not more steps: some cells are unstable and
    # amplify rounding exponentially
    steps = scales.at(scale, smoke=20, book=80, paper=300)
    number = scales.at(scale, smoke=1, book=1, paper=4)
    seeds = [seed(1, block) + i for i in range(number)]
    rule = Rule(steps=steps, eta=0.03, activation="relu")
    digits = gram_networks.digits(DIGITS, -0.5, seed(0, block), rule)
    cells = [*small_cells(RULES, steps, seeds), digits]
    if coupled:
        cells = [cell for cell in cells if cell.rule.decay and cell.P.ndim == 2]
    sizes = {"digits": asdict(DIGITS), "steps": steps, "seeds": seeds}
    return train(cells, coupled, **sizes)


def test_time(scale: Scale, block: int = 0) -> Found:
    """Train small networks with momentum, P fixed and P moving, at two depths.

    Return pairs of a `gram_networks.Cell` and its run; ``scale`` sets the number of
    steps, ``block`` the seed.
    """
    steps = scales.at(scale, smoke=40, book=80, paper=1000)
    seeds = [seed(4, block)]
    cells = small_cells(MOMENTUM, steps, seeds)
    return train(cells, steps=steps, seeds=seeds)


def small_cells(rules: dict, steps: int, seeds: list[int]) -> list[Cell]:
    """Return the networks of all ``rules`` (keywords of `gram_networks.small`), depths,
    activations and ``seeds``, with ``steps`` updates each.
    """
    grid = itertools.product(rules.values(), [2, 4], ACTIVATIONS, seeds)
    return [
        gram_networks.small(SMALL, depth, steps, seed, eta=ETA, activation=phi, **rule)
        for rule, depth, phi, seed in grid
    ]


def train(cells: list[Cell], coupled: bool = False, **sizes) -> Found:
    """Return each of ``cells`` with its run, and all ``sizes``, those of the small
    networks among them; ``coupled`` turns the decay of the runs into a penalty.
    """
    pairs = []
    for cell in cells:
        rule = cell.rule.coupled() if coupled else cell.rule
        trained = cell._replace(rule=rule)
        pairs.append((cell, gram.train(*trained)))
    every = asdict(SMALL) | {"cells": len(cells)}
    return Found(pairs, every | sizes)


def twins(scale: Scale, block: int = 0, trained: float | None = None) -> Found:
    """Train twins for several exponents p, with two activations, with and without decay.

    Args:
        scale: sets the number of steps.
        block: of seeds.
        trained: exponent of the preconditioner they are trained with; p if None.

    Returns:
        Two pairs a cell, of a `gram_networks.Cell` and its run, for each of the twins.
    """
    steps = scales.at(scale, smoke=30, book=100, paper=2000)
    first = seed(2, block)
    rule = {"steps": steps, "every": 10, "eta": ETA, "trained": trained}
    cells = []
    for p, phi, decay in itertools.product([-1.0, 1.0], ACTIVATIONS, [0.0, DECAY]):
        changes = {"activation": phi, "decay": decay}
        cells += gram_networks.twins(SMALL, p, first, **changes, **rule)
    runs, sizes = train(cells, steps=steps, seeds=[first])
    pairs = list(zip(runs[::2], runs[1::2], strict=True))
    apart = [gram_networks.distance(one[0], two[0]) for one, two in pairs]
    return Found(pairs, sizes | {"least distance": min(apart)})


def isotropy(scale: Scale, block: int = 0, start: str = "P-isotropic") -> xr.Dataset:
    """Return the law of training of a data set and its twin: ``moment`` (set, draw),
    ``squares`` (set, run, sample), ``tests`` (set, run, test) and their matrices ``G``
    and ``K``, for one ``start``.

    ``scale`` sets the numbers of draws, runs and steps, ``block`` the seed.
    """
    sizes = _law(scale)
    seeds = [seed(3, block)]
    found = sweep(gram_networks.law, None, seeds, sizes=SMALL, start=start, **sizes)
    return found.squeeze("seed").assign_attrs(asdict(SMALL) | sizes | {"seeds": seeds})


def starts(scale: Scale, block: int, start: str) -> list[Cell]:
    """Return the networks that `isotropy` trains at a ``scale``, a ``block`` and a
    ``start``, all those of a set in one cell.
    """
    sizes = _law(scale)
    every = gram_networks.starts(SMALL, start, seed=seed(3, block), **sizes)
    return [cell._replace(W0=cell.W0[: sizes["runs"]]) for cell in every]


def _law(scale: Scale) -> dict:
    return {
        "draws": scales.at(scale, smoke=3000, book=6000, paper=30000),
        "runs": scales.at(scale, smoke=2000, book=6000, paper=8000),
        "steps": 20,
        "p": 1.0,
    }


def twin_difference(values) -> float:
    r"""Return :math:`\Delta^\top C^{-1}\Delta` for the difference :math:`\Delta` of the
    two sets' means of ``values`` (2, number, k) and its covariance C.

    The square of a difference in standard errors, for k quantities at once: chi-square
    with k degrees of freedom where the two laws have equal means.
    """
    one, two = (np.asarray(v) for v in values)
    difference = one.mean(0) - two.mean(0)
    covariance = np.cov(one.T) / len(one)
    covariance = covariance + np.cov(two.T) / len(two)
    if np.ndim(covariance) == 0:
        covariance = covariance.reshape(1, 1)
    solved = np.linalg.solve(covariance, difference)
    return float(difference @ solved)


def spectrum(scale: Scale, block: int = 0) -> Found:
    """Return p, singular values and Gram eigenvalues for three data sets and all
    `EXPONENTS`.

    ``scale`` sets their sizes, ``block`` the seed.
    """
    sizes = {
        "number": scales.at(scale, smoke=40, book=100, paper=400),
        "seed": seed(5, block),
    }
    sets = gram_networks.data_sets(**sizes)
    cells = itertools.product(sets, EXPONENTS)
    found = [(p, *gram.gram_eigenvalues(X, p)) for X, p in cells]
    return Found(found, sizes | {"p": EXPONENTS})
