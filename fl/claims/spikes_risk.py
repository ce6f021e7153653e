"""Claims of the chapter on the first step, second part: what the step buys in ridge
risk.
"""

import numpy as np
import xarray as xr

from fl.claims.spikes import RATIOS
from fl.evidence import Evidence, Scale, claim
from fl.numerics import standard_error
from fl.simulate import spikes as simulate
from fl.simulate.spikes import Setting
from fl.sweep import sweep
from fl.theory import spikes as theory
from fl.theory import spikes_conditional, spikes_risk

SMALL_STEPS, PENALTIES = (0.0, 1.0, 2.0, 4.0), (0.01, 0.1, 1.0)


def small_steps(
    scale: Scale, features: str = "network", labels: str = "true"
) -> xr.Dataset:
    """Return the ridge risk over step sizes of order one and penalties; n = 2d, N = d."""
    d, seeds = {"smoke": (200, 8), "book": (200, 24), "paper": (800, 32)}[scale]
    run = sweep(
        simulate.risk,
        seeds=range(seeds),
        setting=Setting(d),
        etas=SMALL_STEPS,
        penalties=PENALTIES,
        features=features,
        labels=labels,
    )
    return run.squeeze("draw").assign_attrs(
        d=d, n=2 * d, N=d, seeds=seeds, etas=SMALL_STEPS, penalties=PENALTIES
    )


def risk_bias(scale: Scale) -> xr.DataArray:
    """Return R over its closed form, less 1, by ``output`` and ``features``; n = 4d, N
    = d/2, eta = 4, penalty 0.1.
    """
    d, seeds = {"smoke": (100, 8), "book": (200, 24), "paper": (800, 32)}[scale]
    grid = {"output": [True, False], "features": ["network", "gaussian"]}
    setting = Setting(d, 4.0, 0.5)
    run = sweep(
        simulate.risk,
        grid,
        range(seeds),
        setting=setting,
        etas=(4.0,),
        penalties=(0.1,),
    )
    return (
        run.fresh.squeeze(drop=True)
        / spikes_risk.small_step_risk(theory.pair(), 4.0, 0.5, 0.1, 4.0)
        - 1
    )


def large_steps(
    scale: Scale, psi1: float, student=("erf", 1.0), teacher=("erf", 3.0), factor=1
) -> xr.Dataset:
    """Return the ridge risk at penalty 0.1 over ``etabar`` = eta / sqrt(N), N = 2d;
    ``factor`` multiplies d.
    """
    d, seeds, draws = {"smoke": (50, 2, 2), "book": (100, 3, 6), "paper": (400, 4, 6)}[
        scale
    ]
    d = int(factor * d)
    setting, steps = (
        Setting(d, psi1, 2.0, student, teacher),
        (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0),
    )
    etas = tuple(step * setting.N**0.5 for step in steps)
    run = sweep(
        simulate.risk,
        seeds=range(seeds),
        setting=setting,
        etas=etas,
        penalties=(0.1,),
        draws=draws,
    )
    return (
        run.squeeze("penalty")
        .assign_coords(eta=list(steps))
        .rename(eta="etabar")
        .assign_attrs(d=d, seeds=seeds, draws=draws)
    )


def given_weights(seed: int, d: int, psi1: float, etabar: float, draws: int) -> dict:
    """Return the risk after one step, simulated on ``draws`` fresh samples and
    predicted from the same weights.
    """
    setting, penalty = Setting(d, psi1, 2.0), 0.1
    eta = etabar * setting.N**0.5
    step = simulate.first_step(setting, seed)
    W, signal, beta = (
        t.cpu().numpy() for t in (step.weights(eta), step.signal, setting.beta)
    )
    fresh = simulate.risk(setting, seed, (eta,), (penalty,), draws=draws).fresh.squeeze(
        ("eta", "penalty")
    )
    return {
        "fresh": ("draw", fresh.values),
        "conditional": spikes_conditional.conditional_risk(
            W, signal, beta, setting.n, penalty, setting.noise
        ),
        "plain": spikes_conditional.plain_risk(
            W, beta, setting.n, penalty, setting.noise
        ),
    }


@claim(
    "spikes.pole_is_outlier",
    statement="The pole of the resolvent form T that gives the risk is minus the square of the outlying singular value",
    source="derived",
    control="theta1 in place of theta2 in the location",
)
def pole_is_outlier(scale, broken, block=0):
    """Find the pole from the values of T and compare it with the location, over a grid
    of ratios and strengths.
    """
    gaps, pair = [], theory.pair()
    for psi1, psi2 in RATIOS:
        for multiple in (1.7, 3.0, 10.0):
            theta1, theta2 = theory.strengths(
                pair, psi1, multiple * theory.threshold(pair, psi1, psi2)
            )
            x = theory.location(theta1 if broken else theta2, psi2) ** 2
            gaps.append(abs(spikes_risk.pole(psi2, theta1, theta2) / -x - 1))
    sizes = {"psi1, psi2": [list(r) for r in RATIOS], "eta/eta_c": [1.7, 3.0, 10.0]}
    return Evidence(0, max(gaps), 1e-10, "rounding, relative", sizes=sizes)


