"""Claims of the chapter on the first step, second part: what a step of order one buys
in ridge risk.
"""

import itertools
from math import comb

import numpy as np
import xarray as xr

from fl.claims.spikes import LIMIT
from fl.claims.spikes_large import given_weights
from fl.evidence import Evidence, claim
from fl.judging import agreement, order, roughly
from fl.links import LINKS
from fl.studies import spikes as study
from fl.studies import spikes_large
from fl.theory import spikes as theory
from fl.theory import spikes_risk


@claim(
    "spikes.pole_is_outlier",
    statement="The pole of the resolvent form T that gives the risk is minus the "
    "square of the outlying singular value",
    source="consistency",
    uses=("thm-spikes-risk", "thm-spikes-location"),
    control="theta1 in place of theta2 in the location",
)
def pole_is_outlier(scale, broken, block):
    """Find the pole from the values of T and compare it with the location, over a grid
    of ratios and strengths.
    """
    gaps, rivals = [], []
    pair, multiples = theory.pair(), (1.7, 3.0, 10.0)
    for (psi1, psi2), multiple in itertools.product(study.RATIOS, multiples):
        eta = multiple * theory.threshold(pair, psi1, psi2)
        theta1, theta2 = theory.strengths(pair, psi1, eta)
        pole = spikes_risk.pole(psi2, theta1, theta2)
        places = [theory.location(theta, psi2) for theta in (theta2, theta1)]
        gaps.append(abs(pole / places[broken] ** 2 + 1))
        rivals.append(abs((places[0] / places[1]) ** 2 - 1))
    sizes = {
        "psi1, psi2": study.RATIOS,
        "eta/eta_c": multiples,
    }
    rival = {"expected": max(rivals), "within": 1e-9}
    return Evidence(0, max(gaps), 1e-10, "rounding, relative", sizes=sizes, **rival)


@claim(
    "spikes.gaussian_equivalence",
    statement="After a step of order one, ridge on the network's features has the risk "
    "of ridge on mu1 W1'x plus independent Gaussian noise of the size of the rest "
    "(eta up to 2)",
    source="paper BE22",
    uses=("thm-spikes-equivalence",),
    control="the noise left out: features mu1 W1'x alone",
)
def gaussian_equivalence(scale, broken, block):
    """Compare the two risks on the same first stages, relative, in the limit."""
    kind = "linear" if broken else "gaussian"
    network, other = (
        study.small_steps(scale, block, features=name).sel(eta=[0.0, 1.0, 2.0])
        for name in ("network", kind)
    )
    gaps = (network - other) / other.mean("seed")
    rival = None
    if broken:
        whole, bare = (_over_penalties(network, rest=rest) for rest in (1.0, 0.0))
        rival = study.limit(whole / bare - 1)
    return agreement(study.limit(gaps), 0, LIMIT, network.attrs, rival)


def _closed(
    run: xr.DataArray,
    psi1: float,
    psi2: float,
    penalty: float,
    etas=None,
    rest: float = 1.0,
):
    """Return the closed form (d, eta) at the widths of ``run``, with a share ``rest`` of
    what the features have beyond their linear part.
    """
    etas = run.eta if etas is None else etas
    pair = theory.pair()
    cell = pair._replace(rest=rest * pair.rest), psi1, psi2, penalty
    return spikes_risk.small_step_risk(*cell, etas, psi2 * run.d)


def _over_penalties(run: xr.DataArray, *etas, **rest) -> xr.DataArray:
    closed = [_closed(run, 2.0, 1.0, x, *etas, **rest) for x in study.PENALTIES]
    return xr.concat(closed, run.penalty)


@claim(
    "spikes.risk",
    statement="The ridge risk after a step of order one is a closed form in the "
    "ratios, the penalty and the step, corrected for the network's own output (eta up "
    "to 2)",
    source="derived",
    uses=("thm-spikes-risk", "thm-spikes-output"),
    control="the closed form without the step",
)
def risk(scale, broken, block):
    """Compare nine mean risks with the closed form, in the limit."""
    run = study.small_steps(scale, block).sel(eta=[0.0, 1.0, 2.0])
    both = [_over_penalties(run, etas) for etas in (run.eta, 0 * run.eta)]
    ratio = run / both[broken]
    rival = study.limit(both[0] / both[1] - 1)
    return agreement(study.limit(ratio) - 1, 0, LIMIT, run.attrs, rival)


def _gains(risks: xr.DataArray) -> xr.DataArray:
    return -risks.diff("eta", label="upper")


def _closed_gains(runs: xr.DataArray, cells) -> xr.DataArray:
    closed = [_closed(runs, *cell, study.PENALTY) for cell in cells]
    return _gains(xr.concat(closed, "cell"))


@claim(
    "spikes.risk_monotone",
    statement="The risk falls with every increase of the step, by what the closed form "
    "says, also with much data (n/d = 2 and 10)",
    source="derived",
    uses=("thm-spikes-risk", "thm-spikes-gain"),
    control="labels shuffled in the first step: the spike is there, but does not point "
    "at the teacher",
)
def risk_monotone(scale, broken, block):
    """Compare the paired decreases between successive steps with the predicted ones."""
    labels = "shuffled" if broken else "true"
    runs = study.gains(scale, study.MUCH, block, labels)
    closed = _closed_gains(runs, study.MUCH)
    rival = study.limit(-closed)
    gaps = study.limit(_gains(runs) - closed)
    return agreement(gaps, 0, LIMIT, runs.attrs, rival)


