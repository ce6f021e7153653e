r"""Single steps that act on singular values: on random layers, on the digits, and on
gradients of a known law.
"""

import numpy as np
from numpy.linalg import norm
from numpy.random import default_rng

from fl import datasets, validate
from fl.instruments.singular_powers import one_step, spectral_step, svd_power
from fl.numerics import psd_power

LAYERS, IMAGES, GRADIENTS = 1, 2, 3
NEURONS = 128  # random ones, on the digits


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
        R = rng.standard_normal((h, d)) * errors @ rng.standard_normal((d, d))
        # rotations of the inputs among the samples change nothing
        found.append(one_step(np.diag(inputs), R))
    return {name: ("layer", [one[name] for one in found]) for name in found[0]}


def digits(seed: int, features: str, centred: bool, after: int, n: int) -> dict:
    """Return `one_step` of a linear layer that fits the classes of the digits, after
    gradient steps.

    Args:
        seed: of the choice of images and of the random neurons.
        features: ``pixels``, or ``relu`` for random ReLU neurons on the pixels.
        centred: whether the mean over the images is taken from the features.
        after: steps from zero before that, all of the guarantees' sizes.
        n: number of images.

    Returns:
        Also ``share``, that the mean has in the square of the features, and ``behind``,
        the loss beyond the least possible that so many gradient steps leave, relative to
        what spectral steps leave.

    Raises:
        ValueError: for unknown features.
    """
    validate.choice("features", features, ["pixels", "relu"])
    rng = default_rng([seed, IMAGES])
    A, labels = datasets.drawn("digits", n, rng)
    if features == "relu":
        A = np.maximum(
            rng.standard_normal((NEURONS, len(A))) @ A,
            0,
        )
    mean = A.mean(1, keepdims=True)
    share = n * (norm(mean) / norm(A)) ** 2
    A -= mean * centred
    A /= norm(A, 2)
    rows = svd_power(A, 0)
    # without what no weights can fit
    R = spectral = -np.eye(10)[:, labels] @ rows.T @ rows
    for _ in range(after):
        R = R - R @ A.T @ A
        spectral = spectral - spectral_step(A, spectral) @ A
    return one_step(A, R) | {
        "share": share,
        "behind": (norm(R) / norm(spectral)) ** 2,
    }


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
        rest = np.array(rest or [G])
        D = (
            psd_power((rest @ rest.mT).sum(0), -left)
            @ G
            @ psd_power((rest.mT @ rest).sum(0), -right)
        )
        along += (D * G).sum(0)
        size += (G**2).sum(0)
    return {
        "gain": ("axis", along / size),
    }
