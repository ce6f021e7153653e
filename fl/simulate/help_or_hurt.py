r"""Interpolators with a fixed preconditioner on drawn inputs: bias, variance, flows.

Inputs are :math:`X=S^{1/2}Z` (d, N) with :math:`S=\operatorname{diag}(1/r)`; the
interpolator of labels y is :math:`M_Py`, :math:`M_P=PX(X^\top PX)^{-1}`. Averages over
noise and over random teachers are taken exactly, over the inputs by drawing.
"""

import numpy as np

from fl import validate
from fl.numerics import psd_power

INPUTS, TURN = 1, 2  # streams of random numbers


def covariance(d: int) -> np.ndarray:
    """Return diag(1/r), r = 1..``d``."""
    r = np.arange(1, d + 1.0)
    return np.diag(1 / r)


def teacher(d: int) -> np.ndarray:
    r"""Return :math:`w_*w_*^\top` (d, d) with energies :math:`w_{*r}^2/r=r^{-1.6}` for
    ``d`` inputs; its diagonal is the second moment of a random teacher.
    """
    r = np.arange(1, d + 1.0)
    w = r**-0.3
    return np.outer(w, w)


def turned(d: int, condition: float) -> np.ndarray:
    """Return a matrix (d, d) with Haar eigenvectors and eigenvalues from 1 down to
    1/``condition``, evenly spaced on a logarithmic scale; the same at every call with
    the same ``d``.
    """
    rng = np.random.default_rng([d, TURN])
    axes, upper = np.linalg.qr(rng.standard_normal((d, d)))
    axes *= np.sign(np.diag(upper))
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
    damping = 0.1 if name == "damped" else 0.0
    S = covariance(d) + damping * np.eye(d)
    return psd_power(S, -0.5 if name == "root" else -1)


def inputs(seed: int, draws: int, n: int, d: int, freedom: float = np.inf):
    """Return sets of inputs (draws, d, n).

    Args:
        seed: draws them.
        draws: number of sets.
        n: samples of a set, below d.
        d: number of inputs.
        freedom: > 2, of Student's t; infinite for Gaussian inputs.

    Raises:
        ValueError: unless n is below d.
    """
    if validate.count("n", n) >= d:
        raise ValueError(f"n = {n}: must be below the dimension, {d}")
    rng = np.random.default_rng([seed, INPUTS])
    Z = rng.standard_normal((draws, d, n))
    if np.isfinite(freedom):
        squares = rng.chisquare(freedom, Z.shape)
        Z /= np.sqrt(squares / (freedom - 2))
    return np.sqrt(covariance(d)) @ Z


def interpolator(X, P) -> np.ndarray:
    """Return the maps (..., d, N) from labels to the weights of the interpolator of
    inputs ``X`` (..., d, N) with the preconditioner ``P`` (d, d).
    """
    PX = P @ X
    return PX @ np.linalg.inv(X.mT @ PX)


def risk(M, X, C, noise: float) -> np.ndarray:
    """Return the excess risk (...), on average over teachers and noise.

    Args:
        M: maps (..., d, N) from labels to weights.
        X: inputs (..., d, N).
        C: second moment of the teachers (d, d).
        noise: variance of the label noise.
    """
    d = len(C)
    S = covariance(d)
    missed = np.eye(d) - M @ X.mT
    bias = missed * (S @ missed @ C)
    spread = M * (S @ M)
    both = -2, -1
    return bias.sum(both) + noise * spread.sum(both)


def ridgeless(seed: int, d: int, n: int, names: list, draws: int) -> dict[str, tuple]:
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
    X, C = inputs(seed, draws, n, d), teacher(d)
    table = []
    for name in names:
        P = preconditioner(name, d)
        M = interpolator(X, P)
        bias, both = risk(M, X, C, 0.0), risk(M, X, C, 1.0)
        table.append([bias, both - bias])
    return {
        "risk": (("P", "part", "draw"), table),
        "P": ("P", list(names)),
        "part": ("part", ["bias", "variance"]),
    }


def duel(seed: int, d: int, n: int, rest: float, draws: int) -> dict[str, tuple]:
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
    lam = np.diag(covariance(d))
    w = lam**0 / np.sqrt(lam.sum())
    signal = w @ X
    noise = np.random.default_rng(seed).standard_normal(signal.shape)
    quadratic = (signal**2 - 1) / np.sqrt(2)
    rests = np.array([noise, quadratic]) * np.sqrt(rest)
    labels = (signal + rests)[..., None]
    errors = []
    for P in (np.diag(1 / lam), np.eye(d)):
        fitted = interpolator(X, P) @ labels
        gap = fitted[..., 0] - w
        errors.append(gap**2 @ lam)
    natural, plain = errors
    return {
        "loss": (("kind", "draw"), natural - plain),
        "kind": ("kind", ["noise", "quadratic"]),
    }


def flows(
    seed: int, d: int, n: int, noise: float, exponents: list, times: list, draws: int
) -> dict[str, tuple]:
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
    X, S = inputs(seed, draws, n, d), covariance(d)
    C = 2 * teacher(d) * np.eye(d)
    table = []
    for p in exponents:
        PX = psd_power(S, p) @ X
        values, axes = np.linalg.eigh(X.mT @ PX / n)
        risks = []
        for time in times:
            fitted = -np.expm1(-2 * time * values) / values
            solved = axes * fitted[:, None] @ axes.mT
            M = PX @ solved / n
            risks.append(risk(M, X, C, noise))
        table.append(risks)
    return {
        "risk": (("p", "time", "draw"), table),
        "p": ("p", list(exponents)),
        "time": ("time", list(times)),
    }
