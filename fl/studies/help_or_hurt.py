"""Interpolators with a fixed preconditioner: the sizes at each scale, and the sweeps.

Every study takes a ``scale`` and a ``block`` of seeds (`fl.scales`).
"""

import numpy as np
import xarray as xr

from fl import scales
from fl.simulate import help_or_hurt as simulate
from fl.simulate.help_or_hurt import covariance as covariance
from fl.simulate.help_or_hurt import preconditioner as preconditioner
from fl.simulate.help_or_hurt import teacher as teacher
from fl.simulate.help_or_hurt import turned as turned
from fl.simulate.help_or_hurt_contest import CONDITION as CONDITION
from fl.simulate.help_or_hurt_contest import best_weight, contest
from fl.sweep import sized, sweep
from fl.theory.help_or_hurt import crossing_noise

NAMES = ["root", "damped", "turned"]
SMALL = {"d": 24, "n": 10}  # where the natural gradient is exact
CONTEST = {"d": 20, "n": 8, "rivals": 20}
UNLABELLED = 200  # inputs for an estimate of the covariance
NOISE = 0.3


def ridgeless(scale: scales.Scale, block: int = 0) -> xr.DataArray:
    """Return bias and variance (P, part, draw) with each of `NAMES`, at ``scale``;
    ``block`` draws the inputs.
    """
    size = {"smoke": (80, 32), "book": (120, 60), "paper": (240, 120)}
    d, n = scales.at(scale, **size)
    draws = scales.at(scale, smoke=60, book=150, paper=300)
    fixed = {"d": d, "n": n, "names": NAMES, "draws": draws}
    return _run(simulate.ridgeless, block, **fixed)["risk"]


def natural(scale: scales.Scale, block: int = 0) -> xr.DataArray:
    """Return bias and variance (part, draw) of the natural gradient at `SMALL`, at
    ``scale``; ``block`` draws the inputs.
    """
    draws = scales.at(scale, smoke=1500, book=4000, paper=40_000)
    run = _run(simulate.ridgeless, block, **SMALL, names=["natural"], draws=draws)
    return run["risk"].isel(P=0)


def leads(scale: scales.Scale, block: int, goal: str, wrong: bool) -> xr.DataArray:
    """Return the leads (seed,) of a preconditioner over the best of its rivals.

    Args:
        scale: says how many samples there are.
        block: draws them.
        goal: ``variance`` or ``bias``.
        wrong: whether it is the one of the control, not that of the theory.
    """
    fixed = CONTEST | {"goal": goal, "estimated": UNLABELLED * wrong}
    run = sized(contest, scale, block, (20, 60, 1000), **fixed)
    return run["best"].assign_attrs(run.attrs)


def weights(scale: scales.Scale, block: int = 0) -> xr.DataArray:
    """Return the best ``weight`` (seed,) of the natural gradient, at ``scale``; ``block``
    draws the inputs.
    """
    size = scales.at(scale, smoke=45, book=90, paper=240)
    fixed = {"d": size, "n": size // 3, "noise": NOISE, "draws": 8}
    run = sized(best_weight, scale, block, (8, 20, 40), **fixed)
    return run["weight"].assign_attrs(run.attrs)


def duels(scale: scales.Scale, block: int = 0) -> xr.DataArray:
    """Return what the natural gradient loses, (rest, kind, draw), with a rest of a third
    of the crossing's noise and of three times that, at ``scale``; ``block`` draws.
    """
    d = scales.at(scale, smoke=160, book=240, paper=480)
    draws = scales.at(scale, smoke=150, book=300, paper=400)
    fixed = {"d": d, "n": d // 4, "draws": draws}
    lam = np.diag(covariance(d))
    energy = lam / lam.sum()
    crossing = crossing_noise(lam, energy, d // 4)
    grid = {"rest": [crossing / 3, 3 * crossing]}
    return _run(simulate.duel, block, grid, **fixed)["loss"]


def flows(scale: scales.Scale, block: int = 0) -> xr.DataArray:
    """Return the risk (p, time, draw) along flows, at ``scale``; ``block`` draws the
    inputs.
    """
    d = scales.at(scale, smoke=60, book=120, paper=240)
    fixed = {
        "d": d,
        "n": d // 2,
        "noise": NOISE,
        "exponents": [-0.5, 0.0, 0.5],
        "times": [0.7, 3.0, 12.0],
        "draws": scales.at(scale, smoke=60, book=100, paper=150),
    }
    return _run(simulate.flows, block, **fixed)["risk"]


def _run(function, block, grid=None, **fixed) -> xr.Dataset:
    run = sweep(function, grid, scales.seeds(1, block), **fixed).isel(seed=0)
    for name in run:
        run[name].attrs |= fixed
    return run
