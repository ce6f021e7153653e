r"""Single steps that act on singular values: on random layers, on the digits, and on
gradients of a known law.
"""

import numpy as np

from fl import datasets, validate
from fl.instruments.singular_powers import svd_power
from fl.numerics import psd_power

LAYERS, IMAGES, GRADIENTS = 1, 2, 3
NEURONS = 128  # random ones, on the digits


def one_step(A, R) -> dict[str, float]:
    r"""Return what one gradient and one spectral step do to
    :math:`\tfrac12\lvert R\rvert_F^2`.

    Args:
        A: inputs (d, N) of the layer.
        R: residuals WA - Y (h, N); the gradient is G = RA'.

    Returns:
        Norms: ``whole`` and ``largest``, Frobenius and operator norm of A, ``nuclear``
        and ``size``, nuclear and Frobenius norm of G. The decreases of the loss with
        the step sizes of the guarantees, ``gradient`` and ``spectral``.
    """
    G = R @ A.T
    polar = svd_power(G, 0)
    whole, largest = np.linalg.norm(A), np.linalg.norm(A, 2)
    nuclear = np.sum(G * polar)
    gradient = G / largest**2
    spectral = nuclear / whole**2 * polar
    return {
        "whole": whole,
        "largest": largest,
        "nuclear": nuclear,
        "size": np.linalg.norm(G),
        "gradient": decrease(A, R, gradient),
        "spectral": decrease(A, R, spectral),
    }


def decrease(A, R, move) -> float:
    r"""Return by how much :math:`\tfrac12\lvert R\rvert_F^2` falls when the weights
    change by minus ``move`` (h, d), for inputs ``A`` (d, N) and residuals ``R`` (h, N).
    """
    change = move @ A
    gain = R - change / 2
    return np.sum(gain * change)


def layers(seed: int, number: int) -> dict[str, tuple]:
    """Return `one_step` on a ``number`` of random layers, drawn with a ``seed``.

    2 to 11 inputs, 2 to 15 neurons, spectra of inputs and residuals of random decay;
    dimension layer.

    Raises:
        ValueError: if ``number`` is not a whole number >= 1.
    """
    rng = np.random.default_rng([seed, LAYERS])
    each = range(validate.count("number", number))
    found = [one_step(*_layer(rng)) for _ in each]
    table = {}
    for name in found[0]:
        values = [one[name] for one in found]
        table[name] = ("layer", values)
    return table


def _layer(rng) -> tuple[np.ndarray, np.ndarray]:
    d, h = rng.integers(2, [12, 16])
    fall = rng.uniform(0, 5, (2, 1)) * np.arange(d) / d
    inputs, errors = np.exp(-fall)
    tall = rng.standard_normal((2 * d, d))
    Q = np.linalg.qr(tall)[0]
    left = rng.standard_normal((h, d)) * errors
    right = rng.standard_normal((d, 2 * d))
    return (Q * inputs).T, left @ right


def digits(seed: int, features: str, centred: bool, after: int, n: int) -> dict:
    """Return `one_step` of a linear layer that fits the classes of the digits.

    Args:
        seed: of the choice of images and of the random neurons.
        features: ``pixels``, or ``relu`` for random ReLU neurons on the pixels.
        centred: whether the mean over the images is taken from the features.
        after: gradient steps from zero before that, of the guarantee's size.
        n: number of images.

    Returns:
        Also ``share``, that the mean has in the square of the features.

    Raises:
        ValueError: for unknown features.
    """
    validate.choice("features", features, ["pixels", "relu"])
    rng = np.random.default_rng([seed, IMAGES])
    A, labels = datasets.load("digits")
    chosen = rng.permutation(len(labels))[:n]
    A = A[:, chosen]
    if features == "relu":
        neurons = rng.standard_normal((NEURONS, len(A)))
        A = np.maximum(neurons @ A, 0)
    mean = A.mean(1, keepdims=True)
    square = np.sum(A**2)
    share = n * np.sum(mean**2) / square
    A = A - mean * centred
    R = -np.eye(10)[:, labels[chosen]]
    eta = np.linalg.norm(A, 2) ** -2
    for _ in range(after):
        G = R @ A.T
        R = R - eta * G @ A
    return one_step(A, R) | {"share": share}


def gains(
    seed: int,
    lam: tuple,
    roots: tuple,
    others: int,
    spike: tuple,
    width: int,
    draws: int,
) -> dict[str, tuple]:
    r"""Return the multiplier of each axis of :math:`L^{-a}GR^{-b}`, measured on Gaussian
    gradients G.

    Args:
        seed: of the draws.
        lam: variances (d,) of the columns of G.
        roots: a and b; the q-step has a = 0 and b = (1 - q)/2.
        others: gradients, other than G, whose sums of GG' and G'G are L and R; 0 for
            those of G itself.
        spike: (d,), or one number, of a part z times it, z (h,) standard normal.
        width: h, independent rows of G.
        draws: of G.

    Returns:
        ``gain`` (axis,): the least-squares ratio of update and gradient along the axis,
        over all draws.

    Raises:
        ValueError: if ``draws`` is not a whole number >= 1.
    """
    rng = np.random.default_rng([seed, GRADIENTS])
    left, right = roots
    shape = 1 + others, width, len(lam)
    along, size = np.zeros((2, len(lam)))
    for _ in range(validate.count("draws", draws)):
        noise = rng.standard_normal(shape) * np.sqrt(lam)
        common = rng.standard_normal((*shape[:2], 1))
        G, *rest = noise + common * spike
        rows = np.vstack(rest or [G])
        D = G @ psd_power(rows.T @ rows, -right)
        if left:
            columns = np.hstack(rest or [G])
            D = psd_power(columns @ columns.T, -left) @ D
        along += np.sum(D * G, 0)
        size += np.sum(G**2, 0)
    return {"gain": ("axis", along / size)}
