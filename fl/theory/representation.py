r"""Predictions for linear representation learning: which subspace each layer-wise step
finds, and how fast.

Data :math:`y = F_\star G_\star x + \varepsilon` with :math:`x \sim N(0, S)`. A problem
is three arrays, always in this order: the covariance ``S`` (dX, dX), positive definite;
the head ``F_star`` (dY, k), of full column rank; the features ``G_star`` (k, dX), with
orthonormal rows. Label noise has the variance ``noise`` per output. The model is
:math:`\hat y = F G x`, the loss :math:`\tfrac1{2n}\sum\lVert\hat y - y\rVert^2`.
Distances are sines of the largest principal angle between row spaces. Every formula
here is derived in the chapter `representation`.
"""

import numpy as np
from numpy.linalg import eigvalsh, inv, matrix_rank, norm, pinv, solve
from scipy import linalg

from fl import numerics, validate

LEFT = ("I", "FF")
RIGHT = ("I", "S")


def complement(G_star) -> np.ndarray:
    """Return an orthonormal basis (dX, dX - k) of the directions that the teacher
    ``G_star`` (k, dX) does not see.

    Raises:
        ValueError: if ``G_star`` has no orthonormal rows, or k = dX.
    """
    G_star = validate.array("G_star", G_star, ("k", "dX"))
    k, d = G_star.shape
    if k >= d or np.abs(G_star @ G_star.T - np.eye(k)).max() > 1e-8:
        raise ValueError(
            f"G_star of shape {G_star.shape}: "
            "must have orthonormal rows, fewer than columns"
        )
    return linalg.null_space(G_star)


def schur_complement(S, G_star) -> np.ndarray:
    r"""Return :math:`S_\perp`, what is left of the covariance ``S`` (dX, dX) off the
    teacher ``G_star`` (k, dX) once its seen part is regressed out.

    On the complement of the teacher's rows, in the basis `complement`, shape (dX - k,
    dX - k):

    .. math::

        S_\perp = \Pi_\perp\,[S - S G_\star^\top (G_\star S G_\star^\top)^{-1} G_\star S]
        \,\Pi_\perp = (\Pi_\perp S^{-1} \Pi_\perp)^{-1}.

    >>> S = np.diag([5.0, 2.0, 3.0])
    >>> schur_complement(S, [[1.0, 0.0, 0.0]]).trace().round(12).item()
    5.0

    Raises:
        ValueError: if ``S`` is not positive definite or ``G_star`` not orthonormal.
    """
    return inv(_precision(S, complement(G_star)))


def modes(
    S,
    F_star,
    G_star,
    left: str = "I",
    right: str = "I",
    damping: float = 0.0,
    gauge: float = 0.0,
) -> np.ndarray:
    r"""Return the rates :math:`m_{ij}` at which the error modes decay near the teacher,
    shape (k, dX - k).

    One step of size :math:`\eta` with a least-squares head multiplies mode (i, j) by
    :math:`1 - \eta m_{ij}`, with :math:`m_{ij} = f_i s_j`.

    Args:
        S: covariance of the inputs, (dX, dX).
        F_star: head of the teacher, (dY, k).
        G_star: features of the teacher, (k, dX), orthonormal rows.
        left: ``I``: :math:`f_i` are the eigenvalues of :math:`(B^\top B)^{-1} F_\star^\top
            F_\star`, where :math:`G = B(G_\star + T)` are the features of the student;
            ``FF``: they are 1 whatever ``B``.
        right: ``I``: :math:`s_j` are the eigenvalues of :math:`S_\perp`; ``S``: those
            of :math:`S_\perp (S + \lambda I)^{-1}|_\perp`, hence 1 without damping.
        damping: :math:`\lambda`, of the right factor ``S``.
        gauge: the power :math:`q` in :math:`B^\top B = (F_\star^\top F_\star)^q`: 0 for
            features with orthonormal rows, 1/2 for balanced layers :math:`F^\top F =
            GG^\top`, 1 for a head with orthonormal columns.

    Raises:
        ValueError: for an unknown factor, a covariance that is not positive definite, a
            rank-deficient ``F_star``.
    """
    validate.choice("left", left, LEFT)
    validate.choice("right", right, RIGHT)
    damping = validate.number("damping", damping, 0)
    gauge = validate.number("gauge", gauge)
    F_star = full_rank("F_star", F_star)
    f = np.ones(F_star.shape[1])
    if left == "I":
        f = eigvalsh(F_star.T @ F_star) ** (1 - gauge)
    if right == "I":
        s = eigvalsh(schur_complement(S, G_star))
        return np.outer(f, s)
    N = complement(G_star)
    s = linalg.eigvalsh(_precision(S, N, damping), _precision(S, N))
    return np.outer(f, s)


