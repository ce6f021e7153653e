"""Claims of the chapter on learned features: their spectrum after one giant step."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import xarray as xr

from fl.claims.spikes import LIMIT
from fl.evidence import Evidence, claim
from fl.judging import agreement
from fl.studies import spectrum as study
from fl.studies.spikes import limit
from fl.theory import spectrum as theory
from fl.theory.spectrum_features import (
    Features,
    SpikedModel,
    conditional_features,
    giant_step,
    realised_features,
    spiked_model,
)


def networks(runs: list[study.Run]) -> dict:
    """Return the sizes of ``runs``."""
    return {"networks": [run.data.attrs for run in runs]}


def of_the_limit(
    cells: Iterable[tuple],
    runs: list[study.Run],
    broken: bool,
):
    """Return the evidence that what ``cells`` measure is, in the limit, what is used.

    Each is what was measured, (seed, cell), the truth and what is ``used`` in its
    place, (cell,) or numbers: a ``broken`` check should give their gap. There is one
    for each of ``runs``, of which the second half has three times the width of the
    first.
    """
    measured, truth, used = map(_sizes, zip(*cells, strict=True))
    rival = limit(truth - used) if broken else None
    return agreement(
        limit(measured - used),
        0,
        LIMIT,
        networks(runs),
        rival,
    )


def _sizes(values: tuple) -> xr.DataArray:
    half = len(values) // 2
    arrays = [xr.DataArray(value) for value in values]
    both = [xr.concat(part, "cell") for part in (arrays[:half], arrays[half:])]
    return xr.concat(both, "d").assign_coords(d=[1, 3])


def after(run: study.Run) -> SpikedModel:
    """Return the spiked model after the step of ``run``."""
    step, s = run.recipe, run.setting
    return giant_step(
        s.link,
        s.activation,
        step.eta,
        step.alpha0,
        step.zeta,
    )


def _drawn(run: study.Run, model: SpikedModel) -> Features:
    kappa = run.data.kappa.values[0]
    return realised_features(run.setting.activation, model, kappa)


def _unmoved(run: study.Run, model: SpikedModel) -> Features:
    return conditional_features(run.setting.activation, spiked_model(0 * model.r))


def _rigid(scale, runs: list, features: list, rivals: list) -> Evidence:
    """Return the evidence of the worst Kolmogorov distance between the bulks of
    ``runs`` and the laws of ``features``, or of ``rivals`` if there are any.
    """
    points, pairs = (
        study.law_points(scale),
        [features, rivals or features],
    )
    laws, tried = (
        [
            theory.sample_law(
                f,
                run.setting.alpha,
                run.setting.delta,
                points,
            )
            for run, f in zip(runs, each, strict=True)
        ]
        for each in pairs
    )
    distances = [
        law.distance(theory.bulk_of(run.data.eigenvalue.values[0], f))
        for law, run, f in zip(tried, runs, features, strict=True)
    ]
    width = runs[0].setting.width
    found = {"sizes": networks(runs)}
    found["within"] = 2 * 2**0.5 / np.pi * np.log(width) / width + 1e-3
    if rivals:
        found["expected"] = max(map(theory.Law.gap, laws, tried))
    reason = (
        "Kolmogorov distance; eigenvalues are rigid: twice sqrt(2)/pi log(p)/p, where "
        "the maximum of a log-correlated field lies, and 0.001 for the smoothed density"
    )
    return Evidence(0, max(distances), found["within"], reason, **found)


@claim(
    "spectrum.bulk",
    statement="the bulk of the sample spectrum of the features is the k-block fixed "
    "point, before and after the step",
    source="derived",
    uses=("thm-spectrum-bulk",),
    control="one row law, the covariance averaged over kappa, in place of the mixture",
)
def bulk(scale, broken, block):
    """Worst Kolmogorov distance over four networks, with the realised kappa."""
    runs = study.bulks(scale, block)
    features = [_drawn(run, spiked_model(run.recipe.r)) for run in runs]
    rivals = [theory.averaged(f) for f in features] if broken else []
    return _rigid(scale, runs, features, rivals)


@claim(
    "spectrum.population",
    statement="the bulk of the population covariance of the features follows the "
    "unweighted fixed point, before and after the step",
    source="derived",
    uses=("thm-spectrum-bulk",),
    control="the law before the step: a spike of rank one leaves the bulk as it was",
)
def population(scale, broken, block):
    """Worst Kolmogorov distance over three networks of the erf activation, whose kernel
    is exact; delta = 1/2.
    """
    runs = study.populations(scale, block)
    models = [spiked_model(run.recipe.r) for run in runs]
    features = [conditional_features(study.ERF2, model) for model in models]
    rivals = list(map(_unmoved, runs, models)) if broken else []
    return _rigid(scale, runs, features, rivals)


@claim(
    "spectrum.trained_network",
    statement="the spectrum of the features of a trained network, after one giant step on "
    "twenty samples per input, is that of the spiked random network",
    source="derived",
    uses=("thm-spectrum-bulk", "thm-spectrum-spiked"),
    control="the law before the step: a spike of rank one leaves the bulk as it was",
)
def trained_network(scale, broken, block):
    """Worst Kolmogorov distance over two networks, with the realised kappa."""
    runs = study.steps(scale, block)
    models = list(map(after, runs))
    rivals = list(map(_unmoved, runs, models)) if broken else []
    return _rigid(scale, runs, list(map(_drawn, runs, models)), rivals)


@claim(
    "spectrum.diverging_outliers",
    statement="after the step as many eigenvalues as independent block means grow "
    "like p, with predicted slopes",
    source="derived",
    uses=("thm-spectrum-outliers",),
    control="one such eigenvalue in each network, as the step has rank one up to noise",
)
def diverging(scale, broken, block):
    """Worst deviation of the leading eigenvalues over three networks, with the realised
    kappa of each draw.
    """
    runs, gaps, biases, rivals = (
        study.bulks(scale, block)[1:],
        [],
        [],
        [],
    )
    for run in runs:
        predicted = xr.DataArray(
            [_leading(run, draw) for draw in run.draws()],
            dims=("seed", "cell"),
        )
        number = predicted.sizes["cell"]
        used = predicted * (np.arange(number) == 0) if broken else predicted
        eigenvalue = run.data.eigenvalue.rename(neuron="cell")
        gaps.append(eigenvalue[:, :number] - used)
        rivals.append(predicted - used)
        biases.append(eigenvalue[:, number].mean() + xr.zeros_like(predicted[0]))
    gaps, biases, rivals = (xr.concat(each, "cell") for each in (gaps, biases, rivals))
    reason = "Weyl: the bulk moves an eigenvalue by at most its own edge"
    rival = rivals if broken else None
    return agreement(gaps, biases, reason, networks(runs), rival)


def _leading(run: study.Run, draw: xr.Dataset) -> np.ndarray:
    """Return the leading eigenvalues that the kappa of a draw predict."""
    kappa = draw.kappa.values
    law = kappa, np.full(len(kappa), 1 / len(kappa))
    model = spiked_model(run.recipe.r)
    features = conditional_features(run.setting.activation, model, law)
    return run.setting.width * theory.diverging_outliers(features)


@claim(
    "spectrum.step",
    statement="spike, alignment and row norm after one giant step are those of the "
    "spiked model, for a network whose own output vanishes: also with four samples per "
    "input",
    source="derived",
    uses=("thm-spectrum-spiked",),
    control="the constants of the population gradient: no noise of the batch",
)
def step(scale, broken, block):
    """Worst deviation over the blocks of two networks."""
    runs, cells = study.noisy_steps(scale, block), []
    for run in runs:
        data, clean = (
            run.data,
            run._replace(recipe=replace(run.recipe, alpha0=1e9)),
        )
        columns = [
            data.r,
            data.norm,
            data.gamma.expand_dims("block"),
        ]
        measured = xr.concat(columns, "block").rename(block="cell")
        truth = _constants(run)
        cells.append(
            (
                measured,
                truth,
                _constants(clean) if broken else truth,
            )
        )
    return of_the_limit(cells, runs, broken)


def _constants(run: study.Run) -> xr.DataArray:
    """Return spikes, squared row norms and alignment after a step."""
    model = after(run)
    norm = model.r**2 + model.c**2
    return xr.DataArray([*model.r, *norm, model.gamma], dims="cell")


@claim(
    "spectrum.row_terms",
    statement="the step ties each row to its own old overlap with the teacher: its "
    "squared norm and its new overlap rise with it, at predicted slopes",
    source="derived",
    uses=("thm-spectrum-spiked",),
    control="rows that are isotropic around the spike",
)
def row_terms(scale, broken, block):
    """Worst deviation of a slope over the blocks of two networks."""
    runs, cells = study.row_terms(scale, block), []
    for run in runs:
        model, data = after(run), run.data
        truth = xr.DataArray(
            [*(2 * model.beta), *(model.s * model.c)],
            dims="cell",
        )
        found = xr.concat([data.norm, data.along - 1], "block").rename(block="cell")
        cells.append((found, truth, 0 * truth if broken else truth))
    return of_the_limit(cells, runs, broken)
