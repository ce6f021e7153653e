"""Claims of the chapter on preconditioned first steps.

As in `fl.claims.single_index`, each mean of draws in d and in d/2 dimensions loses the
term in 1/d and is judged in its own standard error; a control puts a rival's prediction
in the place of ours, and is expected to be off by the difference of the two.
"""

import numpy as np
import xarray as xr

from fl.claims.single_index import (
    compare,
    judge,
    limits,
)
from fl.evidence import Evidence, claim
from fl.judging import order
from fl.studies import unified as study
from fl.theory import spikes
from fl.theory.unified import (
    best_filter,
    best_own,
    other,
)
from fl.theory.unified_risk import (
    risk as closed_risk,
)
from fl.theory.unified_spike import spike as place
from fl.theory.unified_spike import spiked


@claim(
    "unified.spike",
    statement="After a step with Σ^p above the threshold the weights, and the weights "
    "as the features see them, have a spike at a closed place and with a closed "
    "overlap with the teacher",
    source="derived",
    control="the same formulas for a step without a preconditioner",
)
def spike(scale, broken, block):
    """Place and overlap in four problems."""

    def predict(problem, case, data):
        p, layer, _ = case
        models = [spiked(problem, problem.s**q, layer) for q in (p, 0.0)]
        right, plain = (place(model, data.eta) for model in models)
        yield data.s1.values, right[0], plain[0]
        yield (
            data.teacher.values,
            right[1],
            plain[1],
        )

    return compare(
        study.spikes(scale, block),
        predict,
        broken,
    )


@claim(
    "unified.half_invariance",
    statement="At p = -1/2 the direction has the same length, and with it the spike the "
    "same threshold, under every covariance and for every teacher",
    source="proved",
    control="p = 0, the plain gradient",
)
def half_invariance(scale, broken, block):
    """Compare the mean squared length with that under isotropic inputs."""
    p = 0.0 if broken else -0.5

    def predict(problem, _, data):
        length = data.square.values @ problem.s ** (2 * p)
        plain = problem.pair.mu1s**2 + problem.pair.energy / problem.psi1
        square = spiked(problem, problem.s**p).square.sum()
        yield (
            length / plain,
            square / problem.pair.mu1**2 / plain,
            1.0,
        )

    return compare(
        study.gradients(scale, block),
        predict,
        broken,
    )


@claim(
    "unified.optimal_preconditioner",
    statement="The filter of Σ that aligns best, found from draws of the gradient, is "
    "1/(λ + γν/k), k the teacher's weight: (Σ + γν)^-1 for one spread evenly",
    source="proved",
    control="Σ^-1, the best filter without noise",
)
def optimal_preconditioner(scale, broken, block):
    """The best filter that is constant on a band of eigenvalues is the ratio of two mean
    moments, here linear in both around its value; five bands.
    """

    def predict(problem, _, data):
        phi, _ = best_filter(problem)
        along = problem.pair.mu1s * problem.energy
        level = problem.pair.mu1s / phi
        square = level * along
        rival = problem.pair.mu1s * problem.s * along
        for band in np.array_split(np.arange(len(phi)), 5):
            m, q, wrong = (
                values[band].sum()
                for values in (
                    along,
                    square,
                    rival,
                )
            )
            seen, squares = (
                data[name].values[:, band].sum(1) for name in ("along", "square")
            )
            yield (
                1 + (squares - q / m * seen) / q,
                1.0,
                wrong / q,
            )

    return compare(
        study.gradients(scale, block),
        predict,
        broken,
    )


