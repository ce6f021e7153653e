"""Which of two cues does a network read? Training on the images of
`fl.simulate.ood_images`, by any optimizer.

After training, two tests set the digit against the pattern. Training is the same for
both, so one run is evaluated twice. The network is d-256-10 with ReLU and torch's
initial weights, mean cross-entropy, full batch.

All optimizers of one seed share images, patterns and initial weights: differences are
paired.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from fl import optimizers, validate
from fl.instruments.exponent_recorder import Recorder
from fl.simulate.ood_images import CLASSES, PROTOCOLS, TESTS, draw

WIDTH, LONG = 256, 500
EARLY = 0.1  # training loss of the first read-out
UNTIL = ("early", "target", "long")
EXACT = {f"exact {p:+g}": ("exact", {"p": p}) for p in (-1.0, -0.5, 0.5, 1.0)}
ADAHESSIANS = {
    f"power-AdaHessian {p:+g}": ("power-AdaHessian", {"p": p})
    for p in (-1.0, -0.5, 0.0, 0.5, 1.0)
}
# dividing by the curvature itself is stable at a smaller step size only
ADAHESSIANS["power-AdaHessian -1"][1]["lr"] = 0.3
KFACS = {f"K-FAC 1e-{k}": ("K-FAC", {"damping": 10.0**-k}) for k in (6, 5, 4, 3)}
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
    EXACT | {name: (name, {}) for name in PLAIN} | ADAHESSIANS | KFACS
)


def network(
    d: int, seed: int, dtype: torch.dtype = torch.float32, width: int = WIDTH
) -> nn.Sequential:
    """Return the network ``d``-``width``-10 of precision ``dtype`` with torch's default
    initial weights of a ``seed``.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = nn.Linear(d, width), nn.ReLU(), nn.Linear(width, CLASSES)
        return nn.Sequential(*layers).to(dtype)


class Student:
    """A network beside the images of its seed, and the optimizer that trains it.

    Args:
        seed: of data and initial weights.
        optimizer: one of `METHODS`.
        data: ``digits`` or ``mnist``.
        width: of the network.
        setting: of `fl.simulate.ood_images.draw`.

    Raises:
        ValueError: for an unknown optimizer, or a setting out of range.
    """

    def __init__(
        self,
        seed: int,
        optimizer: str,
        data: str = "digits",
        width: int = WIDTH,
        **setting,
    ):
        validate.choice("optimizer", optimizer, METHODS)
        self.method, self.hyper = METHODS[optimizer]
        self.seed = seed
        self.data = drawn = draw(seed, data, **setting)
        # a line search, and inverses of all but singular matrices, need the digits
        double = self.method in ("L-BFGS", "K-FAC")
        self.dtype = torch.float64 if double else torch.float32
        width = validate.count("width", width)
        self.model = network(len(drawn.mean), seed, self.dtype, width)
        self.X = torch.as_tensor(drawn.X["train"], dtype=self.dtype)
        self.y = torch.as_tensor(drawn.labels["train"])
        self.recorder = Recorder(drawn.covariance)

    @property
    def first(self) -> nn.Parameter:
        """The weights (h, d) of the first layer."""
        return self.model[0].weight

    def loss(self) -> Tensor:
        """Return the mean cross-entropy on the training images."""
        return nn.functional.cross_entropy(self.model(self.X), self.y)

    def classes(self, test: str) -> np.ndarray:
        """Return the classes (n,) that the network sees on a ``test``, one of the keys
        of the data.
        """
        X = torch.as_tensor(self.data.X[test], dtype=self.dtype)
        return self.model(X).argmax(1).numpy()

    def accuracy(self, test: str) -> float:
        """Return the accuracy on a ``test``."""
        right = self.classes(test) == self.data.labels[test]
        return float(right.mean())

    def followed(self) -> dict[str, float]:
        """Return what the network follows on the pattern test.

        ``agree`` is the share of images whose two cues agree and ``agree_right`` the
        accuracy there; ``conflict_digit`` and ``conflict_neither`` are shares of the
        others, of those that it takes for the digit and for neither.
        """
        said = self.classes("pattern")
        digit, pattern = (self.data.labels[k] for k in ("digit", "pattern"))
        agree, read = digit == pattern, said == digit
        neither = ~read & (said != pattern)
        return {
            "agree": float(agree.mean()),
            "agree_right": float(read[agree].mean()),
            "conflict_digit": float(read[~agree].mean()),
            "conflict_neither": float(neither[~agree].mean()),
        }

    def minimise(self, epochs: int, watch: Callable, **hyper) -> int:
        """Train for at most ``epochs`` and return how many were made; ``watch`` and
        ``hyper`` as in `fl.optimizers.minimise`.
        """
        if self.method == "exact":
            hyper["covariance"] = self.data.covariance
        return optimizers.minimise(
            self.method,
            self.model,
            self.loss,
            epochs,
            watch,
            self.seed,
            **self.hyper | hyper,
        )


def train(
    seed: int,
    optimizer: str,
    data: str = "digits",
    until: str = "target",
    hyper: dict | None = None,
    **setting,
) -> tuple[Student, dict[str, float]]:
    """Train one network and evaluate it on every test.

    Args:
        seed: of data and initial weights.
        optimizer: one of `METHODS`.
        data: ``digits`` or ``mnist``.
        until: when to stop: at the first read-out (``early``), at the protocol's
            training loss (``target``), or after 500 epochs (``long``).
        hyper: further hyper-parameters of the optimizer.
        setting: of the `Student`.

    Returns:
        The trained student and the numbers of `run`.

    Raises:
        ValueError: for an unknown optimizer, hyper-parameter or end, or a setting out
            of range.
    """
    validate.choice("until", until, UNTIL)
    student = Student(seed, optimizer, data, **setting)
    protocol = PROTOCOLS[data]
    target = {"early": EARLY, "target": protocol.target, "long": -np.inf}[until]
    limit = LONG if until == "long" else protocol.cap
    found = dict.fromkeys(["digit_early", "pattern_early"], np.nan)

    def watch(epoch: int, loss: float) -> bool:
        found["loss"] = loss
        student.recorder.see(epoch, student.first, student.first.grad)
        if loss <= EARLY and np.isnan(found["digit_early"]):
            found["digit_early"] = student.accuracy("digit")
            found["pattern_early"] = student.accuracy("pattern")
        return loss <= target

    epochs = student.minimise(limit, watch, **(hyper or {}))
    found["epochs"] = float(epochs)
    for test in ("id", *TESTS):
        found[test] = student.accuracy(test)
    found |= student.followed()
    exponent = student.recorder.result()
    for name in ("p_ratio", "p_gain", "kappa", "r2"):
        found[name] = getattr(exponent, name)
    return student, found


def run(seed: int, optimizer: str, data: str = "digits", **setting) -> dict[str, float]:
    """Return the numbers of one run: accuracies, the two tests at loss 0.1, loss,
    epochs and exponents.

    ``seed``, ``optimizer``, ``data`` and ``setting`` are those of `train`. ``digit``
    and ``pattern`` are the two out-of-distribution accuracies, ``id`` is that of
    validation, ``congruent`` that of the test images with the pattern of their own
    class; `Student.followed` names four more; the loss is in nats. A run that ends
    before it reaches the loss 0.1 has NaN there, and one of fewer than five updates has
    NaN exponents.
    """
    return train(seed, optimizer, data, **setting)[1]
