"""Claims of the chapter on the effective exponent: what is derived for an optimizer is
what the bench measures.

A `Case` is an optimizer in one regime of the gradient with the multiplier that the
theory gives it. A claim holds the measured exponent ``p_gain`` against the slope of
that multiplier, seed by seed; where a claim has several cases, the one with the largest
deviation speaks for it.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import xarray as xr

from fl.evidence import Evidence, claim
from fl.numerics import standard_error
from fl.simulate import effective_exponent as bench
from fl.sweep import sweep
from fl.theory import effective_exponent as theory

LAM, S = bench.EIGENVALUES, np.diag(bench.EIGENVALUES)
SEEDS = {"smoke": 4, "book": 4, "paper": 24}
B, H, L = bench.BATCH, bench.NEURONS, bench.WINDOW
WHOLE = {
    "signal": 1.0,
    "noise": 0.0,
    "batch": None,
    "steps": L,
}  # no noise: one window says it all
ADAM, SOPHIA = (
    0.9,
    (1 - 0.96) / (1 + 0.96),
)  # memory of Adam's mean; variance that Sophia's mean keeps
SHAMPOO = {"memory": 0.95, "momentum": 0.9, "every": 1}
ROUNDING = 1e-6
ERRORS = "four standard errors over seeds"


class Case(NamedTuple):
    """An optimizer on the bench: its setting, and ``multiplier(seed)``, the theory's,
    (d,) from the top eigenvalue.
    """

    optimizer: str
    label: str
    setting: dict
    multiplier: Callable[[int], np.ndarray]

    def runs(self, scale: str) -> xr.Dataset:
        """Return the measurements over the seeds of a scale."""
        return sweep(
            bench.measure,
            {"optimizer": [self.optimizer]},
            range(SEEDS[scale]),
            **self.setting,
        ).isel(optimizer=0, drop=True)

    def exponent(self, seed: int = 0) -> float:
        """Return the derived exponent."""
        return theory.slope(LAM, self.multiplier(seed))

    def deviation(self, scale: str) -> xr.DataArray:
        """Return the measured exponent minus the derived one, by seed."""
        measured = self.runs(scale)["p_gain"]
        return measured - xr.DataArray(
            [self.exponent(int(s)) for s in measured.seed], dims="seed"
        )


def turned(seed: int, square: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return the multiplier of a diagonal method on a seed's rotated inputs; ``square``
    takes S to what it roots.
    """
    U = bench.Bench(seed, rotated=True).spectrum.rotation
    return theory.turned(square(U @ S @ U.T) ** -0.5, U)


def _case(optimizer: str, label: str, multiplier, **setting) -> Case:
    fixed = multiplier if callable(multiplier) else lambda seed, m=multiplier: m
    return Case(optimizer, label, setting, fixed)


MIXED = {"signal": 1.0, "noise": 3.0}
_MIXED = theory.normalised(
    theory.second_moment(LAM, **MIXED, batch=B)
) * theory.averaged(LAM, 1.0, 3.0, B, ADAM, L)
NOISE = theory.second_moment(LAM, 0.0, 1.0, B)
_MUON = theory.newton_schulz(NOISE) * theory.polar(LAM, 1 / H) / theory.polar(LAM)

