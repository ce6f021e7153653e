"""Claims of the chapter on one gradient step and a single-index teacher."""

import math

import numpy as np

from fl import numerics
from fl.evidence import Evidence, claim
from fl.studies import single_index as study
from fl.theory import single_index as theory
from fl.theory import single_index_batch as own
from fl.theory import single_index_network as network


def _mean(draws) -> tuple:
    flat = draws.stack(draw_=draws.dims)
    return flat.mean(), numerics.standard_error(flat, "draw_")


def _worst(cells, found, reason, cap=math.inf, slack=0.0, predicted=0.0) -> Evidence:
    # found: a value and its standard error each; the worst value is the measurement
    values, errors = zip(*found, strict=True)
    error = max(errors)
    sizes = {"cells": len(found), "n": [cell.data.n for cell in cells]}
    return Evidence(
        predicted=predicted,
        measured=max(values, key=lambda value: abs(value - predicted)),
        tolerance=min(cap, 4 * error + slack),
        reason=f"four standard errors of the worst cell, {reason}",
        standard_error=error,
        sizes=cells[0].data.attrs | sizes,
    )


def _compare(cells, predict, cap) -> Evidence:
    # predict(task, gamma, data) yields draws and their prediction
    pairs = [pair for cell in cells for pair in predict(*cell)]
    gaps = [_mean(draws - predicted) for draws, predicted in pairs]
    return _worst(cells, gaps, f"at most {cap:g}", cap=cap)


def _filters(cells, formula, level) -> Evidence:
    # formula(s, b, gamma, rho or nu, label) for every member of the family
    def predict(task, gamma, data):
        s, b = theory.weights(task)
        amount = getattr(theory.moments(task), level)
        for member, draws in zip(data.members, data.alignment.T, strict=True):
            yield draws, formula(s, b, gamma, amount, member).cos2

    return _compare(cells, predict, 0.03)


@claim(
    "single_index.population_power",
    statement="the step filtered by the power Σ^p of the true covariance aligns with "
    "the teacher as the bias-variance formula in p, d/n and the label's second moment "
    "says",
    source="derived",
    control="the formula for the power of the batch's own covariance",
)
def population_power(scale, broken, block):
    """Three teachers, three sample sizes, four powers."""
    cells = study.filters(scale, block, "population")
    if broken:
        regular = [cell for cell in cells if cell.gamma < 1]
        return _filters(regular, own.sample_power, "rho")
    return _filters(cells, theory.population_power, "nu")


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
    if broken:
        return _filters(cells, _known_damped, "nu")
    return _filters(cells, own.kfac, "rho")


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
    """Three teachers, two sample sizes n > d, four powers."""
    cells = study.filters(scale, block, "sample")
    if broken:
        return _filters(cells, theory.population_power, "nu")
    return _filters(cells, own.sample_power, "rho")


@claim(
    "single_index.best_damping",
    statement="for an evenly spread teacher the damping that aligns best is (d/n) ρ, "
    "whatever the covariance",
    source="derived",
    control="the damping of another noise level: four times ρ",
)
def best_damping(scale, broken, block):
    """The top of a parabola through three dampings a factor 2 apart, on the same
    batches, in units of log2.
    """
    cells = study.near_dampings(scale, block, factor=4.0 if broken else 1.0)
    return _tops(cells, [study.vertex(cell.data.alignment) for cell in cells])


@claim(
    "single_index.best_exponent",
    statement="for a teacher with weights like s^r the power Σ^p that aligns best, "
    "which runs from p = -1 without noise to p = r in noise alone, is the optimum of "
    "the formula",
    source="derived",
    control="the best exponent of another teacher: weights like 1/s",
)
def best_exponent(scale, broken, block):
    """The top of a parabola through three exponents 0.15 apart, on the same batches, in
    units of p.
    """
    cells = study.near_exponents(scale, block, r=-1.0 if broken else 1.0)
    tops = np.array([study.vertex(cell.data.alignment) for cell in cells])
    return _tops(cells, study.GAP * tops)


