r"""Fourteen optimizers on one linear representation problem and the same batches, tuned with the same budget.

All weights of :math:`\hat y = F G x` are trained together for a fixed number of steps; the step size falls linearly
to zero. Every optimizer may try the same number of settings on separate tuning seeds; the one with the best mean log
distance is then run on fresh seeds. SGD, momentum, Adam, AdamW and Muon are torch's, SOAP is `pytorch_optimizer`'s.
KFAC, its halves, damped natural gradient, Shampoo with a moving average and Muon with the exact polar factor (torch's
five Newton-Schulz steps in bfloat16 are rough) are written out below.
"""

import functools
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from fl import validate
from fl.simulate.representation import distance, problem
from fl.stored import stored
from fl.sweep import cached, sweep

DX, DY, K, BATCH = 40, 12, 4, 256
CONDITIONS = {
    "isotropic": dict(kappa_S=1, kappa_F=1, sigma=0.1, steps=100),
    "moderate": dict(kappa_S=30, kappa_F=3, sigma=0.1, steps=100),
    "hard": dict(kappa_S=100, kappa_F=10, sigma=0.01, steps=200),
}
TUNING_SEEDS = (1000, 1001)
BLOWN = 1e4  # a weight beyond it counts as divergence; all weights are of order one
POINTS = 26  # moments at which a learning curve is recorded

TORCH = {
    "SGD": lambda w: torch.optim.SGD(w, lr=0.0),
    "momentum": lambda w: torch.optim.SGD(w, lr=0.0, momentum=0.9),
    "Adam": lambda w: torch.optim.Adam(w, lr=0.0),
    "AdamW": lambda w: torch.optim.AdamW(w, lr=0.0),
    "Muon": lambda w: torch.optim.Muon(w, lr=0.0, weight_decay=0.0),
    "SOAP": lambda w: _soap()(w, lr=0.0, weight_decay=0.0),
}
TORCH |= {"batch-norm": TORCH["SGD"], "batch-norm + Adam": TORCH["Adam"]}
# range of the step sizes tried; damped methods share their settings out over three dampings
RATES = {
    "SGD": (0.1, 1.5),
    "momentum": (0.01, 0.5),
    "Adam": (0.01, 0.4),
    "AdamW": (0.01, 0.4),
    "Muon": (0.03, 1.0),
    "Muon exact": (0.03, 1.0),
    "Shampoo": (0.03, 1.5),
    "SOAP": (0.02, 0.4),
    "KFAC": (0.06, 1.0),
    "KFAC left": (0.06, 2.0),
    "KFAC right": (0.06, 2.0),
    "NGD": (0.06, 1.0),
    "batch-norm": (0.1, 2.0),
    "batch-norm + Adam": (0.01, 0.4),
}
DAMPED = ("KFAC", "KFAC left", "KFAC right", "NGD")
DAMPINGS = (1e-4, 3e-3, 0.1)
OPTIMIZERS = tuple(RATES)


