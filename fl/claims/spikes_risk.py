"""Claims of the chapter on the first step, second part: what the step buys in ridge
risk.
"""

import itertools

import numpy as np
import xarray as xr

from fl.claims.spikes import judged
from fl.evidence import Evidence, claim
from fl.numerics import standard_error, worst_cell
from fl.studies import spikes as study
from fl.theory import spikes as theory
from fl.theory import spikes_conditional, spikes_departure, spikes_risk


@claim(
    "spikes.pole_is_outlier",
    statement="The pole of the resolvent form T that gives the risk is minus the "
    "square of the outlying singular value",
    source="consistency",
    control="theta1 in place of theta2 in the location",
)
def pole_is_outlier(scale, broken, block):
    """Find the pole from the values of T and compare it with the location, over a grid
    of ratios and strengths.
    """
    gaps, pair, multiples = [], theory.pair(), (1.7, 3.0, 10.0)
    for (psi1, psi2), multiple in itertools.product(study.RATIOS, multiples):
        eta = multiple * theory.threshold(pair, psi1, psi2)
        theta1, theta2 = theory.strengths(pair, psi1, eta)
        pole = spikes_risk.pole(psi2, theta1, theta2)
        place = theory.location(theta1 if broken else theta2, psi2)
        gaps.append(abs(pole / place**2 + 1))
    sizes = {"psi1, psi2": study.RATIOS, "eta/eta_c": multiples}
    return Evidence(0, max(gaps), 1e-10, "rounding, relative", sizes=sizes)


@claim(
    "spikes.gaussian_equivalence",
    statement="After a step of order one, ridge on the network's features has the risk "
    "of ridge on mu1 W1'x plus independent Gaussian noise of the size of the rest",
    source="paper BE22",
    control="the noise left out: features mu1 W1'x alone",
)
def gaussian_equivalence(scale, broken, block):
    """Compare the two mean risks on the same first stages."""
    network = study.small_steps(scale, block)
    kind = "linear" if broken else "gaussian"
    other = study.small_steps(scale, block, features=kind).fresh
    gaps = (network.fresh - other) / other.mean("seed")
    width = network.attrs["d"] * network.attrs["psi2"]
    # without a step of order 1/N, and the cubic spike of an odd student beside the bulk
    bias = (3 + 0.1 * network.eta**3) / width
    return judged(gaps, bias, "relative, 3/N + eta^3/(10 N)", network.attrs)


@claim(
    "spikes.risk",
    statement="The ridge risk after a step of order one is a closed form in the "
    "ratios, the penalty and the step",
    source="derived",
    control="the closed form without the step",
)
def risk(scale, broken, block):
    """Compare twelve mean risks with the closed form."""
    runs = study.small_steps(scale, block)
    predicted, start = _closed(runs, runs.eta), _closed(runs, 0.0 * runs.eta)
    ratio = runs.fresh / (start if broken else predicted)
    rival = predicted / start - 1 if broken else None
    width = runs.attrs["d"] * runs.attrs["psi2"]
    bias = 0.15 * runs.eta / width**0.5
    return judged(ratio - 1, bias, "relative, 0.15 eta/sqrt(N)", runs.attrs, rival)


def _closed(runs: xr.Dataset, etas: xr.DataArray) -> xr.DataArray:
    lines = [
        spikes_risk.small_step_risk(theory.pair(), 2.0, 1.0, penalty, etas)
        for penalty in study.PENALTIES
    ]
    return xr.concat(lines, runs.penalty)


@claim(
    "spikes.risk_monotone",
    statement="At a fixed penalty the risk falls with every increase of the step, by "
    "what the closed form says",
    source="derived",
    control="labels shuffled in the first step: the spike is there, but does not point "
    "at the teacher",
)
def risk_monotone(scale, broken, block):
    """Compare the paired decrease between successive steps with the predicted one,
    worst step.
    """
    labels = "shuffled" if broken else "true"
    runs = study.small_steps(scale, block, labels=labels)
    cells = runs.sel(penalty=0.1, eta=[0.0, 2.0, 4.0])
    predicted = spikes_risk.small_step_risk(theory.pair(), 2.0, 1.0, 0.1, cells.eta)
    ratio = cells.fresh.diff("eta") / predicted.diff("eta")
    decrease = ratio.mean("seed")
    _, (_, measured, error) = worst_cell(
        abs(decrease - 1), decrease, standard_error(ratio)
    )
    reason = "ratio of decreases, worst of two steps: a quarter"
    sizes = runs.attrs | {"penalty": 0.1, "eta": cells.eta.values}
    found = {"sizes": sizes, "expected": 0.0 if broken else None, "within": 0.25}
    return Evidence(1, measured, 0.25, reason, error, **found)