def _tops(cells, tops) -> Evidence:
    reason = "and 0.02 because the curve is not quite a parabola and d is finite"
    return _worst(cells, tops, reason, slack=0.02)


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
    gaps, cells = [], []
    for known, batch in study.at_crossing(scale, block, "nu" if broken else "rho"):
        gap = known.data.alignment[..., 0] - batch.data.alignment[..., 0]
        gaps.append(_mean(gap))
        cells.append(batch)
    finite = max(0.25 / (cell.data.n - cell.data.d - 1) for cell in cells)
    reason = "and a quarter of the finite-size factor 1/(n - d - 1)"
    return _worst(cells, gaps, reason, slack=finite)


@claim(
    "single_index.spike",
    statement="after a step of strength θ = 2 the weights of a network have an "
    "outlying singular value, and its vector aligns with the teacher as the direction "
    "times the overlap of the spike says",
    source="derived",
    control="a step below the threshold θ = (N/d)^(1/4)",
)
def spike(scale, broken, block):
    """Plain and preconditioned steps of a tanh network with N = 2d neurons."""
    cells = study.steps(scale, block, study.THETA / 4 if broken else study.THETA)
    scores = []
    for task, gamma, data in cells:
        outlier, overlap = network.spike(study.THETA, data.width / data.d)
        cos2 = overlap * own.first_step(task, gamma, data.damping).cos2
        scores.append(_mean((data["values"][..., 0] / outlier - 1) / 0.03))
        scores.append(_mean((data.alignment - cos2) / 0.06))
    return Evidence(
        predicted=1.0,
        measured=max(abs(score) for score, _ in scores),
        tolerance=0.0,
        reason="finite size: an error of 3 % of the singular value, or of 0.06 of the "
        "alignment, counts as 1",
        standard_error=max(error for _, error in scores),
        relation="at most",
        sizes=cells[0].data.attrs,
    )


@claim(
    "single_index.natural_gradient",
    statement="the full natural-gradient step on the first layer aligns like the "
    "batch-covariance step with damping (tr Σ/n) Var σ'/(E σ')², which only a linear "
    "activation escapes",
    source="derived",
    control="no implicit damping",
)
def natural_gradient(scale, broken, block):
    """Gauss-Newton steps of a tanh and a ReLU network."""

    def predict(task, gamma, data):
        s, _ = theory.weights(task)
        hidden = network.implicit_damping(data.activation, s, gamma)
        damping = 0.0 if broken else hidden
        yield data.ngd, own.first_step(task, gamma, damping, centred=True).cos2

    return _compare(study.first_updates(scale, block), predict, 0.05)


@claim(
    "single_index.adam_batchnorm_muon",
    statement="in randomly rotated coordinates batch-norm and Muon keep the alignment "
    "of plain gradient descent, and Adam multiplies it by r/arcsin r < 1",
    source="derived",
    control="coordinates that are the eigenvectors of the covariance",
)
def adam_batchnorm_muon(scale, broken, block):
    """First updates of a tanh and a ReLU network, three methods each."""

    def predict(task, gamma, data):
        plain = own.first_step(task, gamma, centred=True).cos2
        yield data.batchnorm, plain
        yield data.muon, plain
        nu = theory.moments(task, centred=True).nu
        yield data.adam, network.adam(*theory.weights(task), gamma, nu, data.activation)

    cells = study.first_updates(scale, block, rotate=not broken)
    return _compare(cells, predict, 0.05)


@claim(
    "single_index.even_teacher",
    statement="an even teacher shows nothing: the alignment of the step is that of "
    "chance, a known multiple of 1/d",
    source="derived",
    control="the same teacher plus an odd part (ReLU instead of the absolute value)",
)
def even_teacher(scale, broken, block):
    """Alignment over its chance level for the absolute value, two spectra, p = 0 and p
    = -1.
    """
    cells = study.even_teachers(scale, block, link="relu" if broken else "abs")
    ratios = []
    for task, _, data in cells:
        for p in data.members:
            draws = data.alignment.sel(p=p)
            ratios.append(_mean(draws / network.chance(task, p)))
    return _worst(cells, ratios, "at most a half", cap=0.5, predicted=1.0)
