r"""Risks of linear students on power laws, over samples, time and model size.

Energies are :math:`e_r=r^{-b}`, labels have no noise, and time is steps times step size
of the mean square.
"""

import numpy as np

from fl import validate

INPUTS, FEATURES = 1, 2  # streams of random numbers


def plane(seed: int, n: int, d: int, q: float, b: float, times: list) -> dict:
    r"""Return the risk of the preconditioned flow of one training set.

    Args:
        seed: draws the inputs.
        n: number of samples, below d.
        d: number of inputs that are drawn. The modes beyond act by their sums: that of
            their speeds adds a multiple of the identity to the Gram matrix, that of
            their energies is noise of the labels, and a part of the risk.
        q: decay of the speeds :math:`t_r=r^{-q}`.
        b: decay of the energies.
        times: where to measure; ``inf`` for the interpolator.

    Returns:
        ``risk`` (time,).

    Raises:
        ValueError: unless n is below d.
    """
    if validate.count("n", n) >= d:
        raise ValueError(f"n = {n}: must be below d = {d}")
    r = np.arange(1, d + 1.0)
    signal, speeds = r ** (-b / 2), r**-q
    rng = np.random.default_rng([seed, INPUTS])
    Z = rng.standard_normal((d, n))
    back = speeds[:, None] * Z
    back /= n
    values, axes = np.linalg.eigh(Z.T @ back)
    values += beyond(d, q) / n
    missing = beyond(d, b)
    labels = signal @ Z
    labels += rng.normal(0, np.sqrt(missing), n)
    labels = labels @ axes
    risks = []
    for time in times:
        fitted = -np.expm1(-2 * time * values) / values
        solved = axes @ (fitted * labels)
        gap = signal - back @ solved
        risks.append(gap @ gap + missing)
    return {"risk": ("time", risks), "time": ("time", list(times))}


def beyond(d: int, b: float) -> float:
    """Return the sum of r^-``b`` over r > ``d``, as an integral."""
    return (d + 0.5) ** (1 - b) / (b - 1)


def features(
    seed: int, width: int, d: int, a: float, b: float, p: float, times: list
) -> dict:
    r"""Return the population risk of the read-out of random Gaussian features, along the
    flow with the preconditioner :math:`H^p`, H being the features' second moment.

    Args:
        seed: draws the features, ``width`` combinations of the inputs over the root of
            that number.
        width: number of features, below d.
        d: number of inputs, whose eigenvalues are :math:`r^{-a}`; the energy of the modes
            beyond is added to the risk.
        a: decay of the eigenvalues.
        b: decay of the energies.
        p: exponent of the preconditioner.
        times: where to measure; ``inf`` for the end.

    Returns:
        ``risk`` (time,).

    Raises:
        ValueError: unless the width is below d.
    """
    if validate.count("width", width) >= d:
        raise ValueError(f"width = {width}: must be below d = {d}")
    r = np.arange(1, d + 1.0)
    signal, roots = r ** (-b / 2), r ** (-a / 2)
    rng = np.random.default_rng([seed, FEATURES])
    W = rng.standard_normal((d, width))
    A = roots[:, None] * W
    A /= np.sqrt(width)
    values, axes = np.linalg.eigh(A.T @ A)
    seen = signal @ A @ axes
    energy = seen**2 / values
    speeds = values ** (p + 1)
    decay = np.multiply.outer(times, -4 * speeds)
    unlearned = np.exp(decay) @ energy
    out_of_reach = signal @ signal - energy.sum()
    out_of_reach += beyond(d, b)
    return {
        "risk": ("time", out_of_reach + unlearned),
        "time": ("time", list(times)),
    }
