r"""Experiments on linear representation learning: the problem, its batches, one step.

The model is :math:`\hat y = F G x`. A batch enters a step only through its second
moments, :math:`\hat S = X^\top X/n` (dX, dX) and :math:`R = E^\top X/n` (dY, dX); with
:math:`W = F_\star G_\star`

.. math::

    \nabla_G = F^\top[(FG - W)\hat S - R],\qquad
    \nabla_F = [(FG - W)\hat S - R]\,G^\top.

Samples stand in rows here, as [ZM25] has them. Label noise has the variance ``noise``
per output. All functions of arrays broadcast over leading axes.
"""

from typing import NamedTuple

import numpy as np
from numpy.linalg import cholesky, matrix_rank, norm, qr, solve
from numpy.random import Generator, default_rng

from fl import numerics, validate


class Problem(NamedTuple):
    """Covariance ``S`` (dX, dX), head ``F_star`` (dY, k) and features ``G_star`` (k,
    dX) with orthonormal rows.
    """

    S: np.ndarray
    F_star: np.ndarray
    G_star: np.ndarray

    @property
    def W(self) -> np.ndarray:
        """The teacher's map, shape (dY, dX)."""
        return self.F_star @ self.G_star

    @property
    def hidden(self) -> np.ndarray:
        """The projector (dX, dX) on what the teacher does not see."""
        return np.eye(len(self.S)) - self.G_star.T @ self.G_star


class Moments(NamedTuple):
    """Second moments of batches: ``S_hat`` (..., dX, dX) of the inputs, ``R`` (..., dY,
    dX) of noise and inputs.
    """

    S_hat: np.ndarray
    R: np.ndarray

    @property
    def xi(self) -> np.ndarray:
        """The least-squares fit of the noise on the inputs, (..., dY, dX)."""
        return solve(self.S_hat, self.R.mT).mT


class Factors(NamedTuple):
    r"""The two sides of a layer-wise step and what is added to the right one.

    ``left`` is I or FF (:math:`P_G = F^\top F`), ``right`` is I or S (:math:`Q_G = \hat
    S`), ``damping`` is :math:`\lambda \ge 0`.
    """

    left: str = "I"
    right: str = "I"
    damping: float = 0.0


SGD, KFAC = Factors(), Factors("FF", "S")
METHODS = {"sgd": SGD, "kfac": KFAC}


def random_problem(
    dX: int,
    dY: int,
    k: int,
    kappa_S: float,
    kappa_F: float,
    seed: int,
    invariant: bool = False,
) -> Problem:
    r"""Return a random problem with log-spaced spectra, tr S = dX and :math:`\lVert
    F_\star\rVert_F^2 = k`, all bases Haar-random.

    Args:
        dX: inputs.
        dY: outputs.
        k: features.
        kappa_S: condition number of the covariance.
        kappa_F: condition number of the head.
        seed: of all draws.
        invariant: whether the teacher's rows are eigenvectors of ``S``.

    Raises:
        ValueError: unless 0 < k < dX, k <= dY and both condition numbers are >= 1.
    """
    from scipy.stats import ortho_group  # slow to import, and nothing else needs it

    if not 0 < k < dX or k > dY:
        raise ValueError(f"k = {k}: must be > 0, < dX = {dX} and <= dY = {dY}")
    kappa_S = validate.number("kappa_S", kappa_S, 1)
    kappa_F = validate.number("kappa_F", kappa_F, 1)
    s = np.geomspace(kappa_S, 1, dX)
    f = np.geomspace(kappa_F, 1, k)
    rng = default_rng(seed)
    U = ortho_group.rvs(dX, random_state=rng)
    left = qr(rng.standard_normal((dY, k)))[0]
    right = qr(rng.standard_normal((k, k)))[0]
    rows = qr(rng.standard_normal((dX, k)))[0]
    if invariant:
        seen = rng.permutation(dX)[:k]
        rows = U[:, seen]
    S = (U * s) @ U.T * dX / s.sum()
    F_star = (left * f) @ right * np.sqrt(k) / norm(f)
    return Problem((S + S.T) / 2, F_star, rows.T)


