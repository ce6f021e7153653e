r"""Choosing the exponent of drawn tables: the model itself, and teachers and noise that
break it.
"""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy import linalg

from fl import validate
from fl.moments import spectral
from fl.numerics import psd_power
from fl.simulate import choosing_p as tables
from fl.simulate.noise import CASES
from fl.simulate.noise import task as published_task
from fl.tasks import Task, Teacher, power_law

DATA, LABELS = 1, 2  # streams of random numbers
TEACHERS = ("model", "power", "direction", "relu", "even", "two")
NOISES = ("normal", "heavy", "groups", "uneven")
LINKS = {"relu": "relu", "even": "abs", "two": "tanh"}
ONE = 8  # where the teacher of one direction stands
PENALTY = 0.1  # of the fits that are compared with refitted rows


@dataclass(frozen=True)
class Design:
    r"""How a table is drawn: normal inputs with eigenvalues :math:`r^{-a}`, a signal and
    noise of variance 1.

    Attributes:
        teacher: ``model`` has weights of variance :math:`\hat\Sigma^p`, ``power`` of
            :math:`\Sigma^p`; ``relu`` and ``even`` (an absolute value) bend such a power,
            ``two`` is the sum of two under a tanh; ``direction`` is one eigenvector.
        n: rows.
        d: inputs.
        snr: signal over noise, standard deviations; 0 is noise alone.
        p: exponent of the teacher.
        a: decay of the eigenvalues; 0 is a flat spectrum.
        noise: ``normal``, ``heavy`` (Student's t with 3 degrees of freedom), ``groups``
            (ten rows share it) or ``uneven`` (its size is that of the first input).

    Raises:
        ValueError: for an unknown name, or a number out of range.
    """

    teacher: str = "power"
    n: int = 400
    d: int = 60
    snr: float = 1.0
    p: float = 0.4
    a: float = 1.0
    noise: str = "normal"

    def __post_init__(self):
        validate.choice("teacher", self.teacher, TEACHERS)
        validate.choice("noise", self.noise, NOISES)
        validate.count("n", self.n, minimum=3)
        validate.count("d", self.d)
        validate.number("snr", self.snr, 0)


def sample(seed: int, design: Design) -> tuple:
    """Return inputs (n, d), labels (n,) and the weights (d,) of the best linear fit of a
    table of a ``seed`` and a ``design``.
    """
    rng = np.random.default_rng([seed, DATA])
    spectrum = power_law(design.d, design.a)
    noise = _noise(design, rng)
    if design.teacher == "model":
        X = spectrum.inputs(design.n, rng).T
        best = _weights(X, design.p, rng)
        clean = X @ best
    else:
        teacher = _teacher(spectrum.eigenvalues, design, rng)
        task = Task(spectrum, teacher)
        batch = task.sample(design.n, rng)
        X = batch.X.T
        scale = task.signal_variance**-0.5
        slopes = [teacher.link.moments(tau)[2] for tau in task.tau]
        best = scale * np.dot(slopes, teacher.directions)
        clean = scale * batch.clean
    if design.noise == "uneven":
        noise *= X[:, 0]
    return X, design.snr * clean + noise, design.snr * best


def _weights(X, p: float, rng) -> np.ndarray:
    """Return weights (d,) of variance proportional to the p-th power of the covariance of
    the rows of X, the signal's mean square expected to be 1.
    """
    _, s, Vt = np.linalg.svd(X - X.mean(0), full_matrices=False)
    lam = s**2 / len(X)
    prior = lam**p
    prior /= prior @ lam
    z = rng.standard_normal(len(s))
    z *= np.sqrt(prior)
    return z @ Vt


def _teacher(lam, design: Design, rng) -> Teacher:
    if design.teacher == "direction":
        return Teacher(np.eye(len(lam))[ONE])
    rows = 2 if design.teacher == "two" else 1
    B = rng.standard_normal((rows, len(lam)))
    B *= lam ** (design.p / 2)
    # of variance 1 each, and uncorrelated
    root = linalg.cholesky(B * lam @ B.T, lower=True)
    link = LINKS.get(design.teacher, "linear")
    return Teacher(linalg.solve(root, B), link)


