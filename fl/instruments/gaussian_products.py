r"""Exact population moments of features: :math:`\mathbb E[f(u^\top x)\,g(v^\top x)]`
for x ~ N(0, I_d).

With them the test risk of a network is a quadratic form and needs no test set. Closed
forms exist for linear links, the error function (arcsine), the ReLU and the absolute
value (arc-cosine), centred as in `fl.instruments.torch_links`; other links are refused.
"""

import math

import torch
from torch import Tensor

from fl import validate

CLOSED = ("linear", "erf", "relu", "abs")
TURNS = {"relu": (math.pi, 2 * math.pi), "abs": (math.pi / 2, math.pi / 2)}


def product_mean(f: tuple, g: tuple, U: Tensor, V: Tensor) -> Tensor:
    r"""Return :math:`\mathbb E[f(u_i^\top x)\,g(v_j^\top x)]`, shape (k, l), for the
    columns of ``U`` (d, k) and ``V`` (d, l).

    ``f`` and ``g`` are centred links ``(name, tau)``. Of two different links one has an
    odd or a linear part alone in common with the other: its linear part counts.

    Raises:
        ValueError: for a link without closed form, or ReLU with the absolute value.
    """
    (f_name, f_tau), (g_name, g_tau) = f, g
    for name in (f_name, g_name):
        validate.choice("link", name, CLOSED)
    if {f_name, g_name} == TURNS.keys():
        raise ValueError(
            f"links = {f_name}, {g_name}: must be the same, or one not even"
        )
    dot = f_tau * g_tau * (U.T @ V)
    p = f_tau * U.norm(dim=0)[:, None]
    q = g_tau * V.norm(dim=0)
    if f_name == g_name == "erf":
        left = 1 + 2 * p**2
        right = 1 + 2 * q**2
        lengths = torch.sqrt(left * right)
        angle = torch.asin(2 * dot / lengths)
        return angle * 2 / math.pi
    if f_name == g_name and f_name in TURNS:
        turn, share = TURNS[f_name]
        lengths = p * q
        cosine = dot / lengths
        angle = torch.acos(cosine.clamp(-1, 1))
        raw = lengths * torch.sin(angle) + dot * (turn - angle)
        # each link has its mean at a unit vector taken off: (f - cf)(g - cg)
        means = f_tau * q + g_tau * p
        means -= f_tau * g_tau
        return (raw - means) / share
    slope = _mean_slope(f_name, p)
    return dot * slope * _mean_slope(g_name, q)


def _mean_slope(name: str, length: Tensor):
    """Return the mean slope of a link of a Gaussian of standard deviation ``length``."""
    if name == "erf":
        spread = 1 + 2 * length**2
        return 2 / torch.sqrt(math.pi * spread)
    return {"linear": 1.0, "relu": 0.5, "abs": 0.0}[name]


def population(student: tuple, teacher: tuple, W: Tensor, beta: Tensor) -> tuple:
    r"""Return E[s s'] (N, N), E[s f*] (N,), E f*^2 for features s = student(W'x) and f*
    = teacher(beta'x).

    ``student`` and ``teacher`` are centred links ``(name, tau)``; ``W`` is (d, N),
    ``beta`` (d,).

    Raises:
        ValueError: for a link without closed form.
    """
    b = beta[:, None]
    covariance = product_mean(student, student, W, W)
    cross = product_mean(student, teacher, W, b)
    energy = product_mean(teacher, teacher, b, b)
    return covariance, cross[:, 0], float(energy)
