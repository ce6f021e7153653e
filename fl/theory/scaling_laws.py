r"""Exponents of a linear student in time, samples, compute and model size.

Inputs have :math:`\lambda_r=r^{-a}`, the signal :math:`e_r=r^{-b}`, the preconditioner
is :math:`\Sigma^p`: speeds :math:`t_r=r^{-q}` with :math:`q=a(p+1)`. Labels have no
noise, and a step of size :math:`\eta` on the mean square lasts :math:`\eta` in the time
T. Derived in chapter "scaling_laws".
"""

import numpy as np
from scipy.optimize import minimize_scalar

from fl import validate
from fl.theory.alignment_laws import (
    flow_power_law,
    interpolation_correction,
    interpolation_power_law,
)
from fl.theory.alignment_ridge import energies, implicit_ridge
from fl.theory.help_or_hurt_stopping import complex_ridge, contour, flow_risk

VARIABLES = ("time", "samples", "path", "compute", "width")
RATIO = 20  # modes to a sample, one by one
WORST = 0.06  # relative; a curve that is further from its limit is refused


def exponent(
    variable: str, a: float, b: float, p: float, zeta: float | None = None
) -> float:
    r"""Return the exponent :math:`\alpha>0` of the risk in one variable.

    ``time`` with infinitely many samples, :math:`(b-1)/q`; ``samples`` trained to the
    end, :math:`b-1`; along the ``path`` :math:`T=N^\zeta`,
    :math:`(b-1)\min(1,\zeta/q)`; ``compute``, the product NT at its best split,
    :math:`(b-1)/(1+q)`; ``width`` of random features, trained to the end on the
    population, :math:`b-1`.

    Args:
        variable: one of `VARIABLES`.
        a: decay of the eigenvalues, > 0.
        b: decay of the energies, between 1 and 2q + 1; for the width a + 1, and
            a > 1: one resolvent cannot fall faster than its own ridge.
        p: exponent of the preconditioner, with a(p + 1) > 1.
        zeta: of the path, > 0; no other variable has one.

    Raises:
        ValueError: for an unknown variable, exponents outside these limits, or a zeta
            where there is no path, or none where there is one.

    >>> [round(exponent(v, 2.0, 2.0, 0.5), 3) for v in ("time", "samples", "compute")]
    [0.333, 1.0, 0.25]
    >>> exponent("path", 2.0, 2.0, 0.5, zeta=1.5)
    0.5
    """
    validate.choice("variable", variable, VARIABLES)
    q = speed_decay(a, b, p)
    if variable == "width" and not (a > 1 and b < a + 1):
        raise ValueError(f"b = {b!r}: must be < a + 1 = {a + 1:g}, and a > 1")
    if variable != "path" and zeta is not None:
        raise ValueError(f"zeta = {zeta!r}: a path has one, {variable} does not")
    share = {"time": 1 / q, "compute": 1 / (1 + q)}.get(variable, 1.0)
    if variable == "path":
        zeta = validate.number("zeta", zeta, 0, open_low=True)
        share = min(1.0, zeta / q)
    return (b - 1) * share


def speed_decay(a: float, b: float, p: float) -> float:
    """Return q = a(p + 1), for the exponent ``p`` of the preconditioner.

    Raises:
        ValueError: unless ``a`` > 0, q > 1 and 1 < ``b`` < 2q + 1.
    """
    a = validate.number("a", a, 0, open_low=True)
    q = a * (validate.number("p", p) + 1)
    if q <= 1:
        raise ValueError(f"p = {p!r}: must be above 1/a - 1 = {1 / a - 1:g}")
    interpolation_power_law(q, b, 1)  # refuses what b may not be
    return q


def two_laws(q: float, b: float, n, time) -> np.ndarray:
    r"""Return the law in time and the law in samples, joined:

    .. math:: \sqrt{\Bigl[\frac{\Gamma(s)}q(4T)^{-s}\Bigr]^2+
              \bigl[C(q)\,N^{-(b-1)}\bigr]^2},\qquad s=\frac{b-1}q.

    It is right at both ends, and between them a rule of thumb.

    Args:
        q: decay of the speeds, > 1.
        b: decay of the energies, between 1 and 2q + 1.
        n: numbers N of samples, > 0, of the shape of ``time``, or one for all.
        time: T > 0, of any shape.

    Raises:
        ValueError: for exponents outside these limits, numbers or times not > 0, or
            shapes that do not fit.

    >>> float(two_laws(2.0, 2.0, 100.0, 1e12).round(5))  # (pi/2)^2/100
    0.02467
    """
    constant, _ = interpolation_power_law(q, b, 1)
    (first,) = flow_power_law(q, b, [0.5])
    time = validate.positive("time", time, np.shape(time))
    n = validate.positive("n", n, np.shape(n) and time.shape)  # one number has ()
    s = (b - 1) / q
    early = first * np.power(4.0 * time, -s)
    late = constant * np.power(n, 1 - b)
    return np.hypot(early, late)


