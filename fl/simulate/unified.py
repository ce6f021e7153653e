r"""One preconditioned gradient step under inputs of any covariance.

Network and step are those of `fl.simulate.spikes`; the residual is the label alone, as
for a network that is trained less its own output at the start. Inputs are
:math:`x=\Sigma^{1/2}z` in the eigenbasis of :math:`\Sigma`, with log-spaced eigenvalues
of mean 1; the teacher's squared coordinates are a power of them.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from fl.instruments import streamed_ridge
from fl.simulate import gram, spikes
from fl.simulate.spikes import (
    FIRST_LAYER,
    FIRST_SAMPLE,
    SECOND_SAMPLE,
    first_step,
    leading,
)
from fl.simulate.spikes_risk import Student
from fl.tasks import log_spaced
from fl.updates import Rule


@dataclass(frozen=True)
class Setting(spikes.Setting):
    """Sizes and links of one experiment.

    Attributes:
        ratio: largest over smallest eigenvalue of the inputs, >= 1.
        slope: the teacher's squared coordinates are proportional to this power of the
            eigenvalues.
    """

    ratio: float = 1.0
    slope: float = 0.0

    @property
    def lam(self) -> Tensor:
        """Eigenvalues of the covariance, shape (d,), falling."""
        values = log_spaced(self.d, self.ratio).eigenvalues
        return torch.from_numpy(values).to(streamed_ridge.device())

    @property
    def beta(self) -> Tensor:
        r"""The teacher as z sees it, :math:`\Sigma^{1/2}\beta^\star`, of length 1."""
        root = self.lam ** ((1 + self.slope) / 2)
        return root / root.norm()

    def white(self, *seed: int) -> streamed_ridge.Samples:
        """Return a sample of n rows z, drawn by the whole numbers ``seed``."""
        return super().sample(*seed)

    def sample(self, *seed: int) -> list:
        """Return the chunks of the same sample, of the same ``seed``, as rows x."""
        root = self.lam**0.5
        return [(Z * root, y) for Z, y in self.white(*seed)]

    def samples(self, number: int, *seed: int) -> tuple:
        """Return inputs (number, n, d) and labels (number, n) of ``number`` samples, drawn
        by the whole numbers ``seed``.
        """
        many = replace(self, psi1=number * self.n / self.d)
        X, y = map(
            torch.cat,
            zip(*many.sample(*seed), strict=True),
        )
        return X.reshape(number, self.n, -1), y.reshape(number, -1)


def spike(
    seed: int,
    eta: float,
    p: float = 0.0,
    features: bool = False,
    damping: float | None = None,
    **sizes,
) -> dict:
    r"""Return the largest singular value after a step, and where its vector points.

    Args:
        seed: fixes weights and sample.
        eta: step size, in units of :math:`1/|a|`, which is 1 in the limit.
        p: the preconditioner is :math:`P=\Sigma^p`.
        features: look at :math:`\Sigma^{1/2}W_1` in place of W1.
        damping: :math:`P=(\hat\Sigma+\lambda)^{-1}`, with the covariance of the sample,
            in place of the power.
        sizes: fields of `Setting`.

    Returns:
        ``s1``; ``teacher`` and ``step``, the squared cosines of the left vector with
        :math:`\beta^\star` (:math:`\Sigma^{1/2}\beta^\star` for ``features``) and with
        the step.
    """
    setting = Setting(**sizes)
    step = first_step(setting, seed, output=False)
    P = torch.diag(setting.lam**p)
    if damping is not None:
        (X,), _ = setting.samples(1, seed, FIRST_SAMPLE)
        P = _shrunk(X.T @ X / len(X), damping).inverse()
    left = torch.diag(setting.lam ** (0.5 * features))
    size = eta * setting.width**0.5 / step.a.norm()
    W1 = left @ (step.W0 + size * P @ step.G0)
    s1, v1 = leading(W1)
    target = left @ (setting.beta / setting.lam**0.5)
    found = {
        "teacher": target,
        "step": left @ P @ step.signal,
    }
    return {"s1": s1} | {name: float(_cos2(v, W1 @ v1)) for name, v in found.items()}


def gradients(
    seed: int,
    draws: int,
    level: float,
    damping: float,
    **sizes,
) -> dict:
    r"""Return what samples say of :math:`g=X^\top y/n`, and how well four
    preconditioners align it with the teacher, on the same samples.

    Args:
        seed: fixes all samples.
        draws: number of samples.
        level: c of the filter ``known``, :math:`(\Sigma+cK^{-1})^{-1}`, K diagonal with
            the teacher's squared coordinates, scaled to mean 1.
        damping: of ``own``, :math:`(\hat\Sigma+\lambda K^{-1})^{-1}` with the covariance
            of the sample, of ``other``, with that of another one, and of ``plain``, K left
            out of ``own``.
        sizes: fields of `Setting`.

    Returns:
        Means over the draws: the squared cosines of the four; ``square`` and ``along``
        (input), of :math:`g_j^2` and :math:`g_j\beta^\star_j`.
    """
    setting = Setting(**sizes)
    beta = setting.beta / setting.lam**0.5
    inverse = (beta @ beta) / (setting.d * beta**2)
    X, y = setting.samples(draws + 1, seed, SECOND_SAMPLE)
    g = X.mT @ y[..., None] / setting.n
    moments = {
        "square": g[..., 0] ** 2,
        "along": g[..., 0] * beta,
    }
    covariance = X.mT @ X / setting.n
    filters = {
        "known": (
            torch.diag(setting.lam)[None],
            level * inverse,
        ),
        "own": (
            covariance[:-1],
            damping * inverse,
        ),
        "other": (
            covariance[1:],
            damping * inverse,
        ),
        "plain": (covariance[:-1], damping),
    }
    found = {}
    for name, (C, shift) in filters.items():
        v = torch.linalg.solve(_shrunk(C, shift), g[:-1])
        found[name] = float(_cos2(v[..., 0], beta).mean())
    return found | {
        name: (
            "input",
            value.mean(0).numpy(force=True),
        )
        for name, value in moments.items()
    }


def risk(
    seed: int,
    exponents: tuple,
    etas: tuple,
    penalty: float,
    **sizes,
) -> xr.Dataset:
    r"""Return the exact population risk of ridge on a fresh sample after steps with the
    preconditioners :math:`\Sigma^p`, all from one first sample.

    Args:
        seed: fixes weights and samples.
        exponents: p, one for each step.
        etas: step sizes, one for each step.
        penalty: of the ridge.
        sizes: fields of `Setting`.

    Returns:
        ``risk`` and ``s1``, the largest singular value of :math:`\Sigma^{1/2}W_1`, both
        over ``step``.
    """
    setting = Setting(**sizes)
    step = first_step(setting, seed, output=False)
    lam = setting.lam[:, None]
    risks, values = [], []
    for p, eta in zip(exponents, etas, strict=True):
        move = eta * setting.width**0.5 * lam**p * step.G0
        W = lam**0.5 * (step.W0 + move)
        student = Student(setting, W)  # it meets z, of covariance I
        risks += student.risks(
            setting.white(seed, SECOND_SAMPLE),
            [penalty],
        )
        values.append(leading(W)[0])
    return xr.Dataset(
        {
            "risk": ("step", risks),
            "s1": ("step", values),
        }
    )


def twins(
    seed: int,
    p: float,
    eta: float,
    steps: int,
    matched=True,
    **sizes,
) -> dict:
    r"""Return the relative ``gap`` between the preactivations of two networks, over
    their training by `fl.simulate.gram.train`, all layers and biases.

    One is trained on x with the preconditioner :math:`P=\Sigma^p` (``p``) from
    :math:`W_0=P^{1/2}V_0`, or from :math:`V_0` if not ``matched``; the other on
    :math:`P^{1/2}x` without one, from :math:`V_0`. Both take ``steps`` of size ``eta``
    on the same labels; ``seed`` and ``sizes`` as in `spike`. ``moved`` is the share of
    the loss that is left.
    """
    setting = Setting(**sizes)
    (X,), (y,) = setting.samples(1, seed, FIRST_SAMPLE)
    P = setting.lam.numpy(force=True) ** p
    root, one = P**0.5, np.eye(setting.d)
    rng = np.random.default_rng([seed, FIRST_LAYER])
    V0 = gram.first_layer(rng, setting.width, one / setting.d)
    later = gram.later_layers(rng, [setting.width, 1])
    rule = Rule(steps=steps, eta=eta, bias_eta=eta)
    X, y = (
        X.numpy(force=True).T,
        y.numpy(force=True),
    )
    first = V0 * root if matched else V0
    plain = gram.train(root[:, None] * X, y, V0, later, one, rule)
    other = gram.train(X, y, first, later, np.diag(P), rule)
    gap = np.linalg.norm(other.Z - plain.Z) / np.linalg.norm(plain.Z)
    return {
        "gap": gap,
        "moved": plain.loss[-1] / plain.loss[0],
    }


def _shrunk(C: Tensor, damping) -> Tensor:
    """Return matrices ``C`` (.., d, d) plus a diagonal or a number."""
    return C + damping * torch.eye(C.shape[-1]).to(C)


def _cos2(v: Tensor, w: Tensor) -> Tensor:
    """Return the squared cosine of ``v`` (.., d) and ``w`` (d,)."""
    return (v @ w) ** 2 / (v**2).sum(-1) / (w @ w)
