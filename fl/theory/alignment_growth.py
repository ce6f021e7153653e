r"""How fast a tiny network escapes from zero, and which direction it takes along.

The network is :math:`\sum_j a_j\,\sigma(w_j^\top x+b_j)`, its loss the mean square.
While the output is negligible every neuron sees only the labels: with
:math:`g=\frac1N\sum_i y_i x_i\,1\{w^\top x_i+b>0\}` and :math:`q_0=\frac1N\sum_i
y_i\,1\{w^\top x_i+b>0\}` the flow is

.. math:: \dot w=2a\,Pg,\qquad \dot b=2a\,q_0,\qquad \dot a=2\,(g^\top w+q_0b).

In the coordinates :math:`u=(P^{-1/2}w,\,b)`, :math:`\tilde x=(P^{1/2}x,\,1)` it reads
:math:`\dot u=2a\nabla h`, :math:`\dot a=2h` with :math:`h(u)=\frac1N\sum_i
y_i\,\sigma(u^\top\tilde x_i)`: neurons climb :math:`h` if a > 0 and descend it if a <
0, and one that sits at a critical point of :math:`h` on the unit sphere grows like
:math:`e^{2|h|t}`. Derived in chapter "alignment".
"""

import numpy as np
from scipy.special import ndtri

from fl import numerics, validate

DIRECTIONS = 512  # from which the maximum is searched for, besides the samples


def growth_rate(X, y, P) -> float:
    r"""Return :math:`\Gamma=2\max_{|u|=1}|h(u)|`, the escape rate of a ReLU network
    with biases.

    No neuron ever grows faster in the norm :math:`(|u|^2+a^2)^{1/2}`, and the one at
    the maximum grows at this rate. :math:`h` is not convex when labels have both signs
    and has many maxima, so the largest is searched for, for either sign of a, from
    `DIRECTIONS` that cover the sphere evenly, both ends of every axis and of every
    sample, by shrinking steps along :math:`\nabla h/|\nabla h|` and back to the sphere.
    What is found is a lower bound. For one or two inputs the directions are dense; in
    more dimensions a narrow maximum may be missed.

    Args:
        X: inputs (d, N).
        y: labels (N,).
        P: preconditioner of the first layer (d, d), positive semi-definite.

    Raises:
        ValueError: for a P that is not PSD, or shapes that do not fit.
        RuntimeError: if the largest value found still moves in the last steps.

    >>> X, y = np.array([[1.0, -1.0]]), np.array([1.0, -1.0])
    >>> round(growth_rate(X, y, np.eye(1)), 3)  # h = (relu(b + w) - relu(b - w))/2
    1.414
    """
    lifted, y = _lift(X, y, P)
    ends = _directions(lifted, y)
    u = np.vstack([ends, ends])
    sign = np.repeat([1.0, -1.0], len(ends))
    far = 0.3 * 0.93 ** np.arange(40)
    near = 0.01 * 0.97 ** np.arange(200)
    last = 2e-5 * 0.9 ** np.arange(50)
    u, h = _climb(u, sign, lifted, y, far)
    kept = np.argsort(h)[-128:]  # the others will not catch up
    u, sign = u[kept], sign[kept]
    u, early = _climb(u, sign, lifted, y, near)
    _, late = _climb(u, sign, lifted, y, last)
    best = late.max()
    if best > early.max() * (1 + 1e-4):
        raise RuntimeError(f"growth_rate: {best:g} has not settled, {early.max():g}")
    return 2 * float(best) / len(y)


def linear_growth_rate(X, y, P) -> float:
    r"""Return :math:`2\sqrt{g^\top Pg+\bar y^2}` with :math:`g=Xy/N`: the escape rate
    with linear activation.

    For a teacher on the eigenvector of :math:`\lambda_k`, g has length
    :math:`c_1\lambda_k|\beta|` and the rate is proportional to
    :math:`\lambda_k^{1+p/2}`, not to the :math:`\lambda_k^{1+p}` of a model linear in
    its weights. With labels ``y * (X[k] > 0)`` it is the rate of a ReLU neuron whose
    half space :math:`x_k>0` is frozen; right only while
    :math:`|b|\ll|w|\,\mathrm{sd}(x)`.

    ``X``, ``y`` and ``P`` are those of `growth_rate`.

    Raises:
        ValueError: for a P that is not PSD, or shapes that do not fit.
    """
    lifted, y = _lift(X, y, P)
    length = np.linalg.norm(lifted @ y)
    return 2 * float(length) / len(y)


def _directions(lifted, y):
    """Return where the search starts, unit rows."""
    k = len(lifted)
    root = 1.5
    for _ in range(60):
        root = (1 + root) ** (1 / (k + 1))
    # multiples of the powers of this root's inverse fill the cube evenly
    powers = root ** -np.arange(1.0, k + 1)
    multiples = np.outer(np.arange(1, DIRECTIONS + 1), powers)
    spread = ndtri(multiples % 1)
    axes = np.eye(k)
    total = lifted @ y
    ends = np.vstack([axes, total, lifted.T])
    starts = np.vstack([spread, ends, -ends])
    return _unit(starts)


def _climb(u, sign, lifted, y, steps):
    """Return the best place that each row of ``u`` passes, and the height there."""
    best, height = u, np.full(len(u), -np.inf)
    for step in steps:
        Z = u @ lifted
        active = np.maximum(Z, 0)
        h = sign * (active @ y)
        higher = h > height
        height = np.where(higher, h, height)
        best = np.where(higher[:, None], u, best)
        seen = (Z > 0) * y
        slope = seen @ lifted.T
        uphill = _unit(sign[:, None] * slope)
        u = _unit(u + step * uphill)
    return best, height


def _unit(rows):
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    norms[norms == 0] = 1.0  # a row of zeros stays
    return rows / norms


def _lift(X, y, P):
    X = validate.array("X", X, ("d", "N"))
    y = validate.array("y", y, ("N",))
    d, n = X.shape
    if len(y) != n:
        raise ValueError(
            f"y has {len(y)} entries: must have one for each of the {n} columns of X"
        )
    root = numerics.psd_power(validate.psd("P", P), 0.5)
    if len(root) != d:
        raise ValueError(
            f"P has shape {root.shape}: must be ({d}, {d}), as X has {d} rows"
        )
    return np.vstack([root @ X, np.ones(n)]), y
