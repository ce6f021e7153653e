r"""Two-layer networks after one giant gradient step: their features' spectrum and their
ridge error, measured.

The rows of ``W0`` (p, d) are uniform on the unit sphere; block ``b`` is a fraction
``pi[b]`` of the neurons. A network is either made, :math:`w_j = c_b w^0_j + r_b v`, or
trained by one step :math:`w_j \leftarrow
w^0_j+\eta\zeta_b\frac1{n_0}\sum_i(y_i-f(x_i))\varphi'(\langle w^0_j,x_i\rangle)x_i`.
Labels are :math:`g(\langle w_*,x\rangle)` plus noise, inputs :math:`x\sim N(0,I_d)`.
Arguments of one number per block are tuples of length ``k``. No array with as many rows
as there are samples is made.
"""

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
from fl.tasks import Link

INIT, STEP, TRAIN, TEST = range(4)  # streams of one seed
TEST_POINTS = 4000


class Network(NamedTuple):
    """First layer ``W`` (p, d), spike ``v`` (d,), teacher ``target`` (d,), and the
    ``block`` of each neuron (p,).
    """

    W: Tensor
    v: Tensor
    target: Tensor
    block: Tensor

    def features(self, activation: Link):
        """Return the map from inputs (m, d) to features (m, p)."""
        phi = on_tensors(activation.f)
        return lambda X: phi(X @ self.W.T)


def on_tensors(f):
    """Return the numpy function ``f`` as a function of tensors; the products around it
    stay on their device.
    """
    return lambda u: torch.from_numpy(f(u.cpu().numpy())).to(u.device)


