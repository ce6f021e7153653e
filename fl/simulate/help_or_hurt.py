r"""Interpolators with a fixed preconditioner on drawn inputs: bias, variance, flows.

Inputs are :math:`X=S^{1/2}Z` (d, N) with :math:`S=\operatorname{diag}(1/r)`; the
interpolator of labels y is :math:`M_Py`, :math:`M_P=PX(X^\top PX)^{-1}`. Averages over
noise and over random teachers are taken exactly, over the inputs by drawing.
"""

import numpy as np

from fl import validate
from fl.numerics import psd_power
from fl.tasks import power_law

INPUTS, TURN = 1, 2  # streams of random numbers


def covariance(d: int) -> np.ndarray:
    """Return diag(1/r), r = 1..``d``."""
    return power_law(d, 1.0).power(1)


def teacher(d: int) -> np.ndarray:
    r"""Return :math:`w_*w_*^\top` (d, d) with energies :math:`w_{*r}^2/r=r^{-1.6}` for
    ``d`` inputs; its diagonal is the second moment of a random teacher.
    """
    w = power_law(d, 0.3).eigenvalues
    return np.outer(w, w)


def turned(d: int, condition: float) -> np.ndarray:
    """Return a matrix (d, d) with Haar eigenvectors and eigenvalues from 1 down to
    1/``condition``, evenly spaced on a logarithmic scale; the same at every call with
    the same ``d``.
    """
    rng = np.random.default_rng([d, TURN])
    # the signs of the columns, which are not Haar's, leave the matrix as it is
    axes, _ = np.linalg.qr(rng.standard_normal((d, d)))
    values = np.geomspace(1, 1 / condition, d)
    return axes * values @ axes.T


def preconditioner(name: str, d: int) -> np.ndarray:
    """Return a preconditioner (d, d) for ``d`` inputs.

    Its ``name`` is ``natural``, S^-1, ``root``, S^(-1/2), ``damped``, (S + 1/10)^-1, or
    ``turned``, which does not commute with S.

    Raises:
        ValueError: for another name.
    """
    validate.choice("name", name, ["natural", "root", "damped", "turned"])
    if name == "turned":
        return turned(d, 50)
    S = covariance(d)
    if name == "damped":
        S += 0.1 * np.eye(d)
    return psd_power(S, -0.5 if name == "root" else -1)


def inputs(seed: int, draws: int, n: int, d: int, heavy: bool = False):
    """Return sets of inputs (draws, d, n).

    Args:
        seed: draws them.
        draws: number of sets.
        n: samples of a set, below d.
        d: number of inputs.
        heavy: draw Student's t of 3 degrees of freedom, not Gaussian inputs; the
            covariance is the same.

    Raises:
        ValueError: unless n is below d.
    """
    if validate.count("n", n) >= d:
        raise ValueError(f"n = {n}: must be below the dimension, {d}")
    rng = np.random.default_rng([seed, INPUTS])
    Z = rng.standard_normal((draws, d, n))
    if heavy:
        Z /= np.sqrt(rng.chisquare(3, Z.shape))
    return np.sqrt(covariance(d)) @ Z


def interpolator(X, P, noise: float = 0.0) -> np.ndarray:
    """Return the maps (..., d, N) from labels to the weights of the interpolator of
    inputs ``X`` (..., d, N) with the preconditioners ``P`` (..., d, d), or of ridge
    regression with the penalty ``noise``/N.
    """
    PX = P @ X
    labels = X.mT @ PX + noise * np.eye(X.shape[-1])
    return PX @ np.linalg.inv(labels)


def risk(M, X, C, noise: float) -> np.ndarray:
    r"""Return the excess risk (...), on average over teachers and noise,
    :math:`\operatorname{tr}S(DCD^\top+\text{noise}\,MM^\top)` with
    :math:`D=I-MX^\top`.

    Args:
        M: maps (..., d, N) from labels to weights.
        X: inputs (..., d, N).
        C: second moment of the teachers (d, d).
        noise: variance of the label noise.
    """
    S = covariance(len(C))
    missed = np.eye(len(C)) - M @ X.mT
    errors = missed @ C @ missed.mT + noise * M @ M.mT
    return np.einsum("...ij,ij", errors, S)


