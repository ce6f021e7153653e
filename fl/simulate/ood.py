r"""Two cues in conflict: networks trained on images whose class also shows in a fixed
additive pattern.

An image of class c carries the pattern :math:`n_c\sim N(0,s^2I_d)`, drawn once per
class and seed, clipped to [0, 1]. After training, two tests set the digit against the
pattern: in ``digit`` the true label counts and the pattern is that of the neighbouring
class (0-1, 2-3, ...), in ``noise`` a random label counts, whose pattern the image
carries. Training is the same for both, so one run is evaluated twice. The network is
d-256-10 with ReLU and torch's initial weights, mean cross-entropy, full batch. Inputs
are centred by the training mean.

All optimizers of one seed share images, patterns and initial weights: differences are
paired.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from fl import datasets, optimizers, validate
from fl.instruments.exponent_recorder import Exponent, Recorder

HIDDEN, CLASSES, LONG = 256, 10, 500
EARLY = 0.1  # training loss of the first read-out


class Protocol(NamedTuple):
    """Standard deviation of the patterns, sizes of the training and validation sets,
    training loss to stop at, cap.
    """

    noise: float
    train: int
    validation: int
    target: float
    cap: int


PROTOCOLS = {
    "digits": Protocol(0.15, 600, 600, 0.01, 600),
    "mnist": Protocol(0.10, 1200, 1200, 0.05, 300),
}
EXACT = {f"exact {p:+g}": ("exact", {"p": p}) for p in (-1.0, -0.5, 0.5, 1.0)}
POWERS = {
    f"power-AdaHessian {p:+g}": ("power-AdaHessian", {"p": p})
    for p in (-0.5, 0.0, 0.5, 1.0)
}
# dividing by the curvature itself is stable at a smaller rate only
POWERS = {"power-AdaHessian -1": ("power-AdaHessian", {"p": -1.0, "lr": 0.3})} | POWERS
KFACS = {
    f"K-FAC {d:.0e}".replace("e-0", "e-"): ("K-FAC", {"damping": d})
    for d in (1e-6, 1e-5, 1e-4, 1e-3)
}
PLAIN = (
    "GD",
    "momentum",
    "SAM",
    "Adam",
    "AdamW",
    "Sophia-H",
    "AdaHessian",
    "Shampoo",
    "SOAP",
    "Muon",
    "L-BFGS",
)
# label -> name in the zoo and what differs from its defaults
METHODS: dict[str, tuple[str, dict]] = (
    EXACT | {name: (name, {}) for name in PLAIN} | POWERS | KFACS
)


class Data(NamedTuple):
    """Centred inputs, one row per image, and labels.

    ``X`` and ``labels`` have the keys train, id, digit, noise, congruent (images with
    the pattern of their own class); ``mean`` (d,) is the training mean, ``patterns``
    (10, d), ``covariance`` (d, d) that of the training inputs.
    """

    X: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]
    mean: np.ndarray
    patterns: np.ndarray
    covariance: np.ndarray


class Run(NamedTuple):
    """A trained network with its data, its accuracies, the loss and the step it stopped
    at, and its exponent.
    """

    model: nn.Module
    data: Data
    accuracy: dict[str, float]
    early: dict[str, float]
    loss: float
    epochs: int
    exponent: Exponent


def draw(
    seed: int,
    data: str = "digits",
    basis: str = "pixel",
    cue: str = "class",
    centred: bool = True,
    noise: float | None = None,
) -> Data:
    """Return the images of a seed with their patterns.

    Args:
        seed: of the split, the patterns and the labels of the noise test.
        data: ``digits`` or ``mnist``.
        basis: coordinates of the inputs: ``pixel``, ``eigen`` (eigenvectors of the
            covariance) or ``random``.
        cue: ``class``, or ``none``: training images carry the pattern of a random
            class.
        centred: subtract the training mean.
        noise: standard deviation of the patterns; the protocol's if None.

    Raises:
        ValueError: for an unknown name or a noise that is negative or not finite.
        FileNotFoundError: if MNIST is asked for and is not there.
    """
    validate.choice("basis", basis, ["pixel", "eigen", "random"])
    validate.choice("cue", cue, ["class", "none"])
    protocol = PROTOCOLS[validate.choice("data", data, PROTOCOLS)]
    noise = protocol.noise if noise is None else validate.number("noise", noise, 0)
    pixels, labels = datasets.load(data)
    rng = np.random.default_rng(validate.count("seed", seed, minimum=0))
    order = rng.permutation(len(labels))
    patterns = noise * rng.standard_normal((CLASSES, len(pixels)))
    train, valid, test = np.split(
        order, [protocol.train, protocol.train + protocol.validation]
    )
    drawn = rng.integers(0, CLASSES, len(test))
    shown = labels if cue == "class" else rng.integers(0, CLASSES, len(labels))

    def image(rows, carried) -> np.ndarray:
        return np.clip(pixels.T[rows] + patterns[carried], 0, 1)

    y = labels[test]
    X = {
        "train": image(train, shown[train]),
        "id": image(valid, shown[valid]),
        "digit": image(test, y ^ 1),  # the neighbour: 0-1, 2-3, 4-5, 6-7, 8-9
        "noise": image(test, drawn),
        "congruent": image(test, y),
    }
    mean = X["train"].mean(0)
    covariance = np.cov(X["train"].T, bias=True)
    X = {k: x - mean if centred else x for k, x in X.items()}
    answers = {
        "train": labels[train],
        "id": labels[valid],
        "digit": y,
        "noise": drawn,
        "congruent": y,
    }
    if basis == "pixel":
        return Data(X, answers, mean, patterns, covariance)
    if basis == "eigen":
        turn = np.linalg.eigh(covariance)[1]
    else:
        turn = np.linalg.qr(
            np.random.default_rng([seed, 1]).standard_normal(covariance.shape)
        )[0]
    X = {k: x @ turn for k, x in X.items()}
    return Data(X, answers, mean @ turn, patterns @ turn, turn.T @ covariance @ turn)


def network(d: int, seed: int, dtype: torch.dtype = torch.float32) -> nn.Sequential:
    """Return the network d-256-10 with torch's default initial weights of a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Linear(d, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES)
        ).to(dtype)


