r"""The ridge risk after a step of any size, given the stepped weights: a conditional
Gaussian equivalent; derived.

A giant step gives every neuron its own projection :math:`c_i` on the direction ``b`` of
X'y. Features then no longer act like Gaussian ones, but they do so given
:math:`u=\langle b,x\rangle`: their conditional moments enter a resolvent fixed point
with one unknown for every value of u. Student erf(v), teacher erf(tau v): the moments
are closed.
"""

import numpy as np
from scipy import special

from fl import validate


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
        noise: label noise inside ``e``, taken off the result.

    Raises:
        ValueError: for wrong shapes, or a penalty not > 0.
        RuntimeError: if the fixed point is not reached in 10,000 iterations.
    """
    C = validate.array("C", C, ("g", "N", "N"))
    groups, N = C.shape[:2]
    h, e = validate.array("h", h, (groups, N)), validate.array("e", e, (groups,))
    shares, n = validate.positive("shares", shares, (groups,)), validate.count("n", n)
    penalty = validate.number("penalty", penalty, 0, open_low=True)
    flat = C.reshape(groups, N * N)
    delta = np.zeros(groups)
    for _ in range(10_000):
        Q = np.linalg.inv(
            ((shares / (1 + delta)) @ flat).reshape(N, N) + penalty * np.eye(N)
        )
        previous, delta = delta, flat @ Q.ravel() / n
        if np.abs(delta - previous).max() <= 1e-10 * delta.max():
            break
    else:
        raise RuntimeError(
            "the fixed point of the resolvent was not reached in 10,000 iterations"
        )
    w = Q @ ((shares / (1 + delta)) @ h)
    bias = e - 2 * h @ w + (flat @ np.outer(w, w).ravel())
    QC = Q @ C
    traces = QC.reshape(groups, -1) @ QC.transpose(0, 2, 1).reshape(groups, -1).T
    errors = np.linalg.solve(
        np.eye(groups) - traces * shares / (n * (1 + delta) ** 2), bias
    )
    return float(shares @ errors - noise)


def plain_risk(
    W, beta, n: int, penalty: float, noise: float, tau: float = 3.0
) -> float:
    r"""Return the risk from the exact moments of the features of these weights, taken
    as Gaussian features.

    ``W`` (d, N), ``beta`` (d,). The moments are arcsines of the normalised inner
    products. Right while the step is of order one; too small for giant steps, where
    quadratic forms of the features depend on u.
    """
    W, beta = (
        validate.array("W", W, ("d", "N")),
        validate.array("beta", beta, (len(W),)),
    )
    q = np.sqrt(1 + 2 * (W**2).sum(axis=0))
    C = 2 / np.pi * np.arcsin(2 * (W.T @ W) / np.outer(q, q))
    top = 1 + 2 * tau**2
    h = 2 / np.pi * np.arcsin(2 * tau * (W.T @ beta) / (q * np.sqrt(top)))
    e = 2 / np.pi * np.arcsin((top - 1) / top) + noise
    return resolvent_risk(C[None], h[None], [e], [1.0], n, penalty, noise)


def conditional_risk(
    W,
    direction,
    beta,
    n: int,
    penalty: float,
    noise: float,
    tau: float = 3.0,
    points: int = 61,
) -> float:
    r"""Return the risk given the weights ``W`` (d, N), with Gaussian features given
    :math:`u=\langle b,x\rangle`.

    ``direction`` (d,) is b, of any length: X'y of the first step. The Gaussian law of u
    is put on ``points`` equal steps of [-4.5, 4.5]. Inside a group, features are linear
    in the rest of x plus independent noise that makes their variances exact.

    Raises:
        ValueError: for wrong shapes or a zero direction.
    """
    W, beta = (
        validate.array("W", W, ("d", "N")),
        validate.array("beta", beta, (len(W),)),
    )
    b = validate.array("direction", direction, (len(W),))
    if not b.any():
        raise ValueError("direction is zero: must have a non-zero entry")
    b = b / np.linalg.norm(b)
    u = np.linspace(-4.5, 4.5, validate.count("points", points, minimum=2))
    shares = np.exp(-(u**2) / 2)
    shares /= shares.sum()

    c = W.T @ b
    rest = W - np.outer(b, c)
    gram = rest.T @ rest
    mean, slope, square = _erf_moments(np.outer(u, c), np.sqrt(np.diag(gram)))
    C = (
        mean[:, :, None] * mean[:, None, :]
        + slope[:, :, None] * gram * slope[:, None, :]
    )
    index = np.arange(W.shape[1])
    C[:, index, index] = square

    rho = b @ beta
    f_mean, f_slope, f_square = _erf_moments(
        tau * rho * u, tau * np.sqrt(max(1 - rho**2, 0.0))
    )
    # E[s_i f*|u] = mean_i E f* + (slopes of both) times the covariance of w_i.x and
    # beta.x given u
    h = mean * f_mean[:, None] + slope * (rest.T @ beta) * tau * f_slope[:, None]
    return resolvent_risk(C, h, f_square + noise, shares, n, penalty, noise)


def _erf_moments(shift, scale) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the means of erf(v), erf'(v) and erf(v)^2 for v = shift + scale * z, z ~
    N(0, 1); shapes broadcast.
    """
    inner = shift / np.sqrt(1 + 2 * scale**2)
    mean = special.erf(inner)
    slope = 2 / np.sqrt(np.pi * (1 + 2 * scale**2)) * np.exp(-(inner**2))
    # erf(v) = 2 Phi(sqrt(2) v) - 1, and E Phi(.)^2 is Owen's T function
    square = 1 - 8 * special.owens_t(np.sqrt(2) * inner, 1 / np.sqrt(1 + 4 * scale**2))
    return mean, slope, square
