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

    >>> X, y = np.array([[1.0, -1.0]]), np.array([1.0, -1.0])  # h = (relu(b + w) - relu(b - w))/2, at most 1/sqrt(2)
    >>> round(growth_rate(X, y, np.eye(1)), 3)
    1.414
    """
    lifted, y = _lift(X, y, P)
    linear = lifted @ y
    axes = np.vstack(
        [
            np.eye(len(lifted)),
            linear / max(np.linalg.norm(linear), np.finfo(float).tiny),
        ]
    )
    u = np.vstack([axes, -axes, axes, -axes])
    sign = np.repeat([[1.0], [-1.0]], 2 * len(axes), axis=0)
    for _ in range(1500):
        ascent = sign * ((u @ lifted > 0) * y @ lifted.T)
        norm = np.linalg.norm(ascent, axis=1, keepdims=True)
        u = u + 0.02 * ascent / np.where(
            norm > 0, norm, 1.0
        )  # a neuron that sees no sample stays
        u /= np.linalg.norm(u, axis=1, keepdims=True)
    return 2 * float(np.abs(np.maximum(u @ lifted, 0) @ y).max()) / len(y)


def half_space_rate(x, y, power: float) -> float:
    r"""Return :math:`2\sqrt{\lambda^p q^2+q_0^2}` of a neuron that sees the half line x
    > 0 of one input.

    The growth rate of an exactly aligned neuron, :math:`q=\frac1N\sum
    y_ix_i1\{x_i>0\}`, if its bias did not move the half line; right only while
    :math:`|b|\ll|w|\,\mathrm{sd}(x)`. With the bias it is `growth_rate` of this one
    input.

    Args:
        x: the one input, in the direction that the neuron looks, (N,).
        y: labels (N,).
        power: :math:`\lambda^p`, the preconditioner on this input.
    """
    x, y = validate.array("x", x, ("N",)), validate.array("y", y, ("N",))
    power = validate.number("power", power, 0)
    q, q0 = np.mean(x * y * (x > 0)), np.mean(y * (x > 0))
    return 2 * float(np.sqrt(power * q**2 + q0**2))


def linear_growth_rate(X, y, P) -> float:
    r"""Return :math:`2\sqrt{g^\top Pg+\bar y^2}` with :math:`g=Xy/N`: the escape rate
    with linear activation.

    For a teacher on the eigenvector of :math:`\lambda_k`, g has length
    :math:`c_1\lambda_k|\beta|` and the rate is proportional to
    :math:`\lambda_k^{1+p/2}`, not to the :math:`\lambda_k^{1+p}` of a model linear in
    its weights.
    """
    lifted, y = _lift(X, y, P)
    return 2 * float(np.linalg.norm(lifted @ y)) / len(y)


def _lift(X, y, P):
    X, y = validate.array("X", X, ("d", "N")), validate.array("y", y, ("N",))
    if X.shape[1] != len(y):
        raise ValueError(
            f"y has {len(y)} entries: must have one for each of the {X.shape[1]} columns of X"
        )
    root = numerics.psd_power(validate.psd("P", P), 0.5)
    if len(root) != len(X):
        raise ValueError(
            f"P has shape {root.shape}: must be ({len(X)}, {len(X)}), as X has {len(X)} rows"
        )
    return np.vstack([root @ X, np.ones(len(y))]), y