@claim(
    "spikes.wide",
    statement="The gain of a step of order one dies with the width: it is the closed "
    "form's, for N/d up to 8",
    source="derived",
    uses=("thm-spikes-risk", "thm-spikes-gain"),
    control="the gain at N/d = 1 in place of each",
)
def wide(scale, broken, block):
    """Compare the paired gains with the closed ones."""
    runs = study.gains(scale, study.WIDE, block)
    closed = _closed_gains(runs, study.WIDE)
    used = xr.zeros_like(closed) + closed.isel(cell=0) if broken else closed
    rival = study.limit(closed - used)
    return agreement(
        study.limit(_gains(runs) - used),
        0,
        LIMIT,
        runs.attrs,
        rival,
    )


@claim(
    "spikes.no_gain",
    statement="A step of order one gains nothing if the teacher has no linear part "
    "(erf student, teacher |u|) or the student has none (|z|, teacher erf), and gains by "
    "the closed form when both have one",
    source="derived",
    uses=("thm-spikes-risk", "thm-spikes-gain"),
    control="the linear part put back: a ReLU teacher, (u + |u|)/2; an erf student",
)
def no_gain(scale, broken, block):
    """Take the paired gains, for the control compared with their closed form."""
    pairs = study.LINEAR_PART if broken else study.NO_LINEAR_PART
    run = study.no_linear_part(scale, block, pairs)
    gains, rival = study.limit(_gains(run)), None
    if broken:
        closed = [
            spikes_risk.small_step_risk(
                theory.pair(**links), 2.0, 1.0, study.PENALTY, run.eta, run.d
            )
            for links in pairs
        ]
        rival = study.limit(_gains(xr.concat(closed, run.pair)))
    return agreement(gains, 0, LIMIT, run.attrs, rival)


@claim(
    "spikes.linear_floor",
    statement="After a step of order one the closed form of the risk is never below "
    "that of the best linear predictor, |P_{>1} f*|^2",
    source="consistency",
    uses=("thm-spikes-risk", "thm-spikes-barrier"),
    control="a step of order sqrt(N), beyond the closed form: the simulated risk",
)
def linear_floor(scale, broken, block):
    """Take the smallest risk over floor, of the closed form on a wide grid; for the
    control the mean of simulations at n = 20 d, expected to be the conditional
    equivalent's to 1/d and 4 standard errors.
    """
    pair = theory.pair()
    found = {"relation": "at least", "reason": "rounding: the inequality is exact"}
    if broken:
        run = spikes_large.giant_steps(scale, block, 20.0)
        predicted = given_weights(scale, block, run.attrs, {}, 2.0).squeeze("psi1")
        risks = run.sel(etabar=2.0)
        error = (risks - predicted).std() / risks.size**0.5
        found["sizes"] = run.attrs | {"etabar": 2.0}
        found["expected"] = predicted.mean() / pair.floor
        found["within"] = 4 * error / pair.floor + 1 / run.attrs["d"]
        return Evidence(1, risks.mean() / pair.floor, 1e-9, **found)
    etas = np.array([0.0, 1.0, 10.0, 1e4])
    ratios = (0.5, 2.0, 50.0, 1e4), (0.3, 1.0, 3.0)
    cells = list(itertools.product(*ratios, (1e-6, 1e-3, 0.1, 1.0)))
    risks = [spikes_risk.small_step_risk(pair, *cell, etas) for cell in cells]
    found["sizes"] = {"formula cells": len(cells)}
    return Evidence(1, np.min(risks) / pair.floor, 1e-9, **found)


@claim(
    "spikes.kernel_floor",
    statement="Without a step no kernel of the family passes the floor, at its best "
    "penalty: the conjugate kernel, the neural tangent kernel, and a smooth kernel of "
    "the inner product (n = 10 d)",
    source="paper BE22",
    uses=("thm-spikes-kernels",),
    control="samples beyond proportion to the inputs, as a power of them: d = 4",
)
def kernel_floor(scale, broken, block):
    """Take the smallest risk over floor, less one. Of the control the side alone is
    expected: n samples determine polynomials of no more than n coefficients, so the risk
    lies between what the teacher has beyond their degree and the floor.
    """
    run = spikes_large.without_a_step(scale, block, 4 if broken else None)
    floor = theory.pair().floor
    leads = run / floor - 1
    if not broken:
        return order(leads, run.attrs)
    d = run.attrs["d"]
    n = d * run.attrs["psi1"]
    degree = max(k for k in range(60) if comb(d + k, k) <= n)
    name, tau = study.ERF3
    learned = LINKS[name].hermite(degree, tau)[2:]
    middle = xr.full_like(leads[0], -(learned @ learned) / (2 * floor))
    found = order(leads, run.attrs, middle)
    return roughly(found, 1)


@claim(
    "spikes.sample_reuse",
    statement="Ridge on the sample of the first step has a higher risk than ridge on a "
    "fresh one (n = 2d, eta = 4, penalty 1)",
    source="observed",
    uses=("thm-spikes-risk",),
    control="no step: the first sample has left no trace in the weights",
    blunt="against no effect an order is as sharp as the quantile of its noise",
)
def sample_reuse(scale, broken, block):
    """Take the paired difference at the larger size."""
    cell = {"penalty": 1.0, "eta": 0.0 if broken else 4.0}
    reused = study.small_steps(scale, block, reuse=True)
    leads = (reused - study.small_steps(scale, block)).sel(cell)
    leads = leads.isel(d=-1)
    rival = 0 * leads
    return order(leads, reused.attrs | cell, rival)
