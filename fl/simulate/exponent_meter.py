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
        ``slope``, the exponent ``read``, NaN where the meter refuses, and ``kappa``
        (layer,), and ``lam`` and ``gain`` (layer, direction), NaN beyond the directions of
        a layer.
    """
    make, told = EXTRAS[setting.extra]
    model, digits = network(setting.network, seed), Digits(seed)
    shared = moments(model, digits.X) if setting.shared else None
    optimizer = make(model.parameters(), lr=0.05 * 100.0 ** min(setting.p, 0))
    if setting.p:
        # the power of a moment that stays is taken once
        every = setting.steps if setting.shared else 1
        optimizer = PowerPreconditioner(
            optimizer,
            model,
            setting.p,
            damping=setting.damping,
            layers="all",
            every=every,
            moments=shared,
        )
    given = {k: M @ M for k, M in shared.items()} if setting.squared else shared
    options = told if setting.corrected else {}
    with Meter(model, optimizer, setting.window, moments=given, **options) as meter:
        digits.train(model, optimizer, setting.steps)
    layers = []
    for reading in meter.result().values():
        table = {
            "slope": reading.slope,
            "read": reading.p,
            "kappa": reading.kappa,
            "lam": ("direction", reading.lam),
            "gain": ("direction", reading.gain),
        }
        beyond = LARGEST - len(reading.lam)
        layers.append(xr.Dataset(table).pad(direction=(0, beyond)))
    return xr.concat(layers, "layer")


def uncorrected(seed: int, extra: str) -> dict[str, tuple]:
    """Return the ``slope`` (layer,) of displacement against gradient for descent with an
    ``extra`` of `EXTRAS` on the MLP, from the recorder of chapter "effective_exponent",
    which corrects nothing. ``seed`` is that of weights and batches.
    """
    model, digits = network("mlp", seed), Digits(seed)
    recorders = {
        model.get_submodule(name).weight: Recorder(M, window=20)
        for name, M in moments(model, digits.X).items()
    }
    steps = count()

    def see(*_) -> None:
        step = next(steps)
        for W, recorder in recorders.items():
            recorder.see(step, W, W.grad)

    optimizer = EXTRAS[extra][0](model.parameters(), lr=0.05)
    optimizer.register_step_pre_hook(see)
    digits.train(model, optimizer, 61)
    found = [recorder.result().p_gain for recorder in recorders.values()]
    return {"slope": ("layer", found)}


def clouded(seed: int, p: float) -> dict[str, tuple]:
    """Return the ``slope`` (layer,) that a power ``p`` of the whole moment has in the
    eigenvectors of the moments of single batches, for the MLP at the start; nothing is
    trained. ``seed`` is that of weights and batches.
    """
    model, digits = network("mlp", seed), Digits(seed)
    batches = [moments(model, digits.batch()[0]) for _ in range(WINDOWS)]
    found = []
    for name, M in moments(model, digits.X).items():
        P = power_of(M, p, DAMPING).numpy()
        windows = [_window(batch[name].numpy(), P) for batch in batches]
        found.append(read_windows(windows, "").slope)
    return {"slope": ("layer", found)}


def _window(M, P) -> Window:
    """Return what a step that moves in P (d, d) shows in the eigenvectors of the moment M
    (d, d) of its batch.
    """
    lam, U = np.linalg.eigh(M)
    gain = np.sum(U * (P @ U), 0)
    kept = lam >= KEPT * lam[-1]
    lam, gain = lam[kept][::-1], gain[kept][::-1]
    return Window(lam, gain, np.ones_like(gain), gain**2, np.inf, BATCH)


def _whiten(model, digits) -> None:
    U, s, _ = torch.linalg.svd(digits.X, full_matrices=False)
    whole = s > 0.1 * s[0]
    digits.X = U * whole * len(U) ** 0.5


# what is done to the network or its inputs, so that the first layer must not be read
SPOILED = {
    "bfloat16": lambda model, digits: model.bfloat16(),
    "frozen": lambda model, digits: model[0].requires_grad_(False),
    "shared": lambda model, digits: model[2].register_parameter("w", model[0].weight),
    "whitened": _whiten,
}
SAME = "same"  # nothing: two runs of which one is metered must be the same


def refusals(seed: int, kind: str, faulty: bool = True) -> dict[str, float]:
    """Return 1 as ``wrong`` if the first layer is read, or a run changed, which must not be.

    Args:
        seed: of weights and batches.
        kind: one of `SPOILED`, or `SAME`.
        faulty: False for a first layer that is not spoiled, and for two runs with other
            batches.

    Raises:
        ValueError: for an unknown kind.
    """
    validate.choice("kind", kind, [*SPOILED, SAME])
    if kind == SAME:
        return {"wrong": float(_changed(seed, faulty))}
    model, digits = network("mlp", seed), Digits(seed)
    if faulty:
        SPOILED[kind](model, digits)
    optimizer = SGD(model.parameters(), lr=1e-3)
    with Meter(model, optimizer) as meter:
        digits.train(model, optimizer, 20)
    reading = meter.result().get("0")
    return {"wrong": float(reading is not None and not reading.refusal)}


def _changed(seed: int, same: bool) -> bool:
    """Return whether a run of Adam with a meter ends with other bits than without, on the
    ``same`` batches or on others.
    """
    ends = []
    for metered in (False, True):
        model = network("cnn", seed).float()
        digits = Digits(seed + (metered and not same))
        optimizer = torch.optim.Adam(model.parameters())
        if metered:
            Meter(model, optimizer, window=5)
        digits.train(model, optimizer, 10)
        ends.append(nn.utils.parameters_to_vector(model.parameters()))
    return not torch.equal(*ends)
