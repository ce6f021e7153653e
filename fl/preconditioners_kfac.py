"""K-FAC as a `torch.optim.Optimizer`, with the contract of `fl.preconditioners`, and the
look at the forward pass that it needs.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fl.preconditioners import Method, wide


class Pass(NamedTuple):
    """One run of a linear ``layer``: its ``inputs``, detached, and ``outputs``."""

    layer: nn.Linear
    inputs: Tensor
    outputs: Tensor


def linear_passes(
    model: nn.Module, loss: Callable[[], Tensor]
) -> tuple[Tensor, list[Pass]]:
    """Evaluate ``loss`` and return it with the runs of the linear layers of ``model``, in
    the order of the forward pass.
    """
    seen = []

    def note(layer, inputs, outputs) -> None:
        seen.append(Pass(layer, inputs[0].detach(), outputs))

    linear = [m for m in model.modules() if isinstance(m, nn.Linear)]
    hooks = [m.register_forward_hook(note) for m in linear]
    try:
        with torch.enable_grad():
            return loss(), seen
    finally:
        for hook in hooks:
            hook.remove()


class KFAC(Method):
    r"""K-FAC with the exact Fisher matrix of a softmax, for a network of linear layers
    under mean cross-entropy.

    With :math:`\bar a` the input of a layer and a one below it (homogeneous
    coordinates), and :math:`g_c` the gradient of :math:`-\log p_c` in its output,

    .. math:: A=\frac1n\sum_i\bar a_i\bar a_i^\top,\qquad
              G=\frac1n\sum_i\sum_c p_{ic}\,g_{ic}g_{ic}^\top,\qquad
              V=(G\otimes A+\delta)^{-1}\,\nabla ,

    the damping :math:`\delta` being added to the products of eigenvalues. All layers
    move by :math:`-\eta\nu V`, with :math:`\nu=\min(1,\sqrt{\kappa/(\eta^2\sum\langle
    V,\nabla\rangle)})` for the bound ``clip`` :math:`\kappa` on the change of the
    network's distribution. The factors are computed every ``every`` steps.

    Each layer is a group of parameters; a layer of another rate moves by its own
    :math:`\eta`, and :math:`\eta^2` goes into the sum.

    Args:
        model: its linear layers have biases, and the last that runs puts out the logits,
            two or more. Layers that the loss does not use, and frozen ones, stay.
        loss: evaluates the model; called once at the start and once at each refresh,
            for the activations.
        lr: step size :math:`\eta`.
        damping: :math:`\delta`; products of eigenvalues below the rounding of the
            largest are raised to it.
        clip: :math:`\kappa`.
        every: steps between two refreshes.

    Raises:
        ValueError: if the loss uses weights besides those of linear layers with biases,
            which run once on samples (n, d) each, is not the mean cross-entropy of the
            last one's outputs, or if samples meet in the model.
    """

    def __init__(
        self, model: nn.Module, loss: Callable[[], Tensor], lr, damping, clip, every
    ):
        self.model = model
        self.loss = loss
        self.layers = kfac_layers(model, loss)
        moved = [m for m in self.layers if m.weight.requires_grad]
        groups = [{"params": [m.weight, m.bias]} for m in moved]
        options = {"lr": lr, "damping": damping, "clip": clip, "every": every}
        super().__init__(groups, options)

    def move(self) -> None:
        """Move every layer by one step."""
        groups = self.param_groups
        options = groups[0]
        counter = self.state[options["params"][0]]
        step = counter.get("step", 0)
        if step % options["every"] == 0:
            for layer, A, G in kfac_factors(self.model, self.loss, self.layers):
                bases = [*torch.linalg.eigh(A), *torch.linalg.eigh(G)]
                self.state[layer.weight]["bases"] = bases
        counter["step"] = step + 1
        moves, size = [], 0.0
        for group in groups:
            weight, bias = group["params"]
            if weight.grad is None or bias.grad is None:
                continue
            a, U, g, V = self.state[weight]["bases"]
            column = wide(bias.grad)[:, None]
            gradient = torch.cat([wide(weight.grad), column], 1)
            product = torch.outer(g.clamp_min(0), a.clamp_min(0))
            least = torch.finfo(a.dtype).eps * product.max()
            damped = (product + group["damping"]).clamp_min(least)
            turned = V.T @ gradient @ U
            move = V @ (turned / damped) @ U.T
            lr = group["lr"]
            inner = (move * gradient).sum()
            size += lr**2 * float(inner)
            moves.append((lr, weight, bias, move))
        bound = options["clip"] / max(size, 1e-300)
        shrink = min(1.0, bound**0.5)
        for lr, weight, bias, move in moves:
            length = lr * shrink
            weight -= length * move[:, :-1]
            bias -= length * move[:, -1]


def kfac_layers(model: nn.Module, loss: Callable[[], Tensor]) -> list[nn.Linear]:
    """Return the linear layers of ``model`` that ``loss`` uses, in the order of the
    forward pass, after checking what `KFAC` assumes.

    Raises:
        ValueError: if it does not hold.
    """
    value, passes = linear_passes(model, loss)
    passes = [run for run in passes if run.outputs.requires_grad]
    named = model.named_parameters(prefix="model")
    names = {w: name for name, w in named if w.requires_grad and w.numel()}
    outputs = [run.outputs for run in passes]
    wanted = [*outputs, *names]
    slopes = torch.autograd.grad(value, wanted, allow_unused=True, retain_graph=True)
    used, expected = [], {}
    for run, slope in zip(passes, slopes, strict=False):
        if slope is None:
            continue
        layer, inputs, _ = run
        used.append((run, slope))
        if {layer.weight, layer.bias} <= names.keys() and inputs.ndim == 2:
            back, x = wide(slope), wide(inputs)
            size = x.norm() + len(x) ** 0.5
            scale = back.norm() * size
            expected[layer.weight] = back.T @ x, scale
            expected[layer.bias] = back.sum(0), scale
    found = zip(names, slopes[len(outputs) :], strict=True)
    for w, slope in ((w, slope) for w, slope in found if slope is not None):
        right, scale = expected.get(w, (torch.inf, 0.0))
        if (wide(slope) - right).norm() > _tolerance(w) * scale:
            raise ValueError(
                f"{names[w]}: K-FAC wants linear layers with biases, each of which runs "
                "once on inputs (n, d), and no other weights and no penalty"
            )
    _check_logits(*used[-1])
    _check_samples([run.outputs for run, _ in used])
    return [run.layer for run, _ in used]


def _check_logits(run: Pass, slope: Tensor) -> None:
    logits = run.outputs
    n, C = logits.shape
    # of a mean cross-entropy the gradient is (chance - labels) / n, for labels that may be
    # soft
    labels = wide(logits).softmax(1) - n * wide(slope)
    off = max(-labels.min(), (labels.sum(1) - 1).abs().max())
    if C < 2 or off > _tolerance(logits):
        raise ValueError(
            "loss() is no mean cross-entropy of the outputs of the linear layer that runs "
            f"last, of shape ({n}, {C}): K-FAC wants one, of two or more logits a sample"
        )


def _check_samples(outputs: list[Tensor]) -> None:
    """Refuse a model in which the first half of the samples sees the second."""
    logits = outputs[-1]
    half = len(logits) // 2
    weights = torch.zeros_like(logits)
    weights[:half] = torch.arange(1.0, logits.shape[1] + 1)
    for slope in torch.autograd.grad(logits, outputs, weights, retain_graph=True):
        if slope[half:].any():
            raise ValueError(
                "model: samples meet on their way to the outputs, as in batch normalisation "
                "while it trains; K-FAC wants each output to have an input of its own"
            )


def _tolerance(x: Tensor) -> float:
    return 1e-3 + 10 * torch.finfo(x.dtype).eps


def kfac_factors(
    model: nn.Module, loss: Callable[[], Tensor], layers: list[nn.Linear]
) -> list[tuple[nn.Linear, Tensor, Tensor]]:
    """Return the trainable ones among the ``layers`` of ``model`` with their factors A
    (inputs + 1 squared) and G (outputs squared), see `KFAC`; ``loss`` evaluates the
    model, and the last of the layers, in the order of the forward pass, puts out the
    logits.
    """
    _, passes = linear_passes(model, loss)
    latest = {run.layer: run for run in passes}
    outputs = [latest[layer].outputs for layer in layers]
    chance = wide(outputs[-1]).softmax(1)
    n, C = chance.shape
    # the gradient of -log p_c in the logits is p - e_c; its weight p_c goes in as a
    # square root
    gaps = chance - torch.eye(C, dtype=chance.dtype)[:, None]
    starts = gaps * chance.T[:, :, None].sqrt()
    slopes = torch.autograd.grad(
        outputs[-1], outputs, starts.to(outputs[-1].dtype), is_grads_batched=True
    )
    result = []
    for layer, slope in zip(layers, slopes, strict=True):
        if layer.weight.requires_grad:
            ones = torch.ones(n, 1, dtype=chance.dtype)
            inputs = torch.cat([wide(latest[layer].inputs), ones], 1)
            flat = wide(slope).reshape(C * n, -1)
            result.append((layer, inputs.T @ inputs / n, flat.T @ flat / n))
    return result
