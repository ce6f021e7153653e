"""Claims of the chapter on the first step, second part: what the step buys in ridge
risk.
"""

import itertools

import numpy as np
import xarray as xr

from fl.claims.spikes import worst
from fl.evidence import Evidence, claim
from fl.numerics import standard_error, worst_cell
from fl.studies import spikes as study
from fl.theory import spikes as theory
from fl.theory import spikes_conditional, spikes_risk


@claim(
    "spikes.pole_is_outlier",
    statement="The pole of the resolvent form T that gives the risk is minus the "
    "square of the outlying singular value",
    source="derived",
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
    reason = (
        "relative, worst of twelve cells: standard error and a difference of order "
        "eta^2/N"
    )
    return worst(gaps, 0.05, reason, network.attrs)


@claim(
    "spikes.risk",
    statement="The ridge risk after a step of order one is a closed form in the "
    "ratios, the penalty and the step",
    source="derived",
    control="the closed form without the step",
)
def risk(scale, broken, block):
    """Compare twelve mean risks with the closed form."""
    runs, pair = study.small_steps(scale, block), theory.pair()
    steps = 0.0 * runs.eta if broken else runs.eta
    predicted = [
        spikes_risk.small_step_risk(pair, 2.0, 1.0, penalty, steps)
        for penalty in study.PENALTIES
    ]
    ratio = runs.fresh / xr.concat(predicted, runs.penalty)
    tolerance = 0.08 if scale == "smoke" else 0.05
    reason = (
        "relative, worst of twelve cells: three standard errors and a bias of order "
        "1/sqrt(N)"
    )
    return worst(ratio - 1, tolerance, reason, runs.attrs)


@claim(
    "spikes.risk_monotone",
    statement="At a fixed penalty the risk falls with every increase of the step, by "
    "no less than the closed form says",
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
    _, (measured, error) = worst_cell(-decrease, standard_error(ratio))
    reason = (
        "ratio of decreases, worst step: three standard errors of the paired decrease"
    )
    sizes = runs.attrs | {"penalty": 0.1, "eta": cells.eta.values}
    return Evidence(1, -measured, 3 * error, reason, error, "at least", sizes)


@claim(
    "spikes.linear_floor",
    statement="A step of order one never takes the risk below that of the best linear "
    "predictor, |P_{>1} f*|^2",
    source="paper BE22",
    control="a step of order sqrt(N)",
)
def linear_floor(scale, broken, block):
    """Take the smallest risk over floor, of the closed form on a wide grid and of the
    simulations.
    """
    pair, etas = theory.pair(), np.array([0.0, 1.0, 10.0, 1e4])
    etabar = 2.0 if broken else 0.1
    cells = itertools.product(
        (0.5, 2.0, 50.0, 1e4),
        (0.3, 1.0, 3.0),
        (1e-6, 1e-3, 0.1, 1.0),
    )
    risks = [spikes_risk.small_step_risk(pair, *cell, etas).min() for cell in cells]
    sizes = {"etabar": etabar, "formula cells": len(risks)}
    runs = study.giant_steps(scale, block)
    risks.append(runs.fresh.sel(etabar=etabar).mean())
    if not broken:
        small = study.small_steps(scale, block)
        risks.append(small.fresh.mean("seed").min())
    reason = "the inequality is exact for the closed form"
    smallest = min(risks) / pair.floor
    return Evidence(
        1, smallest, 0.0, reason, relation="at least", sizes=runs.attrs | sizes
    )


@claim(
    "spikes.large_step_beats_floor",
    statement="With eta = 2 sqrt(N) the same ridge goes far below the linear floor F: "
    "under 0.8 F at n/d = 10 and under 0.5 F at n/d = 20 (erf student, erf(3z) "
    "teacher)",
    source="paper BE22",
    control="a step of order one",
)
def large_step_beats_floor(scale, broken, block):
    """Take the worse of R/(0.8 F) and R/(0.5 F)."""
    etabar = 0.1 if broken else 2.0
    ratios = []
    for psi1, share in {10.0: 0.8, 20.0: 0.5}.items():
        runs = study.giant_steps(scale, block, psi1)
        risk = runs.fresh.sel(etabar=etabar).mean("draw")
        ratios.append(risk / (share * theory.pair().floor))
    ratio = xr.concat(ratios, "psi1")
    cells = ratio.mean("seed")
    _, (measured, error) = worst_cell(cells, standard_error(ratio))
    sizes = runs.attrs | {"psi1": [10.0, 20.0], "etabar": etabar}
    reason = "a bound, no tolerance"
    return Evidence(1, measured, 0.0, reason, error, "at most", sizes)


@claim(
    "spikes.parity",
    statement="No step of any size takes an odd student of a ReLU teacher, or a ReLU "
    "student of an odd teacher, below the linear floor",
    source="derived",
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
    control="Gaussian features without the condition, at n/d = 4 and eta = 4 sqrt(N)",
)
def conditional_equivalent(scale, broken, block):
    """Compare prediction and simulation on the same weights, averaged over weights;
    worst cell.
    """
    cells = study.LAYERS[:1] if broken else study.LAYERS
    runs = study.layers(scale, block, cells)
    both = spikes_conditional.equivalents(runs)
    predicted = both.plain if broken else both.conditional
    mean = runs.fresh.mean(("seed", "draw"))
    ratio = predicted.mean("seed") / mean
    # over draws within a layer, then as many layers
    errors = standard_error(runs.fresh, "draw").mean("seed")
    errors /= mean * runs.attrs["seeds"] ** 0.5
    _, (measured, error) = worst_cell(abs(ratio - 1), errors)
    reason = "relative, worst cell: standard error and terms of order 1/N"
    return Evidence(0, measured, 0.025, reason, error, sizes=runs.attrs)


@claim(
    "spikes.sample_reuse",
    statement="Ridge on the sample of the first step has another risk than ridge on a "
    "fresh one (n = 2d, eta = 4, penalty 1): higher",
    source="observed",
    control="no step: the first sample has left no trace in the weights",
)
def sample_reuse(scale, broken, block):
    """Take the paired difference, less four standard errors."""
    eta = 0.0 if broken else 4.0
    runs = study.small_steps(scale, block).sel(penalty=1.0, eta=eta)
    difference = runs.reused - runs.fresh
    error = standard_error(difference)
    least = difference.mean() - 4 * error
    reason = "four standard errors of the paired difference are taken off"
    sizes = runs.attrs | {"penalty": 1.0, "eta": eta}
    return Evidence(0, least, 0.0, reason, error, "at least", sizes)
