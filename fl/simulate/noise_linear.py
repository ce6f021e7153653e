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
    lam = drawn.spectrum.eigenvalues
    (beta,) = drawn.teacher.directions
    if validate.count("n", n) <= len(lam):
        raise ValueError(f"n = {n}: must be larger than {len(lam)}")
    rng = np.random.default_rng([seed, DATA])
    second, slope = _moments(drawn, n, draws, rng)
    moments = np.asarray(moments)
    risks = []
    for p in exponents:
        half = lam ** (p / 2)
        speed = lam[beta != 0] ** (p + 1)
        rate = 2 * speed
        turned = half[:, None] * second * half
        learned = flow(turned, half * slope, moments / rate)
        weights = half * learned
        error = weights - beta
        risks.append(error**2 @ lam)
    values = np.array(risks) / drawn.signal_variance
    coords = {"p": list(exponents), "moment": moments}
    dims = ("p", "moment", "draw")
    return xr.Dataset({"risk": (dims, values)}, coords)


def _moments(
    drawn: Task, n: int, draws: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return XX'/n (draws, d, d) and Xy/n (draws, d) of fresh training sets."""
    draws = validate.count("draws", draws)
    X, y, _ = drawn.sample(draws * n, rng)
    X = X.reshape(-1, draws, n).swapaxes(0, 1)
    y = y.reshape(draws, n, 1)
    second = X @ X.swapaxes(1, 2)
    slope = X @ y
    return second / n, slope[..., 0] / n


def flow(second, slope, times) -> np.ndarray:
    """Return the weights (T, draws, d) of gradient flow from zero.

    Args:
        second: XX'/n (draws, d, d), not singular.
        slope: Xy/n (draws, d).
        times: (T,).
    """
    values, vectors = np.linalg.eigh(second)
    along = np.einsum("idk,id->ik", vectors, slope)
    decay = np.multiply.outer(times, -2 * values)
    learned = -np.expm1(decay) / values
    return np.einsum("idk,tik->tid", vectors, learned * along)
