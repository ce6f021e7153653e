"""The meter on networks whose optimizer has a known exponent: one run on the digits."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import xarray as xr
from torch import nn

from fl import datasets, validate
from fl.meter import Meter
from fl.meter_layers import rows, watch
from fl.optimizers import library
from fl.power_preconditioner import PowerPreconditioner

BATCH, CLASSES, LARGEST = 64, 10, 144
NETWORKS = ("mlp", "cnn")
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
        network: ``mlp``, 64-48-32-10, or ``cnn``, two convolutions and a linear layer.
        p: power of the input moment before gradient descent, in all layers.
        damping: of that power, relative to the largest eigenvalue.
        shared: the moments are those of all inputs at the start, for the optimizer and
            for the meter; otherwise each has running ones of its own.
        centred: the meter uses its own covariances, whatever the optimizer has.
        window: steps per window.
        steps: of the run.
        extra: one of `EXTRAS`; the meter is told of it if ``corrected``.
        corrected: see ``extra``.

    Raises:
        ValueError: for an unknown name, or a number out of range.
    """

    network: str = "mlp"
    p: float = 0.0
    damping: float = 1e-6
    shared: bool = True
    centred: bool = False
    window: int = 20
    steps: int = 60
    extra: str = "none"
    corrected: bool = True

    def __post_init__(self):
        validate.choice("network", self.network, NETWORKS)
        validate.choice("extra", self.extra, EXTRAS)
        validate.number("p", self.p, -2, 2)
        validate.count("steps", self.steps)


def network(name: str, seed: int) -> nn.Sequential:
    """Return the network ``name`` in double precision, with torch's initial weights of a
    ``seed``.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if name == "mlp":
            hidden = nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 32), nn.ReLU()
            layers = [*hidden, nn.Linear(32, CLASSES)]
        else:
            first = nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 8, 3, padding=1), nn.ReLU()
            second = nn.Conv2d(8, 16, 3, stride=2), nn.ReLU(), nn.Flatten()
            layers = [*first, *second, nn.Linear(LARGEST, CLASSES)]
        return nn.Sequential(*layers).double()


class Digits:
    """The embedded digits, centred, in batches of a ``seed``."""

    def __init__(self, seed: int):
        images = datasets.load("digits")
        X = torch.as_tensor(images.X.T)
        self.X = X - X.mean(0)
        self.y = torch.as_tensor(images.labels)
        self.rng = torch.Generator().manual_seed(seed)

    def train(self, model, optimizer, steps: int) -> None:
        """Train ``model`` by an ``optimizer`` for so many ``steps``."""
        dtype = next(model.parameters()).dtype
        for _ in range(steps):
            i = torch.randint(len(self.X), (BATCH,), generator=self.rng)
            optimizer.zero_grad()
            Z = model(self.X[i].to(dtype))
            nn.functional.cross_entropy(Z, self.y[i]).backward()
            optimizer.step()

    def moments(self, model) -> dict:
        """Return the second moments (d, d) of the inputs of each layer of ``model``."""
        found, handles = {}, []
        for name, layer in model.named_modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):

                def take(x, name=name, layer=layer):
                    x = rows(layer, x)
                    found[name] = x.T @ x / len(x)

                handles.append(watch(layer, take))
        model(self.X)
        for handle in handles:
            handle.remove()
        return found


def read(seed: int, setting: Setting) -> xr.Dataset:
    """Train one network and return what the meter reads.

    Args:
        seed: of weights and batches.
        setting: the run.

    Returns:
        ``slope``, ``kappa`` and ``refused`` (layer,), and ``lam`` and ``gain`` (layer,
        direction), NaN beyond the directions of a layer.
    """
    model, digits = network(setting.network, seed), Digits(seed)
    moments = digits.moments(model) if setting.shared else None
    make, told = EXTRAS[setting.extra]
    optimizer = make(model.parameters(), lr=0.05 * 100.0 ** min(setting.p, 0))
    if setting.p:
        optimizer = PowerPreconditioner(
            optimizer, model, setting.p, setting.damping, "all", moments=moments
        )
    options = told if setting.corrected else {}
    given = None if setting.centred else moments
    meter = Meter(
        model, optimizer, setting.window, setting.centred, moments=given, **options
    )
    digits.train(model, optimizer, setting.steps)
    meter.close()
    found = list(meter.result().values())
    curves = {
        name: (("layer", "direction"), [_padded(getattr(r, name)) for r in found])
        for name in ("lam", "gain")
    }
    numbers = {
        name: ("layer", [getattr(r, name) for r in found])
        for name in ("slope", "kappa")
    }
    refused = {"refused": ("layer", [bool(r.refusal) for r in found])}
    return xr.Dataset(numbers | refused | curves, {"layer": [1, 2, 3]})


def _padded(curve) -> np.ndarray:
    return np.pad(curve, (0, LARGEST - len(curve)), constant_values=np.nan)


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
