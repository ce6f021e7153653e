"""What the optimizers of the zoo leave in the weights of a network on the digits, beside
the exponent of their updates.
"""

import numpy as np
import torch
from torch import nn

from fl import optimizers, validate
from fl.instruments.exponent_reader import read_balance, read_gradient
from fl.instruments.exponent_recorder import Recorder
from fl.simulate.feature_matrix_digits import FLOOR, HIDDEN, images, layers
from fl.simulate.ood import METHODS, network

TARGET, STEPS, REST, IMAGES = 0.2, 300, 400, 200


def left_by(seed: int, optimizer: str, start: float, decay: float = 0) -> dict:
    """Train by an ``optimizer`` to the training loss 0.2, for at most 300 steps, and read
    the exponent from the balance; with decay for 400, and read it from the gradient.

    Args:
        seed: of the images and the start.
        optimizer: one of `fl.simulate.ood.METHODS`.
        start: size of the first weights; biases start at zero.
        decay: the share of all parameters that is taken off in every step, decoupled.

    Returns:
        The reader's ``p``, ``error`` and ``misfit``, with decay from averages over the
        second half of the steps; without it ``p_gain`` and ``kappa`` of the
        updates, in the directions that the floor of the moment does not rule.

    Raises:
        ValueError: for an unknown optimizer.
    """
    name, hyper = METHODS[validate.choice("optimizer", optimizer, METHODS)]
    X, Y, moment = images(seed, IMAGES)
    model = network(len(X), seed, torch.double, HIDDEN)
    for module, W in zip(model[::2], layers(seed, start), strict=True):
        module.weight.data = torch.as_tensor(W)
        nn.init.zeros_(module.bias)
    inputs, labels = map(torch.as_tensor, (X.T, Y.T))
    first = model[0].weight
    covariance = moment.power(1)
    recorder = Recorder(covariance, kept=2 * FLOOR)
    late = []

    def watch(step, loss):
        recorder.see(step, first, first.grad)
        if step >= REST // 2:
            late.append([first.tolist(), first.grad.tolist()])
        for w in model.parameters():
            w.data *= 1 - decay
        return not decay and loss <= TARGET

    def loss():
        return nn.functional.cross_entropy(model(inputs), labels)

    if name == "exact":
        hyper = hyper | {"covariance": covariance}
    optimizers.minimise(
        name, model, loss, REST if decay else STEPS, watch, seed, **hyper
    )
    if decay:
        return read_gradient(*np.mean(late, 0), moment)._asdict()
    W, b, A, _ = (w.numpy(force=True) for w in model.parameters())
    reading = read_balance(W, np.sum(A**2, 0) - b**2, moment)
    updates = recorder.result()
    return reading._asdict() | {"p_gain": updates.p_gain, "kappa": updates.kappa}
