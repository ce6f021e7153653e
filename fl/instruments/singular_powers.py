"""A power of the singular values of a matrix: the step of Muon and its relatives, and what
one such step of a layer gains.
"""

import numpy as np
from numpy.linalg import norm

from fl import validate

FLOOR = 1e-9  # relative; singular values below are rounding, and no power is theirs


def svd_power(G, q: float) -> np.ndarray:
    r"""Return :math:`G^{[q]}=U\operatorname{diag}(s^q)V^\top`, for a matrix or a stack.

    Args:
        G: (..., h, d); singular values below 1e-9 of the largest count as zero and
            stay zero for every q.
        q: the power, 1 for G itself and 0 for its polar factor.

    >>> svd_power([[0.0, 4.0], [1.0, 0.0]], 0.5).round(6).tolist()
    [[0.0, 2.0], [1.0, 0.0]]

    Raises:
        ValueError: if q is not a finite number.
    """
    q = validate.number("q", q)
    U, s, V = np.linalg.svd(G, full_matrices=False)
    kept = s > FLOOR * s[..., :1]
    s = np.where(kept, s, 1.0) ** q * kept
    return U * s[..., None, :] @ V


def one_step(A, R) -> dict:
    r"""Return what one gradient and one spectral step do to
    :math:`\tfrac12\lvert R\rvert_F^2`.

    Args:
        A: inputs (d, N) of the layer.
        R: residuals WA - Y (h, N); the gradient is G = RA'.

    Returns:
        Norms: ``whole`` and ``largest``, Frobenius and operator norm of A, ``nuclear``
        and ``size``, nuclear and Frobenius norm of G. The decreases of the loss with
        the step sizes of the guarantees, ``gradient`` and ``spectral``.
    """
    G = R @ A.T
    largest = norm(A, 2)
    return {
        "whole": norm(A),
        "largest": largest,
        "nuclear": norm(G, "nuc"),
        "size": norm(G),
        "gradient": decrease(A, R, G / largest**2),
        "spectral": decrease(A, R, spectral_step(A, R)),
    }


def spectral_step(A, R) -> np.ndarray:
    r"""Return what a spectral step of the size of its guarantee takes from the weights
    (h, d), :math:`\lvert G\rvert_*\lvert A\rvert_F^{-2}` times the polar factor of G =
    RA', for inputs ``A`` (d, N) and residuals ``R`` (h, N).
    """
    G = R @ A.T
    return norm(G, "nuc") / norm(A) ** 2 * svd_power(G, 0)


def decrease(A, R, move) -> float:
    r"""Return by how much :math:`\tfrac12\lvert R\rvert_F^2` falls when the weights
    change by minus ``move`` (h, d), for inputs ``A`` (d, N) and residuals ``R`` (h, N).
    """
    change = move @ A
    return np.vdot(R - change / 2, change)
