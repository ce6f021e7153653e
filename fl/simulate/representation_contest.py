r"""Fourteen optimizers on one linear representation problem and the same batches, tuned
with the same budget.

All weights of :math:`\hat y = F G x` are trained together for a fixed number of steps;
the step size falls linearly to zero. Every optimizer may try the same number of
settings on separate tuning seeds; the one with the best mean log distance is then run
on fresh seeds.
"""

import functools
import time
from collections.abc import Sequence

import numpy as np
import torch

from fl import validate
from fl.instruments.two_layer_optimizers import OPTIMIZERS, gradients, updater
from fl.simulate.representation import distance, problem
from fl.stored import stored
from fl.sweep import cached, sweep

DX, DY, K, BATCH = 40, 12, 4, 256
CONDITIONS = {
    "isotropic": dict(kappa_S=1, kappa_F=1, sigma=0.1, steps=100),
    "moderate": dict(kappa_S=30, kappa_F=3, sigma=0.1, steps=100),
    "hard": dict(kappa_S=100, kappa_F=10, sigma=0.01, steps=200),
}
FIRST_TUNING_SEED = 1000  # tuning seeds count up from here, fresh seeds from 0
BLOWN = 1e4  # a weight beyond it counts as divergence; all weights are of order one
POINTS = 26  # moments at which a learning curve is recorded

