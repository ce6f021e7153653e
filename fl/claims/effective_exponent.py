"""Claims of the chapter on the effective exponent: what is derived for an optimizer is
what the bench measures.

A case is an optimizer in one regime of the gradient. A claim holds the measured
exponent ``p_gain`` against the derived one, seed by seed; each case is judged in its
own standard error (`fl.judging.agreement`). The rival of each claim has a derived
exponent too, and the control has to measure it.
"""

import numpy as np
import xarray as xr

from fl.evidence import Evidence, claim
from fl.judging import agreement
from fl.studies import effective_exponent as study
from fl.studies.effective_exponent import CASES, CONTROLS, NATURAL, Setting
from fl.studies.effective_exponent import EIGENVALUES as LAM
from fl.theory import effective_exponent as theory
from fl.theory.effective_exponent_bench import RHO, exponents

ROUNDING = 1e-6
SAMPLING = len(LAM) / study.LARGE.batch
FINITE_WIDTH = (len(LAM) / Setting().width) ** 2


def _cases(name, scale, broken, block, bias, reason, which=slice(None)) -> Evidence:
    """Hold each case of an optimizer against its derived exponent; the control is held
    against that of the first, and has to show its own.

    What rotations scatter in a derived exponent is no error of a measurement, so a
    control differs by the mean shift of its derived exponent.
    """
    cases = CASES[name][which]
    shown = [CONTROLS[name]] if broken else cases
    gaps, shifts = [], []
    for case, other in zip(cases, shown, strict=not broken):
        run = study.measured(scale, block, other)
        axes = run["axes"].values
        own = exponents(LAM, other, axes)
        shift = np.mean(own - exponents(LAM, case, axes))
        gaps.append(run["p_gain"] - own + shift)
        shifts.append(shift)
    rival = xr.DataArray(shifts, dims="case")
    return agreement(xr.concat(gaps, "case"), bias, reason, run.attrs, rival)


def _few_squares(steps: int, before: int = 0) -> float:
    """Return what an exponent may be off because a method divides by the root of an
    average of t Gaussian squares: its mean is 1 + 3 / 4t times that of many.
    """
    number = np.arange(before, before + steps) + 1
    return 0.75 * np.mean(1 / number) / np.log(LAM[0] / LAM[-1])


@claim(
    "effective_exponent.gd",
    statement="Gradient descent has the exponent 0",
    source="proved",
    uses=("thm-exponent-exact", "def-exponent-fit"),
    control="whitened inputs: the same step in their coordinates is a step with the "
    "inverse covariance",
)
def gd(scale, broken, block):
    """The plain gradient; whitening the inputs is Sigma^-1."""
    return _cases("GD", scale, broken, block, ROUNDING, "rounding")


@claim(
    "effective_exponent.kfac",
    statement="K-FAC with a damping below the spectrum has the exponent -1",
    source="derived",
    uses=("thm-exponent-multipliers",),
    control="a damping ten times the largest eigenvalue of the Fisher matrix",
)
def kfac(scale, broken, block):
    """The input factor of K-FAC is the inverse second moment."""
    reason = "d/B"
    return _cases("K-FAC", scale, broken, block, SAMPLING, reason, slice(1))


@claim(
    "effective_exponent.ngd",
    statement="The natural gradient of two linear layers has the exponent -1 in the "
    "first",
    source="derived",
    uses=("thm-exponent-multipliers",),
    control="a damping ten times the largest eigenvalue of the Fisher matrix",
)
def ngd(scale, broken, block):
    """The full Gauss-Newton matrix of both layers, inverted."""
    reason = "d/B"
    return _cases(NATURAL, scale, broken, block, SAMPLING, reason, slice(1))


@claim(
    "effective_exponent.adam",
    statement="Adam divides by the root of the second moment: -1/2 on noise, -1 on "
    "signal, next to 0 off the axes",
    source="derived",
    uses=("thm-exponent-multipliers",),
    control="the formula for the axes, on rotated inputs",
)
def adam(scale, broken, block):
    """Four regimes of the gradient, the last on rotated inputs; the control has that
    one alone.
    """
    reason = "the second order of the root of few squares"
    extra = _few_squares(CASES["Adam"][0].steps)
    return _cases("Adam", scale, broken, block, extra, reason)


