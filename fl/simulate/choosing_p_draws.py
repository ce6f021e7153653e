r"""Choosing the exponent of drawn tables: the model itself, and teachers and noise that
break it.
"""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy import linalg

from fl import validate
from fl.moments import Moments, spectral
from fl.simulate import choosing_p as tables
from fl.simulate.noise import CASES
from fl.simulate.noise import task as published_task
from fl.tasks import Task, Teacher, power_law

DATA, LABELS = 1, 2  # streams of random numbers
TEACHERS = ("model", "power", "direction", "relu", "even", "two")
NOISES = ("normal", "heavy", "groups", "uneven")
LINKS = {"relu": "relu", "even": "abs", "two": "tanh"}
ONE = 8  # where the teacher of one direction stands


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
        w = _weights(X, design.p, rng)
        best, clean = w, X @ w
    else:
        task = Task(spectrum, _teacher(spectrum.eigenvalues, design, rng))
        batch = task.sample(design.n, rng)
        X, scale = batch.X.T, task.signal_variance**-0.5
        slopes = [task.teacher.link.moments(tau)[2] for tau in task.tau]
        best = scale * np.array(slopes) @ task.teacher.directions
        clean = scale * batch.clean
    if design.noise == "uneven":
        noise *= X[:, 0]
    return X, design.snr * clean + noise, design.snr * best


def _weights(X, p: float, rng) -> np.ndarray:
    """Return weights (d,) of variance proportional to the p-th power of the covariance of
    the rows of X, the signal's mean square expected to be 1.
    """
    U, s, Vt = np.linalg.svd(X - X.mean(0), full_matrices=False)
    lam = s**2 / len(X)
    size = np.sqrt(lam**p / np.sum(lam ** (p + 1)))
    return size * rng.standard_normal(len(s)) @ Vt


def _teacher(lam, design: Design, rng) -> Teacher:
    if design.teacher == "direction":
        return Teacher(np.eye(len(lam))[ONE])
    rows = 2 if design.teacher == "two" else 1
    B = rng.standard_normal((rows, len(lam))) * lam ** (design.p / 2)
    # of variance 1 each, and uncorrelated
    root = linalg.cholesky(B * lam @ B.T, lower=True)
    return Teacher(linalg.solve(root, B), LINKS.get(design.teacher, "linear"))


