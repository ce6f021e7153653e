"""Studies of the chapter on the feature matrix: the sizes at each scale, and the runs at
these sizes.

Every study takes a ``scale`` and a ``block`` of seeds (`fl.scales`); its data set holds
the sizes in ``attrs``.
"""

import xarray as xr

from fl import scales
from fl.instruments.metric_descent import Rule
from fl.scales import Scale
from fl.simulate import feature_matrix as toy
from fl.simulate import feature_matrix_digits as digits
from fl.simulate import feature_matrix_zoo as zoo
from fl.simulate.feature_matrix import Case
from fl.sweep import sized

DEPTHS, FLOW_DECAY = (2, 3, 4), 0.3
DEEP = {
    "tanh, depth 3": Case("tanh", 3, (-0.5,), Rule(0.2, 0.2, 0.95), 2500),
    "linear, depth 4": Case("linear", 4, (-0.5,), Rule(0.02, 0.05, 0.9), 2000),
}
# two linear layers under decoupled decay, and under coupled
TWO, FORGETFUL = (
    {"two layers": Case("linear", 2, (-1.0, -0.5, 0.5), rule, 3000)}
    for rule in (Rule(0.05, 0.05, 0.9), Rule(0.05, 0.05, 0.9, coupled=True))
)
POWERS = (-1.0, -0.5, 0.0, 0.5, 1.0)
READ = {"smoke": (-0.5, 0.5), "book": POWERS, "paper": POWERS}
PLAIN, RESTING = Rule(2.0), Rule(2.0, 0.02)
COUPLED = Rule(2.0, 0.02, coupled=True)
# sizes of a start over the root of the fan-in: a small one, and PyTorch's own
SMALL, USUAL = 0.03, 3**-0.5
# exact powers and adaptive methods, of whose certificates so many are compared
EXACT, ADAPTIVE = ("exact +0.5", "GD", "exact -0.5"), ("Adam", "K-FAC 1e-3")
EXACTLY = (0.5, 0.0, -0.5)  # their powers
COMPARED = {"smoke": 1, "book": 3, "paper": 3}
METHODS = (
    *EXACT,
    "momentum",
    "SAM",
    "power-AdaHessian -0.5",
    *ADAPTIVE,
    "Shampoo",
    "Muon",
)


def toys(scale: Scale, block: int = 0, cases=TWO) -> xr.Dataset:
    """Return `fl.simulate.feature_matrix.descend` over ``case`` in ``cases`` and ``seed``,
    at a ``scale``, on a ``block``.
    """
    return sized(toy.descend, scale, block, (2, 4, 20), {"case": cases}).assign_attrs(
        d=toy.D,
        n=toy.N,
    )


def flows(scale: Scale, block: int = 0, rule=PLAIN, balanced=False) -> xr.Dataset:
    """Return `fl.simulate.feature_matrix.flow` over ``depth`` and ``seed`` with the decay
    of a ``rule``, from a ``balanced`` start or not, at a ``scale``, on a ``block``.
    """
    fixed = {"rule": rule, "balanced": balanced}
    grid = {"depth": list(DEPTHS)}
    return sized(toy.flow, scale, block, (2, 4, 20), grid, **fixed).assign_attrs(
        d=toy.D,
        n=toy.N,
    )


def digits_runs(
    scale: Scale, block: int = 0, exponents=POWERS, rule=RESTING, start=0.3, steps=600
) -> xr.Dataset:
    """Return `fl.simulate.feature_matrix_digits.course` over ``p`` and ``seed``.

    Args:
        scale: says how many images and seeds.
        block: of seeds.
        exponents: the values of p.
        rule: how the layers move.
        start: its size.
        steps: how many.
    """
    n = scales.at(scale, smoke=100, book=200, paper=600)
    # weights alone scatter more
    seeds = (3, 4, 20) if rule.decay else (5, 6, 22)
    fixed = {"rule": rule, "start": start, "steps": steps, "n": n}
    return sized(digits.course, scale, block, seeds, {"p": exponents}, **fixed)


def zoos(scale: Scale, block: int = 0, names=METHODS, start=SMALL) -> xr.Dataset:
    """Return `fl.simulate.feature_matrix_zoo.left_by` over ``optimizer`` in ``names`` and
    ``seed``, from a ``start`` of this size, at a ``scale``, on a ``block``.
    """
    grid = {"optimizer": list(names)}
    return sized(zoo.left_by, scale, block, (4, 5, 10), grid, start=start).assign_attrs(
        n=zoo.IMAGES,
    )
