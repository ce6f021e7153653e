r"""Contests of preconditioners on drawn inputs, and the best interpolator of all.

The setting is that of `fl.simulate.help_or_hurt`.
"""

import numpy as np
from scipy.optimize import minimize_scalar

from fl import validate
from fl.numerics import psd_power
from fl.simulate.help_or_hurt import (
    covariance,
    inputs,
    interpolator,
    risk,
    teacher,
    turned,
)

CONDITION = 150.0  # of the second moment of the teachers
RIVALS = 2  # stream of random numbers


def contest(
    seed: int, d: int, n: int, goal: str, rivals: int, estimated: int = 0
) -> dict[str, float]:
    r"""Return by what share the ``best`` of many preconditioners is worse than the one
    that theory names, on one sample of heavy-tailed inputs (Student's t, 3).

    The rivals are I, :math:`S^{-1/2}`, and :math:`B\,e^{\epsilon H}B` with random
    symmetric H and :math:`\epsilon` from 1/10 to 1, :math:`B^2` being the right one.

    Args:
        seed: draws the sample and the rivals.
        d: number of inputs.
        n: number of samples, below d.
        goal: ``variance``, where :math:`S^{-1}` is the right one, or ``bias`` on average
            over teachers whose second moment is `turned`, where it is that.
        rivals: how many random ones.
        estimated: how many unlabelled inputs S is estimated from, for the variance, or
            any number > 0 for the best preconditioner that commutes with S, for the bias;
            what is right then joins the rivals.

    Raises:
        ValueError: for another ``goal``, or unless n is below d.
    """
    validate.choice("goal", goal, ["variance", "bias"])
    (X,) = inputs(seed, 1, n, d, freedom=3.0)
    S, C = covariance(d), turned(d, CONDITION)
    rng = np.random.default_rng([seed, RIVALS])
    if goal == "bias":
        noise, right = 0.0, C
        wrong = C * np.eye(d)
    else:
        noise, right = 1.0, psd_power(S, -1)
        C = np.zeros_like(C)
        rows = rng.multivariate_normal(np.zeros(d), S, max(estimated, d))
        wrong = psd_power(rows.T @ rows, -1)

    def value(P):
        M = interpolator(X, P)
        return risk(M, X, C, noise)

    best = value(right)
    named = value(wrong) if estimated else best
    others = [np.eye(d), psd_power(S, -0.5), *[right] * bool(estimated)]
    root = psd_power(right, 0.5)
    for epsilon in np.geomspace(0.1, 1, rivals):
        H = rng.standard_normal((d, d))
        values, axes = np.linalg.eigh(H + H.T)
        stretch = np.exp(epsilon * values / d**0.5)
        turn = axes * stretch @ axes.T
        others.append(root @ turn @ root)
    least = min(map(value, others))
    return {"best": least / named - 1}


def best_weight(seed: int, d: int, n: int, noise: float, draws: int) -> dict:
    r"""Return the ``weight`` m for which :math:`P=C+m\,S^{-1}` interpolates with the
    least mean risk over drawn inputs, teachers and noise.

    C is diagonal, with the energies :math:`e_r=2r^{-1.6}`.

    Args:
        seed: draws the inputs.
        d: number of inputs.
        n: number of samples, below d.
        noise: variance of the label noise, > 0.
        draws: of the inputs.

    Raises:
        ValueError: for noise that is not > 0, or unless n is below d.
        RuntimeError: if the search ends at its border.
    """
    noise = validate.number("noise", noise, 0, open_low=True)
    X = inputs(seed, draws, n, d)
    C = 2 * teacher(d) * np.eye(d)
    S = covariance(d)
    white = psd_power(S, -1)

    def mean(log_weight):
        P = C + np.exp(log_weight) * white
        M = interpolator(X, P)
        risks = risk(M, X, C, noise)
        return risks.mean()

    low, high = np.log([0.01 * noise / d, 10 * noise])
    options = {"xatol": 1e-4}
    best = minimize_scalar(mean, bounds=(low, high), method="bounded", options=options)
    inside = low + 0.01 < best.x < high - 0.01
    if not (best.success and inside):
        raise RuntimeError(f"best_weight: ended at {best.x:g} of {low:g} to {high:g}")
    return {"weight": np.exp(best.x)}


def best_interpolator(X, C, noise: float) -> np.ndarray:
    r"""Return the map (d, N) of least risk among all linear interpolators.

    It is ridge regression with P = C, and :math:`P=S^{-1}` on what that leaves.

    Args:
        X: inputs (d, N).
        C: second moment of the teachers (d, d).
        noise: variance of the label noise.
    """
    d, n = X.shape
    fit = bayes_ridge(X, C, noise)
    left = np.eye(n) - X.T @ fit
    S = covariance(d)
    M = interpolator(X, psd_power(S, -1))
    return fit + M @ left


def bayes_ridge(X, C, noise: float) -> np.ndarray:
    """Return the map (d, N) of least risk of all: ridge regression with P = C.

    ``X``, ``C`` and ``noise`` are those of `best_interpolator`.
    """
    n = X.shape[1]
    CX = C @ X
    seen = X.T @ CX + noise * np.eye(n)
    return CX @ np.linalg.inv(seen)
