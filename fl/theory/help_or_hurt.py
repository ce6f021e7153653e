r"""Which fixed preconditioner an interpolator wants: bias, variance, and the best
compromise.

Labels are :math:`w_*^\top x+` a rest of variance ``noise``, inputs are d numbers with
covariance S, and the interpolator of N < d samples is the end of preconditioned descent
from zero, :math:`w=M_Py`, :math:`M_P=PX(X^\top PX)^{-1}`. Risk is excess over the
noise. The teacher has the second moment C (d, d): :math:`w_*w_*^\top`, or that of its
law if it is random. All of it is derived in chapter "help_or_hurt"; P must not depend
on the labelled sample.
"""

import numpy as np

from fl import numerics, validate
from fl.theory.alignment_ridge import energies, implicit_ridge


def preconditioned_modes(S, P, C) -> tuple[np.ndarray, np.ndarray]:
    r"""Return the eigenvalues t (d,) of :math:`T=P^{1/2}SP^{1/2}`, and the signal's
    energies (d,) along its eigenvectors :math:`v_r`.

    .. math:: e_r=t_r\,v_r^\top P^{-1/2}CP^{-1/2}v_r

    In these modes descent with P is plain descent, whether P commutes with S or not:
    hand them to the functions of `fl.theory.alignment_ridge` with the exponent 0.

    Args:
        S: covariance of the inputs (d, d), positive definite.
        P: preconditioner (d, d), positive definite.
        C: second moment of the teacher (d, d), positive semi-definite.

    Raises:
        ValueError: for shapes that do not fit, or matrices that are not as said.

    >>> t, energy = preconditioned_modes(np.diag([2.0, 1.0]), np.eye(2), np.eye(2))
    >>> t.tolist(), energy.tolist()
    ([1.0, 2.0], [1.0, 2.0])
    """
    S = validate.psd("S", S)
    P = validate.psd("P", P)
    C = validate.psd("C", C)
    validate.array("P", P, S.shape)
    validate.array("C", C, S.shape)
    root = numerics.psd_power(P, 0.5)
    back = numerics.psd_power(P, -0.5)
    T = numerics.positive_definite("T, of S and P,", root @ S @ root)
    t, axes = np.linalg.eigh(T)
    along = back @ axes
    energy = (along * (C @ along)).sum(0)
    return t, t * energy.clip(min=0)  # rounding may leave a negative zero


def interpolator_risk(t, energy, n: int) -> tuple[float, float]:
    r"""Return bias, and variance per unit of noise, of the interpolator.

    With the root :math:`\kappa` of :math:`\sum_ru_r=N`, :math:`u_r=t_r/(t_r+\kappa)`,

    .. math:: \frac{\sum_re_r(1-u_r)^2}{1-\gamma},\qquad\frac\gamma{1-\gamma},\qquad
              \gamma=\frac1N\sum_ru_r^2 .

    Args:
        t: eigenvalues (d,) of T.
        energy: energies (d,), as from `preconditioned_modes`.
        n: number N of samples, below d.

    Raises:
        ValueError: for eigenvalues that are not > 0, negative energies, or n >= d.

    >>> [round(v, 6) for v in interpolator_risk([1.0, 1.0], [1.0, 1.0], 1)]
    [1.0, 1.0]
    """
    _, energy, used, missed = _shares("t", t, energy, n)
    spare = used @ missed  # N(1 - gamma), as the shares used sum to N
    bias = n * (energy @ missed**2) / spare
    variance = used @ used / spare
    return float(bias), float(variance)