def _noise(design: Design, rng) -> np.ndarray:
    """Return noise (n,) of variance 1."""
    if design.noise == "heavy":
        return rng.standard_t(3, design.n) / 3**0.5
    noise = rng.standard_normal(design.n)
    if design.noise == "groups":
        return noise[np.arange(design.n) // 10]
    return noise


def statistics(seed: int, design: Design) -> xr.Dataset:
    """Return what the likelihood needs of a table of a ``seed`` and a ``design``."""
    X, y, _ = sample(seed, design)
    return tables.statistics(*tables.gathered(X, y, 1))


def risks(seed: int, design: Design) -> xr.Dataset:
    """Return what can be known from a table of a ``seed`` and a ``design``, and ``risk``
    (p, penalty), the excess over the best linear fit; the error of the mean is left out.
    """
    X, y, best = sample(seed, design)
    folds = tables.gathered(X, y)
    run = tables.assessed(folds)
    lam = power_law(design.d, design.a).eigenvalues
    s = spectral(tables.merged(folds))
    u = tables.kept(s.lam, tables.EXPONENTS, run["grid"].values)
    unshrunk = s.along / np.sqrt(s.lam)
    w = u * unshrunk @ s.basis.T
    risk = (w - best) ** 2 @ lam
    return run.assign(risk=(("p", "penalty"), risk))


def rescaled(seed: int, design: Design, columns: int) -> xr.Dataset:
    """Return `statistics` of a table of a ``seed`` and a ``design`` in two units: as
    drawn, and the label and the first so many ``columns`` times 100.
    """
    X, y, _ = sample(seed, design)
    before = tables.gathered(X, y, 1)
    X[:, :columns] *= 100
    after = tables.gathered(X, 100 * y, 1)
    both = map(tables.statistics, before + after)
    return xr.concat(both, "units")


def dense(seed: int, design: Design, delta: float) -> xr.Dataset:
    r"""Return `statistics` of a table from moments of two unequal chunks, and its
    ``deviance`` by the density of the contrasts of the labels, with a matrix of all rows.

    Args:
        seed: of the draw.
        design: its teacher is drawn anew: weights of variance
            :math:`\delta\hat\Sigma^p/n`, relative to the geometric mean of the
            eigenvalues, under noise of variance 1.
        delta: :math:`\delta`.
    """
    rng = np.random.default_rng([seed, LABELS])
    X, _, _ = sample(seed, design)
    n, p = design.n, design.p
    contrasts = linalg.helmert(n)
    Z = contrasts @ X
    _, s, Vt = np.linalg.svd(Z, full_matrices=False)
    lam = s**2 / n
    mean = np.exp(np.log(lam).mean())
    prior = (lam / mean) ** p
    prior *= delta / (n * mean)
    signal = Z @ Vt.T
    V = signal * prior @ signal.T
    V += np.eye(n - 1)
    root = linalg.cholesky(V, lower=True)
    z = root @ rng.standard_normal(n - 1)
    y = z @ contrasts
    # two unequal chunks
    first, *second = tables.gathered(X, y, 3)
    moments = tables.merged([tables.merged(second), first])
    white = np.linalg.solve(V, z)
    size = z @ white / (n - 1)
    volume = np.linalg.slogdet(V)[1]
    deviance = (n - 1) * np.log(size) + volume
    return tables.statistics(moments).assign(deviance=deviance)


def published(seed: int, case: str, permuted: bool = False, n: int = 200) -> xr.Dataset:
    """Return `statistics` of a table of the experiment of [YN25], SNR 1.

    Args:
        seed: of the draw.
        case: ``high`` or ``low``.
        permuted: labels that belong to other rows.
        n: rows.

    Raises:
        ValueError: for an unknown case.
    """
    validate.choice("case", case, CASES["distinguished"])
    rng = np.random.default_rng([seed, DATA])
    coefficient = rng.standard_normal()
    task = published_task(case, 1.0, [coefficient])
    X, y, _ = task.sample(n, rng)
    if permuted:
        y = rng.permutation(y)
    return tables.statistics(*tables.gathered(X.T, y, 1))


def folded(seed: int, design: Design, moved: bool = True) -> xr.Dataset:
    """Return the error of cross-validation and the criterion of its generalised form,
    ``cv`` and ``gcv`` (way,), from moments and from rows, refitted.

    Args:
        seed: of the draw.
        design: of the table; its exponent is that of the fit.
        moved: False for errors of the rows about the mean of each fold's own errors.
    """
    X, y, _ = sample(seed, design)
    folds = tables.gathered(X, y)
    p = np.array([design.p])
    penalty = np.array([[PENALTY]])
    cv = tables.cross_validated(folds, p, penalty)
    gcv = tables.generalised(tables.merged(folds), p, penalty)
    n, total = len(y), 0.0
    every = np.arange(n)
    for out in np.array_split(every, len(folds)):
        rest = np.delete(every, out)
        hat = _hat(X[rest], X[out], design.p)
        errors = y[out] - hat @ y[rest]
        if not moved:
            errors -= errors.mean()
        total += errors @ errors
    hat = _hat(X, X, design.p)
    left = y - hat @ y
    spare = n - np.trace(hat)
    by_rows = n * (left @ left) / spare**2
    return xr.Dataset(
        {
            "cv": ("way", [cv.item(), total / n]),
            "gcv": ("way", [gcv.item(), by_rows]),
        },
        {"way": ["moments", "rows"]},
    )


def _hat(X, X_new, p: float) -> np.ndarray:
    """Return the matrix that turns labels at X into predictions at X_new, by the penalised
    normal equations of the rows.
    """
    n = len(X)
    mean = X.mean(0)
    Z = X - mean
    S = Z.T @ Z / n
    inverse = psd_power(S, -p)
    normal = S + PENALTY * inverse
    slopes = np.linalg.solve(normal, Z.T / n)
    return 1 / n + (X_new - mean) @ slopes
