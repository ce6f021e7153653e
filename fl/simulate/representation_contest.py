r"""Fourteen optimizers on one linear representation problem and the same batches.

All weights of :math:`\hat y = F G x` are trained together for a fixed number of steps;
the step size falls linearly to zero. Every optimizer may try the same number of
settings on separate tuning seeds; the one with the best mean log distance wins.
"""

import functools
import time
from typing import NamedTuple

import numpy as np
import torch

from fl import validate
from fl.instruments.two_layer_optimizers import OPTIMIZERS, gradients, updater
from fl.simulate.representation import Problem, distance, random_problem, samples

DX, DY, K, BATCH = 40, 12, 4, 256
TRAINING = 1  # stream: the second entry of a seed that draws weights and batches
BLOWN = 1e4  # a weight beyond it counts as divergence; all weights are of order one
POINTS = 26  # moments at which a learning curve is recorded

# range of the step sizes tried; damped methods share their settings out over three
# dampings
ETAS = {
    "SGD": (0.1, 1.5),
    "momentum": (0.01, 0.6),
    "Adam": (0.01, 0.4),
    "AdamW": (0.01, 0.4),
    "Muon": (0.03, 1.0),
    "Muon exact": (0.03, 1.0),
    "Shampoo": (0.03, 1.5),
    "SOAP": (0.02, 0.4),
    "KFAC": (0.03, 1.0),
    "KFAC left": (0.06, 2.0),
    "KFAC right": (0.06, 2.0),
    "NGD": (0.03, 1.0),
    "batch-norm": (0.1, 2.0),
    "batch-norm + Adam": (0.01, 0.4),
}
DAMPED = ("KFAC", "KFAC left", "KFAC right", "NGD")
DAMPINGS = (1e-4, 3e-3, 0.1)


class Condition(NamedTuple):
    """Condition numbers of covariance and head, variance ``noise`` of the label noise,
    and the number of training ``steps``.
    """

    kappa_S: float
    kappa_F: float
    noise: float
    steps: int


CONDITIONS = {
    "isotropic": Condition(1, 1, 0.01, 100),
    "moderate": Condition(30, 3, 0.01, 100),
    "hard": Condition(100, 10, 1e-4, 200),
}


def settings(optimizer: str, number: int) -> list[tuple[float, float]]:
    """Return the ``number`` pairs (step size, damping) that ``optimizer`` may try; step
    sizes are centres of log bins.

    Raises:
        ValueError: for an unknown optimizer, or a ``number`` that is no multiple of
            three.
    """
    low, high = ETAS[validate.choice("optimizer", optimizer, OPTIMIZERS)]
    if validate.count("number", number) % len(DAMPINGS):
        raise ValueError(f"number = {number}: must be a multiple of {len(DAMPINGS)}")
    dampings = DAMPINGS if optimizer in DAMPED else (0.0,)
    edges = np.geomspace(low, high, number // len(dampings) + 1)
    etas = np.sqrt(edges[1:] * edges[:-1]).tolist()
    return [(eta, damping) for damping in dampings for eta in etas]


@functools.lru_cache(maxsize=4)
def arena(condition: str, seed: int) -> tuple:
    """Return the problem, the starting weights F, G and all batches X (T, n, dX), Y (T,
    n, dY) that ``seed`` draws under ``condition``.

    Raises:
        ValueError: for an unknown condition.
    """
    name = validate.choice("condition", condition, CONDITIONS)
    kappa_S, kappa_F, noise, steps = CONDITIONS[name]
    problem = random_problem(DX, DY, K, kappa_S, kappa_F, seed)
    rng = np.random.default_rng([seed, TRAINING])
    G = rng.standard_normal((K, DX)) / np.sqrt(DX)
    F = rng.standard_normal((DY, K)) / np.sqrt(4 * K)
    X, Y = samples(problem, BATCH, noise, rng, (steps,))
    return problem, *map(torch.tensor, (F, G, X, Y))


@torch.no_grad()
def train(
    optimizer: str, condition: str, eta: float, damping: float, seed: int
) -> dict:
    """Train once; return the distances at `POINTS` evenly spread moments and the
    transfer bias relative to the signal.

    A run that blows up has learned nothing: its distance is 1.

    Args:
        optimizer: one of `OPTIMIZERS`.
        condition: one of `CONDITIONS`.
        eta: step size at the start.
        damping: of the optimizers that solve.
        seed: of the problem, the start and the batches.
    """
    problem, F, G, Xs, Ys = arena(condition, seed)
    F, G, steps = F.clone(), G.clone(), len(Xs)
    update = updater(optimizer, F, G, damping)
    normalise = optimizer.startswith("batch-norm")
    marks = np.linspace(0, steps, POINTS).round()
    curve = [distance(problem, G)]
    for t, (X, Y) in enumerate(zip(Xs, Ys, strict=True)):
        grad_F, grad_G, Z = gradients(F.detach(), G.detach(), X, Y, normalise)
        update(eta * (1 - t / steps), grad_F, grad_G, X, Z)
        size = max(F.abs().max(), G.abs().max())
        if not size < BLOWN:  # NaN is not, either
            return {"distance": ("progress", np.ones(POINTS)), "transfer": 1.0}
        if t + 1 in marks:
            curve.append(distance(problem, G.detach().numpy()))
    bias = _transfer_bias(problem, G.detach().numpy())
    return {"distance": ("progress", np.array(curve)), "transfer": bias}


def _transfer_bias(problem: Problem, G: np.ndarray) -> float:
    root = np.linalg.cholesky(problem.S)
    target, features = problem.G_star @ root, G @ root
    miss = target - target @ np.linalg.pinv(features) @ features
    return np.sum(miss**2) / np.sum(target**2)


def tune(optimizer: str, condition: str, number: int, repeats: int, seed: int) -> dict:
    """Return the best setting, and whether it is at an end of the step sizes.

    Args:
        optimizer: one of `OPTIMIZERS`.
        condition: one of `CONDITIONS`.
        number: settings to try.
        repeats: seeds to try each of them on.
        seed: the first of these seeds.
    """
    tried = settings(optimizer, number)
    scores = [
        np.mean(
            [
                np.log(train(optimizer, condition, *pair, s)["distance"][1][-1])
                for s in range(seed, seed + repeats)
            ]
        )
        for pair in tried
    ]
    eta, damping = tried[np.argmin(scores)]
    etas = [pair[0] for pair in tried]
    at_edge = float(eta in (min(etas), max(etas)))
    return {"eta": eta, "damping": damping, "at_edge": at_edge}


@torch.no_grad()
def seconds_per_step(optimizer: str, steps: int = 400) -> float:
    """Return the least wall time of a step of ``optimizer``, gradients included, over
    ``steps`` steps of the moderate problem, on one thread.

    The least, since everything else that runs on the machine only adds to it; a single
    step is short enough to be left alone now and then even on a busy one.
    """
    torch.set_num_threads(1)
    _, F, G, Xs, Ys = arena("moderate", 0)
    F, G = F.clone(), G.clone()
    update = updater(optimizer, F, G, damping=0.1)
    normalise = optimizer.startswith("batch-norm")
    best = np.inf
    for t in range(steps):
        X, Y = Xs[t % len(Xs)], Ys[t % len(Ys)]
        begin = time.perf_counter()
        grad_F, grad_G, Z = gradients(F.detach(), G.detach(), X, Y, normalise)
        update(1e-4, grad_F, grad_G, X, Z)
        best = min(best, time.perf_counter() - begin)
    return best
