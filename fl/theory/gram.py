r"""Training seen from the Gram matrix: the recursion that never looks at the data.

The first layer is :math:`Z = WX + b\mathbf 1^\top` and moves by :math:`W \leftarrow W -
\eta\,(DX^\top)P_t`; the later layers ``theta`` are a list of pairs (weights, biases).
Multiplying the update by ``X`` gives, derived in chapter gram,

.. math:: Z_{t+1} = Z_t - \eta\,D_t G_t, \qquad G_t = X^\top P_t X,

where :math:`D_t = \partial\,\mathrm{loss}/\partial Z` is a function of :math:`(Z_t,
\theta_t, Y)` alone.

Letters: ``N`` samples, ``M`` test inputs, ``d`` inputs, ``h`` neurons, ``k`` outputs;
``X`` is (d, N), ``Z`` is (h, N), ``Y`` is (k, N), ``G`` is (N, N), the cross-Gram ``C``
:math:`= X^\top P x` is (N, M). The loss is the mean over samples of the squared error.
"""

from typing import NamedTuple

import numpy as np

from fl import validate

# each activation with its slope
ACTIVATIONS = {
    "relu": (lambda Z: np.maximum(Z, 0.0), lambda Z: (Z > 0).astype(float)),
    "tanh": (np.tanh, lambda Z: 1 - np.tanh(Z) ** 2),
}


class Run(NamedTuple):
    """Recorded steps (T,), loss (T,), first-layer pre-activations ``Z`` (T, h, N) and
    ``z`` (T, h, M), and the final outputs on the training inputs (k, N) and on the test
    inputs (k, M).
    """

    steps: np.ndarray
    loss: np.ndarray
    Z: np.ndarray
    z: np.ndarray
    outputs: np.ndarray
    test_outputs: np.ndarray


def gram(X, P, x=None) -> np.ndarray:
    r"""Return :math:`X^\top P X`, shape (N, N), or with test inputs ``x`` (d, M) the
    cross-Gram :math:`X^\top P x`.

    ``P`` (d, d) may be a stack of matrices in time, (T, d, d); then so is the result.

    >>> gram([[1.0, 0.0], [0.0, 2.0]], [[4.0, 0.0], [0.0, 1.0]]).tolist()
    [[4.0, 0.0], [0.0, 4.0]]
    """
    X = validate.array("X", X, ("d", "N"))
    P = validate.array(
        "P", P, ("T", len(X), len(X)) if np.ndim(P) == 3 else (len(X), len(X))
    )
    return X.T @ P @ (X if x is None else validate.array("x", x, (len(X), "M")))


def outputs(Z, theta, activation: str = "tanh") -> np.ndarray:
    """Return the network's outputs (k, N) from the first layer's pre-activations ``Z``
    (h, N).
    """
    return _forward(Z, theta, activation)[0]


def gradients(Z, theta, Y, activation: str = "tanh") -> tuple[float, np.ndarray, list]:
    r"""Return the loss, :math:`D = \partial\,\mathrm{loss}/\partial Z` (h, N), and the
    gradients of ``theta``.

    .. math:: D = \bigl(A_2^\top\cdots\bigr)\odot\phi'(Z), \qquad \mathrm{loss} = \tfrac1N\sum_i |f_i - y_i|^2.

    >>> loss, D, _ = gradients(np.array([[2.0]]), [(np.array([[3.0]]), np.zeros(1))], np.array([[1.0]]), "relu")
    >>> loss, D.item()  # f = 6, so the loss is 25 and D = 2 (6 - 1) 3
    (25.0, 30.0)
    """
    f, inputs, slopes = _forward(Z, theta, activation)
    delta = 2 * (f - Y) / Z.shape[1]
    found = []
    for (A, _), H, slope in zip(
        reversed(theta), reversed(inputs), reversed(slopes), strict=True
    ):
        found.append((delta @ H.T, delta.sum(1)))
        delta = (A.T @ delta) * slope
    return float(((f - Y) ** 2).sum() / Z.shape[1]), delta, found[::-1]


