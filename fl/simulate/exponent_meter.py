"""The meter on networks whose optimizer has a known exponent: one run on the digits."""

from dataclasses import dataclass

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
DECAYS = {"none": None, "coupled": torch.optim.SGD, "decoupled": library}
MOMENTUM, DECAY = 0.9, 0.1


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
        extra: ``none``, ``momentum``, ``coupled`` or ``decoupled`` decay, which the meter
            is told of if ``corrected``.
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
        validate.choice("extra", self.extra, [*DECAYS, "momentum"])
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
    optimizer = _optimizer(model, setting, moments)
    seen = {"window": setting.window, "centred": setting.centred}
    if not setting.centred:
        seen["moments"] = moments
    if setting.corrected and setting.extra == "momentum":
        seen["momentum"] = MOMENTUM
    if setting.corrected and setting.extra in ("coupled", "decoupled"):
        seen["decay"] = setting.extra
    with Meter(model, optimizer, **seen) as meter:
        digits.train(model, optimizer, setting.steps)
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


def _optimizer(model, setting: Setting, moments) -> torch.optim.Optimizer:
    w, eta = model.parameters(), 0.05 * 100.0 ** min(setting.p, 0)
    if setting.extra == "decoupled":
        return library("SGDW")(w, lr=eta, weight_decay=DECAY)
    decay = DECAY if setting.extra == "coupled" else 0.0
    momentum = MOMENTUM if setting.extra == "momentum" else 0.0
    descent = torch.optim.SGD(w, lr=eta, momentum=momentum, weight_decay=decay)
    if setting.p == 0:
        return descent
    return PowerPreconditioner(
        descent, model, setting.p, setting.damping, "all", moments=moments
    )


def refusals(seed: int, kind: str, faulty: bool = True) -> dict[str, float]:
    """Return 1 as ``wrong`` if a layer is read that must not be, or the other way round.

    Args:
        seed: of weights and batches.
        kind: ``bfloat16`` weights, ``frozen`` or ``shared`` ones, ``whitened`` inputs, or
            an ``untouched`` run, which must end with the same bits as without a meter.
        faulty: False for the case next to it, which would be read (and a run with other
            batches).

    Raises:
        ValueError: for an unknown kind.
    """
    validate.choice(
        "kind", kind, ["bfloat16", "frozen", "shared", "whitened", "untouched"]
    )
    model, digits = network("mlp", seed), Digits(seed)
    if kind == "untouched":
        ends = [_end(seed, seed, False), _end(seed, seed + (not faulty), True)]
        return {"wrong": float(not torch.equal(*ends))}
    model.insert(0, nn.Linear(64, 64).double())
    model.append(nn.Linear(CLASSES, CLASSES).double())
    model.append(nn.Linear(CLASSES, CLASSES).double())
    name = {"bfloat16": "1", "whitened": "0"}.get(kind, "6")
    if kind == "whitened" and faulty:
        digits.X = _white(digits.X)
    if kind == "frozen" and faulty:
        model[6].requires_grad_(False)
    if kind == "shared" and faulty:
        model[7].weight = model[6].weight
    if kind == "bfloat16":
        model = model.to(torch.bfloat16 if faulty else torch.float32)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with Meter(model, optimizer) as meter:
        digits.train(model, optimizer, 20)
    reading = meter.result().get(name)
    return {"wrong": float(reading is not None and not reading.refusal)}


def _white(X) -> torch.Tensor:
    U, s, _ = torch.linalg.svd(X, full_matrices=False)
    kept = U[:, s > 0.1 * s[0]] * len(X) ** 0.5
    return nn.functional.pad(kept, (0, X.shape[1] - kept.shape[1]))


def _end(seed: int, batches: int, metered: bool) -> torch.Tensor:
    """Return all weights after a run of Adam."""
    model, digits = network("cnn", seed).float(), Digits(batches)
    optimizer = torch.optim.Adam(model.parameters())
    meter = Meter(model, optimizer, window=5) if metered else None
    digits.train(model, optimizer, 10)
    if meter:
        meter.close()
    return nn.utils.parameters_to_vector(model.parameters()).detach()
