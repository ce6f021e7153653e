r"""One gradient step on the first layer of a two-layer network, its spectrum, and the
ridge risk after it.

The network is :math:`f(x)=N^{-1/2}a^\top\sigma(W^\top x)` with ``W`` (d, N), one neuron
per column. At the start ``W0`` is iid N(0, 1/d) and ``a`` iid N(0, 1/N). The step is
:math:`W_1=W_0+\eta\sqrt N\,G_0` with ``G0`` minus the gradient of
:math:`\frac1{2n}\sum(y-f)^2`. Data: x ~ N(0, I_d) in rows,
:math:`y=\sigma^\star(x^\top\beta^\star)+` noise. The law of everything is invariant
under rotations, so ``beta*`` is the first axis.
"""

from typing import NamedTuple

import numpy as np
import torch
import xarray as xr
from scipy import linalg
from torch import Tensor

from fl import validate
from fl.instruments import streamed_ridge
from fl.instruments.gaussian_products import population
from fl.instruments.torch_links import centred
from fl.tasks import LINKS

FEATURES = ("network", "gaussian", "linear")


class Setting(NamedTuple):
    """Sizes and links of one experiment: n = psi1 d samples in each stage, N = psi2 d
    neurons.

    ``student`` and ``teacher`` are centred links ``(name, tau)``; ``offset`` is added
    to every label.
    """

    d: int = 200
    psi1: float = 2.0
    psi2: float = 1.0
    student: tuple[str, float] = ("erf", 1.0)
    teacher: tuple[str, float] = ("erf", 3.0)
    noise: float = 0.01
    offset: float = 0.0

    @property
    def n(self) -> int:
        """Number of samples."""
        return validate.count("n", round(self.psi1 * validate.count("d", self.d)))

    @property
    def N(self) -> int:
        """Number of neurons."""
        return validate.count("N", round(self.psi2 * validate.count("d", self.d)))

    @property
    def mu1(self) -> float:
        """First Hermite coefficient of the student."""
        return LINKS[self.student[0]].hermite(1, self.student[1])[1]

    def sample(self, *seed: int) -> streamed_ridge.Samples:
        """Return a sample of n rows with these seeds."""
        teacher = centred(*self.teacher).f
        return streamed_ridge.Samples(
            self.n, self.beta, lambda u: teacher(u) + self.offset, self.noise, seed
        )

    @property
    def beta(self) -> Tensor:
        """The teacher's direction, shape (d,)."""
        beta = torch.zeros(self.d, dtype=torch.float64, device=streamed_ridge.device())
        beta[0] = 1.0
        return beta


class FirstStep(NamedTuple):
    """Start and direction of the step: ``W0`` (d, N), ``a`` (N,), ``G0`` (d, N),
    ``signal`` = X'y/n (d,).
    """

    W0: Tensor
    a: Tensor
    G0: Tensor
    signal: Tensor

    def weights(self, eta: float) -> Tensor:
        """Return W1 (d, N) after a step of size ``eta``."""
        return self.W0 + eta * len(self.a) ** 0.5 * self.G0


def first_step(
    setting: Setting, seed: int, labels: str = "true", output: bool = True
) -> FirstStep:
    r"""Return the first step, its gradient accumulated over chunks of the sample.

    .. math:: G_0=\frac1nX^\top\Bigl[\bigl(N^{-1/2}(y-f(X))a^\top\bigr)\odot\sigma'(XW_0)\Bigr].

    Args:
        setting: sizes and links.
        seed: fixes weights and sample.
        labels: ``true``, or ``shuffled``, which gives every input the label of another.
        output: whether f(X) is taken off the labels; without it the residual is y.

    Raises:
        ValueError: for unknown ``labels``.
    """
    validate.choice("labels", labels, ("true", "shuffled"))
    d, N, link = setting.d, setting.N, centred(*setting.student)
    W0, a = (
        streamed_ridge.normal((d, N), seed, 0) / d**0.5,
        streamed_ridge.normal((N,), seed, 1) / N**0.5,
    )
    G0, signal = torch.zeros_like(W0), torch.zeros_like(W0[:, 0])
    for X, y in setting.sample(seed, 2):
        y = y.roll(1) if labels == "shuffled" else y
        Z = X @ W0
        residual = y - link.f(Z) @ a / N**0.5 if output else y
        G0.addmm_(X.T, torch.outer(residual, a / N**0.5) * link.slope(Z))
        signal.addmv_(X.T, y)
    return FirstStep(W0, a, G0 / setting.n, signal / setting.n)


def rank_one_error(setting: Setting, seed: int) -> dict[str, float]:
    r"""Return :math:`|G_0-A|/|A|` in operator and in Frobenius norm, A = mu1 (X'y/n) a'
    / sqrt(N).
    """
    step = first_step(setting, seed)
    A = setting.mu1 / setting.N**0.5 * torch.outer(step.signal, step.a)
    remainder, size = (
        step.G0 - A,
        float(A.norm()),
    )  # rank one: both norms of A are the same number
    operator = _top((remainder @ remainder.T).cpu().numpy())[0] ** 0.5
    return {"operator": operator / size, "frobenius": float(remainder.norm()) / size}


