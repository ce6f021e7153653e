"""Claims of the chapter on the first step, third part: large steps."""

from collections.abc import Callable
from itertools import zip_longest

import numpy as np
import xarray as xr

from fl.claims.spikes import LIMIT
from fl.evidence import Evidence, claim
from fl.judging import agreement, order
from fl.studies import spikes_large as study
from fl.studies.spikes import exponents, limit
from fl.theory import spikes as theory
from fl.theory import spikes_conditional, spikes_risk


def _below(scale, block, pairs, etabar: float, rival: Callable) -> Evidence:
    """Return the evidence that all ``pairs`` are below the floor at n/d = 20 and 40;
    ``rival`` predicts the risks (psi1,) of a run.
    """
    leads, others = [], []
    for links in pairs:
        run = study.in_window(scale, block, etabar, (20.0, 40.0), **links)
        floor = theory.pair(**links).floor
        leads.append(1 - run / floor)
        others.append(1 - rival(run, links) / floor)
    sizes = run.attrs | {"pairs": pairs, "etabar": etabar}
    # the predictions are those of infinite d, right to 1/d of a risk
    bias = 1 / run.attrs["d"]
    return order(xr.concat(leads, "pair"), sizes, xr.concat(others, "pair"), bias)


def given_weights(
    scale, block, sizes: dict, links: dict, etabar: float, penalties: tuple = ()
) -> xr.DataArray:
    """Return the risks (psi1, seed) that the conditional equivalent predicts.

    Args:
        scale: of the first layers.
        block: of their seeds.
        sizes: d, ``psi1``, one or several, and the number of ``seeds``.
        links: ``student`` and ``teacher``, each ``(name, tau)``.
        etabar: eta / sqrt(N).
        penalties: one for each psi1; `study.PENALTY` without any.
    """
    cells = [(psi1, etabar) for psi1 in np.atleast_1d(sizes["psi1"]).tolist()]
    fixed = {"d": sizes["d"], "number": sizes["seeds"], "draws": 1}
    runs = study.layers(scale, block, tuple(cells), **fixed, **links)
    found = []
    for run, penalty in zip_longest(runs, penalties, fillvalue=study.PENALTY):
        found.append(spikes_conditional.predicted(run.assign_attrs(penalty=penalty)))
    return xr.concat(found, "psi1")


def _small(run: xr.DataArray, links: dict) -> xr.DataArray:
    """Return the closed form (psi1,) of a step of order one in the cells of ``run``."""
    width = 2 * run.attrs["d"]
    eta = run.attrs["etabar"] * width**0.5
    cells = zip(run.psi1.values, run.attrs["penalties"], strict=True)
    risks = [
        spikes_risk.small_step_risk(
            theory.pair(**links), psi1, 2.0, penalty, eta, width
        )
        for psi1, penalty in cells
    ]
    return xr.DataArray(risks, {"psi1": run.psi1})


@claim(
    "spikes.large_step_beats_floor",
    statement="With eta = 2 sqrt(N) and a penalty inside the theorem's window the same "
    "ridge goes below the linear floor: erf for erf(z) and erf(3z), tanh for tanh (n/d = "
    "20 and 40)",
    source="observed",
    uses=("thm-spikes-large",),
    control="a step of order one, eta = 0.1 sqrt(N)",
)
def large_step_beats_floor(scale, broken, block):
    """Take the lead of the floor, in its worst cell."""
    return _below(scale, block, study.BELOW, 0.1 if broken else 2.0, _small)


@claim(
    "spikes.large_step_not_odd",
    statement="A student that is neither odd nor smooth can pass the floor as well: ReLU "
    "for a ReLU teacher, outside the theorem's hypotheses",
    source="observed",
    uses=("thm-spikes-large",),
    control="a ReLU student of an odd teacher, erf(3z)",
)
def large_step_not_odd(scale, broken, block):
    """Take the lead of the floor, in its worst cell; for the control it is that of the
    conditional equivalent.
    """

    def equivalent(run, links):
        found = given_weights(scale, block, run.attrs, links, 2.0, run.penalties)
        return found.mean("seed").assign_coords(psi1=run.psi1)

    pairs = [study.NEVER[1] if broken else study.RELUS]
    return _below(scale, block, pairs, 2.0, equivalent if broken else _small)