@claim(
    "effective_exponent.adahessian",
    statement="AdaHessian has the exponent -1 on the whole population, and on batches "
    "what Hutchinson's noise leaves",
    source="derived",
    uses=("thm-exponent-multipliers",),
    control="rotated inputs",
)
def adahessian(scale, broken, block):
    """The population and batches; on rotated inputs the diagonal has no spectrum to
    show.
    """
    reason = "the second order of the root of few squares"
    extra = _few_squares(CASES["AdaHessian"][1].steps, study.WARM_UP["AdaHessian"])
    last_first = slice(None, None, -1)  # the control turns the batches
    return _cases("AdaHessian", scale, broken, block, extra, reason, last_first)


@claim(
    "effective_exponent.sophia",
    statement="Sophia-H has the exponent -1 unclipped and -1/2 clipped, and erf in "
    "between",
    source="derived",
    uses=("thm-exponent-multipliers",),
    control="rotated inputs",
)
def sophia(scale, broken, block):
    """Three clips on noise gradients."""
    reason = "the relative variance of the averaged curvature"
    # of Gaussian probes, memory 0.99, along the smallest eigenvalue
    share = 1 / Setting().batch
    variance = 0.01 / 1.99 * (2 + share * (5 + LAM.sum() / LAM[-1]))
    extra = variance / np.log(LAM[0] / LAM[-1])
    return _cases("Sophia-H", scale, broken, block, extra, reason)


@claim(
    "effective_exponent.shampoo",
    statement="Shampoo with exponents -1/4 has the exponent -1/4 when both factors "
    "average many noise gradients",
    source="derived",
    uses=("thm-exponent-multipliers",),
    control="factors of a single gradient, which make it a polar factor",
)
def shampoo(scale, broken, block):
    """The right factor is a power of the covariance; the left one must not know the
    gradient it multiplies.
    """
    case = CASES["Shampoo"][0]
    memory = case.hyper["memory"]
    # independent directions in the left factor: gradients within its memory times the
    # effective rank of S
    gradients = (1 + memory) / (1 - memory)
    directions = gradients * LAM.sum() ** 2 / np.sum(LAM**2)
    reason = "a quarter of h over the directions that the left factor averages"
    extra = case.setting.width / directions / 4
    return _cases("Shampoo", scale, broken, block, extra, reason, slice(1))


@claim(
    "effective_exponent.soap",
    statement="SOAP on noise gradients has the exponent -1/2 in any basis",
    source="derived",
    uses=("thm-exponent-multipliers",),
    control="Adam in its place",
)
def soap(scale, broken, block):
    """Adam in the eigenbasis of the gradient's second moment, on rotated inputs."""
    reason = "(d/h)^2"
    which = slice(1, 2)
    return _cases("SOAP", scale, broken, block, FINITE_WIDTH, reason, which)


@claim(
    "effective_exponent.muon",
    statement="Muon on noise gradients of a wide layer has the exponent -1/2, less "
    "what its iteration leaves open",
    source="derived",
    uses=("thm-exponent-multipliers",),
    control="a gradient that is signal",
)
def muon(scale, broken, block):
    """The polar factor of noise; that of a full-rank signal has the exponent -1."""
    reason = "(d/h)^2"
    which = slice(1)
    return _cases("Muon", scale, broken, block, FINITE_WIDTH, reason, which)


@claim(
    "effective_exponent.sam",
    statement="SAM multiplies by 1 + rho lambda/|g|: an exponent that rises from 0 as "
    "the gradient shrinks in training",
    source="proved",
    uses=("thm-exponent-multipliers",),
    control="without the ascent step (rho = 0)",
)
def sam(scale, broken, block):
    """The exponent at every recorded step of a training run against the derived one at
    the gradient's norm there.
    """
    run = study.sam(scale, block, 0.0 if broken else RHO)
    derived = xr.apply_ufunc(
        lambda size: theory.slope(LAM, theory.ascent(LAM, RHO, size)),
        run["size"],
        vectorize=True,
    )
    rival = -derived
    return agreement(run["p_gain"] - derived, ROUNDING, "rounding", run.attrs, rival)