def shape(q: float, b: float, x, n: int = 100) -> np.ndarray:
    r"""Return :math:`\Phi(x)`: the one curve on which the risks of all N and T lie,

    .. math:: R(N,T)\approx N^{-(b-1)}\,\Phi(x),\qquad x=\frac{(4T)^{1/q}}N.

    Read from `flow_risk` at ``n`` samples of 20 ``n`` modes and, for all those beyond,
    four times as many equal ones with the same sums of speeds and of energies: for q
    near 1 they act like a ridge, for b near 1 like label noise.

    Args:
        q: decay of the speeds, > 1.
        b: decay of the energies, between 1 and 2q + 1.
        x: values (k,) from 2/``n`` on; below, no mode is learned and the risk is flat.
        n: number of samples. The curve is that of all large ones to about b/2n, and to
            what the first modes leave where b is near 2q + 1: together at most 6 %. Below
            x = 5/``n`` the few modes that are learned leave up to 3 % more for b <= 2, and
            30 % for b = q + 1 = 7.

    Raises:
        ValueError: for exponents outside these limits or whose corrections at ``n``
            samples are larger than 6 %, or an x below 2/``n``.
    """
    _, half, first, _ = interpolation_correction(q, b, n, n)[0]
    off = f"the correction of b = {b!r} at n = {n}"
    validate.number(off, half + first, -WORST, WORST)
    x = validate.array("x", x, ("k",))
    validate.number("x", x.min(), 2 / n)
    d = RATIO * n
    r = np.arange(1, d + 1.0)

    def modes(decay):
        beyond = (d + 0.5) ** (1 - decay) / (decay - 1)
        equal = np.ones(4 * d)
        equal *= beyond / (4 * d)
        return np.append(r**-decay, equal)

    times = (x * n) ** q / 4
    speeds = modes(q)
    energy = modes(b)
    risk = flow_risk(speeds, energy, n, 0.0, times)
    return risk * n ** (b - 1)


def best_split(q: float, b: float) -> float:
    r"""Return the x at which a budget K = NT of compute is spent best: the minimum of
    :math:`x^{q(b-1)/(1+q)}\Phi(x)`, where :math:`R\propto K^{-(b-1)/(1+q)}`.

    ``q`` and ``b`` are those of `shape`; x comes out to about 6 %.

    Raises:
        ValueError: for exponents that `shape` refuses.
        RuntimeError: if the search ends at its border, 0.02 or 20, as for b near 1.
    """
    power = q * (b - 1) / (1 + q)

    def cost(log_x):
        (height,) = shape(q, b, [np.exp(log_x)])
        return np.log(height) + power * log_x

    grid = np.linspace(-3.9, 3, 14)
    costs = [cost(v) for v in grid]
    k = int(np.argmin(costs))
    if k in (0, len(grid) - 1):
        raise RuntimeError(f"best_split: ended at x = {np.exp(grid[k]):g}")
    ends = grid[k - 1], grid[k + 1]
    best = minimize_scalar(cost, bounds=ends, method="bounded")
    if not best.success:
        raise RuntimeError(f"best_split: {best.message}")
    return float(np.exp(best.x))


def feature_risk(lam, energy, width: int, times) -> np.ndarray:
    r"""Return the expected risk of gradient flow on the read-out of random Gaussian
    features of the inputs, on the population.

    With M features the risk is :math:`\sum_jc_j\sum_re_r\kappa_j/(\lambda_r+\kappa_j)`
    over the contour of :math:`e^{-4T\hat T}`, M in the place of N.

    Args:
        lam: eigenvalues (d,).
        energy: energies (d,).
        width: number M of features, below d.
        times: T > 0, (k,), or ``inf`` for the end.

    Returns:
        shape (k,).

    Raises:
        ValueError: for eigenvalues or times that are not > 0, negative energies, or
            sizes that do not fit.

    >>> feature_risk([1.0, 1.0], [1.0, 1.0], 1, [1e-9, np.inf]).round(6).tolist()
    [2.0, 1.0]
    """
    lam, energy = energies(lam, energy)
    width = validate.count("width", width)
    validate.number("width", width, 1, len(lam) - 1)
    times = np.asarray(times, float)
    if not (np.ndim(times) == 1 and (times > 0).all()):
        raise ValueError(f"times = {times}: must be (k,), and all > 0")
    nodes, weights = contour()

    def missed(kappa):
        shares = kappa / (lam + kappa)
        return shares @ energy

    def risk(time):
        if time == np.inf:
            kappa = implicit_ridge(lam, width, 0.0)
            return missed(kappa)
        # e^(-4Tc) is the contour of e^(-2Tc) at twice the time
        (kappa,) = complex_ridge(lam, width, [2 * time])
        mixed = weights / nodes @ missed(kappa[:, None])
        return mixed.real

    return np.array([risk(time) for time in times])