def train(
    Z0,
    theta0,
    Y,
    G,
    *,
    steps: int,
    rate: float,
    z0=None,
    C=None,
    activation: str = "tanh",
    bias_rate: float = 0.0,
    momentum: float = 0.0,
    memory: str = "gradients",
    left: float | None = None,
    decay: float = 0.0,
    decay_matrix=None,
    batches=None,
    every: int = 1,
) -> Run:
    r"""Train from the Gram matrices alone: no input, no first-layer weight is ever
    seen.

    All columns :math:`S = [Z \mid z \mid b]` obey one rule, :math:`K_t = [G_t \mid C_t
    \mid 0] + \eta_b/\eta`,

    .. math:: S \leftarrow S - \eta k\,(S - b\mathbf 1^\top) - \eta\,Q_t D_t K_t,

    because the bias is the pre-activation of the test input 0. Derived in chapter gram.

    Args:
        Z0: initial pre-activations :math:`W_0X`, (h, N).
        theta0: later layers, a list of pairs of weights (m, n) and biases (m,).
        Y: labels, (N,) or (k, N).
        G: Gram matrix :math:`X^\top P X`, (N, N), or one per step, (steps, N, N).
        steps: number of updates.
        rate: learning rate :math:`\eta` of all weights.
        z0: initial pre-activations of test inputs, (h, M); needs ``C``.
        C: cross-Gram :math:`X^\top P x`, (N, M) or (steps, N, M).
        activation: ``relu`` or ``tanh``.
        bias_rate: learning rate :math:`\eta_b` of the first layer's bias, which starts
            at 0.
        momentum: heavy-ball factor :math:`\mu` in [0, 1), for every layer.
        memory: whether the first layer's buffer holds raw ``gradients`` or
            preconditioned ``steps``.
        left: damping :math:`\delta` of the left factor :math:`Q_t = (nD_tD_t^\top +
            \delta I)^{-1}` (``n`` the batch size; the output factor of K-FAC), or None
            for none.
        decay: decoupled weight decay ``k`` of ``W`` (not of the bias).
        decay_matrix: the (N, N) matrix ``A`` with :math:`WPX = (WX)A` if the decay is
            coupled and there is one; the identity if None. Only without test inputs.
        batches: indices of the samples used, (steps, n); all samples in each step if
            None.
        every: record every that many steps, and the last.

    Returns:
        The recorded trajectory.

    Raises:
        ValueError: for an argument out of range or of the wrong shape.
    """
    Z0 = validate.array("Z0", Z0, ("h", "N"))
    h, N = Z0.shape
    steps, every = validate.count("steps", steps), validate.count("every", every)
    rate = validate.number("rate", rate, 0, open_low=True)
    bias_rate, decay = (
        validate.number("bias_rate", bias_rate, 0),
        validate.number("decay", decay, 0),
    )
    momentum = validate.number("momentum", momentum, 0, 1 - 1e-9)
    validate.choice("memory", memory, ["gradients", "steps"])
    validate.choice("activation", activation, ACTIVATIONS)
    if (z0 is None) != (C is None) or (decay_matrix is not None and C is not None):
        raise ValueError("z0, C: give both or none, and none with a decay_matrix")
    Y = validate.array("Y", np.atleast_2d(Y), ("k", N))
    z0 = np.zeros((h, 0)) if z0 is None else validate.array("z0", z0, (h, "M"))
    K = (
        _kernels(G, np.zeros((N, 0)) if C is None else C, N, z0.shape[1], steps)
        + bias_rate / rate
    )
    A = (
        None
        if decay_matrix is None
        else validate.array("decay_matrix", decay_matrix, (N, N))
    )

    S = np.hstack([Z0, z0, np.zeros((h, 1))])
    theta = [(np.array(A), np.array(c)) for A, c in theta0]
    raw, moved, buffers = (
        np.zeros((h, N)),
        np.zeros_like(S),
        [(0.0, 0.0) for _ in theta],
    )
    kept, path, losses = [], [], []
    for t in range(steps + 1):
        if t % every == 0 or t == steps:
            kept.append(t)
            path.append(S[:, :-1].copy())
            losses.append(gradients(S[:, :N], theta, Y, activation)[0])
        if t == steps:
            break
        batch = np.arange(N) if batches is None else batches[t]
        D = np.zeros((h, N))
        _, D[:, batch], found = gradients(S[:, batch], theta, Y[:, batch], activation)
        if left is not None:
            D = np.linalg.solve(len(batch) * D @ D.T + left * np.eye(h), D)
        raw, moved = momentum * raw + D, momentum * moved + D @ K[t]
        weights = S - S[:, -1:]  # the bias does not decay
        if A is not None:
            weights[:, :N] = weights[:, :N] @ A
        S = (
            S
            - rate * decay * weights
            - rate * (raw @ K[t] if memory == "gradients" else moved)
        )
        buffers = [
            (momentum * V + A, momentum * v + c)
            for (V, v), (A, c) in zip(buffers, found, strict=True)
        ]
        theta = [
            (A - rate * V, c - rate * v)
            for (A, c), (V, v) in zip(theta, buffers, strict=True)
        ]
    path = np.array(path)
    final = outputs(path[-1], theta, activation)
    return Run(
        np.array(kept),
        np.array(losses),
        path[..., :N],
        path[..., N:],
        final[:, :N],
        final[:, N:],
    )


