r"""Training seen from the Gram matrix: the recursion that never looks at the data.

The first layer is :math:`Z = WX + b\mathbf 1^\top` and moves by :math:`W \leftarrow W -
\eta\,(DX^\top)P_t`; the later layers ``theta`` are a list of weights and biases in
turn. Multiplying the update by ``X`` gives, derived in chapter gram,

.. math:: Z_{t+1} = Z_t - \eta\,D_t G_t, \qquad G_t = X^\top P_t X,

where :math:`D_t = \partial\,\mathrm{loss}/\partial Z` is a function of :math:`(Z_t,
\theta_t, Y)` alone.

Letters: ``N`` samples, ``M`` test inputs, ``d`` inputs, ``h`` neurons, ``k`` outputs;
``X`` is (d, N), ``Z`` is (h, N), ``Y`` is (k, N), ``G`` is (N, N), the cross-Gram ``C``
:math:`= X^\top P x` is (N, M). The loss is the mean over samples of the squared error.
"""

import numpy as np

from fl import numerics, validate
from fl.updates import Rule, Run

# each activation with its slope
ACTIVATIONS = {
    "relu": (lambda Z: np.maximum(Z, 0.0), lambda Z: (Z > 0).astype(float)),
    "tanh": (np.tanh, lambda Z: 1 - np.tanh(Z) ** 2),
}


def gram(X, P, x=None) -> np.ndarray:
    r"""Return :math:`X^\top P X`, shape (N, N), or with test inputs ``x`` (d, M) the
    cross-Gram :math:`X^\top P x`.

    ``X`` is (d, N). ``P`` (d, d) may be a stack of matrices in time, (T, d, d); then so
    is the result.

    >>> gram([[1.0, 0.0], [0.0, 2.0]], [[4.0, 0.0], [0.0, 1.0]]).tolist()
    [[4.0, 0.0], [0.0, 4.0]]

    Raises:
        ValueError: for an argument of the wrong shape, or a ``P`` that is not PSD.
    """
    X = validate.array("X", X, ("d", "N"))
    shape = (len(X), len(X))
    if np.ndim(P) == 3:
        shape = ("T", *shape)
    given = np.asarray(P)
    P = validate.array("P", P, shape)
    for matrix in given.reshape(-1, *shape[-2:]):
        validate.psd("P", matrix)
    if x is None:
        x = X
    x = validate.array("x", x, (len(X), "M"))
    return X.T @ P @ x


def gradients(Z, theta, Y, activation: str = "tanh") -> list[np.ndarray]:
    r"""Return :math:`D = \partial\,\mathrm{loss}/\partial Z` (h, N), and after it the
    gradients of ``theta``, in its order.

    .. math:: D = \bigl(A_2^\top\cdots\bigr)\odot\phi'(Z), \qquad
              \mathrm{loss} = \tfrac1N\sum_i |f_i - y_i|^2.

    ``Z`` is (..., h, N), ``Y`` (k, N), ``activation`` the name of :math:`\phi`.

    >>> theta = [np.array([[3.0]]), np.zeros(1)]
    >>> D, *_ = gradients(np.array([[2.0]]), theta, np.array([[1.0]]), "relu")
    >>> D.item()  # f = 6, so D = 2 (6 - 1) 3
    30.0
    """
    phi, slope = ACTIVATIONS[activation]
    *layers, f = _forward(Z, theta, activation)
    N = Y.shape[1]
    delta = 2 * (f - Y) / N
    found = []
    weights = theta[-2::-2]
    for A, H in zip(weights, layers[::-1], strict=True):
        below = phi(H)
        found = [delta @ below.mT, delta.sum(-1), *found]
        back = A.mT @ delta
        delta = back * slope(H)
    return [delta, *found]


def train(Z0, theta0, Y, G, rule: Rule, penalty_matrix=None) -> Run:
    r"""Train from the Gram matrices alone: no input, no first-layer weight is ever
    seen.

    All columns :math:`S = [Z \mid z \mid b]` obey one rule, :math:`K_t = [G_t \mid C_t
    \mid 0] + \eta_b/\eta`,

    .. math:: S \leftarrow S - \eta k\,(S - b\mathbf 1^\top) - \eta\,Q_t D_t K_t,

    because the bias is the pre-activation of the test input 0. Derived in chapter gram.

    Args:
        Z0: initial pre-activations :math:`[W_0X \mid W_0x]`, (..., h, N + M); M may be 0.
        theta0: later layers, weights (..., m, n) and biases (..., m) in turn; one network
            per entry of the leading dimensions.
        Y: labels, (N,) or (k, N).
        G: Gram and cross-Gram, :math:`[X^\top P X \mid X^\top P x]`, (N, N + M), or one
            such matrix per step, (steps, N, N + M).
        rule: step sizes, momentum, decay and what else an update is made of.
        penalty_matrix: the (N, N + M) matrix ``A`` with :math:`WP[X \mid x] = (WX)A`,
            without which a coupled penalty leaves the recursion open.

    Returns:
        The recorded trajectory; it has no ``W``.

    Raises:
        ValueError: for an argument of the wrong shape, a ``G`` that is not symmetric in
            the samples, batches that are not indices of samples, or a penalty without
            its matrix.
    """
    Y = np.atleast_2d(Y)
    Y = validate.array("Y", Y, ("k", "N"))
    Z0 = validate.array("Z0", Z0, (*np.shape(Z0)[:-2], "h", "N + M"))
    N = Y.shape[1]
    shape = (N, Z0.shape[-1])
    tolerance = np.sqrt(validate.rounding(G))
    G = rule.per_step("G", G, shape)
    square = G[..., :N]
    skew = np.abs(square - square.mT).max()
    if skew > tolerance * np.abs(square).max():
        raise ValueError(
            f"G differs from its transpose by {skew:g}: must be symmetric in the samples"
        )
    used = np.asarray(rule.batch(slice(None), N))
    try:
        np.arange(N)[used]
    except IndexError:
        raise ValueError(
            f"batches from {used.min()} to {used.max()}: must be indices of {N} samples"
        ) from None
    if penalty_matrix is None:
        validate.number("penalty, without a penalty_matrix", rule.penalty, 0, 0)
        penalty_matrix = np.zeros(shape)
    A = validate.array("penalty_matrix", penalty_matrix, shape)
    share = rule.bias_eta / rule.eta
    K = _with_bias(G) + share
    A = _with_bias(A)
    start = [_with_bias(Z0), *theta0]
    seen = []
    for t, state in enumerate(_states(start, Y, K, A, rule)):
        if rule.records(t):
            seen.append((t, *_observe(state, Y, rule)))
    columns = zip(*seen, strict=True)
    return Run(*map(np.array, columns))