@claim(
    "spikes.wide",
    statement="The gain of a step of order one dies with the width: at eta = 2 it is the "
    "closed form's, for N/d = 1, 2, 4",
    source="derived",
    control="the gain at N/d = 1 in place of each",
)
def wide(scale, broken, block):
    """Compare the paired gain with the closed one."""
    runs, etas = study.widths(scale, block), [0.0, study.STEP]
    gain = -runs.fresh.diff("eta").squeeze("eta", drop=True)
    closed = xr.zeros_like(gain.mean("seed"))
    for psi2 in study.WIDTHS:
        cell = theory.pair(), 2.0, psi2, study.PENALTY, etas
        start, end = spikes_risk.small_step_risk(*cell)
        closed.loc[{"psi2": psi2}] = start - end
    fixed = closed.sel(psi2=1.0)
    rival = closed - fixed if broken else None
    width = runs.psi2 * runs.attrs["d"]
    bias = 0.15 * study.STEP / width**0.5 * runs.fresh.mean(("eta", "seed"))
    gaps = gain - (fixed if broken else closed)
    return judged(gaps, bias, "0.15 eta/sqrt(N) of the risk", runs.attrs, rival)


@claim(
    "spikes.linear_floor",
    statement="After a step of order one the closed form of the risk is never below "
    "that of the best linear predictor, |P_{>1} f*|^2",
    source="consistency",
    control="a step of order sqrt(N), beyond the closed form: the simulated risk",
)
def linear_floor(scale, broken, block):
    """Take the smallest risk over floor, of the closed form on a wide grid; for the
    control of simulations at n = 20 d.
    """
    pair, etas = theory.pair(), np.array([0.0, 1.0, 10.0, 1e4])
    cells = list(
        itertools.product(
            (0.5, 2.0, 50.0, 1e4), (0.3, 1.0, 3.0), (1e-6, 1e-3, 0.1, 1.0)
        )
    )
    sizes, reason = {"formula cells": len(cells)}, "rounding: the inequality is exact"
    if broken:
        runs = study.giant_steps(scale, block, 20.0)
        smallest = runs.fresh.sel(etabar=2.0).mean()
        sizes = runs.attrs | {"etabar": 2.0}
    else:
        risks = [spikes_risk.small_step_risk(pair, *cell, etas) for cell in cells]
        smallest = np.min(risks)
    share = smallest / pair.floor
    return Evidence(1, share, 1e-9, reason, relation="at least", sizes=sizes)


@claim(
    "spikes.large_step_beats_floor",
    statement="With eta = 2 sqrt(N) and a penalty inside the theorem's window the same "
    "ridge goes below the linear floor (erf student, erf(3z) teacher, n/d = 20 and 40)",
    source="paper BE22",
    control="a step of order one, eta = 0.1 sqrt(N)",
)
def large_step_beats_floor(scale, broken, block):
    """Take the larger of two R/F."""
    etabar = 0.1 if broken else 2.0
    runs = study.in_window(scale, block, etabars=(etabar,))
    cells = runs.fresh.squeeze("etabar").sel(psi1=[20.0, 40.0])
    ratio = cells / theory.pair().floor
    _, (measured, error) = worst_cell(ratio.mean("seed"), standard_error(ratio))
    reason = "a bound, no tolerance"
    return Evidence(1, measured, 0.0, reason, error, "at most", runs.attrs)


@claim(
    "spikes.large_step_rate",
    statement="Where one step can write the teacher exactly (erf student, erf teacher), "
    "the risk after eta = 2 sqrt(N) falls like d/n, for penalties inside the theorem's "
    "window",
    source="paper BE22",
    control="a step of order one, eta = 0.1 sqrt(N): the floor is in the way",
)
def large_step_rate(scale, broken, block):
    """Fit the exponent of the risk in n/d, over 10 to 80."""
    etabar = 0.1 if broken else 2.0
    runs = study.in_window(scale, block, study.ERF, (etabar,))
    logs = np.log(runs.fresh.squeeze("etabar", drop=True))
    logs = logs.assign_coords(psi1=np.log(logs.psi1))
    fits = logs.polyfit("psi1", 1).polyfit_coefficients.sel(degree=1)
    reason = "the n^eps that the window leaves, and three standard errors of few seeds"
    error = standard_error(fits)
    return Evidence(-1, fits.mean(), 0.22, reason, error, "at most", runs.attrs)


