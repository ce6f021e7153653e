r"""Predictions for linear representation learning: which subspace each layer-wise step
finds, and how fast.

Data :math:`y = F_\star G_\star x + \varepsilon` with :math:`x \sim N(0, S)`,
:math:`G_\star` (k, dX) with orthonormal rows, :math:`F_\star` (dY, k), label noise of
deviation ``sigma``. The model is :math:`\hat y = F G x`, the loss
:math:`\tfrac1{2n}\sum\lVert\hat y - y\rVert^2`. Distances are sines of the largest
principal angle between row spaces. Every formula here is derived in the chapter
`representation`.
"""

import numpy as np
from scipy import linalg

from fl import numerics, validate

LEFT = ("I", "FF")
RIGHT = ("I", "S")


def complement(G_star) -> np.ndarray:
    """Return an orthonormal basis (dX, dX - k) of the directions that the teacher does
    not see.

    Raises:
        ValueError: if ``G_star`` (k, dX) has no orthonormal rows, or k = dX.
    """
    G_star = validate.array("G_star", G_star, ("k", "dX"))
    k, d = G_star.shape
    if k >= d or np.abs(G_star @ G_star.T - np.eye(k)).max() > 1e-8:
        raise ValueError(
            f"G_star of shape {G_star.shape}: must have orthonormal rows, fewer than columns"
        )
    return linalg.null_space(G_star)


def schur_complement(S, G_star) -> np.ndarray:
    r"""Return :math:`S_\perp`, what is left of the covariance off the teacher once its
    seen part is regressed out.

    On the complement of the teacher's rows, in the basis `complement`, shape (dX - k,
    dX - k):

    .. math:: S_\perp = P\,[S - S G_\star^\top (G_\star S G_\star^\top)^{-1} G_\star S]\,P = (P S^{-1} P)^{-1}.

    >>> schur_complement(np.diag([5.0, 2.0, 3.0]), [[1.0, 0.0, 0.0]]).trace().round(12).item()
    5.0

    Raises:
        ValueError: if ``S`` is not positive definite.
    """
    S, N = _covariance(S), complement(G_star)
    return np.linalg.inv(N.T @ np.linalg.solve(S, N))


def modes(
    F_star, S, G_star, left: str = "I", right: str = "I", damping: float = 0.0
) -> np.ndarray:
    r"""Return the rates :math:`m_{ij}` at which the error modes decay near the teacher,
    shape (k, dX - k).

    One step of size :math:`\eta` with a least-squares head multiplies mode (i, j) by
    :math:`1 - \eta m_{ij}`, with :math:`m_{ij} = f_i s_j`: :math:`f_i` the eigenvalues
    of :math:`F_\star^\top F_\star` (1 with the left factor ``FF``), :math:`s_j` those
    of :math:`S_\perp` (of :math:`S_\perp (S + \lambda I)^{-1}|_\perp` with the right
    factor ``S``, hence 1 without ``damping``).

    Raises:
        ValueError: for an unknown factor, a covariance that is not positive definite, a
            rank-deficient ``F_star``.
    """
    validate.choice("left", left, LEFT), validate.choice("right", right, RIGHT)
    damping = validate.number("damping", damping, 0)
    F_star, S = _head("F_star", F_star), _covariance(S)
    f = (
        np.linalg.eigvalsh(F_star.T @ F_star)
        if left == "I"
        else np.ones(F_star.shape[1])
    )
    S_perp, N = schur_complement(S, G_star), complement(G_star)
    if right == "S":
        root = linalg.sqrtm(S_perp).real
        s = np.linalg.eigvalsh(
            root @ N.T @ np.linalg.solve(S + damping * np.eye(len(S)), N) @ root
        )
    else:
        s = np.linalg.eigvalsh(S_perp)
    return np.outer(f, s)


def best_step(m) -> float:
    """Return the constant step size with the fastest worst mode, 2/(largest + smallest)
    of the rates ``m``.
    """
    return 2 / (np.max(m) + np.min(m))


def factor(m, eta: float) -> float:
    r"""Return the asymptotic factor per step :math:`\max_{ij} |1 - \eta m_{ij}|` of the
    rates ``m``.
    """
    return float(np.abs(1 - eta * np.asarray(m)).max())


def best_factor(K: float) -> float:
    r"""Return :math:`(K-1)/(K+1)`: no constant step size beats it when the rates have
    condition number ``K`` >= 1.
    """
    K = validate.number("K", K, 1)
    return (K - 1) / (K + 1)


