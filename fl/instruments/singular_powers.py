"""A power of the singular values of a matrix: the step of Muon and its relatives."""

import numpy as np

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
