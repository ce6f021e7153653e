"""How the optimizers of the zoo run: the loss as they see it, step by step or by scipy.

`Problem` checks model, loss and weights once for all of them, gives the gradients of a
user's loss and can ask it again on the same draws; `by_steps` and `by_lbfgs` move down
it.
"""

from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch
from scipy import optimize
from torch import Tensor, nn

from fl.preconditioners import checked_weight


class Problem:
    """A loss as the optimizers see it: its gradients, and its last draws once more.

    Args:
        name: of the optimizer, for messages.
        model: whose weights are moved.
        loss: returns the scalar loss with its graph.

    Raises:
        ValueError: unless the model is a module with trainable weights, and the loss a
            function.
    """

    def __init__(self, name: str, model: nn.Module, loss: Callable[[], Tensor]):
        if not isinstance(model, nn.Module):
            raise ValueError(f"model = {model!r}: must be a torch.nn.Module")
        if not any(w.requires_grad for w in model.parameters()):
            raise ValueError(
                "model must have weights, and requires_grad on one of them"
            )
        if not callable(loss):
            raise ValueError(
                f"loss = {loss!r}: {name} needs a function without arguments "
                "that returns the loss"
            )
        self.name = name
        self.model = model
        self.loss = loss

    @cached_property
    def names(self) -> dict[Tensor, str]:
        """The weights to move, with their names: those that require a gradient and have
        entries; lazy ones have their shape once the loss was evaluated.
        """
        named = self.model.named_parameters(prefix="model")
        return {w: name for name, w in named if w.requires_grad and w.numel()}

    @property
    def params(self) -> list[Tensor]:
        """The weights to move."""
        return list(self.names)

    def start(self, graph: bool) -> None:
        """Evaluate the loss and its gradients for the first time, with their ``graph``
        if every later step needs it, and check all that the methods take for granted.

        Raises:
            ValueError: if the loss or a gradient is not finite, or no weight enters it;
                for a weight of another type than a real floating-point one, not finite,
                or without memory of its own; with ``graph``, for a weight without second
                derivatives.
        """
        self.gradients(graph=graph)
        if not np.isfinite(self.value):
            raise ValueError(f"loss() = {self.value} at the start: must be finite")
        homes = {}
        for w, name in self.names.items():
            checked_weight(name, w)
            if w.grad is not None and not w.grad.isfinite().all():
                raise ValueError(f"the gradient of {name} at the start must be finite")
            other = homes.setdefault(w.data_ptr(), name)
            if other != name:
                raise ValueError(
                    f"{name} shares its memory with {other}: make them one parameter"
                )
        used = [w for w in self.names if w.grad is not None]
        if not used:
            raise ValueError(
                "loss() depends on no weight of model: compute it from there"
            )
        if graph:
            self._check_curvature(used)

    def _check_curvature(self, used: list[Tensor]) -> None:
        total = sum(w.grad.sum() for w in used)
        curves = [None] * len(used)
        try:
            if total.requires_grad:
                fixed = {"retain_graph": True, "allow_unused": True}
                curves = torch.autograd.grad(total, used, **fixed)
        except RuntimeError as error:
            raise ValueError(
                f"{self.name} needs second derivatives, which this loss does not have: {error}"
            ) from error
        for w, curve in zip(used, curves, strict=True):
            if curve is None or curve.is_sparse:
                raise ValueError(
                    f"{self.name} needs second derivatives, and the gradient of this loss "
                    f"has none, or sparse ones, in {self.names[w]}"
                )

    def check_precision(self, part: torch.optim.Optimizer) -> None:
        """Check the types of the weights for ``part`` of the method.

        Raises:
            ValueError: for a weight of a type in which the optimizer's ``eps`` is zero.
        """
        eps = part.defaults.get("eps", np.inf)
        for w, name in self.names.items():
            kind = torch.finfo(w.dtype)
            if eps < kind.tiny * kind.eps:
                raise ValueError(
                    f"{name} has dtype {kind.dtype}, where eps = {eps:g} of {self.name} "
                    "is zero: must be bfloat16, float32 or float64"
                )

    def again(self, trial: bool = True) -> Tensor:
        """Return the loss on its last draws; the generator goes on from where it was.

        What the model counts in its buffers (the statistics of batch normalisation)
        stays as it was, unless this is no ``trial``.
        """
        now = torch.get_rng_state()
        before = [(b, b.clone()) for b in self.model.buffers() if trial]
        torch.set_rng_state(self.draws)
        try:
            return self.loss()
        finally:
            torch.set_rng_state(now)
            for buffer, old in before:  # by .data: the graph of the loss stays valid
                buffer.data.copy_(old)

    def gradients(self, loss: Callable | None = None, graph: bool = False) -> None:
        """Put the loss into ``value`` and its gradients into ``.grad``, with their
        ``graph`` if asked for; on new draws, or as ``loss`` evaluates it. A weight that
        the loss does not use has no gradient.

        Raises:
            ValueError: if the loss is no real scalar tensor or lacks a graph.
        """
        if loss is None:
            self.draws = torch.get_rng_state()
        value = (loss or self.loss)()
        if not isinstance(value, Tensor) or value.numel() != 1 or value.is_complex():
            raise ValueError(
                f"loss() = {value!r}: must be a tensor with one entry, a real number"
            )
        if not value.requires_grad:
            raise ValueError(
                f"loss() has no graph, so {self.name} gets no gradient: "
                "compute it from the model, with gradients on"
            )
        fixed = {"create_graph": graph, "allow_unused": True}
        slopes = torch.autograd.grad(value.reshape(()), self.params, **fixed)
        for w, g in zip(self.params, slopes, strict=True):
            w.grad = g if g is None else g.to_dense()
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
    """
    for step in range(steps):
        if watch(step, problem.value) or not np.isfinite(problem.value):
            return step
        update()
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
    ``steps``, and return their number; the weights end at the last point it accepted.

    ``problem`` and ``watch`` as in `by_steps`; every evaluation is on the same draws. A
    point where the loss is not finite counts as uphill, so that the line search turns
    back.
    """
    params = problem.params
    made, here = 0, _flat(params)  # iterations, and the last accepted point

    @torch.no_grad()
    def place(x) -> None:
        parts = torch.as_tensor(x).split([w.numel() for w in params])
        for w, part in zip(params, parts, strict=True):
            w.copy_(part.view(w.shape))

    def evaluate(x, trial: bool = True):
        place(x)
        problem.gradients(lambda: problem.again(trial))
        slopes = [torch.zeros_like(w) if w.grad is None else w.grad for w in params]
        return problem.value, _flat(slopes)

    def guarded(x):
        found = evaluate(x)
        if np.isfinite(found[0]) and np.isfinite(found[1]).all():
            return found
        return value + abs(value) + 1, -slope

    def callback(intermediate_result) -> None:
        nonlocal made, here, value, slope
        made += 1
        here = intermediate_result.x.copy()
        value, slope = evaluate(here, trial=False)
        if watch(made, value):
            raise StopIteration

    if watch(0, problem.value):
        return 0
    value, slope = evaluate(here)
    options = {"maxcor": pairs, "maxiter": steps, "ftol": 0.0, "gtol": 0.0}
    options["maxfun"] = 20 * steps + 20
    fixed = {"jac": True, "method": "L-BFGS-B", "options": options}
    optimize.minimize(guarded, here, callback=callback, **fixed)
    place(here)
    return made


def _flat(tensors) -> np.ndarray:
    return torch.cat([w.detach().double().flatten() for w in tensors]).numpy()