@claim(
    "spikes.departure",
    statement="Steps stop being small at eta ~ N^((k-1)/2k) and not at sqrt(N), k the "
    "first Hermite degree beyond the linear part that student and teacher share: for "
    "ReLU and ReLU, k = 2, between N = 200 and 800",
    source="observed",
    control="the variable eta/sqrt(N) in place of eta/N^(1/4)",
    blunt="the power is only approached at these widths, from above",
)
def departure(scale, broken, block):
    """Fit the exponent in N of the step at which the risk is a fifth below that of
    Gaussian features, less the predicted one.
    """
    runs = study.departures(scale, block)
    widths = [run.attrs["width"] for run in runs]
    gaps = [spikes_departure.shortfall(run) for run in runs]
    etas = [
        spikes_departure.departure(gap) * width**0.5
        for gap, width in zip(gaps, widths, strict=True)
    ]
    power = spikes_departure.departure_exponent(2)
    assumed = 0.5 if broken else power
    slope, _ = np.polyfit(np.log(widths), np.log(etas), 1)
    expected = power - 0.5 if broken else None
    reason = "corrections to the leading power and the scatter of few seeds"
    sizes = runs[-1].attrs | {"width": widths, "seeds": [len(run.seed) for run in runs]}
    found = {"sizes": sizes, "expected": expected, "within": 0.1}
    return Evidence(0, slope - assumed, 0.1, reason, **found)


@claim(
    "spikes.parity",
    statement="No step of any size takes an odd student of a ReLU teacher, or a ReLU "
    "student of an odd teacher, below the linear floor",
    source="proved",
    control="a ReLU student of a ReLU teacher",
)
def parity(scale, broken, block):
    """Take the smallest risk over floor, over all steps up to 4 sqrt(N) and every
    single draw.
    """
    ratios = []
    for links in [study.RELUS] if broken else study.NEVER:
        runs = study.giant_steps(scale, block, 20.0, **links)
        floor = theory.pair(**links).floor
        ratios.append(runs.fresh.min() / floor)
    sizes, reason = runs.attrs, "rounding: the inequality holds for each draw"
    return Evidence(1, min(ratios), 1e-9, reason, relation="at least", sizes=sizes)


@claim(
    "spikes.conditional_equivalent",
    statement="For steps of every size the risk is that of features which are Gaussian "
    "given the projection of the input on X'y",
    source="derived",
    control="Gaussian features without the condition, at n/d = 3 and eta = 8 sqrt(N)",
)
def conditional_equivalent(scale, broken, block):
    """Compare prediction and simulation on the same weights, averaged over weights;
    worst cell.
    """
    cells = study.LAYERS[:1] if broken else study.LAYERS
    runs = study.layers(scale, block, cells)
    both = spikes_conditional.equivalents(runs)
    predicted = both.plain if broken else both.conditional
    # given the weights draws alone are random, as many in each of all layers
    ratio = (runs.fresh / predicted).mean("seed")
    width = runs.attrs["d"] * runs.attrs["psi2"]
    return judged(ratio - 1, 2 / width, "relative, 2/N", runs.attrs, dim="draw")


@claim(
    "spikes.sample_reuse",
    statement="Ridge on the sample of the first step has a higher risk than ridge on a "
    "fresh one, by more than 0.01 (n = 2d, d = 200, eta = 4, penalty 1)",
    source="observed",
    control="no step: the first sample has left no trace in the weights",
    blunt="the control's own standard error is a third of the effect at few seeds",
)
def sample_reuse(scale, broken, block):
    """Take the mean paired difference."""
    eta = 0.0 if broken else 4.0
    runs = study.small_steps(scale, block).sel(penalty=1.0, eta=eta)
    difference = runs.reused - runs.fresh
    reason = "half of what was seen at first, fixed then; no tolerance"
    sizes = runs.attrs | {"penalty": 1.0, "eta": eta}
    error, found = standard_error(difference), {"sizes": sizes, "within": 0.01}
    expected = 0.0 if broken else None
    return Evidence(
        0.01,
        difference.mean(),
        0.0,
        reason,
        error,
        "at least",
        expected=expected,
        **found,
    )
