"""Claims of the chapter on preconditioned first steps.

As in `fl.claims.single_index`, each mean of draws in d and in d/2 dimensions loses the
term in 1/d and is judged in its own standard error; a control puts a rival's prediction
in the place of ours, and is expected to be off by the difference of the two.
"""

from dataclasses import replace

import numpy as np
import xarray as xr

from fl.claims.single_index import compare, judge, limits
from fl.evidence import Evidence, claim
from fl.judging import order
from fl.studies import unified as study
from fl.theory import spikes
from fl.theory.unified import best_filter, best_own, other
from fl.theory.unified_risk import risk as closed_risk
from fl.theory.unified_spike import spike as place
from fl.theory.unified_spike import spiked


@claim(
    "unified.spike",
    statement="After a step with Σ^p above the threshold the weights, and the weights "
    "as the features see them, have a spike at a closed place and with a closed "
    "overlap with the teacher",
    source="derived",
    uses=("thm-unified-spike",),
    control="the same formulas for a step without a preconditioner",
)
def spike(scale, broken, block):
    """Place and overlap in four problems."""

    def predict(problem, case, data):
        p, layer, _ = case
        models = [spiked(problem, problem.s**q, layer) for q in (p, 0.0)]
        places = [place(model, data.eta) for model in models]
        for seen, closed in zip(
            (data.s1, data.teacher), np.transpose(places), strict=True
        ):
            yield seen.values, *closed

    pairs = study.spikes(scale, block)
    return compare(pairs, predict, broken)


@claim(
    "unified.half_invariance",
    statement="At p = -1/2 the direction has the same length under every covariance and "
    "for every teacher, and with it the spike of the weights the same threshold, place and "
    "overlap with the direction",
    source="derived",
    uses=("thm-unified-half", "thm-unified-spike"),
    control="p = 0, the plain gradient",
)
def half_invariance(scale, broken, block):
    """Compare the mean squared length with that under isotropic inputs, and in networks
    place and overlap of the spike, which follow from it, just above their threshold.
    """
    p = 0.0 if broken else -0.5

    def squares(problem):
        numbers = problem.pair
        model = spiked(problem, problem.s**p)
        own = model.square.sum() / numbers.mu1**2
        return own, numbers.mu1s**2 + numbers.energy / problem.psi1

    def length(problem, _, data):
        own, plain = squares(problem)
        filter = problem.s**p
        seen = data.square.values @ filter**2
        yield seen / plain, own / plain, 1.0

    def network(problem, _, data):
        lengths = np.sqrt(squares(problem))
        strengths = data.eta * problem.pair.mu1 * lengths
        yield from _isotropic(problem, data, strengths)

    lengths = study.gradients(scale, block)
    networks = study.halves(scale, block, p)
    found = limits(lengths, length) + limits(networks, network)
    return judge(found, lengths + networks, broken)


def _isotropic(problem, data, strengths):
    """Yield place and overlap of the spike, and both for two ``strengths``, those of a
    step under isotropic inputs.
    """
    yield data.s1.values, *spikes.location(strengths, problem.psi2)
    yield data.step.values, *spikes.left_overlap(strengths, problem.psi2)


@claim(
    "unified.optimal_preconditioner",
    statement="The filter of Σ that aligns best, found from draws of the gradient, is "
    "1/(λ + γν/k), k the teacher's weight: (Σ + γν)^-1 for one spread evenly",
    source="proved",
    uses=("thm-unified-known",),
    control="Σ^-1, the best filter without noise",
)
def optimal_preconditioner(scale, broken, block):
    """The best filter that is constant on a band of eigenvalues is the ratio of two mean
    moments, here linear in both around its value; five bands.
    """

    def predict(problem, _, data):
        phi, _ = best_filter(problem)
        mu1s = problem.pair.mu1s
        along = mu1s * problem.energy
        closed = along, mu1s / phi * along, mu1s * problem.s * along
        seen = data.along.values, data.square.values
        rows = np.arange(len(phi))
        for band in np.array_split(rows, 5):
            m, q, rival = (part[band].sum() for part in closed)
            means, squares = (part[:, band].sum(1) for part in seen)
            gap = squares - q / m * means
            yield 1 + gap / q, 1.0, rival / q

    pairs = study.gradients(scale, block)
    return compare(pairs, predict, broken)


@claim(
    "unified.empirical",
    statement="With (Σ̂ + λ)^-1, Σ̂ of the same sample, the spike of the weights is the "
    "ridge estimator: its place, its overlap with that estimator, and how well this "
    "aligns with the teacher are closed forms",
    source="derived",
    uses=("thm-unified-spike", "thm-single_index-kfac", "thm-unified-own"),
    control="the true covariance: (Σ + λ)^-1 in the networks, and the best filter's "
    "alignment",
)
def empirical(scale, broken, block):
    """Place and overlap of the spike of networks; alignment of two estimators."""

    def network(problem, case, data):
        (damping,) = case
        known = spiked(problem, 1 / (problem.s + damping))
        strength = data.eta * known.square.sum() ** 0.5
        both = np.array([study.STRENGTH, strength])
        yield from _isotropic(problem, data, both)

    def estimator(problem, _, data):
        _, wrong = best_filter(problem)
        plain = problem.own(data.damping)
        _, best = best_own(problem)
        yield data.plain.values, plain.cos2, wrong
        yield data.own.values, best, wrong

    pairs = study.gradients(scale, block)
    networks = study.damped(scale, block)
    found = limits(networks, network) + limits(pairs, estimator)
    return judge(found, networks + pairs, broken)


