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
from scipy.optimize import minimize_scalar

from fl import validate
from fl.theory.alignment_ridge import implicit_ridge

NODES = 32  # of the contour: e^u comes out to 1e-12
SUBSTEPS = 4  # between nodes, for Newton's method to follow the root
ROUNDS = 3  # of Newton's method at each
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
        times: :math:`\tau>0`, (k,); a step of size :math:`\eta` lasts :math:`\eta`.

    Returns:
        shape (k,), without the noise of a fresh label; right up to relative order 1/N.

    Raises:
        ValueError: for eigenvalues or times that are not > 0, negative energies or
            noise, or sizes that do not fit.
        RuntimeError: if a root was not found, or rounding leaves no number.

    >>> ends = flow_risk([1.0, 1.0], [1.0, 0.0], 10, 1.0, [1e-9, 1e9])
    >>> ends.round(6).tolist()  # nothing learned; least squares, d/(N - d)
    [1.0, 0.25]
    """
    t = validate.positive("t", t)
    energy = validate.array("energy", energy, (len(t),))
    if energy.min() < 0:
        raise ValueError(f"energy has smallest entry {energy.min():g}: must be >= 0")
    noise = validate.number("noise", noise, 0)
    times = validate.positive("times", times, ("k",))
    nodes, weights = contour()
    shares = weights / nodes

    def risk(kappa):
        kappa = kappa[:, None]
        missed = kappa / (t + kappa)
        fitted = 1 - missed
        pairs = (missed * energy) @ missed.T
        inflation = 1 - fitted @ fitted.T / n
        with np.errstate(divide="ignore", invalid="ignore"):
            tests = (pairs + noise) / inflation
            mixed = shares @ (tests - noise) @ shares
        return mixed.real

    risks = np.array([risk(kappa) for kappa in complex_ridge(t, n, times)])
    if not np.isfinite(risks).all():
        raise RuntimeError(f"flow_risk: lost to rounding at the times {times}")
    return risks


def contour() -> tuple[np.ndarray, np.ndarray]:
    r"""Return nodes and weights (K,): :math:`\sum_j\omega_jf(u_j)` is
    :math:`\frac1{2\pi i}\int e^uf(u)\,du` over a parabola around the negative axis
    (Trefethen, Weideman and Schmelzer 2006). The :math:`c_j` are
    :math:`\omega_j/u_j`; their sum is 1.
    """
    odd = np.arange(1 - NODES, NODES, 2)
    theta = np.pi * odd / NODES
    nodes = _parabola(theta)
    slope = -0.2388 * theta + 0.25j
    weights = np.exp(nodes) * slope
    return nodes, weights / 1j


def complex_ridge(t, n: int, times) -> np.ndarray:
    r"""Return the implicit ridge :math:`\kappa` of the penalties :math:`u_j/2\tau`.

    The root of :math:`\rho=\kappa(1-\frac1N\sum_r\frac{t_r}{t_r+\kappa})` with
    :math:`\operatorname{Im}\kappa\operatorname{Im}\rho>0`, which is one: :math:`1/\kappa`
    is the Stieltjes transform of a positive measure. It is followed along the contour
    from the real point.

    Args:
        t: eigenvalues (d,).
        n: number N of samples.
        times: :math:`\tau` (k,).

    Returns:
        shape (k, K), for the K nodes of the `contour`.

    Raises:
        ValueError: for eigenvalues or times that are not > 0, or n < 1.
        RuntimeError: if a root was not found.
    """
    t, n = validate.positive("t", t), validate.count("n", n)
    scale = 2 * validate.positive("times", times, ("k",))
    levels, numbers = np.unique(t, return_counts=True)
    counts = numbers / n

    def equation(kappa, penalty):
        used = levels / (levels + kappa[:, None])
        kept = 1 - used @ counts
        slope = 1 - used**2 @ counts
        return kappa * kept - penalty, slope

    real = _parabola(0.0).real / scale
    starts = [implicit_ridge(t, n, penalty) for penalty in real]
    kappa = np.array(starts, complex)
    roots = []
    for step in range(1, SUBSTEPS * (NODES - 1) + 1):
        node = _parabola(np.pi * step / (SUBSTEPS * NODES))
        penalty = node / scale
        for _ in range(ROUNDS):
            value, slope = equation(kappa, penalty)
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                kappa = kappa - value / slope  # a step to nowhere is seen below
        if step % (2 * SUBSTEPS) == SUBSTEPS:  # a node of the contour
            value, _ = equation(kappa, penalty)
            found = (abs(value) < CLOSE * abs(kappa)) & (kappa.imag > 0)
            if not found.all():
                raise RuntimeError(f"complex_ridge: no root at the times {times}")
            roots.append(kappa)
    upper = np.transpose(roots)
    return np.hstack([upper[:, ::-1].conj(), upper])


def stopping_bound() -> float:
    r"""Return the largest ratio of the risks of a flow at :math:`\tau` and of ridge
    regression at :math:`\rho=1/2\tau`, if P is the teacher's second moment.

    .. math:: \max_{x>0}\Bigl[\frac{(1-e^{-x})(1+x)}x\Bigr]^2

    Raises:
        RuntimeError: if the maximum was not found.

    >>> round(stopping_bound(), 4)
    1.6859
    """

    def fall(x):
        return np.expm1(-x) * (1 + x) / x

    best = minimize_scalar(fall, bounds=(0.1, 20), method="bounded")
    if not best.success:
        raise RuntimeError(f"stopping_bound: {best.message}")
    return float(best.fun) ** 2


def _parabola(theta):
    return NODES * (0.1309 - 0.1194 * theta**2 + 0.25j * theta)
