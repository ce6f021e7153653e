r"""Preconditioned optimizers that no library has in the form the theorems speak of:
K-FAC, power-AdaHessian, Shampoo.

All three are `torch.optim.Optimizer`s that read the gradients in ``.grad``. Each is
tested against a brute-force computation of what it preconditions with. `fl.optimizers`
gives them their names, ranges and defaults.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

FLOOR = 1e-3  # added to power-AdaHessian's relative curvature before its power is taken


class KFAC(torch.optim.Optimizer):
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

    Args:
        model: its linear layers have biases, and the last of them puts out the logits.
        loss: evaluates the model; called once more at each refresh, for the
            activations.
        lr: step size :math:`\eta`.
        damping: :math:`\delta`.
        clip: :math:`\kappa`.
        every: steps between two refreshes.

    Raises:
        ValueError: if the model has weights besides those of linear layers with biases.
    """

    def __init__(
        self, model: nn.Module, loss: Callable[[], Tensor], lr, damping, clip, every
    ):
        layers = [m for m in model.modules() if isinstance(m, nn.Linear)]
        if any(m.bias is None for m in layers) or 2 * len(layers) != len(
            list(model.parameters())
        ):
            raise ValueError(
                "model: K-FAC wants linear layers with biases, and no other weights"
            )
        super().__init__(model.parameters(), {"lr": lr})
        self.model = model
        self.loss = loss
        self.damping = damping
        self.clip = clip
        self.every = every
        self.age = 0

    @torch.no_grad()
    def step(self) -> None:
        """Move every layer by one step."""
        if self.age % self.every == 0:
            self.bases = [
                (layer, *torch.linalg.eigh(A), *torch.linalg.eigh(G))
                for layer, A, G in kfac_factors(self.model, self.loss)
            ]
        self.age += 1
        moves, size, lr = [], 0.0, self.param_groups[0]["lr"]
        for layer, a, U, g, V in self.bases:
            gradient = torch.cat([layer.weight.grad, layer.bias.grad[:, None]], 1)
            damped = torch.outer(g.clamp_min(0), a.clamp_min(0)) + self.damping
            moves.append(V @ (V.T @ gradient @ U / damped) @ U.T)
            size += float((moves[-1] * gradient).sum())
        length = lr * min(1.0, (self.clip / max(lr**2 * size, 1e-300)) ** 0.5)
        for (layer, *_), move in zip(self.bases, moves, strict=True):
            layer.weight -= length * move[:, :-1]
            layer.bias -= length * move[:, -1]


def kfac_factors(
    model: nn.Module, loss: Callable[[], Tensor]
) -> list[tuple[nn.Linear, Tensor, Tensor]]:
    """Return each linear layer of ``model`` with its factors A (inputs + 1 squared) and
    G (outputs squared), see `KFAC`; ``loss`` evaluates the model.
    """
    layers = [m for m in model.modules() if isinstance(m, nn.Linear)]
    seen = {}
    hooks = [
        m.register_forward_hook(lambda m, x, y: seen.update({m: (x[0].detach(), y)}))
        for m in layers
    ]
    try:
        with torch.enable_grad():
            loss()
            outputs = [seen[layer][1] for layer in layers]
            chance = outputs[-1].detach().softmax(1)
            n, C = chance.shape
            # the gradient of -log p_c in the logits is p - e_c; its weight p_c goes in
            # as a square root
            starts = (
                chance[None] - torch.eye(C, dtype=chance.dtype)[:, None]
            ) * chance.T[:, :, None].sqrt()
            slopes = torch.autograd.grad(
                outputs[-1], outputs, starts, is_grads_batched=True
            )
    finally:
        for hook in hooks:
            hook.remove()
    result = []
    for layer, slope in zip(layers, slopes, strict=True):
        inputs = torch.cat([seen[layer][0], torch.ones(n, 1, dtype=chance.dtype)], 1)
        flat = slope.reshape(C * n, -1)
        result.append((layer, inputs.T @ inputs / n, flat.T @ flat / n))
    return result


