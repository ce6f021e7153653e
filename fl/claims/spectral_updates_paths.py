"""Updates that act on singular values: claims about what they learn first.

Flows are followed with two step sizes; what Euler's first order leaves is judged by the
difference of the two runs.
"""

from dataclasses import replace

import numpy as np
import xarray as xr

from fl.cells import predictions
from fl.evidence import claim
from fl.judging import agreement, limit, order, roughly
from fl.links import LINKS
from fl.studies import spectral_updates as study
from fl.theory import spectral_updates_escape as escaping
from fl.theory import spectral_updates_order as theory

START = "the size of the start, whose square is the student's own output"


@claim(
    "spectral_updates.order",
    statement="Under the q-flow a deep linear net learns a mode in the time "
    "λ^-q s^((1 - q(2L-1))/L) τ, with τ the same for all modes of an equal start",
    source="proved",
    uses=("thm-spectral-order",),
    control="the exponent of s that belongs to two layers, whatever the depth",
)
def order_of_learning(scale, broken, block):
    """Depths 1, 2, 3 and four powers, with unequal input variances."""
    run = study.trained(scale, block, **study.ORDERS)
    s, variances = np.transpose(run.modes)
    right = predictions(
        lambda L, q: theory.learning_time(s, q, L, run.start, variances),
        run.depth,
        run.q,
        dims=["mode"],
    )
    apart = theory.speed(run.q, 2) - theory.speed(run.q, run.depth)
    wrong = broken * apart * xr.DataArray(np.log(s), dims="mode")
    return limit(np.log(run.half / right) - wrong, run.attrs, -wrong)


@claim(
    "spectral_updates.critical",
    statement="From small random starts, too, linear nets of depth 2 and 3 learn the "
    "weak mode first below q* = 1/(2L-1) and the strong one first above it",
    source="observed",
    uses=("thm-spectral-order", "thm-spectral-critical"),
    control="the critical power of depth 2 for every depth",
)
def critical(scale, broken, block):
    """The sign of the lead, at powers on either side of 1/3 and 1/5."""
    run = study.trained(scale, block, **study.RELEASED)
    speed = theory.speed(run.q, run.depth)
    side = np.sign(theory.speed(run.q, 2) if broken else speed)
    (strong, _), _, (weak, _) = run.modes
    return roughly(
        order(
            side * np.log(run.half.isel(mode=0) / run.half.isel(mode=-1)),
            run.attrs,
            side * speed * np.log(strong / weak),
        ),
        1 / 3,  # random layers follow aligned ones to a third
    )


@claim(
    "spectral_updates.conserved",
    statement="The q-flow of two aligned layers conserves w^(1+q) - a^(1+q) in every "
    "mode",
    source="proved",
    uses=("thm-spectral-conserved",),
    control="the difference of squares, which the gradient flow conserves",
)
def conserved(scale, broken, block):
    """Three modes at q = 0, 1/2 and 1: the first layer, from the product of both."""
    run = study.trained(scale, block, **study.UNEQUAL)

    def first(k):
        half = run.start**k * (run.tilt**k - 1) / 2
        return (half + np.hypot(half, run.ends.prod("side") ** (k / 2))) ** (1 / k)

    right = first(1 + run.q)
    shown = first(2) if broken else right
    return limit(
        run.ends.isel(side=0) - shown,
        run.attrs,
        (right - shown).isel(steps=1),
    )


@claim(
    "spectral_updates.escape",
    statement="Away from zero a quadratic student of an even teacher grows at the rates "
    "E f λ^(1+p), and κ times that along the signal, κ = 1 + λ E f''/E f: a strong "
    "direction is ahead from the exponent p* = log κ / log(λ_1/λ) - 1 on",
    source="proved",
    uses=("thm-spectral-escape",),
    control="labels and outputs without their means: only the signal grows",
)
def escape(scale, broken, block):
    """Mean growth on fresh batches is a power of one step's mean, for two teachers and
    exponents on both sides of their thresholds.
    """
    run = study.grown(scale, block, **study.TEACHERS, centred=broken)

    def growth(centred):
        rates = predictions(
            lambda f, p: escaping.escape_rates(
                study.SPECTRUM[:3], LINKS[f], p, centred
            ),
            run.link,
            run.p,
            dims=["axis"],
        )
        return (1 + run.eta * rates) ** run.steps

    right = growth(False)
    return agreement(
        run.growth / right - 1,
        run.start,
        START,
        run.attrs,
        growth(broken) / right - 1,
    )


@claim(
    "spectral_updates.polar_neutral",
    statement="With at least as many neurons as inputs, orthonormal at the start, the "
    "polar step amplifies neither the strong direction nor the signal on the way out",
    source="proved",
    uses=("thm-spectral-polar",),
    control="a single neuron, for which the polar step is the normalised gradient",
)
def polar_neutral(scale, broken, block):
    """Log growth of three directions against that of all, for as many neurons as inputs;
    with more, a rotation of the neurons leaves the others at zero.
    """
    return replace(
        _polar(scale, broken, block, len(study.SPECTRUM), 0, START),
        standard_error=None,
    )


@claim(
    "spectral_updates.gaussian_start",
    statement="From a Gaussian start, too, with eight neurons for an input, the polar step "
    "amplifies neither by more than the share inputs over neurons",
    source="observed",
    uses=("thm-spectral-polar",),
    control="a single neuron, for which the polar step is the normalised gradient",
)
def gaussian_start(scale, broken, block):
    """Log growth of the three directions of `polar_neutral`."""
    return _polar(
        scale,
        broken,
        block,
        8 * len(study.SPECTRUM),
        1 / 8,
        "inputs over neurons",
    )


def _polar(scale, broken, block, width, bias, reason):
    """Judge the growth of so many neurons against that of orthonormal columns; a control
    has one.
    """
    run = study.grown(scale, block, {"width": [1 if broken else width]}, **study.POLAR)
    length = run.eta * run.steps / run.start
    alone = escaping.one_neuron(
        escaping.escape_rates(study.SPECTRUM, LINKS[run.link]), length
    )[:3]
    return roughly(
        agreement(
            np.log(run.growth / (1 + length)),
            bias + run.start,
            reason,
            run.attrs,
            np.log(alone / (1 + length)),
        ),
        0.1,  # the noise of a batch shortens the mean of a unit step by some per cent
    )
