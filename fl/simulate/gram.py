r"""Training in parameter space, with automatic gradients: what the Gram recursion has
to reproduce.

The network is :math:`f = A_L\,\phi(\cdots A_2\,\phi(WX + b) + c_2\cdots) + c_L`, the
loss the mean over samples of the squared error. The first layer moves by :math:`W
\leftarrow W - \eta\,Q_t\,(\partial\,\mathrm{loss}/\partial W)\,P_t`. Runs are batched:
``W0`` and every array of ``theta0`` may carry the same leading dimensions, one network
per entry.

Letters: ``X`` is (d, N + M), training inputs first, ``W`` is (h, d), ``Y`` is (k, N).
"""

import itertools

import numpy as np
import torch

from fl import numerics, validate
from fl.updates import Rule, Run

ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh}


def first_layer(
    rng: np.random.Generator, width: int, P, number: tuple[int, ...] = ()
) -> np.ndarray:
    r"""Return ``width`` neurons with rows :math:`w_j \sim N(0, P)`, shape (\*number,
    width, d): P-isotropic for this ``P`` (d, d).

    ``rng`` draws ``number`` such layers, a shape; a single one for the empty shape.

    Raises:
        ValueError: unless ``P`` is PSD and ``width`` >= 1.
    """
    P = validate.psd("P", P)
    width = validate.count("width", width)
    shape = (*number, width, len(P))
    white = rng.standard_normal(shape)
    root = numerics.psd_power(P, 0.5)
    return white @ root


def later_layers(
    rng: np.random.Generator, widths, number: tuple[int, ...] = ()
) -> list[np.ndarray]:
    """Return Gaussian layers of the given ``widths`` (h, ..., k), entries of variance
    1/fan-in and zero biases: a list of weights (m, n) and biases (m,) in turn.

    ``rng`` draws ``number`` such networks, a shape; a single one for the empty shape.

    Raises:
        ValueError: for a width < 1.
    """
    layers = []
    for n, m in itertools.pairwise(widths):
        n = validate.count("widths entry", n)
        m = validate.count("widths entry", m)
        weights = rng.standard_normal((*number, m, n))
        biases = np.zeros((*number, m))
        layers += [weights / np.sqrt(n), biases]
    return layers


def train(X, Y, W0, theta0, P, rule: Rule) -> Run:
    r"""Train the network in parameter space (float64, autograd).

    Args:
        X: inputs, (d, N + M), of which the first N are trained on; M may be 0.
        Y: labels of those, (N,) or (k, N).
        W0: first layer at the start, (..., h, d); its bias starts at 0.
        theta0: later layers, weights (..., m, n) and biases (..., m) in turn.
        P: preconditioner (d, d), or one per step, (steps, d, d).
        rule: step sizes, momentum, decay and what else an update is made of.

    Returns:
        The recorded trajectory as numpy arrays.

    Raises:
        ValueError: for an argument of the wrong shape.
    """
    Y = np.atleast_2d(Y)
    Y = validate.array("Y", Y, ("k", "N"))
    X = validate.array("X", X, ("d", "N + M"))
    d, columns = X.shape
    N = Y.shape[1]
    validate.count("columns of X", columns, minimum=N)
    P = rule.per_step("P", P, (d, d))
    X = torch.tensor(X)
    Y = torch.tensor(Y)
    W, *theta = [torch.tensor(v, dtype=float) for v in (W0, *theta0)]
    b = torch.zeros_like(W[..., 0])
    start = [W, b, *theta]
    seen = []
    for t, parameters in enumerate(_states(start, X, Y, P, rule)):
        if rule.records(t):
            seen.append((t, *_observe(parameters, X, Y, rule)))
    columns = zip(*seen, strict=True)
    return Run(*map(np.array, columns))


