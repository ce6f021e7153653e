r"""Optimizers for the two layers of :math:`\hat y = F G x`, behind one call.

SGD, momentum, Adam, AdamW and Muon are torch's, SOAP is `pytorch_optimizer`'s, Shampoo
is that of `fl.preconditioners`. K-FAC, its halves, damped natural gradient and Muon with
the exact polar factor (torch's five Newton-Schulz steps in bfloat16 are rough) are
written out: no library has them in this form.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, linalg, optim

from fl import validate
from fl.optimizers import library
from fl.preconditioners import Shampoo

PUBLISHED = {
    "SGD": optim.SGD,
    "momentum": partial(optim.SGD, momentum=0.9),
    "Adam": optim.Adam,
    "AdamW": optim.AdamW,
    "Muon": partial(optim.Muon, weight_decay=0.0),
    "SOAP": lambda w, lr: library("SOAP")(w, lr, weight_decay=0.0),
    "Shampoo": Shampoo,
}
PUBLISHED |= {"batch-norm": PUBLISHED["SGD"], "batch-norm + Adam": PUBLISHED["Adam"]}
OPTIMIZERS = (*PUBLISHED, "Muon exact", "KFAC", "KFAC left", "KFAC right", "NGD")


def gradients(
    F: Tensor, G: Tensor, X: Tensor, Y: Tensor, normalise: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients in F and G of half the mean squared error, and the features
    Z = X G' (n, k).

    Args:
        F: head, (dY, k).
        G: features, (k, dX).
        X: inputs, (n, dX).
        Y: labels, (n, dY).
        normalise: whether every feature is divided by its root mean square over the
            batch (batch-norm).
    """
    n = len(X)
    Z = X @ G.T
    if normalise:
        size = Z.pow(2).mean(0).sqrt()
        size = torch.where(size > 0, size, 1.0)  # a feature of zeros stays one
        Z = Z / size
    residual = Z @ F.T - Y
    back = residual @ F
    if normalise:
        along = (back * Z).mean(0)
        back = (back - Z * along) / size
    return residual.T @ Z / n, back.T @ X / n, Z


def updater(optimizer: str, F: Tensor, G: Tensor, damping: float = 0.0) -> Callable:
    """Return ``update(eta, grad_F, grad_G, X, Z)``, which moves ``F`` (dY, k) and ``G``
    (k, dX) in place by one step of ``optimizer``; ``damping`` is for those that solve.

    Raises:
        ValueError: for an unknown optimizer, or a damping that is no number >= 0.
    """
    validate.choice("optimizer", optimizer, OPTIMIZERS)
    damping = validate.number("damping", damping, 0)
    if optimizer in PUBLISHED:
        return _published(PUBLISHED[optimizer], F, G)
    if optimizer == "Muon exact":
        return _muon(F, G)
    if optimizer == "NGD":
        return _natural(F, G, damping)
    left = optimizer != "KFAC right"
    right = optimizer != "KFAC left"
    return _kfac(F, G, damping, left, right)


def gauss_newton(F: Tensor, G: Tensor, X: Tensor, Z: Tensor) -> Tensor:
    """Return the Gauss-Newton matrix J'J/n of all weights, ``F`` (dY, k) before ``G``
    (k, dX), each row by row, on inputs ``X`` (n, dX) with features ``Z`` (n, k).
    """
    n = len(X)
    features = Z.T @ Z / n
    inputs = X.T @ X / n
    mixed = Z.T @ X / n
    FF = torch.kron(torch.eye(len(F), dtype=F.dtype), features)
    GG = torch.kron(F.T @ F, inputs)
    FG = torch.einsum("oa,ib->oiab", F, mixed)
    FG = FG.reshape(len(FF), len(GG))
    upper = torch.cat([FF, FG], 1)
    lower = torch.cat([FG.T, GG], 1)
    return torch.cat([upper, lower])


def _published(make: Callable, F: Tensor, G: Tensor) -> Callable:
    published = make([F.requires_grad_(), G.requires_grad_()], lr=0.0)

    def update(eta, grad_F, grad_G, X, Z):
        for group in published.param_groups:
            group["lr"] = eta
        F.grad, G.grad = grad_F, grad_G
        published.step()

    return update


def _solve(M: Tensor, right: Tensor, damping: float) -> Tensor:
    identity = torch.eye(len(M), dtype=M.dtype)
    return linalg.solve(M + damping * identity, right)


def _kfac(F: Tensor, G: Tensor, damping: float, left: bool, right: bool) -> Callable:
    # P_F = I, Q_F = Z'Z/n; P_G = F'F, Q_G = X'X/n; the halves leave one of the last two
    # out
    def update(eta, grad_F, grad_G, X, Z):
        n = len(X)
        if left:
            grad_G = _solve(F.T @ F, grad_G, damping)
        if right:
            grad_G = _solve(X.T @ X / n, grad_G.T, damping).T
        step = _solve(Z.T @ Z / n, grad_F.T, damping).T
        F.sub_(eta * step)
        G.sub_(eta * grad_G)

    return update


def _natural(F: Tensor, G: Tensor, damping: float) -> Callable:
    def update(eta, grad_F, grad_G, X, Z):
        slope = torch.cat([grad_F.flatten(), grad_G.flatten()])
        H = gauss_newton(F, G, X, Z)
        step = _solve(H, slope, damping)
        first, second = step.split([F.numel(), G.numel()])
        F.sub_(eta * first.view_as(F))
        G.sub_(eta * second.view_as(G))

    return update


def _muon(F: Tensor, G: Tensor, momentum: float = 0.95) -> Callable:
    buffers = [torch.zeros_like(F), torch.zeros_like(G)]

    def update(eta, grad_F, grad_G, X, Z):
        slopes = grad_F, grad_G
        for W, slope, buffer in zip((F, G), slopes, buffers, strict=True):
            buffer.mul_(momentum).add_(slope)
            U, _, Vt = linalg.svd(slope + momentum * buffer, full_matrices=False)
            length = eta * max(1, W.shape[0] / W.shape[1]) ** 0.5
            W.sub_(length * U @ Vt)

    return update
