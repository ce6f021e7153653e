r"""Preconditioned optimizers that no library has in the form the theorems speak of:
power-AdaHessian and Shampoo; K-FAC is `fl.preconditioners_kfac`.

All three keep the contract of `torch.optim.Optimizer`: groups of parameters with options
of their own, `state_dict` in the middle of a run, a closure, weights without a gradient,
scalars, empty and non-contiguous tensors. They read the gradients in ``.grad`` and
compute in single precision for weights in half. Each is tested against a brute-force
computation of what it preconditions with. `fl.optimizers` gives them their names, ranges
and defaults.
"""

import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from fl import validate

FLOOR = 1e-3  # added to power-AdaHessian's relative curvature before its power is taken
# growth of Shampoo's statistics, since their roots were taken, that asks for new ones
GROWN = 100.0
WIDE = {
    torch.float16: torch.float32,
    torch.bfloat16: torch.float32,
    torch.float32: torch.float32,
    torch.float64: torch.float64,
}
# the ends of what an option of a group may be
LIMITS = {
    "lr": (0,),
    "p": (),
    "damping": (0,),
    "clip": (0,),
    "memory": (0, 0.9999),
    "momentum": (0, 0.9999),
    "floor": (0,),
}


def checked_weight(name: str, w: Tensor) -> None:
    """Check that the weight ``w``, called ``name`` in the error, can be moved.

    Raises:
        ValueError: unless its numbers are real, floating-point and finite, and each has
            memory of its own.
    """
    if w.dtype not in WIDE:
        allowed = ", ".join(str(dtype) for dtype in WIDE)
        raise ValueError(f"{name} has dtype {w.dtype}: must be one of {allowed}")
    bad = int(w.numel() - w.isfinite().sum())
    if bad:
        raise ValueError(
            f"{name} has {bad} entries that are NaN or infinite: all must be finite"
        )
    if any(n > 1 and not step for n, step in zip(w.shape, w.stride(), strict=True)):
        raise ValueError(f"{name} is expanded: its entries must have their own memory")


