"""Rows of a network after one giant gradient step, measured: no read-out, no spectrum.

The networks are those of `fl.simulate.spectrum`.
"""

import numpy as np
import torch
from torch import Tensor

from fl.simulate.spectrum import Setting, Spiked, Step, measured_spike, untrained


def spike(seed: int, recipe: Spiked | Step, setting: Setting) -> dict:
    """Return `measured_spike` of the network that ``recipe`` draws at ``setting`` with
    this ``seed``.
    """
    return measured_spike(recipe.draw(setting, seed))


def row_terms(seed: int, recipe: Step, setting: Setting) -> dict:
    """Return what the step ties to the old overlap t of a row with the teacher.

    The slopes over the neurons of each block (k,) against t: ``norm`` of the squared
    length without the spike, ``along`` of the overlap with the teacher.

    Args:
        seed: seed.
        recipe: the step.
        setting: sizes, link and noise.
    """
    network = recipe.draw(setting, seed)
    W, v, target, block = network
    k = len(recipe.zeta)
    W0, _, _ = untrained(setting, k, seed)
    t = W0 @ target
    rest = W - torch.outer(W @ v, v)
    found = {"norm": rest.square().sum(1), "along": W @ target}
    slopes = {}
    for name, values in found.items():
        slopes[name] = ("block", np.zeros(k))
        for b in range(k):
            own = block == b
            slopes[name][1][b] = _slope(t[own], values[own])
    return slopes


def _slope(x: Tensor, y: Tensor) -> float:
    x = x - x.mean()
    size = x.square().sum()
    return float(x @ y / size)
