"""Claims of the chapter on the Gram matrix."""

import numpy as np
import xarray as xr

from fl.evidence import Evidence, claim
from fl.judging import agreement
from fl.studies import gram as study
from fl.theory import gram as theory
from fl.updates import Run, gap

ROUNDING = (
    "rounding in float64, one part in 1e16 per operation, amplified over the steps"
)


def recursed(cell, coupled: bool = False, frozen: bool = False) -> Run:
    """Return the run of the recursion, which is given of the inputs of ``cell`` W0 [X, x]
    and the Gram matrices alone.

    ``coupled`` turns its decay into a penalty, which needs the inputs (P fixed, N > d);
    ``frozen`` hands it at every step the cross-Gram of the first one.
    """
    X, Y, W0, theta0, P, rule = cell
    N = np.shape(Y)[-1]
    known = X[:, :N]
    G = theory.gram(known, P, X)
    if frozen and G.ndim == 3:
        G[..., N:] = G[0, :, N:]
    matrix = None
    if coupled:
        rule = rule.coupled()
        matrix = np.linalg.pinv(known) @ P @ X
    return theory.train(W0 @ X, theta0, Y, G, rule, matrix)


def worst_gap(found, own: dict | None = None, **taken) -> float:
    """Return the worst gap between the networks ``found`` by a study and what `recursed`
    makes of them with the settings ``taken``; with ``own`` settings it takes the place of
    the networks too, which is what a control is expected to show.
    """
    gaps = []
    for cell, run in found.cells:
        if own is not None:
            run = recursed(cell, **own)
        gaps.append(gap(run, recursed(cell, **taken)))
    return max(gaps)


def shown(expected: float) -> dict:
    """Return the fields of a control that shows ``expected``, up to rounding."""
    return {"expected": expected, "within": 1e-6 * expected}


@claim(
    "gram.recursion",
    statement="Training from (Z0, theta0, Y) and the Gram matrices alone reproduces "
    "training in parameter space, on training and test inputs: depth 2 and 4, ReLU and "
    "tanh, bias, momentum before and after P, mini-batches, left factor, P changing in "
    "time, decoupled decay, and real digits",
    source="proved",
    uses=("thm-gram-recursion",),
    control="coupled L2 penalty with a fixed P whose square is not proportional to P",
)
def recursion(scale, broken, block):
    """Worst relative gap over all cells and all recorded steps; of the control what the
    recursion with the penalty, which has to be told X^+ P X, says.
    """
    found = study.recursion(scale, block, coupled=broken)
    rival = shown(worst_gap(found, own={"coupled": True})) if broken else {}
    return Evidence(0, worst_gap(found), 1e-10, ROUNDING, sizes=found.attrs, **rival)


@claim(
    "gram.twins",
    statement="Two data sets with the same X^T P X, the same labels and the same W0 X "
    "have identical trajectories, however far apart they are",
    source="proved",
    uses=("thm-gram-recursion",),
    control="the same twins trained with another P",
)
def twins(scale, broken, block):
    """Worst relative gap between twins over exponents, activations and decays; of the
    control that between the recursions with the Gram matrices of the other P.
    """
    found = study.twins(scale, block, trained=0.0 if broken else None)
    gaps, others = [], []
    for pair in found.cells:
        cells, runs = zip(*pair, strict=True)
        gaps.append(gap(*runs))
        if broken:
            others.append(gap(*map(recursed, cells)))
    # twins close to each other would prove nothing
    worst = max(gaps) if found.attrs["least distance"] > 0.5 else np.inf
    rival = shown(max(others)) if broken else {}
    return Evidence(0, worst, 1e-10, ROUNDING, sizes=found.attrs, **rival)


@claim(
    "gram.initial_law",
    statement="Over P-isotropic initialisations the mean square of the first "
    "pre-activations has the mean tr G/N and the variance 2 tr G^2/(h N^2), functions "
    "of the Gram matrix alone: the same for a data set and its twin",
    source="proved",
    uses=("thm-gram-information",),
    control="isotropic initialisation, whose mean is tr(X^T X)/N",
)
def initial_law(scale, broken, block):
    """Mean and variance of both sets against the prediction."""
    start = "isotropic" if broken else "P-isotropic"
    found = study.isotropy(scale, block, start)
    width = study.SMALL.width
    mean, sd = theory.initial_moment(found.G, width)
    off = found.moment - mean
    gaps = xr.concat([off, off**2 - sd**2], "moment")
    rival = None
    if broken:
        made = np.transpose([theory.initial_moment(K, width) for K in found.K])
        shift = made[0] - mean
        rival = xr.DataArray(
            [shift, shift**2 + made[1] ** 2 - sd**2], dims=("moment", "set")
        )
    return agreement(gaps, 0, "none", found.attrs, rival, "draw")