def best_step(m) -> float:
    """Return the constant step size with the fastest worst mode, 2/(largest + smallest)
    of the rates ``m`` (any shape).

    Raises:
        ValueError: unless all rates are > 0.
    """
    m = validate.positive("m", m, np.shape(m))
    return 2 / (m.max() + m.min())


def factor(m, eta: float) -> float:
    r"""Return the asymptotic factor per step :math:`\max_{ij} |1 - \eta m_{ij}|` of the
    rates ``m`` (any shape) at the step size ``eta``.

    Raises:
        ValueError: for a rate or a step size that is not finite.
    """
    m = validate.array("m", m, np.shape(m))
    eta = validate.number("eta", eta)
    return np.abs(1 - eta * m).max()


def best_factor(K: float) -> float:
    r"""Return :math:`(K-1)/(K+1)`: no constant step size beats it when the rates have
    condition number ``K``.

    Raises:
        ValueError: if ``K`` < 1.
    """
    K = validate.number("K", K, 1)
    return (K - 1) / (K + 1)


def kfac_outside(G, F, G_star, xi, eta: float) -> np.ndarray:
    r"""Return the part of the K-FAC step outside the teacher's rows, in the basis
    `complement`, shape (k, dX - k).

    .. math::

        G_+ \Pi_\perp = (1-\eta)\,G \Pi_\perp + \eta\,F^+ \Xi \Pi_\perp,
        \qquad \Xi = E^\top X (X^\top X)^{-1},

    exactly, for any head, any batch and any covariance.

    Args:
        G: features before the step, (k, dX).
        F: head, (dY, k), full column rank.
        G_star: features of the teacher, (k, dX), orthonormal rows.
        xi: :math:`\Xi`, (dY, dX); zero without label noise.
        eta: step size, in [0, 1].

    Raises:
        ValueError: for a step size outside [0, 1], a rank-deficient ``F``.
    """
    eta = validate.number("eta", eta, 0, 1)
    N = complement(G_star)
    kept = np.asarray(G) @ N
    added = pinv(full_rank("F", F)) @ np.asarray(xi) @ N
    return (1 - eta) * kept + eta * added


def kfac_tangents(tangents, eta: float, steps: int) -> np.ndarray:
    r"""Return the tangents of the whitened principal angles under K-FAC with a
    least-squares head, (steps + 1, k).

    From ``tangents`` (k,), over ``steps`` steps of size ``eta`` in [0, 1], every angle
    evolves alone: :math:`\tan\theta_+ = (1-\eta)\tan\theta / (1 + \eta\tan^2\theta)`.

    >>> kfac_tangents([1.0], 0.5, 2).ravel().round(4).tolist()
    [1.0, 0.3333, 0.1579]

    Raises:
        ValueError: for a step size outside [0, 1].
    """
    eta = validate.number("eta", eta, 0, 1)
    path = [validate.array("tangents", tangents, ("k",))]
    for _ in range(validate.count("steps", steps, minimum=0)):
        t = path[-1]
        path.append((1 - eta) * t / (1 + eta * t**2))
    return np.array(path)


def two_level_first_step(a: float, b: float) -> float:
    r"""Return the distance after the first SGD step from zero features, which span
    row(G* S), not row(G*).

    The covariance has two levels ``a``, ``b`` > 0 and one direction with half its mass
    on each. The cosine is :math:`\cos^2 = (a+b)^2/(2(a^2+b^2))`.

    >>> round(two_level_first_step(1.8, 0.2), 6)
    0.624695

    Raises:
        ValueError: for a level that is not positive.
    """
    a, b = validate.positive("a, b", [a, b])
    cosine = (a + b) / np.hypot(a, b) / np.sqrt(2)
    return float(np.sqrt(1 - cosine**2))