def start(problem: Problem, angle: float, rng: Generator) -> np.ndarray:
    """Return features (k, dX) with orthonormal rows at ``angle`` (largest principal
    angle, radians) from those of ``problem``, in a direction drawn from ``rng``.
    """
    G_star = problem.G_star
    T = rng.standard_normal(G_star.shape) @ problem.hidden
    T *= np.tan(angle) / norm(T, 2)
    return orthonormal(G_star + T)


def moments(
    problem: Problem, n: int, noise: float, rng: Generator, size=(), signs=False
) -> Moments:
    r"""Return drawn second moments of independent batches.

    Gaussian ones exact in law without drawing the samples (Bartlett): :math:`X^\top X =
    L A A^\top L^\top` with :math:`S = LL^\top` and :math:`A` lower triangular, normal
    below, chi on the diagonal; :math:`E^\top X = \sigma Z A^\top L^\top`.

    Args:
        problem: gives the covariance.
        n: samples of a batch.
        noise: variance :math:`\sigma^2` of the label noise.
        rng: source of the draws.
        size: shape of the independent batches; one batch if empty.
        signs: whether the inputs are those of `samples` with random signs.

    Raises:
        ValueError: if n < dX (the law of the moments is then singular).
    """
    dY, d = problem.W.shape
    n = validate.count("n", n, minimum=d)
    noise = validate.number("noise", noise, 0)
    if signs:
        X, Y = samples(problem, n, noise, rng, size, signs)
        E = Y - X @ problem.W.T
        return Moments(X.mT @ X / n, E.mT @ X / n)
    diagonal = np.arange(d)
    A = rng.standard_normal((*size, d, d))
    A = np.tril(A, -1)
    squares = rng.chisquare(n - diagonal, (*size, d))
    A[..., diagonal, diagonal] = np.sqrt(squares)
    LA = cholesky(problem.S) @ A
    Z = rng.standard_normal((*size, dY, d))
    R = np.sqrt(noise) * Z @ LA.mT / n
    return Moments(LA @ LA.mT / n, R)


def samples(
    problem: Problem, n: int, noise: float, rng: Generator, size=(), signs=False
) -> tuple[np.ndarray, np.ndarray]:
    r"""Return drawn batches of inputs (\*size, n, dX) and labels (\*size, n, dY).

    Args:
        problem: the law of the inputs and their labels.
        n: samples of a batch.
        noise: variance of the label noise.
        rng: source of the draws.
        size: shape of the independent batches; one batch if empty.
        signs: whether inputs are :math:`S^{1/2}u` with :math:`u` uniform on
            :math:`\{-1,1\}^{d_X}`, as in [ZM25], in place of Gaussian.
    """
    W = problem.W
    dY, d = W.shape
    if signs:
        u = rng.choice([-1.0, 1.0], (*size, n, d))
        X = u @ numerics.psd_power(problem.S, 0.5)
    else:
        X = rng.standard_normal((*size, n, d))
        X = X @ cholesky(problem.S).T
    E = rng.standard_normal((*size, n, dY))
    return X, X @ W.T + np.sqrt(noise) * E


def population(problem: Problem) -> Moments:
    """Return the moments of an infinite batch of ``problem``."""
    return Moments(problem.S, np.zeros_like(problem.W))


def least_squares_head(problem: Problem, G, batch: Moments) -> np.ndarray:
    """Return the least-squares head (..., dY, k) for ``problem`` and ``batch`` on the
    features ``G`` (..., k, dX), the step of size 1 in F.
    """
    S_hat, R = batch
    labels = problem.W @ S_hat + R
    seen = G @ S_hat @ G.mT
    return solve(seen, G @ labels.mT).mT


def gradient(problem: Problem, F, G, batch: Moments) -> np.ndarray:
    """Return the gradient in ``G`` (..., k, dX) of the loss of ``problem`` on ``batch``
    at the head ``F`` (..., dY, k), shape (..., k, dX).
    """
    error = F @ G - problem.W
    slope = error @ batch.S_hat - batch.R
    return F.mT @ slope


