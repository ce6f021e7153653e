r"""Two-layer networks after one giant gradient step: their features' spectrum and their
ridge error, measured.

The rows of ``W0`` (p, d) are uniform on the unit sphere, in ``k`` equal blocks. A
network is either made, :math:`w_j = c_b w^0_j + r_b v`, or
trained by one step :math:`w_j \leftarrow
w^0_j+\eta\zeta_b\frac1{n_0}\sum_i(y_i-f(x_i))\varphi'(\langle w^0_j,x_i\rangle)x_i`:
`Spiked` and `Step` are the two recipes. Labels are :math:`g(\langle w_*,x\rangle)` plus
noise, inputs :math:`x\sim N(0,I_d)`. Arguments of one number per block are tuples of
length ``k``. No array with as many rows as there are samples is made.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fl import validate
from fl.instruments.streamed_ridge import (
    Samples,
    device,
    normal,
    normal_equations,
    ridge,
)
from fl.tasks import LINKS, Link

INIT, STEP, TRAIN, TEST = range(4)  # streams of one seed
TEST_POINTS = 8  # for each sample of the read-out: fewer than draws scatter by
MOST_POINTS = 10_000


@dataclass(frozen=True)
class Setting:
    """What does not depend on how the first layer came about.

    Attributes:
        activation: activation of the network.
        width: number of neurons, the p of the chapter.
        alpha: fresh samples of the read-out per neuron; infinite for the population.
        delta: neurons per input.
        link: the teacher's link.
        penalty: penalty of the read-out, the lambda of the chapter.
        noise: variance of the label noise.
    """

    activation: Link
    width: int
    alpha: float
    delta: float
    link: Link = LINKS["sin"]
    penalty: float = 0.1
    noise: float = 0.0

    @property
    def n(self) -> int:
        """Fresh samples of the read-out."""
        return round(self.alpha * self.width)

    @property
    def d(self) -> int:
        """Inputs."""
        return round(self.width / self.delta)


class Network(NamedTuple):
    """First layer ``W`` (p, d), spike ``v`` (d,), teacher ``target`` (d,), and the
    ``block`` of each neuron (p,).
    """

    W: Tensor
    v: Tensor
    target: Tensor
    block: Tensor

    def features(self, activation: Link):
        """Return the map from inputs (m, d) to features (m, p) of ``activation``."""
        phi = on_tensors(activation.f)
        return lambda X: phi(X @ self.W.T)


@dataclass(frozen=True)
class Spiked:
    """The recipe of a network that is made.

    Attributes:
        r: (k,), spike of each block.
        c: what is left of the old rows, a number or (k,).
        gamma: cosine of teacher and spike.
    """

    r: tuple
    c: float | tuple = 1.0
    gamma: float = 1.0

    def draw(self, setting: Setting, seed: int) -> Network:
        """Return the network of the size of ``setting`` that belongs to ``seed``.

        Raises:
            ValueError: if ``gamma`` is outside [-1, 1].
        """
        gamma = validate.number("gamma", self.gamma, -1, 1)
        rho = (1 - gamma**2) ** 0.5
        k = len(self.r)
        W0, (v, rest), block = untrained(setting, k, seed)
        r = W0.new_tensor(self.r)[block, None]
        c = W0.new_tensor(np.full(k, self.c))[block, None]
        target = gamma * v + rho * rest
        W = c * W0 + r * v
        return Network(W, v, target, block)


@dataclass(frozen=True)
class Step:
    """The recipe of a network that is trained by one step, on equal blocks.

    Attributes:
        eta: size of the step.
        zeta: (k,), values of the second layer.
        alpha0: samples of the step per input.
    """

    eta: float
    zeta: tuple = (1.0,)
    alpha0: float = 20.0

    def draw(self, setting: Setting, seed: int) -> Network:
        """Return the network of ``setting`` after the step that belongs to ``seed``;
        its spike ``v`` is the mean change of the rows.

        Raises:
            ValueError: if ``alpha0`` is not > 0.
        """
        alpha0 = validate.number("alpha0", self.alpha0, 0, open_low=True)
        k = len(self.zeta)
        W0, (target, _), block = untrained(setting, k, seed)
        zeta = W0.new_tensor(self.zeta)[block]
        phi = on_tensors(setting.activation.f)
        slope = on_tensors(setting.activation.slope)
        n0 = round(alpha0 * setting.d)
        gradient = torch.zeros_like(W0)
        for X, y in labelled(setting, n0, target, (seed, STEP)):
            Z = X @ W0.T
            residual = y - phi(Z) @ zeta / setting.width
            weighted = slope(Z) * residual[:, None]
            gradient += weighted.T @ X
        size = self.eta / n0
        change = size * zeta[:, None] * gradient
        v = zeta @ change
        return Network(
            W=W0 + change,
            v=v / v.norm(),
            target=target,
            block=block,
        )


def on_tensors(f):
    """Return the numpy function ``f`` as a function of tensors; the products around it
    stay on their device.
    """

    def on_tensor(u):
        values = f(u.cpu().numpy())
        return torch.from_numpy(values).to(u.device)

    return on_tensor


def labelled(setting: Setting, n: int, target: Tensor, seed: tuple) -> Samples:
    """Return ``n`` samples with the link and noise of ``setting``, the teacher
    direction ``target`` (d,) and this ``seed``.
    """
    return Samples(
        n=n,
        beta=target,
        teacher=on_tensors(setting.link.f),
        noise=setting.noise,
        seed=seed,
    )


def untrained(setting: Setting, k: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the first layer before the step.

    Args:
        setting: its ``width`` p and ``d``.
        k: number of equal blocks.
        seed: seed.

    Returns:
        ``W0`` (p, d) with unit rows, an orthonormal pair (2, d), and the block of each
        neuron (p,).

    Raises:
        ValueError: if the width is no count, or ``d`` < 3.
    """
    width = validate.count("width", setting.width)
    d = validate.count("d", setting.d, 3)
    W0 = normal((width, d), seed, INIT, 0)
    W0 /= W0.norm(dim=1, keepdim=True)
    pair = torch.linalg.qr(normal((d, 2), seed, INIT, 1)).Q
    edges = np.rint(np.linspace(0, width, k + 1))
    neurons = np.arange(width)
    block = np.searchsorted(edges[1:], neurons, side="right")
    return W0, pair.T.contiguous(), torch.from_numpy(block).to(device())


