"""Claims of the chapter on the learned features: the error of the ridge read-out after
one giant step.
"""

from dataclasses import replace

import numpy as np
import xarray as xr

from fl.claims.spectrum import after, networks, of_the_limit
from fl.evidence import Evidence, claim
from fl.judging import order
from fl.studies import spectrum_error as study
from fl.studies.spectrum import ERF, SIN, TANH, Run, stretched
from fl.theory.spectrum import averaged, gaussian_equivalent
from fl.theory.spectrum_error import ReadOut, linear_floor
from fl.theory.spectrum_features import (
    SpikedModel,
    normal_grid,
    spiked_model,
)
from fl.theory.spikes import pair
from fl.theory.spikes_risk import small_step_risk

# psi1 = n/d, psi2 = p/d, penalty
LIMITS = [(2.0, 1.0, 0.1), (3.0, 1.4, 0.3), (4.0, 0.5, 0.05)]


def _predicted(run: Run, model: SpikedModel, width=None, change=None) -> float:
    """Return the error that theory predicts for ``run`` with this ``model``."""
    s = run.setting
    read_out = ReadOut(s.link, s.activation, model, s.noise, change=change)
    return read_out.error(s.penalty, s.alpha, s.delta, width)[0]


def _made(run: Run, change=None) -> float:
    model = spiked_model(run.recipe.r, gamma=run.recipe.gamma)
    return _predicted(run, model, run.setting.width, change)


@claim(
    "spectrum.test_error",
    statement="the ridge error on the spiked random features of any number of blocks "
    "is the predicted one",
    source="derived",
    uses=("thm-spectrum-error", "thm-spectrum-mean"),
    control="linear part and noise of a feature with their means over kappa, whatever "
    "kappa",
)
def test_error(scale, broken, block):
    """Worst relative deviation over nine networks, with the penalty on the block sums
    kept.
    """
    runs, blocks = study.errors(scale, block), study.expressivity(scale, block)
    runs = runs[:5] + blocks[:4] + runs[5:] + blocks[4:]
    cells = []
    for run in runs:
        truth = _made(run)
        used = _made(run, averaged) / truth if broken else 1.0
        cells.append((run.data.error / truth, 1.0, used))
    return of_the_limit(cells, runs, broken)


@claim(
    "spectrum.test_error_network",
    statement="the ridge error of a trained network is that of the spiked random "
    "features with its spike and alignment",
    source="derived",
    uses=("thm-spectrum-error", "spectrum.row_terms"),
    control="the Gaussian equivalent of the same features, which is right after a small "
    "step",
)
def test_error_network(scale, broken, block):
    """Worst relative deviation over two sample sizes of the tanh network and one of the
    ReLU network, each draw with its own spike and alignment.
    """
    runs, cells = study.step_errors(scale, block), []
    for run in runs:
        models = [
            replace(after(run), r=draw.r.values, gamma=draw.gamma.item())
            for draw in run.draws()
        ]
        truth = np.array([_predicted(run, model) for model in models])
        size, used = truth.mean(), 1.0
        if broken:
            rival = [_predicted(run, m, change=gaussian_equivalent) for m in models]
            used = np.mean(rival) / size
        cells.append((1 + (run.data.error - truth) / size, 1.0, used))
    return of_the_limit(cells, runs, broken)


@claim(
    "spectrum.below_the_floor",
    statement="after one giant step the error of the tanh network on the sine is below "
    "the floor of linear models, with few and with many samples per neuron",
    source="derived",
    uses=("thm-spectrum-error",),
    control="the same network without the step",
)
def below_the_floor(scale, broken, block):
    """The lead of the floor, relative, for both sample sizes."""
    trained = study.step_errors(scale, block)[3:5]
    untrained = study.untrained_errors(scale, block)
    floor = linear_floor(SIN)
    runs = untrained if broken else trained
    leads = xr.concat([1 - run.data.error / floor for run in runs], "cell")
    rival = None
    if broken:
        still = [_predicted(run, spiked_model(0.0)) for run in untrained]
        rival = 1 - xr.DataArray(still, dims="cell") / floor
    return order(leads, networks(runs), rival)


@claim(
    "spectrum.expressivity",
    statement="more values in the second layer learn more of the link: with two neurons "
    "per input, four ReLU blocks leave the predicted share of the error of one, about a "
    "sixth",
    source="derived",
    uses=("thm-spectrum-error",),
    control="an odd activation, which learns the odd part of the link alone",
)
def expressivity(scale, broken, block):
    """Error with four blocks over the error with one, draw by draw."""
    both = study.expressivity(scale, block), study.expressivity(scale, block, TANH)
    cells = []
    for one in (1, 5):
        four = one + 2
        right, wrong = (_made(runs[four]) / _made(runs[one]) for runs in both)
        tried = both[broken]
        share = tried[four].data.error / tried[one].data.error
        cells.append((share, wrong if broken else right, right))
    return of_the_limit(cells, both[broken], broken)


@claim(
    "spectrum.random_features_limit",
    statement="without a step the error is the classical risk of ridge regression on "
    "random features, plus the noise",
    source="consistency",
    uses=("thm-spectrum-error", "thm-spikes-risk"),
    control="the penalty not converted from one convention to the other",
)
def random_features_limit(scale, broken, block):
    """Worst relative deviation between the fixed point at r = 0 and the closed form of
    chapter spikes at eta = 0.
    """
    gaps, rivals, noise = [], [], 0.01
    # erf(3z), the teacher of `pair`, is steep
    fine = normal_grid(161)
    here = ReadOut(stretched(ERF, 3), ERF, spiked_model(0.0), noise, fine)
    for psi1, psi2, penalty in LIMITS:
        alpha = psi1 / psi2
        converted = penalty if broken else penalty * alpha
        error = here.error(converted, alpha, psi2)[0]
        classical, other = (
            small_step_risk(pair(), psi1, psi2, x, 0.0) + noise
            for x in (penalty, penalty / alpha)
        )
        gaps.append(abs(error / classical - 1))
        rivals.append(abs(other / classical - 1))
    return Evidence(
        predicted=0.0,
        measured=max(gaps),
        tolerance=1e-9,
        reason="relative; two closed forms, the error of the fixed point",
        sizes={"psi": str(LIMITS)},
        expected=max(rivals),
        within=2e-9,
    )
