r"""Experiments with a linear student: preconditioned descent, ridge regression and
interpolation on drawn data.

Inputs are Gaussian on the coordinate axes, with ``lam`` (d,) the eigenvalues of their
covariance; the preconditioner is diagonal with entries :math:`\lambda_r^p`.
"""

import numpy as np
from scipy import linalg
from scipy.optimize import minimize

from fl.tasks import Task, Teacher, power_law


def power_law_task(d: int) -> Task:
    r"""Return a softplus teacher of SNR 1 with :math:`\tau=1` on ``d`` inputs:
    :math:`\lambda_r=r^{-1}`, :math:`\lambda_r\beta_r^2\propto r^{-3/2}`.
    """
    spectrum = power_law(d, 1.0)
    energy = power_law(d, 1.5).eigenvalues
    energy = energy / energy.sum()
    beta = np.sqrt(energy / spectrum.eigenvalues)
    return Task(spectrum, Teacher(beta, "softplus10"), 1.0)


def population_descent(
    a: float, b: float, p: float, d: int, eta: float, times: list
) -> dict:
    r"""Measure the excess risk of gradient descent on half the population mean square,
    from zero.

    Args:
        a: eigenvalues :math:`r^{-a}`, r = 1..d.
        b: signal energies :math:`r^{-b}`.
        p: exponent of the preconditioner :math:`\Sigma^p`.
        d: number of inputs.
        eta: step size.
        times: where to measure, rising; ``eta`` times the number of steps, which is
            rounded.

    Returns:
        ``risk`` (time,).
    """
    gap = np.sqrt(power_law(d, b).eigenvalues)
    shrink = 1 - eta * power_law(d, a * (p + 1)).eigenvalues
    steps = np.rint(np.divide(times, eta)).astype(int)
    risks = []
    for more in np.diff(steps, prepend=0):
        for _ in range(more):
            gap *= shrink
        risks.append(gap @ gap)
    return {"risk": ("time", risks), "time": ("time", list(times))}


def ridge_weights(X, y, P, penalty: float) -> np.ndarray:
    r"""Return the minimiser of :math:`\frac1N|y-X^\top w|^2+\rho\,w^\top P^{-1}w`.

    Args:
        X: inputs (d, N).
        y: labels (N,), or several sets of labels (N, k).
        P: the diagonal of the preconditioner, (d,), all > 0.
        penalty: :math:`\rho`; 0 needs d > N.

    Returns:
        The weights w, (d,) or (d, k).
    """
    d, n = X.shape
    if n > d:  # the smaller of the two equivalent systems
        A = X @ X.T + np.diag(n * penalty / P)
        return linalg.solve(A, X @ y, assume_a="pos")
    PX = P[:, None] * X
    A = X.T @ PX + n * penalty * np.eye(n)
    return PX @ linalg.solve(A, y, assume_a="pos")


def ridge_errors(d: int, n: int, exponents: list, penalties: list, seed: int) -> dict:
    """Fit ridge regression to one training set of `power_law_task`.

    Labels are centred by their exact mean. The test error is exact too: its expectation
    over a fresh noisy sample.

    Args:
        d: number of inputs.
        n: number of training samples.
        exponents: the values of p.
        penalties: the strengths of the ridge.
        seed: draws the training set.

    Returns:
        ``error`` (p, penalty, sample), on the ``test`` and the ``train`` sample.
    """
    task = power_law_task(d)
    X, y, _ = task.sample(n, np.random.default_rng(seed))
    lam, beta = task.spectrum.eigenvalues, task.teacher.directions[0]
    mean, variance, c1 = task.teacher.link.moments(task.tau[0])
    y -= mean

    def errors(p, penalty):
        w = ridge_weights(X, y, lam**p, penalty)
        explained = (2 * c1 * beta - w) @ (lam * w)
        test = variance + task.noise_variance - explained
        residual = y - X.T @ w
        return test, np.mean(residual**2)

    table = [[errors(p, penalty) for penalty in penalties] for p in exponents]
    return {
        "error": (("p", "penalty", "sample"), table),
        "p": ("p", list(exponents)),
        "penalty": ("penalty", list(penalties)),
        "sample": ("sample", ["test", "train"]),
    }


def interpolation_errors(d: int, n: int, bs: list, qs: list, seed: int) -> dict:
    r"""Interpolate one drawn training set with :math:`t_r=r^{-q}` and signal energies
    :math:`r^{-b}`.

    Args:
        d: number of inputs, more than ``n``.
        n: number of training samples.
        bs: decays b of the energies, all on the same training set.
        qs: decays q of the preconditioned spectrum, likewise.
        seed: draws the training set.

    Returns:
        ``risk`` (q, part, b): the part ``signal`` is the excess risk of noise-free
        labels, the part ``noise`` what label noise of variance one adds, its expectation
        over the noise.
    """
    Z = np.random.default_rng(seed).standard_normal((d, n))
    columns = [power_law(d, b).eigenvalues for b in bs]
    amplitudes = np.sqrt(np.transpose(columns))

    def parts(q):
        t = power_law(d, q).eigenvalues
        M = ridge_weights(Z, np.eye(n), t, 0.0)  # w = M y
        gap = amplitudes - M @ (Z.T @ amplitudes)
        signal = np.sum(gap**2, axis=0)
        noise = np.sum(M**2)
        return signal, np.full_like(signal, noise)

    return {
        "risk": (("q", "part", "b"), [parts(q) for q in qs]),
        "q": ("q", list(qs)),
        "part": ("part", ["signal", "noise"]),
        "b": ("b", list(bs)),
    }


def best_on_average(
    a: float, b: float, noise: float, d: int, n: int, seed: int, tuned: bool = True
) -> dict:
    r"""Find the exponent and the penalty that serve one drawn set of inputs best, over
    Gaussian teachers and label noise.

    The test error of `ridge_weights` is averaged exactly over :math:`w_{*r}\sim
    N(0,e_r/\lambda_r)` and the noise, then minimised over both numbers.

    Args:
        a: eigenvalues :math:`\lambda_r=r^{-a}`.
        b: signal energies :math:`e_r=r^{-b}`.
        noise: variance of the label noise.
        d: number of inputs.
        n: number of training samples.
        seed: draws the inputs.
        tuned: whether the penalty is tuned with p; else there is none, which needs d >
            N.

    Returns:
        ``p`` and ``penalty``.

    Raises:
        RuntimeError: if the search does not end.
    """
    spectrum = power_law(d, a)
    lam = spectrum.eigenvalues
    energy = power_law(d, b).eigenvalues
    X = spectrum.inputs(n, np.random.default_rng(seed))

    def risk(point):
        p, log_penalty = point if tuned else (*point, -np.inf)
        M = ridge_weights(X, np.eye(n), lam**p, np.exp(log_penalty))  # w = M y
        missed = np.eye(d) - M @ X.T
        signal = missed**2 @ (energy / lam)
        spread = np.sum(M**2, axis=1)
        return lam @ (signal + noise * spread)

    best = minimize(
        risk,
        [0.0, np.log(noise / n)] if tuned else [0.0],
        method="Nelder-Mead",
        options={"xatol": 1e-4, "fatol": 1e-10, "maxfev": 2000},
    )
    if not best.success:
        raise RuntimeError(f"best_on_average: {best.message}")
    penalty = np.exp(best.x[1]) if tuned else 0.0
    return {"p": best.x[0], "penalty": penalty}
