r"""Experiments on linear representation learning: one step, many steps, noise floors
and transfer.

The model is :math:`\hat y = F G x`. A batch enters a step only through its second
moments, :math:`\hat S = X^\top X/n` (dX, dX) and :math:`R = E^\top X/n` (dY, dX); with
:math:`W = F_\star G_\star`

.. math:: \nabla_G = F^\top[(FG - W)\hat S - R],\qquad \nabla_F = [(FG - W)\hat S - R]\,G^\top.

Samples stand in rows here, as [ZM25] has them. All functions of arrays broadcast over
leading axes.
"""

from typing import NamedTuple

import numpy as np
import torch
from scipy import linalg
from scipy.stats import ortho_group

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


class Moments(NamedTuple):
    """Second moments of batches: ``S_hat`` (..., dX, dX) of the inputs, ``R`` (..., dY,
    dX) of noise and inputs.
    """

    S_hat: np.ndarray
    R: np.ndarray


def problem(
    dX: int,
    dY: int,
    k: int,
    kappa_S: float,
    kappa_F: float,
    seed: int,
    invariant: bool = False,
) -> Problem:
    r"""Return a random problem with log-spaced spectra of condition numbers ``kappa_S``
    and ``kappa_F``.

    tr S = dX, :math:`\lVert F_\star\rVert_F^2 = k`, all bases Haar-random. With
    ``invariant`` the teacher's rows are eigenvectors of ``S``.

    Raises:
        ValueError: unless k < dX, k <= dY and both condition numbers are >= 1.
    """
    dX, dY, k = (
        validate.count(name, v) for name, v in [("dX", dX), ("dY", dY), ("k", k)]
    )
    if k >= dX or k > dY:
        raise ValueError(f"k = {k}: must be < dX = {dX} and <= dY = {dY}")
    kappa_S, kappa_F = (
        validate.number("kappa_S", kappa_S, 1),
        validate.number("kappa_F", kappa_F, 1),
    )
    rng = np.random.default_rng(seed)
    U = ortho_group.rvs(dX, random_state=rng)
    s, f = np.geomspace(kappa_S, 1, dX), np.geomspace(kappa_F, 1, k)
    left, right = (
        np.linalg.qr(rng.standard_normal((dY, k)))[0],
        np.linalg.qr(rng.standard_normal((k, k)))[0],
    )
    rows = np.linalg.qr(rng.standard_normal((dX, k)))[0].T
    picked = U[:, rng.permutation(dX)[:k]].T
    S = (U * (s * dX / s.sum())) @ U.T
    return Problem(
        (S + S.T) / 2,
        (left * (f * np.sqrt(k / np.sum(f**2)))) @ right,
        picked if invariant else rows,
    )


def start(p: Problem, angle: float, rng: np.random.Generator) -> np.ndarray:
    """Return features (k, dX) with orthonormal rows, at ``angle`` (largest principal
    angle) from the teacher's.
    """
    k, d = p.G_star.shape
    T = rng.standard_normal((k, d)) @ (np.eye(d) - p.G_star.T @ p.G_star)
    return _orthonormal(p.G_star + np.tan(angle) * T / np.linalg.norm(T, 2))


def moments(
    p: Problem, n: int, sigma: float, rng: np.random.Generator, size: tuple = ()
) -> Moments:
    r"""Draw the second moments of ``size`` independent Gaussian batches of ``n``
    samples with label noise ``sigma``.

    Exact in law without drawing the samples (Bartlett): :math:`X^\top X = L A A^\top
    L^\top` with :math:`S = LL^\top` and :math:`A` lower triangular, normal below, chi
    on the diagonal; :math:`E^\top X = \sigma Z A^\top L^\top`.

    Raises:
        ValueError: if n < dX (the law of the moments is then singular).
    """
    d, dY = len(p.S), len(p.F_star)
    n, sigma = validate.count("n", n, minimum=d), validate.number("sigma", sigma, 0)
    A = np.tril(rng.standard_normal((*size, d, d)), -1)
    A[..., range(d), range(d)] = np.sqrt(rng.chisquare(n - np.arange(d), (*size, d)))
    LA = np.linalg.cholesky(p.S) @ A
    return Moments(
        LA @ LA.mT / n, sigma * rng.standard_normal((*size, dY, d)) @ LA.mT / n
    )


