"""Studies of the chapter on learned features: their spectrum after one giant step."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import xarray as xr

from fl import scales
from fl.scales import Scale
from fl.simulate import spectrum as simulate
from fl.simulate import spectrum_rows as rows
from fl.simulate.spectrum import Setting, Spiked, Step
from fl.sweep import sweep
from fl.tasks import LINKS, Link

SIN, TANH, RELU, ERF = (LINKS[name] for name in ("sin", "tanh", "relu", "erf"))


def _sin_cos(u):
    return np.sin(u) + np.cos(1.5 * u) - np.exp(-1.125)


def _sin_cos_slope(u):
    return np.cos(u) - 1.5 * np.sin(1.5 * u)


def _at(link, tau, u):
    return link(tau * u)


def _slope_at(link, tau, u):
    return tau * link.slope(tau * u)


def stretched(link: Link, tau: float, name: str = "") -> Link:
    """Return a smooth ``link`` at ``tau`` times its argument, under this ``name``."""
    # partial objects travel to workers, closures do not
    return Link(
        name=name or f"{link.name}({tau} z)",
        f=partial(_at, link, tau),
        slope=partial(_slope_at, link, tau),
    )


# an odd and an even part, bounded, centred
SIN_COS = Link("sin + cos", _sin_cos, _sin_cos_slope)
ERF2 = stretched(ERF, 0.5**0.5, "erf(z / sqrt 2)")


class Run(NamedTuple):
    """One network with what was measured on it: ``data`` has a dimension ``seed``, and
    its sizes as attributes.
    """

    recipe: Spiked | Step
    setting: Setting
    data: xr.Dataset

    def draws(self) -> list[xr.Dataset]:
        """Return the data of each seed."""
        number = self.data.sizes["seed"]
        return [self.data.isel(seed=i) for i in range(number)]


def measure(unit: Callable, seeds: Iterable[int], cases: Iterable[tuple]) -> list[Run]:
    """Return a run of ``unit``, an experiment of `fl.simulate.spectrum`, for each of
    ``cases``, a recipe and a setting, on one network for each of ``seeds``.
    """
    runs = []
    for recipe, setting in cases:
        data = sweep(unit, seeds=seeds, recipe=recipe, setting=setting)
        data.attrs = {
            "recipe": repr(recipe),
            "activation": setting.activation.name,
            "link": setting.link.name,
            "width": setting.width,
            "alpha": setting.alpha,
            "delta": setting.delta,
            "penalty": setting.penalty,
            "noise": setting.noise,
            "seeds": list(seeds),
        }
        runs.append(Run(recipe, setting, data))
    return runs


# activation, r, alpha = n/p, delta = p/d
BULKS = [
    (TANH, (0.0,), 2.0, 1.0),
    (TANH, (2.5,), 3.0, 0.6),
    (TANH, (2.0, -0.5), 2.0, 1.0),
    (RELU, (1.0, -1.0), 1.5, 2.0),
]
MANY = 1e8  # samples per neuron: the population
POPULATIONS = [(0.0,), (1.5,), (2.0, 0.5)]
# link, activation, recipe
STEPS = [(SIN, TANH, Step(3.0)), (SIN_COS, RELU, Step(1.5, (1.0, -1.0)))]
BATCHES = [0.5, 1.0, 2.0, 4.0, 20.0]
# samples per input: where the mean curvature of the activation is not zero, neurons share
# a part of the noise of the step, which the spiked model does not know
LARGE = 100.0


def tripled(cases: list[tuple]) -> list[tuple]:
    """Return ``cases``, then the same at three times the width."""
    wide = [(r, replace(s, width=3 * s.width)) for r, s in cases]
    return cases + wide


def bulks(scale: Scale, block: int = 0) -> list[Run]:
    """Return the spectra of `BULKS` at two widths of ``scale``, six draws of ``block``."""
    width = scales.at(scale, smoke=100, book=200, paper=1000)
    cases = []
    for activation, r, alpha, delta in BULKS:
        setting = Setting(activation, width, alpha, delta)
        cases.append((Spiked(r), setting))
    return measure(simulate.spectrum, scales.seeds(6, block), tripled(cases))


def widths(scale: Scale, block: int = 0) -> list[Run]:
    """Return the spectra of the second of `BULKS` at doubling widths, four draws of
    ``block`` at each; ``scale`` sets the smallest width.
    """
    first = scales.at(scale, smoke=25, book=125, paper=500)
    activation, r, alpha, delta = BULKS[1]
    cases = []
    for doublings in range(4):
        setting = Setting(activation, first * 2**doublings, alpha, delta)
        cases.append((Spiked(r), setting))
    return measure(simulate.spectrum, scales.seeds(4, block), cases)


def populations(scale: Scale, block: int = 0) -> list[Run]:
    """Return the population spectra of `POPULATIONS` with two inputs per neuron at two
    widths of ``scale``, six draws of ``block``.
    """
    width = scales.at(scale, smoke=60, book=100, paper=600)
    setting = Setting(ERF2, width, alpha=MANY, delta=0.5)
    cases = tripled([(Spiked(r), setting) for r in POPULATIONS])
    return measure(simulate.population_spectrum, scales.seeds(6, block), cases)


def trained(scale: Scale, block: int = 0) -> list[Run]:
    """Return the spectra of the trained networks of `STEPS` at two widths of ``scale``,
    eight draws of ``block``; the one with curvature after a step on `LARGE` samples per
    input.
    """
    width = scales.at(scale, smoke=60, book=100, paper=500)
    (_, _, odd), (_, _, curved) = STEPS
    recipes = [odd, replace(curved, alpha0=LARGE)]
    cases = list(zip(recipes, _step_settings(width), strict=True))
    return measure(simulate.spectrum, scales.seeds(8, block), tripled(cases))


def _step_settings(width: int) -> list[Setting]:
    return [Setting(activation, width, 2.0, 1.0, link) for link, activation, _ in STEPS]


def _width(scale: Scale) -> int:
    return scales.at(scale, smoke=300, book=700, paper=2000)


def steps(scale: Scale, block: int = 0) -> list[Run]:
    """Return the spectra of the trained networks of `STEPS` at ``scale``, one draw of
    ``block``.
    """
    recipes = [step for _, _, step in STEPS]
    cases = zip(recipes, _step_settings(_width(scale)), strict=True)
    return measure(simulate.spectrum, scales.seeds(1, block), cases)


def noisy_steps(scale: Scale, block: int = 0) -> list[Run]:
    """Return the spikes of the trained networks of `STEPS` after a step on four samples
    per input, at two widths of ``scale``, with 16 draws of ``block``.
    """
    width = scales.at(scale, smoke=60, book=100, paper=500)
    return _rows(rows.spike, width, 4.0, scales.seeds(16, block))


def row_terms(scale: Scale, block: int = 0) -> list[Run]:
    """Return the row terms of the trained networks of `STEPS` after a step on a batch
    with little noise, at two widths of ``scale``, with 16 draws of ``block``.
    """
    width = scales.at(scale, smoke=40, book=100, paper=500)
    return _rows(rows.row_terms, width, 60.0, scales.seeds(16, block))


def _rows(unit: Callable, width: int, alpha0: float, seeds: range) -> list[Run]:
    cases = []
    for link, activation, step in STEPS:
        setting = Setting(activation, width, 2.0, 2.0, link)
        cases.append((replace(step, alpha0=alpha0), setting))
    return measure(unit, seeds, tripled(cases))


def before_the_step(scale: Scale, block: int = 0) -> list[Run]:
    """Return the spectra of the networks of `steps` at ``scale`` before the step, one
    draw of ``block``.
    """
    settings = _step_settings(_width(scale))
    cases = [(Spiked((0.0,)), setting) for setting in settings]
    return measure(simulate.spectrum, scales.seeds(1, block), cases)


def batches(scale: Scale, block: int = 0) -> list[Run]:
    """Return the spectra of the first of `STEPS` after steps on each of `BATCHES`
    samples per input, at two widths set by ``scale``, three draws of ``block`` each.
    """
    first = scales.at(scale, smoke=100, book=300, paper=1000)
    link, activation, step = STEPS[0]
    cases = []
    for width in (first, 2 * first):
        setting = Setting(activation, width, 2.0, 1.0, link)
        cases += [(replace(step, alpha0=alpha0), setting) for alpha0 in BATCHES]
    return measure(simulate.spectrum, scales.seeds(3, block), cases)
