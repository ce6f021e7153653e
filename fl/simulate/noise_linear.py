r"""The linear student: preconditioned gradient flow on the mean square, from zero.

Along the flow :math:`\dot w=-P\nabla\frac1N|y-X^\top w|^2` the weights in the
coordinates :math:`\tilde w=P^{-1/2}w`, :math:`\tilde X=P^{1/2}X` are

.. math:: \tilde w_t=\hat S^{-1}\bigl(1-e^{-2t\hat S}\bigr)\tilde Xy/N,\qquad
          \hat S=\tilde X\tilde X^\top/N.
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from fl import validate
from fl.simulate.noise import DATA, task
from fl.tasks import Task


def linear_student(
    seed: int,
    case: str,
    n: int,
    exponents: Sequence[float],
    moments: Sequence[float],
    draws: int,
    snr: float = 1.0,
) -> xr.Dataset:
    r"""Return the excess risk of linear students along their flows, for a linear teacher
    on the distinguished direction k.

    Args:
        seed: draws the data.
        case: ``high`` or ``low``.
        n: number of training samples, more than the ten inputs.
        exponents: p of the preconditioners.
        moments: times in units of :math:`1/2\lambda_k^{p+1}`, in which the population's
            flow learns the teacher.
        draws: of the training set.
        snr: sd(signal) / sd(noise).

    Returns:
        ``risk``, noise-free, in units of the signal's variance, with dimensions p,
        moment and draw.

    Raises:
        ValueError: for an unknown case, n <= 10, or a number out of range.
    """
    drawn = task(case, snr, link="linear")
    lam, (beta,) = drawn.spectrum.eigenvalues, drawn.teacher.directions
    if validate.count("n", n) <= len(lam):
        raise ValueError(f"n = {n}: must be larger than {len(lam)}")
    rng = np.random.default_rng([seed, DATA])
    moments = np.asarray(moments)
    second, slope = _moments(drawn, n, validate.count("draws", draws), rng)
    risks = []
    for p in exponents:
        half = lam ** (p / 2)
        rate = 2 * lam[beta != 0] ** (p + 1)
        turned = half[:, None] * second * half
        weights = half * flow(turned, half * slope, moments / rate)
        risks.append((weights - beta) ** 2 @ lam)
    values = np.array(risks) / drawn.signal_variance
    coords = {"p": list(exponents), "moment": moments}
    return xr.Dataset({"risk": (("p", "moment", "draw"), values)}, coords)


def _moments(
    drawn: Task, n: int, draws: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return XX'/n (draws, d, d) and Xy/n (draws, d) of fresh training sets."""
    X, y, _ = drawn.sample(draws * n, rng)
    X = X.reshape(-1, draws, n).swapaxes(0, 1)
    slope = X @ y.reshape(draws, n, 1)
    return X @ X.swapaxes(1, 2) / n, slope[..., 0] / n


def flow(second, slope, times) -> np.ndarray:
    """Return the weights (T, draws, d) of gradient flow from zero.

    Args:
        second: XX'/n (draws, d, d), not singular.
        slope: Xy/n (draws, d).
        times: (T,).
    """
    values, vectors = np.linalg.eigh(second)
    along = np.einsum("idk,id->ik", vectors, slope)
    learned = -np.expm1(-2 * np.multiply.outer(times, values)) / values
    return np.einsum("idk,tik->tid", vectors, learned * along)
