"""How the optimizers of the zoo run: the loss as they see it, step by step or by scipy.

`Problem` gives the gradients of a user's loss and can ask it again on the same draws;
`by_steps` and `by_lbfgs` move down it.
"""

import re
from collections.abc import Callable

import numpy as np
import torch
from scipy import optimize
from torch import Tensor, nn


class Problem:
    """A loss as the optimizers see it: its gradients, and its last draws once more.

    Args:
        name: of the optimizer, for messages.
        model: whose weights are moved.
        loss: returns the scalar loss with its graph.
    """

    def __init__(self, name: str, model: nn.Module, loss: Callable[[], Tensor]):
        self.name = name
        self.loss = loss
        self.params = list(model.parameters())

    def again(self) -> Tensor:
        """Return the loss on its last draws; the generator goes on from where it
        was.
        """
        now = torch.get_rng_state()
        torch.set_rng_state(self.draws)
        try:
            return self.loss()
        finally:
            torch.set_rng_state(now)

    def gradients(self, graph: bool = False, again: bool = False) -> None:
        """Put the loss into ``value`` and its gradients into ``.grad``, with their
        ``graph`` if asked for; on the last draws if ``again``.

        Raises:
            ValueError: if the loss is no scalar tensor or lacks a graph.
        """
        if not again:
            self.draws = torch.get_rng_state()
        value = self.again() if again else self.loss()
        if not isinstance(value, Tensor) or value.numel() != 1:
            raise ValueError(f"loss() = {value!r}: must be a tensor with one entry")
        if not value.requires_grad:
            raise ValueError(
                f"loss() has no graph, so {self.name} gets no gradient: "
                "compute it from the model, with gradients on"
            )
        slopes = torch.autograd.grad(
            value.reshape(()), self.params, create_graph=graph, materialize_grads=True
        )
        if graph and not any(g.requires_grad for g in slopes):
            raise ValueError(
                f"{self.name} needs second derivatives, "
                "but the gradient of this loss does not depend on the weights"
            )
        for w, g in zip(self.params, slopes, strict=True):
            w.grad = g
        self.value = float(value.detach())


def by_steps(
    problem: Problem, update: Callable, steps: int, watch: Callable, every: int
) -> int:
    """Make at most ``steps`` updates and return their number; the gradients of the
    start are in ``.grad``.

    Args:
        problem: the loss and its gradients.
        update: moves the weights once.
        steps: largest number of updates.
        watch: called with the number of updates and the loss there; a true answer ends
            the run.
        every: steps between two gradients with a graph, 0 for never.

    Raises:
        ValueError: if an update needs second derivatives that the loss does not have.
    """
    for step in range(steps):
        if watch(step, problem.value) or not np.isfinite(problem.value):
            return step
        try:
            update()
        except RuntimeError as error:
            if every and re.search("differentia|does not require grad", str(error)):
                raise ValueError(
                    f"{problem.name} needs second derivatives, "
                    f"which this loss does not have: {error}"
                ) from None
            raise
        problem.gradients(graph=every > 0 and (step + 1) % every == 0)
    watch(steps, problem.value)
    return steps


def seeded(update: Callable, seed: int) -> Callable:
    """Return ``update`` with random numbers of its own, drawn from ``seed`` and going
    on from call to call.
    """
    own = torch.Generator().manual_seed(seed)

    def once() -> None:
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(own.get_state())
            update()
            own.set_state(torch.get_rng_state())

    return once


def by_lbfgs(problem: Problem, pairs: int, steps: int, watch: Callable) -> int:
    """Run scipy's L-BFGS-B with ``pairs`` corrections, whose iterations are the
    ``steps``, and return their number; its last evaluation is the point it stands at.

    ``problem`` and ``watch`` as in `by_steps`; every evaluation is on the same draws.
    """
    params = problem.params

    def evaluate(x):
        point = torch.as_tensor(x, dtype=params[0].dtype)
        with torch.no_grad():
            nn.utils.vector_to_parameters(point, params)
        problem.gradients(again=True)
        return problem.value, _flat(w.grad for w in params)

    made = 0

    def callback(intermediate_result) -> None:
        nonlocal made
        made += 1
        value, _ = evaluate(intermediate_result.x)
        if watch(made, value):
            raise StopIteration

    if watch(0, problem.value):
        return 0
    options = {"maxcor": pairs, "maxiter": steps, "ftol": 0.0, "gtol": 0.0}
    options["maxfun"] = 20 * steps + 20
    fixed = {"jac": True, "method": "L-BFGS-B", "options": options}
    begin = _flat(w.detach() for w in params)
    optimize.minimize(evaluate, begin, callback=callback, **fixed)
    return made


def _flat(tensors) -> np.ndarray:
    return torch.cat([w.flatten() for w in tensors]).double().numpy()