def feature_step(
    problem: Problem, F, G, batch: Moments, eta: float, factors: Factors = SGD
) -> np.ndarray:
    r"""Return the features after one step :math:`-\eta P_G^{-1}\,\nabla_G\,(Q_G +
    \lambda I)^{-1}`, the head held fixed, shape (..., k, dX).

    Args:
        problem: what is to be learned.
        F: head, (..., dY, k).
        G: features, (..., k, dX).
        batch: moments of the batch.
        eta: step size.
        factors: the two sides of the step.

    Raises:
        ValueError: for an unknown factor, a rank-deficient head under ``FF``, or a
            singular batch covariance (n < dX) under ``S`` without damping.
    """
    left = validate.choice("left", factors.left, ["I", "FF"])
    right = validate.choice("right", factors.right, ["I", "S"])
    damping = validate.number("damping", factors.damping, 0)
    k, d = problem.G_star.shape
    direction = gradient(problem, F, G, batch)
    if left == "FF":
        rank = matrix_rank(F).min()
        if rank < k:
            raise ValueError(f"F has rank {rank}: P_G = F'F needs full column rank {k}")
        direction = solve(F.mT @ F, direction)
    if right == "S":
        rank = matrix_rank(batch.S_hat, hermitian=True).min()
        if damping == 0 and rank < d:
            raise ValueError(
                "damping = 0: must be > 0, the batch covariance is singular "
                f"(fewer than {d} samples)"
            )
        damped = batch.S_hat + damping * np.eye(d)
        direction = solve(damped, direction.mT).mT
    return G - eta * direction


def wrong_head(problem: Problem, rng: Generator) -> np.ndarray:
    """Return the head of ``problem`` with an error drawn from ``rng``, (dY, k)."""
    error = rng.standard_normal(problem.F_star.shape)
    return problem.F_star + 0.3 * error


def both_steps(problem: Problem, F, G, batch: Moments, eta: float) -> dict:
    """Return the features after one step of size ``eta`` of each of `METHODS` from the
    same place, with ``problem``, ``F``, ``G`` and ``batch`` as in `feature_step`.
    """
    return {
        name: feature_step(problem, F, G, batch, eta, factors)
        for name, factors in METHODS.items()
    }


def from_zero(
    dX: int, dY: int, levels: tuple, eta: float, seed: int
) -> dict[str, float]:
    """Return the distances after one step of each of `METHODS` from zero features, SGD
    on the population, K-FAC on one batch of 2 dX samples.

    Args:
        dX: inputs, an even number.
        dY: outputs.
        levels: the two eigenvalues of the covariance, each for half of the directions.
        eta: step size.
        seed: of all draws; the only direction of the teacher has half its mass on each
            level.
    """
    rng = default_rng(seed)
    axes = qr(rng.standard_normal((dX, dX)))[0]
    spectrum = np.repeat(levels, dX // 2)
    S = (axes * spectrum) @ axes.T
    G_star = axes.sum(1) / np.sqrt(dX)
    F_star, F = rng.standard_normal((2, dY, 1))
    problem = Problem(S, F_star, G_star[None])
    batch = moments(problem, 2 * dX, 0.0, rng)
    zero = np.zeros((1, dX))
    sgd = feature_step(problem, F, zero, population(problem), eta)
    kfac = feature_step(problem, F, zero, batch, eta, KFAC)
    return {
        "sgd": distance(problem, sgd),
        "kfac": distance(problem, kfac),
    }


def distance(problem: Problem, G) -> float:
    """Return the sine of the largest principal angle between the rows of ``G`` (k, dX)
    and those of the teacher of ``problem``.
    """
    return numerics.subspace_distance(np.transpose(G), problem.G_star.T)


def orthonormal(G) -> np.ndarray:
    """Return orthonormal rows (k, dX) that span those of ``G`` (k, dX)."""
    return qr(G.T)[0].T