def kfac_outside(G, F, G_star, xi, eta: float) -> np.ndarray:
    r"""Return the part of the KFAC step outside the teacher's rows, in the basis
    `complement`, shape (k, dX - k).

    .. math:: G_+ P = (1-\eta)\,G P + \eta\,F^+ \Xi P,\qquad \Xi = E^\top X (X^\top X)^{-1},

    exactly, for any head ``F`` (dY, k), any batch and any covariance; ``xi`` (dY, dX)
    is zero without label noise.
    """
    eta, N = validate.number("eta", eta, 0, 1), complement(G_star)
    return (1 - eta) * np.asarray(G) @ N + eta * np.linalg.pinv(
        _head("F", F)
    ) @ np.asarray(xi) @ N


def kfac_tangents(tangents, eta: float, steps: int) -> np.ndarray:
    r"""Return the tangents of the whitened principal angles under KFAC with a
    least-squares head, (steps + 1, k).

    Every angle evolves alone: :math:`\tan\theta_+ = (1-\eta)\tan\theta / (1 +
    \eta\tan^2\theta)`.

    >>> kfac_tangents([1.0], 0.5, 2).ravel().round(4).tolist()
    [1.0, 0.3333, 0.1579]
    """
    eta, steps = (
        validate.number("eta", eta, 0, 1),
        validate.count("steps", steps, minimum=0),
    )
    path = [validate.array("tangents", tangents, ("k",))]
    for _ in range(steps):
        path.append((1 - eta) * path[-1] / (1 + eta * path[-1] ** 2))
    return np.array(path)


def two_level_first_step(a: float, b: float) -> float:
    r"""Return the distance after the first SGD step from zero features, which span
    row(G* S), not row(G*).

    The covariance has two levels ``a``, ``b`` and one direction with half its mass on
    each. The cosine is :math:`\cos^2 = (a+b)^2/(2(a^2+b^2))`.

    >>> round(two_level_first_step(1.8, 0.2), 6)
    0.624695
    """
    a, b = (
        validate.number("a", a, 0, open_low=True),
        validate.number("b", b, 0, open_low=True),
    )
    return float(np.sqrt(1 - (a + b) ** 2 / (2 * (a**2 + b**2))))


def head_error_distance(F, F_star, S, G_star, eta: float) -> float:
    r"""Return how far one SGD step with a wrong head ``F`` throws perfect features out
    of the right subspace.

    With :math:`C = F^\top(F - F_\star)` the slope after the step is :math:`T_+ = -\eta
    (I - \eta C G_\star S G_\star^\top)^{-1} C G_\star S P`, the distance :math:`\lVert
    T_+\rVert/\sqrt{1+\lVert T_+\rVert^2}`. It is zero iff :math:`C G_\star S P = 0`.
    """
    F, F_star, S, N = (
        _head("F", F),
        _head("F_star", F_star),
        _covariance(S),
        complement(G_star),
    )
    C = F.T @ (F - F_star) @ G_star @ S
    T = -eta * np.linalg.solve(np.eye(len(C)) - eta * C @ G_star.T, C @ N)
    size = np.linalg.norm(T, 2)
    return float(size / np.hypot(1, size))


def sgd_variance(F, G, F_star, S, G_star, eta: float, n: int, sigma: float) -> float:
    r"""Return :math:`\mathbb E\lVert G_+ - \mathbb E G_+\rVert_F^2` of one SGD step on
    a Gaussian batch of size ``n``.

    With :math:`A = F^\top(FG - F_\star G_\star)`: :math:`\frac{\eta^2}n[\tr A S^2
    A^\top + \tr A S A^\top\,\tr S + \sigma^2\,\tr F^\top F\,\tr S]`.
    """
    F, S, n = _head("F", F), _covariance(S), validate.count("n", n)
    A = F.T @ (F @ G - np.asarray(F_star) @ G_star)
    signal = np.trace(A @ S @ S @ A.T) + np.trace(A @ S @ A.T) * np.trace(S)
    return float(eta**2 / n * (signal + sigma**2 * np.sum(F**2) * np.trace(S)))


def kfac_variance(F, S, eta: float, n: int, sigma: float) -> float:
    r"""Return the same for a KFAC step: :math:`\eta^2\sigma^2\,\tr (F^\top F)^{-1}\,\tr
    S^{-1}/(n - d_X - 1)`.

    Raises:
        ValueError: if n <= dX + 1, where the inverse of the batch covariance has no
            mean.
    """
    F, S = _head("F", F), _covariance(S)
    n = validate.count("n", n, minimum=len(S) + 2)
    inverse = np.trace(np.linalg.inv(F.T @ F)) * np.trace(np.linalg.inv(S))
    return float(eta**2 * sigma**2 * inverse / (n - len(S) - 1))


