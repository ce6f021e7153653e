r"""One gradient step of a two-layer network on a single-index teacher, and the
direction each optimizer takes.

`directions` measures :math:`\cos^2(\hat\beta,\beta_*)` for filters of :math:`Xy/n`,
without a network. `updates` and `stepped_weights` take the gradient of a real network
:math:`f(x) = \epsilon\,a^\top\sigma(Gx)` at its random start and look at the singular
vectors of what the optimizer makes of it. Samples stand in columns, ``X`` is (d, n);
the head has norm :math:`\epsilon =` `HEAD`, small, so that the residual at the start is
the label.
"""

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from fl import validate
from fl.tasks import LINKS, Task, Teacher

HEAD = 1e-2
ACTIVATIONS = {"linear": lambda u: u, "tanh": torch.tanh, "relu": torch.relu}
METHODS = ("sgd", "batchnorm", "muon", "adam", "ngd", "kfac")


def directions(
    task: Task,
    n: int,
    seed: int,
    powers: Sequence[float] = (),
    sample_powers: Sequence[float] = (),
    dampings: Sequence[float] = (),
    draws: int = 1,
) -> xr.Dataset:
    r"""Return the alignment of three families of directions, each over ``draws`` fresh
    batches.

    ``population`` (draw, p): :math:`\Sigma^pXy/n`; ``sample`` (draw, q):
    :math:`\hat\Sigma^qXy/n`; ``kfac`` (draw, damping):
    :math:`(\hat\Sigma+\lambda)^{-1}Xy/n`, all three on the same batches.

    Raises:
        ValueError: for n <= d with zero damping or with a negative power of the sample
            covariance.
    """
    n, d = validate.count("n", n), task.spectrum.d
    if min(sample_powers, default=0) < 0:
        _invertible(n, d, 0.0, "a negative sample power")
    for damping in dampings:
        _invertible(n, d, damping)
    draws = validate.count("draws", draws)
    batch = task.sample(n * draws, np.random.default_rng([seed, n]))
    X = torch.from_numpy(batch.X).reshape(d, draws, n).transpose(0, 1).contiguous()
    y = torch.from_numpy(batch.y).reshape(draws, n)
    beta = torch.from_numpy(task.teacher.directions[0])
    correlation = (X @ y[..., None])[..., 0] / n  # (draw, d)
    covariance = X @ X.mT / n if len(sample_powers) or len(dampings) else None
    population = [
        correlation @ torch.from_numpy(task.spectrum.power(p)) for p in powers
    ]
    kfac = [
        torch.linalg.solve(
            covariance + damping * torch.eye(d, dtype=X.dtype), correlation
        )
        for damping in dampings
    ]
    sample = []
    if len(sample_powers):
        values, vectors = torch.linalg.eigh(covariance)
        values = values.clamp(min=0)[
            :, None, :
        ]  # rounding of the null directions when n < d
        parts = correlation[:, None, :] @ vectors
        sample = [((parts * values**q) @ vectors.mT)[:, 0] for q in sample_powers]
    families = {
        "population": ("p", population),
        "sample": ("q", sample),
        "kfac": ("damping", kfac),
    }
    return xr.Dataset(
        {
            name: (
                ("draw", dim),
                torch.stack([_cos2(v, beta) for v in found], 1).numpy(),
            )
            for name, (dim, found) in families.items()
            if found
        },
        coords={"p": list(powers), "q": list(sample_powers), "damping": list(dampings)},
    )


def updates(
    task: Task,
    n: int,
    neurons: int,
    activation: str,
    seed: int,
    damping: float = 0.1,
    rotate: bool = True,
) -> dict[str, float]:
    r"""Return the alignment with the teacher of the first update of each of `METHODS`,
    labels centred.

    The direction of an update is its top right singular vector, for Muon the update's
    transpose times the head: the polar factor has no top. ``rotate`` turns inputs and
    teacher by one random rotation; it matters for Adam.

    Raises:
        ValueError: for an unknown activation, or n <= d without damping.
    """
    rng = np.random.default_rng([seed, n, neurons])
    if rotate:
        turned = task.spectrum.rotated(rng)
        task = Task(
            turned,
            Teacher(task.teacher.directions @ turned.rotation.T, task.teacher.link),
            task.snr,
        )
    X, y, G, a = _start(task, n, neurons, rng)
    y = y - y.mean()
    g = descent(G, a, X, y, activation)
    steps = {
        "sgd": g,
        "batchnorm": descent(G, a, X, y, activation, batchnorm=True),
        "adam": torch.sign(g),  # bias-corrected moments of one gradient: g / |g|
        "ngd": gauss_newton(G, a, X, y, activation),
        "kfac": _kfac(g, X, damping),
    }
    beta = torch.from_numpy(task.teacher.directions[0])
    found = {
        name: _cos2(torch.linalg.eigh(step.mT @ step)[1][:, -1], beta)
        for name, step in steps.items()
    }
    U, _, Vh = torch.linalg.svd(g, full_matrices=False)
    found["muon"] = _cos2((U @ Vh).mT @ a, beta)
    return {name: float(found[name]) for name in METHODS}


