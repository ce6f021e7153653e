"""Updates that act on singular values: claims about what they learn first.

Flows are followed with two step sizes; what Euler's first order leaves is judged by the
difference of the two runs.
"""

from dataclasses import replace

import numpy as np
import xarray as xr

from fl.evidence import claim
from fl.judging import agreement, order
from fl.links import LINKS
from fl.studies import spectral_updates as study
from fl.theory import spectral_updates_escape as escaping
from fl.theory import spectral_updates_order as theory

EULER = "what halving the step size changes, and 1 / steps^2"
START = "the size of the start, whose square is the student's own output"


def _extrapolated(values):
    """Return values without Euler's first order, and what that order was."""
    coarse, fine = values.isel(steps=0), values.isel(steps=1)
    number = int(values["steps"][0])
    return 2 * fine - coarse, abs(fine - coarse).max("seed") + 1 / number**2


def _times(run) -> xr.DataArray:
    """Return log times (depth, q, mode) to one half from aligned starts."""
    s, variances = np.transpose(study.MODES)
    times = [
        [
            theory.learning_time(s, q, depth, study.START, variances)
            for q in run["q"].values
        ]
        for depth in run["depth"].values
    ]
    return xr.DataArray(np.log(times), dims=["depth", "q", "mode"])


def _speeds(run, depths) -> xr.DataArray:
    """Return the exponents of the targets in the times, as if of other depths."""
    rows = [[theory.speed(q, depth) for q in run["q"].values] for depth in depths]
    return xr.DataArray(rows, dims=["depth", "q"])


@claim(
    "spectral_updates.order",
    statement="Under the q-flow a deep linear net learns a mode in the time "
    "λ^-q s^((1 - q(2L-1))/L) τ, with τ the same for all modes of an equal start",
    source="proved",
    control="the exponent of s that belongs to two layers, whatever the depth",
)
def order_of_learning(scale, broken, block):
    """Depths 1, 2, 3 and four powers, with unequal input variances."""
    run = study.trained(
        scale, block, study.ORDERS, modes=study.MODES, start=study.START
    )
    depths = run["depth"].values
    excess = _speeds(run, [2] * len(depths) if broken else depths) - _speeds(
        run, depths
    )
    target = xr.DataArray(np.log(np.transpose(study.MODES)[0]), dims="mode")
    believed = _times(run) + excess * target
    measured, bias = _extrapolated(np.log(run["half"]))
    sizes = run["half"].attrs
    return agreement(measured - believed, bias, EULER, sizes, -excess * target)


@claim(
    "spectral_updates.critical",
    statement="From small random starts, too, linear nets of depth 2 and 3 learn the "
    "weak mode first below q* = 1/(2L-1) and the strong one first above it",
    source="observed",
    control="the critical power of depth 2 for every depth",
)
def critical(scale, broken, block):
    """The sign of the lead, at powers on either side of 1/3 and 1/5."""
    fixed = {"modes": study.WHITE, "start": study.START / 2, "aligned": False}
    run = study.trained(scale, block, study.FLIPS, **fixed).isel(steps=0)
    depths = run["depth"].values
    side = np.sign(_speeds(run, [2] * len(depths) if broken else depths))
    log_time = np.log(run["half"])
    leads = side * (log_time.isel(mode=0) - log_time.isel(mode=-1))
    aligned = (
        side * _speeds(run, depths) * np.log(study.WHITE[0][0] / study.WHITE[-1][0])
    )
    found = order(leads, run["half"].attrs, aligned)
    # random layers follow aligned ones to a third
    return replace(found, within=abs(found.expected) / 3)


@claim(
    "spectral_updates.conserved",
    statement="The q-flow of two aligned layers conserves w^(1+q) - a^(1+q) in every "
    "mode",
    source="proved",
    control="the difference of squares, which the gradient flow conserves",
)
def conserved(scale, broken, block):
    """Three modes at q = 0, 1/2 and 1: the first layer, from the product of both."""
    fixed = {"modes": study.NEAR, "depth": 2} | study.UNEQUAL
    ends = study.trained(scale, block, {"q": [0.0, 0.5, 1.0]}, **fixed)["ends"]
    right, believed = (_first(ends.prod("side"), 1 + q) for q in (ends["q"], 1))
    shown = believed if broken else right
    gaps, bias = _extrapolated(ends.isel(side=0) - shown)
    rival = (right - shown).isel(steps=1)
    return agreement(gaps, bias, EULER, ends.attrs, rival)


def _first(product, k):
    """Return w from wa and the conserved w^k - a^k."""
    a = study.UNEQUAL["start"]
    gap = (a * study.UNEQUAL["tilt"]) ** k - a**k
    return ((gap + (gap**2 + 4 * product**k) ** 0.5) / 2) ** (1 / k)


@claim(
    "spectral_updates.escape",
    statement="Away from zero a quadratic student of an even teacher grows at the rates "
    "E f λ^(1+p), and κ times that along the signal, κ = 1 + λ E f''/E f: a strong "
    "direction is ahead from the exponent p* = log κ / log(λ_1/λ) - 1 on",
    source="proved",
    control="labels and outputs without their means: only the signal grows",
)
def escape(scale, broken, block):
    """Mean growth on fresh batches is a power of one step's mean, for two teachers and
    exponents on both sides of their thresholds.
    """
    fixed = study.GENTLE | {"centred": broken}
    growth = study.grown(scale, block, study.TEACHERS, **fixed)
    right, shown = _growth(False), _growth(broken)
    gaps = growth / right - 1
    return agreement(gaps, study.SMALL, START, growth.attrs, shown / right - 1)


def _growth(centred: bool) -> xr.DataArray:
    """Return the mean growth (link, p, axis) of three directions after all steps."""
    links, exponents = study.TEACHERS.values()
    rates = [
        [
            escaping.escape_rates(study.SPECTRUM, LINKS[f], p, centred)[:3]
            for p in exponents
        ]
        for f in links
    ]
    factor = 1 + study.GENTLE["eta"] * np.array(rates)
    return xr.DataArray(factor ** study.GENTLE["steps"], dims=["link", "p", "axis"])


@claim(
    "spectral_updates.polar_neutral",
    statement="With at least as many neurons as inputs, orthonormal at the start, the "
    "polar step amplifies neither the strong direction nor the signal on the way out",
    source="proved",
    control="a single neuron, for which the polar step is the normalised gradient",
)
def polar_neutral(scale, broken, block):
    """Log growth of three directions against that of all."""
    widths = {"width": [1] if broken else [10, 40]}
    growth = np.log(study.grown(scale, block, widths, **study.POLAR))
    length = study.POLAR["eta"] * study.POLAR["steps"] / study.SMALL
    alike = np.log(1 + length)
    rates = escaping.escape_rates(study.SPECTRUM, LINKS[study.POLAR["link"]])
    alone = np.log(escaping.one_neuron(rates, length))[:3] - alike
    rival = xr.DataArray(alone, dims="axis")
    return agreement(growth - alike, study.SMALL, START, growth.attrs, rival)
