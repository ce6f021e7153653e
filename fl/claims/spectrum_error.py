"""Claims of the chapter on the learned features: the error of the ridge read-out after
one giant step.
"""

import numpy as np

from fl.claims.spectrum import ERF, ERF3, RELU, SIN, SIN_COS, STEPS, TANH
from fl.evidence import Evidence, claim
from fl.simulate import spectrum as simulate
from fl.sweep import sweep
from fl.tasks import Link
from fl.theory.spectrum_error import ridge_error
from fl.theory.spectrum_features import giant_step, normal_grid, spiked_model
from fl.theory.spikes import pair
from fl.theory.spikes_risk import small_step_risk

# link, activation, r, gamma; alpha = 2, delta = 1, lam = 0.1, noise 0.01
ERRORS = [
    (SIN, TANH, (1.5,), 0.95),
    (SIN, TANH, (2.0, 0.5), 0.95),
    (TANH, RELU, (1.5, -1.0), 0.9),
    (SIN_COS, RELU, (1.5, -1.5), 0.95),
    (SIN, TANH, (0.5, 1.0, 2.0), 1.0),  # nearly collinear blocks
]


@claim(
    "spectrum.test_error",
    statement="the ridge error on the spiked random features of any number of blocks is the predicted one",
    source="derived",
    control="the prediction without the spike, r = 0",
)
def test_error(scale, broken, block=0):
    """Worst relative deviation over five networks, with the penalty on the block sums
    kept.
    """
    d, seeds = {"smoke": (150, 4), "book": (400, 6), "paper": (1600, 6)}[scale]
    runs = []
    for link, activation, r, gamma in ERRORS:
        sizes = dict(
            r=r, c=(1.0,) * len(r), gamma=gamma, lam=0.1, noise=0.01, p=d, d=d, n=2 * d
        )
        run = sweep(
            simulate.made_error,
            seeds=range(seeds),
            link=link,
            activation=activation,
            **sizes,
        )
        model = spiked_model(tuple(0.0 * x for x in r) if broken else r, gamma=gamma)
        predicted = ridge_error(
            link, activation, model, 0.1, 2.0, 1.0, 0.01, width=d
        ).test[0]
        runs.append((run.error.values, predicted))
    deviation, error = _worst(runs)
    reason = "relative; 6 % at d = 400, falling like 1/sqrt(d), the size of the fluctuation of one draw"
    sizes = {
        "d": d,
        "p": d,
        "n": 2 * d,
        "lam": 0.1,
        "cells": str([e[2] for e in ERRORS]),
        "seeds": list(range(seeds)),
    }
    return Evidence(0.0, deviation, 0.06 * np.sqrt(400 / d), reason, error, sizes=sizes)


@claim(
    "spectrum.test_error_network",
    statement="the ridge error of a trained network is that of its spiked random features, below the linear floor",
    source="derived",
    control="the prediction for the untrained network",
)
def test_error_network(scale, broken, block=0):
    """Worst relative deviation over two sample sizes of the tanh network and one of the
    ReLU network.
    """
    d, seeds = {"smoke": (150, 4), "book": (400, 8), "paper": (1500, 8)}[scale]
    runs = []
    for link, activation, eta, zeta, alpha in [
        (*STEPS[0], 0.6),
        (*STEPS[0], 2.0),
        (*STEPS[1], 2.0),
    ]:
        sizes = dict(
            eta=eta, zeta=zeta, alpha0=20.0, lam=0.1, p=d, d=d, n=round(alpha * d)
        )
        run = sweep(
            simulate.trained_error,
            seeds=range(seeds),
            link=link,
            activation=activation,
            **sizes,
        )
        model = giant_step(link, activation, 0.0 if broken else eta, 20.0, zeta)
        runs.append(
            (
                run.error.values,
                ridge_error(link, activation, model, 0.1, alpha, 1.0).test[0],
            )
        )
    deviation, error = _worst(runs)
    reason = "relative; 5 % at d = 500, falling like 1/sqrt(d), the finite size of network and batch"
    sizes = {
        "d": d,
        "p": d,
        "alpha0": 20,
        "alpha": [0.6, 2, 2],
        "lam": 0.1,
        "seeds": list(range(seeds)),
    }
    return Evidence(0.0, deviation, 0.05 * np.sqrt(500 / d), reason, error, sizes=sizes)