def population(p: Problem) -> Moments:
    """Return the moments of an infinite batch."""
    return Moments(p.S, np.zeros_like(p.W))


def least_squares_head(p: Problem, G, m: Moments) -> np.ndarray:
    """Return the least-squares head (..., dY, k) on the features ``G`` (..., k, dX),
    the step of size 1 in F.
    """
    target = (p.W @ m.S_hat + m.R) @ G.mT
    return np.linalg.solve(G @ m.S_hat @ G.mT, target.mT).mT


def gradient(p: Problem, F, G, m: Moments) -> np.ndarray:
    """Return the gradient of the loss in ``G``, shape (..., k, dX)."""
    return F.mT @ ((F @ G - p.W) @ m.S_hat - m.R)


def direction(
    grad, F, S_hat, left: str = "I", right: str = "I", damping: float = 0.0
) -> np.ndarray:
    r"""Return the step :math:`P_G^{-1}\,\nabla_G\,(Q_G + \lambda I)^{-1}`, shape (...,
    k, dX).

    ``left`` is I or FF (:math:`P_G = F^\top F`), ``right`` is I or S (:math:`Q_G = \hat
    S`); both of them make KFAC.
    """
    if left == "FF":
        grad = np.linalg.solve(F.mT @ F, grad)
    if right == "S":
        grad = np.linalg.solve(S_hat + damping * np.eye(S_hat.shape[-1]), grad.mT).mT
    return grad


def feature_step(
    p: Problem,
    F,
    G,
    m: Moments,
    eta: float,
    left: str = "I",
    right: str = "I",
    damping: float = 0.0,
) -> np.ndarray:
    """Return the features after one step of size ``eta`` with the given factors, the
    head ``F`` held fixed.

    Raises:
        ValueError: for an unknown factor, a rank-deficient head under ``FF``, or a
            singular batch covariance (n < dX) under ``S`` without damping.
    """
    (
        validate.choice("left", left, ["I", "FF"]),
        validate.choice("right", right, ["I", "S"]),
    )
    damping = validate.number("damping", damping, 0)
    if left == "FF" and np.linalg.matrix_rank(F).min() < F.shape[-1]:
        raise ValueError(
            f"F has rank {np.linalg.matrix_rank(F).min()}: P_G = F'F needs full column rank {F.shape[-1]}"
        )
    if (
        right == "S"
        and damping == 0
        and np.linalg.matrix_rank(m.S_hat, hermitian=True).min() < len(p.S)
    ):
        raise ValueError(
            f"damping = 0: must be > 0, the batch covariance is singular (fewer than {len(p.S)} samples)"
        )
    return G - eta * direction(gradient(p, F, G, m), F, m.S_hat, left, right, damping)


def descend(
    p: Problem,
    G,
    eta: float,
    left="I",
    right="I",
    damping=0.0,
    steps: int = 2000,
    stop: float = 1e-10,
) -> np.ndarray:
    """Return the distances after each step of alternating descent on the population,
    from ``G`` until ``stop``.

    Every step refits the head by least squares, then moves the features, then makes
    their rows orthonormal again.
    """
    m, path = population(p), [distance(p, G)]
    while len(path) <= steps and path[-1] > stop:
        G = _orthonormal(
            feature_step(
                p, least_squares_head(p, G, m), G, m, eta, left, right, damping
            )
        )
        path.append(distance(p, G))
    return np.array(path)


def measured_factor(path) -> float:
    """Return the factor per step over the last quarter of a path of distances; what
    came before selects the mode.
    """
    first = 3 * len(path) // 4
    return float((path[-1] / path[first]) ** (1 / (len(path) - 1 - first)))


def angles(p: Problem, G, eta: float, steps: int, whitened: bool = True) -> np.ndarray:
    """Return the principal angles, falling, along population KFAC with a least-squares
    head, shape (steps + 1, k).
    """
    root, m, path = (
        numerics.psd_power(p.S, 0.5) if whitened else np.eye(len(p.S)),
        population(p),
        [],
    )
    for _ in range(steps + 1):
        path.append(linalg.subspace_angles(root @ G.T, root @ p.G_star.T))
        G = feature_step(p, least_squares_head(p, G, m), G, m, eta, "FF", "S")
    return np.array(path)


