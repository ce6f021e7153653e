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

DEPTHS = (2, 3, 4)
FLOW_DECAY = 0.3
# all layers preconditioned, under decoupled decay, and under coupled
TANH, COUPLED_TANH = (
    Case("tanh", 3, (-0.6,), Rule(0.3, 0.2, 0.9, coupled), 12000, everywhere=True)
    for coupled in (False, True)
)
# the first layer alone: hidden metrics leave a linear network valleys that are nearly flat
LINEAR = Case("linear", 4, (-0.6,), Rule(0.02, 0.05, 0.9), 3000)
# two linear layers under decoupled decay, and under coupled
TWO, FORGETFUL = (
    Case("linear", 2, (-0.9, -0.4, 0.6), Rule(0.05, 0.05, 0.9, coupled), 3000)
    for coupled in (False, True)
)
POWERS = (-1.0, -0.5, 0.0, 0.5, 1.0)
READ = {"smoke": (-0.5, 0.5), "book": POWERS, "paper": POWERS}
PLAIN = Rule(2.0)
RESTING = Rule(2.0, 0.02)
COUPLED = Rule(2.0, 0.02, coupled=True)
# sizes of a start over the root of the fan-in: a small one, and PyTorch's own
SMALL = 0.03
USUAL = 3**-0.5
# exact powers and adaptive methods, of whose certificates so many are compared
EXACT = "exact +0.5", "GD", "exact -0.5"
ADAPTIVE = "Adam", "K-FAC 1e-3", "Shampoo", "Muon"
EXACTLY = (0.5, 0.0, -0.5)  # their powers
COMPARED = {"smoke": 1, "book": 4, "paper": 4}
METHODS = (
    *EXACT,
    "momentum",
    "SAM",
    "power-AdaHessian -0.5",
    *ADAPTIVE,
)


def toys(scale: Scale, block: int = 0, case=TWO) -> xr.Dataset:
    """Return `fl.simulate.feature_matrix.descend` of a ``case`` over ``seed``, at a
    ``scale``, on a ``block``.
    """
    return sized(toy.descend, scale, block, (2, 4, 20), case=case).assign_attrs(
        d=toy.D,
        n=toy.N,
    )


def flows(scale: Scale, block: int = 0, rule=PLAIN, balanced=False) -> xr.Dataset:
    """Return `fl.simulate.feature_matrix.flow` over ``depth`` and ``seed`` with the decay
    of a ``rule``, from a ``balanced`` start or not, at a ``scale``, on a ``block``.
    """
    return sized(
        toy.flow,
        scale,
        block,
        (2, 4, 20),
        {"depth": DEPTHS},
        rule=rule,
        balanced=balanced,
    ).assign_attrs(
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
    return sized(
        digits.course,
        scale,
        block,
        seeds,
        {"p": exponents},
        rule=rule,
        start=start,
        steps=steps,
        n=n,
    )


def zoos(
    scale: Scale, block: int = 0, names=METHODS, start=SMALL, **fixed
) -> xr.Dataset:
    """Return `fl.simulate.feature_matrix_zoo.left_by` over ``optimizer`` in ``names`` and
    ``seed``, from a ``start`` of this size, at a ``scale``, on a ``block``; ``fixed`` is
    its decay, if there is one.
    """
    return sized(
        zoo.left_by,
        scale,
        block,
        (4, 5, 10),
        {"optimizer": names},
        start=start,
        **fixed,
    ).assign_attrs(n=zoo.IMAGES)
