"""An MLP and a CNN on the embedded digits, and the batches and moments of their training."""

import torch
from torch import nn

from fl import datasets, validate
from fl.meter_layers import rows, watch

BATCH, CLASSES, LARGEST = 64, 10, 144
NETWORKS = ("mlp", "cnn")


def network(name: str, seed: int) -> nn.Sequential:
    """Return the network ``name``, in double precision, with torch's initial weights of a
    ``seed``: ``mlp``, 64-48-32-10, or ``cnn``, two convolutions and a linear layer.

    Raises:
        ValueError: for another name.
    """
    validate.choice("network", name, NETWORKS)
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

    def batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return inputs (64, 64) and labels (64,) of the next batch."""
        i = torch.randint(len(self.X), (BATCH,), generator=self.rng)
        return self.X[i], self.y[i]

    def train(self, model, optimizer, steps: int) -> None:
        """Train ``model`` by an ``optimizer`` for so many ``steps``."""
        dtype = next(model.parameters()).dtype
        for _ in range(steps):
            X, y = self.batch()
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(X.to(dtype)), y).backward()
            optimizer.step()


def moments(model, X) -> dict[str, torch.Tensor]:
    """Return the second moments (d, d) of the inputs of each layer of ``model``, by name,
    for the inputs ``X`` (n, 64).
    """
    found, handles = {}, []
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):

            def take(x, name=name, layer=layer):
                x = rows(layer, x)
                found[name] = x.T @ x / len(x)

            handles.append(watch(layer, take))
    model(X)
    for handle in handles:
        handle.remove()
    return found
