"""What the optimizers of the zoo leave in the weights of a network on the digits, beside
the exponent of their updates.
"""

import numpy as np
import torch
from torch import nn

from fl import optimizers, validate
from fl.instruments.exponent_reader import read_balance
from fl.instruments.exponent_recorder import Recorder
from fl.simulate.feature_matrix_digits import FLOOR, images, layers

TARGET, IMAGES = 0.1, 200
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
    "Shampoo": ("Shampoo", {}),
    "SOAP": ("SOAP", {}),
    "Muon": ("Muon", {"lr": 0.02}),
}


def left_by(seed: int, optimizer: str, start: float, steps: int = 300) -> dict:
    """Train by an ``optimizer`` to the training loss 0.1 and read both exponents.

    Args:
        seed: of the images and the start.
        optimizer: one of `METHODS`.
        start: size of the first weights; biases start at zero.
        steps: at most so many.

    Returns:
        The reader's ``p``, ``error`` and ``misfit``; ``p_gain`` and ``kappa`` of the
        updates, in the directions that the floor of the moment does not rule; the last
        ``loss``.

    Raises:
        ValueError: for an unknown optimizer.
    """
    name, hyper = METHODS[validate.choice("optimizer", optimizer, METHODS)]
    X, Y, moment = images(seed, IMAGES)
    modules = [nn.Linear(*W.shape[::-1]) for W in layers(seed, start)]
    for module, W in zip(modules, layers(seed, start), strict=True):
        module.weight.data = torch.as_tensor(W)
        module.bias.data = torch.zeros(len(W), dtype=torch.float64)
    first, second = modules
    model = nn.Sequential(first, nn.ReLU(), second)
    inputs, classes = torch.as_tensor(X.T.copy()), torch.as_tensor(Y.argmax(0))
    recorder, losses = Recorder(moment.power(1), kept=2 * FLOOR), []

    def watch(step: int, loss: float) -> bool:
        recorder.see(step, first.weight, first.weight.grad)
        losses.append(loss)
        return loss <= TARGET

    def loss() -> torch.Tensor:
        return nn.functional.cross_entropy(model(inputs), classes)

    if name == "exact":
        hyper = hyper | {"covariance": moment.power(1)}
    optimizers.minimise(name, model, loss, steps, watch, seed, **hyper)
    W, b, A = (w.numpy(force=True) for w in (first.weight, first.bias, second.weight))
    reading = read_balance(W, np.sum(A**2, 0) - b**2, moment)._asdict()
    updates = recorder.result()
    read = {"p_gain": updates.p_gain, "kappa": updates.kappa, "loss": losses[-1]}
    return reading | read
