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
    coarse = values.isel(steps=0)
    change = values.isel(steps=1) - coarse
    rest = values["steps"][0] ** -2.0
    return coarse + 2 * change, abs(change).max("seed") + rest


def _exact(found):
    """Return evidence without its standard error, which is rounding: the frames and
    batches that a seed draws do not matter.
    """
    return replace(found, standard_error=None)


@claim(
    "spectral_updates.order",
    statement="Under the q-flow a deep linear net learns a mode in the time "
    "λ^-q s^((1 - q(2L-1))/L) τ, with τ the same for all modes of an equal start",
    source="proved",
    control="the exponent of s that belongs to two layers, whatever the depth",
)
def order_of_learning(scale, broken, block):
    """Depths 1, 2, 3 and four powers, with unequal input variances."""
    grid = study.ORDERS
    s, variances = np.transpose(study.MODES)
    fixed = {"modes": study.MODES, "start": study.START}
    half = study.trained(scale, block, grid, **fixed)["half"]
    rows = [
        theory.learning_time(s, q, depth, study.START, variances)
        for depth in grid["depth"]
        for q in grid["q"]
    ]
    one = half.isel(steps=0, seed=0)
    right = one.copy(data=np.reshape(rows, one.shape))
    measured, bias = _extrapolated(np.log(half / right))
    depth = half["depth"]
    believed = 2 if broken else depth
    excess = theory.speed(half["q"], believed) - theory.speed(half["q"], depth)
    wrong = excess * xr.DataArray(np.log(s), dims="mode")
    found = agreement(
        measured - wrong,
        bias,
        EULER,
        half.attrs,
        -wrong,
    )
    return _exact(found)


@claim(
    "spectral_updates.critical",
    statement="From small random starts, too, linear nets of depth 2 and 3 learn the "
    "weak mode first below q* = 1/(2L-1) and the strong one first above it",
    source="observed",
    control="the critical power of depth 2 for every depth",
)
def critical(scale, broken, block):
    """The sign of the lead, at powers on either side of 1/3 and 1/5."""
    fixed = {
        "modes": study.WHITE,
        "start": study.START / 2,
        "aligned": False,
    }
    half = study.trained(scale, block, study.FLIPS, **fixed)["half"]
    strong, *_, weak = np.transpose(study.MODES)[0]
    lead = np.log(half.isel(mode=0, steps=0) / half.isel(mode=-1, steps=0))
    depth = half["depth"]
    believed = 2 if broken else depth
    side = np.sign(theory.speed(half["q"], believed))
    aligned = theory.speed(half["q"], depth) * np.log(strong / weak)
    found = order(
        side * lead,
        half.attrs,
        side * aligned,
    )
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
    grid = {"q": [0.0, 0.5, 1.0]}
    ends = study.trained(scale, block, grid, **fixed)["ends"]
    product = ends.prod("side")
    right = _first(product, 1 + ends["q"])
    shown = _first(product, 2) if broken else right
    rival = right - shown
    gaps, bias = _extrapolated(ends.isel(side=0) - shown)
    found = agreement(
        gaps,
        bias,
        EULER,
        ends.attrs,
        rival.isel(steps=1),
    )
    return _exact(found)


def _first(product, k):
    """Return w from wa and the conserved w^k - a^k."""
    a = study.UNEQUAL["start"]
    w = study.UNEQUAL["tilt"] * a
    gap = w**k - a**k
    root = (gap**2 + 4 * product**k) ** 0.5
    return (gap / 2 + root / 2) ** (1 / k)


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
    right = _growth(growth, False)
    shown = _growth(growth, broken)
    return agreement(
        growth / right - 1,
        study.SMALL,
        START,
        growth.attrs,
        shown / right - 1,
    )


def _growth(run, centred: bool) -> xr.DataArray:
    """Return the mean growth (link, p, axis) of three directions after all steps."""
    speeds = [
        escaping.escape_rates(study.SPECTRUM, LINKS[link], p, centred)[:3]
        for link in study.TEACHERS["link"]
        for p in study.TEACHERS["p"]
    ]
    one = run.isel(seed=0)
    factor = 1 + study.GENTLE["eta"] * np.reshape(speeds, one.shape)
    return one.copy(data=factor ** study.GENTLE["steps"])


@claim(
    "spectral_updates.polar_neutral",
    statement="With at least as many neurons as inputs, orthonormal at the start, the "
    "polar step amplifies neither the strong direction nor the signal on the way out",
    source="proved",
    control="a single neuron, for which the polar step is the normalised gradient",
)
def polar_neutral(scale, broken, block):
    """Log growth of three directions against that of all."""
    polar = study.POLAR
    widths = {"width": [1] if broken else [10, 40]}
    growth = study.grown(scale, block, widths, **polar)
    length = polar["eta"] * polar["steps"] / polar["start"]
    speeds = escaping.escape_rates(study.SPECTRUM, LINKS[polar["link"]])
    alone = escaping.one_neuron(speeds, length)[:3]
    alike = np.log(1 + length)
    rival = xr.DataArray(np.log(alone) - alike, dims="axis")
    found = agreement(
        np.log(growth) - alike,
        study.SMALL,
        START,
        growth.attrs,
        rival,
    )
    # the noise of a batch shortens the mean of a unit step by some per cent
    return replace(_exact(found), within=abs(found.expected) / 10)
