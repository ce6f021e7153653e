r"""Ridge regression on network features in memory :math:`O(p^2)`, whatever the number
of samples.

The estimator is :math:`w=\arg\min_w \frac1n|y-Sw|^2+\lambda|w|^2` on features ``S`` (n,
p). Inputs are drawn, passed through the features and folded into the normal equations
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

# rows: enough for the matrix products to run near full speed, little beside p^2 from p
# = 500 on
CHUNK = 256


def device() -> torch.device:
    """Return the GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def normal(shape: tuple[int, ...], *seed: int) -> Tensor:
    """Return standard normal numbers of ``shape`` on `device`; a function of ``seed``,
    the same on every device.
    """
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape)).to(
        device()
    )


@dataclass(frozen=True, eq=False)
class Samples:
    r"""A sample of :math:`y=f^\star(\beta^\top x)+\sigma\varepsilon`, ``x`` ~ N(0,
    I_d), that is never held as a whole.

    Iterating draws it chunk by chunk, each time the same numbers: ``seed`` fixes them,
    ``chunk`` does not change them.

    Attributes:
        n: number of samples.
        beta: (d,) teacher direction.
        teacher: elementwise function on tensors.
        noise: variance of the label noise.
        seed: whole numbers, e.g. ``(seed, 1)`` for the second sample of an experiment.
        chunk: rows per chunk.
    """

    n: int
    beta: Tensor
    teacher: Callable[[Tensor], Tensor]
    noise: float
    seed: tuple[int, ...]
    chunk: int = CHUNK

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield ``X`` (m, d) and ``y`` (m,), in all ``n`` rows."""
        inputs, errors = (
            np.random.default_rng((*self.seed, stream)) for stream in (0, 1)
        )
        for start in range(0, validate.count("n", self.n), self.chunk):
            m = min(self.chunk, self.n - start)
            X = torch.from_numpy(inputs.standard_normal((m, len(self.beta)))).to(
                self.beta.device
            )
            error = torch.from_numpy(errors.standard_normal(m)).to(self.beta.device)
            yield X, self.teacher(X @ self.beta) + self.noise**0.5 * error


class NormalEquations(NamedTuple):
    """``gram`` = S'S/n (p, p), ``moment`` = S'y/n (p,), and ``energy`` = y'y/n."""

    gram: Tensor
    moment: Tensor
    energy: float


def normal_equations(
    sample: Iterable[tuple[Tensor, Tensor]], features: Callable[[Tensor], Tensor]
) -> NormalEquations:
    """Accumulate the normal equations of ``features``: (m, d) -> (m, p) over the chunks
    of ``sample``.

    Raises:
        ValueError: if the sample is empty.
    """
    n, gram, moment, energy = 0, None, None, 0.0
    for X, y in sample:
        S = features(X)
        if gram is None:
            gram, moment = S.new_zeros(S.shape[1], S.shape[1]), S.new_zeros(S.shape[1])
        gram.addmm_(S.T, S)
        moment.addmv_(S.T, y)
        energy += float(y @ y)
        n += len(y)
    validate.count("number of rows in sample", n)
    return NormalEquations(gram.div_(n), moment.div_(n), energy / n)


def ridge(equations: NormalEquations, penalty: float) -> Tensor:
    r"""Return :math:`(S^\top S/n+\lambda I)^{-1}S^\top y/n`, shape (p,), by one
    Cholesky factor.

    >>> e = NormalEquations(torch.eye(2), torch.tensor([2.0, 4.0]), 1.0)
    >>> ridge(e, 1.0).tolist()
    [1.0, 2.0]

    Raises:
        ValueError: if ``penalty`` is not > 0.
    """
    penalty = validate.number("penalty", penalty, 0, open_low=True)
    shifted = equations.gram.clone()
    shifted.diagonal().add_(penalty)
    return torch.cholesky_solve(
        equations.moment[:, None], torch.linalg.cholesky(shifted, out=shifted)
    )[:, 0]


def quadratic_risk(
    weights: Tensor, covariance: Tensor, cross: Tensor, energy: float
) -> float:
    r"""Return :math:`\mathbb E(f^\star-w^\top s)^2` from the exact moments of the
    features.

    ``covariance`` = E[s s'] (p, p), ``cross`` = E[s f*] (p,), ``energy`` = E f*^2: no
    test set, no sampling noise.
    """
    return float(energy - 2 * cross @ weights + weights @ (covariance @ weights))
