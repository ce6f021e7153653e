r"""Early stopping of a preconditioned flow: its exact mixture of ridge regressions, and
how far it can be from ridge regression.

The flow :math:`\dot w=-P\nabla\frac1N|y-X^\top w|^2` starts at zero. In the coordinates
:math:`P^{-1/2}w` inputs have a covariance T with eigenvalues :math:`t_r`; its sample
version is :math:`\hat T`. On a contour around the negative axis

.. math:: e^{-2\tau\hat T}=\frac1{2\pi i}\oint\frac{e^u\,du}{u+2\tau\hat T}
          =\sum_jc_j\,\rho_j(\hat T+\rho_j)^{-1},\qquad\rho_j=\frac{u_j}{2\tau}:

each node is a ridge regression with a complex penalty, whose deterministic equivalent
is that of `fl.theory.alignment_ridge`, continued. Derived in chapter "help_or_hurt".
"""

import numpy as np
from scipy.optimize import brentq

from fl import validate
from fl.theory.alignment_ridge import energies, implicit_ridge

NODES = 32  # of the contour: e^u comes out to 1e-12
ROUNDS = 8  # of Newton's method at each: five arrive from the node before
CLOSE = 1e-10  # relative; a root that misses its equation by more is none


def flow_risk(t, energy, n: int, noise: float, times) -> np.ndarray:
    r"""Return the expected excess risk of the flow at the ``times``.

    With :math:`h_{jr}=\kappa_j/(t_r+\kappa_j)` at the nodes of the contour,

    .. math:: R(\tau)=\sum_{jk}c_jc_k\Bigl[\frac{\sum_re_rh_{jr}h_{kr}+\text{noise}}
              {1-\frac1N\sum_r(1-h_{jr})(1-h_{kr})}-\text{noise}\Bigr].

    Args:
        t: eigenvalues (d,) of T.
        energy: :math:`e_r` (d,), the signal's variance along them.
        n: number N of training samples, fewer or more than d.
        noise: variance of what is not linear in a label.
        times: :math:`\tau`, (k,), from 1e-300; a step of size :math:`\eta` lasts
            :math:`\eta`.

    Returns:
        shape (k,), without the noise of a fresh label; right up to relative order 1/N.
        Rounding leaves an error of about 1e-14 of the noise and of the energies' sum,
        and a zero where it would leave less than nothing.

    Raises:
        ValueError: for eigenvalues that are not > 0, times below 1e-300, negative
            energies or noise, or sizes that do not fit.
        RuntimeError: if a root was not found, or rounding leaves no number.

    >>> ends = flow_risk([1.0, 1.0], [1.0, 0.0], 10, 1.0, [1e-9, 1e9])
    >>> ends.round(6).tolist()  # nothing learned; least squares, d/(N - d)
    [1.0, 0.25]
    """
    t, energy = energies(t, energy, "t")
    noise = validate.number("noise", noise, 0)
    nodes, weights = contour()
    shares = weights / nodes
    risks = []
    for kappa in complex_ridge(t, n, times)[..., None]:
        missed = kappa / (t + kappa)
        fitted = 1 - missed
        pairs = (missed * energy) @ missed.T
        with np.errstate(all="ignore"):  # what is no number is seen below
            tests = (pairs + noise) / (1 - fitted @ fitted.T / n)
            mixed = shares @ (tests - noise) @ shares
        risks.append(mixed.real)
    if not np.isfinite(risks).all():
        raise RuntimeError(f"flow_risk: lost to rounding at the times {times}")
    return np.maximum(risks, 0)


def contour() -> tuple[np.ndarray, np.ndarray]:
    r"""Return nodes and weights (K,): :math:`\sum_j\omega_jf(u_j)` is
    :math:`\frac1{2\pi i}\int e^uf(u)\,du` over a parabola around the negative axis
    (Trefethen, Weideman and Schmelzer 2006). The :math:`c_j` are
    :math:`\omega_j/u_j`; their sum is 1.
    """
    theta = np.pi / NODES * np.arange(1 - NODES, NODES, 2)
    nodes = NODES * (0.1309 - 0.1194 * theta**2 + 0.25j * theta)
    slope = -0.2388 * theta + 0.25j
    return nodes, np.exp(nodes) * slope / 1j


def complex_ridge(t, n: int, times) -> np.ndarray:
    r"""Return the implicit ridge :math:`\kappa` of the penalties :math:`u_j/2\tau`.

    The root of :math:`\rho=\kappa(1-\frac1N\sum_r\frac{t_r}{t_r+\kappa})` with
    :math:`\operatorname{Im}\kappa\operatorname{Im}\rho>0`, which is one: :math:`1/\kappa`
    is the Stieltjes transform of a positive measure. It is followed along the contour,
    node by node, from a real penalty near the first.

    Args:
        t: eigenvalues (d,).
        n: number N of samples.
        times: :math:`\tau` (k,), from 1e-300.

    Returns:
        shape (k, K), for the K nodes of the `contour`.

    Raises:
        ValueError: for eigenvalues that are not > 0, times below 1e-300, or n < 1.
        RuntimeError: if a root was not found.
    """
    t = validate.positive("t", t)
    n = validate.count("n", n)
    times = validate.positive("times", times, ("k",))
    validate.number("times", times.min(), 1e-300)
    scale = 2 * times
    levels, numbers = np.unique(t, return_counts=True)
    counts = numbers / n
    nodes, _ = contour()
    above = nodes[NODES // 2 :]  # the real axis
    real = above[0].real / scale
    kappa = np.array([implicit_ridge(t, n, penalty) for penalty in real])
    roots = []
    for node in above:
        for _ in range(ROUNDS):
            with np.errstate(all="ignore"):  # a step to nowhere is seen below
                used = levels / (levels + kappa[:, None])
                slope = 1 - used**2 @ counts
                missed = kappa * (1 - used @ counts) - node / scale
                kappa = kappa - missed / slope
        found = (abs(missed) < CLOSE * abs(kappa)) & (kappa.imag > 0)
        if not found.all():
            raise RuntimeError(f"complex_ridge: no root at the times {times}")
        roots.append(kappa)
    upper = np.transpose(roots)
    return np.hstack([upper[:, ::-1].conj(), upper])


def stopping_bound() -> float:
    r"""Return the largest ratio of the risks of a flow at :math:`\tau` and of ridge
    regression at :math:`\rho=1/2\tau`, if P is the teacher's second moment.

    .. math:: \max_{x>0}\Bigl[\frac{(1-e^{-x})(1+x)}x\Bigr]^2

    The maximum is where :math:`e^x=1+x+x^2`, and there the ratio is
    :math:`(1+x)^2/e^x`.

    >>> round(stopping_bound(), 4)
    1.6859
    """
    best = brentq(lambda x: np.expm1(x) - x - x**2, 1, 3)
    ratio = (1 + best) ** 2 / np.exp(best)
    return float(ratio**2)
