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
        device = streamed_ridge.device()
        return torch.from_numpy(values).to(device)

    @property
    def beta(self) -> Tensor:
        r"""The teacher as z sees it, :math:`\Sigma^{1/2}\beta^\star`, of length 1."""
        power = (1 + self.slope) / 2
        root = self.lam**power
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
        rows = number * self.n
        many = replace(self, psi1=rows / self.d)
        chunks = many.sample(*seed)
        X, y = map(torch.cat, zip(*chunks, strict=True))
        X = X.reshape(number, self.n, -1)
        return X, y.reshape(number, -1)


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
    power = setting.lam**p
    P = torch.diag(power)
    if damping is not None:
        (X,), _ = setting.samples(1, seed, FIRST_SAMPLE)
        covariance = X.T @ X / len(X)
        P = _shrunk(covariance, damping).inverse()
    seen = 0.5 * features
    left = torch.diag(setting.lam**seen)
    length = step.a.norm()
    size = eta * setting.width**0.5 / length
    move = size * P @ step.G0
    W1 = left @ (step.W0 + move)
    s1, v1 = leading(W1)
    u1 = W1 @ v1
    target = setting.beta / setting.lam**0.5
    teacher = _cos2(left @ target, u1)
    along = _cos2(left @ P @ step.signal, u1)
    return {"s1": s1, "teacher": float(teacher), "step": float(along)}


def gradients(seed: int, draws: int, level: float, damping: float, **sizes) -> dict:
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
    weight = setting.d * beta**2
    inverse = (beta @ beta) / weight
    X, y = setting.samples(draws + 1, seed, SECOND_SAMPLE)
    g = X.mT @ y[..., None] / setting.n
    covariance = X.mT @ X / setting.n
    own, another = covariance[:-1], covariance[1:]
    shift = damping * inverse
    filters = {
        "known": (torch.diag(setting.lam)[None], level * inverse),
        "own": (own, shift),
        "other": (another, shift),
        "plain": (own, damping),
    }
    found = {}
    for name, (C, added) in filters.items():
        v = torch.linalg.solve(_shrunk(C, added), g[:-1])
        cosines = _cos2(v[..., 0], beta)
        found[name] = float(cosines.mean())
    entries = g[..., 0]
    square = (entries**2).mean(0)
    along = (entries * beta).mean(0)
    return found | {
        "square": ("input", square.numpy(force=True)),
        "along": ("input", along.numpy(force=True)),
    }


def risk(
    seed: int, exponents: tuple, etas: tuple, penalty: float, **sizes
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
        size = eta * setting.width**0.5
        move = size * lam**p * step.G0
        W = lam**0.5 * (step.W0 + move)
        student = Student(setting, W)  # it meets z, of covariance I
        fresh = setting.white(seed, SECOND_SAMPLE)
        risks += student.risks(fresh, [penalty])
        values.append(leading(W)[0])
    return xr.Dataset({"risk": ("step", risks), "s1": ("step", values)})


def twins(seed: int, p: float, eta: float, steps: int, matched=True, **sizes) -> dict:
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
    lam = setting.lam.numpy(force=True)
    P = lam**p
    root = P**0.5
    one = np.eye(setting.d)
    rng = np.random.default_rng([seed, FIRST_LAYER])
    V0 = gram.first_layer(rng, setting.width, one / setting.d)
    later = gram.later_layers(rng, [setting.width, 1])
    rule = Rule(steps=steps, eta=eta, bias_eta=eta)
    X = X.numpy(force=True).T
    y = y.numpy(force=True)
    first = V0 * root if matched else V0
    turned = root[:, None] * X
    plain = gram.train(turned, y, V0, later, one, rule)
    other = gram.train(X, y, first, later, np.diag(P), rule)
    apart = np.linalg.norm(other.Z - plain.Z)
    size = np.linalg.norm(plain.Z)
    left = plain.loss[-1] / plain.loss[0]
    return {"gap": apart / size, "moved": left}


def _shrunk(C: Tensor, damping) -> Tensor:
    """Return matrices ``C`` (.., d, d) plus a diagonal or a number."""
    one = torch.eye(C.shape[-1]).to(C)
    return C + damping * one


def _cos2(v: Tensor, w: Tensor) -> Tensor:
    """Return the squared cosine of ``v`` (.., d) and ``w`` (d,)."""
    square = (v**2).sum(-1)
    return (v @ w) ** 2 / square / (w @ w)
