"""Claims of the chapter on the effective exponent: what is derived for an optimizer is
what the bench measures.

A case is an optimizer in one regime of the gradient. A claim holds the measured
exponent ``p_gain`` against the derived one, seed by seed; where a claim has several
cases, the one with the largest deviation speaks for it.
"""

import numpy as np
import xarray as xr

from fl.evidence import Evidence, claim
from fl.numerics import standard_error
from fl.studies import effective_exponent as study
from fl.studies.effective_exponent import CASES, CONTROLS, NATURAL, Setting
from fl.studies.effective_exponent import EIGENVALUES as LAM
from fl.theory import effective_exponent as theory
from fl.theory.effective_exponent_bench import RHO, exponents

ROUNDING = 1e-6
SAMPLING = len(LAM) / study.LARGE.batch
FINITE_WIDTH = (len(LAM) / Setting().width) ** 2
ERRORS = "four standard errors over seeds"


def _one_case(name, scale, broken, block, extra, reason, which=0) -> Evidence:
    """Hold the mean exponent of a case, or of the control, against that derived for the
    case.
    """
    case = CASES[name][which]
    run = study.measured(scale, block, CONTROLS[name] if broken else case)
    found = run["p_gain"]
    derived = exponents(LAM, case, run["axes"].values).mean()
    error = standard_error(found)
    tolerance = 4 * error + extra
    return Evidence(derived, found.mean(), tolerance, reason, error, sizes=run.attrs)


def _all_cases(name, scale, broken, block, extra, reason) -> Evidence:
    """Hold every case of an optimizer against its derived exponent; the control is held
    against that of the first.
    """
    deviations, shown = [], [CONTROLS[name]] if broken else CASES[name]
    for case, other in zip(CASES[name], shown, strict=not broken):
        run = study.measured(scale, block, other)
        derived = exponents(LAM, case, run["axes"].values)
        deviations.append(run["p_gain"] - derived)
    return _worst(deviations, extra, reason, run.attrs)


def _worst(deviations: list[xr.DataArray], extra, reason: str, sizes) -> Evidence:
    """Hold the largest mean deviation against zero."""
    cases = xr.concat(deviations, "case")
    largest = abs(cases.mean("seed")).max()
    error = standard_error(cases).max()
    tolerance = 4 * error + extra
    sizes = sizes | {"cases": len(deviations)}
    return Evidence(0, largest, tolerance, reason, error, "at most", sizes)


@claim(
    "effective_exponent.gd",
    statement="Gradient descent has the exponent 0",
    source="derived",
    control="whitened inputs: the same step in their coordinates is a step with the "
    "inverse covariance",
)
def gd(scale, broken, block):
    """The plain gradient; whitening the inputs is Sigma^-1."""
    return _one_case("GD", scale, broken, block, ROUNDING, "rounding")


@claim(
    "effective_exponent.kfac",
    statement="K-FAC with a damping below the spectrum has the exponent -1",
    source="derived",
    control="a damping ten times the largest eigenvalue of the Fisher matrix",
)
def kfac(scale, broken, block):
    """The input factor of K-FAC is the inverse second moment."""
    reason = f"{ERRORS}, and d/B"
    return _one_case("K-FAC", scale, broken, block, SAMPLING, reason)


@claim(
    "effective_exponent.ngd",
    statement="The natural gradient of two linear layers has the exponent -1 in the "
    "first",
    source="derived",
    control="a damping ten times the largest eigenvalue of the Fisher matrix",
)
def ngd(scale, broken, block):
    """The full Gauss-Newton matrix of both layers, inverted."""
    reason = f"{ERRORS}, and d/B"
    return _one_case(NATURAL, scale, broken, block, SAMPLING, reason)


@claim(
    "effective_exponent.adam",
    statement="Adam divides by the root of the second moment: -1/2 on noise, -1 on "
    "signal, next to 0 off the axes",
    source="derived",
    control="the formula for the axes, on rotated inputs",
)
def adam(scale, broken, block):
    """Four regimes of the gradient, the last on rotated inputs; the control has that
    one alone.
    """
    return _all_cases("Adam", scale, broken, block, ROUNDING, ERRORS)


@claim(
    "effective_exponent.adahessian",
    statement="AdaHessian has the exponent -1 on the whole population, and on batches "
    "what Hutchinson's noise leaves",
    source="derived",
    control="rotated inputs",
)
def adahessian(scale, broken, block):
    """The population and batches; on rotated inputs the diagonal has no spectrum to
    show.
    """
    return _all_cases("AdaHessian", scale, broken, block, ROUNDING, ERRORS)


@claim(
    "effective_exponent.sophia",
    statement="Sophia-H has the exponent -1 unclipped and -1/2 clipped, and erf in "
    "between",
    source="derived",
    control="rotated inputs",
)
def sophia(scale, broken, block):
    """Three clips on noise gradients."""
    reason = f"{ERRORS}, and the relative variance of the averaged curvature"
    # of Gaussian probes, memory 0.99, along the smallest eigenvalue
    share = 1 / Setting().batch
    variance = 0.01 / 1.99 * (2 + share * (5 + LAM.sum() / LAM[-1]))
    extra = variance / np.log(LAM[0] / LAM[-1])
    return _all_cases("Sophia-H", scale, broken, block, extra, reason)


@claim(
    "effective_exponent.shampoo",
    statement="Shampoo with exponents -1/4 has the exponent -1/4 when both factors "
    "average many noise gradients",
    source="derived",
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
    reason = (
        f"{ERRORS}, and a quarter of h over the directions that the left factor "
        "averages"
    )
    extra = case.setting.width / directions / 4
    return _one_case("Shampoo", scale, broken, block, extra, reason)


@claim(
    "effective_exponent.soap",
    statement="SOAP on noise gradients has the exponent -1/2 in any basis",
    source="derived",
    control="Adam in its place",
)
def soap(scale, broken, block):
    """Adam in the eigenbasis of the gradient's second moment, on rotated inputs."""
    reason = f"{ERRORS}, and (d/h)^2"
    return _one_case("SOAP", scale, broken, block, FINITE_WIDTH, reason, which=1)


@claim(
    "effective_exponent.muon",
    statement="Muon on noise gradients of a wide layer has the exponent -1/2, less "
    "what its iteration leaves open",
    source="derived",
    control="a gradient that is signal",
)
def muon(scale, broken, block):
    """The polar factor of noise; that of a full-rank signal has the exponent -1."""
    reason = f"{ERRORS}, and (d/h)^2"
    return _one_case("Muon", scale, broken, block, FINITE_WIDTH, reason)


@claim(
    "effective_exponent.sam",
    statement="SAM multiplies by 1 + rho lambda/|g|: an exponent that rises from 0 as "
    "the gradient shrinks in training",
    source="derived",
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
    deviation = abs(run["p_gain"] - derived).max("step")
    return _worst([deviation], ROUNDING, "rounding", run.attrs)
