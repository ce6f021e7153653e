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

from fl import numerics, validate


def growth_rate(X, y, P) -> float:
    r"""Return :math:`\Gamma=2\max_{|u|=1}|h(u)|`, the escape rate of a ReLU network
    with biases.

    No neuron ever grows faster in the norm :math:`(|u|^2+a^2)^{1/2}`, and the one at
    the maximum grows at this rate. The maximum is searched for from both ends of every
    axis of :math:`u` and of :math:`\sum_i y_i\tilde x_i`, for either sign of a, by
    steps along :math:`\nabla h/|\nabla h|` and back to the sphere. They are small
    because :math:`h` is not convex when labels have both signs: the full step
    :math:`u\leftarrow\nabla h/|\nabla h|` cycles.

    Args:
        X: inputs (d, N).
        y: labels (N,).
        P: preconditioner of the first layer (d, d), positive semi-definite.

    Raises:
        ValueError: for a P that is not PSD, or shapes that do not fit.

    >>> X, y = np.array([[1.0, -1.0]]), np.array([1.0, -1.0])
    >>> round(growth_rate(X, y, np.eye(1)), 3)  # h = (relu(b + w) - relu(b - w))/2
    1.414
    """
    lifted, y = _lift(X, y, P)
    axes = np.vstack([np.eye(len(lifted)), lifted @ y])
    ends = _unit(np.vstack([axes, -axes]))
    u = np.vstack([ends, ends])
    sign = np.repeat([[1.0], [-1.0]], len(ends), axis=0)
    for _ in range(1500):
        active = u @ lifted > 0
        slope = (active * y) @ lifted.T
        step = 0.02 * _unit(sign * slope)
        u = _unit(u + step)
    h = np.maximum(u @ lifted, 0) @ y
    largest = np.abs(h).max()
    return 2 * float(largest) / len(y)


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
