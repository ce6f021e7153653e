"""What the optimizers of the zoo leave in the weights of a network on the digits, beside
the exponent of their updates.
"""

import numpy as np
import torch
from torch import nn

from fl import optimizers, validate
from fl.instruments.exponent_reader import read_balance
from fl.instruments.exponent_recorder import Recorder
from fl.simulate.feature_matrix import WEIGHTS, layers
from fl.simulate.feature_matrix_digits import CLASSES, FLOOR, HIDDEN, images

TARGET, IMAGES = 0.05, 200
# the name in the zoo and what differs from its defaults: a long ascent step of SAM never
# leaves the saddle at zero, and the others are to reach the loss within the steps
METHODS: dict[str, tuple[str, dict]] = {
    "GD": ("GD", {}),
    "exact -1/2": ("exact", {"p": -0.5, "lr": 1.0}),
    "exact +1/2": ("exact", {"p": 0.5, "lr": 1.0}),
    "momentum": ("momentum", {}),
    "SAM": ("SAM", {"rho": 0.02}),
    "Adam": ("Adam", {"lr": 3e-3}),
    "AdaHessian": ("power-AdaHessian", {"p": -0.5}),
    "K-FAC": ("K-FAC", {"damping": 1e-3}),
    "Shampoo": ("Shampoo", {"lr": 0.02}),
    "SOAP": ("SOAP", {}),
    "Muon": ("Muon", {"lr": 0.02}),
}


def left_by(
    seed: int, optimizer: str, start: float, steps: int = 300
) -> dict[str, float]:
    """Train by an ``optimizer`` to the training loss 0.05 and read both exponents.

    Args:
        seed: of the images and the start.
        optimizer: one of `METHODS`.
        start: size of the first weights, relative to one over the root of the fan-in.
        steps: at most so many.

    Returns:
        The reader's ``p``, ``error`` and ``misfit``; ``p_gain`` and ``kappa`` of the
        updates, in the directions that the floor of the moment does not rule; the
        ``loss`` and the number of ``steps``.

    Raises:
        ValueError: for an unknown optimizer.
    """
    name, hyper = METHODS[validate.choice("optimizer", optimizer, METHODS)]
    X, Y, moment = images(seed, IMAGES)
    model = _network(seed, len(X), start)
    first, _, second = model
    inputs, classes = torch.as_tensor(X.T.copy()), torch.as_tensor(Y.argmax(0))
    recorder = Recorder(moment.power(1), kept=2 * FLOOR)
    losses = []

    def watch(step: int, loss: float) -> bool:
        recorder.see(step, first.weight, first.weight.grad)
        losses.append(loss)
        return loss <= TARGET

    def loss() -> torch.Tensor:
        return nn.functional.cross_entropy(model(inputs), classes)

    covariance = {"covariance": moment.power(1)} if name == "exact" else {}
    made = optimizers.minimise(
        name, model, loss, steps, watch, seed, **hyper, **covariance
    )
    W, b, A = (w.detach().numpy() for w in (first.weight, first.bias, second.weight))
    updates = recorder.result()
    reading = read_balance(W, np.sum(A**2, 0) - b**2, moment)
    found = reading._asdict() | {"p_gain": updates.p_gain, "kappa": updates.kappa}
    return found | {"loss": losses[-1], "steps": made}


def _network(seed: int, d: int, size: float) -> nn.Sequential:
    """Return a small network in double precision, biases zero."""
    rng = np.random.default_rng([seed, WEIGHTS])
    network = nn.Linear(d, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES)
    start = layers(rng, [d, HIDDEN, CLASSES], size)
    with torch.no_grad():
        for layer, W in zip(network[::2], start, strict=True):
            layer.weight.data = torch.as_tensor(W)
            layer.bias.data = torch.zeros(len(W), dtype=torch.float64)
    return nn.Sequential(*network)