def noise_floor(
    F_star,
    S,
    G_star,
    method: str,
    eta: float,
    n: int,
    sigma: float,
    steps: int | None = None,
) -> float:
    r"""Return :math:`\mathbb E\lVert T\rVert_F^2` of the slope after ``steps`` steps
    from the teacher (None: for ever).

    With a fresh batch per step and a least-squares head, to leading order in the noise,
    mode (i, j) is an autoregression of factor :math:`1-r`. ``sgd`` (head and features
    share the batch): :math:`r=\eta f_i s_j`, variance :math:`\frac{\sigma^2}{n f_i
    s_j}\frac{r}{2-r}`. ``kfac``: :math:`r=\eta` and n - dX - 1 for n. ``sgd separate``
    (another batch for the head): :math:`\eta^2\sigma^2 f_i m_j/(n(1-(1-r)^2))` with
    :math:`m_j` the diagonal of :math:`S_\perp + 2 P S G_\star^\top(G_\star S
    G_\star^\top)^{-1}G_\star S P` in the eigenbasis of :math:`S_\perp`.

    Raises:
        ValueError: for an unknown method, n <= dX + 1, or a step size at which a mode
            does not decay.
    """
    validate.choice("method", method, ["sgd", "sgd separate", "kfac"])
    F_star, S, N = _head("F_star", F_star), _covariance(S), complement(G_star)
    n = validate.count("n", n, minimum=len(S) + 2)
    f = np.linalg.eigvalsh(F_star.T @ F_star)[:, None]
    s, V = np.linalg.eigh(schur_complement(S, G_star))
    r = np.full((len(f), len(s)), eta) if method == "kfac" else eta * f * s
    if r.max() >= 2 or r.min() <= 0:
        raise ValueError(
            f"eta = {eta!r}: must be in (0, {2 * eta / r.max():.4g}), where every mode decays"
        )
    if method == "sgd separate":
        cross = N.T @ S @ G_star.T
        seen = cross @ np.linalg.solve(G_star @ S @ G_star.T, cross.T)
        input_noise = s + 2 * np.einsum("aj,ab,bj->j", V, seen, V)
        kick = eta**2 * sigma**2 * f * input_noise / n
    else:
        kick = r**2 * sigma**2 / ((n - len(S) - 1 if method == "kfac" else n) * f * s)
    variance = kick / (1 - (1 - r) ** 2)
    return float(
        np.sum(variance * (1 if steps is None else 1 - (1 - r) ** (2 * steps)))
    )


def transfer_risk(F_new, G, G_star, S, n: int, sigma: float) -> float:
    r"""Return the excess risk of a new least-squares head on frozen features ``G``
    after ``n`` Gaussian samples.

    With :math:`b = \lVert F_{new} G_\star S^{1/2}(I - \Pi)\rVert_F^2`, :math:`\Pi` the
    projector on the rows of :math:`G S^{1/2}`: :math:`b + (\sigma^2 d_Y +
    b)\,k/(n-k-1)`. ``S`` is the covariance of the new task.

    Raises:
        ValueError: if n <= k + 1.
    """
    F_new, S, G = (
        _head("F_new", F_new),
        _covariance(S),
        validate.array("G", G, ("k", "dX")),
    )
    k = len(G)
    n = validate.count("n", n, minimum=k + 2)
    root = numerics.psd_power(S, 0.5)
    target, features = F_new @ G_star @ root, G @ root
    bias = np.sum((target - target @ np.linalg.pinv(features) @ features) ** 2)
    return float(bias + (sigma**2 * len(F_new) + bias) * k / (n - k - 1))


def _covariance(S) -> np.ndarray:
    S = validate.psd("S", S)
    smallest, largest = np.linalg.eigvalsh(S)[[0, -1]]
    if smallest <= 1e-12 * largest:
        raise ValueError(
            f"S has smallest eigenvalue {smallest:g}: must be positive definite"
        )
    return S


def _head(name: str, F) -> np.ndarray:
    F = validate.array(name, F, ("dY", "k"))
    if np.linalg.matrix_rank(F) < F.shape[1]:
        raise ValueError(
            f"{name} of shape {F.shape} has rank {np.linalg.matrix_rank(F)}: must have full column rank"
        )
    return F
