r"""Choosing the exponent without the teacher: the likelihood of p from streamed moments.

Of n rows of data the covariance :math:`\hat\Sigma=\frac1n\sum(x-\bar x)(x-\bar x)^\top=
U\operatorname{diag}(\lambda)U^\top` has r eigenvalues > 0, the *scores*
:math:`q_r=(u_r^\top b)^2/(n\lambda_r)` with :math:`b=\sum(x-\bar x)(y-\bar y)` say how
much of the label stands along each eigenvector, and the *residual*
:math:`\sum(y-\bar y)^2-\sum q_r` is what no direction explains. Under the model

.. math:: y=\mu+Xw+\varepsilon,\qquad w\sim N(0,A\hat\Sigma^p),\qquad
          \varepsilon\sim N(0,\sigma^2)

the scores are independent, :math:`q_r\sim\sigma^2(1+\delta t_r)\chi^2_1` with
:math:`t_r=(\lambda_r/\bar\lambda)^{p+1}`, :math:`\bar\lambda` the geometric mean; the
residual is :math:`\sigma^2\chi^2_{m-r}`, m = n - 1. All derived in chapter "choosing_p".

Arguments that many functions share: ``lam`` (r,), ``scores`` (r,), ``residual``, and
``dof``, the degrees of freedom m.
"""

from dataclasses import dataclass

import numpy as np

from fl import validate
from fl.moments_folds import shrinkage

EXPONENTS = np.linspace(-2, 2, 81)
DROP = 3.841458820694124  # the 95 % quantile of chi-square with one degree of freedom
SIGNAL, WIDTH = 7.0, 1.5  # the rule of `Choice.told`


@dataclass(frozen=True)
class Choice:
    r"""What the likelihood says about the exponent.

    Attributes:
        p: where the deviance is smallest.
        low: lower end of the 95 % profile interval; the end of the range if it is cut.
        high: upper end.
        se: standard error of `p`, `standard_error`; infinite where nothing is resolved.
        resolved: number of resolved directions :math:`\sum s_r^2`, :math:`s_r` of `shrinkage`.
        signal: deviance without a signal, less the smallest deviance.
        told: whether `signal` is at least 7 and the interval narrower than 1.5; if not,
            the data cannot tell: keep p = 0.
        penalty: :math:`\rho` of the ridge regression :math:`\min_w\frac1n|y-Xw|^2
            +\rho\,w^\top\hat\Sigma^{-p}w` that belongs to `p`, in the units of the input;
            infinite where no signal is seen.
        noise: :math:`\sigma^2`, variance of the label that is not explained.
        exponents: where the deviance was computed (K,).
        deviance: at these, the smallest over `penalty` (K,).
    """

    p: float
    low: float
    high: float
    se: float
    resolved: float
    signal: float
    told: bool
    penalty: float
    noise: float
    exponents: np.ndarray
    deviance: np.ndarray


