r"""Ridge regression on network features in memory :math:`O(N^2)`, whatever the number
of samples.

The estimator is :math:`w=\arg\min_w \frac1n|y-Sw|^2+\lambda|w|^2` on features ``S`` (n,
N). Inputs are drawn, passed through the features and folded into the normal equations
chunk by chunk; no array with ``n`` rows is ever made. Float64 throughout, on the GPU
when there is one.

Samples stand in rows here: a chunk is ``X`` (m, d) with labels ``y`` (m,).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fl import validate

# rows: enough for the matrix products to run near full speed, little beside N^2 from N
# = 500 on
CHUNK = 256
INPUTS, NOISE = 0, 1  # streams: what the last entry of a sample's seed draws


def device() -> torch.device:
    """Return the GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def normal(shape: tuple, *seed: int) -> Tensor:
    """Return standard normal numbers of ``shape`` on `device`; a function of the whole
    numbers ``seed``, the same on every device.
    """
    rng = np.random.default_rng(seed)
    return drawn(rng, *shape)


def drawn(rng: np.random.Generator, *shape: int) -> Tensor:
    """Return the next standard normal numbers of ``rng``, of ``shape``, on `device`."""
    numbers = rng.standard_normal(shape)
    return torch.from_numpy(numbers).to(device())


@dataclass(frozen=True, eq=False)
class Samples:
    r"""A sample of :math:`y=f^\star(\beta^\top x)+\sigma\varepsilon`, ``x`` ~ N(0,
    I_d), that is never held as a whole.

    Iterating draws it chunk by chunk, each time the same numbers: ``seed`` fixes them,
    ``chunk`` does not change them.

    Attributes:
        n: number of samples.
        beta: (d,) teacher direction, on `device`.
        teacher: elementwise function on tensors.
        noise: variance of the label noise.
        seed: whole numbers, e.g. ``(seed, 1)`` for the second sample of an experiment.
        chunk: rows per chunk.
    """

    n: int
    beta: Tensor
    teacher: Callable
    noise: float
    seed: tuple
    chunk: int = CHUNK

    def __iter__(self) -> Iterator:
        """Yield ``X`` (m, d) and ``y`` (m,), in all ``n`` rows."""
        inputs = np.random.default_rng((*self.seed, INPUTS))
        errors = np.random.default_rng((*self.seed, NOISE))
        left = validate.count("n", self.n)
        while left > 0:
            m = min(self.chunk, left)
            left -= m
            X = drawn(inputs, m, len(self.beta))
            error = self.noise**0.5 * drawn(errors, m)
            yield X, self.teacher(X @ self.beta) + error


class NormalEquations(NamedTuple):
    """``gram`` = S'S/n (N, N) and ``moment`` = S'y/n (N,)."""

    gram: Tensor
    moment: Tensor


def normal_equations(sample: Iterable, features: Callable) -> NormalEquations:
    """Return the normal equations, accumulated over the chunks of a sample.

    Args:
        sample: yields ``X`` (m, d) and ``y`` (m,).
        features: maps (m, d) to (m, N).

    Raises:
        ValueError: if the sample is empty.
    """
    n, gram, moment = 0, None, None
    for X, y in sample:
        S = features(X)
        if gram is None:
            width = S.shape[1]
            gram, moment = S.new_zeros(width, width), S.new_zeros(width)
        gram.addmm_(S.T, S)  # in place: one N x N matrix is all that is held
        moment.addmv_(S.T, y)
        n += len(y)
    validate.count("number of rows in sample", n)
    return NormalEquations(gram.div_(n), moment.div_(n))


def ridge(equations: NormalEquations, penalty: float) -> Tensor:
    r"""Return :math:`(S^\top S/n+\lambda I)^{-1}S^\top y/n`, shape (N,), by one
    Cholesky factor of the ``equations`` with the penalty :math:`\lambda`.

    >>> e = NormalEquations(torch.eye(2), torch.tensor([2.0, 4.0]))
    >>> ridge(e, 1.0).tolist()
    [1.0, 2.0]

    Raises:
        ValueError: if ``penalty`` is not > 0.
    """
    penalty = validate.number("penalty", penalty, 0, open_low=True)
    shifted = equations.gram.clone()
    shifted.diagonal().add_(penalty)
    factor = torch.linalg.cholesky(shifted, out=shifted)
    moment = equations.moment[:, None]
    return torch.cholesky_solve(moment, factor)[:, 0]


def quadratic_risk(
    weights: Tensor, covariance: Tensor, cross: Tensor, energy: float
) -> float:
    r"""Return :math:`\mathbb E(f^\star-w^\top s)^2` from the exact moments of the
    features: no test set, no sampling noise.

    ``weights`` is w (N,), ``covariance`` = E[s s'] (N, N), ``cross`` = E[s f*] (N,),
    ``energy`` = E f*^2.
    """
    explained = 2 * cross @ weights
    fitted = weights @ covariance @ weights
    return float(energy - explained + fitted)
