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
    """
    P, width = validate.psd("P", P), validate.count("width", width)
    white = rng.standard_normal((*number, width, len(P)))
    return white @ numerics.psd_power(P, 0.5)


def later_layers(
    rng: np.random.Generator, widths, number: tuple[int, ...] = ()
) -> list[np.ndarray]:
    """Return Gaussian layers of the given ``widths`` (h, ..., k), entries of variance
    1/fan-in and zero biases: a list of weights (m, n) and biases (m,) in turn.

    ``rng`` draws ``number`` such networks, a shape; a single one for the empty shape.
    """
    widths = [validate.count("widths entry", w) for w in widths]
    layers = []
    for n, m in itertools.pairwise(widths):
        weights = rng.standard_normal((*number, m, n)) / np.sqrt(n)
        layers += [weights, np.zeros((*number, m))]
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
    Y = validate.array("Y", np.atleast_2d(Y), ("k", "N"))
    X = validate.array("X", X, ("d", "N + M"))
    validate.count("columns of X", X.shape[1], minimum=Y.shape[1])
    P = rule.per_step("P", P, (len(X), len(X)))
    X, Y = torch.tensor(X), torch.tensor(Y)
    W, *theta = [torch.tensor(v, dtype=float) for v in (W0, *theta0)]
    start = [W, torch.zeros_like(W[..., 0]), *theta]
    seen = []
    for t, parameters in enumerate(_states(start, X, Y, P, rule)):
        if rule.records(t):
            seen.append((t, *_observe(parameters, X, Y, rule)))
    return Run(*map(np.array, zip(*seen, strict=True)))


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

    X, P = validate.array("X", X, ("d", "N")), validate.psd("P", P)
    condition = np.linalg.cond(P)
    if condition > 1e10:
        raise ValueError(
            f"P has condition number {condition:.1e}: must be invertible, below 1e10"
        )
    root, inverse = numerics.psd_power(P, 0.5), numerics.psd_power(P, -0.5)
    O = ortho_group.rvs(len(P), random_state=rng)  # noqa: E741, the chapter's letter
    return inverse @ O @ root @ X, np.asarray(W0) @ inverse @ O.T @ root


def gram_eigenvalues(X, p: float) -> tuple[np.ndarray, np.ndarray]:
    r"""Return the singular values of :math:`X/\sqrt N` and the eigenvalues of
    :math:`X^\top\hat\Sigma^pX/N` for ``X`` (d, N) and the exponent ``p``.

    Both fall and have length N; singular values beyond the rank are 0. Computed from
    the matrices themselves.
    """
    X = validate.array("X", X, ("d", "N"))
    N = X.shape[1]
    X = X / np.sqrt(N)
    s = np.zeros(N)
    s[: min(X.shape)] = np.linalg.svd(X, compute_uv=False)
    P = numerics.psd_power(X @ X.T, p)
    G = X.T @ P @ X
    return s, np.linalg.eigvalsh((G + G.T) / 2)[::-1]


def _forward(parameters, X, activation):
    """Return the first layer's pre-activations (..., h, n) and the outputs."""
    W, b, *theta = parameters
    Z = W @ X + b[..., None]
    f = Z
    for A, c in zip(theta[::2], theta[1::2], strict=True):
        H = ACTIVATIONS[activation](f)
        f = A @ H + c[..., None]
    return Z, f


def _loss(f, Y):
    errors = f - Y
    return (errors**2).sum((-2, -1)) / Y.shape[1]


def _observe(parameters, X, Y, rule):
    """Return loss, pre-activations, outputs and first layer."""
    Z, f = _forward(parameters, X, rule.activation)
    N = Y.shape[1]
    loss = _loss(f[..., :N], Y)
    return loss.numpy(), Z.numpy(), f.numpy(), parameters[0].numpy()


def _states(parameters, X, Y, P, rule):
    """Yield the parameters, the first and those after each update."""
    buffers = [0.0] * len(parameters)
    yield parameters
    for t in range(rule.steps):
        batch = rule.batch(t, Y.shape[1])
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
        identity = torch.eye(D.shape[-2], dtype=D.dtype)
        Q = Y.shape[1] * D @ D.mT + rule.damping * identity
        W = torch.linalg.solve(Q, W)
        b = torch.linalg.solve(Q, b[..., None])[..., 0]
    return [W, b, *later]


def _step(parameters, buffers, found, P, rule):
    """Return the next parameters and their momentum."""

    def precondition(W, b, *later):
        return [W @ P, b * (rule.bias_eta / rule.eta), *later]

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
    shrunk = (1 - rule.eta * rule.decay) * W
    pairs = zip([shrunk, *others], moves, strict=True)
    return [v - rule.eta * g for v, g in pairs], buffers
