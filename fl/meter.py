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

import numpy as np
import torch
from torch import Tensor, nn

from fl import validate
from fl.meter_layers import given, precise, rows, usable, watch
from fl.meter_reading import KEPT, Reading, Window, read

DECAYS = ("coupled", "decoupled")


class Meter:
    """Watches the steps of an optimizer; `result` gives the exponents, ``skipped`` says
    why each other parameter is not read. Also a context manager that closes itself.

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
        layers, self.skipped = usable(model, optimizer)
        self.window = validate.count("window", window)
        self.every = validate.count("every", every)
        self.momentum = validate.number("momentum", momentum, 0, 1)
        if decay is not None:
            validate.choice("decay", decay, DECAYS)
        self.moments = {} if moments is None else moments
        given(self.moments, layers)
        self.steps = self.depth = 0
        self.layers = {
            name: _Layer(layer, centred, self.momentum, decay)
            for name, layer in layers.items()
        }
        self.handles = [
            optimizer.register_step_pre_hook(torch.compiler.disable(self._before)),
            optimizer.register_step_post_hook(torch.compiler.disable(self._after)),
            *(watch(x.module, self._see(k, x)) for k, x in self.layers.items()),
        ]

    def __reduce__(self):
        raise TypeError("a Meter has no copies: it watches one run; store its result()")

    @property
    def reading(self) -> bool:
        """Whether the present window is one of those that are read."""
        return self.steps // self.window % self.every == 0

    def result(self) -> dict[str, Reading]:
        """Return the reading of every metered layer over the windows completed."""
        return {
            name: layer.read("given" if name in self.moments else "")
            for name, layer in self.layers.items()
        }

    def close(self) -> None:
        """Remove all hooks; what was read stays."""
        while self.handles:
            self.handles.pop().remove()

    def __enter__(self) -> "Meter":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _see(self, name: str, layer: "_Layer"):
        return lambda x: layer.see(x, name in self.moments) if self.reading else None

    def _before(self, optimizer, arguments, named):
        """Note weights and gradients before a step; the gradients of a closure when it
        has been called. A step that calls that of its base class has its hooks twice:
        the outer ones count.
        """
        self.depth += 1
        if self.depth > 1 or not (self.reading or self.momentum):
            return None
        groups = {id(w): g for g in optimizer.param_groups for w in g["params"]}
        for layer in self.layers.values():
            layer.before = layer.weight.detach().clone()
        closure = named.pop("closure", None) if len(arguments) < 2 else arguments[1]
        if closure is None:
            return self._gradients(groups)
        waiting = [groups]

        def watched():
            loss = closure()
            if waiting:
                self._gradients(waiting.pop())
            return loss

        return (optimizer, watched, *arguments[2:]), named

    @torch.no_grad()
    def _gradients(self, groups: dict) -> None:
        for layer in self.layers.values():
            layer.take(groups.get(id(layer.weight), {}))

    @torch.no_grad()
    def _after(self, optimizer, arguments, named) -> None:
        self.depth -= 1
        if self.depth:
            return
        end = (self.steps + 1) % self.window == 0
        for name, layer in self.layers.items():
            if self.reading:
                layer.moved += layer.matrix(layer.weight) - layer.matrix(layer.before)
                if end:
                    layer.finish(self.moments.get(name))
            layer.before = None
            if end:
                layer.clear()
        self.steps += 1


class _Layer:
    """The sums of one layer over the present window."""

    def __init__(self, module, centred: bool, momentum: float, decay: str | None):
        self.module, self.weight = module, module.weight
        self.centred, self.momentum, self.decay = centred, momentum, decay
        self.windows, self.reasons, self.broken, self.filtered = [], {}, 0, 0.0
        self.clear()

    def matrix(self, W: Tensor) -> Tensor:
        return precise(W.detach()).flatten(1)

    def clear(self) -> None:
        """Begin a window."""
        self.moved = self.slope = self.square = self.total = 0.0
        self.seen = self.steps = 0

    def see(self, x: Tensor, given: bool) -> None:
        """Take in the inputs of a forward pass, their number alone if the moment is
        ``given``.
        """
        x = rows(self.module, x)
        self.seen += len(x)
        if not given:
            self.square = self.square + x.T @ x
            self.total = self.total + x.sum(0)

    def take(self, group: dict) -> None:
        """Take in the gradient that a step is given, with what the options of its group
        add to it.
        """
        if self.weight.grad is None:
            return
        self.steps += 1
        g = self.matrix(self.weight.grad.to_dense())
        g = -g if group.get("maximize") else g
        shrink = float(group.get("weight_decay") or 0.0)
        W = self.matrix(self.before)
        if self.decay == "coupled":
            g = g + shrink * W
        if self.momentum:
            g = self.filtered = self.momentum * self.filtered + g
        if self.decay == "decoupled":
            self.moved = self.moved + float(group["lr"]) * shrink * W
        if self.decay is None and shrink:
            self.reasons["decay"] = (
                f"weight_decay = {shrink:g} in its group: say whether decay is coupled or "
                "decoupled"
            )
        self.slope = self.slope + g

    def finish(self, moment: Tensor | None) -> None:
        """Read the window that ends here in the eigenbasis of its moment, up to the last
        direction in which the weights moved by more than their rounding.
        """
        S, D = self.slope, self.moved
        if not (torch.is_tensor(S) and S.any()):
            return
        if not self.seen:
            self.reasons["unseen"] = (
                "gradients without passes in training mode: did compiled code run before "
                "the meter began?"
            )
            return
        M = self.square / self.seen if moment is None else precise(moment)
        if self.centred and moment is None:
            mean = self.total / self.seen
            M = M - torch.outer(mean, mean)
        if not all(A.isfinite().all() for A in (S, D, M)):
            self.broken += 1
            self.reasons["numbers"] = (
                f"{self.broken} windows with numbers that are not finite"
            )
            return
        lam, U = (A.flip(-1) for A in torch.linalg.eigh(M.to(S.device)))
        kept = int((lam >= KEPT * lam[0]).sum()) if lam[0] > 0 else 0
        D, S = D @ U[:, :kept], S @ U[:, :kept]
        sums = lam[:kept], (-D * S).sum(0), (S**2).sum(0), (D**2).sum(0)
        curves = [A.cpu().double().numpy() for A in sums]
        least = torch.finfo(self.weight.dtype).eps * self.matrix(self.weight).norm()
        still = float(curves[-1].sum() ** 0.5 / least) if least else np.inf
        # what the roundings of all steps add up to in one direction
        lost = float(least) * (self.steps / len(lam)) ** 0.5
        above = np.flatnonzero(curves[-1] ** 0.5 >= lost)
        curves = [curve[: above[-1] + 1] for curve in curves] if len(above) else curves
        self.windows.append(Window(*curves, still, self.seen))

    def read(self, moment: str) -> Reading:
        """Return what the windows show."""
        moment = moment or ("centred" if self.centred else "uncentred")
        return read(self.windows, moment, next(iter(self.reasons.values()), ""))
