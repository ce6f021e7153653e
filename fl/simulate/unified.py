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
from torch.nn.functional import cosine_similarity, normalize

from fl.cells import relative_gap
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
        return torch.from_numpy(
            log_spaced(self.d, self.ratio).eigenvalues,
        ).to(streamed_ridge.device())

    @property
    def beta(self) -> Tensor:
        r"""The teacher as z sees it, :math:`\Sigma^{1/2}\beta^\star`, of length 1."""
        return normalize(self.lam ** ((1 + self.slope) / 2), dim=0)

    white = spikes.Setting.sample  # the rows z

    def sample(self, *seed: int) -> list:
        """Return the same sample, of the same ``seed``, as rows x, in one chunk."""
        return list(zip(*self.samples(1, *seed), strict=True))

    def samples(self, number: int, *seed: int) -> tuple:
        """Return inputs (number, n, d) and labels (number, n) of ``number`` samples, drawn
        by the whole numbers ``seed``.
        """
        chunks = replace(self.white(*seed), n=number * self.n, chunk=self.n)
        Z, y = map(torch.stack, zip(*chunks, strict=True))
        return Z * self.lam**0.5, y


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
        covariance, _ = streamed_ridge.normal_equations(
            setting.sample(seed, FIRST_SAMPLE), lambda X: X
        )
        covariance.diagonal().add_(damping)
        P = covariance.inverse()
    left = torch.diag(setting.lam ** (0.5 * features))
    W1 = left @ step._replace(G0=P @ step.G0).weights(eta / step.a.norm())
    s1, v1 = leading(W1)

    def cos2(v):
        return float(cosine_similarity(left @ v, W1 @ v1, 0)) ** 2

    return {
        "s1": s1,
        "teacher": cos2(setting.beta / setting.lam**0.5),
        "step": cos2(P @ step.signal),
    }


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
    weight = setting.d * beta**2 / (beta @ beta)
    X, y = setting.samples(draws + 1, seed, SECOND_SAMPLE)
    g = torch.einsum("knd,kn->kd", X, y) / setting.n
    covariance = X.mT @ X / setting.n
    own = covariance[:-1]

    def cos2(C, shift):
        v = torch.linalg.solve(C + torch.diag(shift), g[:-1])
        return float(cosine_similarity(v, beta).square().mean())

    return {
        "known": cos2(torch.diag(setting.lam).expand_as(own), level / weight),
        "own": cos2(own, damping / weight),
        "other": cos2(covariance[1:], damping / weight),
        "plain": cos2(own, torch.full_like(weight, damping)),
        "square": ("input", (g**2).mean(0).numpy(force=True)),
        "along": ("input", (g * beta).mean(0).numpy(force=True)),
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
        W = lam**0.5 * step._replace(G0=lam**p * step.G0).weights(eta)
        risks += Student(setting, W).risks(
            setting.white(seed, SECOND_SAMPLE),  # z, of covariance I
            [penalty],
        )
        values.append(leading(W)[0])
    return xr.Dataset({"risk": ("step", risks), "s1": ("step", values)})


def twins(seed: int, p: float, eta: float, steps: int, matched=True, **sizes) -> dict:
    r"""Return the relative ``gap`` between the preactivations of two networks, over
    their training by `fl.simulate.gram.train`, all layers and biases.

    One is trained on x with the preconditioner :math:`P=\Sigma^p` (``p``) from
    :math:`W_0=P^{1/2}V_0`, or from :math:`V_0` if not ``matched``; the other on
    :math:`P^{1/2}x` without one, from :math:`V_0`. Both take ``steps`` of size ``eta``
    on the same labels; ``seed`` and ``sizes`` as in `spike`.
    """
    setting = Setting(**sizes)
    ((X, y),) = setting.sample(seed, FIRST_SAMPLE)
    root = setting.lam ** (p / 2)
    X, y, root = (v.numpy(force=True) for v in (X, y, root))
    rng = np.random.default_rng([seed, FIRST_LAYER])
    V0, _, *later = gram.later_layers(rng, [setting.d, setting.width, 1])
    rule = Rule(steps=steps, eta=eta, bias_eta=eta)
    start = V0 * root if matched else V0
    other = gram.train(
        X.T,
        y,
        start,
        later,
        np.diag(root**2),
        rule,
    )
    plain = gram.train((X * root).T, y, V0, later, np.eye(setting.d), rule)
    gap = relative_gap(np.vstack(other.Z), np.vstack(plain.Z))
    return {"gap": gap}
