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
from fl.theory.alignment_ridge import ridge_risk


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
    S, P, C = _square(S=S, P=P, C=C)
    root = numerics.psd_power(P, 0.5)
    back = numerics.psd_power(P, -0.5)
    t, axes = np.linalg.eigh(root @ S @ root)
    if t.min() <= 1e-12 * t.max():
        raise ValueError(
            f"S and P give the smallest eigenvalue {t.min():g}: both must be invertible"
        )
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
    t = validate.positive("t", t)
    below("n", n, len(t))
    fit = ridge_risk(t, energy, 0.0, n, 0.0, 0.0)
    return fit.test, fit.gamma / (1 - fit.gamma)


def crossing_noise(lam, energy, n: int) -> float:
    r"""Return the noise above which the natural gradient's interpolator, :math:`P=
    \Sigma^{-1}`, has a smaller risk than plain descent's.

    .. math:: \frac{\text{bias}_{-1}-\text{bias}_0}{\text{variance}_0-\text{variance}_{-1}}

    Args:
        lam: eigenvalues (d,) of the inputs, not all equal.
        energy: energies (d,) along them.
        n: number of samples, below d.

    Returns:
        The crossing; below zero if the natural gradient is better at every noise.

    Raises:
        ValueError: for what `interpolator_risk` refuses, or equal eigenvalues, for
            which both are the same.
    """
    lam = validate.positive("lam", lam)
    if np.ptp(lam) <= 1e-9 * lam.min():
        raise ValueError(f"lam is {lam[0]:g} throughout: must have two values")
    bias, variance = interpolator_risk(lam, energy, n)
    natural, least = interpolator_risk(lam**0, energy, n)
    return (natural - bias) / (variance - least)


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
    below("n", n, len(energy))
    noise = validate.number("noise", noise, 0)
    share = noise / (len(energy) - n)
    return validate.positive("energy + noise/(d - n)", energy + share)


def interpolation_price(X, S, C, noise: float) -> float:
    r"""Return what the best linear interpolator of the inputs ``X`` pays above the
    Bayes ridge, on average over teachers and noise: exactly

    .. math:: \text{noise}^2\operatorname{tr}\bigl[(X^\top CX+\text{noise})^{-1}
              (X^\top S^{-1}X)^{-1}\bigr].

    Args:
        X: inputs (d, N), independent columns.
        S: covariance of the inputs (d, d), positive definite.
        C: second moment of the teacher (d, d).
        noise: variance of the noise, > 0.

    Raises:
        ValueError: for shapes that do not fit, matrices that are not as said, noise that
            is not > 0, or N >= d.
    """
    S, C = _square(S=S, C=C)
    X = validate.array("X", X, (len(S), "N"))
    n = below("N", X.shape[1], len(S))
    noise = validate.number("noise", noise, 0, open_low=True)
    whitened = X.T @ np.linalg.solve(S, X)
    seen = X.T @ C @ X + noise * np.eye(n)
    product = np.linalg.inv(whitened @ seen)
    price = noise**2 * np.trace(product)
    return float(price)


def below(name: str, n: int, d: int) -> int:
    """Return ``n``, called ``name`` in the error, as an int.

    Raises:
        ValueError: unless it is a whole number from 1 to ``d`` - 1.
    """
    if validate.count(name, n) >= d:
        raise ValueError(f"{name} = {n}: must be below the dimension, {d}")
    return int(n)


def _square(**matrices):
    found = [validate.psd(name, matrix) for name, matrix in matrices.items()]
    sizes = {len(matrix) for matrix in found}
    if len(sizes) > 1:
        raise ValueError(
            f"{', '.join(matrices)} have {sorted(sizes)} rows: must have equally many"
        )
    return found