def ridgeless(seed: int, d: int, n: int, names: list, draws: int) -> dict:
    """Return bias and variance of interpolators with fixed preconditioners.

    Args:
        seed: draws the inputs.
        d: number of inputs; the fixed teacher is `teacher`.
        n: number of samples, below d.
        names: of each `preconditioner`.
        draws: of the training set.

    Returns:
        ``risk`` (P, part, draw), ``bias`` and ``variance``.

    Raises:
        ValueError: for an unknown name, or unless n is below d.
    """
    X = inputs(seed, draws, n, d)
    C = teacher(d)
    table = []
    for name in names:
        M = interpolator(X, preconditioner(name, d))
        bias = risk(M, X, C, 0.0)
        variance = risk(M, X, 0 * C, 1.0)
        table.append([bias, variance])
    return {
        "risk": (("P", "part", "draw"), table),
        "P": ("P", names),
        "part": ("part", ["bias", "variance"]),
    }


def duel(seed: int, d: int, n: int, rest: float, draws: int) -> dict:
    r"""Return what the natural gradient's interpolator loses against plain descent's, on
    labels with a rest of variance ``rest``.

    The teacher is linear with energies proportional to :math:`\lambda_r`, in total 1; its
    rest is label noise, or the quadratic :math:`(u^2-1)/\sqrt2` of the signal u.

    Args:
        seed: draws inputs and noise.
        d: number of inputs.
        n: number of samples, below d.
        rest: variance of the rest.
        draws: of the training set.

    Returns:
        ``loss`` (kind, draw), the risk with :math:`S^{-1}` minus that with I, for
        ``noise`` and ``quadratic``.

    Raises:
        ValueError: unless n is below d.
    """
    X = inputs(seed, draws, n, d)
    lam = power_law(d, 1.0).eigenvalues
    w = lam**0 / np.sqrt(lam.sum())
    signal = w @ X
    noise = np.random.default_rng(seed).standard_normal(signal.shape)
    quadratic = (signal**2 - 1) / np.sqrt(2)
    rests = np.array([noise, quadratic]) * np.sqrt(rest)

    def error(P):
        fitted = np.einsum("...dn,...n->...d", interpolator(X, P), signal + rests)
        return (fitted - w) ** 2 @ lam

    loss = error(preconditioner("natural", d)) - error(np.eye(d))
    return {
        "loss": (("kind", "draw"), loss),
        "kind": ("kind", ["noise", "quadratic"]),
    }


def flows(
    seed: int, d: int, n: int, noise: float, exponents: list, times: list, draws: int
) -> dict:
    r"""Return the excess risk along preconditioned flows on the mean square, from zero.

    Args:
        seed: draws the inputs.
        d: number of inputs; the energies of the random teacher are :math:`2r^{-1.6}`.
        n: number of samples, below d.
        noise: variance of the label noise, over which the mean is exact.
        exponents: p of :math:`P=S^p`.
        times: steps times step size.
        draws: of the training set.

    Returns:
        ``risk`` (p, time, draw).

    Raises:
        ValueError: unless n is below d.
    """
    X = inputs(seed, draws, n, d)
    C = 2 * teacher(d) * np.eye(d)
    table = []
    for p in exponents:
        PX = power_law(d, p).power(1) @ X
        values, axes = np.linalg.eigh(X.mT @ PX / n)
        risks = []
        for time in times:
            fitted = -np.expm1(-2 * time * values) / values
            solved = axes * fitted[:, None] @ axes.mT
            risks.append(risk(PX @ solved / n, X, C, noise))
        table.append(risks)
    return {
        "risk": (("p", "time", "draw"), table),
        "p": ("p", exponents),
        "time": ("time", times),
    }