def fit(lam, scores, residual: float, dof: int, exponents=EXPONENTS) -> Choice:
    """Return what the data say about the exponent.

    Args:
        lam: eigenvalues (r,) of the sample covariance.
        scores: of the eigenvectors (r,).
        residual: sum of squares that no eigenvector explains; 0 if r = m.
        dof: degrees of freedom m = n - 1.
        exponents: the range (K,), rising; the interval is cut at its ends.

    Raises:
        ValueError: for eigenvalues that are not > 0, negative scores or residual, fewer
            degrees of freedom than directions, a residual of 0 where there are more, a
            label without variance, or exponents that do not rise.

    >>> import numpy as np
    >>> lam = np.geomspace(1, 0.01, 40)
    >>> expected = 1 + 50 * lam  # p = 0, sigma = 1
    >>> choice = fit(lam, expected, 60.0, 100)
    >>> abs(choice.p) < 0.01, choice.told
    (True, True)
    """
    exponents = validate.array("exponents", exponents, ("K",))
    if len(exponents) < 3 or (np.diff(exponents) <= 0).any():
        raise ValueError(f"exponents = {exponents}: must be at least three, rising")
    data = lam, scores, residual, dof
    curve, _ = profile(exponents, *data)
    p = _lowest(exponents, curve)
    (best,), (delta,) = profile([p], *data)
    best = min(best, curve.min())
    low, high = _interval(exponents, curve - best, p)
    signal = float(deviance(0.0, 0.0, *data) - best)
    scale = geometric_mean(lam) ** (p + 1)
    penalty = float(scale / delta) if delta else np.inf
    u = shrinkage(lam, p, penalty)
    left = (1 - u) @ scores + residual
    return Choice(
        p=p,
        low=low,
        high=high,
        se=standard_error(lam, u, dof),
        resolved=float(u @ u),
        signal=signal,
        told=signal >= SIGNAL and high - low < WIDTH,
        penalty=penalty,
        noise=float(left / dof),
        exponents=exponents,
        deviance=curve,
    )


def deviance(p, delta, lam, scores, residual: float, dof: int) -> np.ndarray:
    r"""Return minus twice the restricted log-likelihood, up to a constant, with the noise
    at its best value.

    .. math:: \mathrm{dev}(p,\delta)=m\log\hat\sigma^2+\sum_r\log(1+\delta t_r),\qquad
              \hat\sigma^2=\frac1m\Bigl[\sum_r\frac{q_r}{1+\delta t_r}+\mathrm{RSS}\Bigr]

    Args:
        p: exponents, any shape.
        delta: signal over noise :math:`\delta\ge0` in the direction of geometric mean
            eigenvalue, a shape that fits ``p``.
        lam: eigenvalues (r,).
        scores: (r,).
        residual: RSS.
        dof: the degrees of freedom m.

    Raises:
        ValueError: as `fit`; for a p that is not finite, or a delta < 0.
    """
    lam, scores, residual, dof = _checked(lam, scores, residual, dof)
    p = validate.array("p", p, np.shape(p))
    delta = np.asarray(delta)
    if not (delta >= 0).all():
        raise ValueError(f"delta = {delta!r}: all must be >= 0")
    D = 1 + delta[..., None] * np.exp(_raised(lam, p))
    left = (1 / D) @ scores + residual
    return dof * np.log(left / dof) + np.log(D).sum(-1)


def profile(exponents, lam, scores, residual: float, dof: int) -> tuple:
    r"""Return the deviance, smallest over :math:`\delta`, and that :math:`\delta`, both
    (K,), at each of ``exponents`` (K,).

    ``lam``, ``scores``, ``residual`` and ``dof`` are those of `fit`. The search is over
    :math:`\log\delta` on a grid that is refined around its best point; 0 if no signal is
    better than any.

    Raises:
        ValueError: as `fit`.
    """
    data = lam, scores, residual, dof
    nothing = deviance(0.0, 0.0, *data)
    if residual == 0 and dof > len(lam):
        raise ValueError(
            f"residual = 0 with dof {dof} > {len(lam)} directions: must be > 0, without "
            "noise the likelihood has no bound"
        )
    p = validate.array("exponents", exponents, ("K",))
    powers = _raised(lam, p)
    # beyond these ends every direction is fitted, or none is; with many rows even the
    # weakest direction may stand far above the noise
    strength = np.mean(scores) * dof / residual if residual else 1.0
    low = -8 - powers.max(1)
    high = max(8.0, np.log1p(strength) + 3) - powers.min(1)
    each = np.arange(len(p))
    for points in (33, 9, 9, 9, 9, 9):
        grid = np.linspace(low, high, points)
        values = deviance(p, np.exp(grid), *data)
        k = values.argmin(0)
        around = np.clip([k - 1, k + 1], 0, points - 1)
        low, high = grid[around, each]
    best = values.min(0)
    delta = np.where(
        best < nothing,
        np.exp(grid[k, each]),
        0,
    )
    return np.minimum(best, nothing), delta