def stepped_weights(
    task: Task,
    n: int,
    neurons: int,
    activation: str,
    eta: float,
    seed: int,
    damping: float | None = None,
) -> dict:
    r"""Return singular values and the top right alignment of :math:`G_1 = G_0 +
    \eta\,g/\epsilon`.

    ``g`` is the plain descent direction, or with a ``damping`` that of KFAC. ``values``
    ("k",) are the singular values, falling; ``alignment`` is that of the first right
    singular vector with the teacher.

    Raises:
        ValueError: for an unknown activation, or n <= d with zero damping.
    """
    X, y, G, a = _start(task, n, neurons, np.random.default_rng([seed, n, neurons]))
    g = descent(G, a, X, y, activation)
    step = g if damping is None else _kfac(g, X, damping)
    _, values, Vh = torch.linalg.svd(
        G + validate.number("eta", eta) * step / HEAD, full_matrices=False
    )
    beta = torch.from_numpy(task.teacher.directions[0])
    return {"values": ("k", values.numpy()), "alignment": float(_cos2(Vh[0], beta))}


def descent(
    G: Tensor, a: Tensor, X: Tensor, y: Tensor, activation: str, batchnorm: bool = False
) -> Tensor:
    r"""Return minus the gradient of mean((f - y)^2)/2 in G (N, d), by automatic
    differentiation.

    ``batchnorm`` standardises each neuron's preactivation over the batch, and the
    gradient flows through that.
    """
    sigma = ACTIVATIONS[validate.choice("activation", activation, ACTIVATIONS)]
    weights = G.detach().requires_grad_()
    u = weights @ X
    if batchnorm:
        u = (u - u.mean(1, keepdim=True)) / u.std(1, correction=0, keepdim=True)
    loss = (a @ sigma(u) - y).square().mean() / 2
    return -torch.autograd.grad(loss, weights)[0]


def gauss_newton(G: Tensor, a: Tensor, X: Tensor, y: Tensor, activation: str) -> Tensor:
    r"""Return the least-norm step on G (N, d) that fits the batch to first order:
    :math:`J^\top(JJ^\top)^{-1}(y-f)`.

    It is the full natural-gradient step of the squared loss in its limit of no damping;
    J is the (n, Nd) Jacobian, and :math:`JJ^\top` is the kernel :math:`\sum_k
    a_k^2\sigma'(u_{ki})\sigma'(u_{kj})\,x_i^\top x_j`.
    """
    sigma = ACTIVATIONS[validate.choice("activation", activation, ACTIVATIONS)]
    u = G @ X
    slopes = a[:, None] * torch.from_numpy(LINKS[activation].slope(u.numpy()))
    kernel = (slopes.mT @ slopes) * (X.mT @ X)
    return (slopes * torch.linalg.solve(kernel, y - a @ sigma(u))) @ X.mT


def _start(
    task: Task, n: int, neurons: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    n, neurons, d = (
        validate.count("n", n),
        validate.count("neurons", neurons),
        task.spectrum.d,
    )
    X, y, _ = task.sample(n, rng)
    G = rng.standard_normal((neurons, d)) / np.sqrt(d)
    a = HEAD * rng.choice([-1.0, 1.0], neurons) / np.sqrt(neurons)
    return tuple(torch.from_numpy(v) for v in (X, y, G, a))


def _kfac(g: Tensor, X: Tensor, damping: float) -> Tensor:
    d, n = X.shape
    _invertible(n, d, damping)
    return torch.linalg.solve(
        X @ X.mT / n + damping * torch.eye(d, dtype=X.dtype), g.mT
    ).mT


def _invertible(n: int, d: int, damping: float, what: str = "damping = 0") -> None:
    if validate.number("damping", damping, 0) == 0 and n <= d:
        raise ValueError(
            f"n = {n} with {what}: n must be > d = {d}, the sample covariance is singular"
        )


def _cos2(v: Tensor, beta: Tensor) -> Tensor:
    return (v * beta).sum(-1) ** 2 / (v.square().sum(-1) * beta.square().sum(-1))