def distance(p: Problem, G) -> float:
    """Return the sine of the largest principal angle between the rows of ``G`` and the
    teacher's.
    """
    return numerics.subspace_distance(np.asarray(G).T, p.G_star.T)


def step_spread(
    p: Problem,
    F,
    G,
    eta: float,
    n: int,
    sigma: float,
    kfac: bool,
    batches: int,
    seed: int,
) -> np.ndarray:
    """Return the squared distances of one step's result from its mean over ``batches``
    batches, shape (batches,).
    """
    m = moments(p, n, sigma, np.random.default_rng(seed), (batches,))
    G1 = G - eta * direction(
        gradient(p, F, G, m), F, m.S_hat, *(("FF", "S") if kfac else ("I", "I"))
    )
    return np.sum((G1 - G1.mean(0)) ** 2, axis=(1, 2)) * batches / (batches - 1)


def wander(
    p: Problem,
    method: str,
    eta: float,
    n: int,
    sigma: float,
    steps: int,
    chains: int,
    seed: int,
) -> np.ndarray:
    r"""Return :math:`\lVert T\rVert_F^2` of each chain after ``steps`` noisy steps from
    the teacher, shape (chains,).

    ``method`` is sgd, kfac (head and features share the batch) or sgd separate (two
    batches). After each step the features are written as :math:`G_\star + T` again,
    which changes no subspace.
    """
    validate.choice("method", method, ["sgd", "sgd separate", "kfac"])
    rng, N = np.random.default_rng(seed), np.eye(len(p.S)) - p.G_star.T @ p.G_star
    G = np.broadcast_to(p.G_star, (chains, *p.G_star.shape))
    for _ in range(validate.count("steps", steps)):
        m = moments(p, n, sigma, rng, (chains,))
        other = moments(p, n, sigma, rng, (chains,)) if method == "sgd separate" else m
        F = least_squares_head(p, G, other)
        factors = ("FF", "S") if method == "kfac" else ("I", "I")
        G = G - eta * direction(gradient(p, F, G, m), F, m.S_hat, *factors)
        G = np.linalg.solve(G @ p.G_star.T, G)
    return np.sum((G @ N) ** 2, axis=(1, 2))


def transfer(
    p: Problem, G, F_new, n: int, sigma: float, draws: int, seed: int
) -> np.ndarray:
    """Return the excess risks of new least-squares heads on frozen ``G``, one per draw
    of ``n`` samples, (draws,).
    """
    new = p._replace(F_star=np.asarray(F_new))
    rng, L = np.random.default_rng(seed), np.linalg.cholesky(p.S)
    X = rng.standard_normal((draws, n, len(p.S))) @ L.T
    Y = X @ new.W.T + sigma * rng.standard_normal((draws, n, len(F_new)))
    Z = X @ np.asarray(G).T
    F = np.linalg.solve(Z.mT @ Z, Z.mT @ Y).mT
    return np.sum(((F @ G - new.W) @ L) ** 2, axis=(1, 2))


def batchnorm_gap(
    p: Problem, G, n: int, sigma: float, seed: int, refit: bool = True
) -> float:
    """Return the relative gap between the gradients in ``G`` with and without
    batch-norm on the features, by autograd.

    With ``refit`` both networks carry their own least-squares head; without it the same
    function is computed by a head that is off by 10 percent.
    """
    rng = np.random.default_rng(seed)
    X = torch.tensor(rng.standard_normal((n, len(p.S))) @ np.linalg.cholesky(p.S).T)
    Y = X @ torch.tensor(p.W.T) + sigma * torch.tensor(
        rng.standard_normal((n, len(p.F_star)))
    )
    grads = []
    for normalise in (False, True):
        weights = torch.tensor(np.asarray(G), requires_grad=True)
        Z = X @ weights.T
        Z = Z / Z.pow(2).mean(0).sqrt() if normalise else Z
        head = torch.linalg.lstsq(Z.detach(), Y).solution * (1.0 if refit else 1.1)
        loss = (Z @ head - Y).pow(2).sum() / (2 * n)
        grads.append(torch.autograd.grad(loss, weights)[0])
    return float((grads[1] - grads[0]).norm() / grads[0].norm())


def _orthonormal(G) -> np.ndarray:
    return np.linalg.qr(G.T)[0].T