def train(
    seed: int,
    optimizer: str,
    data: str = "digits",
    long: bool = False,
    hyper: dict | None = None,
    **setting,
) -> Run:
    """Train one network and evaluate it on every test.

    Args:
        seed: of data and initial weights.
        optimizer: one of `METHODS`.
        data: ``digits`` or ``mnist``.
        long: train for 500 epochs instead of to the protocol's training loss.
        hyper: further hyper-parameters of the optimizer.
        setting: of `draw`.

    Raises:
        ValueError: for an unknown optimizer or hyper-parameter, or a setting out of
            range.
    """
    name, given = METHODS[validate.choice("optimizer", optimizer, METHODS)]
    drawn, protocol = draw(seed, data, **setting), PROTOCOLS[data]
    dtype = (
        torch.float64 if name == "L-BFGS" else torch.float32
    )  # its line search needs the digits
    X = {k: torch.as_tensor(x, dtype=dtype) for k, x in drawn.X.items()}
    y = {k: torch.as_tensor(v) for k, v in drawn.labels.items()}
    model = network(X["train"].shape[1], seed, dtype)
    recorder, early, last = Recorder(drawn.covariance), {}, np.nan
    first = model[0].weight

    def accuracy(on: str) -> float:
        with torch.no_grad():
            return float((model(X[on]).argmax(1) == y[on]).double().mean())

    def watch(step: int, loss: float) -> bool:
        nonlocal last
        last = loss
        recorder.see(step, first, first.grad)
        if loss <= EARLY and not early:
            early.update({k: accuracy(k) for k in ("digit", "noise")})
        return not long and loss <= protocol.target

    hyper = (
        given
        | (hyper or {})
        | ({"covariance": drawn.covariance} if name == "exact" else {})
    )
    epochs = optimizers.minimise(
        name,
        model,
        lambda: nn.functional.cross_entropy(model(X["train"]), y["train"]),
        LONG if long else protocol.cap,
        watch,
        seed,
        **hyper,
    )
    tests = {k: accuracy(k) for k in ("id", "digit", "noise", "congruent")}
    return Run(model, drawn, tests, early, last, epochs, recorder.result())


def run(seed: int, optimizer: str, data: str = "digits", **setting) -> dict[str, float]:
    """Return the numbers of one `train` run: accuracies, the two tests at loss 0.1,
    loss, epochs and exponents.

    ``digit`` and ``noise`` are the two out-of-distribution accuracies, ``id`` is that
    of validation, ``congruent`` that of the test images with the pattern of their own
    class; the loss is in nats. A run that ends before it reaches the loss 0.1 has NaN
    there, and one of fewer than five updates has NaN exponents.
    """
    result = train(seed, optimizer, data, **setting)
    exponents = {
        k: getattr(result.exponent, k) for k in ("p_ratio", "p_gain", "kappa", "r2")
    }
    early = {f"{k}_early": result.early.get(k, np.nan) for k in ("digit", "noise")}
    return (
        result.accuracy
        | early
        | {"loss": result.loss, "epochs": float(result.epochs)}
        | exponents
    )