# the panels of the chapter's figure, in order; the first case of each is the one its
# exponent is quoted for
CASES: dict[str, list[Case]] = {
    "GD": [_case("GD", "noise", np.ones_like(LAM))],
    "K-FAC": [
        _case(
            "K-FAC",
            f"damping {d:g}",
            theory.damped(LAM, d, 1 / bench.CLASSES),
            hyper={"damping": d},
            batch=256,
            steps=400,
        )
        for d in (1e-6, 1e-2, 1.0)
    ],
    bench.NATURAL: [
        _case(
            bench.NATURAL,
            f"damping {d:g}",
            theory.damped(LAM, d),
            hyper={"damping": d},
            batch=256,
        )
        for d in (1e-9, 1.0)
    ],
    "Adam": [
        _case("Adam", "noise", theory.normalised(NOISE)),
        _case("Adam", "both", _MIXED, **MIXED),
        _case(
            "Adam",
            "signal",
            theory.normalised(theory.second_moment(LAM, 1.0, 0.0)),
            **WHOLE,
        ),
        _case(
            "Adam", "noise, rotated", lambda seed: turned(seed, np.diag), rotated=True
        ),
    ],
    "AdaHessian": [
        _case(
            "AdaHessian",
            "whole population",
            theory.hutchinson_square(S) ** -0.5,
            **WHOLE,
        ),
        _case("AdaHessian", f"batches of {B}", theory.hutchinson_square(S, B) ** -0.5),
    ],
    "Sophia-H": [
        _case(
            "Sophia-H",
            f"clip {clip:g}",
            theory.clipped(LAM, clip, np.sqrt(SOPHIA * NOISE)),
            hyper={"p": clip, "update_period": 1},
            steps=L,
        )
        for clip in (100.0, 0.02, 0.002)
    ],
    "Shampoo": [
        _case(
            "Shampoo",
            "many gradients",
            theory.two_sided(LAM, 16, 0.95, 0.9),
            hyper=SHAMPOO,
            neurons=16,
        ),
        _case(
            "Shampoo",
            "one gradient",
            theory.polar(LAM, 1 / H + 1 / B),
            hyper={"memory": 0.0, "momentum": 0.0, "every": 1},
        ),
    ],
    "SOAP": [
        _case("SOAP", "noise", theory.normalised(NOISE)),
        _case("SOAP", "noise, rotated", theory.normalised(NOISE), rotated=True),
    ],
    "Muon": [
        _case("Muon", "noise", _MUON),
        _case(
            "Muon",
            "signal",
            theory.newton_schulz(theory.second_moment(LAM, 1.0, 0.0)),
            **WHOLE,
        ),
    ],
    "SAM": [
        _case(
            "SAM",
            f"errors of {size:g}",
            theory.ascent(LAM, 0.5, size * np.linalg.norm(LAM) * np.sqrt(H)),
            **WHOLE | {"signal": size},
        )
        for size in (1.0, 0.1, 0.01)
    ],
}
SIZES = {"d": len(LAM), "h": H, "B": B, "window": L}


def _equal(
    case: Case, scale: str, control: Case | None, extra: float, reason: str
) -> Evidence:
    """Hold the exponent of a case, or that of the control, against the derived one of
    the case.
    """
    found = (control or case).runs(scale)["p_gain"]
    error = float(standard_error(found))
    sizes = SIZES | {"seeds": found.seed.values} | (control or case).setting
    derived = np.mean([case.exponent(int(s)) for s in found.seed])
    return Evidence(
        derived, float(found.mean()), 4 * error + extra, reason, error, sizes=sizes
    )


def _worst(deviations: list[xr.DataArray], extra: float, reason: str) -> Evidence:
    """Hold the largest mean deviation against zero."""
    largest = max(abs(float(d.mean())) for d in deviations)
    error = max(float(standard_error(d)) for d in deviations)
    sizes = SIZES | {"seeds": deviations[0].seed.values, "cases": len(deviations)}
    return Evidence(0, largest, 4 * error + extra, reason, error, "at most", sizes)


@claim(
    "effective_exponent.gd",
    statement="Gradient descent has the exponent 0",
    source="derived",
    control="whitened inputs: the same step in their coordinates is a step with the inverse covariance",
)
def gd(scale, broken, block=0):
    """The plain gradient; whitening the inputs is Sigma^-1."""
    whitened = _case("exact", "whitened", 1 / LAM, hyper={"p": -1.0})
    return _equal(
        CASES["GD"][0], scale, whitened if broken else None, ROUNDING, "rounding"
    )


@claim(
    "effective_exponent.kfac",
    statement="K-FAC with a damping below the spectrum has the exponent -1",
    source="derived",
    control="a damping ten times the largest eigenvalue of the Fisher matrix",
)
def kfac(scale, broken, block=0):
    """The input factor of K-FAC is the inverse second moment."""
    control = _case(
        "K-FAC", "overdamped", np.ones_like(LAM), hyper={"damping": LAM[0]}, batch=256
    )
    return _equal(
        CASES["K-FAC"][0],
        scale,
        control if broken else None,
        len(LAM) / 256,
        f"{ERRORS}, and d/B",
    )


@claim(
    "effective_exponent.ngd",
    statement="The natural gradient of two linear layers has the exponent -1 in the first",
    source="derived",
    control="a damping ten times the largest eigenvalue of the Fisher matrix",
)
def ngd(scale, broken, block=0):
    """The full Gauss-Newton matrix of both layers, inverted."""
    control = _case(
        bench.NATURAL,
        "overdamped",
        np.ones_like(LAM),
        hyper={"damping": 10 * LAM[0]},
        batch=256,
    )
    return _equal(
        CASES[bench.NATURAL][0],
        scale,
        control if broken else None,
        len(LAM) / 256,
        f"{ERRORS}, and d/B",
    )