def spectrum(singular_values, p: float) -> np.ndarray:
    r"""Return the eigenvalues :math:`s_r^{2(p+1)}` of :math:`G_P/N` for :math:`P =
    \hat\Sigma^p`, falling; (r,).

    ``singular_values`` (r,) are those of :math:`X/\sqrt N`; those at most 1e-6 of the
    largest count as zero, and zeros stay zero for every ``p`` (pseudo-inverse). [YN25]
    spectral decomposition.

    >>> spectrum([2.0, 1.0, 0.0], -1).tolist()
    [1.0, 1.0, 0.0]

    Raises:
        ValueError: unless ``singular_values`` is a list of numbers >= 0 and ``p`` finite.
    """
    s = validate.array("singular_values", singular_values, ("r",))
    validate.number("singular_values, the smallest", s.min(), 0)
    p = validate.number("p", p)
    # psd_power drops eigenvalues s^2 below 1e-12 of the largest
    kept = s > 1e-6 * s.max()
    values = np.zeros_like(s)
    exponent = 2 * (p + 1)
    values[kept] = numerics.raised(s[kept], exponent)
    return np.sort(values)[::-1]


def initial_moment(G, width: int) -> tuple[float, float]:
    r"""Return mean and standard deviation of :math:`\overline{Z_0^2}` over P-isotropic
    initialisations of ``width`` neurons, with Gram matrix ``G`` (N, N).

    With rows :math:`w_j\sim N(0, P)` the mean over the h x N entries has expectation
    :math:`\operatorname{tr}G/N` and variance :math:`2\operatorname{tr}G^2/(hN^2)`: a
    law that sees ``X`` only through ``G``. Derived in chapter gram.

    Raises:
        ValueError: unless ``G`` is PSD and ``width`` >= 1.
    """
    G = validate.psd("G", G)
    h = validate.count("width", width)
    N = len(G)
    mean = np.trace(G) / N
    squares = (G**2).sum()
    variance = 2 * squares / (h * N**2)
    return float(mean), float(np.sqrt(variance))


def _with_bias(columns):
    """Return ``columns`` with one more, zero: the test input 0, which carries b."""
    shape = (*columns.shape[:-1], 1)
    zero = np.zeros(shape)
    return np.concatenate([columns, zero], axis=-1)


def _forward(Z, theta, activation):
    """Return the pre-activations of all layers, the outputs last."""
    phi, _ = ACTIVATIONS[activation]
    layers = [Z]
    for A, c in zip(theta[::2], theta[1::2], strict=True):
        Z = A @ phi(Z) + c[..., None]
        layers.append(Z)
    return layers


def _observe(state, Y, rule):
    """Return loss, pre-activations and outputs."""
    S, *theta = state
    Z = S[..., :-1]
    f = _forward(Z, theta, rule.activation)[-1]
    N = Y.shape[1]
    errors = f[..., :N] - Y
    return (errors**2).sum((-2, -1)) / N, Z, f


def _states(state, Y, K, A, rule):
    """Yield the states [S, theta], the first and the one after each update."""
    buffers = [0.0] * len(state)
    yield state
    for t in range(rule.steps):
        found = _signal(state, Y, rule, t)
        state, buffers = _step(state, buffers, found, K[t], A, rule)
        yield state


def _signal(state, Y, rule, t):
    """Return Q D (..., h, N), zero outside the batch, and the later layers' gradients."""
    S, *theta = state
    h = S.shape[-2]
    N = Y.shape[1]
    batch = np.arange(N)[rule.batch(t, N)]
    Z, labels = S[..., batch], Y[:, batch]
    moves, *later = gradients(Z, theta, labels, rule.activation)
    if rule.damping is not None:
        Q = len(batch) * moves @ moves.mT
        Q = Q + rule.damping * np.eye(h)
        moves = np.linalg.solve(Q, moves)
    D = np.zeros((*S.shape[:-1], N))
    np.add.at(D, (..., batch), moves)  # a sample drawn twice counts twice
    if not rule.train_biases:
        number = len(later) // 2
        later[1::2] = [0.0] * number
    return [D, *later]


def _step(state, buffers, found, K, A, rule):
    """Return the next state, [S, theta], and its momentum."""
    D, *later = found
    if rule.memory == "steps":
        D = D @ K
    pairs = zip(buffers, [D, *later], strict=True)
    buffers = [rule.momentum * v + g for v, g in pairs]
    first, *later = buffers
    if rule.memory == "gradients":
        first = first @ K
    S = state[0]
    W = S - S[..., -1:]  # the bias does not decay
    trained = W[..., : len(A)]
    first = first + rule.decay * W
    first = first + rule.penalty * trained @ A
    pairs = zip(state, [first, *later], strict=True)
    return [v - rule.eta * g for v, g in pairs], buffers