@claim(
    "unified.empirical",
    statement="With (Σ̂ + λ)^-1, Σ̂ of the same sample, the spike of the weights is the "
    "ridge estimator: its place, its overlap with that estimator, and how well this "
    "aligns with the teacher are closed forms",
    source="derived",
    control="the alignment of the best filter of the true covariance",
)
def empirical(scale, broken, block):
    """Place and overlap of the spike of networks; alignment of two estimators."""

    def network(problem, _, data):
        s1 = spikes.location(study.STRENGTH, problem.psi2)
        kept = spikes.left_overlap(study.STRENGTH, problem.psi2)
        yield data.s1.values, s1, s1
        yield data.step.values, kept, kept

    def estimator(problem, _, data):
        wrong = best_filter(problem)[1]
        yield (
            data.plain.values,
            problem.own(data.damping).cos2,
            wrong,
        )
        yield (
            data.own.values,
            best_own(problem)[1],
            wrong,
        )

    pairs = study.gradients(scale, block)
    networks = study.damped(scale, block)
    found = limits(networks, network) + limits(pairs, estimator)
    return judge(found, networks + pairs, broken)


def _order(found, pairs, named) -> Evidence:
    """Judge the leads among what was ``found``, expected as predicted if ``named``."""
    leads = xr.DataArray(
        [draws for draws, _, _ in found],
        dims=("cell", "seed"),
    )
    expected = xr.DataArray(
        [right.item() for _, right, _ in found],
        dims="cell",
    )
    sizes = pairs[0][0].data.attrs | {"cells": len(found)}
    return order(leads, sizes, expected if named else None)


@claim(
    "unified.same_sample",
    statement="The covariance of the sample that gives the gradient aligns better than "
    "the best filter of the true one, if both know equally much of the teacher",
    source="derived",
    control="the covariance of another sample of the same size",
)
def same_sample(scale, broken, block):
    """The best filter of Σ against (Σ̂ + λ/k)^-1, on the same samples."""
    first = "other" if broken else "own"

    def predict(problem, _, data):
        direction = other(problem, best_own(problem)[0])
        lead = data[first] - data.known
        yield (
            lead.values,
            direction.cos2 - best_filter(problem)[1],
            0.0,
        )

    pairs = study.gradients(scale, block)
    return _order(limits(pairs, predict), pairs, broken)


def _closed(problem, data) -> np.ndarray:
    """Return the closed risks of the steps."""
    steps = zip(data.exponents, data.etas, strict=True)
    found = [
        closed_risk(
            problem,
            problem.s**p,
            data.penalty,
            eta,
        )
        for p, eta in steps
    ]
    return np.array(found)


@claim(
    "unified.risk",
    statement="The ridge risk after a step with Σ^p, p = -1, 0, 1, of one strength in "
    "the features, is a closed form in spectrum, teacher, p and step",
    source="derived",
    control="the closed gain with the exponent -p",
)
def risk(scale, broken, block):
    """The risk without a step, and the paired gains of three steps."""

    def predict(problem, _, data):
        closed = _closed(problem, data)
        gains = closed[0] - closed
        seen = data.risk.values
        yield seen[:, 0], closed[0], closed[0]
        for k in (1, 2, 3):
            yield (
                seen[:, 0] - seen[:, k],
                gains[k],
                gains[4 - k],
            )

    pairs = study.risks(scale, block)
    return judge(limits(pairs, predict), pairs, broken)


@claim(
    "unified.visible",
    statement="A visible spike need not be a useful one: for a teacher on the weak "
    "directions p = 1 raises the larger singular value in the features, and p = -1 at "
    "the same step size leaves the smaller risk",
    source="observed",
    control="a teacher spread evenly, at a smaller step: the order of the risks",
)
def visible(scale, broken, block):
    """Two paired leads: of p = 1 in the singular value, of p = -1 in the risk."""
    pairs = study.risks(scale, block)
    pairs = pairs[1:] if broken else pairs[:1]

    def predict(problem, _, data):
        risks, closed = (
            data.risk.values,
            _closed(problem, data),
        )
        yield (
            risks[:, -1] - risks[:, -2],
            closed[-1] - closed[-2],
            0.0,
        )
        if not broken:
            values = data.s1.values
            yield (
                values[:, -1] - values[:, -2],
                0.0,
                0.0,
            )

    return _order(limits(pairs, predict), pairs, broken)


@claim(
    "unified.p_isotropic_identity",
    statement="A network started with W0 = P^(1/2) V0 and trained with the "
    "preconditioner P on x is the network started with V0 and trained plainly on "
    "P^(1/2) x, in all its layers and at every step",
    source="proved",
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