# range of the step sizes tried; damped methods share their settings out over three
# dampings
RATES = {
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


def settings(optimizer: str, number: int) -> list[tuple[float, float]]:
    """Return the ``number`` pairs (step size, damping) that ``optimizer`` may try; step
    sizes are centres of log bins.

    Raises:
        ValueError: for an unknown optimizer, or a ``number`` that is no multiple of
            three.
    """
    low, high = RATES[validate.choice("optimizer", optimizer, OPTIMIZERS)]
    if validate.count("number", number) % len(DAMPINGS):
        raise ValueError(f"number = {number}: must be a multiple of {len(DAMPINGS)}")
    dampings = DAMPINGS if optimizer in DAMPED else (0.0,)
    edges = np.geomspace(low, high, number // len(dampings) + 1)
    return [(float(r), g) for g in dampings for r in np.sqrt(edges[1:] * edges[:-1])]


@functools.lru_cache(maxsize=4)
def arena(condition: str, seed: int) -> tuple:
    """Return the problem, the starting weights F, G and all batches X (T, n, dX), Y (T,
    n, dY) of a seed.
    """
    c = CONDITIONS[validate.choice("condition", condition, CONDITIONS)]
    p = problem(DX, DY, K, c["kappa_S"], c["kappa_F"], seed)
    rng = np.random.default_rng([seed, 1])
    G = rng.standard_normal((K, DX)) / np.sqrt(DX)
    F = rng.standard_normal((DY, K)) / np.sqrt(4 * K)
    X = rng.standard_normal((c["steps"], BATCH, DX)) @ np.linalg.cholesky(p.S).T
    Y = X @ p.W.T + c["sigma"] * rng.standard_normal((c["steps"], BATCH, DY))
    return p, *(torch.tensor(a) for a in (F, G, X, Y))


@torch.no_grad()
def train(
    optimizer: str, condition: str, rate: float, damping: float, seed: int
) -> dict:
    """Train once; return the distances at `POINTS` evenly spread moments and the
    transfer bias relative to the signal.

    A run that blows up has learned nothing: its distance is 1.
    """
    p, F, G, Xs, Ys = arena(condition, seed)
    F, G, T = F.clone(), G.clone(), len(Xs)
    update, normalise = (
        updater(optimizer, F, G, damping),
        optimizer.startswith("batch-norm"),
    )
    marks, curve = np.linspace(0, T, POINTS).round().astype(int), []
    for t in range(T + 1):
        if t in marks:
            curve.append(distance(p, G.detach().numpy()))
        if t == T:
            return {
                "distance": ("moment", np.array(curve)),
                "transfer": _transfer_bias(p, G.detach().numpy()),
            }
        gF, gG, Z = gradients(F.detach(), G.detach(), Xs[t], Ys[t], normalise)
        update(rate * (1 - t / T), gF, gG, Xs[t], Z)
        if not max(F.abs().max(), G.abs().max()) < BLOWN:
            return {"distance": ("moment", np.ones(POINTS)), "transfer": 1.0}


def _transfer_bias(p, G: np.ndarray) -> float:
    L = np.linalg.cholesky(p.S)
    target, features = p.G_star @ L, G @ L
    miss = target - target @ np.linalg.pinv(features) @ features
    return float(np.sum(miss**2) / np.sum(target**2))


def tune(optimizer: str, condition: str, number: int, tuning: int) -> dict:
    """Return the best of ``number`` settings on ``tuning`` seeds, and whether it is at
    an end of the step sizes.
    """
    tried, seeds = (
        settings(optimizer, number),
        range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + tuning),
    )
    score = [
        np.mean(
            [
                np.log(train(optimizer, condition, *s, i)["distance"][1][-1])
                for i in seeds
            ]
        )
        for s in tried
    ]
    rate, damping = tried[int(np.argmin(score))]
    rates = [r for r, _ in tried]
    return {
        "rate": rate,
        "damping": damping,
        "at_edge": float(rate in (min(rates), max(rates))),
    }


def compete(
    optimizer: str, condition: str, number: int, tuning: int, seed: int
) -> dict:
    """Tune ``optimizer`` with ``number`` settings (or read what was found), then train
    it on the fresh ``seed``.
    """
    best = cached(
        tune, optimizer=optimizer, condition=condition, number=number, tuning=tuning
    )
    return train(optimizer, condition, best["rate"], best["damping"], seed) | best


def contest(
    conditions: Sequence[str],
    optimizers: Sequence[str],
    seeds: Sequence[int],
    number: int,
    tuning: int,
):
    """Return distances (condition, optimizer, seed, moment), transfer biases and
    settings of a tuned contest.

    ``moment`` is the share of the steps done.
    """
    grid = {"condition": list(conditions), "optimizer": list(optimizers)}
    sweep(
        _tune, grid, number=number, tuning=tuning
    )  # first, so that no two workers tune the same
    return sweep(compete, grid, seeds, number=number, tuning=tuning).assign_coords(
        moment=np.linspace(0, 1, POINTS)
    )


def _tune(optimizer: str, condition: str, number: int, tuning: int, seed: int) -> dict:
    """Fill the store with `tune`; ``seed`` is the sweep's and unused."""
    return cached(
        tune, optimizer=optimizer, condition=condition, number=number, tuning=tuning
    )


@torch.no_grad()
def seconds_per_step(optimizer: str, steps: int = 400) -> float:
    """Return the least wall time of a step, gradients included, over ``steps`` steps of
    the moderate problem.

    The least, since everything else that runs on the machine only adds to it; a single
    step is short enough to be left alone now and then even on a busy one.
    """
    _, F, G, Xs, Ys = arena("moderate", 0)
    F, G = F.clone(), G.clone()
    update, normalise, best = (
        updater(optimizer, F, G, damping=0.1),
        optimizer.startswith("batch-norm"),
        np.inf,
    )
    for t in range(steps):
        X, Y = Xs[t % len(Xs)], Ys[t % len(Ys)]
        begin = time.perf_counter()
        gF, gG, Z = gradients(F.detach(), G.detach(), X, Y, normalise)
        update(1e-4, gF, gG, X, Z)
        best = min(best, time.perf_counter() - begin)
    return best


@stored("representation")
def full_contest(scale: str):
    """Make the stored run: every optimizer, every condition, timed one after the other
    on one thread.
    """
    number, tuning, seeds = {
        "smoke": (3, 1, range(2)),
        "book": (6, 3, range(5)),
        "paper": (18, 5, range(10)),
    }[scale]
    data = contest(list(CONDITIONS), OPTIMIZERS, seeds, number, tuning)
    torch.set_num_threads(1)
    return data.assign(seconds=("optimizer", [seconds_per_step(m) for m in OPTIMIZERS]))