@claim(
    "spikes.large_step_rate",
    statement="Where one step can write the teacher exactly (erf student, teachers erf(z) "
    "and erf(3z)) the risk after a large step falls with the samples at a rate nearer to "
    "d/n than to sqrt(d/n), for penalties inside the theorem's window",
    source="observed",
    uses=("thm-spikes-large",),
    control="a step of order one, eta = 0.1 sqrt(N): the floor is in the way",
)
def large_step_rate(scale, broken, block):
    """Take the lead of the exponent of the risk in n/d, over 10 to 80, on the middle of
    the two rates of the theorem, -3/4.
    """
    leads, small = [], []
    for links, etabar in zip(study.BELOW[:2], study.EXACT, strict=True):
        run = study.in_window(scale, block, 0.1 if broken else etabar, **links)
        leads.append(-0.75 - exponents(run, "psi1"))
        small.append(-0.75 - exponents(_small(run, links), "psi1"))
    rival = xr.concat(small, "teacher")
    sizes = run.attrs | {"etabars": study.EXACT}
    # of both ends of a slope, in logarithms
    bias = 2 / (run.attrs["d"] * np.log(run.psi1[-1] / run.psi1[0]).item())
    return order(xr.concat(leads, "teacher"), sizes, rival, bias)


@claim(
    "spikes.departure",
    statement="The step at which features together come to hold a polynomial of degree k "
    "of X'y moves with the width like N^((k-1)/2k), not like sqrt(N): its exponent is "
    "nearer to the first, for k = 2 (ReLU) and k = 3 (erf), over a factor of four in N",
    source="derived",
    uses=("thm-spikes-staircase",),
    control="neurons one by one: the share that a single feature holds",
)
def departure(scale, broken, block):
    """Take the lead of the exponent in N of the spread ``|W1'b|^2``, which is eta^2 up to
    factors and the start: on the middle between (k-1)/k and 1.
    """
    leads = []
    share = "alone" if broken else "together"
    for degree in study.DEGREES:
        runs = study.staircase(scale, degree, block)
        slopes = study.spread_exponent(runs, share)
        leads.append(1 - 1 / (2 * degree) - slopes)
    rival = [-1 / (2 * k) for k in study.DEGREES]
    return order(
        xr.concat(leads, "degree"),
        runs[0].attrs,
        xr.DataArray(rival, dims="degree"),
        0.03,
    )


@claim(
    "spikes.parity",
    statement="No step of any size takes an odd student of a ReLU teacher, or a ReLU "
    "student of an odd teacher, below the linear floor",
    source="proved",
    uses=("thm-spikes-parity",),
    control="a ReLU student of a ReLU teacher",
)
def parity(scale, broken, block):
    """Take the smallest risk over floor, over all steps up to 4 sqrt(N) and every
    single draw. Draws scatter about the conditional equivalent of the control's largest
    step by a few per cent: 4 standard deviations, and 1/d.
    """
    ratios, expected, within = [], None, 0.0
    for links in [study.RELUS] if broken else study.NEVER:
        run = study.giant_steps(scale, block, 20.0, **links)
        floor = theory.pair(**links).floor
        ratios.append(run.min() / floor)
    if broken:
        predicted = given_weights(scale, block, run.attrs, links, 4.0).squeeze("psi1")
        expected = predicted.min() / floor
        apart = (run.sel(etabar=4.0) - predicted) / floor
        within = 4 * float(apart.std()) + 1 / run.attrs["d"]
    return Evidence(
        1,
        min(ratios),
        1e-9,
        "rounding: the inequality holds for each draw",
        relation="at least",
        sizes=run.attrs,
        expected=expected,
        within=within,
    )


@claim(
    "spikes.conditional_equivalent",
    statement="For steps of 0 to 8 sqrt(N) the risk tends to that of features which are "
    "Gaussian given the projection of the input on X'y",
    source="derived",
    uses=("thm-spikes-conditional",),
    control="Gaussian features without the condition: the closed form of a step of order "
    "one",
)
def conditional_equivalent(scale, broken, block):
    """Compare prediction and simulation on the same weights, in the limit."""
    sizes = study.layers_twice(scale, block)
    both = [_given(runs, broken) for runs in sizes]
    gaps, rivals = (
        limit(xr.concat(each, "d", coords="minimal"))
        for each in zip(*both, strict=True)
    )
    found = {"runs": [run[0].attrs for run in sizes], "cells": study.LAYERS}
    return agreement(gaps, 0, LIMIT, found, rivals)


def _given(runs: list, broken: bool) -> tuple:
    """Return the relative gaps (cell, seed) of the risks of ``runs`` to the prediction or
    its rival, and those of the prediction to its rival (cell,).
    """
    gaps, rivals = [], []
    for run in runs:
        d = run.attrs["d"]
        truth = spikes_conditional.predicted(run)
        psi1, psi2, penalty, eta = (run.attrs[name] for name in study.CELL)
        cell = theory.pair(), psi1, psi2, penalty, eta, d * psi2
        rival = truth.mean() / spikes_risk.small_step_risk(*cell) - 1
        risks = run.risk.mean("draw").drop_vars(["n", "etabar", "seed"])
        # what differs between weights is in both, and taken off
        gap = (risks - truth) / truth.mean()
        gaps.append(gap + rival if broken else gap)
        rivals.append(rival)
    return tuple(xr.concat(each, "cell").assign_coords(d=d) for each in (gaps, rivals))
