r"""Choosing the exponent of drawn tables: the model itself, and teachers and noise that
break it.
"""

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from fl import validate
from fl.moments import merged, spectral
from fl.moments_folds import shrinkage
from fl.numerics import psd_power
from fl.simulate import choosing_p as tables
from fl.simulate.noise import task as published_task
from fl.tasks import Task, Teacher, power_law

DATA, LABELS = 1, 2  # streams of random numbers
# the link of each
TEACHERS = {
    "model": "linear",
    "power": "linear",
    "direction": "linear",
    "relu": "relu",
    "even": "abs",
    "two": "tanh",
}
NOISES = ("normal", "heavy", "groups", "uneven")
ONE = 8  # where the teacher of one direction stands
ROWS = 200  # of a table of [YN25]
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
        X = spectrum.inputs(design.n, rng)
        best = _weights(X.T, design.p, rng)
        clean = best @ X
    else:
        teacher = _teacher(spectrum.eigenvalues, design, rng)
        task = Task(spectrum, teacher)
        X, _, clean = task.sample(design.n, rng)
        slopes = [teacher.link.moments(tau)[2] for tau in task.tau]
        scale = task.signal_variance**-0.5
        best = scale * (slopes @ teacher.directions)
        clean *= scale
    if design.noise == "uneven":
        noise *= X[0]
    return (
        X.T,
        design.snr * clean + noise,
        design.snr * best,
    )


def _weights(X, p: float, rng) -> np.ndarray:
    """Return weights (d,) of variance proportional to the p-th power of the covariance of
    the rows of X, the signal's mean square expected to be 1.
    """
    _, s, Vt = np.linalg.svd(X - X.mean(0), full_matrices=False)
    lam = s**2 / len(X)
    prior = lam**p
    sizes = np.sqrt(prior / (prior @ lam))
    return sizes * rng.standard_normal(len(s)) @ Vt


def _teacher(lam, design: Design, rng) -> Teacher:
    if design.teacher == "direction":
        return Teacher(np.eye(len(lam))[ONE])
    rows = 2 if design.teacher == "two" else 1
    B = lam ** (design.p / 2) * rng.standard_normal((rows, len(lam)))
    # of variance 1 each, and uncorrelated
    root = linalg.cholesky(B * lam @ B.T, lower=True)
    return Teacher(linalg.solve(root, B), TEACHERS[design.teacher])


def _noise(design: Design, rng) -> np.ndarray:
    """Return noise (n,) of variance 1."""
    if design.noise == "heavy":
        return rng.standard_t(3, design.n) / 3**0.5
    noise = rng.standard_normal(design.n)
    if design.noise == "groups":
        return noise[np.arange(design.n) // 10]
    return noise


def statistics(
    seed: int, design: Design, units: float = 1.0, columns: int | None = None
) -> tuple:
    """Return the `Spectrum` of a table of a ``seed`` and a ``design``, and nothing else; the
    label and the first so many ``columns``, all if None, are multiplied by ``units``.
    """
    X, y, _ = sample(seed, design)
    X[:, :columns] *= units
    return spectral(*tables.gathered(X, units * y, 1)), {}


def risks(seed: int, design: Design) -> tuple:
    """Return what can be known from a table of a ``seed`` and a ``design``, with the excess
    over the best linear fit as the risk; the error of the mean is left out.
    """
    X, y, best = sample(seed, design)
    lam = power_law(design.d, design.a).eigenvalues

    def excess(seen, p, penalty):
        u = shrinkage(seen.lam, p, penalty)
        w = u * seen.least_squares @ seen.basis.T
        return (w - best) ** 2 @ lam

    return tables.assessed(
        tables.gathered(X, y),
        excess,
    )


def dense(seed: int, design: Design, delta: float) -> tuple:
    r"""Return a table and what its labels say with a matrix of all rows.

    Args:
        seed: of the draw.
        design: its teacher is drawn anew: weights of variance
            :math:`\delta\hat\Sigma^p/n`, relative to the geometric mean of the
            eigenvalues, under noise of variance 1.
        delta: :math:`\delta`.

    Returns:
        the exponent and ``delta``; the `Spectrum.statistics` from moments of two unequal
        chunks; the deviance by the density of the contrasts of the labels.
    """
    rng = np.random.default_rng([seed, LABELS])
    X = sample(seed, design)[0]
    n, p = design.n, design.p
    contrasts = linalg.helmert(n)
    Z = contrasts @ X
    m = len(Z)
    lam = linalg.svdvals(Z) ** 2 / n
    mean = np.exp(np.log(lam).mean())
    size = delta / (n * mean ** (p + 1))
    prior = size * psd_power(Z.T @ Z / n, p)
    V = Z @ prior @ Z.T + np.eye(m)
    z = linalg.cholesky(V, lower=True) @ rng.standard_normal(m)
    # the last third is merged into the other two
    moments = merged(tables.gathered(X, z @ contrasts, 3))
    noise = z @ linalg.solve(V, z) / m
    deviance = m * np.log(noise) + np.linalg.slogdet(V)[1]
    return p, delta, spectral(moments).statistics, deviance


def published(seed: int, case: str, permuted: bool = False) -> tuple:
    """Return the `Spectrum` of a table of the experiment of [YN25], SNR 1, and nothing else.

    Args:
        seed: of the draw.
        case: ``high`` or ``low``.
        permuted: labels that belong to other rows.

    Raises:
        ValueError: for an unknown case.
    """
    rng = np.random.default_rng([seed, DATA])
    task = published_task(case, 1.0, [rng.standard_normal()])
    X, y, _ = task.sample(ROWS, rng)
    if permuted:
        y = rng.permutation(y)
    return spectral(*tables.gathered(X.T, y, 1)), {}


def folded(seed: int, design: Design, moved: bool = True) -> dict:
    """Return the error of cross-validation and the criterion of its generalised form from
    ``moments`` and from ``rows``, refitted by a library, both (criterion,).

    Args:
        seed: of the draw.
        design: of the table; its exponent is that of the fit.
        moved: False for errors of the rows about the mean of each fold's own errors.
    """
    from sklearn.model_selection import KFold  # two seconds, for those who need it

    X, y, _ = sample(seed, design)
    n, p = design.n, design.p
    folds = tables.gathered(X, y)
    whole = spectral(merged(folds))
    cv = tables.cross_validated(folds, p, PENALTY)
    gcv = tables.generalised(whole, p, PENALTY)
    missed = y.copy()
    for rest, out in KFold(len(folds)).split(X):
        missed[out] -= _predicted(X[rest], y[rest], X[out], p)
        if not moved:
            missed[out] -= missed[out].mean()
    hat = _predicted(X, np.eye(n), X, p)
    left = (y - hat @ y) / (1 - np.trace(hat) / n)
    return {
        "moments": ("criterion", [cv, gcv]),
        "rows": ("criterion", np.square([missed, left]).mean(1)),
    }


def _predicted(X, y, X_new, p: float) -> np.ndarray:
    """Return what ridge regression on rows X with labels y, one or many each, predicts at
    X_new: the library's, in coordinates where the penalty is that of least squares.
    """
    from sklearn.linear_model import Ridge

    root = psd_power(np.cov(X.T, bias=True), p / 2)
    model = Ridge(PENALTY * len(X)).fit(X @ root, y)
    return model.predict(X_new @ root)
