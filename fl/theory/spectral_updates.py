r"""Steps that act on singular values: what they guarantee, and which power of the input
covariance they are.

A layer W (h, d), a neuron per row, sees inputs A (d, N), one per column; its loss
:math:`\tfrac12\lvert WA-Y\rvert_F^2` has the gradient :math:`G=(WA-Y)A^\top`. With the
thin singular value decomposition :math:`G=U\operatorname{diag}(s)V^\top` the *q-step* is

.. math:: G^{[q]}=U\operatorname{diag}(s^q)V^\top=G\,(G^\top G)^{(q-1)/2}:

the gradient for q = 1, the polar factor for q = 0 (Muon, spectral descent); below zero
the weakest mode moves most. All results are derived in chapter "spectral_updates".
"""

from typing import NamedTuple

import numpy as np
from scipy import special

from fl import validate

ROUNDED = 1e-5  # relative: norms computed in single precision


class Guarantee(NamedTuple):
    """Nuclear rank of the gradient, stable rank of the inputs, and the decrease of the
    loss that a ``gradient`` and a ``spectral`` step are sure of; one number a layer.
    """

    nuclear: np.ndarray
    stable: np.ndarray
    gradient: np.ndarray
    spectral: np.ndarray


def guarantees(inputs, gradient) -> Guarantee:
    r"""Return what one step is sure of, for each of n layers.

    .. math:: \frac{\lvert G\rvert_F^2}{2\lvert A\rvert_{op}^2},\qquad
              \frac{\lvert G\rvert_*^2}{2\lvert A\rvert_F^2}

    Args:
        inputs: Frobenius and operator norm of A, (2, n).
        gradient: nuclear and Frobenius norm of G, (2, n).

    Returns:
        The guarantees and the two ranks :math:`(\lvert G\rvert_*/\lvert G\rvert_F)^2`,
        :math:`(\lvert A\rvert_F/\lvert A\rvert_{op})^2`, each (n,).

    >>> root = 2**0.5  # A = diag(2, 1), G the identity
    >>> found = guarantees([[5**0.5], [2.0]], [[2.0], [root]])
    >>> [round(float(x[0]), 4) for x in found]
    [2.0, 1.25, 0.25, 0.4]

    Raises:
        ValueError: for a norm that is not > 0, or a second above the first.
    """
    whole, largest = _squares("inputs", inputs)
    nuclear, square = _squares("gradient", gradient)
    return Guarantee(
        nuclear / square,
        whole / largest,
        square / largest / 2,
        nuclear / whole / 2,
    )


def _squares(name, norms):
    norms = validate.positive(name, norms, (2, "n"))
    if (norms[0] < norms[1] * (1 - ROUNDED)).any():
        raise ValueError(f"{name} = {norms}: the first norm must be the larger")
    return norms**2


def singular_power(moment, q: float, fluctuation: float = 0.0) -> np.ndarray:
    r"""Return the multiplier (d,) of the q-step along the axes: of
    :math:`\mathbb E(G^\top G)^a`, a = (q + 1)/2, relative to :math:`\mathbb E G^\top G`.

    To second order in the fluctuations of :math:`G^\top G`

    .. math:: m_k^{(q-1)/2}\Bigl[1+\epsilon\sum_l(1+1\{k=l\})\,r\,\varphi(r)\Bigr],
              \quad r=\frac{m_l}{m_k},\quad
              \varphi(r)=\frac{r^a-1-a(r-1)}{(r-1)^2}.

    Args:
        moment: eigenvalues m (d,) of :math:`\mathbb E G^\top G`: of the covariance for
            noise, their squares for a signal of equal independent errors.
        q: the power of the singular values, > -3.
        fluctuation: relative variance :math:`\epsilon` of :math:`G^\top G`, 1/h for h
            independent Gaussian rows.

    Returns:
        The multiplier; for q = 0 that of the polar factor.

    >>> singular_power([4.0, 1.0], 0.0).tolist()
    [0.5, 1.0]

    Raises:
        ValueError: for a moment that is not > 0, a power <= -3, a fluctuation outside
            [0, 1], or one for which the correction exceeds one half or leaves floating
            point.
    """
    m = validate.positive("moment", moment)
    q = validate.number("q", q, -3, open_low=True)
    epsilon = validate.number("fluctuation", fluctuation, 0, 1)
    a = (q + 1) / 2
    ratio = m / m[:, None]
    # phi is a divided difference; this form has no 0/0 where eigenvalues meet. Out of
    # reach of floating point: refused, but for a = 0 and 1, which correct nothing
    terms = np.nan_to_num(
        ratio * special.hyp2f1(2 - a, 1, 3, 1 - ratio),
        nan=1e100,
        posinf=1e100,
    )
    # the term of k = l, one, counts twice
    reach = a * (a - 1) / 2 * (1 + terms.sum(1))
    largest = np.abs(reach).max()
    if epsilon * largest > 0.5:
        raise ValueError(
            f"fluctuation = {fluctuation!r}: must be at most {0.5 / largest:.3g} for "
            "these eigenvalues, where the correction is one half"
        )
    return m ** (a - 1) * (1 + epsilon * reach)


def spiked_power(lam, spike, q: float, fluctuation: float = 0.0) -> np.ndarray:
    r"""Return the multiplier (d,) along the axes of the q-step for noise with a signal
    of rank one, rows :math:`N(0,\Gamma)`, :math:`\Gamma=\Lambda+bb^\top`.

    .. math:: (\Gamma^{(q+1)/2})_{kk}/\Gamma_{kk},

    no power of the eigenvalues, with the correction of `singular_power` in the
    eigenbasis of :math:`\Gamma`.

    Args:
        lam: variances of the noise along the axes, (d,).
        spike: b (d,).
        q: the power of the singular values, > -3.
        fluctuation: 1/h, as in `singular_power`.

    Raises:
        ValueError: for arguments that `singular_power` refuses, or shapes that do not
            fit.
    """
    lam = validate.positive("lam", lam)
    b = validate.array("spike", spike, lam.shape)
    gram = np.diag(lam) + np.outer(b, b)
    moment, axes = np.linalg.eigh(gram)
    return axes**2 @ (moment * singular_power(moment, q, fluctuation)) / np.diag(gram)
