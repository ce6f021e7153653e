r"""Optimizers for the two layers of :math:`\hat y = F G x`, behind one call.

SGD, momentum, Adam, AdamW and Muon are torch's, SOAP is `pytorch_optimizer`'s, Shampoo
is that of `fl.preconditioners`. KFAC, its halves, damped natural gradient and Muon with
the exact polar factor (torch's five Newton-Schulz steps in bfloat16 are rough) are
written out: no library has them in this form.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from fl import validate
from fl.optimizers import library
from fl.preconditioners import Shampoo

PUBLISHED = {
    "SGD": lambda w: torch.optim.SGD(w, lr=0.0),
    "momentum": lambda w: torch.optim.SGD(w, lr=0.0, momentum=0.9),
    "Adam": lambda w: torch.optim.Adam(w, lr=0.0),
    "AdamW": lambda w: torch.optim.AdamW(w, lr=0.0),
    "Muon": lambda w: torch.optim.Muon(w, lr=0.0, weight_decay=0.0),
    "SOAP": lambda w: library("SOAP")(w, lr=0.0, weight_decay=0.0),
    "Shampoo": lambda w: Shampoo(w, lr=0.0),
}
PUBLISHED |= {"batch-norm": PUBLISHED["SGD"], "batch-norm + Adam": PUBLISHED["Adam"]}
OPTIMIZERS = (*PUBLISHED, "Muon exact", "KFAC", "KFAC left", "KFAC right", "NGD")


def gradients(
    F: Tensor, G: Tensor, X: Tensor, Y: Tensor, normalise: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients in F and G of half the mean squared error, and the features
    Z = X G' (n, k).

    With ``normalise`` every feature is divided by its root mean square over the batch
    (batch-norm).
    """
    Z, n = X @ G.T, len(X)
    scale = Z.pow(2).mean(0).sqrt() if normalise else torch.ones(len(G), dtype=G.dtype)
    Z = Z / scale
    residual = Z @ F.T - Y
    back = residual @ F
    if normalise:
        back = (back - Z * (back * Z).mean(0)) / scale
    return residual.T @ Z / n, back.T @ X / n, Z


def updater(optimizer: str, F: Tensor, G: Tensor, damping: float = 0.0) -> Callable:
    """Return ``update(rate, grad_F, grad_G, X, Z)``, which moves F and G in place by
    one step of ``optimizer``.

    Raises:
        ValueError: for an unknown optimizer.
    """
    validate.choice("optimizer", optimizer, OPTIMIZERS)
    if optimizer in PUBLISHED:
        return _published(PUBLISHED[optimizer], F, G)
    if optimizer == "Muon exact":
        return _muon(F, G)
    if optimizer == "NGD":
        return lambda rate, gF, gG, X, Z: _natural(rate, F, G, gF, gG, X, Z, damping)
    left, right = optimizer != "KFAC right", optimizer != "KFAC left"
    return lambda rate, gF, gG, X, Z: _kfac(
        rate, F, G, gF, gG, X, Z, damping, left, right
    )


def _published(make: Callable, F: Tensor, G: Tensor) -> Callable:
    published = make([F.requires_grad_(), G.requires_grad_()])

    def update(rate, gF, gG, X, Z):
        for group in published.param_groups:
            group["lr"] = rate
        F.grad, G.grad = gF, gG
        published.step()

    return update


def _kfac(rate, F, G, gF, gG, X, Z, damping, left=True, right=True) -> None:
    # P_F = I, Q_F = Z'Z/n; P_G = F'F, Q_G = X'X/n; the halves leave one of the last two
    # out
    if left:
        gG = torch.linalg.solve(
            F.T @ F + damping * torch.eye(len(G), dtype=G.dtype), gG
        )
    if right:
        gG = torch.linalg.solve(
            X.T @ X / len(X) + damping * torch.eye(X.shape[1], dtype=G.dtype), gG.T
        ).T
    F -= (
        rate
        * torch.linalg.solve(
            Z.T @ Z / len(X) + damping * torch.eye(len(G), dtype=G.dtype), gF.T
        ).T
    )
    G -= rate * gG


def gauss_newton(F: Tensor, G: Tensor, X: Tensor, Z: Tensor) -> Tensor:
    """Return the Gauss-Newton matrix J'J/n of all weights, F before G, each row by row."""
    n, k = len(X), len(G)
    FF = torch.kron(torch.eye(len(F), dtype=F.dtype), Z.T @ Z / n)
    GG = torch.kron(F.T @ F, X.T @ X / n)
    FG = torch.einsum("oa,ib->oiab", F, Z.T @ X / n).reshape(len(F) * k, -1)
    return torch.cat([torch.cat([FF, FG], 1), torch.cat([FG.T, GG], 1)])


def _natural(rate, F, G, gF, gG, X, Z, damping) -> None:
    H = gauss_newton(F, G, X, Z)
    H.diagonal().add_(damping)
    move = torch.linalg.solve(H, torch.cat([gF.flatten(), gG.flatten()]))
    F -= rate * move[: F.numel()].view_as(F)
    G -= rate * move[F.numel() :].view_as(G)


def _muon(F: Tensor, G: Tensor, momentum: float = 0.95) -> Callable:
    buffers = [torch.zeros_like(W) for W in (F, G)]

    def update(rate, gF, gG, X, Z):
        for W, g, buffer in zip((F, G), (gF, gG), buffers, strict=True):
            buffer.mul_(momentum).add_(g)
            U, _, Vt = torch.linalg.svd(g + momentum * buffer, full_matrices=False)
            W -= rate * max(1, W.shape[0] / W.shape[1]) ** 0.5 * U @ Vt

    return update
