"""Claims of the chapter on one gradient step and a single-index teacher.

Each compares the means of draws with predictions, cell by cell, in d and in d/2
dimensions: twice the first gap minus the second has lost what a finite d does to first
order, and is judged in its own standard error. A control puts a rival's prediction in
the place of ours, and is expected to be off by the difference of the two.
"""

from collections.abc import Callable

import numpy as np
import xarray as xr

from fl import judging
from fl.evidence import Evidence, claim
from fl.studies import single_index as study
from fl.theory import single_index as theory
from fl.theory import single_index_batch as own


def limits(pairs: list, predict: Callable) -> list[tuple]:
    """Return, for everything that ``predict`` yields, three values extrapolated from d/2
    and d: the draws (draw,), the prediction, and the rival's.

    Args:
        pairs: cells of a study, at d and at d/2.
        predict: of task, gamma and data: yields draws, their prediction and the rival's.
    """
    found = []
    for big, small in pairs:
        at_d = predict(*big)
        at_half = predict(*small)
        for both in zip(at_d, at_half, strict=True):
            values = zip(*both, strict=True)
            found.append([_extrapolated(*value) for value in values])
    return found


def _extrapolated(at_d, at_half):
    # what a finite d does to a mean is lost to first order in 1/d
    return 2 * np.ravel(at_d) - np.ravel(at_half)


def judge(found: list, pairs: list, broken: bool) -> Evidence:
    """Return the evidence of all that `limits` has ``found`` in the cells ``pairs``.

    The means are held against the rivals if ``broken``, and then expected to be off by
    the difference of the two predictions.
    """
    lengths = [len(draws) for draws, _, _ in found]
    number = min(lengths)
    gaps, leads = [], []
    for draws, right, wrong in found:
        taken = wrong if broken else right
        groups = (draws - taken).reshape(number, -1)
        gaps.append(groups.mean(1))
        leads.append((right - wrong).item())
    rival = xr.DataArray(leads, dims="cell")
    sizes = pairs[0][0].data.attrs | {"cells": len(gaps)}
    sizes["n"] = [big.data.n for big, _ in pairs]
    labelled = xr.DataArray(gaps, dims=("cell", "seed"))
    why = "none: d/2 and d, extrapolated"
    return judging.agreement(labelled, 0.0, why, sizes, rival)


def compare(pairs: list, predict: Callable, broken: bool) -> Evidence:
    """Return the evidence of `judge` for all that ``predict`` yields in the cells
    ``pairs``, held against the rival if ``broken``.
    """
    found = limits(pairs, predict)
    return judge(found, pairs, broken)


def filtered(formula: Callable, level: str, rival: Callable, other: str) -> Callable:
    """Return what predicts the alignment of every member of a family of filters.

    Args:
        formula: of s, b, gamma, ``level`` and the member.
        level: names the moment of the label in the formula.
        rival: another formula.
        other: names its moment.
    """

    def predict(task, gamma, data):
        s, b = theory.weights(task)
        m = theory.moments(task)._asdict()
        ours = m[level]
        theirs = m[other]
        for i, member in enumerate(data.members):
            right = formula(s, b, gamma, ours, member)
            wrong = rival(s, b, gamma, theirs, member)
            yield data.alignment[..., i], right.cos2, wrong.cos2

    return predict


def _known_damped(s, b, gamma, nu, damping) -> theory.Direction:
    return theory.population_filter(s, b, gamma, nu, 1 / (s + damping))


_KNOWN = theory.population_power, "nu"
POPULATION = filtered(*_KNOWN, *_KNOWN)
KFAC = filtered(own.kfac, "rho", _known_damped, "nu")
SAMPLE = filtered(own.sample_power, "rho", *_KNOWN)


@claim(
    "single_index.population_power",
    statement="the step filtered by the power Σ^p of the true covariance aligns with "
    "the teacher as the bias-variance formula in p, d/n and the label's second moment "
    "says",
    source="derived",
    uses=("thm-single_index-population",),
    control="the formula for the power of the batch's own covariance",
)
def population_power(scale, broken, block):
    """Three teachers, three sample sizes (the rival needs n > d), four powers."""
    pairs = study.filters(scale, block, "population")
    predict = POPULATION
    if broken:
        pairs = [pair for pair in pairs if pair[0].gamma < 1]
        predict = filtered(*_KNOWN, own.sample_power, "rho")
    return compare(pairs, predict, broken)


@claim(
    "single_index.kfac",
    statement="the step preconditioned by the damped covariance of the same batch, "
    "(Σ̂ + λ)^-1, aligns with the teacher as the ridge formula with the effective "
    "κ(λ) says",
    source="derived",
    uses=("thm-single_index-kfac",),
    control="the formula for the same filter of the true covariance",
)
def kfac(scale, broken, block):
    """Three teachers, three sample sizes, dampings 0 (where n > d), 0.1 and 1."""
    return compare(study.filters(scale, block, "kfac"), KFAC, broken)