class Method(torch.optim.Optimizer):
    """What the three have in common; ``params`` and ``defaults`` are those of
    `torch.optim.Optimizer`. A subclass moves the weights in ``move``.

    Raises:
        ValueError: for a weight that `checked_weight` refuses, or an option that is out
            of range.
    """

    def add_param_group(self, param_group: dict) -> None:
        """Take in the group ``param_group``: ``params`` and options of its own.

        Raises:
            ValueError: for a weight or an option that is refused.
        """
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        for i, w in enumerate(group["params"]):
            checked_weight(f"params[{i}]", w)
        for key in LIMITS.keys() & group.keys():
            validate.number(key, group[key], *LIMITS[key])
        validate.count("every", group.get("every", 1))
        betas = validate.array("betas", group.get("betas", (0, 0)), (2,))
        for i, keep in enumerate(betas.tolist()):
            validate.number(f"betas[{i}]", keep, *LIMITS["memory"])

    @torch.no_grad()
    def step(self, closure: Callable | None = None):
        """Move every weight that has a gradient by one step, after calling ``closure``,
        which computes the gradients; return what it returns.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self.move()
        return loss

    def load_state_dict(self, state_dict: dict) -> None:
        """Take over ``state_dict``, in the precision in which it was computed."""
        super().load_state_dict(state_dict)  # rounds to the precision of the weights
        saved = copy.deepcopy(state_dict["state"])
        weights = (w for group in self.param_groups for w in group["params"])
        for i, w in enumerate(weights):
            if i in saved:
                self.state[w] = saved[i]

    def moving(self) -> Iterator[tuple[dict, Tensor, dict]]:
        """Yield (group, weight, its state) for every weight that has a gradient and
        entries; the state counts its steps.
        """
        for group in self.param_groups:
            for w in group["params"]:
                if w.grad is not None and w.numel():
                    state = self.state[w]
                    state["step"] = state.get("step", 0) + 1
                    yield group, w, state


def wide(x: Tensor) -> Tensor:
    """Return ``x`` without its graph, dense, and in single precision if it was in half."""
    return x.detach().to_dense().to(WIDE[x.dtype])


class PowerAdaHessian(Method):
    r"""AdaHessian whose curvature may have any power, so that ``p`` is its nominal
    exponent.

    Per tensor, with :math:`h` the root of the averaged square of Hutchinson's estimate
    :math:`z\odot Hz` of the Hessian's diagonal, the averaged gradient is multiplied by
    :math:`(h/\bar h+10^{-3})^{p}`: p = -1 is AdaHessian up to the scale, p = 0 is
    descent with momentum. Where no curvature was seen, :math:`h=0`, all of :math:`h/\bar
    h` is one. The gradients in ``.grad`` must carry their graph.

    Args:
        params: tensors to move.
        lr: step size.
        p: exponent of the curvature.
        betas: averaging of the gradient and of the squared curvature.
    """

    def __init__(self, params, lr, p, betas=(0.9, 0.999)):
        super().__init__(params, {"lr": lr, "p": p, "betas": betas})

    def move(self) -> None:
        """Move every tensor by one step.

        Raises:
            ValueError: if a gradient does not carry its graph.
        """
        moving = list(self.moving())
        weights = [w for _, w, _ in moving]
        signs = [torch.randint_like(w, 0, 2) * 2 - 1 for w in weights]
        slopes = [w.grad for w in weights]
        if not all(slope.requires_grad for slope in slopes):
            raise ValueError(
                "params: a gradient lacks its graph, and power-AdaHessian needs second "
                "derivatives, as of loss.backward(create_graph=True)"
            )
        if not moving:
            return
        products = torch.autograd.grad(slopes, weights, signs, materialize_grads=True)
        for (group, w, state), z, Hz in zip(moving, signs, products, strict=True):
            gradient = wide(w.grad)
            slope = state.setdefault("slope", torch.zeros_like(gradient))
            square = state.setdefault("square", torch.zeros_like(gradient))
            keep, keep2 = group["betas"]
            estimate = wide(z * Hz)
            slope.lerp_(gradient, 1 - keep)
            square.mul_(keep2).addcmul_(estimate, estimate, value=1 - keep2)
            h = square.sqrt()  # the correction of its short memory cancels in the ratio
            mean = h.mean()
            relative = h / mean if mean > 0 else torch.ones_like(h)
            weight = (relative + FLOOR) ** group["p"]
            w.sub_(slope * weight, alpha=group["lr"] / (1 - keep ** state["step"]))


class Shampoo(Method):
    r"""Shampoo with averaged statistics: :math:`W\leftarrow
    W-\eta\,L^{-1/4}\,M\,R^{-1/4}`.

    L and R are moving averages of :math:`GG^\top` and :math:`G^\top G`, corrected for
    their short memory, M that of the gradient G. Vectors have the one factor L, to the
    power -1/2; scalars are vectors of one entry, tensors of more dimensions matrices with
    their first. Eigenvalues below ``floor`` times the largest, or below its rounding,
    are raised to that. The roots are also taken anew when the traces of L and R have
    grown a hundredfold, as after a gradient of zero.

    Args:
        params: tensors to move.
        lr: step size.
        memory: averaging of the statistics.
        momentum: averaging of the gradient.
        floor: smallest relative eigenvalue.
        every: steps between two computations of the roots.
    """

    def __init__(self, params, lr, memory=0.95, momentum=0.0, floor=1e-12, every=1):
        options = {"lr": lr, "memory": memory, "momentum": momentum}
        super().__init__(params, {**options, "floor": floor, "every": every})

    def move(self) -> None:
        """Move every tensor by one step."""
        for group, w, state in self.moving():
            G = wide(w.grad).reshape(len(w) if w.ndim else 1, -1)
            sides = [G @ G.T, G.T @ G] if w.ndim > 1 else [G @ G.T]
            slope = state.setdefault("slope", torch.zeros_like(G))
            means = state.setdefault("sides", [torch.zeros_like(S) for S in sides])
            memory = group["memory"]
            for kept, side in zip(means, sides, strict=True):
                kept.lerp_(side, 1 - memory)
            correction = 1 - memory ** state["step"]
            size = float(means[0].trace()) / correction
            due = (state["step"] - 1) % group["every"] == 0
            if due or size > GROWN * state["size"]:
                state["size"] = size
                p = -0.5 / len(sides)
                state["roots"] = [
                    inverse_root(S / correction, p, group["floor"]) for S in means
                ]
            slope.lerp_(G, 1 - group["momentum"])
            move = state["roots"][0] @ slope
            move = move @ state["roots"][1] if w.ndim > 1 else move
            w.sub_(move.reshape(w.shape), alpha=group["lr"])


def inverse_root(M: Tensor, p: float, floor: float) -> Tensor:
    """Return the symmetric PSD ``M`` (d, d) to a negative power ``p``, eigenvalues
    raised to ``floor`` times the largest, or to its rounding if that is more.
    """
    kind = torch.finfo(M.dtype)
    values, vectors = torch.linalg.eigh(M)
    least = (max(floor, kind.eps) * values[-1]).clamp_min(
        kind.tiny
    )  # a zero gradient has no root, and moves nothing
    return (vectors * values.clamp_min(least).pow(p)) @ vectors.T
