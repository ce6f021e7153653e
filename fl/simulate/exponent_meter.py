"""The meter on networks whose optimizer has a known exponent: one run on the digits."""

from dataclasses import dataclass
from functools import partial
from itertools import count

import numpy as np
import torch
import xarray as xr
from torch import nn

from fl import validate
from fl.instruments.digits_networks import (
    BATCH,
    LARGEST,
    NETWORKS,
    Digits,
    moments,
    network,
)
from fl.instruments.exponent_recorder import Recorder
from fl.meter import Meter
from fl.meter_reading import KEPT, Window
from fl.meter_reading import read as read_windows
from fl.optimizers import library
from fl.power_preconditioner import PowerPreconditioner, power_of

DAMPING, WINDOWS = 1e-6, 40
SGD = torch.optim.SGD
# what stands beside the power, and what the meter is told of it
EXTRAS = {
    "none": (SGD, {}),
    "momentum": (partial(SGD, momentum=0.9), {"momentum": 0.9}),
    "coupled": (partial(SGD, weight_decay=0.1), {"decay": "coupled"}),
    "decoupled": (
        lambda w, lr: library("SGDW")(w, lr=lr, weight_decay=0.1),
        {"decay": "decoupled"},
    ),
}


@dataclass(frozen=True)
class Setting:
    """A run and how it is metered.

    Attributes:
        network: one of `fl.instruments.digits_networks.NETWORKS`.
        p: power of the input moment before gradient descent, in all layers.
        damping: of that power, relative to the largest eigenvalue.
        shared: the moments are those of all inputs at the start, for the optimizer and
            for the meter; otherwise each has running ones of its own.
        squared: the meter is given the squares of shared moments.
        window: steps per window.
        steps: of the run.
        extra: one of `EXTRAS`; the meter is told of it if ``corrected``.
        corrected: see ``extra``.

    Raises:
        ValueError: for an unknown name, or a number out of range.
    """

    network: str = "mlp"
    p: float = 0.0
    damping: float = DAMPING
    shared: bool = True
    squared: bool = False
    window: int = 20
    steps: int = 60
    extra: str = "none"
    corrected: bool = True

    def __post_init__(self):
        validate.choice("network", self.network, NETWORKS)
        validate.choice("extra", self.extra, EXTRAS)
        validate.number("p", self.p, -2, 2)
        validate.count("steps", self.steps)


def read(seed: int, setting: Setting) -> xr.Dataset:
    """Train one network and return what the meter reads.

    Args:
        seed: of weights and batches.
        setting: the run.

    Returns:
        ``slope`` and ``kappa`` (layer,), and ``lam`` and ``gain`` (layer, direction), NaN
        beyond the directions of a layer.
    """
    make, told = EXTRAS[setting.extra]
    model, digits = network(setting.network, seed), Digits(seed)
    shared = moments(model, digits.X) if setting.shared else None
    optimizer = make(model.parameters(), lr=0.05 * 100.0 ** min(setting.p, 0))
    if setting.p:
        # the power of a moment that stays is taken once
        every = setting.steps if setting.shared else 1
        options = {"damping": setting.damping, "layers": "all", "every": every}
        optimizer = PowerPreconditioner(
            optimizer, model, setting.p, moments=shared, **options
        )
    given = {k: M @ M for k, M in shared.items()} if setting.squared else shared
    options = told if setting.corrected else {}
    with Meter(model, optimizer, setting.window, moments=given, **options) as meter:
        digits.train(model, optimizer, setting.steps)
    found = list(meter.result().values())
    curves = np.full((2, len(found), LARGEST), np.nan)
    for i, reading in enumerate(found):
        curves[:, i, : len(reading.lam)] = reading.lam, reading.gain
    table = {
        "slope": ("layer", [r.slope for r in found]),
        "kappa": ("layer", [r.kappa for r in found]),
        "lam": (("layer", "direction"), curves[0]),
        "gain": (("layer", "direction"), curves[1]),
    }
    return xr.Dataset(
        table,
        {"layer": [1, 2, 3]},
    )


