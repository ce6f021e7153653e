"""A quadratic student and an even teacher, trained on fresh batches."""

import numpy as np
from numpy.random import default_rng

from fl import validate
from fl.instruments.singular_powers import svd_power
from fl.links import LINKS

# variances of the inputs along the axes: of the signal, a strong direction, the rest
SPECTRUM = (1.0, 8.0, *(1.0,) * 8)
BATCH = 400


def train(
    seed: int,
    link: str,
    p: float | None,
    eta: float,
    steps: int,
    start: float,
    centred: bool = False,
    width: int = len(SPECTRUM),
) -> dict:
    r"""Train the student :math:`\lvert Wx\rvert^2` from a small start, on inputs with the
    variances `SPECTRUM`, of which the teacher reads the first.

    Args:
        seed: of the batches, `BATCH` fresh inputs a step.
        link: name of the teacher's link f.
        p: the gradient is multiplied by the p-th power of the covariance; None for the
            polar step, all singular values one.
        eta: step size.
        steps: number of steps.
        start: :math:`\epsilon`, the length of the columns of W.
        centred: whether labels and outputs have their (exact) means removed.
        width: rows h of W, which starts at the identity if there are as many as inputs,
            at equal entries if there is one, else at Gaussian entries; times ``start``.

    Returns:
        ``growth`` (step, axis), :math:`\langle W_tu_l,W_0u_l\rangle/\lvert
        W_0u_l\rvert^2`, after 0 to ``steps`` steps.

    Raises:
        ValueError: for an unknown link, ``steps`` < 1, or a ``start`` that is not > 0.
    """
    f = LINKS[validate.choice("link", link, LINKS)]
    start = validate.number("start", start, 0, open_low=True)
    lam = np.array(SPECTRUM)
    mean = f.hermite(0, lam[0] ** 0.5)
    rng = default_rng(seed)
    d = len(lam)
    if width == 1:
        first = np.ones((1, d))
    elif width == d:
        first = np.eye(d)
    else:
        first = rng.standard_normal((width, d)) / width**0.5
    W = first = start * first
    growth = []
    for _ in range(validate.count("steps", steps) + 1):
        growth.append((W * first).sum(0))
        X = rng.standard_normal((BATCH, d)) * np.sqrt(lam)
        Z = X @ W.T
        errors = (Z**2).sum(1) - f(X[:, 0])
        if centred:
            errors += mean - (W**2).sum(0) @ lam
        G = Z.T * errors @ X / BATCH
        W = W - eta * (svd_power(G, 0) if p is None else G * lam**p)
    return {"growth": (("step", "axis"), growth / growth[0])}
