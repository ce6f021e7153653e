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
from numpy.linalg import cholesky, norm
from numpy.random import default_rng
from scipy.linalg import null_space

from fl import validate
from fl.instruments.two_layer_optimizers import OPTIMIZERS, gradients, updater
from fl.simulate.representation import Problem, distance, random_problem, samples

SIZES = {"dX": 40, "dY": 12, "k": 4, "n": 256}
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
    # steps of Adam for the operations of 100 steps of K-FAC
    "moderate, longer": Condition(30, 3, 0.01, 467),
}


def settings(optimizer: str, number: int) -> list[tuple[float, float]]:
    """Return the ``number`` pairs (step size, damping) that ``optimizer`` may try; step
    sizes are centres of log bins.

    Raises:
        ValueError: for an unknown optimizer, or a ``number`` that is no multiple of
            three.
    """
    validate.choice("optimizer", optimizer, OPTIMIZERS)
    low, high = ETAS[optimizer]
    if validate.count("number", number) % len(DAMPINGS):
        raise ValueError(f"number = {number}: must be a multiple of {len(DAMPINGS)}")
    dampings = DAMPINGS if optimizer in DAMPED else (0.0,)
    bins = number // len(dampings)
    edges_and_centres = np.geomspace(low, high, 2 * bins + 1)
    etas = edges_and_centres[1::2].tolist()
    return [(eta, damping) for damping in dampings for eta in etas]


@functools.lru_cache(maxsize=4)
def arena(condition: str, seed: int) -> tuple:
    """Return the problem, the starting weights F, G and all batches X (T, n, dX), Y (T,
    n, dY) that ``seed`` draws under ``condition``.

    Raises:
        ValueError: for an unknown condition.
    """
    validate.choice("condition", condition, CONDITIONS)
    kappa_S, kappa_F, noise, steps = CONDITIONS[condition]
    dX, dY, k, n = SIZES.values()
    problem = random_problem(dX, dY, k, kappa_S, kappa_F, seed)
    rng = default_rng([seed, TRAINING])
    G = rng.standard_normal((k, dX)) / np.sqrt(dX)
    F = rng.standard_normal((dY, k)) / np.sqrt(4 * k)
    X, Y = samples(problem, n, noise, rng, (steps,))
    tensors = map(torch.tensor, (F, G, X, Y))
    return problem, *tensors


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
    problem, weights, move = _racer(optimizer, condition, damping, seed)
    steps = CONDITIONS[condition].steps
    marks = np.linspace(0, steps, POINTS).round()
    F, G = (W.detach() for W in weights)  # views: they move with the weights
    features = G.numpy()
    curve = [distance(problem, features)]
    for t in range(steps):
        left = 1 - t / steps
        move(t, eta * left)
        size = max(F.abs().max(), G.abs().max())
        if not size < BLOWN:  # nor is NaN
            return {"distance": ("progress", np.ones(POINTS)), "transfer": 1.0}
        if t + 1 in marks:
            curve.append(distance(problem, features))
    return {
        "distance": ("progress", np.array(curve)),
        "transfer": _transfer_bias(problem, features),
    }


def _transfer_bias(problem: Problem, G) -> float:
    root = cholesky(problem.S)
    target = problem.G_star @ root
    missed = target @ null_space(G @ root)
    return norm(missed) ** 2 / norm(target) ** 2


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
    scores = []
    for eta, damping in tried:
        last = []
        for s in range(seed, seed + repeats):
            curve = train(optimizer, condition, eta, damping, s)["distance"][1]
            last.append(curve[-1])
        scores.append(np.log(last).mean())
    eta, damping = tried[np.argmin(scores)]
    etas = [pair[0] for pair in tried]
    at_edge = eta in (min(etas), max(etas))
    return {"eta": eta, "damping": damping, "at_edge": at_edge}


def seconds_per_step(optimizer: str, steps: int = 400) -> float:
    """Return the least wall time of a step of ``optimizer``, gradients included, over
    ``steps`` steps of the moderate problem, on one thread.

    The least, since everything else that runs on the machine only adds to it; a single
    step is short enough to be left alone now and then even on a busy one.
    """
    torch.set_num_threads(1)
    _, _, move = _racer(optimizer, "moderate", 0.1, 0)
    best = np.inf
    for t in range(steps):
        begin = time.perf_counter()
        move(t % CONDITIONS["moderate"].steps, 1e-4)
        best = min(best, time.perf_counter() - begin)
    return best


def _racer(optimizer: str, condition: str, damping: float, seed: int) -> tuple:
    """Return the problem, fresh weights F and G, and ``move(t, eta)``, which moves them
    by one step on batch ``t``.
    """
    problem, F, G, X, Y = arena(condition, seed)
    F = F.clone()
    G = G.clone()
    update = updater(optimizer, F, G, damping)
    normalise = optimizer.startswith("batch-norm")

    def move(t: int, eta: float) -> None:
        weights = F.detach(), G.detach()
        grad_F, grad_G, Z = gradients(*weights, X[t], Y[t], normalise)
        with torch.no_grad():
            update(eta, grad_F, grad_G, X[t], Z)

    return problem, (F, G), move