def uncorrected(seed: int, extra: str) -> dict[str, tuple]:
    """Return the ``slope`` (layer,) of displacement against gradient for descent with an
    ``extra`` of `EXTRAS` on the MLP, from the recorder of chapter "effective_exponent",
    which corrects nothing. ``seed`` is that of weights and batches.
    """
    model, digits = network("mlp", seed), Digits(seed)
    pairs = [
        (model.get_submodule(name).weight, Recorder(M.numpy(force=True), window=20))
        for name, M in moments(model, digits.X).items()
    ]
    steps = count()

    def see(*_) -> None:
        step = next(steps)
        for W, recorder in pairs:
            recorder.see(step, W, W.grad)

    optimizer = EXTRAS[extra][0](model.parameters(), lr=0.05)
    optimizer.register_step_pre_hook(see)
    digits.train(model, optimizer, 61)
    found = [recorder.result().p_gain for _, recorder in pairs]
    return {"slope": ("layer", found)}


def clouded(seed: int, p: float) -> dict[str, tuple]:
    """Return the ``slope`` (layer,) that a power ``p`` of the whole moment has in the
    eigenvectors of the moments of single batches, for the MLP at the start; nothing is
    trained. ``seed`` is that of weights and batches.
    """
    model, digits = network("mlp", seed), Digits(seed)
    whole = moments(model, digits.X)
    exact = {name: power_of(M, p, DAMPING).numpy() for name, M in whole.items()}
    seen = {name: [] for name in exact}
    for _ in range(WINDOWS):
        for name, M in moments(model, digits.batch()[0]).items():
            lam, U = np.linalg.eigh(M.numpy())
            gain = np.sum(U * (exact[name] @ U), 0)
            kept = lam >= KEPT * lam[-1]
            lam, gain = lam[kept][::-1], gain[kept][::-1]
            window = Window(lam, gain, np.ones_like(gain), gain**2, np.inf, BATCH)
            seen[name].append(window)
    found = [read_windows(windows, "") for windows in seen.values()]
    return {"slope": ("layer", [reading.slope for reading in found])}


def _twin(model, digits) -> None:
    model[0].twin = nn.Linear(64, 48)
    model[0].twin.weight = model[0].weight


def _whiten(model, digits) -> None:
    U, s, _ = torch.linalg.svd(digits.X, full_matrices=False)
    whole = s > 0.1 * s[0]
    digits.X = U * whole * len(U) ** 0.5


SPOILED = {
    "bfloat16": lambda model, digits: model.bfloat16(),
    "frozen": lambda model, digits: model[0].requires_grad_(False),
    "shared": _twin,
    "whitened": _whiten,
}


def refusals(seed: int, kind: str, faulty: bool = True) -> dict[str, float]:
    """Return 1 as ``wrong`` if the first layer is read, which it must not be.

    Args:
        seed: of weights and batches.
        kind: one of `SPOILED`, what is done to the network or its inputs.
        faulty: False for doing nothing.

    Raises:
        ValueError: for an unknown kind.
    """
    spoil = SPOILED[validate.choice("kind", kind, SPOILED)]
    model, digits = network("mlp", seed), Digits(seed)
    if faulty:
        spoil(model, digits)
    optimizer = SGD(model.parameters(), lr=1e-3)
    with Meter(model, optimizer) as meter:
        digits.train(model, optimizer, 20)
    reading = meter.result().get("0")
    return {"wrong": float(reading is not None and not reading.refusal)}


def untouched(seed: int, same: bool = True) -> dict[str, float]:
    """Return 1 as ``wrong`` if a run of Adam with a meter ends with other bits than without.

    ``seed`` is that of weights and batches; other batches if not ``same``.
    """
    ends = []
    for metered in (False, True):
        model = network("cnn", seed).float()
        digits = Digits(seed + (metered and not same))
        optimizer = torch.optim.Adam(model.parameters())
        meter = Meter(model, optimizer, window=5) if metered else None
        digits.train(model, optimizer, 10)
        ends.append(nn.utils.parameters_to_vector(model.parameters()).detach())
        if meter:
            meter.close()
    return {"wrong": float(not torch.equal(*ends))}
