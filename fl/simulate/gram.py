r"""Training in parameter space, with automatic gradients: what the Gram recursion has
to reproduce.

The network is :math:`f = A_L\,\phi(\cdots A_2\,\phi(WX + b) + c_2\cdots) + c_L`, the
loss the mean over samples of the squared error. The first layer moves by :math:`W
\leftarrow W - \eta\,Q_t\,(\partial\,\mathrm{loss}/\partial W)\,P_t`. Runs are batched:
``W0`` and every array of ``theta0`` may carry the same leading dimensions, one network
per entry.

Letters: ``X`` is (d, N), test inputs ``x`` are (d, M), ``W`` is (h, d), ``Y`` is (k,
N).
"""

from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import ortho_group

from fl import numerics, validate

ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh}


class Run(NamedTuple):
    """Recorded steps (T,), loss (T, ...), pre-activations ``Z`` (T, ..., h, N) and
    ``z`` (T, ..., h, M), the final outputs on the training inputs (..., k, N) and the
    test inputs (..., k, M), and the final ``W`` (..., h, d).
    """

    steps: np.ndarray
    loss: np.ndarray
    Z: np.ndarray
    z: np.ndarray
    outputs: np.ndarray
    test_outputs: np.ndarray
    W: np.ndarray


def first_layer(
    rng: np.random.Generator, h: int, P, number: tuple[int, ...] = ()
) -> np.ndarray:
    r"""Return weights with rows :math:`w_j \sim N(0, P)`, shape (\*number, h, d):
    P-isotropic for this ``P`` (d, d).
    """
    P = validate.psd("P", P)
    return rng.standard_normal(
        (*number, validate.count("h", h), len(P))
    ) @ numerics.psd_power(P, 0.5)


def later_layers(
    rng: np.random.Generator, widths, number: tuple[int, ...] = ()
) -> list[tuple[np.ndarray, np.ndarray]]:
    r"""Return Gaussian layers of the given ``widths`` (h, ..., k) with entries of
    variance 1/fan-in and zero biases.
    """
    widths = [validate.count("widths entry", w) for w in widths]
    return [
        (rng.standard_normal((*number, m, n)) / np.sqrt(n), np.zeros((*number, m)))
        for n, m in zip(widths[:-1], widths[1:], strict=True)
    ]


