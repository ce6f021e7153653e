"""Which layers of a model have inputs of their own, and what these inputs are.

A layer can be metered or preconditioned by the moment of its inputs if one weight matrix
meets one kind of input rows. Everything else is left out, with a reason.
"""

from collections import defaultdict
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, unfold

from fl import validate

ROUNDED = 1e-6  # of a moment that was computed in single precision
LARGEST = 2048  # inputs of a layer: the moment of more is slow to diagonalise


def usable(model, optimizer) -> tuple:
    """Return the layers that can be metered, by name, and why each other parameter of the
    ``model`` cannot.

    A layer is a `Linear` or an ungrouped `Conv2d` with at most `LARGEST` inputs whose
    weight belongs to it alone, is trained, and is one of the ``optimizer``.

    Raises:
        ValueError: if the model is no module, the optimizer is not one of torch, or there
            is no such layer.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"model = {model!r}: must be a torch.nn.Module")
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise ValueError(f"optimizer = {optimizer!r}: must be a torch.optim.Optimizer")
    moved = {w for group in optimizer.param_groups for w in group["params"]}
    holders = defaultdict(list)
    for name, module in model.named_modules():
        for w in module.parameters(recurse=False):
            holders[w].append(name or "model")
    layers, skipped = {}, {}
    for name, module in model.named_modules():
        for key, w in module.named_parameters(recurse=False):
            why = _why_not(module, key, w, holders[w], moved)
            if why:
                skipped[f"{name}.{key}".strip(".")] = why
            else:
                layers[name or "model"] = module
    if not layers:
        reasons = "; ".join(map(": ".join, skipped.items()))
        raise ValueError(f"model has no layer that can be metered ({reasons})")
    return layers, skipped


def _why_not(module, key, w, holders, moved) -> str:
    """Return why the parameter ``key`` of a module is left out, nothing if it is not."""
    groups = getattr(module, "groups", 1)
    lazy = nn.parameter.is_lazy(w)
    inputs = 0 if lazy else w.shape[1:].numel()
    reasons = {
        f"of {type(module).__name__}, which is neither Linear nor Conv2d": (
            not isinstance(module, nn.Linear | nn.Conv2d)
        ),
        "a bias: no matrix": key != "weight",
        "no shape yet: run the model once before": lazy,
        # a DTensor, whatever package made it
        "sharded over processes: none has the whole matrix": hasattr(w, "device_mesh"),
        f"shared by {', '.join(holders)}: two moments, one gradient": len(holders) > 1,
        "frozen: requires_grad is False": not w.requires_grad,
        "none of this optimizer's parameters": w not in moved,
        f"groups = {groups}: each sees a part of the inputs": groups > 1,
        f"{inputs} inputs: more than {LARGEST}": inputs > LARGEST,
    }
    return next(filter(reasons.get, reasons), "")


class Watch:
    """A hook that has ``take`` called with the input of every pass of a ``layer`` in
    training mode and with gradients on.

    Compiled code calls ``take`` outside the graph. A copy of it, made or stored with its
    layer, watches nothing.
    """

    layer = take = None

    def __call__(self, module, arguments, named):
        """Take the input of a pass of ``module``, its only one or the one so ``named``."""
        if module is self.layer and module.training and torch.is_grad_enabled():
            self.take(arguments[0] if arguments else named["input"])

    def __reduce__(self):
        return Watch, ()


def watch(layer: nn.Module, take: Callable):
    """Begin to `Watch` a ``layer`` for ``take``; return the handle that ends it."""
    hook = Watch()
    hook.layer, hook.take = layer, torch.compiler.disable(take)
    return layer.register_forward_pre_hook(hook, with_kwargs=True)


def rows(layer: nn.Module, x: Tensor) -> Tensor:
    """Return the rows (n, d) that the weight of a ``layer`` meets in an input ``x``, in
    double precision; those of a convolution are patches.
    """
    x = precise(x)
    if isinstance(layer, nn.Conv2d):
        sides = layer._reversed_padding_repeated_twice
        x = pad(x, sides, layer.padding_mode.replace("zeros", "constant"))
        x = unfold(x, layer.kernel_size, layer.dilation, stride=layer.stride).mT
    return x.reshape(-1, x.shape[-1])


def given(moments: dict | None, layers: dict) -> dict[str, Tensor]:
    """Return the ``moments`` given for some of the ``layers``, by name, as they are.

    Raises:
        ValueError: for a name that is none of the layers, or a moment that is not a
            symmetric positive semi-definite matrix of the size of the layer's inputs.
    """
    found = {}
    for name, M in (moments or {}).items():
        validate.choice("moments entry", name, layers)
        d = layers[name].weight[0].numel()
        M = M.detach().cpu().double() if torch.is_tensor(M) else M
        entry = f"moments entry {name!r}"
        validate.array(entry, M, (d, d))
        found[name] = torch.from_numpy(validate.psd(entry, M, ROUNDED))
    return found


def precise(x: Tensor) -> Tensor:
    """Return ``x`` without its graph in double precision, single where the device has no
    other.
    """
    return x.detach().to(torch.float32 if x.device.type == "mps" else torch.float64)