def spectrum(seed: int, recipe: Spiked | Step, setting: Setting) -> dict:
    """Return the eigenvalues of ``Phi' Phi / n`` (p,), falling, the realised ``kappa``
    (n,), and `measured_spike`, of the network that ``recipe`` draws at ``setting`` with
    this ``seed``.
    """
    network = recipe.draw(setting, seed)
    # a teacher that returns its argument: the labels are kappa
    sample = Samples(
        n=setting.n,
        beta=network.v,
        teacher=lambda u: u,
        noise=0.0,
        seed=(seed, TRAIN),
    )
    features = network.features(setting.activation)
    gram = normal_equations(sample, features).gram
    kappa = torch.cat([y for _, y in sample])
    return {
        "eigenvalue": ("neuron", falling(gram)),
        "kappa": ("sample", kappa.cpu().numpy()),
    } | measured_spike(network)


def population_spectrum(seed: int, recipe: Spiked, setting: Setting) -> dict:
    r"""Return the eigenvalues (p,), falling, of the population covariance of the
    features that ``recipe`` draws at ``setting`` with this ``seed``.

    The activation is erf(z / sqrt 2), for which the covariance is
    :math:`\frac2\pi\arcsin\frac{w_i\cdot w_j}{\sqrt{(1+|w_i|^2)(1+|w_j|^2)}}`: nothing
    is sampled but ``W0``.

    Raises:
        ValueError: for another activation.
    """
    validate.choice("activation", setting.activation.name, ["erf(z / sqrt 2)"])
    W = recipe.draw(setting, seed).W
    gram = W @ W.T
    scale = (1 + gram.diagonal()).rsqrt()
    cosine = scale[:, None] * gram * scale
    kernel = 2 / np.pi * torch.arcsin(cosine)
    return {"eigenvalue": ("neuron", falling(kernel))}


def error(seed: int, recipe: Spiked | Step, setting: Setting) -> dict:
    """Return the mean square residual of the ridge read-out on fresh samples,
    `TEST_POINTS` for each that it was fitted to but at most `MOST_POINTS`, label noise
    included, and `measured_spike`.

    Args:
        seed: seed.
        recipe: how the first layer comes about.
        setting: sizes, link, penalty and noise.
    """
    network = recipe.draw(setting, seed)
    target = network.target
    features = network.features(setting.activation)
    train = labelled(setting, setting.n, target, (seed, TRAIN))
    # w = a / sqrt(p), and the sum of squares is divided by n there
    penalty = setting.penalty / setting.alpha
    w = ridge(normal_equations(train, features), penalty)
    clean = replace(setting, noise=0.0)
    points = min(TEST_POINTS * setting.n, MOST_POINTS)
    test = labelled(clean, points, target, (seed, TEST))
    residuals = [y - features(X) @ w for X, y in test]
    error = torch.cat(residuals).square().mean()
    return {"error": float(error) + setting.noise} | measured_spike(network)


def falling(matrix: Tensor) -> np.ndarray:
    """Return the eigenvalues of a symmetric ``matrix`` (p, p), falling: shape (p,)."""
    values = torch.linalg.eigvalsh(matrix)
    return values.flip(0).cpu().numpy()


def measured_spike(network: Network) -> dict:
    """Return per block of ``network`` (k,) the means ``r`` of <w_j, v> and ``norm`` of
    squared rows, and ``gamma`` = <v, target>.
    """
    W, v, target, block = network
    one = torch.nn.functional.one_hot(block).to(W)
    share = (one / one.sum(0)).T  # (k, p)
    along = share @ (W @ v)
    norm = share @ W.square().sum(1)
    return {
        "r": ("block", along.cpu().numpy()),
        "norm": ("block", norm.cpu().numpy()),
        "gamma": float(v @ target),
    }