def spike(
    setting: Setting,
    seed: int,
    etas: tuple[float, ...],
    output: bool = True,
    kernel: bool = False,
) -> xr.Dataset:
    """Return the leading singular triple of W1 for every step size, with the strengths
    realised in this draw.

    Variables over ``eta``: ``s1``, ``u_beta`` and ``v_a``, the squared cosines of u1
    with beta* and of v1 with a, ``theta2``, the norm of the rank-one part, and
    ``theta1``, its component along beta*. With ``kernel``, also ``outlier``, the top
    eigenvalue of S'S/n on a fresh sample, and ``kernel_overlap``, the squared cosine
    between its eigenvector and v1.
    """
    step = first_step(setting, seed, output=output)
    a = step.a.cpu().numpy()
    strength = setting.mu1 * float(step.signal.norm() * step.a.norm())
    cosine = float(step.signal[0] / step.signal.norm())
    rows = []
    for eta in etas:
        W1 = step.weights(eta)
        s1, v1 = _top((W1.T @ W1).cpu().numpy())
        u_beta = float(W1[0].cpu().numpy() @ v1) ** 2 / s1  # u1 = W1 v1 / |W1 v1|
        row = dict(s1=s1**0.5, u_beta=u_beta, v_a=(v1 @ a) ** 2 / (a @ a))
        row |= dict(theta2=eta * strength, theta1=eta * strength * cosine)
        if kernel:
            gram = streamed_ridge.normal_equations(
                setting.sample(seed, 3), _features(setting, W1, "network", seed, 0)
            ).gram
            row["outlier"], top = _top(gram.cpu().numpy())
            row["kernel_overlap"] = float(top @ v1) ** 2
        rows.append(row)
    return xr.Dataset(
        {k: ("eta", np.array([r[k] for r in rows])) for k in rows[0]},
        {"eta": list(etas)},
    )


def spectrum(setting: Setting, seed: int, eta: float) -> np.ndarray:
    """Return the singular values of W1, shape (min(d, N),), falling."""
    return torch.linalg.svdvals(first_step(setting, seed).weights(eta)).cpu().numpy()


def risk(
    setting: Setting,
    seed: int,
    etas: tuple[float, ...],
    penalties: tuple[float, ...],
    features: str = "network",
    labels: str = "true",
    output: bool = True,
    draws: int = 1,
) -> xr.Dataset:
    r"""Return the exact population risk of ridge on the features after one step.

    Variables over ``eta``, ``penalty`` and ``draw`` (of the second sample): ``fresh``,
    the second stage has a sample of its own, and over ``eta``, ``penalty``: ``reused``,
    it has that of the first.

    Args:
        setting: sizes and links.
        seed: fixes weights and all samples; the first stage is the same for all step
            sizes.
        etas: step sizes.
        penalties: ridge penalties lambda.
        features: ``network``: sigma(W1'x); ``gaussian``: mu1 W1'x + mu_perp z with
            fresh z; ``linear``: z left out.
        labels: of the first stage, see `first_step`.
        output: see `first_step`.
        draws: number of second samples.

    Raises:
        ValueError: for unknown ``features``, or a link without exact population risk.
    """
    validate.choice("features", features, FEATURES)
    step = first_step(setting, seed, labels, output)
    fresh, reused = (
        np.empty((len(etas), len(penalties), draws)),
        np.empty((len(etas), len(penalties))),
    )
    for i, eta in enumerate(etas):
        W1 = step.weights(eta)
        moments = _moments(setting, W1, features)
        samples = [setting.sample(seed, 3 + k) for k in range(draws)] + [
            setting.sample(seed, 2)
        ]
        for k, sample in enumerate(samples):
            equations = streamed_ridge.normal_equations(
                sample, _features(setting, W1, features, seed, k)
            )
            risks = [
                streamed_ridge.quadratic_risk(
                    streamed_ridge.ridge(equations, penalty), *moments
                )
                for penalty in penalties
            ]
            if k < draws:
                fresh[i, :, k] = risks
            else:
                reused[i] = risks
    coords = {"eta": list(etas), "penalty": list(penalties)}
    return xr.Dataset(
        {
            "fresh": (("eta", "penalty", "draw"), fresh),
            "reused": (("eta", "penalty"), reused),
        },
        coords,
    )


def _features(setting: Setting, W: Tensor, kind: str, seed: int, k: int):
    """Return the feature map (m, d) -> (m, N) of this kind; Gaussian features draw
    their own noise.
    """
    if kind == "network":
        f = centred(*setting.student).f
        return lambda X: f(X @ W)
    rng, rest = np.random.default_rng((seed, 1000 + k)), _rest(setting, kind)
    return lambda X: (
        setting.mu1 * X @ W
        + rest
        * torch.from_numpy(rng.standard_normal((len(X), W.shape[1]))).to(X.device)
    )


def _moments(setting: Setting, W: Tensor, kind: str) -> tuple[Tensor, Tensor, float]:
    exact = population(setting.student, setting.teacher, W, setting.beta)
    if kind == "network":
        return exact
    linear = LINKS[setting.teacher[0]].hermite(1, setting.teacher[1])[1]
    covariance = setting.mu1**2 * W.T @ W + _rest(setting, kind) ** 2 * torch.eye(
        W.shape[1]
    ).to(W)
    return covariance, setting.mu1 * linear * W[0], exact[2]


def _rest(setting: Setting, kind: str) -> float:
    """Return mu_perp, the size of the part of the student that is not linear; 0 where
    it is left out.
    """
    name, tau = setting.student
    return (
        0.0
        if kind == "linear"
        else float(np.sqrt(LINKS[name].moments(tau)[1] - setting.mu1**2))
    )


def _top(matrix: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the largest eigenvalue of a symmetric matrix and its eigenvector."""
    last = len(matrix) - 1
    values, vectors = linalg.eigh(matrix, subset_by_index=[last, last])
    return float(values[0]), vectors[:, 0]
