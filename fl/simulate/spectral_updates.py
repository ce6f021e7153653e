r"""Single steps that act on singular values: on random layers, on the digits, and on
gradients of a known law.
"""

import numpy as np
from numpy.linalg import norm, qr
from numpy.random import default_rng

from fl import datasets, validate
from fl.instruments.singular_powers import svd_power
from fl.numerics import psd_power

LAYERS, IMAGES, GRADIENTS = 1, 2, 3
NEURONS = 128  # random ones, on the digits


def one_step(A, R) -> dict:
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
    whole = norm(A)
    largest = norm(A, 2)
    nuclear = norm(G, "nuc")
    return {
        "whole": whole,
        "largest": largest,
        "nuclear": nuclear,
        "size": norm(G),
        "gradient": decrease(A, R, G / largest**2),
        "spectral": decrease(A, R, nuclear / whole**2 * svd_power(G, 0)),
    }


def decrease(A, R, move) -> float:
    r"""Return by how much :math:`\tfrac12\lvert R\rvert_F^2` falls when the weights
    change by minus ``move`` (h, d), for inputs ``A`` (d, N) and residuals ``R`` (h, N).
    """
    change = move @ A
    return np.vdot(R - change / 2, change)


def layers(seed: int, number: int) -> dict:
    """Return `one_step` on a ``number`` of random layers, drawn with a ``seed``.

    2 to 11 inputs, 2 to 15 neurons, spectra of inputs and residuals of random decay;
    dimension layer.

    Raises:
        ValueError: if ``number`` is not a whole number >= 1.
    """
    rng = default_rng([seed, LAYERS])
    found = []
    for _ in range(validate.count("number", number)):
        d, h = rng.integers(2, [12, 16])
        inputs, errors = np.exp(-rng.uniform(0, 5, (2, 1)) * np.arange(d) / d)
        Q = qr(rng.standard_normal((2 * d, d))).Q
        R = rng.standard_normal((h, d)) * errors @ rng.standard_normal((d, 2 * d))
        found.append(one_step((Q * inputs).T, R))
    return {name: ("layer", [one[name] for one in found]) for name in found[0]}


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
    rng = default_rng([seed, IMAGES])
    A, labels = datasets.load("digits")
    chosen = rng.permutation(len(labels))[:n]
    A = A[:, chosen]
    if features == "relu":
        A = np.maximum(rng.standard_normal((NEURONS, len(A))) @ A, 0)
    mean = A.mean(1, keepdims=True)
    share = n * (norm(mean) / norm(A)) ** 2
    A = A - mean * centred
    R = -np.eye(10)[:, labels[chosen]]
    eta = norm(A, 2) ** -2
    for _ in range(after):
        R = R - eta * R @ A.T @ A
    return one_step(A, R) | {"share": share}


def gains(
    seed: int,
    lam: np.ndarray,
    roots: tuple,
    others: int,
    spike,
    width: int,
    draws: int,
) -> dict:
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
    rng = default_rng([seed, GRADIENTS])
    left, right = roots
    along = size = 0.0
    for _ in range(validate.count("draws", draws)):
        G, *rest = (
            rng.standard_normal((1 + others, width, len(lam))) * np.sqrt(lam)
            + rng.standard_normal((1 + others, width, 1)) * spike
        )
        rest = rest or [G]
        rows = np.vstack(rest)
        D = G @ psd_power(rows.T @ rows, -right)
        if left:
            columns = np.hstack(rest)
            D = psd_power(columns @ columns.T, -left) @ D
        along += (D * G).sum(0)
        size += (G**2).sum(0)
    return {
        "gain": ("axis", along / size),
    }
