"""What the optimizers of the zoo leave in the weights of a network on the digits, beside
the exponent of their updates.
"""

import numpy as np
import torch
from torch import nn

from fl import optimizers, validate
from fl.instruments.exponent_reader import read_balance
from fl.instruments.exponent_recorder import Recorder
from fl.simulate.feature_matrix_digits import CLASSES, FLOOR, HIDDEN, images, layers
from fl.simulate.ood import METHODS

TARGET, STEPS, IMAGES = 0.2, 300, 200


def left_by(seed: int, optimizer: str, start: float) -> dict:
    """Train by an ``optimizer`` to the training loss 0.2, for at most 300 steps, and read
    both exponents.

    Args:
        seed: of the images and the start.
        optimizer: one of `fl.simulate.ood.METHODS`.
        start: size of the first weights; biases start at zero.

    Returns:
        The reader's ``p``, ``error`` and ``misfit``; ``p_gain`` and ``kappa`` of the
        updates, in the directions that the floor of the moment does not rule.

    Raises:
        ValueError: for an unknown optimizer.
    """
    name, hyper = METHODS[validate.choice("optimizer", optimizer, METHODS)]
    X, Y, moment = images(seed, IMAGES)
    first = nn.Linear(len(X), HIDDEN)
    second = nn.Linear(HIDDEN, CLASSES)
    model = nn.Sequential(first, nn.ReLU(), second).double()
    for module, W in zip((first, second), layers(seed, start), strict=True):
        module.weight.data = torch.as_tensor(W)
        nn.init.zeros_(module.bias)
    inputs, labels = torch.as_tensor(X.T), torch.as_tensor(Y.T)
    recorder = Recorder(moment.power(1), kept=2 * FLOOR)

    def watch(step: int, loss: float) -> bool:
        recorder.see(step, first.weight, first.weight.grad)
        return loss <= TARGET

    def loss() -> torch.Tensor:
        return nn.functional.cross_entropy(model(inputs), labels)

    if name == "exact":
        covariance = moment.power(1)
        hyper = hyper | {"covariance": covariance}
    optimizers.minimise(name, model, loss, STEPS, watch, seed, **hyper)
    W, b, A, _ = (w.numpy(force=True) for w in model.parameters())
    readout = np.sum(A**2, 0) - b**2
    reading = read_balance(W, readout, moment)
    updates = recorder.result()
    return reading._asdict() | {
        "p_gain": updates.p_gain,
        "kappa": updates.kappa,
    }
