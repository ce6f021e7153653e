r"""One gradient step on the first layer of a two-layer network, and its spectrum.

The network is :math:`f(x)=N^{-1/2}a^\top\sigma(W^\top x)` with ``W`` (d, N), one neuron
per column. At the start ``W0`` is iid N(0, 1/d) and ``a`` iid N(0, 1/N). The step is
:math:`W_1=W_0+\eta\sqrt N\,G_0` with ``G0`` minus the gradient of
:math:`\frac1{2n}\sum(y-f)^2`. Data: x ~ N(0, I_d) in rows,
:math:`y=\sigma^\star(x^\top\beta^\star)+` noise. The law of everything is invariant
under rotations, so ``beta*`` is the first axis.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import xarray as xr
from scipy import linalg
from torch import Tensor

from fl import validate
from fl.instruments import streamed_ridge
from fl.instruments.torch_links import centred

# streams: what the second entry of a seed draws; further second samples follow on
FIRST_LAYER, SECOND_LAYER, FIRST_SAMPLE, SECOND_SAMPLE = 0, 1, 2, 3


@dataclass(frozen=True)
class Setting:
    """Sizes and links of one experiment: n = psi1 d samples in each stage, N = psi2 d
    neurons.

    Attributes:
        d: input dimension.
        psi1: samples per dimension.
        psi2: neurons per dimension.
        student: centred link ``(name, tau)``.
        teacher: the same.
        noise: variance of the label noise.
        offset: added to every label.

    Raises:
        ValueError: for a size that is < 1.
    """

    d: int = 200
    psi1: float = 2.0
    psi2: float = 1.0
    student: tuple = ("erf", 1.0)
    teacher: tuple = ("erf", 3.0)
    noise: float = 0.01
    offset: float = 0.0

    def __post_init__(self):
        for name in ("d", "n", "width"):
            validate.count(name, getattr(self, name))

    @property
    def n(self) -> int:
        """Number of samples."""
        return round(self.psi1 * self.d)

    @property
    def width(self) -> int:
        """Number of neurons, N."""
        return round(self.psi2 * self.d)

    @property
    def beta(self) -> Tensor:
        """The teacher's direction, shape (d,)."""
        place = streamed_ridge.device()
        return torch.eye(1, self.d, dtype=torch.float64, device=place)[0]

    def sample(self, *seed: int) -> streamed_ridge.Samples:
        """Return a sample of n rows, drawn by the whole numbers ``seed``."""
        teacher = centred(*self.teacher).f
        return streamed_ridge.Samples(
            self.n,
            self.beta,
            lambda u: teacher(u) + self.offset,
            self.noise,
            seed,
        )


class FirstStep(NamedTuple):
    """Start and direction of the step: ``W0`` (d, N), ``a`` (N,), ``G0`` (d, N),
    ``signal`` = X'y/n (d,), and ``mu1``, the first Hermite coefficient of the student.
    """

    W0: Tensor
    a: Tensor
    G0: Tensor
    signal: Tensor
    mu1: float

    def weights(self, eta: float) -> Tensor:
        """Return W1 (d, N) after a step of size ``eta``."""
        scale = eta * len(self.a) ** 0.5
        return self.W0 + scale * self.G0

    def strengths(self, eta: float) -> dict:
        """Return ``theta2``, the norm of the rank-one part after a step ``eta`` as this
        draw has it, and ``theta1``, its component along beta*.
        """
        gain = eta * self.mu1 * self.a.norm()
        return {
            "theta1": float(gain * self.signal[0]),
            "theta2": float(gain * self.signal.norm()),
        }


def first_step(
    setting: Setting, seed: int, labels: str = "true", output: bool = True
) -> FirstStep:
    r"""Return the first step, its gradient accumulated over chunks of the sample.

    .. math:: G_0=\frac1nX^\top\Bigl[\bigl(N^{-1/2}(y-f(X))a^\top\bigr)
              \odot\sigma'(XW_0)\Bigr].

    Args:
        setting: sizes and links.
        seed: fixes weights and sample.
        labels: ``true``, or ``shuffled``, which gives every input the label of another.
        output: whether f(X) is taken off the labels; without it the residual is y.

    Raises:
        ValueError: for unknown ``labels``.
    """
    validate.choice("labels", labels, ("true", "shuffled"))
    d, n, width = setting.d, setting.n, setting.width
    link = centred(*setting.student)
    W0 = streamed_ridge.normal((d, width), seed, FIRST_LAYER)
    W0 /= d**0.5
    a = streamed_ridge.normal((width,), seed, SECOND_LAYER)
    a /= width**0.5
    readout = a / width**0.5
    G0 = torch.zeros_like(W0)
    signal = torch.zeros_like(W0[:, 0])
    for X, y in setting.sample(seed, FIRST_SAMPLE):
        if labels == "shuffled":
            y = y.roll(1)
        Z = X @ W0
        residual = y
        if output:
            residual = y - link.f(Z) @ readout
        backward = torch.outer(residual, readout)
        G0.addmm_(X.T, backward * link.slope(Z))
        signal.addmv_(X.T, y)
    return FirstStep(W0, a, G0 / n, signal / n, link.linear)


def rank_one_error(seed: int, **sizes) -> dict:
    r"""Return :math:`|G_0-A|/|A|` in ``operator`` and in ``frobenius`` norm, A = mu1
    (X'y/n) a' / sqrt(N), for the draw ``seed``; ``sizes`` are the fields of `Setting`.
    """
    step = first_step(Setting(**sizes), seed)
    A = step.mu1 * torch.outer(step.signal, step.a)
    A /= len(step.a) ** 0.5
    size = float(A.norm())  # rank one: both norms of A are the same number
    remainder = (step.G0 - A) / size
    operator, _ = leading(remainder.T)
    frobenius = float(remainder.norm())
    return {"operator": operator, "frobenius": frobenius}


def spike(seed: int, etas: tuple, output: bool = True, **sizes) -> xr.Dataset:
    """Return the leading singular triples of W1 after steps of several sizes, and the
    strengths realised in this draw.

    Args:
        seed: fixes weights and sample, the same for all steps.
        etas: step sizes.
        output: see `first_step`.
        sizes: fields of `Setting`.

    Returns:
        Over ``eta``: ``s1``, ``u_beta`` and ``v_a``, the squared cosines of u1 with
        beta* and of v1 with a, ``theta1`` and ``theta2``.
    """
    step = first_step(Setting(**sizes), seed, output=output)
    triples = [_triple(step, eta) for eta in etas]
    return xr.Dataset(
        {name: ("eta", [triple[name] for triple in triples]) for name in triples[0]},
        {"eta": list(etas)},
    )


def _triple(step: FirstStep, eta: float) -> dict:
    W1 = step.weights(eta)
    s1, v1 = leading(W1)
    along = W1[0] @ v1 / s1  # u1 = W1 v1 / s1
    same = step.a @ v1 / step.a.norm()
    triple = {"s1": s1, "u_beta": float(along**2), "v_a": float(same**2)}
    return triple | step.strengths(eta)


def leading(W: Tensor) -> tuple:
    """Return the largest singular value of ``W`` (d, N) and its right vector (N,)."""
    if W.shape[0] < W.shape[1]:  # the smaller of the two products
        s1, u1 = leading(W.T)
        return s1, W.T @ u1 / s1
    gram = (W.T @ W).numpy(force=True)
    last = len(gram) - 1
    (square,), v1 = linalg.eigh(gram, subset_by_index=[last, last])
    return float(square) ** 0.5, torch.from_numpy(v1[:, 0].copy()).to(W)
