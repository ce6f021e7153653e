"""Claims of the chapter on the learned features: the error of the ridge read-out after
one giant step.
"""

import numpy as np

from fl.claims.spectrum import evidence, worst_ratio
from fl.evidence import Evidence, claim
from fl.studies import spectrum_error as study
from fl.studies.spectrum import ERF, RELU, TANH, Run, stretched
from fl.theory.spectrum_error import ReadOut
from fl.theory.spectrum_features import (
    SpikedModel,
    giant_step,
    normal_grid,
    spiked_model,
)
from fl.theory.spikes import pair
from fl.theory.spikes_risk import small_step_risk

# psi1 = n/d, psi2 = p/d, penalty
LIMITS = [(2.0, 1.0, 0.1), (3.0, 1.4, 0.3), (4.0, 0.5, 0.05)]


def _ratio(run: Run, model: SpikedModel, width: int | None = None):
    """Return the errors of ``run`` over the predicted one, shape (seed,)."""
    _, setting, data = run
    read_out = ReadOut(setting.link, setting.activation, model, setting.noise)
    alpha, delta = setting.alpha, setting.delta
    predicted = read_out.error(setting.penalty, alpha, delta, width)
    return data.error / predicted.test[0]


@claim(
    "spectrum.test_error",
    statement="the ridge error on the spiked random features of any number of blocks "
    "is the predicted one",
    source="derived",
    control="the prediction without the spike, r = 0",
)
def test_error(scale, broken, block):
    """Worst relative deviation over five networks, with the penalty on the block sums
    kept.
    """
    runs, ratios = study.errors(scale, block), []
    for run in runs:
        r = np.array(run.recipe.r)
        model = spiked_model(0 * r if broken else r, gamma=run.recipe.gamma)
        ratios.append(_ratio(run, model, run.setting.width))
    return worst_ratio(
        ratios,
        runs,
        tolerance=0.06 * np.sqrt(400 / runs[0].setting.d),
        reason="relative; 6 % at d = 400, falling like 1/sqrt(d), the size of the "
        "fluctuation of one draw",
    )


@claim(
    "spectrum.test_error_network",
    statement="the ridge error of a trained network is that of its spiked random "
    "features, below the linear floor",
    source="derived",
    control="the prediction for the untrained network",
)
def test_error_network(scale, broken, block):
    """Worst relative deviation over two sample sizes of the tanh network and one of the
    ReLU network.
    """
    runs, ratios = study.step_errors(scale, block), []
    for run in runs:
        step, link, activation = run.recipe, run.setting.link, run.setting.activation
        eta = 0.0 if broken else step.eta
        model = giant_step(link, activation, eta, step.alpha0, step.zeta)
        ratios.append(_ratio(run, model))
    return worst_ratio(
        ratios,
        runs,
        tolerance=0.05 * np.sqrt(500 / runs[0].setting.d),
        reason="relative; 5 % at d = 500, falling like 1/sqrt(d), the finite size of "
        "network and batch",
    )


@claim(
    "spectrum.expressivity",
    statement="more values in the second layer learn more of the link: four ReLU "
    "blocks leave at most a quarter of the error of one, as predicted",
    source="derived",
    control="an odd activation, which learns the odd part of the link alone",
)
def expressivity(scale, broken, block):
    """The larger of the worst deviation from the prediction and of the error left, in
    units of what is allowed.
    """
    runs = study.expressivity(scale, block, TANH if broken else RELU)
    models = [spiked_model(run.recipe.r) for run in runs]
    pairs = zip(runs, models, strict=True)
    ratios = [_ratio(run, model, run.setting.width) for run, model in pairs]
    unit = 0.05 * np.sqrt(300 / runs[0].setting.d)
    worst = worst_ratio(ratios, runs, tolerance=unit, reason="relative")
    _, one, _, four = (run.data.error.mean() for run in runs)
    return evidence(
        max(abs(worst.measured) / unit, four / one / 0.25),
        runs,
        tolerance=1.0,
        reason="unit = 5 % at d = 300, falling like 1/sqrt(d), for the errors; one "
        "quarter for the ratio",
        standard_error=worst.standard_error / unit,
    )


@claim(
    "spectrum.random_features_limit",
    statement="without a step the error is the classical risk of ridge regression on "
    "random features, plus the noise",
    source="derived",
    control="the penalty not converted from one convention to the other",
)
def random_features_limit(scale, broken, block):
    """Worst relative deviation between the fixed point at r = 0 and the closed form of
    chapter spikes at eta = 0.
    """
    gaps, noise = [], 0.01
    # erf(3z), the teacher of `pair`, is steep
    fine = normal_grid(161)
    here = ReadOut(stretched(ERF, 3), ERF, spiked_model(0.0), noise, fine)
    for psi1, psi2, penalty in LIMITS:
        alpha = psi1 / psi2
        converted = penalty if broken else penalty * alpha
        error = here.error(converted, alpha, psi2).test[0]
        classical = small_step_risk(pair(), psi1, psi2, penalty, 0.0) + noise
        gaps.append(abs(error / classical - 1))
    return Evidence(
        predicted=0.0,
        measured=max(gaps),
        tolerance=1e-9,
        reason="relative; two closed forms, the error of the fixed point",
        sizes={"psi": str(LIMITS)},
    )
