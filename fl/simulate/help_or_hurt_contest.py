r"""Contests of preconditioners on drawn inputs, and the best interpolator of all.

The setting is that of `fl.simulate.help_or_hurt`.
"""

import numpy as np
from scipy.linalg import expm
from scipy.optimize import minimize_scalar

from fl import validate
from fl.numerics import psd_power
from fl.simulate.help_or_hurt import (
    covariance,
    inputs,
    interpolator,
    preconditioner,
    risk,
    teacher,
    turned,
)

CONDITION = 150.0  # of the second moment of the teachers
RIVALS = 2  # stream of random numbers


def contest(
    seed: int, d: int, n: int, goal: str, rivals: int, estimated: int = 0
) -> dict:
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
    (X,) = inputs(seed, 1, n, d, heavy=True)
    rng = np.random.default_rng([seed, RIVALS])
    C = right = turned(d, CONDITION)
    wrong = C * np.eye(d)
    noise = 0.0
    if goal == "variance":
        noise = 1.0
        C = 0 * C
        right = preconditioner("natural", d)
        rows = rng.multivariate_normal(np.zeros(d), covariance(d), max(estimated, d))
        wrong = psd_power(rows.T @ rows, -1)
    H = rng.standard_normal((rivals, d, d))
    epsilon = np.geomspace(0.1, 1, rivals) / np.sqrt(d)
    turns = expm(epsilon[:, None, None] * (H + H.mT))
    root = psd_power(right, 0.5)
    field = [wrong, right, np.eye(d), preconditioner("root", d)]
    if not estimated:
        del field[0]  # the first is named, the others are its rivals
    M = interpolator(X, np.array([*field, *root @ turns @ root]))
    named, *others = risk(M, X, C, noise)
    return {"best": min(others) / named - 1}


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
    white = preconditioner("natural", d)

    def mean(log_weight):
        P = C + np.exp(log_weight) * white
        return risk(interpolator(X, P), X, C, noise).mean()

    low, high = np.log([0.01 * noise / d, 10 * noise])
    best = minimize_scalar(
        mean,
        bounds=(low, high),
        method="bounded",
        options={"xatol": 1e-4},
    )
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
    fit = bayes_ridge(X, C, noise)
    M = interpolator(X, preconditioner("natural", len(C)))
    return fit + M - M @ X.T @ fit


def bayes_ridge(X, C, noise: float) -> np.ndarray:
    """Return the map (d, N) of least risk of all: ridge regression with P = C.

    ``X``, ``C`` and ``noise`` are those of `best_interpolator`.
    """
    return interpolator(X, C, noise)