@claim(
    "spikes.gaussian_equivalence",
    statement="After a step of order one, ridge on the network's features has the risk of ridge on mu1 W1'x plus "
    "independent Gaussian noise of the size of the rest",
    source="paper BE22",
    control="the noise left out: features mu1 W1'x alone",
)
def gaussian_equivalence(scale, broken, block=0):
    """Compare the two mean risks on the same first stages."""
    network, gaussian = (
        small_steps(scale),
        small_steps(scale, "linear" if broken else "gaussian"),
    )
    ratio = network.fresh.mean("seed") / gaussian.fresh.mean("seed")
    error = standard_error(network.fresh - gaussian.fresh) / gaussian.fresh.mean("seed")
    reason = "relative, worst of twelve cells: standard error and a difference of order eta^2/N"
    return Evidence(
        0,
        float(abs(ratio - 1).max()),
        0.05,
        reason,
        float(error.max()),
        sizes=network.attrs,
    )


@claim(
    "spikes.risk",
    statement="The ridge risk after a step of order one is a closed form in the ratios, the penalty and the step",
    source="derived",
    control="the closed form without the step",
)
def risk(scale, broken, block=0):
    """Compare twelve mean risks with the closed form."""
    run = small_steps(scale)
    steps = np.zeros(len(SMALL_STEPS)) if broken else np.array(SMALL_STEPS)
    predicted = np.stack(
        [
            spikes_risk.small_step_risk(theory.pair(), 2.0, 1.0, lam, steps)
            for lam in PENALTIES
        ],
        -1,
    )
    ratio = run.fresh / predicted
    tolerance = 0.08 if scale == "smoke" else 0.05
    reason = "relative, worst of twelve cells: three standard errors and a bias of order 1/sqrt(N)"
    sizes, error = run.attrs, float(standard_error(ratio).max())
    return Evidence(
        0,
        float(abs(ratio.mean("seed") - 1).max()),
        tolerance,
        reason,
        error,
        sizes=sizes,
    )


@claim(
    "spikes.risk_monotone",
    statement="At a fixed penalty the risk falls with every increase of the step, by no less than the closed form says",
    source="derived",
    control="labels shuffled in the first step: the spike is there, but does not point at the teacher",
)
def risk_monotone(scale, broken, block=0):
    """Compare the paired decrease between successive steps with the predicted one,
    worst step.
    """
    etas = [0.0, 2.0, 4.0]
    run = small_steps(scale, labels="shuffled" if broken else "true").fresh.sel(
        penalty=0.1, eta=etas
    )
    predicted = -np.diff(
        spikes_risk.small_step_risk(theory.pair(), 2.0, 1.0, 0.1, np.array(etas))
    )
    ratio = -run.diff("eta") / predicted
    reason = (
        "ratio of decreases, worst step: three standard errors of the paired decrease"
    )
    worst = int(np.argmin(ratio.mean("seed").values))
    sizes = small_steps(scale).attrs | {"penalty": 0.1, "etas": etas}
    error = float(standard_error(ratio).isel(eta=worst))
    return Evidence(
        1, float(ratio.mean("seed").min()), 3 * error, reason, error, "at least", sizes
    )


@claim(
    "spikes.linear_floor",
    statement="A step of order one never takes the risk below that of the best linear predictor, |P_{>1} f*|^2",
    source="paper BE22",
    control="a step of order sqrt(N)",
)
def linear_floor(scale, broken, block=0):
    """Take the smallest risk over floor, of the closed form on a wide grid and of the
    simulations.
    """
    pair, run = theory.pair(), large_steps(scale, 10.0)
    etas = np.array([0.0, 1.0, 10.0, 1e4])
    grid = [
        spikes_risk.small_step_risk(pair, psi1, psi2, lam, etas).min()
        for psi1 in (0.5, 2.0, 50.0, 1e4)
        for psi2 in (0.3, 1.0, 3.0)
        for lam in (1e-6, 1e-3, 0.1, 1.0)
    ]
    simulated = [
        float(run.fresh.mean(("seed", "draw")).sel(etabar=2.0 if broken else 0.1))
    ]
    simulated += [] if broken else [float(small_steps(scale).fresh.mean("seed").min())]
    sizes = run.attrs | {
        "n/d": 10,
        "N/d": 2,
        "etabar": 2.0 if broken else 0.1,
        "formula cells": len(grid),
    }
    reason = "the inequality is exact for the closed form"
    return Evidence(
        1,
        min(grid + simulated) / pair.floor,
        0.0,
        reason,
        relation="at least",
        sizes=sizes,
    )