def twin(X, W0, P, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    r"""Return another data set and first layer with the same :math:`X^\top PX` and the
    same :math:`W_0X`.

    .. math:: X' = P^{-1/2} O P^{1/2} X, \qquad W_0' = W_0 P^{-1/2} O^\top P^{1/2},

    for ``X`` (d, N), ``W0`` (h, d) and an invertible ``P`` (d, d), with a random
    orthogonal ``O`` that ``rng`` draws. Derived in chapter gram.

    Raises:
        ValueError: if ``P`` is not invertible (condition number above 1e10).
    """
    from scipy.stats import ortho_group  # takes a second to import

    X = validate.array("X", X, ("d", "N"))
    P = validate.psd("P", P)
    condition = np.linalg.cond(P)
    if condition > 1e10:
        raise ValueError(
            f"P has condition number {condition:.1e}: must be invertible, below 1e10"
        )
    root = numerics.psd_power(P, 0.5)
    inverse = numerics.psd_power(P, -0.5)
    O = ortho_group.rvs(len(P), random_state=rng)  # noqa: E741, the chapter's letter
    twin_X = inverse @ O @ root @ X
    twin_W0 = W0 @ inverse @ O.T @ root
    return twin_X, twin_W0


def gram_eigenvalues(X, p: float) -> tuple[np.ndarray, np.ndarray]:
    r"""Return the singular values of :math:`X/\sqrt N` and the eigenvalues of
    :math:`X^\top\hat\Sigma^pX/N` for ``X`` (d, N) and the exponent ``p``.

    Both fall and have length N; singular values beyond the rank are 0. Computed from
    the matrices themselves.

    Raises:
        ValueError: unless ``X`` is a matrix and ``p`` finite.
    """
    X = validate.array("X", X, ("d", "N"))
    N = X.shape[1]
    X = X / np.sqrt(N)
    s = np.zeros(N)
    rank = min(X.shape)
    s[:rank] = np.linalg.svd(X, compute_uv=False)
    P = numerics.psd_power(X @ X.T, p)
    G = X.T @ P @ X
    values = np.linalg.eigvalsh((G + G.T) / 2)
    return s, values[::-1]


def _forward(parameters, X, activation):
    """Return the first layer's pre-activations (..., h, n) and the outputs."""
    W, b, *theta = parameters
    phi = ACTIVATIONS[activation]
    Z = W @ X + b[..., None]
    f = Z
    for A, c in zip(theta[::2], theta[1::2], strict=True):
        H = phi(f)
        f = A @ H + c[..., None]
    return Z, f


def _loss(f, Y):
    errors = f - Y
    squares = (errors**2).sum((-2, -1))
    return squares / Y.shape[1]


def _observe(parameters, X, Y, rule):
    """Return loss, pre-activations, outputs and first layer."""
    Z, f = _forward(parameters, X, rule.activation)
    N = Y.shape[1]
    loss = _loss(f[..., :N], Y)
    W = parameters[0]
    return loss.numpy(), Z.numpy(), f.numpy(), W.numpy()


def _states(parameters, X, Y, P, rule):
    """Yield the parameters, the first and those after each update."""
    buffers = [0.0] * len(parameters)
    N = Y.shape[1]
    yield parameters
    for t in range(rule.steps):
        batch = rule.batch(t, N)
        found = _gradients(parameters, X[:, batch], Y[:, batch], rule)
        now = torch.tensor(P[t])
        parameters, buffers = _step(parameters, buffers, found, now, rule)
        yield parameters


def _gradients(parameters, X, Y, rule):
    """Return the gradient of each parameter on a batch, after the left factor."""
    leaves = [v.detach().requires_grad_() for v in parameters]
    Z, f = _forward(leaves, X, rule.activation)
    total = _loss(f, Y).sum()
    W, b, *later, D = torch.autograd.grad(total, [*leaves, Z])
    if not rule.train_biases:
        later[1::2] = [torch.zeros_like(g) for g in later[1::2]]
    if rule.damping is not None:
        h, n = D.shape[-2:]
        Q = n * D @ D.mT
        Q = Q + rule.damping * torch.eye(h, dtype=D.dtype)
        W = torch.linalg.solve(Q, W)
        b = torch.linalg.solve(Q, b[..., None])
        b = b[..., 0]
    return [W, b, *later]


def _step(parameters, buffers, found, P, rule):
    """Return the next parameters and their momentum."""
    share = rule.bias_eta / rule.eta

    def precondition(W, b, *later):
        return [W @ P, b * share, *later]

    W, *others = parameters
    gradient, *later = found
    found = [gradient + rule.penalty * W, *later]
    if rule.memory == "steps":
        found = precondition(*found)
    pairs = zip(buffers, found, strict=True)
    buffers = [rule.momentum * v + g for v, g in pairs]
    moves = buffers
    if rule.memory == "gradients":
        moves = precondition(*buffers)
    kept = 1 - rule.eta * rule.decay
    parameters = [kept * W, *others]
    pairs = zip(parameters, moves, strict=True)
    return [v - rule.eta * g for v, g in pairs], buffers