@claim(
    "single_index.sample_power",
    statement="the step filtered by the power Σ̂^p of the batch's own covariance "
    "aligns with the teacher as a contour integral over its spectrum says",
    source="derived",
    uses=("thm-single_index-sample",),
    control="the formula for the power of the true covariance",
)
def sample_power(scale, broken, block):
    """Three teachers, two sample sizes n > d, the powers -1/2 and 1/2: at -1 and 0 the
    integral is a formula that another claim tests.
    """
    return compare(study.filters(scale, block, "sample"), SAMPLE, broken)


@claim(
    "single_index.best_damping",
    statement="for an evenly spread teacher the damping that aligns best is (d/n) ρ, "
    "whatever the covariance",
    source="derived",
    uses=("thm-single_index-damping",),
    control="(d/n) ν, the best damping of the true covariance",
)
def best_damping(scale, broken, block):
    """The top of a parabola through three dampings a factor 2 apart, on the same
    batches, in units of log2, against that of the formula's values.
    """
    return compare(study.near_dampings(scale, block), top_damping, broken)


def top_damping(task, gamma, data):
    """Yield where the alignment over dampings turns, its prediction and the rival's;
    ``task``, ``gamma`` and ``data`` are of a cell.
    """
    m = theory.moments(task)
    steps = [own.first_step(task, gamma, damping) for damping in data.members]
    top = study.turning_point([step.cos2 for step in steps])
    rival = np.log2(m.nu / m.rho)
    yield _tops(data.alignment, top), top, rival


@claim(
    "single_index.best_exponent",
    statement="for a teacher with weights like s^r the power Σ^p that aligns best, "
    "which runs from p = -1 without noise to p = r in noise alone, is the optimum of "
    "the formula",
    source="derived",
    uses=("thm-single_index-population",),
    control="p = r at every level of noise",
)
def best_exponent(scale, broken, block):
    """The top of a parabola through three exponents `study.GAP` apart, on the same
    batches, relative to the middle one, against that of the formula's values.
    """
    return compare(study.near_exponents(scale, block), top_exponent, broken)


def top_exponent(task, gamma, data):
    """Yield where the alignment over exponents turns, its prediction and the rival's;
    ``task``, ``gamma`` and ``data`` are of a cell.
    """
    s, b = theory.weights(task)
    nu = theory.moments(task).nu
    powers = [theory.population_power(s, b, gamma, nu, p) for p in data.members]
    top = study.turning_point([found.cos2 for found in powers])
    rival = study.SPECTRAL_WEIGHT - data.members[1]
    rival /= study.GAP
    yield _tops(data.alignment, top), top, rival


def _tops(curves, top: float) -> np.ndarray:
    # draws whose mean is where the parabola through the mean of the curves (.., 3) at
    # -1, 0, 1 turns: the ratio of two means, linear in both around its value ``top``
    left, middle, right = np.moveaxis(curves.values, -1, 0)
    bend = left - 2 * middle + right
    slope = (left - right) / 2
    off = slope - top * bend
    return top + off / bend.mean()


@claim(
    "single_index.whitening_crossing",
    statement="whitening by the true covariance and by the batch's own align equally "
    "well at d/n = τ²/(τ² + ρ)",
    source="derived",
    uses=("thm-single_index-population", "thm-single_index-kfac"),
    control="ν in place of ρ",
)
def whitening_crossing(scale, broken, block):
    """The paired difference of the two alignments at the predicted sample size, three
    problems.
    """
    pairs = study.at_crossing(scale, block, "nu" if broken else "rho")
    return compare(paired(pairs), lead_of_known, broken)


def lead_of_known(task, gamma, data):
    """Yield the lead of whitening by the true covariance, its prediction and none;
    ``task``, ``gamma`` and ``data`` are of a cell.
    """
    s, b = theory.weights(task)
    m = theory.moments(task)
    by_known = theory.population_power(s, b, gamma, m.nu, -1)
    by_batch = own.kfac(s, b, gamma, m.rho, 0)
    lead = by_known.cos2 - by_batch.cos2
    yield data.gap, lead, 0.0


def paired(pairs: list) -> list:
    """Return the first half of the cells ``pairs`` of `study.at_crossing`, each with the
    ``gap`` to its other half.
    """
    half = len(pairs) // 2
    return [
        [_beside(*both) for both in zip(known, batch, strict=True)]
        for known, batch in zip(pairs[:half], pairs[half:], strict=True)
    ]


def _beside(known, batch):
    # the first cell with the paired difference to the second
    aligned = known.data.alignment
    other = batch.data.alignment
    gap = aligned.copy(data=aligned.values - other.values)
    return known._replace(data=known.data.assign(gap=gap))
