r"""The ridge risk after a step of any size, given the stepped weights: a conditional
Gaussian equivalent; derived.

A giant step gives every neuron its own projection :math:`c_i` on the direction ``b`` of
X'y. Features then no longer act like Gaussian ones, but they do so given
:math:`u=\langle b,x\rangle`: their conditional moments enter a resolvent fixed point
with one unknown for every value of u. The moments are closed for links erf and ReLU.
"""

import numpy as np
import xarray as xr
from scipy import special

from fl import validate
from fl.links import LINKS

POINTS, FARTHEST = 61, 4.5  # values of u, on equal steps


def resolvent_risk(C, h, e, shares, n: int, penalty: float, noise: float) -> float:
    r"""Return the risk of ridge on features with second moments that depend on a
    label-free group of the input.

    Group g has the share ``shares[g]`` and the means ``C[g]`` of s s', ``h[g]`` of s y
    and ``e[g]`` of y^2. With :math:`Q=(\sum_g\pi_gC_g/(1+\delta_g)+\lambda)^{-1}`,
    :math:`\delta_g=\operatorname{tr}(C_gQ)/n` and :math:`\bar
    w=Q\sum_g\pi_gh_g/(1+\delta_g)`, the error of group g solves

    .. math:: R_g=e_g-2h_g^\top\bar w+\bar w^\top C_g\bar w
              +\sum_k\pi_k\frac{\operatorname{tr}(QC_gQC_k)}{n(1+\delta_k)^2}R_k .

    Args:
        C: (g, N, N).
        h: (g, N).
        e: (g,).
        shares: (g,), summing to 1.
        n: number of samples.
        penalty: lambda > 0.
        noise: variance of the label noise inside ``e``, taken off the result.

    Raises:
        ValueError: for wrong shapes, shares that are negative or do not sum to 1, a
            negative noise, or a penalty not > 0.
        RuntimeError: if the fixed point is not reached in 10,000 iterations.
    """
    C = validate.array("C", C, ("g", "N", "N"))
    h = validate.array("h", h, C.shape[:2])
    e = validate.array("e", e, (len(C),))
    shares = validate.array("shares", shares, e.shape)
    noise = validate.number("noise", noise, 0)
    total = shares.sum()
    if shares.min() < 0 or abs(total - 1) > 1e-9:
        raise ValueError(
            f"shares has smallest entry {shares.min():g} and sum {total:g}: "
            "must be >= 0 and sum to 1"
        )
    Q, delta = _fixed_point(C, shares, n, penalty)
    damped = shares / (1 + delta)
    w = Q @ (damped @ h)
    fitted = C @ w @ w
    bias = e - 2 * (h @ w) + fitted
    QC = Q @ C
    traces = np.einsum("gij,kji->gk", QC, QC, optimize=True)
    spread = traces * damped / (n * (1 + delta))
    system = np.eye(len(C)) - spread
    errors = np.linalg.solve(system, bias)
    return float(shares @ errors - noise)


def _fixed_point(C, shares, n: int, penalty: float) -> tuple:
    """Return ``Q`` (N, N) and ``delta`` (g,) of `resolvent_risk`."""
    n = validate.count("n", n)
    penalty = validate.number("penalty", penalty, 0, open_low=True)
    ridge = penalty * np.eye(C.shape[1])
    delta = np.zeros(len(C))
    for _ in range(10_000):
        mean = np.tensordot(shares / (1 + delta), C, 1)
        Q = np.linalg.inv(mean + ridge)
        previous = delta
        delta = np.tensordot(C, Q, 2) / n
        change = np.abs(delta - previous).max()
        if change <= 1e-10 * delta.max():
            return Q, delta
    raise RuntimeError(
        "the fixed point of the resolvent was not reached in 10,000 iterations"
    )