def settings(optimizer: str, number: int) -> list[tuple[float, float]]:
    """Return the ``number`` pairs (step size, damping) that ``optimizer`` may try; step sizes are centres of log bins.

    Raises:
        ValueError: for an unknown optimizer, or a ``number`` that is no multiple of three.
    """
    low, high = RATES[validate.choice("optimizer", optimizer, OPTIMIZERS)]
    if validate.count("number", number) % len(DAMPINGS):
        raise ValueError(f"number = {number}: must be a multiple of {len(DAMPINGS)}")
    dampings = DAMPINGS if optimizer in DAMPED else (0.0,)
    edges = np.geomspace(low, high, number // len(dampings) + 1)
    return [(float(r), g) for g in dampings for r in np.sqrt(edges[1:] * edges[:-1])]


@functools.lru_cache(maxsize=4)
def arena(condition: str, seed: int) -> tuple:
    """Return the problem, the starting weights F, G and all batches X (T, n, dX), Y (T, n, dY) of a seed."""
    c = CONDITIONS[validate.choice("condition", condition, CONDITIONS)]
    p = problem(DX, DY, K, c["kappa_S"], c["kappa_F"], seed)
    rng = np.random.default_rng([seed, 1])
    G = rng.standard_normal((K, DX)) / np.sqrt(DX)
    F = rng.standard_normal((DY, K)) / np.sqrt(4 * K)
    X = rng.standard_normal((c["steps"], BATCH, DX)) @ np.linalg.cholesky(p.S).T
    Y = X @ p.W.T + c["sigma"] * rng.standard_normal((c["steps"], BATCH, DY))
    return p, *(torch.tensor(a) for a in (F, G, X, Y))


def gradients(F: Tensor, G: Tensor, X: Tensor, Y: Tensor, normalise: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients in F and G of half the mean squared error, and the features Z = X G' (n, k).

    With ``normalise`` every feature is divided by its root mean square over the batch (batch-norm).
    """
    Z, n = X @ G.T, len(X)
    scale = Z.pow(2).mean(0).sqrt() if normalise else torch.ones(len(G), dtype=G.dtype)
    Z = Z / scale
    residual = Z @ F.T - Y
    back = residual @ F
    if normalise:
        back = (back - Z * (back * Z).mean(0)) / scale
    return residual.T @ Z / n, back.T @ X / n, Z


def updater(optimizer: str, F: Tensor, G: Tensor, damping: float = 0.0) -> Callable:
    """Return ``update(rate, grad_F, grad_G, X, Z)``, which moves F and G in place by one step of ``optimizer``.

    Raises:
        ValueError: for an unknown optimizer.
    """
    validate.choice("optimizer", optimizer, OPTIMIZERS)
    if optimizer in TORCH:
        return _published(TORCH[optimizer], F, G)
    if optimizer in ("Shampoo", "Muon exact"):
        return (_shampoo if optimizer == "Shampoo" else _muon)(F, G)
    if optimizer == "NGD":
        return lambda rate, gF, gG, X, Z: _natural(rate, F, G, gF, gG, X, Z, damping)
    left, right = optimizer != "KFAC right", optimizer != "KFAC left"
    return lambda rate, gF, gG, X, Z: _kfac(rate, F, G, gF, gG, X, Z, damping, left, right)


def _soap():
    from pytorch_optimizer import SOAP  # slow to import, and only the extra `zoo` brings it

    return SOAP


def _published(make: Callable, F: Tensor, G: Tensor) -> Callable:
    published = make([F.requires_grad_(), G.requires_grad_()])

    def update(rate, gF, gG, X, Z):
        for group in published.param_groups:
            group["lr"] = rate
        F.grad, G.grad = gF, gG
        published.step()

    return update


def _kfac(rate, F, G, gF, gG, X, Z, damping, left=True, right=True) -> None:
    # P_F = I, Q_F = Z'Z/n; P_G = F'F, Q_G = X'X/n; the halves leave one of the last two out
    if left:
        gG = torch.linalg.solve(F.T @ F + damping * torch.eye(len(G), dtype=G.dtype), gG)
    if right:
        gG = torch.linalg.solve(X.T @ X / len(X) + damping * torch.eye(X.shape[1], dtype=G.dtype), gG.T).T
    F -= rate * torch.linalg.solve(Z.T @ Z / len(X) + damping * torch.eye(len(G), dtype=G.dtype), gF.T).T
    G -= rate * gG


def gauss_newton(F: Tensor, G: Tensor, X: Tensor, Z: Tensor) -> Tensor:
    """Return the Gauss-Newton matrix J'J/n of all weights, F before G, each row by row."""
    n, k = len(X), len(G)
    FF = torch.kron(torch.eye(len(F), dtype=F.dtype), Z.T @ Z / n)
    GG = torch.kron(F.T @ F, X.T @ X / n)
    FG = torch.einsum("oa,ib->oiab", F, Z.T @ X / n).reshape(len(F) * k, -1)
    return torch.cat([torch.cat([FF, FG], 1), torch.cat([FG.T, GG], 1)])


def _natural(rate, F, G, gF, gG, X, Z, damping) -> None:
    H = gauss_newton(F, G, X, Z)
    H.diagonal().add_(damping)
    move = torch.linalg.solve(H, torch.cat([gF.flatten(), gG.flatten()]))
    F -= rate * move[: F.numel()].view_as(F)
    G -= rate * move[F.numel() :].view_as(G)


def _shampoo(F: Tensor, G: Tensor, beta: float = 0.95, floor: float = 1e-12) -> Callable:
    weights, age = (F, G), 0
    factors = [[torch.zeros(s, s, dtype=W.dtype) for s in W.shape] for W in weights]

    def update(rate, gF, gG, X, Z):
        nonlocal age
        age += 1
        for W, g, (L, R) in zip(weights, (gF, gG), factors, strict=True):
            L.lerp_(g @ g.T, 1 - beta), R.lerp_(g.T @ g, 1 - beta)
            W -= rate * _root(L / (1 - beta**age), floor) @ g @ _root(R / (1 - beta**age), floor)

    return update


def _muon(F: Tensor, G: Tensor, momentum: float = 0.95) -> Callable:
    buffers = [torch.zeros_like(W) for W in (F, G)]

    def update(rate, gF, gG, X, Z):
        for W, g, buffer in zip((F, G), (gF, gG), buffers, strict=True):
            buffer.mul_(momentum).add_(g)
            U, _, Vt = torch.linalg.svd(g + momentum * buffer, full_matrices=False)
            W -= rate * max(1, W.shape[0] / W.shape[1]) ** 0.5 * U @ Vt

    return update


def _root(M: Tensor, floor: float) -> Tensor:
    values, vectors = torch.linalg.eigh(M)
    return (vectors * values.clamp_min(floor * values[-1]).pow(-0.25)) @ vectors.T


@torch.no_grad()
def train(optimizer: str, condition: str, rate: float, damping: float, seed: int) -> dict:
    """Train once; return the distances at `POINTS` evenly spread moments and the transfer bias relative to the signal.

    A run that blows up has learned nothing: its distance is 1.
    """
    p, F, G, Xs, Ys = arena(condition, seed)
    F, G, T = F.clone(), G.clone(), len(Xs)
    update, normalise = updater(optimizer, F, G, damping), optimizer.startswith("batch-norm")
    marks, curve = np.linspace(0, T, POINTS).round().astype(int), []
    for t in range(T + 1):
        if t in marks:
            curve.append(distance(p, G.detach().numpy()))
        if t == T:
            return {"distance": ("moment", np.array(curve)), "transfer": _transfer_bias(p, G.detach().numpy())}
        gF, gG, Z = gradients(F.detach(), G.detach(), Xs[t], Ys[t], normalise)
        update(rate * (1 - t / T), gF, gG, Xs[t], Z)
        if not max(F.abs().max(), G.abs().max()) < BLOWN:
            return {"distance": ("moment", np.ones(POINTS)), "transfer": 1.0}


def _transfer_bias(p, G: np.ndarray) -> float:
    L = np.linalg.cholesky(p.S)
    target, features = p.G_star @ L, G @ L
    miss = target - target @ np.linalg.pinv(features) @ features
    return float(np.sum(miss**2) / np.sum(target**2))


def tune(optimizer: str, condition: str, number: int) -> dict:
    """Return the best of ``number`` settings on the tuning seeds, and whether it is at an end of the step sizes."""
    tried = settings(optimizer, number)
    score = [
        np.mean([np.log(train(optimizer, condition, *s, seed)["distance"][1][-1]) for seed in TUNING_SEEDS])
        for s in tried
    ]
    rate, damping = tried[int(np.argmin(score))]
    rates = [r for r, _ in tried]
    return {"rate": rate, "damping": damping, "at_edge": float(rate in (min(rates), max(rates)))}


def compete(optimizer: str, condition: str, number: int, seed: int) -> dict:
    """Tune ``optimizer`` with ``number`` settings (or read what was found), then train it on the fresh ``seed``."""
    best = cached(tune, optimizer=optimizer, condition=condition, number=number)
    return train(optimizer, condition, best["rate"], best["damping"], seed) | best


def contest(conditions: Sequence[str], optimizers: Sequence[str], seeds: Sequence[int], number: int):
    """Return distances (condition, optimizer, seed, moment), transfer biases and settings of a tuned contest."""
    grid = {"condition": list(conditions), "optimizer": list(optimizers)}
    sweep(tune_unit, grid, number=number)  # first, so that no two workers tune the same
    return sweep(compete, grid, seeds, number=number)


def tune_unit(optimizer: str, condition: str, number: int, seed: int) -> dict:
    """Fill the store with `tune`; ``seed`` is the sweep's and unused."""
    return cached(tune, optimizer=optimizer, condition=condition, number=number)


@torch.no_grad()
def seconds_per_step(optimizer: str, repeats: int = 15) -> float:
    """Return the least wall time of one step, gradients included, over ``repeats`` runs of 20 moderate steps."""
    _, F, G, Xs, Ys = arena("moderate", 0)
    best = np.inf
    for _ in range(repeats):
        weights = F.clone(), G.clone()
        update = updater(optimizer, *weights, damping=0.1)
        begin = time.perf_counter()
        for t in range(20):
            gF, gG, Z = gradients(*(w.detach() for w in weights), Xs[t], Ys[t], optimizer.startswith("batch-norm"))
            update(1e-3, gF, gG, Xs[t], Z)
        best = min(best, (time.perf_counter() - begin) / 20)
    return best


@stored("representation")
def full_contest(scale: str):
    """Make the stored run: every optimizer, every condition, timed one after the other on one thread."""
    number, seeds = {"smoke": (3, range(2)), "book": (6, range(5)), "paper": (24, range(10))}[scale]
    data = contest(list(CONDITIONS), list(OPTIMIZERS), list(seeds), number)
    torch.set_num_threads(1)
    return data.assign(seconds=("optimizer", [seconds_per_step(m) for m in OPTIMIZERS]))
