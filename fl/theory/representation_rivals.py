r"""Predictions for linear representation learning where a hypothesis is missing: angles
that are not whitened, and batch-norm under another head than the least-squares one.

Shapes and names are those of `representation`; derived in the chapter `representation`.
"""

import numpy as np
from numpy.linalg import norm, qr, solve, svd
from scipy.linalg import subspace_angles

from fl import numerics, validate
from fl.theory.representation import full_rank, kfac_tangents, positive_definite


def kfac_plain_angles(S, G_star, G, eta: float, steps: int) -> np.ndarray:
    r"""Return the principal angles between the row spaces of features and teacher, not
    whitened, along population K-FAC with a least-squares head, (steps + 1, k).

    Whitened by :math:`S^{1/2}`, the principal vectors of the start stay where they are,
    and each turns towards its teacher's by its own angle, see `kfac_tangents`.

    Args:
        S: covariance of the inputs, (dX, dX).
        G_star: features of the teacher, (k, dX), full rank.
        G: features at the start, (k, dX), full rank.
        eta: step size, in [0, 1].
        steps: number of steps.

    Raises:
        ValueError: for a rank-deficient ``G`` or ``G_star``, a right angle at the start,
            a step size outside [0, 1].
    """
    rows = full_rank("G_star.T", np.transpose(G_star))
    root = numerics.psd_power(positive_definite(S), 0.5)
    target, _ = qr(root @ rows)
    own, _ = qr(root @ full_rank("G.T", np.transpose(G)))
    U, cosines, V = svd(target.T @ own)
    if cosines.min() < 1e-8:
        raise ValueError("G has a right angle to G_star: must have none")
    seen = target @ U
    hidden = own @ V.T / cosines - seen  # of the length of the tangent
    start = norm(hidden, axis=0)
    path = []
    for tangents in kfac_tangents(start, eta, steps):
        # an angle that is zero stays zero
        left = tangents / np.maximum(start, 1e-300)
        features = solve(root, seen + hidden * left)
        path.append(subspace_angles(features, rows))
    return np.array(path)


def batchnorm_radial_share(S, C, F, G) -> float:
    r"""Return how much of the gradient in the features batch-norm takes away, as a share
    of its length.

    The gradient is :math:`D = F^\top(F G S - C^\top)`. A normalised neuron has no use for
    its own size, so its row :math:`D_i` loses :math:`\frac{D_i G_i^\top}{G_i S G_i^\top} G_i
    S`. That is zero for a least-squares head.

    Args:
        S: second moments of the inputs of the batch, (dX, dX).
        C: mean products of inputs and labels, (dX, dY).
        F: head, (dY, k).
        G: features, (k, dX), the scales of batch-norm divided out.

    Raises:
        ValueError: if a neuron is zero on the whole batch, or the gradient is zero.

    >>> S, C, G = np.eye(2), np.array([[1.0], [1.0]]), np.array([[1.0, 0.0]])
    >>> round(batchnorm_radial_share(S, C, [[2.0]], G), 6)  # rows (1, -1) and (1, 0)
    0.707107
    """
    S, G = validate.psd("S", S), validate.array("G", G, ("k", "dX"))
    F = validate.array("F", F, ("dY", "k"))
    seen = G @ S
    gradient = F.T @ (F @ seen - np.transpose(C))
    size = norm(gradient)
    variances = np.sum(G * seen, axis=1)
    validate.positive("variances of the neurons G", variances)
    if size == 0:
        raise ValueError("F: must leave a gradient in G, this one leaves none")
    along = np.sum(G * gradient, axis=1)
    shares = along / variances
    return float(norm(shares[:, None] * seen) / size)