class PowerAdaHessian(torch.optim.Optimizer):
    r"""AdaHessian whose curvature may have any power, so that ``p`` is its nominal
    exponent.

    Per tensor, with :math:`h` the root of the averaged square of Hutchinson's estimate
    :math:`z\odot Hz` of the Hessian's diagonal, the averaged gradient is multiplied by
    :math:`(h/\bar h+10^{-3})^{p}`: p = -1 is AdaHessian up to the scale, p = 0 is
    descent with momentum. The gradients in ``.grad`` must carry their graph.

    Args:
        params: tensors to move.
        lr: step size.
        p: exponent of the curvature.
        betas: averaging of the gradient and of the squared curvature.
    """

    def __init__(self, params, lr, p, betas=(0.9, 0.999)):
        super().__init__(params, {"lr": lr, "p": p})
        self.betas = betas
        self.age = 0

    @torch.no_grad()
    def step(self) -> None:
        """Move every tensor by one step."""
        self.age += 1
        keep, keep2 = self.betas
        (group,) = self.param_groups
        params = group["params"]
        signs = [torch.randint_like(w, 0, 2) * 2 - 1 for w in params]
        products = torch.autograd.grad([w.grad for w in params], params, signs)
        for w, z, Hz in zip(params, signs, products, strict=True):
            if w not in self.state:
                self.state[w] = {
                    "slope": torch.zeros_like(w),
                    "square": torch.zeros_like(w),
                }
            slope = self.state[w]["slope"]
            square = self.state[w]["square"]
            slope.lerp_(w.grad.detach(), 1 - keep)
            square.mul_(keep2).addcmul_(z * Hz, z * Hz, value=1 - keep2)
            h = square.sqrt()  # the correction of its short memory cancels in the ratio
            weight = (
                h / h.mean().clamp_min(torch.finfo(h.dtype).tiny) + FLOOR
            ) ** group["p"]
            w.sub_(slope * weight, alpha=group["lr"] / (1 - keep**self.age))


class Shampoo(torch.optim.Optimizer):
    r"""Shampoo with averaged statistics: :math:`W\leftarrow
    W-\eta\,L^{-1/4}\,M\,R^{-1/4}`.

    L and R are moving averages of :math:`GG^\top` and :math:`G^\top G`, corrected for
    their short memory, M that of the gradient G. Vectors have the one factor L, to the
    power -1/2. Eigenvalues below ``floor`` times the largest are raised to it.

    Args:
        params: matrices and vectors to move.
        lr: step size.
        memory: averaging of the statistics.
        momentum: averaging of the gradient.
        floor: smallest relative eigenvalue.
        every: steps between two computations of the roots.
    """

    def __init__(self, params, lr, memory=0.95, momentum=0.0, floor=1e-12, every=1):
        super().__init__(params, {"lr": lr})
        self.memory = memory
        self.momentum = momentum
        self.floor = floor
        self.every = every
        self.age = 0

    @torch.no_grad()
    def step(self) -> None:
        """Move every tensor by one step."""
        self.age += 1
        for w in self.param_groups[0]["params"]:
            G = w.grad.reshape(len(w), -1)
            sides = [G @ G.T, G.T @ G] if w.ndim > 1 else [G @ G.T]
            if w not in self.state:
                self.state[w] = {
                    "slope": torch.zeros_like(G),
                    "sides": [torch.zeros_like(S) for S in sides],
                }
            state = self.state[w]
            for kept, side in zip(state["sides"], sides, strict=True):
                kept.lerp_(side, 1 - self.memory)
            if (self.age - 1) % self.every == 0:
                correction = 1 - self.memory**self.age
                p = -0.5 / len(sides)
                state["roots"] = [
                    inverse_root(S / correction, p, self.floor) for S in state["sides"]
                ]
            state["slope"].lerp_(G, 1 - self.momentum)
            move = state["roots"][0] @ state["slope"]
            move = move @ state["roots"][1] if w.ndim > 1 else move
            w.sub_(move.reshape(w.shape), alpha=self.param_groups[0]["lr"])


def inverse_root(M: Tensor, p: float, floor: float) -> Tensor:
    """Return the symmetric PSD ``M`` (d, d) to a negative power ``p``, eigenvalues
    raised to ``floor`` times the largest.
    """
    values, vectors = torch.linalg.eigh(M)
    least = (floor * values[-1]).clamp_min(
        torch.finfo(M.dtype).tiny
    )  # a zero gradient has no root, and moves nothing
    return (vectors * values.clamp_min(least).pow(p)) @ vectors.T