def conditional_risk(
    W,
    direction,
    beta,
    n: int,
    penalty: float,
    noise: float,
    student: tuple = ("erf", 1.0),
    teacher: tuple = ("erf", 3.0),
) -> float:
    r"""Return the risk given the weights ``W``, with Gaussian features given
    :math:`u=\langle b,x\rangle`.

    The Gaussian law of u is put on `POINTS` equal steps. Inside a group, features are
    linear in the rest of x plus independent noise that makes their variances exact.

    Args:
        W: (d, N), one neuron a column.
        direction: (d,), b of any length: X'y of the first step.
        beta: (d,), the teacher's unit vector.
        n: number of samples.
        penalty: lambda > 0.
        noise: variance of the label noise.
        student: link ``(name, tau)``, u -> f(tau u), then centred; erf or relu.
        teacher: the same.

    Raises:
        ValueError: for wrong shapes, a zero direction, a ``beta`` of another length, a
            negative noise, a penalty not > 0, or another link.
    """
    W = validate.array("W", W, ("d", "N"))
    beta = validate.array("beta", beta, (len(W),))
    noise = validate.number("noise", noise, 0)
    length = np.linalg.norm(beta)
    if abs(length - 1) > 1e-6:
        raise ValueError(f"beta has length {length:g}: must be 1")
    b = validate.array("direction", direction, (len(W),))
    if not b.any():
        raise ValueError("direction is zero: must have a non-zero entry")
    b = b / np.linalg.norm(b)
    u = np.linspace(-FARTHEST, FARTHEST, POINTS)[:, None]
    density = np.exp(-(u[:, 0] ** 2) / 2)
    shares = density / density.sum()
    c = W.T @ b
    along = np.outer(b, c)
    rest = W - along
    gram = rest.T @ rest
    lengths = np.sqrt(np.diag(gram))
    mean, slope, square = _moments("student", student, u * c, lengths)
    C = np.einsum("gi,gj->gij", mean, mean)
    C += np.einsum("gi,ij,gj->gij", slope, gram, slope)
    np.einsum("gii->gi", C)[:] = square

    rho = b @ beta
    hidden = np.sqrt(max(1 - rho**2, 0.0))
    f_mean, f_slope, f_square = _moments("teacher", teacher, rho * u, hidden)
    # E[s_i f*|u] = mean_i E f* + (slopes of both) times the covariance of w_i.x and
    # beta.x given u
    shared = rest.T @ beta
    h = mean * f_mean
    h += slope * shared * f_slope
    e = f_square[:, 0] + noise
    return resolvent_risk(C, h, e, shares, n, penalty, noise)


def predicted(run: xr.Dataset) -> xr.DataArray:
    """Return `conditional_risk` for every first layer of a run.

    ``run`` holds the weights ``W`` (seed, input, neuron), the directions ``signal`` and
    ``beta`` (seed, input) and the number of samples ``n``, and as attributes
    ``penalty``, the variance ``noise`` and, if they are not those of `conditional_risk`,
    the links ``student`` and ``teacher``.
    """
    layers = zip(
        run.W.values,
        run.signal.values,
        run.beta.values,
        strict=True,
    )
    sizes = run.attrs
    links = {name: sizes[name] for name in ("student", "teacher") if name in sizes}
    n = int(run.n)
    problem = n, sizes["penalty"], sizes["noise"]
    risks = [conditional_risk(*layer, *problem, **links) for layer in layers]
    return xr.DataArray(risks, dims="seed")


def _moments(role: str, link: tuple, shift, scale) -> tuple:
    """Return the means of f(v), of its slope in v and of f(v)^2 for the centred link
    f = ``(name, tau)`` and v = shift + scale * z, z ~ N(0, 1); shapes broadcast.
    """
    name, tau = link
    closed = {"erf": _erf_moments, "relu": _relu_moments}
    validate.choice(role, name, closed)
    moments = closed[name]
    mean, slope, square = moments(tau * shift, tau * scale)
    level, _, _ = LINKS[name].moments(tau)
    square = square - level * (2 * mean - level)
    return mean - level, tau * slope, square


def _erf_moments(shift, scale) -> tuple:
    """Return the means of erf(v), erf'(v) and erf(v)^2 for v = shift + scale * z, z ~
    N(0, 1); shapes broadcast.
    """
    variance = scale**2
    spread = np.sqrt(1 + 2 * variance)
    inner = shift / spread
    mean = special.erf(inner)
    height = 2 / np.sqrt(np.pi)
    slope = height * np.exp(-(inner**2)) / spread
    # erf(v) = 2 Phi(sqrt(2) v) - 1, and E Phi(.)^2 is Owen's T function
    angle = 1 / np.sqrt(1 + 4 * variance)
    tail = special.owens_t(np.sqrt(2) * inner, angle)
    return mean, slope, 1 - 8 * tail


def _relu_moments(shift, scale) -> tuple:
    """Return what `_erf_moments` does, for the ReLU."""
    far = shift / np.maximum(scale, 1e-100)  # one sharp edge where nothing is random
    above = special.ndtr(far)
    bump = np.exp(-(far**2) / 2)
    bump *= scale / np.sqrt(2 * np.pi)
    mean = shift * above + bump
    square = shift * mean + scale**2 * above
    return mean, above, square