def _order(found, pairs, named) -> Evidence:
    """Judge the leads among what was ``found``, expected as predicted if ``named``."""
    draws, predicted, _ = zip(*found, strict=True)
    leads = xr.DataArray(list(draws), dims=("cell", "seed"))
    closed = np.concatenate(predicted)
    expected = xr.DataArray(closed, dims="cell")
    (run, _), *_ = pairs
    sizes = run.data.attrs | {"cells": len(found)}
    return order(leads, sizes, expected if named else None)


@claim(
    "unified.same_sample",
    statement="The covariance of the sample that gives the gradient aligns better than "
    "the best filter of the true one, if both know equally much of the teacher",
    source="derived",
    uses=("thm-unified-own",),
    control="the covariance of another sample of the same size",
)
def same_sample(scale, broken, block):
    """The best filter of Σ against (Σ̂ + λ/k)^-1, on the same samples."""
    first = "other" if broken else "own"

    def predict(problem, _, data):
        damping, _ = best_own(problem)
        _, known = best_filter(problem)
        closed = other(problem, damping).cos2 - known
        lead = data[first] - data.known
        yield lead.values, closed, 0.0

    pairs = study.gradients(scale, block)
    return _order(limits(pairs, predict), pairs, broken)


def _closed(problem, data) -> np.ndarray:
    """Return the closed risks of the steps."""
    steps = zip(data.exponents, data.etas, strict=True)
    return np.array(
        [closed_risk(problem, problem.s**p, data.penalty, eta) for p, eta in steps]
    )


@claim(
    "unified.risk",
    statement="The ridge risk after a step with Σ^p, p = -1, 0, 1, of one strength in "
    "the features, is a closed form in spectrum, teacher, p and step",
    source="derived",
    uses=("thm-unified-risk",),
    control="the closed gain with the exponent -p",
)
def risk(scale, broken, block):
    """The risk without a step, and the paired gains of three steps."""

    def predict(problem, _, data):
        closed = _closed(problem, data)
        seen = data.risk.values.T
        yield seen[0], closed[0], closed[0]
        gains, drawn = closed[0] - closed, seen[0] - seen
        for k in (1, 2, 3):
            yield drawn[k], gains[k], gains[4 - k]

    pairs = study.risks(scale, block)
    return judge(limits(pairs, predict), pairs, broken)


@claim(
    "unified.visible",
    statement="A visible spike need not be a useful one: for a teacher on the weak "
    "directions p = 1 raises the larger singular value in the features, and p = -1 at "
    "the same step size leaves the smaller risk",
    source="observed",
    uses=("thm-unified-spike", "thm-unified-risk"),
    control="a teacher on the strong directions: the order of the risks",
)
def visible(scale, broken, block):
    """Two paired leads: of p = 1 in the singular value, of p = -1 in the risk."""
    pairs = study.risks(scale, block)
    pairs = pairs[-1:] if broken else pairs[:1]

    def predict(problem, _, data):
        *_, low, high = data.risk.values.T
        *_, closed_low, closed_high = _closed(problem, data)
        yield high - low, closed_high - closed_low, 0.0
        if not broken:
            *_, low, high = data.s1.values.T
            yield high - low, 0.0, 0.0

    found = _order(limits(pairs, predict), pairs, broken)
    if not broken:
        return found
    # the closed risk is that of small steps: here its lead is right to a factor two
    return replace(found, within=found.within + abs(found.expected))


@claim(
    "unified.p_isotropic_identity",
    statement="A network started with W0 = P^(1/2) V0 and trained with the "
    "preconditioner P on x is the network started with V0 and trained plainly on "
    "P^(1/2) x, in all its layers and at every step",
    source="proved",
    uses=("thm-unified-identity",),
    control="the isotropic start W0 = V0",
)
def p_isotropic_identity(scale, broken, block):
    """Take the largest relative gap between the preactivations of the two."""
    run = study.twins(scale, block, matched=not broken)
    s = study.FLAT.at(run.d).s
    roots = [s ** (p / 2) for p in study.POWERS]
    apart = max(s @ (root - 1) ** 2 / (s @ root**2) for root in roots)
    return Evidence(
        0,
        float(run.gap.max()),
        1e-10,
        "rounding, relative",
        sizes=run.attrs,
        expected=apart**0.5 if broken else None,
        # the start decides: a few steps move a small share of the weights
        within=0.2 * apart**0.5,
    )