def train(
    X,
    Y,
    W0,
    theta0,
    P,
    *,
    steps: int,
    rate: float,
    x=None,
    activation: str = "tanh",
    bias_rate: float = 0.0,
    momentum: float = 0.0,
    memory: str = "gradients",
    left: float | None = None,
    decay: float = 0.0,
    l2: float = 0.0,
    batches=None,
    train_biases: bool = True,
    every: int = 1,
) -> Run:
    r"""Train the network in parameter space (float64, autograd).

    Args:
        X: training inputs, (d, N).
        Y: labels, (N,) or (k, N).
        W0: first layer at the start, (..., h, d); its bias starts at 0.
        theta0: later layers, pairs of weights (..., m, n) and biases (..., m).
        P: preconditioner (d, d), or one per step, (steps, d, d).
        steps: number of updates.
        rate: learning rate of all weights.
        x: test inputs, (d, M), never trained on.
        activation: ``relu`` or ``tanh``.
        bias_rate: learning rate of the first layer's bias; the bias gradient is not
            preconditioned.
        momentum: heavy-ball factor in [0, 1), for every layer.
        memory: the first layer's buffer holds raw ``gradients`` or preconditioned
            ``steps``.
        left: damping of the left factor :math:`Q = (n DD^\top + \delta I)^{-1}`, D the
            gradient of Z; None for none.
        decay: decoupled decay, ``W <- (1 - rate * decay) W``.
        l2: coupled penalty :math:`\tfrac12\,l_2\,|W|^2`, part of the loss, so its
            gradient is preconditioned too.
        batches: sample indices per step, (steps, n).
        train_biases: whether the biases of the later layers move.
        every: record every that many steps, and the last.

    Returns:
        The recorded trajectory as numpy arrays.

    Raises:
        ValueError: for an argument out of range or of the wrong shape.
    """
    X = validate.array("X", X, ("d", "N"))
    d, N = X.shape
    Y = validate.array("Y", np.atleast_2d(Y), ("k", N))
    steps, every = validate.count("steps", steps), validate.count("every", every)
    rate = validate.number("rate", rate, 0, open_low=True)
    rates = {
        name: validate.number(name, v, 0)
        for name, v in [("decay", decay), ("l2", l2), ("bias_rate", bias_rate)]
    }
    momentum = validate.number("momentum", momentum, 0, 1 - 1e-9)
    validate.choice("memory", memory, ["gradients", "steps"])
    phi = ACTIVATIONS[validate.choice("activation", activation, ACTIVATIONS)]
    P = validate.array("P", P, (steps, d, d) if np.ndim(P) == 3 else (d, d))
    X, Y, P = (
        torch.as_tensor(X),
        torch.as_tensor(Y),
        torch.as_tensor(P).expand(steps, d, d),
    )
    x = (
        torch.zeros(d, 0, dtype=X.dtype)
        if x is None
        else torch.as_tensor(validate.array("x", x, (d, "M")))
    )

    W = torch.tensor(np.asarray(W0, dtype=float))
    parameters = [W, torch.zeros_like(W[..., 0])] + [
        torch.tensor(np.asarray(v)) for pair in theta0 for v in pair
    ]
    raw = [torch.zeros_like(v) for v in parameters]
    moved = [torch.zeros_like(v) for v in parameters[:2]]

    def outputs(Z, theta):
        for A, c in zip(theta[::2], theta[1::2], strict=True):
            Z = A @ phi(Z) + c[..., None]
        return Z

    def loss(inputs, labels):
        Z = parameters[0] @ inputs + parameters[1][..., None]
        return ((outputs(Z, parameters[2:]) - labels) ** 2).sum(
            (-2, -1)
        ) / inputs.shape[1], Z

    kept, losses, path, test_path = [], [], [], []
    for t in range(steps + 1):
        if t % every == 0 or t == steps:
            value, Z = loss(X, Y)
            kept.append(t)
            losses.append(value.numpy())
            path.append(Z.numpy())
            test_path.append((parameters[0] @ x + parameters[1][..., None]).numpy())
        if t == steps:
            break
        batch = torch.arange(N) if batches is None else torch.as_tensor(batches[t])
        with torch.enable_grad():
            parameters = [v.detach().requires_grad_() for v in parameters]
            value, Z = loss(X[:, batch], Y[:, batch])
            found = list(torch.autograd.grad(value.sum(), [*parameters, Z]))
        parameters, D = [v.detach() for v in parameters], found.pop()
        if not train_biases:
            found[3::2] = [torch.zeros_like(g) for g in found[3::2]]
        if left is not None:
            Q = len(batch) * D @ D.mT + left * torch.eye(D.shape[-2], dtype=D.dtype)
            found[:2] = (
                torch.linalg.solve(Q, found[0]),
                torch.linalg.solve(Q, found[1][..., None])[..., 0],
            )
        found[0] = found[0] + rates["l2"] * parameters[0]
        raw = [momentum * v + g for v, g in zip(raw, found, strict=True)]
        blocks = [P[t], rates["bias_rate"] / rate]
        moved = [
            momentum * moved[0] + found[0] @ blocks[0],
            momentum * moved[1] + found[1] * blocks[1],
        ]
        first = moved if memory == "steps" else [raw[0] @ blocks[0], raw[1] * blocks[1]]
        parameters[0] = (1 - rate * rates["decay"]) * parameters[0]
        parameters = [
            v - rate * g for v, g in zip(parameters, first + raw[2:], strict=True)
        ]
    final = [
        outputs(torch.as_tensor(v[-1]), parameters[2:]).numpy()
        for v in (path, test_path)
    ]
    return Run(
        np.array(kept),
        np.array(losses),
        np.array(path),
        np.array(test_path),
        *final,
        parameters[0].numpy(),
    )


def twin(X, W0, P, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    r"""Return another data set and first layer with the same :math:`X^\top PX` and the
    same :math:`W_0X`.

    .. math:: X' = P^{-1/2} O P^{1/2} X, \qquad W_0' = W_0 P^{-1/2} O^\top P^{1/2},

    with a random orthogonal ``O`` and an invertible ``P``. Derived in chapter gram.

    Raises:
        ValueError: if ``P`` is not invertible (condition number above 1e10).
    """
    X, P = validate.array("X", X, ("d", "N")), validate.psd("P", P)
    if np.linalg.cond(P) > 1e10:
        raise ValueError(
            f"P has condition number {np.linalg.cond(P):.1e}: must be invertible, below 1e10"
        )
    root, inverse = numerics.psd_power(P, 0.5), numerics.psd_power(P, -0.5)
    O = ortho_group.rvs(len(P), random_state=rng)  # noqa: E741, the chapter's letter
    return inverse @ O @ root @ X, np.asarray(W0) @ inverse @ O.T @ root


def gram_eigenvalues(X, p: float) -> tuple[np.ndarray, np.ndarray]:
    r"""Return the singular values of :math:`X/\sqrt N` and the eigenvalues of
    :math:`X^\top\hat\Sigma^pX/N`.

    Both fall and have length N; singular values beyond the rank are 0. Computed from
    the matrices themselves.
    """
    X = validate.array("X", X, ("d", "N"))
    N = X.shape[1]
    s = np.zeros(N)
    s[: min(X.shape)] = np.linalg.svd(X / np.sqrt(N), compute_uv=False)
    G = X.T @ numerics.psd_power(X @ X.T / N, p) @ X / N
    return s, np.linalg.eigvalsh((G + G.T) / 2)[::-1]
