r"""The images of the two-cue experiment: digits that carry a pattern of their class.

An image of class c carries the pattern :math:`n_c\sim N(0,s^2I_d)`, drawn once per
class and seed, clipped to [0, 1]. Two tests set the digit against the pattern: in
``digit`` the true label counts and the pattern is that of the neighbouring class (0-1,
2-3, ...), in ``pattern`` a random label counts, whose pattern the image carries. Inputs
are centred by the training mean.
"""

from typing import NamedTuple

import numpy as np

from fl import datasets, validate

CLASSES = 10
TESTS = ("digit", "pattern", "congruent")
ROTATION = 1  # stream: what the second entry of a seed draws


class Protocol(NamedTuple):
    """Standard deviation of the patterns, sizes of the training, validation and test
    sets, training loss to stop at, cap.
    """

    amplitude: float
    train: int
    validation: int
    test: int
    target: float
    cap: int


PROTOCOLS = {
    "digits": Protocol(0.15, 600, 600, 597, 0.01, 600),
    "mnist": Protocol(0.10, 1200, 1200, 7600, 0.05, 300),
}


class Data(NamedTuple):
    """Centred inputs, one row per image, and labels.

    ``X`` and ``labels`` have the keys train, id, digit, pattern, congruent (images with
    the pattern of their own class); ``mean`` (d,) is the training mean, ``patterns``
    (10, d), ``covariance`` (d, d) that of the training inputs.
    """

    X: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]
    mean: np.ndarray
    patterns: np.ndarray
    covariance: np.ndarray

    def turned(self, U: np.ndarray) -> "Data":
        """Return the same images in the orthonormal basis of the columns of ``U``
        (d, d).
        """
        return Data(
            X={name: x @ U for name, x in self.X.items()},
            labels=self.labels,
            mean=self.mean @ U,
            patterns=self.patterns @ U,
            covariance=U.T @ self.covariance @ U,
        )


def draw(
    seed: int,
    data: str = "digits",
    basis: str = "pixel",
    cue: str = "class",
    centred: bool = True,
    amplitude: float | None = None,
) -> Data:
    """Return the images of a seed with their patterns.

    Args:
        seed: of the split, the patterns and the labels of the pattern test.
        data: ``digits`` or ``mnist``.
        basis: coordinates of the inputs: ``pixel``, ``eigen`` (eigenvectors of the
            covariance) or ``random``.
        cue: ``class``, or ``none``: training images carry the pattern of a random
            class.
        centred: subtract the training mean.
        amplitude: standard deviation of the patterns; the protocol's if None.

    Raises:
        ValueError: for an unknown name or an amplitude that is negative or not finite.
        FileNotFoundError: if MNIST is asked for and is not there.
    """
    validate.choice("basis", basis, ["pixel", "eigen", "random"])
    validate.choice("cue", cue, ["class", "none"])
    validate.choice("data", data, PROTOCOLS)
    seed = validate.count("seed", seed, minimum=0)
    protocol = PROTOCOLS[data]
    if amplitude is not None:
        amplitude = validate.number("amplitude", amplitude, 0)
        protocol = protocol._replace(amplitude=amplitude)
    rng = np.random.default_rng(seed)
    X, labels, patterns = _pictures(rng, data, protocol, cue)
    mean = X["train"].mean(0)
    covariance = np.cov(X["train"].T, bias=True)
    if centred:
        X = {name: x - mean for name, x in X.items()}
    drawn = Data(X, labels, mean, patterns, covariance)
    if basis == "pixel":
        return drawn
    if basis == "eigen":
        return drawn.turned(np.linalg.eigh(covariance)[1])
    rng = np.random.default_rng([seed, ROTATION])
    gaussian = rng.standard_normal(covariance.shape)
    return drawn.turned(np.linalg.qr(gaussian)[0])


def _pictures(rng, data: str, protocol: Protocol, cue: str):
    """Return the clipped images of every part, the labels that count there, and the
    patterns.
    """
    pixels, labels = datasets.load(data)
    order = rng.permutation(len(labels))
    normal = rng.standard_normal((CLASSES, len(pixels)))
    patterns = protocol.amplitude * normal
    cuts = np.cumsum([protocol.train, protocol.validation])
    train, valid, test = np.split(order, cuts)
    random = rng.integers(0, CLASSES, len(test))
    shown = labels
    if cue == "none":
        shown = rng.integers(0, CLASSES, len(labels))
    y = labels[test]
    # the images, the classes whose patterns they carry, and the labels that count
    parts = {
        "train": (train, shown[train], labels[train]),
        "id": (valid, shown[valid], labels[valid]),
        "digit": (test, y ^ 1, y),  # the neighbour: 0-1, 2-3, 4-5, 6-7, 8-9
        "pattern": (test, random, random),
        "congruent": (test, y, y),
    }
    X, counted = {}, {}
    for name, (rows, carried, answers) in parts.items():
        X[name] = np.clip(pixels.T[rows] + patterns[carried], 0, 1)
        counted[name] = answers
    return X, counted, patterns
