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
but not have run so before the meter begins. A step that raises is the last that is counted.

`bench` and `assert_exponent`, which need no model, may be imported from here as well; they
stand in `fl.meter_bench`.
"""

from collections import Counter
from contextlib import ExitStack
from functools import partial
from itertools import starmap

import numpy as np
import torch
from torch import Tensor, nn
from torch.compiler import disable

from fl import validate
from fl.meter_bench import assert_exponent as assert_exponent
from fl.meter_bench import bench as bench
from fl.meter_layers import given, precise, rows, usable, watch
from fl.meter_reading import KEPT, Reading, Window, read

# why a layer is not read, with the number that belongs to it
UNSAID = "weight_decay = {:g} in its group: say whether decay is coupled or decoupled"
UNSEEN = (
    "gradients without passes in training mode: did compiled code run before the meter "
    "began?"
)
BROKEN = "{} windows with numbers that are not finite"


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
        moments: dict | None = None,
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
        self.layers = {name: _Layer(x.weight) for name, x in layers.items()}
        for handle in (
            optimizer.register_step_pre_hook(disable(self._before)),
            optimizer.register_step_post_hook(disable(self._after)),
            *(watch(x, partial(self._see, name, x)) for name, x in layers.items()),
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
                next(starmap(str.format, layer.reasons.items()), ""),
            )
            for name, layer in self.layers.items()
        }

    def _see(self, name, module, x):
        """Take in the inputs of a forward pass, their number alone if the moment is
        given.
        """
        if self.reading:
            layer, x = self.layers[name], rows(module, x)
            layer.seen += len(x)
            if name not in self.moments:
                layer.square += x.T @ x
                layer.total += x.sum(0)

    def _before(self, optimizer, arguments, named):
        """Note weights and gradients before a step; the gradients of a closure when it
        has been called. A step that calls that of its base class has its hooks twice:
        the outer ones count.
        """
        self.depth += 1
        if self.depth > 1 or not (self.reading or self.momentum):
            return None
        self.groups = {w: g for g in optimizer.param_groups for w in g["params"]}
        for layer in self.layers.values():
            layer.before = matrix(layer.weight).clone()
        closure = named.pop("closure", None) if len(arguments) < 2 else arguments[1]
        if closure is None:
            return self._gradients()

        def watched():
            loss = closure()
            self._gradients()
            return loss

        return (optimizer, watched, *arguments[2:]), named

    def _gradients(self):
        """Take in the gradients that a step is given, once in a step, with what the
        options of their groups add to them.
        """
        for layer in self.layers.values():
            group = self.groups.pop(layer.weight, None)
            if group is None or layer.weight.grad is None:
                continue
            layer.steps += 1
            g = matrix(layer.weight.grad.to_dense())
            if group.get("maximize"):
                g = -g
            shrink = float(group.get("weight_decay") or 0.0)
            if self.decay == "coupled":
                g = g + shrink * layer.before
            if self.momentum:
                g = layer.filtered = self.momentum * layer.filtered + g
            if self.decay == "decoupled":
                layer.moved += float(group["lr"]) * shrink * layer.before
            if shrink and self.decay is None:
                layer.reasons[UNSAID] = shrink
            layer.slope += g

    def _after(self, *_):
        self.depth -= 1
        if self.depth:
            return
        end = (self.steps + 1) % self.window == 0
        for name, layer in self.layers.items():
            if self.reading:
                layer.moved += matrix(layer.weight) - layer.before
                if end:
                    self._finish(layer, self.moments.get(name))
            layer.before = None
            if end:
                layer.clear()
        self.steps += 1

    def _finish(self, layer, M):
        """Read the window that ends here in the eigenbasis of a given moment or that of
        the inputs, up to the last direction in which the weights moved by more than their
        rounding.
        """
        if not (layer.steps and layer.slope.any()):
            return
        if not layer.seen:
            layer.reasons[UNSEEN] += 1
            return
        if M is None:
            mean = self.centred * layer.total / layer.seen
            M = layer.square / layer.seen - torch.outer(mean, mean)
        M = precise(torch.as_tensor(M, device=layer.weight.device))
        if not torch.cat([layer.slope, layer.moved, M]).isfinite().all():
            layer.reasons[BROKEN] += 1
            return
        lam, U = torch.linalg.eigh(M)
        D, S = layer.moved @ U, layer.slope @ U
        sums = torch.stack([-D * S, S**2, D**2]).sum(1)
        least = torch.finfo(layer.weight.dtype).eps * matrix(layer.weight).norm()
        table = torch.vstack([lam, sums, sums[2].sqrt() / least])
        lam, *_, roundings = table = table.flip(1).cpu().double().numpy()
        kept = (lam > 0) & (lam >= KEPT * lam[0])
        # what the roundings of all steps add up to in one direction
        lost = (layer.steps / len(lam)) ** 0.5
        above = np.flatnonzero(kept & (roundings >= lost)) + 1
        curves = table[:4, : max(above, default=kept.sum())]
        still = np.linalg.norm(roundings[kept])
        layer.windows.append(Window(*curves, still, layer.seen))


class _Layer:
    """The sums of one layer with some ``weight`` over the present window."""

    def __init__(self, weight):
        self.weight = weight
        self.windows, self.reasons, self.filtered = [], Counter(), 0.0
        self.clear()

    def clear(self) -> None:
        """Begin a window."""
        self.moved = self.slope = self.square = self.total = self.seen = self.steps = 0


def matrix(W: Tensor) -> Tensor:
    """Return weights or a gradient ``W`` (h, ...) as a matrix (h, d), see `precise`."""
    return precise(W).flatten(1)