def standard_error(lam, u, dof: int) -> float:
    r"""Return the standard error of the estimated exponent, from the Fisher information of
    :math:`(\log\sigma^2,\log\delta,p)`.

    .. math:: \mathrm{se}^2=2\Big/\min_{a,c}\Bigl[\sum_r(s_rl_r-a-cs_r)^2+(m-r)\,a^2\Bigr],
              \qquad l_r=\log\lambda_r

    With many rows a is 0 and the minimum is :math:`\sum s_r^2(l_r-\bar l)^2`, the mean
    taken with the weights :math:`s^2`.

    Args:
        lam: eigenvalues (r,).
        u: their `shrinkage` s (r,).
        dof: degrees of freedom m.

    Returns:
        infinity if nothing is resolved, or only directions of one size.

    Raises:
        ValueError: for eigenvalues that are not > 0, or lengths that differ.
    """
    logs = _raised(validate.positive("lam", lam), 0)
    u = validate.array("u", u, (len(logs),))
    spare = validate.count("dof", dof, minimum=len(u)) - len(u)
    level = np.append(np.ones_like(u), spare**0.5)
    size = np.append(u, 0)
    A = np.column_stack([level, size])
    target = np.append(u * logs, 0)
    best = np.linalg.lstsq(A, target)[0]
    left = target - A @ best
    information = left @ left
    if information <= 1e-12 * (u @ u):  # equal eigenvalues, up to rounding
        return np.inf
    return float(np.sqrt(2 / information))


def geometric_mean(lam) -> float:
    """Return the geometric mean of ``lam`` (r,).

    Raises:
        ValueError: for eigenvalues that are not > 0.
    """
    return float(np.exp(np.log(validate.positive("lam", lam)).mean()))


def _raised(lam, p) -> np.ndarray:
    """Return the logarithms of t, the shape of ``p`` and then (r,)."""
    logs = np.log(lam)
    return np.multiply.outer(np.add(p, 1), logs - logs.mean())


def _lowest(x, y) -> float:
    """Return where the parabola through the lowest of ``y`` and its neighbours is lowest:
    where its slope, a line that is known between the points, is 0.
    """
    k = int(np.argmin(y))
    if k in (0, len(x) - 1):
        return float(x[k])
    sides = slice(k - 1, k + 1)
    slopes = np.diff(y) / np.diff(x)
    middles = (x[1:] + x[:-1]) / 2
    return float(np.interp(0, slopes[sides], middles[sides]))


def _interval(x, rise, p: float) -> tuple[float, float]:
    """Return the outermost points where ``rise``, 0 at ``p``, is `DROP`, the ends of ``x``
    where it is lower there. The root of a parabola is a line on either side of ``p``.
    """
    at = np.searchsorted(x, p)
    x = np.insert(x, at, p)
    heights = np.insert(rise, at, 0.0)
    fall = DROP**0.5 - np.sqrt(heights)
    return _end(x, fall), _end(x[::-1], fall[::-1])


def _end(x, fall) -> float:
    """Return where ``fall`` first rises to 0 along ``x``."""
    k = int(np.argmax(fall >= 0))
    near = slice(max(k - 1, 0), k + 1)
    return float(np.interp(0, fall[near], x[near]))


def _checked(lam, scores, residual, dof):
    lam = validate.positive("lam", lam)
    scores = validate.array("scores", scores, (len(lam),))
    residual = validate.number("residual", residual, 0)
    dof = validate.count("dof", dof, minimum=len(lam))
    if scores.min() < 0:
        raise ValueError(
            f"scores has smallest entry {scores.min():g}: all must be >= 0"
        )
    if scores.sum() + residual == 0:
        raise ValueError("scores and residual are 0: the label must have some variance")
    return lam, scores, residual, dof
