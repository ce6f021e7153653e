"""Interpolators with a fixed preconditioner: the sizes at each scale, and the sweeps.

Every study takes a ``scale`` and a ``block`` of seeds (`fl.scales`); its array holds the
sizes in ``attrs``, and draws stand last.
"""

import numpy as np
import xarray as xr

from fl import scales
from fl.scales import Scale
from fl.simulate import help_or_hurt as simulate
from fl.simulate import help_or_hurt_contest as contests
from fl.simulate.help_or_hurt import covariance as covariance
from fl.simulate.help_or_hurt import preconditioner as preconditioner
from fl.simulate.help_or_hurt import teacher as teacher
from fl.simulate.help_or_hurt import turned as turned
from fl.simulate.help_or_hurt_contest import CONDITION as CONDITION
from fl.sweep import sized
from fl.theory.help_or_hurt import crossing_noise

NAMES = ["root", "damped", "turned"]
UNLABELLED = 200  # inputs for an estimate of the covariance
NOISE = 0.3


def ridgeless(scale: Scale, block: int = 0) -> xr.DataArray:
    """Return bias and variance (P, part, draw) with each of `NAMES`, at ``scale``;
    ``block`` draws the inputs.
    """
    return _run(
        simulate.ridgeless,
        scale,
        block,
        {"d": (80, 120, 240), "n": (32, 60, 120), "draws": (60, 150, 300)},
        names=NAMES,
    )


def natural(scale: Scale, block: int = 0) -> xr.DataArray:
    """Return bias and variance (part, draw) of the natural gradient where its law is
    exact, at a small size and the draws of a ``scale``; ``block`` draws the inputs.
    """
    return _run(
        simulate.ridgeless,
        scale,
        block,
        {"draws": (1500, 4000, 40_000)},
        d=24,
        n=10,
        names=["natural"],
    )


def leads(scale: Scale, block: int, goal: str, wrong: bool) -> xr.DataArray:
    """Return the leads (seed,) of a preconditioner over the best of its rivals.

    Args:
        scale: says how many samples there are.
        block: draws them.
        goal: ``variance`` or ``bias``.
        wrong: whether it is the one of the control, not that of the theory.
    """
    return _run(
        contests.contest,
        scale,
        block,
        {},
        seeds=(20, 60, 1000),
        d=20,
        n=8,
        rivals=20,
        goal=goal,
        estimated=UNLABELLED * wrong,
    )


def weights(scale: Scale, block: int = 0) -> xr.DataArray:
    """Return the best ``weight`` (seed,) of the natural gradient, at ``scale``; ``block``
    draws the inputs.
    """
    return _run(
        contests.best_weight,
        scale,
        block,
        {"d": (45, 90, 240), "n": (15, 30, 80)},
        seeds=(8, 20, 40),
        noise=NOISE,
        draws=8,
    )


def duels(scale: Scale, block: int = 0) -> xr.DataArray:
    """Return what the natural gradient loses, (rest, kind, draw), with a rest of a third
    of the crossing's noise and of three times that, at ``scale``; ``block`` draws.
    """
    d = scales.at(scale, smoke=160, book=240, paper=480)
    lam = np.diag(covariance(d))
    n = d // 4
    crossing = crossing_noise(lam, lam / lam.sum(), n)
    return _run(
        simulate.duel,
        scale,
        block,
        {"draws": (150, 300, 400)},
        grid={"rest": [crossing / 3, 3 * crossing]},
        d=d,
        n=n,
    )


def flows(scale: Scale, block: int = 0) -> xr.DataArray:
    """Return the risk (p, time, draw) along flows, at ``scale``; ``block`` draws the
    inputs.
    """
    return _run(
        simulate.flows,
        scale,
        block,
        {"d": (60, 120, 240), "n": (30, 60, 120), "draws": (60, 100, 150)},
        noise=NOISE,
        exponents=[-0.5, 0.0, 0.5],
        times=[0.7, 3.0, 12.0],
    )


def _run(
    function, scale, block, sizes, seeds=(1, 1, 1), grid=None, **fixed
) -> xr.DataArray:
    """Return the one variable of a sweep without its dimensions of length 1; ``sizes``
    and ``seeds`` are those at each scale.
    """
    at = scales.at(scale, smoke=0, book=1, paper=2)
    here = {name: values[at] for name, values in sizes.items()}
    run = sized(function, scale, block, seeds, grid, **here, **fixed)
    (values,) = run.values()
    return values.squeeze().assign_attrs(run.attrs)
