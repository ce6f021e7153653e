"""The exponent of any torch optimizer, read while it trains your model::

    meter = Meter(model, optimizer)
    ...  # train as ever
    for name, reading in meter.result().items():
        print(name, reading)
    meter.close()

Every `Linear` and `Conv2d` is read against its own inputs. The run stays as it is, bit
for bit; passes in evaluation mode or without gradients are not counted. Chapter
"exponent_meter" says what the numbers mean, and what they do not. Under distributed
training the inputs are those of this process. A model may be compiled, before or after,
but not have run so before the meter begins.
"""

from contextlib import ExitStack

import numpy as np
import torch
from torch import Tensor, nn

from fl import validate
from fl.meter_layers import given, precise, rows, usable, watch
from fl.meter_reading import KEPT, Reading, Window, read


class Meter(ExitStack):
    """Watches the steps of an optimizer; `result` gives the exponents, ``skipped`` says
    why each other parameter is not read. ``close`` removes all hooks, and so does the end
    of a ``with``; what was read stays.

    Copies of the model and the optimizer are not watched; the meter has no copies.

    Args:
        model: the network being trained.
        optimizer: any `torch.optim.Optimizer`; with a closure the gradient is that of
            the closure's first call in a step.
        window: optimizer steps between two read-outs; fewer than 20 attenuate.
        centred: use the covariance of the inputs in place of their second moment.
        momentum: the recorded gradients are filtered like the buffer of heavy-ball
            momentum; right for that alone, not for Adam.
        decay: how the ``weight_decay`` of a parameter group acts: ``coupled`` (added to
            the gradient), ``decoupled`` (shrinks the weights by lr times it).
        every: read one window in so many; the others cost next to nothing.
        moments: by layer name, moments (d, d) that the optimizer uses itself, read at
            the end of each window; other layers are read with their own.

    Raises:
        ValueError: for an argument out of range, an entry of ``moments`` that is no moment
            of a metered layer's inputs, or a model without a layer that can be read.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        window: int = 20,
        centred: bool = False,
        momentum: float = 0.0,
        decay: str | None = None,
        every: int = 1,
        moments: dict[str, Tensor] | None = None,
    ):
        super().__init__()
        layers, self.skipped = usable(model, optimizer)
        self.window = validate.count("window", window)
        self.every = validate.count("every", every)
        self.centred = bool(centred)
        self.momentum = validate.number("momentum", momentum, 0, 1)
        self.decay = validate.choice("decay", decay, ("coupled", "decoupled", None))
        self.moments = {} if moments is None else moments
        given(self.moments, layers)
        self.steps = self.depth = 0
        self.layers = {name: _Layer(self, name, x) for name, x in layers.items()}
        for handle in (
            optimizer.register_step_pre_hook(torch.compiler.disable(self._before)),
            optimizer.register_step_post_hook(torch.compiler.disable(self._after)),
            *(watch(layer.module, layer.see) for layer in self.layers.values()),
        ):
            self.enter_context(handle)

    def __reduce__(self):
        raise TypeError("a Meter has no copies: it watches one run; store its result()")

    @property
    def reading(self) -> bool:
        """Whether the present window is one of those that are read."""
        return self.steps // self.window % self.every == 0

    def result(self) -> dict[str, Reading]:
        """Return the reading of every metered layer over the windows completed."""
        own = "centred" if self.centred else "uncentred"
        return {
            name: read(
                layer.windows,
                "given" if name in self.moments else own,
                next(iter(layer.reasons.values()), ""),
            )
            for name, layer in self.layers.items()
        }

    def _before(self, optimizer, arguments, named):
        """Note weights and gradients before a step; the gradients of a closure when it
        has been called. A step that calls that of its base class has its hooks twice:
        the outer ones count.
        """
        self.depth += 1
        if self.depth > 1 or not (self.reading or self.momentum):
            return None
        for layer in self.layers.values():
            layer.before = matrix(layer.weight).clone()
        closure = named.pop("closure", None) if len(arguments) < 2 else arguments[1]
        if closure is None:
            return self._gradients(optimizer)
        waiting = [optimizer]

        def watched():
            loss = closure()
            if waiting:
                self._gradients(waiting.pop())
            return loss

        return (optimizer, watched, *arguments[2:]), named

    @torch.no_grad()
    def _gradients(self, optimizer) -> None:
        groups = {w: g for g in optimizer.param_groups for w in g["params"]}
        for layer in self.layers.values():
            layer.take(groups.get(layer.weight, {}))

    @torch.no_grad()
    def _after(self, optimizer, arguments, named) -> None:
        self.depth -= 1
        if self.depth:
            return
        end = (self.steps + 1) % self.window == 0
        for layer in self.layers.values():
            if self.reading:
                layer.moved += matrix(layer.weight) - layer.before
                if end:
                    layer.finish()
            if end:
                layer.clear()
        self.steps += 1


class _Layer:
    """The sums of one layer of a ``meter`` over the present window."""

    def __init__(self, meter: Meter, name: str, module: nn.Module):
        self.meter, self.name = meter, name
        self.module, self.weight = module, module.weight
        self.windows, self.reasons, self.broken, self.filtered = [], {}, 0, 0.0
        self.clear()

    def clear(self) -> None:
        """Begin a window."""
        self.moved = self.slope = self.square = self.total = self.before = 0.0
        self.seen = self.steps = 0

    def see(self, x: Tensor) -> None:
        """Take in the inputs of a forward pass, their number alone if the moment is
        given.
        """
        if not self.meter.reading:
            return
        x = rows(self.module, x)
        self.seen += len(x)
        if self.name not in self.meter.moments:
            self.square += x.T @ x
            self.total += x.sum(0)

    def take(self, group: dict) -> None:
        """Take in the gradient that a step is given, with what the options of its group
        add to it.
        """
        if self.weight.grad is None:
            return
        self.steps += 1
        g = matrix(self.weight.grad.to_dense())
        g = -g if group.get("maximize") else g
        shrink = float(group.get("weight_decay") or 0.0)
        meter = self.meter
        if meter.decay == "coupled":
            g = g + shrink * self.before
        if meter.momentum:
            g = self.filtered = meter.momentum * self.filtered + g
        if meter.decay == "decoupled":
            self.moved += float(group["lr"]) * shrink * self.before
        if shrink and meter.decay is None:
            self.reasons["decay"] = (
                f"weight_decay = {shrink:g} in its group: say whether decay is coupled or "
                "decoupled"
            )
        self.slope += g

    def finish(self) -> None:
        """Read the window that ends here in the eigenbasis of its moment, up to the last
        direction in which the weights moved by more than their rounding.
        """
        S, D = self.slope, self.moved
        if not (self.steps and S.any()):
            return
        if not self.seen:
            self.reasons["unseen"] = (
                "gradients without passes in training mode: did compiled code run before "
                "the meter began?"
            )
            return
        M = self.meter.moments.get(self.name)
        if M is None:
            mean = self.meter.centred * self.total / self.seen
            M = self.square / self.seen - torch.outer(mean, mean)
        M = precise(M).to(S.device)
        if not torch.cat([S, D, M]).isfinite().all():
            self.broken += 1
            self.reasons["numbers"] = (
                f"{self.broken} windows with numbers that are not finite"
            )
            return
        lam, U = torch.linalg.eigh(M)
        D, S = D @ U, S @ U
        sums = torch.stack([-D * S, S**2, D**2]).sum(1)
        curves = torch.vstack([lam, sums]).flip(1).cpu().double().numpy()
        kept = (curves[0] > 0) & (curves[0] >= KEPT * curves[0, 0])
        moved = np.sqrt(curves[3] * kept)
        least = torch.finfo(self.weight.dtype).eps * float(matrix(self.weight).norm())
        still = np.linalg.norm(moved) / least if least else np.inf
        # what the roundings of all steps add up to in one direction
        lost = least * (self.steps / len(lam)) ** 0.5
        above = np.flatnonzero(kept & (moved >= lost)) + 1
        curves = curves[:, : max(above, default=kept.sum())]
        self.windows.append(Window(*curves, still, self.seen))


def matrix(W: Tensor) -> Tensor:
    """Return weights or a gradient ``W`` (h, ...) as a matrix (h, d), see `precise`."""
    return precise(W).flatten(1)
