"""Scaling laws of the linear student: the sizes at each scale, and the sweeps.

Every study takes a ``scale`` and a ``block`` of seeds (`fl.scales`).
"""

import numpy as np
import xarray as xr

from fl import scales
from fl.simulate import scaling_laws as simulate
from fl.simulate.alignment_student import population_descent
from fl.simulate.scaling_laws import beyond as beyond
from fl.sweep import evaluate, sweep

A, B = 1.5, 1.8  # decays of eigenvalues and energies
EXPONENTS = [0.0, 1 / 3, 1.0]  # p: q = 1.5, 2, 3
SPLIT = 0.25  # x at which a budget is split, near the best; any has the same exponent
RATIO = 10  # d/N
LATE = (400.0, 1600.0)  # times of the population's descent
STEP = 0.25


def slopes(scale: scales.Scale, block: int = 0) -> xr.DataArray:
    """Return minus the logarithmic slope of the risk, (law, p, seed): in ``time`` on the
    population, in ``samples`` trained to the end, and in ``compute``, the product NT with
    T growing like N^q.

    N grows by 4 at the same d/N, from what ``scale`` says; ``block`` draws the inputs.
    """
    n = scales.at(scale, smoke=32, book=64, paper=128)
    number = scales.at(scale, smoke=40, book=80, paper=80)
    grid = {"n": [n, 4 * n], "p": EXPONENTS}
    seeds = scales.seeds(number, block)
    run = sweep(samples, grid, seeds)
    few, many = run["risk"].transpose("n", ...)
    fall = np.log(few / many) / np.log(4)
    ends = fall.sel(end="last", drop=True)
    spent = fall.sel(end="split", drop=True)
    spent = spent / (1 + A * (run.p + 1))
    size = {
        "a": A,
        "b": B,
        "d": 160 * n,
        "eta": STEP,
        "times": list(LATE),
    }
    units = [size | {"p": p} for p in EXPONENTS]
    alone = evaluate(population_descent, units)
    early, late = np.transpose([one["risk"][1] for one in alone])
    falls = np.log(early / late) / np.log(LATE[1] / LATE[0])
    time = 0 * ends + xr.DataArray(falls, {"p": run.p})
    found = xr.concat([time, ends, spent], "law")
    found["law"] = ["time", "samples", "compute"]
    return found.assign_attrs(size, n=n, ratio=RATIO, seeds=number)


def samples(seed: int, n: int, p: float) -> dict[str, tuple]:
    """Return the ``risk`` (end,) at the time that belongs to `SPLIT`, and at the last.

    ``seed`` draws ``n`` samples of `RATIO` times as many inputs; ``p`` is the exponent.
    """
    q = A * (p + 1)
    times = [(SPLIT * n) ** q / 4, np.inf]
    _, risks = simulate.plane(seed, n, RATIO * n, q, B, times)["risk"]
    return {"risk": ("end", risks), "end": ("end", ["split", "last"])}


def widths(scale: scales.Scale, block: int = 0) -> xr.DataArray:
    """Return the risk (width, seed, time) of gradient descent on random features, early,
    later and at the end, of widths that ``scale`` says; ``block`` draws them.
    """
    fixed = {
        "d": 600,
        "a": A,
        "b": B,
        "p": 0.0,
        "times": [5.0, 30.0, np.inf],
    }
    largest = scales.at(scale, smoke=64, book=128, paper=256)
    grid = {"width": [largest // 4, largest // 2, largest]}
    seeds = scales.at(scale, smoke=40, book=100, paper=400)
    run = sweep(simulate.features, grid, scales.seeds(seeds, block), **fixed)
    return run["risk"].assign_attrs(fixed, seeds=seeds)
