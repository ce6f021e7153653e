"""The runs behind the chapter on out-of-distribution accuracy: which optimizers, which
data sets, how many seeds.

``digit`` is the accuracy D against the digit, ``pattern`` that against the pattern, N;
both belong to the same trained network. All optimizers of a seed share data and initial
weights, so gaps are taken seed by seed.
"""

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr

from fl import datasets, scales
from fl.simulate import ood
from fl.simulate.ood_images import PROTOCOLS, draw
from fl.stored import stored
from fl.sweep import sweep

# how many seeds: of the runs of all methods, of one whose paired standard error
# decides, of one that changes more than its seeds do, of a control of the first
SEEDS = {"smoke": 1, "book": 3, "paper": 10}
PAIRED = {"smoke": 6, "book": 6, "paper": 10}
TURNED = {"smoke": 3, "book": 4, "paper": 10}
WIDTHS = {"smoke": 64, "book": ood.WIDTH, "paper": ood.WIDTH}  # of the network
CONTROL = {"smoke": 1, "book": 3, "paper": 10}
EXACT = ("exact -1", "exact -0.5", "GD", "exact +0.5", "exact +1")  # in the order of p
DIAGONAL = ("power-AdaHessian -1", "power-AdaHessian +0", "power-AdaHessian +1")
ENDS = DIAGONAL[::2]
TRIO = ("GD", "Adam", "K-FAC 1e-6")
QUICK = (*EXACT, "Adam", "K-FAC 1e-6", "momentum", "SAM", "L-BFGS")
# the ends, the middle, and what lies between
SOME = ("exact -1", "exact +1", "GD", "Adam", "K-FAC 1e-6")
# label -> what differs from the protocol, and the methods that run with it
VARIANTS = {
    "500 epochs": ({"until": "long"}, tuple(ood.METHODS)),
    "eigenbasis": ({"basis": "eigen"}, tuple(ood.METHODS)),
    "random basis": ({"basis": "random"}, tuple(ood.METHODS)),
    "uncentred": ({"centred": False}, SOME),
    "no cue": ({"cue": "none"}, SOME),
}
VARIANTS |= {
    f"amplitude {s:g}": ({"amplitude": s}, SOME) for s in (0.05, 0.1, 0.2, 0.3)
}
# label -> optimizer and hyper-parameters that differ from the table's
SETTINGS = {
    "GD lr 0.3": ("GD", {"lr": 0.3}),
    "SAM rho 0.1": ("SAM", {"rho": 0.1}),
    "SAM rho 2": ("SAM", {"rho": 2.0}),
    "Adam lr 3e-4": ("Adam", {"lr": 3e-4}),
    "Adam lr 3e-3": ("Adam", {"lr": 3e-3}),
    "AdaHessian lr 0.03": ("AdaHessian", {"lr": 0.03}),
    "Sophia-H lr 1e-3, p 1": ("Sophia-H", {"lr": 1e-3, "p": 1.0}),
    "Muon lr 0.005": ("Muon", {"lr": 0.005}),
    "Muon lr 0.02": ("Muon", {"lr": 0.02}),
    "SOAP lr 3e-3": ("SOAP", {"lr": 3e-3}),
    "Shampoo lr 0.02": ("Shampoo", {"lr": 0.02}),
    "K-FAC 1e-6, clip 1e-5": ("K-FAC 1e-6", {"clip": 1e-5}),
    "K-FAC 1e-3, clip 1e-3": ("K-FAC 1e-3", {"clip": 1e-3}),
}
# variable -> description and units
MEANING = {
    "id": ("accuracy on validation images", "1"),
    "digit": ("accuracy against the digit, with the neighbour's pattern", "1"),
    "pattern": ("accuracy against the pattern, on any digit", "1"),
    "congruent": ("accuracy where digit and pattern agree", "1"),
    "agree": ("share of the pattern test's images whose two cues agree", "1"),
    "agree_right": ("accuracy on these images", "1"),
    "conflict_digit": ("share of the others taken for the digit", "1"),
    "conflict_neither": ("share of the others taken for neither cue", "1"),
    "digit_early": ("accuracy against the digit at training loss 0.1", "1"),
    "pattern_early": ("accuracy against the pattern at training loss 0.1", "1"),
    "loss": ("training loss at the end", "nat"),
    "epochs": ("epochs trained", "1"),
    "p_ratio": ("ratio exponent of the first layer's updates", "1"),
    "p_gain": ("gain exponent of the first layer's updates", "1"),
    "kappa": ("cosine between updates and the power law of p_ratio", "1"),
    "r2": ("share of the variance that the ratio's power law explains", "1"),
}


def data_sets(scale) -> list[str]:
    """Return the data sets of a ``scale``: the digits, and MNIST at scale ``paper``
    where it is present.
    """
    large = scale == "paper" and datasets.mnist_folder()
    return ["digits", "mnist"] if large else ["digits"]


def powers(scale) -> tuple[str, ...]:
    """Return exact powers of a ``scale``: -1, -1/2, 0 and 1, at ``smoke`` -1, 0, 1."""
    wide = (*EXACT[:3], EXACT[-1])
    return scales.at(scale, smoke=EXACT[::2], book=wide, paper=EXACT)