def _noise(design: Design, rng) -> np.ndarray:
    """Return noise (n,) of variance 1."""
    if design.noise == "heavy":
        return rng.standard_t(3, design.n) / 3**0.5
    noise = rng.standard_normal(design.n)
    return noise[np.arange(design.n) // 10] if design.noise == "groups" else noise


def statistics(seed: int, design: Design) -> xr.Dataset:
    """Return what the likelihood needs of a table of a ``seed`` and a ``design``."""
    X, y, _ = sample(seed, design)
    return tables.statistics(Moments(design.d).add(X, y))


def risks(seed: int, design: Design) -> xr.Dataset:
    """Return what can be known from a table of a ``seed`` and a ``design``, and ``risk``
    (p, penalty), the excess over the best linear fit; the error of the mean is left out.
    """
    X, y, best = sample(seed, design)
    folds = tables.gathered(X, y)
    run = tables.assessed(folds)
    root = power_law(design.d, design.a).eigenvalues ** 0.5
    s = spectral(tables.merged(folds))
    t = s.lam ** (tables.EXPONENTS[:, None, None] + 1)
    kept = t / (t + run["grid"].values[..., None])
    w = kept * s.along / np.sqrt(s.lam) @ s.basis.T
    gaps = (w - best) * root
    return run.assign(risk=(("p", "penalty"), (gaps**2).sum(-1)))


def rescaled(seed: int, design: Design, columns: int) -> xr.Dataset:
    """Return `statistics` of a table of a ``seed`` and a ``design`` in three units: as
    drawn, the label and the first so many ``columns`` times 100.
    """
    X, y, _ = sample(seed, design)
    factors = np.ones(design.d)
    factors[:columns] = 100
    seen = [Moments(design.d).add(X * f, y * g) for f, g in [(1, 1), (factors, 100)]]
    return xr.concat([tables.statistics(m) for m in seen], "units")


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
    n, d, p = design.n, design.d, design.p
    contrasts = linalg.helmert(n)
    Z = contrasts @ X
    U, s, Vt = np.linalg.svd(Z, full_matrices=False)
    lam = s**2 / n
    mean = np.exp(np.log(lam).mean())
    prior = (Vt.T * (lam / mean) ** p) @ Vt * delta / mean / n
    V = np.eye(n - 1) + Z @ prior @ Z.T
    y = rng.multivariate_normal(np.zeros(n - 1), V, method="cholesky") @ contrasts
    cut = n // 3
    moments = Moments(d).add(X[:cut], y[:cut]).merge(Moments(d).add(X[cut:], y[cut:]))
    z = contrasts @ y
    size = z @ np.linalg.solve(V, z) / (n - 1)
    deviance = (n - 1) * np.log(size) + np.linalg.slogdet(V)[1]
    return tables.statistics(moments).assign(deviance=deviance)


def published(seed: int, case: str, permuted: bool = False, n: int = 200) -> xr.Dataset:
    """Return `statistics` of a table of the experiment of [YN25], SNR 1.

    Args:
        seed: of the draw.
        case: ``high`` or ``low``.
        permuted: labels that belong to other rows.
        n: rows.
    """
    validate.choice("case", case, CASES["distinguished"])
    rng = np.random.default_rng([seed, DATA])
    coefficient = rng.standard_normal()
    X, y, _ = published_task(case, 1.0, [coefficient]).sample(n, rng)
    y = rng.permutation(y) if permuted else y
    return tables.statistics(Moments(len(X)).add(X.T, y))


def folded(seed: int, design: Design, moved: bool = True) -> xr.Dataset:
    """Return the error of cross-validation and the criterion of its generalised form,
    ``cv`` and ``gcv`` (way,), from moments and from rows, refitted.

    Args:
        seed: of the draw.
        design: of the table; its exponent is that of the fit.
        moved: False for sums of each fold about its own mean in place of the mean of the
            rows that train.
    """
    X, y, _ = sample(seed, design)
    folds = tables.gathered(X, y)
    p, penalty = np.array([design.p]), np.array([[0.1]])
    if moved:
        cv = tables.cross_validated(folds, p, penalty).item()
    else:
        cv = _unmoved(X, y, p, penalty)
    gcv = tables.generalised(tables.merged(folds), p, penalty).item()
    rows = _from_rows(X, y, design.p, penalty.item())
    ways = {"cv": ("way", [cv, rows[0]]), "gcv": ("way", [gcv, rows[1]])}
    return xr.Dataset(ways, {"way": ["moments", "rows"]})


def _unmoved(X, y, p, penalty) -> float:
    """Return the error with each fold moved to the mean of the rows that train."""
    n, d = X.shape
    total = 0.0
    for out in np.array_split(np.arange(n), tables.FOLDS):
        rest = np.delete(np.arange(n), out)
        there, here = ((X[i].mean(0), y[i].mean()) for i in (rest, out))
        train = Moments(d).add(X[rest], y[rest])
        test = Moments(d).add(X[out] - here[0] + there[0], y[out] - here[1] + there[1])
        total += tables.held_out(train, test, p, penalty).item() * len(out)
    return total / n


def _from_rows(X, y, p: float, penalty: float) -> tuple[float, float]:
    """Return both criteria by solving the penalised normal equations of the rows."""
    n, cv = len(y), 0.0
    for out in np.array_split(np.arange(n), tables.FOLDS):
        mask = np.ones(n, bool)
        mask[out] = False
        hat, mean = _hat(X[mask], X[out], p, penalty)
        centre = y[mask].mean()
        cv += np.sum((y[out] - centre - hat @ (y[mask] - centre)) ** 2) / n
    hat, _ = _hat(X, X, p, penalty)
    hat = hat @ (np.eye(n) - 1 / n) + 1 / n
    left = y - hat @ y
    return cv, float(left @ left / n / (1 - np.trace(hat) / n) ** 2)


def _hat(X, X_new, p: float, penalty: float) -> tuple:
    """Return the matrix that turns centred labels into predictions at new rows."""
    mean = X.mean(0)
    Z, n = X - mean, len(X)
    S = Z.T @ Z / n
    values, vectors = np.linalg.eigh(S)
    inverse = (vectors * values**-p) @ vectors.T
    return (X_new - mean) @ np.linalg.solve(S + penalty * inverse, Z.T / n), mean
