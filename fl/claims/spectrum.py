"""Claims of the chapter on learned features: their spectrum after one giant step."""

import numpy as np
import xarray as xr

from fl.evidence import Evidence, claim
from fl.numerics import standard_error, worst_cell
from fl.studies import spectrum as study
from fl.theory import spectrum as theory
from fl.theory.spectrum_features import (
    conditional_features,
    giant_step,
    normal_grid,
    realised_features,
    spiked_model,
)


def worst_ratio(ratios: list[xr.DataArray], runs: list[study.Run], **rest) -> Evidence:
    """Return the evidence of the mean over seeds that is farthest from one.

    Args:
        ratios: measured over predicted values, each (seed,).
        runs: where they come from.
        rest: tolerance and reason.
    """
    ratio = xr.concat(ratios, "network")
    deviation = ratio.mean("seed") - 1
    _, cell = worst_cell(abs(deviation), deviation, standard_error(ratio))
    _, measured, error = cell
    return evidence(measured, runs, standard_error=error, **rest)


def evidence(measured: float, runs: list[study.Run], **rest) -> Evidence:
    """Return the evidence for a deviation, ``measured``, that ``runs`` should bring
    near zero; ``rest`` are its other fields.
    """
    sizes = {"networks": [run.data.attrs for run in runs]}
    return Evidence(predicted=0.0, measured=measured, sizes=sizes, **rest)


def _rigid(distances: list[float], runs: list[study.Run]) -> Evidence:
    return evidence(
        max(distances),
        runs,
        tolerance=9 / runs[0].setting.width + 1e-3,
        reason="Kolmogorov distance; eigenvalues are rigid (9/p), and 0.001 for the "
        "smoothed density",
    )


@claim(
    "spectrum.bulk",
    statement="the bulk of the sample spectrum of the features is the k-block fixed "
    "point, before and after the step",
    source="derived",
    control="one Gaussian row law with the averaged covariance, in place of the "
    "mixture over kappa",
)
def bulk(scale, broken, block):
    """Worst Kolmogorov distance over four networks, with the realised kappa."""
    runs, distances = study.bulks(scale, block), []
    for recipe, setting, data in runs:
        eigenvalue, kappa = data.eigenvalue.values[0], data.kappa.values[0]
        model = spiked_model(recipe.r)
        drawn = realised_features(setting.activation, model, kappa)
        rows = theory.averaged(drawn) if broken and len(recipe.r) == 1 else drawn
        points = study.law_points(scale)
        law = theory.sample_law(rows, setting.alpha, setting.delta, points)
        distances.append(law.distance(theory.bulk_of(eigenvalue, drawn)))
    return _rigid(distances, runs)


@claim(
    "spectrum.population",
    statement="the bulk of the population covariance of the features follows the "
    "unweighted fixed point",
    source="derived",
    control="the law for another number of neurons per input",
)
def population(scale, broken, block):
    """Worst Kolmogorov distance over three networks of the erf activation, whose kernel
    is exact; delta = 1/2.
    """
    runs, distances = study.populations(scale, block), []
    for run in runs:
        features = conditional_features(study.ERF2, spiked_model(run.recipe.r))
        delta = 0.75 if broken else run.setting.delta
        law = theory.population_law(features, delta, study.law_points(scale))
        eigenvalue = run.data.eigenvalue.values[0]
        distances.append(law.distance(theory.bulk_of(eigenvalue, features)))
    return _rigid(distances, runs)


@claim(
    "spectrum.diverging_outliers",
    statement="after the step as many eigenvalues as independent block means grow "
    "like p, with predicted slopes",
    source="derived",
    control="the network before the step",
)
def diverging(scale, broken, block):
    """Worst deviation of the leading eigenvalues over p from the prediction, in units
    of what is allowed.
    """
    runs = study.bulks(scale, block, moved=not broken)[1:]
    gaps = []
    for (activation, r, *_), run in zip(study.BULKS[1:], runs, strict=True):
        kappa, width = run.data.kappa.values[0], run.setting.width
        law_of_kappa = kappa, np.full(len(kappa), 1 / len(kappa))
        features = conditional_features(activation, spiked_model(r), law_of_kappa)
        predicted = theory.diverging_outliers(features)
        measured = run.data.eigenvalue.values[0, : len(r)] / width
        unit = 0.01 * predicted + 2 / width
        gaps.append((np.abs(measured - predicted) / unit).max())
    return evidence(
        max(gaps),
        runs,
        tolerance=1.0,
        reason="unit = 1 % + 2/p with the realised kappa: corrections of order one to "
        "an eigenvalue of order p",
    )


@claim(
    "spectrum.order_one_outlier",
    statement="a non-monotone activation can show an outlier of order one, where the "
    "determinant of the kappa-linear channel vanishes",
    source="derived",
    control="the third eigenvalue, the edge of the bulk, in place of the second",
)
def order_one(scale, broken, block):
    """Worst relative deviation of the mean second eigenvalue from the zero of the
    determinant.
    """
    runs, ratios = study.outliers(scale, block), []
    rule = normal_grid(61, 4.25)
    for run, window in zip(runs, study.OUTLIERS.values(), strict=True):
        recipe, setting, data = run
        model = spiked_model(recipe.r, recipe.c)
        features = conditional_features(setting.activation, model, rule)
        alpha, delta = setting.alpha, setting.delta
        (root,) = theory.order_one_outliers(features, alpha, delta, window)
        ratios.append(data.eigenvalue.isel(neuron=2 if broken else 1) / root)
    return worst_ratio(
        ratios,
        runs,
        tolerance=0.08,
        reason="8 %: twice the standard error of the mean, and the shift of the limit "
        "by the cut of the tail of kappa",
    )


@claim(
    "spectrum.trained_network",
    statement="the features of a trained network after one giant step on a large batch "
    "are those of the spiked random network: spike, alignment, row norm and spectrum",
    source="paper DP24",
    control="a small batch, alpha0 = 1/2: the noise of the step is not isotropic",
)
def trained_network(scale, broken, block):
    """Worst deviation over two networks, each quantity in units of what is allowed."""
    alpha0 = 0.5 if broken else study.Step.alpha0
    runs, worst = study.steps(scale, block, alpha0), []
    for step, setting, data in runs:
        link, activation = setting.link, setting.activation
        model = giant_step(link, activation, step.eta, step.alpha0, step.zeta)
        data = data.isel(seed=0)
        norm = model.r**2 + model.c**2
        ratios = [data.r / model.r, data.norm / norm, [data.gamma / model.gamma]]
        gap = np.abs(np.concatenate(ratios) - 1).max()
        features = realised_features(activation, model, data.kappa)
        points = study.law_points(scale)
        law = theory.sample_law(features, setting.alpha, setting.delta, points)
        bulk = theory.bulk_of(data.eigenvalue.values, features)
        shrunk = max(1, 500 / setting.width)
        worst += [gap / (0.05 * shrunk**0.5), law.distance(bulk) / (0.02 * shrunk)]
    return evidence(
        max(worst),
        runs,
        tolerance=1.0,
        reason="unit = 5 % for spike, alignment and row norm, 0.02 in Kolmogorov "
        "distance; below p = 500 by their rates",
    )
