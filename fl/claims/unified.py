"""Claims of the chapter on preconditioned first steps.

As in `fl.claims.single_index`, each mean of draws in d and in d/2 dimensions loses the
term in 1/d and is judged in its own standard error; a control puts a rival's prediction
in the place of ours, and is expected to be off by the difference of the two.
"""

from dataclasses import replace

import numpy as np
import xarray as xr

from fl.claims.single_index import compare, limits
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
    uses=("thm-unified-spike", "thm-unified-overlap"),
    control="the same formulas for a step without a preconditioner",
)
def spike(scale, broken, block):
    """Place and overlap in four problems."""

    def predict(problem, case, data):
        _, p, layer = case
        places = (
            place(spiked(problem, problem.s**q, layer), data.eta) for q in (p, 0.0)
        )
        yield from zip((data.s1, data.teacher), *places, strict=True)

    return compare(study.spikes(scale, block), predict, broken)


@claim(
    "unified.half_invariance",
    statement="At p = -1/2 the direction has the same length under every covariance and "
    "for every teacher, and with it the spike of the weights the same threshold, place and "
    "overlap with the direction",
    source="derived",
    uses=("thm-unified-half", "thm-unified-spike", "thm-unified-overlap"),
    control="p = 0, the plain gradient",
)
def half_invariance(scale, broken, block):
    """Compare the mean squared length with that under isotropic inputs, and in networks
    place and overlap of the spike, which follow from it, just above their threshold.
    """
    p = 0.0 if broken else -0.5

    def predict(problem, _, data):
        own = spiked(problem, problem.s**p).square.sum() ** 0.5
        _, plain = spikes.strengths(problem.pair, problem.psi1, 1.0)
        if "s1" in data:
            yield from _isotropic(problem, data, data.eta * own, data.eta * plain)
        else:
            yield (
                data.square.values @ (problem.pair.mu1 * problem.s**p / plain) ** 2,
                (own / plain) ** 2,
                1.0,
            )

    return compare(
        study.gradients(scale, block) + study.spikes(scale, block, study.HALVES, p=p),
        predict,
        broken,
    )


def _isotropic(problem, data, *strengths):
    """Yield place and overlap of the spike, and both for two ``strengths``, those of a
    step under isotropic inputs.
    """
    yield data.s1, *spikes.location(strengths, problem.psi2)
    yield data.step, *spikes.left_overlap(strengths, problem.psi2)


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
        mu1s = problem.pair.mu1s
        along = mu1s * problem.energy
        entries = (
            data.along.values,
            data.square.values,
            along,
            mu1s * along / best_filter(problem)[0],
            mu1s * problem.s * along,
        )
        bands = (np.array_split(part, 5, axis=-1) for part in entries)
        for band in zip(*bands, strict=True):
            means, squares, m, q, rival = (part.sum(-1) for part in band)
            yield 1 + squares / q - means / m, 1.0, rival / q

    return compare(study.gradients(scale, block), predict, broken)


@claim(
    "unified.empirical",
    statement="With (Σ̂ + λ)^-1, Σ̂ of the same sample, the spike of the weights is the "
    "ridge estimator: its place, its overlap with that estimator, and how well this "
    "aligns with the teacher are closed forms",
    source="derived",
    uses=(
        "thm-unified-spike",
        "thm-single_index-kfac",
        "thm-unified-own",
        "thm-unified-overlap",
    ),
    control="the true covariance: (Σ + λ)^-1 in the networks, and the best filter's "
    "alignment",
)
def empirical(scale, broken, block):
    """Place and overlap of the spike of networks; alignment of two estimators."""

    def predict(problem, _, data):
        if "s1" in data:
            known = spiked(problem, 1 / (problem.s + data.damping)).square.sum() ** 0.5
            yield from _isotropic(problem, data, study.STRENGTH, data.eta * known)
        else:
            _, wrong = best_filter(problem)
            yield data.plain, problem.own(data.damping).cos2, wrong
            yield data.own, best_own(problem)[1], wrong

    return compare(
        study.damped(scale, block) + study.gradients(scale, block),
        predict,
        broken,
    )


def _order(pairs, predict, broken) -> Evidence:
    """Judge the leads that ``predict`` yields, expected as predicted if ``broken``."""
    draws, predicted, _ = zip(*limits(pairs, predict), strict=True)
    return order(
        xr.DataArray(list(draws), dims=("cell", "seed")),
        pairs[0][0].data.attrs | {"cells": len(draws)},
        np.concatenate(predicted),
    )


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

    def predict(problem, _, data):
        yield (
            (data.other if broken else data.own) - data.known,
            other(problem, data.damping).cos2 - best_filter(problem)[1],
            0.0,
        )

    return _order(study.gradients(scale, block), predict, broken)


def _closed(problem, data) -> list:
    """Return the closed risks of the steps."""
    return [
        closed_risk(problem, problem.s**p, data.penalty, eta)
        for p, eta in zip(data.exponents, data.etas, strict=True)
    ]


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
        for k in (1, 2, 3):
            yield seen[0] - seen[k], closed[0] - closed[k], closed[0] - closed[4 - k]

    return compare(study.risks(scale, block), predict, broken)


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

    def predict(problem, _, data):
        closed = _closed(problem, data)
        yield np.diff(data.risk)[:, -1], closed[-1] - closed[-2], 0.0
        if not broken:
            yield np.diff(data.s1)[:, -1], 0.0, 0.0

    pair = study.risks(scale, block)[-1 if broken else 0]
    found = _order([pair], predict, broken)
    # the closed risk is that of small steps: here its lead is right to a factor two
    return replace(found, within=found.within + abs(found.expected or 0))


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
    roots = (s ** (p / 2) for p in study.POWERS)
    apart = max(s @ (root - 1) ** 2 / (s @ root**2) for root in roots) ** 0.5
    return Evidence(
        0,
        run.gap.max(),
        1e-10,
        "rounding, relative",
        sizes=run.attrs,
        expected=apart,
        # the start decides: a few steps move a small share of the weights
        within=0.2 * apart,
    )
