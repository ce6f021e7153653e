"""What one step lets features represent: the share of a Hermite polynomial of the
direction of the step, held by all neurons together and by single ones; and kernels,
which take no step.
"""

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from fl.instruments.gaussian_products import product_mean
from fl.instruments.torch_links import centred
from fl.links import LINKS
from fl.simulate.spikes import (
    FIRST_SAMPLE,
    SECOND_SAMPLE,
    Setting,
    first_step,
)

KERNELS = ("conjugate", "tangent", "smooth")
TEST_SAMPLES = 4  # each as large as the first sample


def shares(
    seed: int,
    degree: int,
    etas: tuple,
    penalty: float,
    **sizes,
) -> xr.Dataset:
    r"""Return how much of :math:`h_k(u)`, :math:`u=\langle b,x\rangle` along X'y, the
    features hold.

    With :math:`v_i=\mathbb E[s_ih_k(u)]=f_k(|w_i|)(\langle w_i,b\rangle/|w_i|)^k`, and
    f_k the Hermite coefficient of the student at that scale, ridge with the penalty and
    all the data explains :math:`q=v^\top(\mathbb E[ss^\top]+\lambda)^{-1}v`.

    Args:
        seed: fixes weights and sample.
        degree: the degree k.
        etas: step sizes.
        penalty: lambda.
        sizes: fields of `fl.simulate.spikes.Setting`.

    Returns:
        Over ``eta``: ``spread``, the square norm of W'b, ``together`` = q / (1 - q), and ``alone``,
        the mean over neurons of the squared correlation of s_i and h_k(u).
    """
    setting = Setting(**sizes)
    step = first_step(setting, seed)
    b = step.signal / step.signal.norm()
    rows = [_share(setting, step.weights(eta), b, degree, penalty) for eta in etas]
    names = ("spread", "together", "alone")
    columns = zip(names, zip(*rows, strict=True), strict=True)
    return xr.Dataset({name: ("eta", list(c)) for name, c in columns})


def _share(
    setting: Setting,
    W: Tensor,
    b: Tensor,
    degree: int,
    penalty: float,
) -> tuple:
    name, tau = setting.student
    along, lengths = W.T @ b, W.norm(dim=0)
    scales = tau * lengths.numpy(force=True)
    grid = np.linspace(scales.min(), scales.max(), 64)
    top = [LINKS[name].hermite(degree, scale)[degree] for scale in grid]
    sizes = np.interp(scales, grid, top)
    cosines = along / lengths
    v = W.new_tensor(sizes) * cosines**degree
    covariance = product_mean(setting.student, setting.student, W, W)
    alone = (v**2 / covariance.diagonal()).mean()
    covariance.diagonal().add_(penalty)
    factor = torch.linalg.cholesky(covariance)
    solved = torch.cholesky_solve(v[:, None], factor)
    q = v @ solved[:, 0]
    return (
        float(along @ along),
        float(q / (1 - q)),
        float(alone),
    )


def kernel_risks(seed: int, penalties: tuple, **sizes) -> xr.Dataset:
    r"""Return the ``risk`` (kernel) of ridge regression with each of `KERNELS`, at the
    best of ``penalties``, which are relative to the mean eigenvalue.

    ``conjugate`` and ``tangent`` belong to the network before any step; ``smooth`` is
    :math:`e^{\langle x,x'\rangle/d}`. The best penalty is chosen on the test points, in
    favour of the kernel. ``seed`` fixes weights and samples; ``sizes`` are the fields
    of `fl.simulate.spikes.Setting`.
    """
    setting = Setting(**sizes)
    step, link = (
        first_step(setting, seed),
        centred(*setting.student),
    )
    X, y = _whole(setting, seed, FIRST_SAMPLE)
    tests = range(SECOND_SAMPLE, SECOND_SAMPLE + TEST_SAMPLES)
    others = [_whole(setting, seed, k)[0] for k in tests]
    both = torch.cat([X, *others])
    n = len(X)
    teacher = centred(*setting.teacher)
    truth = teacher.f(both[n:] @ setting.beta)
    inner = both @ X.T / setting.d
    Z = both @ step.W0
    features = link.f(Z)
    slopes = link.slope(Z) * step.a
    conjugate = features @ features[:n].T / setting.width
    moved = slopes @ slopes[:n].T
    tangent = conjugate + inner * moved
    found = [
        _best(kernel, y, truth, penalties)
        for kernel in (conjugate, tangent, inner.exp())
    ]
    return xr.Dataset(
        {"risk": ("kernel", found)},
        {"kernel": list(KERNELS)},
    )


def _whole(setting: Setting, *seed: int) -> tuple:
    X, y = zip(*setting.sample(*seed), strict=True)
    return torch.cat(X), torch.cat(y)


def _best(
    kernel: Tensor,
    y: Tensor,
    truth: Tensor,
    penalties: tuple,
) -> float:
    """Return the smallest mean squared error on the rows of ``kernel`` (n + m, n) after
    the first n, those of the sample with labels ``y`` (n,).
    """
    n = len(y)
    values, vectors = torch.linalg.eigh(kernel[:n])
    rotated, tests = vectors.T @ y, kernel[n:] @ vectors
    risks = []
    for penalty in penalties:
        shrunk = values + penalty * values.mean()
        fit = tests @ (rotated / shrunk)
        risks.append(float((fit - truth).square().mean()))
    return min(risks)