def runs(
    scale, block=0, names=QUICK, number=SEEDS, until="early", **setting
) -> xr.Dataset:
    """Return fresh runs, with their sizes as attributes.

    Args:
        scale: decides the data sets and the number of seeds.
        block: of seeds.
        names: labels of the optimizers.
        number: of seeds at each scale.
        until: when to stop, as in `fl.simulate.ood.train`: at training loss 0.1.
        setting: of `fl.simulate.ood_images.draw`, for the digits alone.

    Returns:
        What `fl.simulate.ood.run` returns, over (data, optimizer, seed).
    """
    grid = {
        "data": ["digits"] if setting else data_sets(scale),
        "optimizer": names,
    }
    seeds = scales.seeds(scales.at(scale, **number), block)
    size = {"until": until, "width": scales.at(scale, **WIDTHS)}
    found = sweep(ood.run, grid, seeds, **size, **setting)
    return found.assign_attrs(grid | {"seeds": seeds} | size | setting)


def without_cue(scale, block=0, names=QUICK, number=CONTROL) -> xr.Dataset:
    """Return the `runs` of a control, whose training images carry the pattern of a
    random class; ``scale``, ``block``, ``names`` and ``number`` as there.
    """
    return runs(scale, block, names, number, cue="none")


def gaps(data: xr.Dataset, names: Sequence[str]) -> xr.DataArray:
    """Return by how much each of the methods ``names`` reads the digit more than the
    next in ``data``, and by how much it reads the pattern less.

    The two stand along ``test``, the pairs along ``optimizer``, beside the other
    dimensions of the data.
    """
    some = data.sel({"optimizer": list(names)})
    falling = xr.concat([-some["digit"], some["pattern"]], "test")
    return falling.diff("optimizer")


def read_by(rule: Callable, data: str, seeds, **setting) -> xr.DataArray:
    """Return the accuracies (seed, test) of a rule on the tests ``digit`` and
    ``pattern``.

    ``rule(X, labels, new)`` returns the classes of the rows of ``new``, learned from
    the training images ``X`` (n, d); ``data``, ``seeds`` and a ``setting`` of
    `fl.simulate.ood_images.draw` say which images.
    """
    found = []
    for seed in seeds:
        X, labels, *_ = draw(int(seed), data, **setting)
        both = ("digit", "pattern")
        said = rule(X["train"], labels["train"], np.vstack([X[k] for k in both]))
        for test, classes in zip(both, np.split(said, 2), strict=True):
            found.append(np.mean(classes == labels[test]))
    axes = {"seed": list(seeds), "test": ["digit", "pattern"]}
    return xr.DataArray(np.reshape(found, (-1, 2)), axes)


def sampling_error(data: str = "digits", number: int = 1) -> float:
    """Return the standard error of an accuracy on the test images of ``data``, averaged
    over ``number`` seeds, at its largest (accuracy 1/2).
    """
    return 0.5 / np.sqrt(PROTOCOLS[data].test * number)


@stored("ood")
def table(scale, block=0) -> xr.Dataset:
    """Return the runs of all methods on both data sets, ten seeds, trained to the same
    loss; fewer at a smaller ``scale``, other seeds in another ``block``.
    """
    grid = {
        "data": scales.at(
            scale, smoke=["digits"], book=["digits"], paper=list(PROTOCOLS)
        ),
        "optimizer": SOME if scale == "smoke" else tuple(ood.METHODS),
    }
    seeds = scales.seeds(scales.at(scale, **SEEDS), block)
    return _described(sweep(ood.run, grid, seeds))


@stored("ood_variants")
def variants(scale, block=0) -> xr.Dataset:
    """Return runs with one thing changed at a time on the digits: length, coordinates,
    centring, cue, amplitude of the patterns.

    ``scale`` and ``block`` decide the seeds, and below ``paper`` all run `SOME`.
    Length and coordinates change for all methods, the rest for `SOME`; what did not run
    is NaN.
    """
    seeds = scales.seeds(scales.at(scale, smoke=1, book=3, paper=5), block)
    parts = {}
    for label, (setting, names) in VARIANTS.items():
        grid = {"optimizer": names if scale == "paper" else SOME}
        parts[label] = sweep(ood.run, grid, seeds, **setting)
    return _together("variant", parts)


@stored("ood_settings")
def settings(scale, block=0) -> xr.Dataset:
    """Return runs with other hyper-parameters on the digits; ``scale`` and ``block``
    decide the seeds, and at ``smoke`` there is one setting.
    """
    seeds = scales.seeds(scales.at(scale, smoke=1, book=5, paper=5), block)
    labels = list(SETTINGS)[: 1 if scale == "smoke" else None]
    parts = {}
    for label in labels:
        optimizer, hyper = SETTINGS[label]
        parts[label] = sweep(ood.run, seeds=seeds, optimizer=optimizer, hyper=hyper)
    return _together("setting", parts)


def _together(dim: str, parts: dict[str, xr.Dataset]) -> xr.Dataset:
    labels = xr.DataArray(list(parts), dims=dim, name=dim)
    return _described(xr.concat(parts.values(), labels, join="outer"))


def _described(data: xr.Dataset) -> xr.Dataset:
    for name, (description, units) in MEANING.items():
        data[name].attrs = {"description": description, "units": units}
    return data
