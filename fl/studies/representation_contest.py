"""The contest of tuned optimizers: its budgets, the compact one of the claims, and the
stored run of all fourteen.
"""

import numpy as np
import xarray as xr

from fl import scales
from fl.simulate import representation_contest as simulate
from fl.stored import stored
from fl.sweep import sweep

COMPACT = ("KFAC", "SGD", "Adam", "Muon")
CONDITIONS = ("isotropic", "moderate", "hard")
FIRST_TUNING_SEED = 1000  # tuning seeds count up from here, fresh seeds from 0
ABOUT = {  # description and units of what the stored run holds
    "distance": ("sine of the largest angle between features and teacher's", "1"),
    "transfer": ("signal that the features miss, as a share of all signal", "1"),
    "eta": ("step size at the start, the best on the tuning seeds", "1"),
    "damping": ("damping, the best on the tuning seeds", "1"),
    "at_edge": ("whether the best step size is at an end of those tried", "0 or 1"),
    "seconds": ("least wall time of a step on the moderate problem", "s"),
    "progress": ("share of the steps done", "1"),
}


def contest(conditions, optimizers, seeds, budget: tuple, block=0) -> xr.Dataset:
    """Return distances (condition, optimizer, seed, progress), transfer biases and
    settings of a tuned contest.

    Args:
        conditions: names of `CONDITIONS`.
        optimizers: names of `OPTIMIZERS`.
        seeds: fresh seeds, on which the best settings run.
        budget: number of settings per optimizer, and of seeds to try them on.
        block: of the tuning seeds.
    """
    number, repeats = budget
    first = FIRST_TUNING_SEED + repeats * block
    grid = {"condition": conditions, "optimizer": optimizers}
    best = sweep(simulate.tune, grid, [first], number=number, repeats=repeats)
    best = best.isel(seed=0, drop=True)
    runs = [
        [_final(best.sel(condition=c, optimizer=o), seeds) for o in optimizers]
        for c in conditions
    ]
    data = xr.combine_nested(runs, ["condition", "optimizer"]).merge(best)
    attrs = simulate.SIZES | {
        "settings per optimizer": number,
        "tuning_seeds": list(range(first, first + repeats)),
        "seeds": list(seeds),
    }
    progress = np.linspace(0, 1, simulate.POINTS)
    return data.assign_coords(progress=progress).assign_attrs(attrs)


def compact_contest(scale, block=0, condition: str = "moderate") -> xr.Dataset:
    """Return the contest of `COMPACT` on the moderate problem, or of K-FAC and SGD under
    another ``condition``, with a larger budget at a larger ``scale``; seeds of
    ``block``.
    """
    optimizers = COMPACT if condition == "moderate" else COMPACT[:2]
    return contest([condition], optimizers, *_compact(scale, block), block)


def equal_operations(scale, block=0) -> xr.Dataset:
    """Return the moderate problem of `compact_contest` for K-FAC, and beside it for Adam
    at as many steps as the operations of K-FAC buy, with a larger budget at a larger
    ``scale``; seeds of ``block``.
    """
    dear = compact_contest(scale, block).sel(optimizer=["KFAC"])
    cheap = contest(["moderate, longer"], ["Adam"], *_compact(scale, block), block)
    cheap = cheap.assign_coords(condition=["moderate"])
    return xr.concat([dear, cheap], "optimizer")


def _compact(scale, block) -> tuple[range, tuple]:
    """Return the fresh seeds and the budget of the compact contests: smoke reads what the
    book ran, since a smaller budget tunes too badly to say anything.
    """
    budget = scales.at(scale, smoke=(6, 2), book=(6, 2), paper=(18, 5))
    number = scales.at(scale, smoke=8, book=8, paper=10)
    return scales.seeds(number, block), budget


@stored("representation")
def full_contest(scale, block=0) -> xr.Dataset:
    """Return the contest of every optimizer under every condition, with a larger budget
    at a larger ``scale``, seeds of ``block``; timed one after the other.
    """
    budget = scales.at(scale, smoke=(3, 1), book=(6, 3), paper=(18, 5))
    number = scales.at(scale, smoke=2, book=5, paper=10)
    seeds = scales.seeds(number, block)
    optimizers = list(simulate.OPTIMIZERS)
    data = contest(CONDITIONS, optimizers, seeds, budget, block)
    seconds = [simulate.seconds_per_step(o) for o in optimizers]
    data = data.assign(seconds=("optimizer", seconds))
    for name, (description, units) in ABOUT.items():
        data[name].attrs.update(description=description, units=units)
    return data


def _final(best: xr.Dataset, seeds) -> xr.Dataset:
    """Return the runs of the best setting of one optimizer on one condition."""
    case = {name: [best[name].item()] for name in ("condition", "optimizer")}
    setting = {name: best[name].item() for name in ("eta", "damping")}
    return sweep(simulate.train, case, seeds, **setting)
