"""Studies of the chapter on the feature matrix: the sizes at each scale, and the runs at
these sizes.

Every study takes a ``scale`` and a ``block`` of seeds (`fl.scales`); its data set holds
the sizes in ``attrs``.
"""

import xarray as xr

from fl import scales
from fl.scales import Scale
from fl.simulate import feature_matrix as toy
from fl.simulate import feature_matrix_digits as digits
from fl.simulate import feature_matrix_zoo as zoo
from fl.simulate.feature_matrix import Rule, Start
from fl.sweep import sweep

POWERS, DEPTHS, END_DECAY = (-1.0, -0.5, 0.5), (2, 3, 4), 0.05
FLOW_DECAY = 0.3
READ = (-1.0, -0.5, 0.5, 1.0)
DIGITS = (-1.0, -0.5, 0.0, 0.5, 1.0)
# sizes of the start over the root of the fan-in: small, and PyTorch's own for linear layers
SMALL, USUAL = 0.03, 3**-0.5
EXACT = ("GD", "exact -1/2", "exact +1/2")
ADAPTIVE = ("Adam", "K-FAC", "Shampoo", "Muon")


def rest(scale: Scale, block: int = 0) -> xr.Dataset:
    """Return `toy.rest` over ``network`` and ``seed``, for a ``scale`` and ``block``."""
    return _toys(toy.rest, scale, block, {"network": list(toy.NETWORKS)})


def ends(scale: Scale, block: int = 0, coupled: bool = False) -> xr.Dataset:
    """Return `toy.ends` over ``seed`` for every power, for a ``scale`` and ``block``, with
    ``coupled`` decay or not.
    """
    fixed = {"exponents": list(POWERS), "coupled": coupled, "decay": END_DECAY}
    return _toys(toy.ends, scale, block, **fixed)


def averages(scale: Scale, block: int = 0) -> xr.Dataset:
    """Return `toy.averages` over ``batch`` and ``seed``, for a ``scale`` and ``block``."""
    steps = scales.at(scale, smoke=1000, book=4000, paper=20_000)
    grid = {"batch": [toy.N, 10]}
    run = _toys(toy.averages, scale, block, grid, steps=steps)
    return run.assign_attrs(averaged=steps // 2)


def flow(
    scale: Scale,
    block: int = 0,
    decay: float = 0.0,
    coupled: bool = False,
    balanced: bool = False,
) -> xr.Dataset:
    """Return `toy.flow` over ``depth`` and ``seed``, for a ``scale`` and ``block``.

    ``decay`` is that of all layers, ``coupled`` its kind; ``balanced`` says whether the
    start is, or Gaussian.
    """
    fixed = {"start": Start(balanced=balanced), "decay": decay, "coupled": coupled}
    return _toys(toy.flow, scale, block, {"depth": list(DEPTHS)}, **fixed)


def decayed(
    scale: Scale, block: int = 0, exponents=DIGITS, coupled: bool = False
) -> xr.Dataset:
    """Return `digits.course` with weight decay, to rest, over ``p`` and ``seed``, for a
    ``scale`` and ``block``.

    ``exponents`` are those of the metric, ``coupled`` is the kind of decay.
    """
    rule = Rule(0.1 if coupled else 0.2, 0.02, 0.9, coupled)
    return _courses(scale, block, exponents, start=0.3, rule=rule, steps=600)


def trained(
    scale: Scale,
    block: int = 0,
    exponents=DIGITS,
    start: float = SMALL,
    activation: str = "relu",
) -> xr.Dataset:
    """Return `digits.course` by plain steps without decay over ``p`` and ``seed``, for a
    ``scale`` and ``block``.

    ``exponents`` are those of the metric, ``start`` is the size of the first weights, and
    ``activation`` that of the hidden layer.
    """
    own = {"start": start, "activation": activation, "rule": Rule(2.0), "steps": 400}
    return _courses(scale, block, exponents, **own)


def optimizers(
    scale: Scale, block: int = 0, names=tuple(zoo.METHODS), start: float = SMALL
) -> xr.Dataset:
    """Return `zoo.left_by` over ``optimizer`` and ``seed``, for a ``scale`` and ``block``.

    ``names`` are those of the optimizers, ``start`` is the size of the first weights.
    """
    number = scales.at(scale, smoke=3, book=3, paper=10)
    seeds = scales.seeds(number, block)
    run = sweep(zoo.left_by, {"optimizer": list(names)}, seeds, start=start)
    return run.assign_attrs(seeds=number, n=zoo.IMAGES, start=start)


def _toys(function, scale, block, grid=None, **fixed) -> xr.Dataset:
    number = scales.at(scale, smoke=2, book=4, paper=20)
    run = sweep(function, grid, scales.seeds(number, block), **fixed)
    return run.assign_attrs(d=toy.D, n=toy.N, outputs=toy.OUTPUTS, seeds=number)


def _courses(scale, block, exponents, **own) -> xr.Dataset:
    n = scales.at(scale, smoke=100, book=200, paper=600)
    number = scales.at(scale, smoke=3, book=4, paper=10)
    grid = {p: digits.Course(p, n=n, **own) for p in exponents}
    run = sweep(digits.course, {"course": grid}, scales.seeds(number, block))
    sizes = {"n": n, "hidden": digits.HIDDEN, "seeds": number}
    return run.rename(course="p").assign_attrs(sizes | {"steps": own["steps"]})
