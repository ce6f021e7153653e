"""A quadratic student and an even teacher, trained on fresh batches."""

import numpy as np

from fl import validate
from fl.links import LINKS
from fl.simulate.spectral_updates import svd_power


def train(
    seed: int,
    lam: tuple,
    link: str,
    p: float | None,
    eta: float,
    steps: int,
    start: float,
    *,
    centred: bool = False,
    width: int = 10,
    batch: int = 200,
) -> dict[str, tuple]:
    r"""Train the student :math:`\lvert Wx\rvert^2` from a small start.

    Args:
        seed: of the batches.
        lam: variances (d,) of the inputs, along the axes; the teacher reads the first.
        link: name of the teacher's link f.
        p: the gradient is multiplied by the p-th power of the covariance; None for the
            polar step, all singular values one.
        eta: step size.
        steps: number of steps.
        start: :math:`\epsilon`; W is it times the columns of the identity, or, with one
            row, equal entries.
        centred: whether labels and outputs have their (exact) means removed.
        width: rows h of W.
        batch: inputs of a step, all fresh.

    Returns:
        ``growth`` (step, axis), :math:`\langle W_tu_l,W_0u_l\rangle/\lvert
        W_0u_l\rvert^2`, after 0 to ``steps`` steps.

    Raises:
        ValueError: for an unknown link, or ``steps`` < 1.
    """
    f = LINKS[validate.choice("link", link, LINKS)]
    mean = f.moments(lam[0] ** 0.5)[0]
    rng = np.random.default_rng(seed)
    square = np.eye(width, len(lam))
    W = first = start * (square if width > 1 else np.ones_like(square))
    growth = [np.sum(W * first, 0)]
    for _ in range(validate.count("steps", steps)):
        X = np.sqrt(lam)[:, None] * rng.standard_normal((len(lam), batch))
        Z = W @ X
        residuals = np.sum(Z**2, 0) - f(X[0])
        if centred:
            residuals = residuals - np.sum(W**2, 0) @ lam + mean
        G = (Z * residuals) @ X.T / batch
        W = W - eta * (svd_power(G, 0) if p is None else G * np.power(lam, p))
        growth.append(np.sum(W * first, 0))
    return {"growth": (("step", "axis"), growth / growth[0])}