def spectrum(singular_values, p: float) -> np.ndarray:
    r"""Return the eigenvalues :math:`s_r^{2(p+1)}` of :math:`G_P/N` for :math:`P =
    \hat\Sigma^p`, falling; (r,).

    ``singular_values`` are those of :math:`X/\sqrt N`; zeros stay zero for every ``p``
    (pseudo-inverse). [YN25] spectral decomposition.

    >>> spectrum([2.0, 1.0, 0.0], -1).tolist()
    [1.0, 1.0, 0.0]
    """
    s = validate.array("singular_values", singular_values, ("r",))
    p = validate.number("p", p)
    kept = (
        s > 1e-6 * s.max()
    )  # psd_power drops eigenvalues s^2 below 1e-12 of the largest
    values = np.zeros_like(s)
    values[kept] = s[kept] ** (2 * (p + 1))
    return np.sort(values)[::-1]


def initial_moment(G, h: int) -> tuple[float, float]:
    r"""Return mean and standard deviation of :math:`\overline{Z_0^2}` over P-isotropic
    initialisations.

    With rows :math:`w_j\sim N(0, P)` the mean over the h x N entries has expectation
    :math:`\operatorname{tr}G/N` and variance :math:`2\operatorname{tr}G^2/(hN^2)`: a
    law that sees ``X`` only through ``G``. Derived in chapter gram.
    """
    G, h = validate.psd("G", G), validate.count("h", h)
    return float(np.trace(G) / len(G)), float(np.sqrt(2 * (G**2).sum() / h) / len(G))


def _forward(Z, theta, activation):
    phi, slope = ACTIVATIONS[activation]
    inputs, slopes = [], []
    for A, c in theta:
        inputs.append(phi(Z))
        slopes.append(slope(Z))
        Z = A @ inputs[-1] + c[:, None]
    return Z, inputs, slopes


def _kernels(G, C, N, M, steps) -> np.ndarray:
    """Return [G | C | 0] for each step, (steps, N, N + M + 1)."""
    shape = ((steps,) if np.ndim(G) == 3 else ()) + (N,)
    G = np.broadcast_to(validate.array("G", G, (*shape, N)), (steps, N, N))
    C = np.asarray(C, dtype=float)
    if C.shape not in [(N, M), (steps, N, M)] or not np.isfinite(C).all():
        raise ValueError(
            f"C has shape {C.shape}: must be finite, ({N}, {M}) or ({steps}, {N}, {M})"
        )
    return np.concatenate(
        [G, np.broadcast_to(C, (steps, N, M)), np.zeros((steps, N, 1))], axis=2
    )