def head_error_distance(S, F_star, G_star, F, eta: float) -> float:
    r"""Return how far one SGD step with a wrong head throws perfect features out of the
    right subspace.

    With :math:`C = F^\top(F - F_\star)` the slope after the step is :math:`T_+ = -\eta
    (I - \eta C G_\star S G_\star^\top)^{-1} C G_\star S \Pi_\perp`, the distance
    :math:`\lVert T_+\rVert/\sqrt{1+\lVert T_+\rVert^2}`. It is zero iff :math:`C
    G_\star S \Pi_\perp = 0`.

    Args:
        S: covariance of the inputs, (dX, dX).
        F_star: head of the teacher, (dY, k).
        G_star: features of the teacher and of the student, (k, dX), orthonormal rows.
        F: head of the student, (dY, k), full column rank.
        eta: step size.

    Raises:
        ValueError: for a covariance that is not positive definite, a rank-deficient
            head, ``G_star`` not orthonormal, or a step size that is not finite.
    """
    eta = validate.number("eta", eta)
    F = full_rank("F", F)
    error = F - full_rank("F_star", F_star)
    C = F.T @ error @ G_star @ positive_definite(S)
    damped = np.eye(len(C)) - eta * C @ G_star.T
    T = eta * solve(damped, C @ complement(G_star))  # up to its sign
    size = norm(T, 2)
    return size / np.hypot(1, size)


def transfer_risk(S, F_star, G_star, G, n: int, noise: float) -> float:
    r"""Return the excess risk of a new least-squares head on frozen features after
    ``n`` Gaussian samples of a new task, :math:`b + (\sigma^2 d_Y + b)\,k/(n-k-1)` with
    the bias :math:`b` of `transfer_bias`.

    Args:
        S: covariance of the new task, (dX, dX).
        F_star: head :math:`F_{new}` of the new task, (dY, k), of any rank.
        G_star: features of the teacher, (k, dX), orthonormal rows.
        G: frozen features, (k, dX), of full row rank.
        n: samples.
        noise: variance :math:`\sigma^2` of the label noise.

    Raises:
        ValueError: if n <= k + 1, ``G`` has dependent rows, ``noise`` < 0 or ``S`` is
            not positive definite.
    """
    k = full_rank("G.T", np.transpose(G)).shape[1]
    noise = validate.number("noise", noise, 0)
    n = validate.count("n", n, minimum=k + 2)
    bias = transfer_bias(S, F_star, G_star, G)
    label_noise = noise * len(F_star) + bias
    return bias + label_noise * k / (n - k - 1)


def transfer_bias(S, F_star, G_star, G) -> float:
    r"""Return the risk that no head on frozen features can undercut.

    :math:`b = \lVert F_{new} G_\star S^{1/2}(I - \Pi)\rVert_F^2`, :math:`\Pi` the
    projector on the rows of :math:`G S^{1/2}`, for ``S``, ``F_star``, ``G_star`` and ``G``
    as in `transfer_risk`.

    Raises:
        ValueError: for wrong shapes, or ``S`` not positive definite.
    """
    F_star = validate.array("F_star", F_star, ("dY", "k"))
    G_star = validate.array("G_star", G_star, (F_star.shape[1], len(S)))
    G = validate.array("G", G, ("k", len(S)))
    root = numerics.psd_power(positive_definite(S), 0.5)
    missed = root @ linalg.null_space(G @ root)
    return np.sum((F_star @ G_star @ missed) ** 2)


def _precision(S, N, damping: float = 0.0) -> np.ndarray:
    """Return what the inverse of the damped covariance is on the basis ``N``."""
    S = positive_definite(S)
    return N.T @ solve(S + damping * np.eye(len(S)), N)


def positive_definite(S) -> np.ndarray:
    """Return the covariance ``S`` (dX, dX) as an array.

    Raises:
        ValueError: if it is not positive definite.
    """
    S = validate.psd("S", S)
    smallest, largest = eigvalsh(S)[[0, -1]]
    if smallest <= 1e-12 * largest:
        raise ValueError(
            f"S has smallest eigenvalue {smallest:g}: must be positive definite"
        )
    return S


def full_rank(name: str, F) -> np.ndarray:
    """Return the head ``F`` (dY, k), called ``name`` in an error, as an array.

    Raises:
        ValueError: if it has not full column rank.
    """
    F = validate.array(name, F, ("dY", "k"))
    rank = matrix_rank(F)
    if rank < F.shape[1]:
        raise ValueError(
            f"{name} of shape {F.shape} has rank {rank}: must have full column rank"
        )
    return F
