r"""The links of `fl.links` as torch functions, so that large simulations run where the
tensors are.

A pair ``(name, tau)`` stands for :math:`u\mapsto f(\tau u)-\mathbb E f(\tau z)`,
:math:`z\sim N(0,1)`: scaled, then centred. ``("erf", 3.0)`` is erf(3u),
``("softplus10", 0.1)`` is log(1 + e^u) less its mean.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import torch
from torch.nn import functional

from fl import validate
from fl.links import LINKS

_TORCH = {
    "linear": (lambda u: u, torch.ones_like),
    "relu": (torch.relu, lambda u: torch.heaviside(u, u.new_tensor(0.5))),
    "abs": (torch.abs, torch.sign),
    "tanh": (torch.tanh, lambda u: 1 - torch.tanh(u) ** 2),
    "erf": (torch.erf, lambda u: 2 / math.sqrt(math.pi) * torch.exp(-(u**2))),
    "sin": (torch.sin, torch.cos),
    "square": (torch.square, lambda u: 2 * u),
    "softplus10": (
        lambda u: functional.softplus(u, beta=10.0) * 10.0,
        lambda u: 10 * torch.sigmoid(10 * u),
    ),
}


class TorchLink(NamedTuple):
    r"""A centred link.

    ``f`` and its derivative ``slope`` act elementwise on tensors; ``linear`` is the
    first Hermite coefficient :math:`\mathbb E\,zf(z)`, and ``rest`` the root of
    :math:`\mathbb Ef^2` beyond it.
    """

    f: Callable
    slope: Callable
    linear: float
    rest: float


@cache  # its moments are integrals, and every draw asks for them
def centred(name: str, tau: float = 1.0) -> TorchLink:
    r"""Return :math:`u\mapsto f(\tau u)-\mathbb E f(\tau z)` for the link called
    ``name`` at scale ``tau``.

    >>> link = centred("relu")
    >>> link.f(torch.zeros(1)).mul(-(2 * math.pi) ** 0.5).round(decimals=6).tolist()
    [1.0]
    >>> link.linear
    0.5

    Raises:
        ValueError: for a name that is not in `fl.links.LINKS`, or ``tau`` not > 0.
    """
    exact = LINKS[validate.choice("name", name, LINKS)]
    tau = validate.number("tau", tau, 0, open_low=True)
    f, slope = _TORCH[name]
    mean, variance, _ = exact.moments(tau)
    linear = float(exact.hermite(1, tau)[1])
    rest = math.sqrt(max(variance - linear**2, 0.0))
    return TorchLink(
        lambda u: f(tau * u) - mean,
        lambda u: tau * slope(tau * u),
        linear,
        rest,
    )
