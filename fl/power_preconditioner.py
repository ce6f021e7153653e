r"""Any power of a layer's input moment before any torch optimizer.

Each gradient :math:`G` (h, d) of a chosen layer is replaced by :math:`G\,(M+\delta
\lambda_1I)^p` for the length of a step, M being the uncentred second moment of the
inputs that the layer saw in training, :math:`\lambda_1` its largest eigenvalue.
"""

from collections.abc import Callable, Iterable
from copy import deepcopy
from functools import partial

import torch
from torch import Tensor, nn

from fl import validate
from fl.meter_layers import given, rows, usable, watch

RANK = 1e-12  # of the largest eigenvalue: what is smaller counts as zero
# a copy watches the copies of its layers
COPIED = (
    *("inner", "layers", "skipped", "p", "damping", "memory", "every"),
    *("given", "age", "moments", "kept", "defaults"),
)


class PowerPreconditioner(torch.optim.Optimizer):
    r"""An optimizer that puts a power of the input moment before another one.

    It has the parameter groups and the state of the optimizer it holds, so that
    schedulers, `GradScaler` and `zero_grad` take it for that one. After a step ``.grad``
    is what it was. Inputs of all passes between two steps count (accumulation); the
    powers are taken in double precision.

    Args:
        optimizer: what makes the step.
        model: whose layers see the inputs.
        p: the exponent; 0 leaves the gradient as it is.
        damping: :math:`\delta`, relative to the largest eigenvalue; at 0 directions
            without variance stay at rest.
        layers: ``first``, ``all``, or a list of names; ``skipped`` says what cannot be one.
        memory: of the moving average of the moment over steps, which begins as a mean.
        every: steps between two computations of the power.
        moments: by layer name, moments (d, d) to use in place of running ones.

    Raises:
        ValueError: for a number out of range, a layer that cannot be preconditioned, or a
            moment that is of another shape, zero, or not symmetric and PSD.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        model: nn.Module,
        p: float,
        damping: float = 1e-3,
        layers: str | Iterable[str] = "first",
        memory: float = 0.95,
        every: int = 1,
        moments: dict[str, Tensor] | None = None,
    ):
        found, self.skipped = usable(model, optimizer)
        super().__init__(optimizer.param_groups, optimizer.defaults)
        self.inner = optimizer
        self.p = validate.number("p", p)
        self.damping = validate.number("damping", damping, 0)
        self.memory = validate.number("memory", memory, 0, 1)
        self.every = validate.count("every", every)
        chosen = _chosen(layers, found, self.skipped)
        self.layers = {name: found[name] for name in chosen}
        self.given = given(moments, self.layers)
        for name, M in self.given.items():
            if not M.any():
                raise ValueError(f"moments entry {name!r} is zero: no step would move")
        self.age, self.moments = 0, {}
        self.kept = {name: {"sum": 0.0, "seen": 0, "steps": 0} for name in chosen}
        self._begin()

    def _begin(self) -> None:
        self._share()
        self.handles = [
            watch(layer, partial(self._see, name))
            for name, layer in self.layers.items()
        ]

    def __getstate__(self) -> dict:
        return {name: getattr(self, name) for name in COPIED}

    def __setstate__(self, state: dict) -> None:
        super().__setstate__(state)
        self._begin()

    def step(self, closure: Callable | None = None):
        """Make one step and return what the inner optimizer returns; with a ``closure``
        each gradient that it computes is preconditioned.

        Raises:
            ValueError: for a gradient of a layer whose inputs were never seen.
        """
        plain = {}
        if closure is None:
            self._apply(plain)
            found = self.inner.step()
        else:

            def preconditioned():
                with torch.enable_grad():
                    loss = closure()
                self._apply(plain)
                return loss

            found = self.inner.step(preconditioned)
        for w, g in plain.items():
            w.grad = g
        return found

    def state_dict(self) -> dict:
        """Return the state of the inner optimizer, and of the moments."""
        own = deepcopy({"age": self.age, "kept": self.kept, "moments": self.moments})
        return own | {"optimizer": self.inner.state_dict()}

    def load_state_dict(self, state_dict: dict) -> None:
        """Take over a ``state_dict`` of the same layers.

        Raises:
            ValueError: if it is one of other layers.
        """
        kept = state_dict["kept"]
        if list(kept) != list(self.kept):
            raise ValueError(
                f"state_dict holds the layers {list(kept)}: must be {list(self.kept)}"
            )
        state = deepcopy(state_dict)
        self.inner.load_state_dict(state["optimizer"])
        self.age, self.kept = state["age"], state["kept"]
        self.moments |= state["moments"]
        self._share()

    def close(self) -> None:
        """Stop watching the layers."""
        for handle in self.handles:
            handle.remove()

    def _share(self) -> None:
        self.param_groups, self.state = self.inner.param_groups, self.inner.state

    def _see(self, name: str, x: Tensor) -> None:
        if name not in self.given:
            x, kept = rows(self.layers[name], x), self.kept[name]
            kept["sum"] += x.T @ x
            kept["seen"] += len(x)

    @torch.no_grad()
    def _refresh(self) -> None:
        """Move the running moments on, and take their powers when it is time."""
        due = self.age % self.every == 0
        self.age += 1
        for name, kept in self.kept.items():
            if kept["seen"]:
                M = kept["sum"] / kept["seen"]
                share = max(1 - self.memory, 1 / (kept["steps"] + 1))
                kept["moment"] = kept.get("moment", M).lerp(M, share)
                kept |= {"sum": 0.0, "seen": 0, "steps": kept["steps"] + 1}
            M = self.given.get(name, kept.get("moment"))
            if M is not None and (due or "power" not in kept):
                self.moments[name] = M
                kept["power"] = power_of(M, self.p, self.damping)

    @torch.no_grad()
    def _apply(self, plain: dict) -> None:
        """Precondition the gradients, which are kept as ``plain``; the first of a step
        moves the moments on.
        """
        if not plain:
            self._refresh()
        for name, layer in self.layers.items():
            w, kept = layer.weight, self.kept[name]
            if w.grad is None:
                continue
            if "power" not in kept:
                raise ValueError(
                    f"layer {name!r} has a gradient and no inputs: its passes must be in "
                    "training mode, and not of a model that compiled code ran before"
                )
            P = kept["power"].to(w.device)
            G = plain[w] = w.grad
            w.grad = (G.flatten(1).to(P.dtype) @ P).to(G.dtype).view_as(w)


def _chosen(layers, found: dict, skipped: dict) -> list[str]:
    words = {"first": list(found)[:1], "all": list(found)}
    if isinstance(layers, str):
        layers = words[validate.choice("layers", layers, words)]
    names = list(layers)
    for name in names:
        why = skipped.get(f"{name}.weight")
        if why:
            raise ValueError(f"layers entry = {name!r}: {why}")
        validate.choice("layers entry", name, found)
    if not names:
        raise ValueError(f"layers is empty: must name some of {', '.join(found)}")
    return names


def power_of(M: Tensor, p: float, damping: float) -> Tensor:
    r"""Return :math:`(M+\delta\lambda_1I)^p` for the moment ``M`` (d, d), symmetric and
    PSD, ``damping`` :math:`\delta` and any ``p``.

    Eigenvalues that are zero up to rounding, damped, count as zero and stay zero.
    """
    lam, U = torch.linalg.eigh(M)
    raised = lam.clamp_min(0) + damping * lam[-1]
    real = raised > RANK * lam[-1]
    U = U[:, real]
    return (U * raised[real] ** p) @ U.T
