"""Claims of the chapter on one gradient step and a single-index teacher.

Each compares the means of draws with predictions, cell by cell, and shows the cell that
lies farthest off in its own tolerance: a quantile of Student's law times the cell's own
standard error, so that noise alone fails a claim once in 100 times over all its cells,
plus what finite sizes may do. A control puts a rival's prediction in the place of ours,
and says how far off the rival must be if we are right.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fl import numerics
from fl.evidence import Evidence, claim
from fl.studies import single_index as study
from fl.theory import single_index as theory
from fl.theory import single_index_batch as own

LEVEL = 0.01  # at which noise alone fails a claim


class Trial(NamedTuple):
    """A mean of ``number`` draws, its standard error, and two predictions of it."""

    mean: float
    error: float
    number: int
    predicted: float
    rival: float


def trial(draws, predicted: float, rival: float) -> Trial:
    """Return the mean of ``draws``, a labelled array, over all of it, with what is
    ``predicted`` and what a ``rival`` has in its place.
    """
    flat = draws.stack(draw_=draws.dims)
    error = numerics.standard_error(flat, "draw_")
    return Trial(float(flat.mean()), float(error), flat.size, predicted, rival)


def worst(
    trials: list[Trial], cells: list, finite: float, why: str, broken: bool
) -> Evidence:
    """Return the trial that lies farthest off in its own tolerance.

    Args:
        trials: of one claim.
        cells: of the study, for the sizes.
        finite: what the finite size may do to a mean.
        why: says where ``finite`` comes from.
        broken: holds the trials against the rival.
    """
    from scipy.stats import t

    array = np.array(trials)
    mean, error, number, predicted, rival = array.T
    gaps = mean - rival if broken else mean - predicted
    side = LEVEL / len(trials) / 2
    quantiles = t.ppf(1 - side, number - 1)
    tolerances = quantiles * error + finite
    scores = np.abs(gaps) / tolerances
    k = scores.argmax()
    first = cells[0].data
    sizes = first.attrs | {"cells": len(trials)}
    sizes["n"] = [cell.data.n for cell in cells]
    lead = predicted[k] - rival[k]
    return Evidence(
        predicted=0.0,
        measured=gaps[k],
        tolerance=tolerances[k],
        reason=f"Student's quantile, {LEVEL:g} over all cells, times the standard error "
        f"of the worst cell, and {why}",
        standard_error=error[k],
        sizes=sizes,
        expected=lead if broken else None,
        within=tolerances[k],
    )


def compare(
    cells: list, predict: Callable, broken: bool, constant: float = 2.0
) -> Evidence:
    """Return the evidence of `worst` for all draws of ``cells``.

    Args:
        cells: of the study.
        predict: of task, gamma and data: yields draws, their prediction and the
            rival's.
        broken: holds the draws against the rival.
        constant: of the finite-size rate 1/d.
    """
    trials = [trial(*three) for cell in cells for three in predict(*cell)]
    d = cells[0].data.d
    why = f"the finite-size rate {constant:g}/d"
    return worst(trials, cells, constant / d, why, broken)


def _filters(cells, formula, level, rival, other, broken) -> Evidence:
    # a formula(s, b, gamma, rho or nu, label) for every member, and that of the rival
    def predict(task, gamma, data):
        s, b = theory.weights(task)
        m = theory.moments(task)
        right_level, rival_level = getattr(m, level), getattr(m, other)
        for member, draws in zip(data.members, data.alignment.T, strict=True):
            right = formula(s, b, gamma, right_level, member)
            wrong = rival(s, b, gamma, rival_level, member)
            yield draws, right.cos2, wrong.cos2

    return compare(cells, predict, broken)


@claim(
    "single_index.population_power",
    statement="the step filtered by the power Σ^p of the true covariance aligns with "
    "the teacher as the bias-variance formula in p, d/n and the label's second moment "
    "says",
    source="derived",
    control="the formula for the power of the batch's own covariance",
)
def population_power(scale, broken, block):
    """Three teachers, three sample sizes (the rival needs n > d), four powers."""
    cells = study.filters(scale, block, "population")
    if broken:
        cells = [cell for cell in cells if cell.gamma < 1]
    formula = theory.population_power, "nu"
    rival = (own.sample_power, "rho") if broken else formula
    return _filters(cells, *formula, *rival, broken)


@claim(
    "single_index.kfac",
    statement="the step preconditioned by the damped covariance of the same batch, "
    "(Σ̂ + λ)^-1, aligns with the teacher as the ridge formula with the effective "
    "κ(λ) says",
    source="derived",
    control="the formula for the same filter of the true covariance",
)
def kfac(scale, broken, block):
    """Three teachers, three sample sizes, dampings 0 (where n > d), 0.1 and 1."""
    cells = study.filters(scale, block, "kfac")
    return _filters(cells, own.kfac, "rho", _known_damped, "nu", broken)


def _known_damped(s, b, gamma, nu, damping) -> theory.Direction:
    return theory.population_filter(s, b, gamma, nu, 1 / (s + damping))


@claim(
    "single_index.sample_power",
    statement="the step filtered by the power Σ̂^p of the batch's own covariance "
    "aligns with the teacher as a contour integral over its spectrum says",
    source="derived",
    control="the formula for the power of the true covariance",
)
def sample_power(scale, broken, block):
    """Three teachers, two sample sizes n > d, the powers -1/2 and 1/2: at -1 and 0 the
    integral is a formula that another claim tests.
    """
    cells = study.filters(scale, block, "sample")
    rival = theory.population_power, "nu"
    return _filters(cells, own.sample_power, "rho", *rival, broken)


@claim(
    "single_index.best_damping",
    statement="for an evenly spread teacher the damping that aligns best is (d/n) ρ, "
    "whatever the covariance",
    source="derived",
    control="(d/n) ν, the best damping of the true covariance",
)
def best_damping(scale, broken, block):
    """The top of a parabola through three dampings a factor 2 apart, on the same
    batches, in units of log2, against that of the formula's values.
    """
    cells, trials = study.near_dampings(scale, block), []
    for task, gamma, data in cells:
        m = theory.moments(task)
        steps = [own.first_step(task, gamma, damping) for damping in data.members]
        predicted = study.turning_point([step.cos2 for step in steps])
        rival = np.log2(m.nu / m.rho)
        trials.append(_top(data, predicted, rival))
    return _tops(trials, cells, broken, constant=4)


@claim(
    "single_index.best_exponent",
    statement="for a teacher with weights like s^r the power Σ^p that aligns best, "
    "which runs from p = -1 without noise to p = r in noise alone, is the optimum of "
    "the formula",
    source="derived",
    control="p = r at every level of noise",
)
def best_exponent(scale, broken, block):
    """The top of a parabola through three exponents `study.GAP` apart, on the same
    batches, relative to the middle one, against that of the formula's values.
    """
    cells, trials = study.near_exponents(scale, block), []
    for task, gamma, data in cells:
        s, b = theory.weights(task)
        nu = theory.moments(task).nu
        powers = [theory.population_power(s, b, gamma, nu, p) for p in data.members]
        predicted = study.turning_point([power.cos2 for power in powers])
        rival = study.SPECTRAL_WEIGHT - data.members[1]
        trials.append(_top(data, study.GAP * predicted, rival, unit=study.GAP))
    return _tops(trials, cells, broken, constant=3)


def _top(data, predicted, rival, unit=1.0) -> Trial:
    found, error = study.vertex(data.alignment)
    number = data.alignment[..., 0].size
    return Trial(unit * found, unit * error, number, predicted, rival)


def _tops(trials, cells, broken, constant) -> Evidence:
    d = cells[0].data.d
    why = f"the finite-size rate {constant}/d"
    return worst(trials, cells, constant / d, why, broken)


@claim(
    "single_index.whitening_crossing",
    statement="whitening by the true covariance and by the batch's own align equally "
    "well at d/n = τ²/(τ² + ρ)",
    source="derived",
    control="ν in place of ρ",
)
def whitening_crossing(scale, broken, block):
    """The paired difference of the two alignments at the predicted sample size, three
    problems.
    """
    pairs = study.at_crossing(scale, block, "nu" if broken else "rho")
    cells, trials = [batch for _, batch in pairs], []
    for known, batch in pairs:
        aligned = known.data.alignment[..., 0]
        aligned_by_batch = batch.data.alignment[..., 0]
        gap = aligned - aligned_by_batch
        task, gamma, _ = batch
        s, b = theory.weights(task)
        m = theory.moments(task)
        by_known = theory.population_power(s, b, gamma, m.nu, -1)
        by_batch = own.kfac(s, b, gamma, m.rho, 0)
        lead = by_known.cos2 - by_batch.cos2
        trials.append(trial(gap, lead, 0.0))
    rests = [cell.data.n - cell.data.d - 1 for cell in cells]
    finite = 0.25 / min(rests)
    why = "a quarter of the finite-size factor 1/(n - d - 1)"
    return worst(trials, cells, finite, why, broken)
