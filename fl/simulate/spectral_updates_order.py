"""Deep linear nets under steps that raise the singular values of each gradient."""

import numpy as np

from fl import validate
from fl.simulate.spectral_updates import svd_power

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
    shape = validate.count("depth", depth), len(s), len(s)
    U, V = (np.linalg.qr(M)[0] for M in rng.standard_normal((2, *shape[1:])))
    if aligned:
        layers = start * np.tile(np.eye(len(s)), (depth, 1, 1))
        layers[0] = tilt * layers[0] @ V.T
        layers[-1] = U @ layers[-1]
    else:
        layers = start * rng.standard_normal(shape)
    right = V * variances @ V.T
    target = U * s @ V.T
    learned = []
    eta = 1 / validate.count("steps", steps)
    for _ in range(LONGEST * steps):
        J = _product(layers)
        learned.append(np.sum(U * (J @ V), 0))
        if (learned[-1] > s / 2).all():
            break
        error = J @ right - target @ right
        moves = [_gradient(layers, i, error) for i in range(depth)]
        layers = layers - eta * svd_power(moves, q)
    half = eta * _crossings(learned, s / 2)
    sides = [layers[0] @ V, layers[-1].T @ U]
    ends = np.linalg.norm(sides, axis=1)
    return {
        "half": ("mode", half),
        "ends": (("side", "mode"), ends),
    }


def _crossings(paths, goals) -> np.ndarray:
    """Return between which steps each column of the paths first reaches its goal; NaN
    for one that does not.
    """
    rising = np.maximum.accumulate(paths)
    steps = np.arange(len(rising))
    pairs = zip(goals, rising.T, strict=True)
    found = [np.interp(goal, path, steps, right=np.nan) for goal, path in pairs]
    return np.array(found)


def _gradient(layers, i: int, error) -> np.ndarray:
    """Return what follows layer i, times the error, times what precedes it."""
    after = _product(layers[i + 1 :])
    before = _product(layers[:i])
    return after.T @ error @ before.T


def _product(layers) -> np.ndarray:
    J = np.eye(layers.shape[-1])
    for W in layers:
        J = W @ J
    return J
