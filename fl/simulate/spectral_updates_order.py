"""Deep linear nets under steps that raise the singular values of each gradient."""

from functools import reduce

import numpy as np

from fl import validate
from fl.instruments.metric_descent import gradients
from fl.instruments.singular_powers import svd_power

LONGEST = 20  # units of time


def descend(
    seed: int,
    modes: tuple,
    depth: int,
    q: float,
    start: float,
    steps: int,
    tilt: float = 1.0,
    aligned: bool = True,
) -> dict[str, tuple]:
    r"""Train a linear net until all modes are half learned; every layer makes the q-step
    of its own gradient.

    The loss is :math:`\tfrac12\operatorname{tr}(J-S)\Sigma(J-S)^\top` of the product J
    of the layers.

    Args:
        seed: of the target's singular vectors and of the weights.
        modes: (d, 2): singular values of the target S (d, d), and the variances of the
            inputs along its right singular vectors.
        depth: number of layers.
        q: power of the singular values of each step.
        start: singular value of all layers in all modes; or standard deviation.
        steps: in a unit of time; no more than 20 units are made.
        tilt: the first layer is larger by this factor at the start.
        aligned: with the target; Gaussian layers if not.

    Returns:
        ``half`` (mode,), when :math:`u_k^\top Jv_k` reaches one half of the target,
        between two steps, NaN if it never does; ``ends`` (side, mode),
        :math:`\lvert W_1v_k\rvert` of the first layer and :math:`\lvert u_k^\top
        W_L\rvert` of the last in the end.

    Raises:
        ValueError: if ``steps`` or ``depth`` is not a whole number >= 1, or ``start`` is
            not > 0.
    """
    start = validate.number("start", start, 0, open_low=True)
    s, variances = np.transpose(modes)
    rng = np.random.default_rng(seed)
    depth, d = validate.count("depth", depth), len(s)
    turns = rng.standard_normal((2, d, d))
    U, V = np.linalg.qr(turns)[0]
    if aligned:
        layers = start * np.tile(np.eye(d), (depth, 1, 1))
        layers[0] *= tilt
        layers[0] = layers[0] @ V.T
        layers[-1] = U @ layers[-1]
    else:
        layers = start * rng.standard_normal((depth, d, d))
    X = V * np.sqrt(d * variances)
    Y = U * s @ V.T @ X
    learned = []
    eta = 1 / validate.count("steps", steps)
    for _ in range(LONGEST * steps):
        J = reduce(lambda J, W: W @ J, layers)
        along = U * (J @ V)
        learned.append(np.sum(along, 0))
        if (learned[-1] > s / 2).all():
            break
        slopes = gradients(layers, X, Y, "linear")
        layers = layers - eta * svd_power(slopes, q)
    rising = np.maximum.accumulate(learned).T
    times = eta * np.arange(len(learned))
    pairs = zip(s / 2, rising, strict=True)
    half = [np.interp(goal, path, times, right=np.nan) for goal, path in pairs]
    sides = [layers[0] @ V, layers[-1].T @ U]
    ends = np.linalg.norm(sides, axis=1)
    return {
        "half": ("mode", half),
        "ends": (("side", "mode"), ends),
    }