@claim(
    "spikes.large_step_beats_floor",
    statement="With eta = 2 sqrt(N) the same ridge goes far below the linear floor F: under 0.8 F at n/d = 10 and "
    "under 0.5 F at n/d = 20 (erf student, erf(3z) teacher)",
    source="paper BE22",
    control="a step of order one",
)
def large_step_beats_floor(scale, broken, block=0):
    """Take the worse of R/(0.8 F) and R/(0.5 F)."""
    floor, ratios, errors = theory.pair().floor, [], []
    for psi1, share in ((10.0, 0.8), (20.0, 0.5)):
        ratio = large_steps(scale, psi1).fresh.sel(etabar=0.1 if broken else 2.0).mean(
            "draw"
        ) / (share * floor)
        ratios.append(float(ratio.mean()))
        errors.append(float(standard_error(ratio)))
    sizes = large_steps(scale, 10.0).attrs | {"n/d": [10, 20], "N/d": 2, "penalty": 0.1}
    return Evidence(
        1, max(ratios), 0.0, "a bound, no tolerance", max(errors), "at most", sizes
    )


@claim(
    "spikes.parity",
    statement="No step of any size takes an odd student of a ReLU teacher, or a ReLU student of an odd teacher, below "
    "the linear floor",
    source="derived",
    control="a ReLU student of a ReLU teacher",
)
def parity(scale, broken, block=0):
    """Take the smallest risk over floor, over all steps up to 4 sqrt(N) and every
    single draw.
    """
    odd, relu = ("erf", 1.0), ("relu", 1.0)
    pairs = [(relu, relu)] if broken else [(odd, relu), (relu, ("erf", 3.0))]
    runs = [large_steps(scale, 20.0, *p) for p in pairs]
    ratios = [
        float(r.fresh.min()) / theory.pair(*p).floor
        for r, p in zip(runs, pairs, strict=True)
    ]
    sizes = runs[0].attrs | {
        "n/d": 20,
        "N/d": 2,
        "penalty": 0.1,
        "etabar": runs[0].etabar.values.tolist(),
    }
    return Evidence(
        1,
        min(ratios),
        1e-9,
        "rounding: the inequality holds for each draw",
        relation="at least",
        sizes=sizes,
    )


@claim(
    "spikes.conditional_equivalent",
    statement="For steps of every size the risk is that of features which are Gaussian given the projection of the "
    "input on X'y",
    source="derived",
    control="Gaussian features without the condition, at n/d = 4 and eta = 4 sqrt(N)",
)
def conditional_equivalent(scale, broken, block=0):
    """Compare prediction and simulation on the same weights, averaged over weights;
    worst cell.
    """
    seeds = {"smoke": 2, "book": 4, "paper": 8}[scale]
    cells = (
        [(4.0, 4.0)]
        if broken or scale == "smoke"
        else [(4.0, 0.0), (4.0, 1.0), (4.0, 4.0), (10.0, 4.0)]
    )
    gaps, errors = [], []
    for psi1, etabar in cells:
        run = sweep(
            given_weights, seeds=range(seeds), d=100, psi1=psi1, etabar=etabar, draws=24
        )
        gaps.append(
            float((run.plain if broken else run.conditional).mean() / run.fresh.mean())
            - 1
        )
        errors.append(
            float(
                run.fresh.std("draw", ddof=1).mean()
                / (seeds * 24) ** 0.5
                / run.fresh.mean()
            )
        )
    sizes = {
        "d": 100,
        "N/d": 2,
        "psi1, etabar": [list(c) for c in cells],
        "seeds": seeds,
        "draws": 24,
        "penalty": 0.1,
    }
    reason = "relative, worst cell: standard error and terms of order 1/N"
    return Evidence(0, max(np.abs(gaps)), 0.025, reason, max(errors), sizes=sizes)


@claim(
    "spikes.sample_reuse",
    statement="Ridge on the sample of the first step has another risk than ridge on a fresh one (n = 2d, eta = 4, "
    "penalty 1): higher",
    source="observed",
    control="no step: the first sample has left no trace in the weights",
)
def sample_reuse(scale, broken, block=0):
    """Take the paired difference, less four standard errors."""
    run = small_steps(scale).sel(penalty=1.0, eta=0.0 if broken else 4.0)
    difference = run.reused - run.fresh
    error = float(standard_error(difference))
    sizes = run.attrs | {"penalty": 1.0, "eta": float(run.eta)}
    reason = "four standard errors of the paired difference are taken off"
    return Evidence(
        0, float(difference.mean()) - 4 * error, 0.0, reason, error, "at least", sizes
    )