@claim(
    "gram.isotropy",
    statement="Over P-isotropic initialisations the law of training depends on X only "
    "through X^T P X: a data set and its twin, drawn independently, agree in the mean "
    "squared error of every sample after 20 steps",
    source="proved",
    uses=("thm-gram-information",),
    control="isotropic initialisation",
)
def isotropy(scale, broken, block):
    """The squared errors of all training samples."""
    return _one_law(scale, broken, block, "squares", _squares)


@claim(
    "gram.test_law",
    statement="Over P-isotropic initialisations the law of a prediction depends on X only "
    "through X^T P X, X^T P x and x^T P x: a data set with its test inputs and its twin, "
    "drawn independently, agree in the mean absolute value of every prediction after 20 "
    "steps",
    source="proved",
    uses=("thm-gram-test",),
    control="isotropic initialisation",
)
def test_law(scale, broken, block):
    """Absolute outputs at all test inputs."""
    return _one_law(scale, broken, block, "tests", _tests)


def _squares(outputs, y):
    return (outputs[:, : len(y)] - y) ** 2


def _tests(outputs, y):
    return abs(outputs[:, len(y) :])


def _one_law(scale, broken, block, name: str, read) -> Evidence:
    """Hold the distance of the two sets' means of ``name``, all columns at once, against
    its expectation and spread for equal laws; of the control against what the recursion
    makes of the same W0 X, whose laws are no longer equal, as ``read`` off its outputs.
    """
    from scipy import stats

    start = "isotropic" if broken else "P-isotropic"
    found = study.isotropy(scale, block, start)
    _, _, number = found[name].shape
    tolerance = stats.chi2.isf(1e-3, number) - number
    reason = "noise alone, chi-square, lies beyond it with probability 1/1000"
    measured = study.twin_difference(found[name])
    rival = {}
    if broken:
        cells = study.starts(scale, block, start)
        both = [read(last_outputs(cell), cell.Y) for cell in cells]
        rival = shown(study.twin_difference(both))
    return Evidence(number, measured, tolerance, reason, sizes=found.attrs, **rival)


def last_outputs(cell):
    """Return what `recursed` says of the first output of a ``cell`` at the end, for all
    its networks.
    """
    return recursed(cell).outputs[-1, ..., 0, :]


@claim(
    "gram.test_time",
    statement="The pre-activations of a test input follow from their initial value and "
    "the cross-Gram X^T P x of every step, with no further look at the inputs",
    source="proved",
    uses=("thm-gram-recursion",),
    control="the cross-Gram of the first step throughout, where P moves",
)
def test_time(scale, broken, block):
    """Worst relative gap, test pre-activations included, over rules, depths and
    activations; of the control that between the two recursions.
    """
    found = study.test_time(scale, block)
    worst = worst_gap(found, frozen=broken)
    rival = shown(worst_gap(found, own={}, frozen=True)) if broken else {}
    return Evidence(0, worst, 1e-10, ROUNDING, sizes=found.attrs, **rival)


@claim(
    "gram.spectrum",
    statement="For P = Sigma_hat^p the matrix G_P/N has the eigenvalues s_r^(2(p+1)), "
    "with s_r the singular values of X/sqrt(N)",
    source="paper YN25",
    uses=("thm-gram-spectrum",),
    control="the exponent 2p, the spectrum of P itself",
)
def spectrum(scale, broken, block):
    """Worst error of an eigenvalue, relative to the largest, over data sets and
    exponents.
    """
    found = study.spectrum(scale, block)
    errors, rivals = [], []
    for p, s, values in found.cells:
        right, wrong = (theory.spectrum(s, power) for power in (p, p - 1))
        gaps = np.abs(values - (wrong if broken else right))
        errors.append(gaps.max() / values.max())
        rivals.append(np.abs(right - wrong).max() / right.max())
    reason = "rounding times the condition number of the second moment"
    rival = shown(max(rivals))
    return Evidence(0, max(errors), 1e-9, reason, sizes=found.attrs, **rival)
