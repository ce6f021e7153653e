"""Deep linear nets under steps that raise the singular values of each gradient."""

import numpy as np
from numpy.linalg import norm, qr
from numpy.random import default_rng

from fl import validate
from fl.instruments.metric_descent import gradients, product
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
) -> dict:
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
    eta = 1 / validate.count("steps", steps)
    s, variances = np.transpose(modes)
    d = len(s)
    rng = default_rng(seed)
    U, V = qr(rng.standard_normal((2, d, d))).Q
    layers = rng.standard_normal((validate.count("depth", depth), d, d))
    if aligned:
        layers[:] = np.eye(d)
        layers[0] = tilt * V.T
        layers[-1] = U @ layers[-1]
    layers *= start
    X = V * np.sqrt(d * variances)
    Y = U * s @ V.T @ X
    shares = []  # of one half of each mode
    for _ in range(LONGEST * steps):
        shares.append(2 / s * np.sum(U * (product(layers) @ V), 0))
        if min(shares[-1]) > 1:
            break
        layers = layers - eta * svd_power(gradients(layers, X, Y, "linear"), q)
    half = [
        np.interp(1, rising, eta * np.arange(len(shares)), right=np.nan)
        for rising in np.maximum.accumulate(shares).T
    ]
    return {
        "half": ("mode", half),
        "ends": (("side", "mode"), norm([layers[0] @ V, layers[-1].T @ U], axis=1)),
    }