@claim(
    "effective_exponent.adam",
    statement="Adam divides by the root of the second moment: -1/2 on noise, -1 on signal, next to 0 off the axes",
    source="derived",
    control="the formula for the axes, on rotated inputs",
)
def adam(scale, broken, block=0):
    """Four regimes of the gradient, the last on rotated inputs; the control has that
    one alone.
    """
    cases = CASES["Adam"]
    if broken:
        cases = [cases[3]._replace(multiplier=cases[0].multiplier)]
    return _worst([case.deviation(scale) for case in cases], ROUNDING, ERRORS)


@claim(
    "effective_exponent.adahessian",
    statement="AdaHessian has the exponent -1 on the whole population, and on batches what Hutchinson's noise leaves",
    source="derived",
    control="rotated inputs",
)
def adahessian(scale, broken, block=0):
    """The population and batches; on rotated inputs the diagonal has no spectrum to
    show.
    """
    cases = CASES["AdaHessian"]
    if broken:
        cases = [
            case._replace(setting=case.setting | {"rotated": True})
            for case in cases[:1]
        ]
    return _worst([case.deviation(scale) for case in cases], ROUNDING, ERRORS)


@claim(
    "effective_exponent.sophia",
    statement="Sophia-H has the exponent -1 unclipped and -1/2 clipped, and erf in between",
    source="derived",
    control="rotated inputs",
)
def sophia(scale, broken, block=0):
    """Three clips on noise gradients."""
    cases = CASES["Sophia-H"]
    if broken:
        cases = [
            case._replace(setting=case.setting | {"rotated": True})
            for case in cases[:1]
        ]
    reason = f"{ERRORS}, and the relative variance of the averaged curvature"
    # of Gaussian probes, memory 0.99, along the smallest eigenvalue
    variance = 0.01 / 1.99 * (2 + 5 / B + LAM.sum() / LAM[-1] / B)
    return _worst(
        [case.deviation(scale) for case in cases],
        variance / np.log(LAM[0] / LAM[-1]),
        reason,
    )


@claim(
    "effective_exponent.shampoo",
    statement="Shampoo with exponents -1/4 has the exponent -1/4 when both factors average many noise gradients",
    source="derived",
    control="factors of a single gradient, which make it a polar factor",
)
def shampoo(scale, broken, block=0):
    """The right factor is a power of the covariance; the left one must not know the
    gradient it multiplies.
    """
    many, one = CASES["Shampoo"]
    # independent directions in the left factor: gradients within its memory times the
    # effective rank of S
    directions = (1 + 0.95) / (1 - 0.95) * LAM.sum() ** 2 / np.sum(LAM**2)
    reason = f"{ERRORS}, and a quarter of h over the directions that the left factor averages"
    return _equal(many, scale, one if broken else None, 16 / directions / 4, reason)


@claim(
    "effective_exponent.soap",
    statement="SOAP on noise gradients has the exponent -1/2 in any basis",
    source="derived",
    control="Adam in its place",
)
def soap(scale, broken, block=0):
    """Adam in the eigenbasis of the gradient's second moment, on rotated inputs."""
    reason = f"{ERRORS}, and (d/h)^2"
    return _equal(
        CASES["SOAP"][1],
        scale,
        CASES["Adam"][3] if broken else None,
        (len(LAM) / H) ** 2,
        reason,
    )


@claim(
    "effective_exponent.muon",
    statement="Muon on noise gradients of a wide layer has the exponent -1/2, less what its iteration leaves open",
    source="derived",
    control="a gradient that is signal",
)
def muon(scale, broken, block=0):
    """The polar factor of noise; that of a full-rank signal has the exponent -1."""
    noise, signal = CASES["Muon"]
    reason = f"{ERRORS}, and (d/h)^2"
    return _equal(noise, scale, signal if broken else None, (len(LAM) / H) ** 2, reason)


@claim(
    "effective_exponent.sam",
    statement="SAM multiplies by 1 + rho lambda/|g|: an exponent that rises from 0 as the gradient shrinks in training",
    source="derived",
    control="without the ascent step (rho = 0)",
)
def sam(scale, broken, block=0):
    """The exponent at every recorded step of a training run against the derived one at
    the gradient's norm there.
    """
    data = sweep(bench.along, seeds=range(SEEDS[scale]), rho=0.0 if broken else 0.5)
    derived = data["size"].copy(
        data=[
            [theory.slope(LAM, theory.ascent(LAM, 0.5, g)) for g in row]
            for row in data["size"].values
        ]
    )
    deviation = abs(data["p_gain"] - derived).max("step")
    return _worst([deviation], ROUNDING, "rounding")