def untrained(p: int, d: int, pi: tuple, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return ``W0`` (p, d) with unit rows, an orthonormal pair (2, d), and the block of
    each neuron (p,).
    """
    p, d = validate.count("p", p), validate.count("d", d, 3)
    W0, pair = normal((p, d), seed, INIT, 0), normal((d, 2), seed, INIT, 1)
    edges = np.rint(np.cumsum(pi) * p).astype(int)
    block = torch.from_numpy(np.searchsorted(edges, np.arange(p), side="right")).to(
        device()
    )
    return (
        W0 / W0.norm(dim=1, keepdim=True),
        torch.linalg.qr(pair).Q.T.contiguous(),
        block,
    )


def made(
    p: int,
    d: int,
    seed: int,
    r: tuple,
    c: tuple,
    gamma: float = 1.0,
    pi: tuple | None = None,
) -> Network:
    """Return the spiked random network with equal blocks, or fractions ``pi``, and a
    teacher at cosine ``gamma``.
    """
    gamma = validate.number("gamma", gamma, -1, 1)
    W0, (v, rest), block = untrained(p, d, pi or (1 / len(r),) * len(r), seed)
    r, c = (
        torch.tensor(values, dtype=W0.dtype, device=W0.device)[block][:, None]
        for values in (r, c)
    )
    return Network(c * W0 + r * v, v, gamma * v + (1 - gamma**2) ** 0.5 * rest, block)


def trained(
    p: int,
    d: int,
    seed: int,
    link: Link,
    activation: Link,
    eta: float,
    alpha0: float,
    zeta: tuple,
    noise: float = 0.0,
) -> Network:
    """Return the network after one step on ``alpha0 * d`` samples; its spike ``v`` is
    the mean change of the rows.
    """
    W0, (target, _), block = untrained(p, d, (1 / len(zeta),) * len(zeta), seed)
    zetas = torch.tensor(zeta, dtype=W0.dtype, device=W0.device)[block]
    phi, slope = on_tensors(activation.f), on_tensors(activation.slope)
    n0 = round(validate.number("alpha0", alpha0, 0, open_low=True) * d)
    gradient = torch.zeros_like(W0)
    for X, y in Samples(n0, target, on_tensors(link.f), noise, (seed, STEP)):
        Z = X @ W0.T
        residual = y - phi(Z) @ zetas / p
        gradient += (slope(Z) * residual[:, None]).T @ X
    change = eta * zetas[:, None] * gradient / n0
    v = zetas @ change
    return Network(W0 + change, v / v.norm(), target, block)


def spectrum(network: Network, activation: Link, n: int, seed: int) -> dict:
    """Return the eigenvalues of ``Phi' Phi / n`` (p,), falling, and the realised
    ``kappa`` (n,) of the samples.
    """
    sample = Samples(n, network.v, torch.zeros_like, 0.0, (seed, TRAIN))
    gram = normal_equations(
        ((X, X[:, 0]) for X, _ in sample), network.features(activation)
    ).gram
    kappa = torch.cat([X @ network.v for X, _ in sample])
    values = torch.linalg.eigvalsh(gram).flip(0)
    return {
        "eigenvalue": ("neuron", values.cpu().numpy()),
        "kappa": ("sample", kappa.cpu().numpy()),
    }


def errors(
    network: Network,
    link: Link,
    activation: Link,
    lam: float,
    n: int,
    seed: int,
    noise: float,
    test: int,
) -> dict:
    """Return the mean square residual of the ridge read-out on ``test`` fresh samples,
    label noise included.
    """
    g, features = on_tensors(link.f), network.features(activation)
    p = len(network.W)
    equations = normal_equations(
        Samples(n, network.target, g, noise, (seed, TRAIN)), features
    )
    w = ridge(
        equations, lam * p / n
    )  # w = a / sqrt(p), and the sum of squares is divided by n there
    residual = [
        y - features(X) @ w
        for X, y in Samples(test, network.target, g, 0.0, (seed, TEST))
    ]
    return {"error": float(torch.cat(residual).square().mean()) + noise}


def made_spectrum(
    seed: int, activation: Link, r: tuple, c: tuple, p: int, d: int, n: int
) -> dict:
    """Return `spectrum` of a made network."""
    return spectrum(made(p, d, seed, r, c), activation, n, seed)


def made_error(
    seed: int,
    link: Link,
    activation: Link,
    r: tuple,
    c: tuple,
    gamma: float,
    lam: float,
    noise: float,
    p: int,
    d: int,
    n: int,
) -> dict:
    """Return `errors` of a made network on `TEST_POINTS` fresh samples."""
    return errors(
        made(p, d, seed, r, c, gamma),
        link,
        activation,
        lam,
        n,
        seed,
        noise,
        TEST_POINTS,
    )


def trained_spectrum(
    seed: int,
    link: Link,
    activation: Link,
    eta: float,
    alpha0: float,
    zeta: tuple,
    p: int,
    d: int,
    n: int,
) -> dict:
    """Return `spectrum` of a trained network with its measured spike ``r`` per block,
    ``gamma``, and mean row norm.
    """
    network = trained(p, d, seed, link, activation, eta, alpha0, zeta)
    return spectrum(network, activation, n, seed) | measured_spike(network, len(zeta))


def trained_error(
    seed: int,
    link: Link,
    activation: Link,
    eta: float,
    alpha0: float,
    zeta: tuple,
    lam: float,
    p: int,
    d: int,
    n: int,
) -> dict:
    """Return `errors` of a trained network on `TEST_POINTS` fresh samples, and its
    measured spike.
    """
    network = trained(p, d, seed, link, activation, eta, alpha0, zeta)
    return errors(
        network, link, activation, lam, n, seed, 0.0, TEST_POINTS
    ) | measured_spike(network, len(zeta))


def measured_spike(network: Network, k: int) -> dict:
    """Return per block (k,) the means ``r`` of <w_j, v> and ``norm`` of squared rows,
    and ``gamma`` = <v, target>.
    """
    along, norm = network.W @ network.v, network.W.square().sum(1)
    blocks = [network.block == b for b in range(k)]
    return {
        "r": ("block", np.array([float(along[b].mean()) for b in blocks])),
        "gamma": float(network.v @ network.target),
        "norm": ("block", np.array([float(norm[b].mean()) for b in blocks])),
    }


def population_spectrum(seed: int, r: tuple, p: int, d: int) -> dict:
    r"""Return the eigenvalues (p,), falling, of the population covariance of the
    features of a made network, c = 1.

    The activation is erf(z / sqrt 2), for which the covariance is
    :math:`\frac2\pi\arcsin\frac{w_i\cdot w_j}{\sqrt{(1+|w_i|^2)(1+|w_j|^2)}}`: nothing
    is sampled but ``W0``.
    """
    W = made(p, d, seed, r, (1.0,) * len(r)).W
    gram = W @ W.T
    scale = (1 + gram.diagonal()).rsqrt()
    kernel = 2 / np.pi * torch.arcsin(scale[:, None] * gram * scale)
    return {
        "eigenvalue": ("neuron", torch.linalg.eigvalsh(kernel).flip(0).cpu().numpy())
    }
