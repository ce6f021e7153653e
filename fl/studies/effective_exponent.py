"""The cases of the bench and the runs on images behind the chapter on the effective
exponent.

A case is an optimizer in one regime of the gradient. `CASES` has the panels of the
chapter's figure, in order; the first case of each is the one its exponent is quoted
for.
"""

from dataclasses import asdict, dataclass, field, replace

import numpy as np
import xarray as xr

from fl import scales
from fl.simulate import effective_exponent as bench
from fl.simulate import effective_exponent_images as images
from fl.simulate.effective_exponent import EIGENVALUES, NATURAL, WINDOW, Setting
from fl.sweep import cached, sweep

CLASSES, WARM_UP = 10, bench.WARM_UP
LARGE = Setting(batch=256)
SOFTMAX = Setting(batch=256, width=CLASSES, softmax=True)
WHOLE = Setting(signal=1.0, noise=0.0, batch=np.inf)
ROTATED = Setting(rotated=True)
RANK_ONE = Setting(signal=0.1, rank_one=True)


@dataclass(frozen=True)
class Case:
    """An optimizer on the bench: its name, a label for its regime, what the gradient is
    made of, hyper-parameters, and recorded updates.
    """

    optimizer: str
    label: str
    setting: Setting = Setting()
    hyper: dict = field(default_factory=dict)
    steps: int = bench.STEPS


def _shampoo(label: str, width: int, **memory: float) -> Case:
    return Case("Shampoo", label, Setting(width=width), memory | {"every": 1})


def _signal(optimizer: str, label: str, signal: float = 1.0) -> Case:
    # without noise one window says it all
    setting = replace(WHOLE, signal=signal)
    return Case(optimizer, label, setting, steps=WINDOW)


CASES: dict[str, list[Case]] = {
    "GD": [Case("GD", "noise")],
    "K-FAC": [
        Case("K-FAC", f"damping {damping:g}", SOFTMAX, {"damping": damping})
        for damping in (1e-6, 1e-2, 1.0)
    ],
    NATURAL: [
        Case(NATURAL, f"damping {damping:g}", LARGE, {"damping": damping})
        for damping in (1e-9, 1.0)
    ],
    "Adam": [
        Case("Adam", "noise"),
        Case("Adam", "both", Setting(signal=1.0, noise=9.0)),
        _signal("Adam", "signal"),
        Case("Adam", "noise, rotated", ROTATED),
    ],
    "AdaHessian": [
        _signal("AdaHessian", "whole population"),
        Case("AdaHessian", f"batches of {Setting().batch}"),
    ],
    "Sophia-H": [
        Case(
            "Sophia-H",
            f"clip {clip:g}",
            hyper={"p": clip, "update_period": 1},
            steps=WINDOW,
        )
        for clip in (100.0, 0.02, 0.002)
    ],
    "Shampoo": [
        _shampoo("many gradients", 16, memory=0.95, momentum=0.9),
        _shampoo("one gradient", 64, memory=0.0, momentum=0.0),
    ],
    "SOAP": [Case("SOAP", "noise"), Case("SOAP", "noise, rotated", ROTATED)],
    "Muon": [Case("Muon", "noise"), _signal("Muon", "signal")],
    "SAM": [_signal("SAM", f"errors of {size:g}", size) for size in (1.0, 0.1, 0.01)],
}
# what the control of a claim measures in place of its case; a damping is ten times the
# largest eigenvalue of the Fisher matrix
CONTROLS: dict[str, Case] = {
    "GD": Case("exact", "whitened", hyper={"p": -1.0}),
    "K-FAC": Case("K-FAC", "overdamped", SOFTMAX, {"damping": 10.0}),
    NATURAL: Case(NATURAL, "overdamped", LARGE, {"damping": 100.0}),
    "Adam": CASES["Adam"][3],
    "AdaHessian": replace(CASES["AdaHessian"][1], setting=ROTATED),
    "Sophia-H": replace(CASES["Sophia-H"][0], setting=ROTATED),
    "Shampoo": CASES["Shampoo"][1],
    "SOAP": CASES["Adam"][3],
    "Muon": CASES["Muon"][1],
}
# length of a course on images, epochs between its read-outs, windows of the estimator
COURSES = dict.fromkeys(("K-FAC 1e-6", "GD"), (200, 20, (5,)))
COURSES["Adam"] = (200, 20, (1, 5, 20))
ONCE = (80, 80, (5,))


def seeds(scale, block=0) -> range:
    """Return the seeds of the bench at a ``scale``, in a ``block``."""
    return scales.seeds(scales.at(scale, smoke=3, book=8, paper=24), block)


def measured(scale, block=0, case: Case = CASES["GD"][0]) -> xr.Dataset:
    """Return what `fl.simulate.effective_exponent.measure` finds for a ``case``, over
    the seeds of a ``scale`` and ``block``, with the sizes as attributes.
    """
    found = sweep(
        bench.measure,
        seeds=seeds(scale, block),
        optimizer=case.optimizer,
        setting=case.setting,
        hyper=case.hyper,
        steps=case.steps,
    )
    found.attrs = asdict(case) | {"d": len(EIGENVALUES), "window": WINDOW}
    return found.assign_attrs(seeds=found["seed"].values)


def sam(scale, block=0, rho: float = 0.5) -> xr.Dataset:
    """Return SAM's exponents along a training run on the bench, with radius ``rho``,
    over two seeds of a ``block``; the same at every ``scale``.
    """
    pair = scales.seeds(2, block)  # nothing is drawn but the signs of the errors
    found = sweep(bench.along, seeds=pair, rho=rho)
    sizes = {"d": len(EIGENVALUES), "rho": rho}
    return found.assign_attrs(sizes, seeds=found["seed"].values)


def course(optimizer: str, block=0) -> xr.Dataset:
    """Return the exponent of an ``optimizer`` along a run on the digits, one seed of a
    ``block``; the same length at every scale.
    """
    (seed,) = scales.seeds(1, block)
    keys = "epochs", "every", "windows"
    chosen = dict(zip(keys, COURSES.get(optimizer, ONCE), strict=True))
    return cached(images.course, seed=seed, optimizer=optimizer, **chosen)
