"""Claims of the chapter on learned features: their spectrum after one giant step."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import xarray as xr

from fl.evidence import Evidence, claim
from fl.numerics import standard_error
from fl.studies import spectrum as study
from fl.theory import spectrum as theory
from fl.theory.spectrum_features import (
    conditional_features,
    giant_step,
    realised_features,
    spiked_model,
)

CHANCE = 0.01  # that noise alone fails a check, over all its cells
SHIFT = 5.0  # corrections of order 1/p, relative, times p
RELATIVE = "5/p, relative: corrections of that order"


def quantile(number: int, cells: int = 1) -> float:
    """Return how many standard errors of a mean over ``number`` draws one of ``cells``
    may be off, by `CHANCE` for all of them.
    """
    from scipy.stats import t

    return t.isf(CHANCE / (2 * cells), number - 1)


class Cell(NamedTuple):
    """One mean that a claim judges: its ``residual``, measured minus predicted, (seed,),
    the ``gap`` between truth and what is held against it, zero where nothing is broken,
    and the ``bias`` that the finite size allows.
    """

    residual: xr.DataArray
    gap: float
    bias: float


def cells_of(measured: xr.DataArray, truth, used, bias) -> list[Cell]:
    """Return the cells of ``measured``, (seed, cell), its ``truth`` and what is ``used``
    in its place, each (cell,), with the ``bias``, a number or (cell,).
    """
    biases = bias * np.ones(len(truth))
    residuals = list((measured - used).transpose("cell", "seed"))
    return [Cell(*cell) for cell in zip(residuals, truth - used, biases, strict=True)]


def judged(cells: list[Cell], runs: list[study.Run], broken: bool, bias: str):
    """Return the evidence of the worst of ``cells``, in units of what its own standard
    error and its bias allow; the gaps say what a ``broken`` check should give. ``runs``
    are where they come from, ``bias`` says where the biases come from.
    """
    residuals, gaps, biases = zip(*cells, strict=True)
    residual = xr.concat(residuals, "cell")
    allowed = quantile(residual.sizes["seed"], len(cells))
    unit = allowed * standard_error(residual) + np.array(biases)
    score = abs(residual.mean("seed")) / unit
    gap = np.abs(gaps) / unit.values
    return evidence(
        score.max(),
        runs,
        tolerance=1.0,
        expected=gap.max() if broken else None,
        within=1.0,
        reason="worst cell in units of what its own standard error allows (Student's "
        f"quantile, 1 % over all cells together) plus {bias}",
    )


def evidence(measured: float, runs: list[study.Run], **rest) -> Evidence:
    """Return the evidence for a deviation, ``measured``, that ``runs`` should bring
    near zero; ``rest`` are its other fields.
    """
    sizes = {"networks": [run.data.attrs for run in runs]}
    return Evidence(predicted=0.0, measured=measured, sizes=sizes, **rest)


def _rigid(bulks: list, laws: list, rivals: list | None, runs: list) -> Evidence:
    """Return the evidence of the worst Kolmogorov distance between ``bulks`` of
    ``runs`` and their ``laws``, or those of a rival.
    """
    tried = rivals or laws
    distances = [law.distance(bulk) for law, bulk in zip(tried, bulks, strict=True)]
    tolerance = 9 / runs[0].setting.width + 1e-3
    expected = None
    if rivals:
        expected = max(a.gap(b) for a, b in zip(laws, rivals, strict=True))
    return evidence(
        max(distances),
        runs,
        tolerance=tolerance,
        expected=expected,
        within=tolerance,
        reason="Kolmogorov distance; eigenvalues are rigid (9/p), and 0.001 for the "
        "smoothed density",
    )


@claim(
    "spectrum.bulk",
    statement="the bulk of the sample spectrum of the features is the k-block fixed "
    "point, before and after the step",
    source="derived",
    control="one row law, the covariance averaged over kappa, in place of the mixture",
)
def bulk(scale, broken, block):
    """Worst Kolmogorov distance over four networks, with the realised kappa."""
    runs, bulks, laws, rivals = study.bulks(scale, block), [], [], []
    points = study.law_points(scale)
    for recipe, setting, data in runs:
        eigenvalue, kappa = data.eigenvalue.values[0], data.kappa.values[0]
        drawn = realised_features(setting.activation, spiked_model(recipe.r), kappa)
        bulks.append(theory.bulk_of(eigenvalue, drawn))
        sizes = setting.alpha, setting.delta, points
        laws.append(theory.sample_law(drawn, *sizes))
        if broken:
            rivals.append(theory.sample_law(theory.averaged(drawn), *sizes))
    return _rigid(bulks, laws, rivals, runs)


@claim(
    "spectrum.population",
    statement="the bulk of the population covariance of the features follows the "
    "unweighted fixed point, before and after the step",
    source="derived",
    control="the law before the step: a spike of rank one leaves the bulk as it was",
)
def population(scale, broken, block):
    """Worst Kolmogorov distance over three networks of the erf activation, whose kernel
    is exact; delta = 1/2.
    """
    runs, bulks, laws, rivals = study.populations(scale, block), [], [], []
    points = study.law_points(scale)
    for run in runs:
        delta, r = run.setting.delta, np.array(run.recipe.r)
        features = conditional_features(study.ERF2, spiked_model(r))
        bulks.append(theory.bulk_of(run.data.eigenvalue.values[0], features))
        laws.append(theory.population_law(features, delta, points))
        if broken:
            still = conditional_features(study.ERF2, spiked_model(0 * r))
            rivals.append(theory.population_law(still, delta, points))
    return _rigid(bulks, laws, rivals, runs)


@claim(
    "spectrum.diverging_outliers",
    statement="after the step as many eigenvalues as independent block means grow "
    "like p, with predicted slopes",
    source="derived",
    control="one such eigenvalue in each network, as the step has rank one up to noise",
)
def diverging(scale, broken, block):
    """Worst deviation of the leading eigenvalues over three networks, with the realised
    kappa of each draw.
    """
    runs, cells = study.bulks(scale, block)[1:], []
    for run in runs:
        predicted = np.array([_leading(run, draw) for draw in run.draws()])
        truth = predicted.mean(0)
        used = truth.copy()
        if broken:
            used[1:] = 0
        eigenvalue = run.data.eigenvalue[:, : len(truth)].rename(neuron="cell")
        centred = eigenvalue - predicted + truth
        cells += cells_of(centred, truth, used, 3.0)
    bias = "3: corrections of order one to an eigenvalue"
    return judged(cells, runs, broken, bias)


def _leading(run: study.Run, draw: xr.Dataset) -> np.ndarray:
    """Return the leading eigenvalues that the kappa of a draw predict."""
    kappa = draw.kappa.values
    law = kappa, np.full(len(kappa), 1 / len(kappa))
    model = spiked_model(run.recipe.r)
    features = conditional_features(run.setting.activation, model, law)
    return run.setting.width * theory.diverging_outliers(features)


@claim(
    "spectrum.order_one_outlier",
    statement="an activation that oscillates, with bounded slope, can show an outlier of "
    "order one, where the determinant of the kappa-linear channel vanishes",
    source="derived",
    control="no outlier: the second eigenvalue is the largest of the bulk",
)
def order_one(scale, broken, block):
    """Deviation of the mean second eigenvalue from the zero of the determinant."""
    run = study.outliers(scale, block)
    recipe, setting, data = run
    model = spiked_model(recipe.r, recipe.c)
    features = conditional_features(setting.activation, model)
    sizes = setting.alpha, setting.delta
    law = theory.sample_law(features, *sizes)
    edge = law.quantile(1 - 1e-4)
    # the one root beyond the bulk
    (root,) = theory.order_one_outliers(features, *sizes, (edge, 3 * edge))
    largest = law.quantile(1 - 1 / setting.width)
    used = largest if broken else root
    residual = data.eigenvalue[:, 1] - used
    cell = Cell(residual, root - used, 2 * root / setting.d)
    bias = "2/d, relative: corrections of that order"
    return judged([cell], [run], broken, bias)


@claim(
    "spectrum.step",
    statement="spike, alignment and row norm after one giant step are those of the "
    "spiked model, for a network whose own output vanishes: also with four samples per "
    "input",
    source="derived",
    control="the constants of the population gradient: no noise of the batch",
)
def step(scale, broken, block):
    """Worst deviation over the blocks of two networks."""
    runs, cells = study.noisy_steps(scale, block), []
    for recipe, setting, data in runs:
        truth = _constants(recipe, setting)
        clean = replace(recipe, alpha0=1e9)
        used = _constants(clean, setting) if broken else truth
        columns = [data.r, data.norm, data.gamma.expand_dims("block")]
        measured = xr.concat(columns, "block").rename(block="cell")
        bias = np.abs(truth) * SHIFT / setting.width
        cells += cells_of(measured, truth, used, bias)
    return judged(cells, runs, broken, RELATIVE)


def _constants(step, setting) -> np.ndarray:
    """Return spikes, squared row norms and alignment after a step."""
    link, activation = setting.link, setting.activation
    model = giant_step(link, activation, step.eta, step.alpha0, step.zeta)
    norm = model.r**2 + model.c**2
    return np.array([*model.r, *norm, model.gamma])


@claim(
    "spectrum.row_terms",
    statement="the step ties each row to its own old overlap with the teacher: its "
    "squared norm and its new overlap rise with it, at predicted slopes",
    source="derived",
    control="rows that are isotropic around the spike",
)
def row_terms(scale, broken, block):
    """Worst deviation of a slope over the blocks of two networks."""
    runs, cells = study.row_terms(scale, block), []
    for step, setting, data in runs:
        link, activation = setting.link, setting.activation
        model = giant_step(link, activation, step.eta, step.alpha0, step.zeta)
        truth = np.concatenate([2 * model.beta, model.s * model.c])
        found = xr.concat([data.norm, data.along - 1], "block").rename(block="cell")
        used = 0 * truth if broken else truth
        cells += cells_of(found, truth, used, 20 / setting.width)
    return judged(cells, runs, broken, "20/p: corrections of that order")


@claim(
    "spectrum.trained_network",
    statement="the spectrum of the features of a trained network, after one giant step on "
    "twenty samples per input, is that of the spiked random network",
    source="derived",
    control="the law before the step: a spike of rank one leaves the bulk as it was",
)
def trained_network(scale, broken, block):
    """Worst Kolmogorov distance over two networks, with the realised kappa."""
    runs, bulks, laws, rivals = study.steps(scale, block), [], [], []
    points = study.law_points(scale)
    for step, setting, data in runs:
        link, activation = setting.link, setting.activation
        model = giant_step(link, activation, step.eta, step.alpha0, step.zeta)
        features = realised_features(activation, model, data.kappa[0])
        bulks.append(theory.bulk_of(data.eigenvalue.values[0], features))
        sizes = setting.alpha, setting.delta, points
        laws.append(theory.sample_law(features, *sizes))
        if broken:
            still = conditional_features(activation, spiked_model(0 * model.r))
            rivals.append(theory.sample_law(still, *sizes))
    return _rigid(bulks, laws, rivals, runs)
