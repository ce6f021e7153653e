"""Claims of the chapter on learned features: their spectrum after one giant step."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import zip_longest

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
from fl.theory.spectrum_resolvent import resolvent

# complex arguments of a resolvent, in units of the median eigenvalue
POINTS = np.array([0.3, 1.0, 3.0]) + 0.3j


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
    rival = limit(truth - used)
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


def _unmoved(run: study.Run, model: SpikedModel) -> list[Features]:
    return [conditional_features(run.setting.activation, spiked_model(0 * model.r))]


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


def _drawn(run: study.Run, model: SpikedModel) -> list[Features]:
    """Return the features of ``model`` with the realised kappa of each draw."""
    activation = run.setting.activation
    return [realised_features(activation, model, kappa) for kappa in run.data.kappa]


def _of_resolvents(runs: list, features: list, rivals: list) -> Evidence:
    """Return the evidence that the traces of the resolvents of ``runs`` at `POINTS` are
    those of the laws of their ``features``, one for each draw or one for all; or of
    ``rivals`` if there are any.
    """
    cells = []
    for run, own, others in zip_longest(runs, features, rivals):
        values = run.data.eigenvalue.values
        unit = np.median(values)
        z = unit * POINTS
        seen = (1 / (values[..., None] - z)).mean(1)
        truth, used = (_traces(run.setting, each, z) for each in (own, others or own))
        # what differs between draws is in both, and taken off
        right = truth.mean(0)
        three = seen - truth + right, right, used.mean(0)
        cells.append([_parts(unit * values) for values in three])
    return of_the_limit(cells, runs, bool(rivals))


def _traces(setting: study.Setting, features: list, z) -> np.ndarray:
    """Return the traces of the resolvents (draw, point) at ``z`` for each of ``features``."""
    points, start = [], None
    for one in features:
        points.append(resolvent(one, z, setting.alpha, setting.delta, start))
        start = points[0].x
    return np.array([point.trace for point in points])


def _parts(values: np.ndarray) -> xr.DataArray:
    """Return real and imaginary parts of ``values`` (.., points), as cells."""
    both = np.concatenate([values.real, values.imag], -1)
    return xr.DataArray(both, dims=("seed", "cell")[-both.ndim :])


@claim(
    "spectrum.bulk",
    statement="the bulk of the sample spectrum of the features is the k-block fixed "
    "point, before and after the step",
    source="derived",
    uses=("thm-spectrum-bulk",),
    control="one row law, the covariance averaged over kappa, in place of the mixture",
)
def bulk(scale, broken, block):
    """The trace of the resolvent at three points near the spectrum, for four networks,
    each draw with its realised kappa.
    """
    runs = study.bulks(scale, block)
    features = [_drawn(run, spiked_model(run.recipe.r)) for run in runs]
    rivals = [[theory.averaged(f) for f in each] for each in features]
    return _of_resolvents(runs, features, rivals if broken else [])


@claim(
    "spectrum.population",
    statement="the bulk of the population covariance of the features follows the "
    "unweighted fixed point, before and after the step",
    source="derived",
    uses=("thm-spectrum-bulk",),
    control="the law before the step: a spike of rank one leaves the bulk as it was",
)
def population(scale, broken, block):
    """The trace of the resolvent for three networks of the erf activation, whose kernel
    is exact; delta = 1/2.
    """
    runs = study.populations(scale, block)
    models = [spiked_model(run.recipe.r) for run in runs]
    features = [[conditional_features(study.ERF2, model)] for model in models]
    rivals = list(map(_unmoved, runs, models)) if broken else []
    return _of_resolvents(runs, features, rivals)


@claim(
    "spectrum.trained_network",
    statement="the spectrum of the features of a trained network, after one giant step on "
    "twenty samples per input (a hundred where E phi'' is not zero), is that of the spiked "
    "random network",
    source="derived",
    uses=("thm-spectrum-bulk", "thm-spectrum-spiked"),
    control="the law before the step: a spike of rank one leaves the bulk as it was",
)
def trained_network(scale, broken, block):
    """The trace of the resolvent for two networks, each draw with its realised kappa."""
    runs = study.trained(scale, block)
    models = list(map(after, runs))
    rivals = list(map(_unmoved, runs, models)) if broken else []
    return _of_resolvents(runs, list(map(_drawn, runs, models)), rivals)


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
        study.bulks(scale, block)[-3:],
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
    return agreement(gaps, biases, reason, networks(runs), rivals)


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
            [*(2 * model.beta), *(model.s * model.c**2)],
            dims="cell",
        )
        found = xr.concat([data.norm, data.along - 1], "block").rename(block="cell")
        cells.append((found, truth, 0 * truth if broken else truth))
    return of_the_limit(cells, runs, broken)
