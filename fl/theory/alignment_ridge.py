r"""The linear student in closed form: preconditioned flow, ridge regression,
interpolation, and the best exponent.

Labels are :math:`y=w_*^\top x+` an uncorrelated rest of variance ``noise``; inputs have
covariance :math:`\Sigma` with eigenvalues ``lam`` (d,). The signal splits over the
eigenvectors into energies :math:`e_r=\lambda_r w_{*r}^2`, ``energy`` (d,). The
preconditioner is :math:`P=\Sigma^p`; ridge regression

.. math:: \min_w\ \tfrac1N|y-X^\top w|^2+\rho\,w^\top P^{-1}w

is ordinary ridge on :math:`P^{1/2}x`, whose covariance has the eigenvalues
:math:`t_r=\lambda_r^{p+1}`; the energies do not depend on p. ``penalty`` is
:math:`\rho`, ``n`` is N. All of it is derived in chapter "alignment".
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq, minimize_scalar

from fl import numerics, validate
from fl.tasks import Task
from fl.theory.alignment import eigenbasis, label_moments


def linear_part(task: Task) -> tuple[np.ndarray, np.ndarray, float]:
    r"""Return ``lam`` (d,), ``energy`` (d,) and ``noise`` of the best linear fit to a
    single-index ``task``.

    Its weights are :math:`w_*=c_1\beta`; the noise is what it leaves of the label's
    variance, :math:`\operatorname{Var}f-c_1^2\tau^2` and the label noise.
    """
    lam, beta = eigenbasis(task)
    c1, variance, _ = label_moments(task)
    energy = c1**2 * lam * beta**2
    return lam, energy, variance - energy.sum()


def flow_risk(lam, energy, p: float, t) -> np.ndarray:
    r"""Return the excess risk :math:`R(t)=\sum_re_re^{-2\lambda_r^{p+1}t}` of the flow
    :math:`\dot w=-P\Sigma(w-w_*)`.

    Args:
        lam: eigenvalues (d,).
        energy: signal energies (d,).
        p: the exponent of the preconditioner.
        t: times (T,); a step of size :math:`\eta` on the mean square lasts
            :math:`2\eta`.

    Raises:
        ValueError: for eigenvalues that are not > 0, negative energies or times.

    >>> flow_risk([1.0, 2.0], [3.0, 4.0], -1.0, [0.0]).tolist()
    [7.0]
    """
    lam, energy = energies(lam, energy)
    t = validate.array("t", t, ("T",))
    if t.min() < 0:
        raise ValueError(f"t has smallest entry {t.min():g}: all must be >= 0")
    p = validate.number("p", p)
    # a speed beyond floating point is infinite: at t = 0 nothing has moved yet
    with np.errstate(over="ignore", invalid="ignore"):
        moved = np.outer(t, lam ** (p + 1))
        moved[t == 0] = 0.0
        return np.exp(-2 * moved) @ energy


class RidgeRisk(NamedTuple):
    """Test error (with the noise of a fresh label), training error, the penalty, and
    the variance factor.
    """

    test: float
    train: float
    penalty: float
    gamma: float


def ridge_risk(
    lam, energy, p: float, n: int, penalty: float, noise: float
) -> RidgeRisk:
    r"""Return the deterministic equivalent of ridge regression with the preconditioner
    :math:`\Sigma^p`.

    With the implicit ridge :math:`\kappa` and the shrinkage
    :math:`u_r=t_r/(t_r+\kappa)`,

    .. math:: \rho=\kappa\,\Bigl(1-\frac1N\sum_r u_r\Bigr),\qquad
              \gamma=\frac1N\sum_r u_r^2,\qquad
              \text{test}=\frac{\sum_r e_r(1-u_r)^2+\text{noise}}{1-\gamma},\qquad
              \text{train}=(\rho/\kappa)^2\,\text{test}.

    Args:
        lam: eigenvalues (d,).
        energy: signal energies (d,).
        p: the exponent of the preconditioner.
        n: number of training samples.
        penalty: :math:`\rho`; 0 is the interpolator of least :math:`w^\top P^{-1}w` for
            d > N and least squares for d < N.
        noise: variance of the rest.

    Raises:
        ValueError: for eigenvalues that are not > 0, negative ``penalty`` or ``noise``,
            or ``penalty = 0`` with d = N, where the risk is infinite.

    >>> least_squares = ridge_risk([1.0, 1.0], [0.0, 0.0], 0.0, 4, 0.0, noise=1.0)
    >>> least_squares.test  # noise/(1 - d/N)
    2.0
    """
    t, energy = _modes(lam, energy, p)
    noise = validate.number("noise", noise, 0)
    found = _at_kappa(t, energy, n, implicit_ridge(t, n, penalty), noise)
    # from kappa it comes back with a rounding that may be larger than itself
    return found._replace(penalty=float(penalty))


def implicit_ridge(t, n: int, penalty: float) -> float:
    r"""Return the root :math:`\kappa\ge\rho` of
    :math:`\rho=\kappa(1-\frac1N\sum_r\frac{t_r}{t_r+\kappa})`.

    The sum is over ``t`` (d,), N is ``n``, :math:`\rho` is ``penalty``. The root is 0
    for ``penalty = 0`` and d < N.

    Raises:
        ValueError: for ``penalty = 0`` with d = N, where the risk is infinite.

    >>> round(implicit_ridge([1.0, 1.0], n=1, penalty=0.0), 9)  # 1 = 2/(1 + kappa)
    1.0
    """
    t, n = validate.positive("t", t), validate.count("n", n)
    penalty = validate.number("penalty", penalty, 0)
    if penalty == 0 and len(t) == n:
        raise ValueError(
            f"penalty = 0 with n = {n} equal to the dimension: the risk is infinite, "
            "take penalty > 0"
        )
    return resolvent_scale(t, len(t) / n, penalty)


def resolvent_scale(s, gamma: float, damping: float) -> float:
    r"""Return the :math:`\kappa\ge 0` with :math:`\lambda = \kappa\,(1 -
    \gamma\,\bar{\mathbb E}[s/(s+\kappa)])`.

    It turns the sample covariance into the true one,
    :math:`\lambda(\hat\Sigma+\lambda)^{-1}\approx \kappa(\Sigma+\kappa)^{-1}`; the mean
    is over the eigenvalues ``s`` (d,), ``gamma`` is d/n, ``damping`` is
    :math:`\lambda`. At zero damping it is 0 for gamma <= 1 and positive beyond.

    Raises:
        ValueError: for eigenvalues or a ``gamma`` that are not > 0, or negative damping.

    >>> round(resolvent_scale([1.0], gamma=2.0, damping=0.0), 12)  # gamma - 1
    1.0
    """
    s = validate.positive("s", s)
    gamma = validate.number("gamma", gamma, 0, open_low=True)
    damping = validate.number("damping", damping, 0)
    if damping == 0 and gamma <= 1:
        return 0.0

    def excess(v):
        # divided by kappa = e^v: at zero damping the root 0 is not the one wanted
        kappa = np.exp(v)
        return damping / kappa + gamma * np.mean(s / (s + kappa)) - 1

    # the mean lies between s_min/(s_min + kappa) and mean(s)/kappa: both ends enclose
    # the root
    low = max(damping, s.min() * (gamma - 1)) / 2
    high = 2 * (damping + gamma * s.mean())
    root = brentq(excess, np.log(low), np.log(high), xtol=1e-14, rtol=1e-14)
    return float(np.exp(root))


def tuned_ridge(lam, energy, p: float, n: int, noise: float) -> RidgeRisk:
    r"""Return the `ridge_risk` of the penalty >= 0 with the smallest test error.

    The arguments ``lam``, ``energy``, ``p``, ``n`` and ``noise`` are those of
    `ridge_risk`. The search runs over :math:`\log\kappa`, in which the test error is
    explicit.

    Raises:
        ValueError: for what `ridge_risk` refuses.
    """
    t, energy = _modes(lam, energy, p)
    n = validate.count("n", n)
    noise = validate.number("noise", noise, 0)

    def risk(log_kappa):
        return _at_kappa(t, energy, n, np.exp(log_kappa), noise)

    # beyond either end every mode is fitted, or none is
    floor = t.min() * 1e-12
    if len(t) > n:
        floor = implicit_ridge(t, n, 0.0)
    ends = np.log([floor, 1e6 * t.sum()])
    return risk(_lowest(lambda v: risk(v).test, ends, 1e-9))


def best_exponent(
    lam, energy, n: int, noise: float, *, tuned: bool = True, ends=(-2.0, 4.0)
) -> float:
    r"""Return the p of smallest test error between the ``ends``.

    With :math:`e_r\propto\lambda_r^{p^*+1}` and noise > 0 the tuned optimum is
    :math:`p^*` for every N and noise.

    Args:
        lam: eigenvalues (d,).
        energy: signal energies (d,).
        n: number of training samples.
        noise: variance of the noise.
        tuned: take the best penalty for each p; else none, which needs d > N.
        ends: of the search, two exponents, the lower first.

    Raises:
        ValueError: for what `ridge_risk` refuses, no penalty with N >= d, ``ends`` that do
            not rise, if every exponent between them does equally well (to 1e-12 of the
            error), or if the error is smallest at one of them: then the best exponent
            lies outside.
    """
    lam, energy = energies(lam, energy)
    n = validate.count("n", n)
    if not tuned:
        validate.number("n, without a penalty", n, high=len(lam) - 1)
    low, high = validate.array("ends", ends, (2,))
    validate.number("ends[1]", high, low, open_low=True)

    def error(p):
        if tuned:
            return tuned_ridge(lam, energy, p, n, noise).test
        return ridge_risk(lam, energy, p, n, 0.0, noise).test

    best = _lowest(error, (low, high), 1e-5, points=13, flat=1e-12)
    if min(best - low, high - best) < 1e-3 * (high - low):
        raise ValueError(
            f"ends = {ends}: must enclose the best exponent, found {best:.4g}"
        )
    return best


def _at_kappa(t, energy, n, kappa, noise):
    u = t / (t + kappa)
    left = kappa / (t + kappa)  # 1 - u, which would be rounding in strong modes
    # n - sum(u) and n - sum(u^2), exact where u is next to 1 and where it is next to 0
    strong = u > 0.5
    spare = n - strong.sum()
    lost, kept = left[strong], u[~strong]
    share = spare + lost.sum() - kept.sum()
    rest = spare + lost @ (2 - lost) - kept @ kept
    missed = energy @ left**2
    test = n * (missed + noise) / rest
    share /= n
    train = share**2 * test
    gamma = u @ u / n
    return RidgeRisk(*map(float, [test, train, kappa * share, gamma]))


def _lowest(loss, ends, accuracy, points=121, flat=-1.0):
    """Return where ``loss`` is lowest: the best of evenly spaced points, and every other
    that is below its neighbours, are refined between these, and the lowest is taken.

    Raises:
        ValueError: if the loss varies by no more than the share ``flat`` of itself.
    """
    grid = np.linspace(*ends, points)
    values = np.array([loss(v) for v in grid])
    if np.ptp(values) <= flat * max(values):
        raise ValueError("lam, energy: must not make every exponent do equally well")
    # by more than rounding, which makes minima of its own where the loss is flat
    sides = np.minimum(values[:-2], values[2:])
    below = np.flatnonzero(values[1:-1] * (1 + 1e-12) < sides) + 1
    lowest, place = np.inf, 0.0
    options = {"xatol": accuracy}
    for k in dict.fromkeys([values.argmin(), *below]):
        near = grid[max(k - 1, 0) : k + 2]
        bounds = near[0], near[-1]
        best = minimize_scalar(loss, bounds=bounds, method="bounded", options=options)
        if not best.success:
            raise RuntimeError(
                f"the minimum between {bounds} was not found: {best.message}"
            )
        if best.fun < lowest * (1 - 1e-9):
            lowest, place = best.fun, best.x
    return float(place)


def _modes(lam, energy, p):
    lam, energy = energies(lam, energy)
    return numerics.raised(lam, validate.number("p", p) + 1), energy


def energies(lam, energy, name: str = "lam") -> tuple[np.ndarray, np.ndarray]:
    """Return eigenvalues ``lam``, called ``name`` in the error, and ``energy``, (d,) each.

    Raises:
        ValueError: for eigenvalues that are not > 0, negative energies, or other shapes.
    """
    lam = validate.positive(name, lam)
    energy = validate.array("energy", energy, ("d",))
    if len(energy) != len(lam) or energy.min() < 0:
        raise ValueError(
            f"energy has {len(energy)} entries from {energy.min():g}: "
            f"must be {len(lam)}, none negative"
        )
    return lam, energy