def crossing_noise(lam, energy, n: int) -> float:
    r"""Return the noise above which the natural gradient's interpolator, :math:`P=
    \Sigma^{-1}`, has a smaller risk than plain descent's.

    With the shares :math:`u_r` of `interpolator_risk`, :math:`\delta_r=u_r-\frac Nd`
    and :math:`V=\frac1N\sum_r\delta_r^2` it is

    .. math:: \frac{\text{bias}_{-1}-\text{bias}_0}{\text{variance}_0-\text{variance}_{-1}}
              =m\Bigl[\frac{\sum_re_r\delta_r(2m-\delta_r)}V-m\sum_re_r\Bigr],
              \qquad m=1-\frac Nd .

    Rounding leaves an error of about 1e-15 of the energies' sum over the relative
    spread of ``lam``.

    Args:
        lam: eigenvalues (d,) of the inputs, not all equal.
        energy: energies (d,) along them.
        n: number of samples, below d.

    Returns:
        The crossing; below zero if the natural gradient is better at every noise.

    Raises:
        ValueError: for what `interpolator_risk` refuses, or eigenvalues that are equal
            up to 1e-9, for which both are the same.
    """
    lam, energy, used, missed = _shares("lam", lam, energy, n)
    spread = np.ptp(lam) / lam.max()
    validate.number("the relative spread of lam", spread, 1e-9)
    # u_r - u_0, without their difference
    step = used[0] / lam[0]
    delta = missed * (lam - lam[0])
    delta = delta * step
    delta -= delta.mean()
    m = 1 - n / len(lam)
    V = delta @ delta / n
    gain = delta * (2 * m - delta)
    worth = energy @ (gain / V - m)
    return float(m * worth)


def best_spectrum(energy, n: int, noise: float) -> np.ndarray:
    r"""Return the spectrum t (d,) of least risk among all interpolators with a fixed P
    that commutes with S.

    .. math:: t_r=e_r+\frac{\text{noise}}{d-N},\qquad\text{that is}\qquad
              P=C+\frac{\text{noise}}{d-N}\,S^{-1}

    for a C that commutes with S. Its risk and the noise together are
    :math:`N(\kappa+\frac{\text{noise}}{d-N})`.

    Args:
        energy: energies (d,), not negative, all positive if there is no noise.
        n: number N of samples, below d.
        noise: variance of the rest.

    Raises:
        ValueError: for negative energies or noise, n >= d, or a spectrum with zeros.

    >>> best_spectrum([3.0, 1.0, 0.0], 1, 1.0).tolist()
    [3.5, 1.5, 0.5]
    """
    energy = validate.array("energy", energy, ("d",))
    validate.number("energy", energy.min(), 0)
    d = len(energy)
    n = validate.count("n", n)
    validate.number("n", n, 1, d - 1)
    noise = validate.number("noise", noise, 0)
    share = noise / (d - n)
    return validate.positive("energy + noise/(d - n)", energy + share)


def interpolation_price(X, S, C, noise: float) -> float:
    r"""Return what the best linear interpolator of the inputs ``X`` pays above the
    Bayes ridge, on average over teachers and noise: exactly

    .. math:: \text{noise}^2\operatorname{tr}\bigl[(X^\top CX+\text{noise})^{-1}
              (X^\top S^{-1}X)^{-1}\bigr].

    Args:
        X: inputs (d, N), independent columns, which is: in the coordinates
            :math:`S^{-1/2}X` the singular values reach no further down than to 1e-12 of
            the largest.
        S: covariance of the inputs (d, d), positive definite.
        C: second moment of the teacher (d, d).
        noise: variance of the noise, > 0.

    Raises:
        ValueError: for shapes that do not fit, matrices that are not as said, noise that
            is not > 0, or N >= d.
    """
    S = numerics.positive_definite("S", S)
    C = validate.psd("C", C)
    validate.array("C", C, S.shape)
    X = validate.array("X", X, (len(S), "N"))
    d, n = X.shape
    validate.number("N", n, 1, d - 1)
    noise = validate.number("noise", noise, 0, open_low=True)
    whitened = numerics.psd_power(S, -0.5) @ X
    rank = np.linalg.matrix_rank(whitened, rtol=1e-12)
    validate.number("the rank of X", rank, n)
    back = np.linalg.pinv(whitened)
    seen = X.T @ C @ X + noise * np.eye(n)
    shrunk = np.linalg.solve(seen, back)
    price = np.vdot(back, shrunk)
    return float(noise**2 * price)


def _shares(name, t, energy, n):
    """Return t and the energies, checked, and the shares u and 1 - u of each mode."""
    t, energy = energies(t, energy, name)
    validate.number("n", n, 1, len(t) - 1)
    kappa = implicit_ridge(t, n, 0.0)
    both = t + kappa
    return t, energy, t / both, kappa / both