BLOCKS = [
    (0.0,),
    (1.0,),
    (1.0, -1.0),
    (-2.0, -0.7, 0.7, 2.0),
]  # no step, then k = 1, 2, 4


def expressivity_runs(
    activation: Link, d: int, seeds: int
) -> list[tuple[np.ndarray, float]]:
    """Return simulated errors (seeds,) and the prediction for each entry of `BLOCKS`; p
    = 2 d, n = 4 d, lam = 0.1.
    """
    runs = []
    for r in BLOCKS:
        sizes = dict(
            r=r, c=(1.0,) * len(r), gamma=1.0, lam=0.1, noise=0.0, p=2 * d, d=d, n=4 * d
        )
        run = sweep(
            simulate.made_error,
            seeds=range(seeds),
            link=SIN_COS,
            activation=activation,
            **sizes,
        )
        predicted = ridge_error(
            SIN_COS, activation, spiked_model(r), 0.1, 2.0, 2.0, width=2 * d
        ).test[0]
        runs.append((run.error.values, predicted))
    return runs


@claim(
    "spectrum.expressivity",
    statement="more values in the second layer learn more of the link: four ReLU blocks leave at most a quarter of "
    "the error of one, as predicted",
    source="derived",
    control="an odd activation, which learns the odd part of the link alone",
)
def expressivity(scale, broken, block=0):
    """The larger of the worst deviation from the prediction and of the error left, in
    units of what is allowed.
    """
    d, seeds = {"smoke": (100, 4), "book": (300, 12), "paper": (1000, 12)}[scale]
    runs = expressivity_runs(TANH if broken else RELU, d, seeds)
    deviation, error = _worst(runs)
    unit = 0.05 * np.sqrt(300 / d)
    left = runs[-1][0].mean() / runs[1][0].mean()
    reason = "unit = 5 % at d = 300, falling like 1/sqrt(d), for the errors; one quarter for the ratio"
    sizes = {
        "d": d,
        "p": 2 * d,
        "n": 4 * d,
        "lam": 0.1,
        "r": str(BLOCKS),
        "seeds": list(range(seeds)),
    }
    return Evidence(
        0.0,
        float(max(abs(deviation) / unit, left / 0.25)),
        1.0,
        reason,
        error / unit,
        sizes=sizes,
    )


LIMITS = [
    (2.0, 1.0, 0.1),
    (3.0, 1.4, 0.3),
    (4.0, 0.5, 0.05),
]  # psi1 = n/d, psi2 = p/d, lam


@claim(
    "spectrum.random_features_limit",
    statement="without a step the error is the classical risk of ridge regression on random features, plus the noise",
    source="derived",
    control="the penalty not converted from one convention to the other",
)
def random_features_limit(scale, broken, block=0):
    """Worst relative deviation between the fixed point at r = 0 and the closed form of
    chapter spikes at eta = 0.
    """
    worst, fine = 0.0, normal_grid(161)  # erf(3z), the teacher of `pair`, is steep
    for psi1, psi2, lam in LIMITS:
        alpha, classical = (
            psi1 / psi2,
            small_step_risk(pair(), psi1, psi2, lam, 0.0) + 0.01,
        )
        here = ridge_error(
            ERF3,
            ERF,
            spiked_model(0.0),
            lam * (1 if broken else alpha),
            alpha,
            psi2,
            0.01,
            grid=fine,
        ).test[0]
        worst = max(worst, abs(here / classical - 1))
    return Evidence(
        0.0,
        worst,
        1e-9,
        "relative; two closed forms, the error of the fixed point",
        sizes={"psi": str(LIMITS)},
    )


def _worst(runs: list[tuple[np.ndarray, float]]) -> tuple[float, float]:
    """Return the worst relative deviation of a mean over seeds from its prediction, and
    its standard error.
    """
    deviations = [
        (
            values.mean() / predicted - 1,
            values.std(ddof=1) / np.sqrt(len(values)) / predicted,
        )
        for values, predicted in runs
    ]
    return max(deviations, key=lambda pair: abs(pair[0]))
