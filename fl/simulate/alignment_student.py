r"""Experiments with a linear student: preconditioned descent, ridge regression and
interpolation on drawn data.

Inputs are Gaussian on the coordinate axes, with ``lam`` (d,) the eigenvalues of their
covariance; the preconditioner is diagonal, ``power`` (d,) its entries
:math:`\lambda_r^p`.
"""

from collections.abc import Sequence

import numpy as np
from scipy import linalg
from scipy.optimize import minimize

from fl import validate
from fl.tasks import Task, Teacher, power_law


def power_law_task(d: int, a: float, b: float, snr: float) -> Task:
    r"""Return a softplus teacher with tau = 1, :math:`\lambda_r=r^{-a}`,
    :math:`\lambda_r\beta_r^2\propto r^{-b}`.
    """
    spectrum = power_law(d, a)
    energy = np.arange(1, spectrum.d + 1.0) ** -validate.number("b", b)
    return Task(
        spectrum,
        Teacher(np.sqrt(energy / energy.sum() / spectrum.eigenvalues), "softplus10"),
        snr,
    )


def population_descent(
    a: float, b: float, p: float, d: int, lr: float, times: Sequence[float]
) -> np.ndarray:
    r"""Return the excess risk at ``times`` of gradient descent on half the population
    mean square, from zero.

    Eigenvalues :math:`r^{-a}`, energies :math:`r^{-b}`, r = 1..d, preconditioner
    :math:`\Sigma^p`; time is ``lr`` times the number of steps, rounded.
    """
    r = np.arange(1, validate.count("d", d) + 1.0)
    gap, shrink, risks = r ** (-b / 2), 1 - lr * r ** (-a * (p + 1)), []
    steps = np.diff(np.rint(np.array([0.0, *times]) / lr).astype(int))
    for more in steps:
        for _ in range(more):
            gap *= shrink
        risks.append(gap @ gap)
    return np.array(risks)


def ridge_weights(X, y, power, reg: float) -> np.ndarray:
    r"""Return the minimiser (d,) of :math:`\frac1N|y-X^\top
    w|^2+\rho\sum_rw_r^2/\lambda_r^p`; reg = 0 needs d > N.
    """
    (d, n), PX = X.shape, np.asarray(power)[:, None] * X
    if n > d:  # the smaller of the two equivalent systems
        return linalg.solve(
            X @ X.T + np.diag(n * reg / np.asarray(power)), X @ y, assume_a="pos"
        )
    return PX @ linalg.solve(X.T @ PX + n * reg * np.eye(n), y, assume_a="pos")


def ridge_errors(
    d: int,
    n: int,
    ps: Sequence[float],
    regs: Sequence[float],
    seed: int,
    b: float = 1.5,
) -> dict:
    """Fit ridge regression to one training set (a = 1, SNR 1); return ``test`` and
    ``train`` errors, both (p, reg).

    Labels are centred by their exact mean. The test error is exact too: its expectation
    over a fresh noisy sample.
    """
    task = power_law_task(d, 1.0, b, 1.0)
    X, y, _ = task.sample(n, np.random.default_rng(seed))
    lam, beta = task.spectrum.eigenvalues, task.teacher.directions[0]
    mean, variance, c1 = task.teacher.link.moments(task.tau[0])
    y = y - mean
    test, train = np.empty((2, len(ps), len(regs)))
    for i, p in enumerate(ps):
        for j, reg in enumerate(regs):
            w = ridge_weights(X, y, lam**p, reg)
            test[i, j] = (
                variance + task.noise_variance - 2 * c1 * (lam * beta) @ w + lam @ w**2
            )
            train[i, j] = np.mean((y - X.T @ w) ** 2)
    axes = {"p": ("p", np.array(ps)), "reg": ("reg", np.array(regs))}
    return {"test": (("p", "reg"), test), "train": (("p", "reg"), train)} | axes


def interpolation_errors(
    d: int, n: int, b: float, qs: Sequence[float], seed: int
) -> dict:
    r"""Interpolate one drawn training set with :math:`t_r=r^{-q}` and signal energies
    :math:`r^{-b}`.

    Returns:
        ``signal`` (q,), the excess risk of noise-free labels, and ``noise`` (q,), the
        excess risk that label noise of variance one adds, its expectation over the
        noise.
    """
    r, Z = np.arange(1, d + 1.0), np.random.default_rng(seed).standard_normal((d, n))
    amplitude = r ** (-b / 2)
    signal, noise = np.empty((2, len(qs)))
    for i, q in enumerate(qs):
        t = r**-q
        factor = linalg.cho_factor((Z.T * t) @ Z)
        gap = amplitude - t * (Z @ linalg.cho_solve(factor, Z.T @ amplitude))
        signal[i] = gap @ gap
        noise[i] = np.trace(
            linalg.cho_solve(factor, linalg.cho_solve(factor, (Z.T * t**2) @ Z))
        )
    return {"signal": ("q", signal), "noise": ("q", noise), "q": ("q", np.array(qs))}


def best_on_average(
    a: float, b: float, noise: float, d: int, n: int, seed: int
) -> dict:
    r"""Return the ``p`` and ``reg`` that serve one drawn set of inputs best, over
    Gaussian teachers and label noise.

    The test error of `ridge_weights` is averaged exactly over :math:`w_{*r}\sim
    N(0,e_r/\lambda_r)` and the noise, with :math:`\lambda_r=r^{-a}`,
    :math:`e_r=r^{-b}`, then minimised over both numbers.
    """
    r = np.arange(1, validate.count("d", d) + 1.0)
    lam, prior = r**-a, r ** (a - b)
    X = np.sqrt(lam)[:, None] * np.random.default_rng(seed).standard_normal((d, n))

    def risk(point):
        PX = (lam ** point[0])[:, None] * X
        M = linalg.solve(
            X.T @ PX + n * np.exp(point[1]) * np.eye(n), PX.T, assume_a="pos"
        ).T  # w = M y
        missed = np.eye(d) - M @ X.T
        return lam @ (missed**2 @ prior) + noise * lam @ np.sum(M**2, axis=1)

    best = minimize(
        risk,
        [0.0, np.log(noise / n)],
        method="Nelder-Mead",
        options={"xatol": 1e-4, "fatol": 1e-12},
    )
    return {"p": best.x[0], "reg": np.exp(best.x[1])}
