"""The second stage after the step of `fl.simulate.spikes`: ridge on the features of the
stepped weights, its population risk, and what the features see of the spike.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from fl import validate
from fl.instruments import streamed_ridge
from fl.instruments.gaussian_products import CLOSED, population
from fl.instruments.torch_links import centred
from fl.simulate.spikes import (
    FIRST_SAMPLE,
    SECOND_SAMPLE,
    Setting,
    first_step,
    leading,
)

FEATURES = ("network", "gaussian", "linear")
NOISE = 1000  # last entry of a seed: the noise of Gaussian features
TEST, TEST_POINTS = 2000, 4000  # stream and size of a sample for moments


class Student:
    """The features that ridge gets from a first layer, and their population moments.

    Attributes:
        W: (d, N), the first layer.
        link: centred link ``(name, tau)`` that acts on W'x.
        rest: size of the independent noise z that is added to it.
        moments: E[s s'] (N, N), E[s f*] (N,) and E f*^2: exact where both links have
            closed moments, else over `TEST_POINTS` inputs without noise.
    """

    def __init__(
        self, setting: Setting, W: Tensor, kind: str = "network", seed: int = 0
    ):
        """Take the links of ``setting``, the first layer ``W`` (d, N), the ``kind`` of
        features, and the ``seed`` of the inputs for sampled moments.

        ``network``: sigma(W'x); ``gaussian``: mu1 W'x + mu_perp z with fresh z;
        ``linear``: z left out.

        Raises:
            ValueError: for an unknown kind.
        """
        exact = centred(*setting.student)
        equivalent = ("linear", exact.linear)
        network = validate.choice("features", kind, FEATURES) == "network"
        self.W = W
        self.link = setting.student if network else equivalent
        self.rest = exact.rest if kind == "gaussian" else 0.0
        if {self.link[0], setting.teacher[0]} <= set(CLOSED):
            self.moments = population(self.link, setting.teacher, W, setting.beta)
        else:
            self.moments = self._sampled(setting, seed)
        self.moments[0].diagonal().add_(self.rest**2)

    def _sampled(self, setting: Setting, seed: int) -> tuple:
        clean = replace(setting, psi1=TEST_POINTS / setting.d, noise=0.0)
        test = clean.sample(seed, TEST)
        link = centred(*self.link)
        equations = streamed_ridge.normal_equations(test, lambda X: link.f(X @ self.W))
        energy = torch.cat([y for _, y in test]).square().mean()
        return *equations, float(energy)

    def features(self, *seed: int) -> Callable:
        """Return the map (m, d) -> (m, N); ``seed`` draws its noise z."""
        rng, link = np.random.default_rng(seed), centred(*self.link)

        def of(X: Tensor) -> Tensor:
            S = link.f(X @ self.W)
            if self.rest:
                S += self.rest * streamed_ridge.drawn(rng, *S.shape)
            return S

        return of

    def risks(self, sample: Iterable, penalties: Iterable, *seed: int) -> list:
        """Return the population risk of ridge on ``sample`` for each of ``penalties``;
        ``seed`` as in `features`.
        """
        equations = streamed_ridge.normal_equations(sample, self.features(*seed))
        fits = [streamed_ridge.ridge(equations, penalty) for penalty in penalties]
        return [streamed_ridge.quadratic_risk(w, *self.moments) for w in fits]


def risk(
    seed: int,
    etas: tuple,
    penalties: tuple,
    features: str = "network",
    reuse: bool = False,
    draws: int = 1,
    first: dict | None = None,
    **sizes,
) -> xr.Dataset:
    r"""Return the population risk of ridge on the features after one step.

    Args:
        seed: fixes weights and all samples; the first stage is the same for all step
            sizes.
        etas: step sizes.
        penalties: ridge penalties lambda.
        features: the kind of `Student`.
        reuse: whether the second stage has the sample of the first, not its own.
        draws: number of second samples, 1 if the sample is reused.
        first: ``labels`` and ``output`` of `fl.simulate.spikes.first_step`.
        sizes: fields of `fl.simulate.spikes.Setting`.

    Returns:
        ``risk`` (eta, penalty, draw).
    """
    setting = Setting(**sizes)
    step = first_step(setting, seed, **(first or {}))
    start = FIRST_SAMPLE if reuse else SECOND_SAMPLE
    found = []
    for eta in etas:
        student = Student(setting, step.weights(eta), features, seed)
        samples = [setting.sample(seed, start + k) for k in range(draws)]
        risks = [student.risks(s, penalties, *s.seed, NOISE) for s in samples]
        found.append(risks)
    return xr.Dataset(
        {"risk": (("eta", "draw", "penalty"), found)},
        {"eta": list(etas), "penalty": list(penalties)},
    )


def first_layer(seed: int, eta: float, penalty: float, draws: int, **sizes) -> dict:
    """Return a stepped first layer with its directions and its risks.

    Args:
        seed: fixes weights and all samples.
        eta: step size.
        penalty: ridge penalty lambda.
        draws: number of second samples.
        sizes: fields of `fl.simulate.spikes.Setting`.

    Returns:
        ``W`` (input, neuron), ``signal`` and ``beta`` (input), ``risk`` (draw).
    """
    setting = Setting(**sizes)
    step = first_step(setting, seed)
    found = risk(seed, (eta,), (penalty,), draws=draws, **sizes).risk
    return {
        "W": (("input", "neuron"), step.weights(eta).numpy(force=True)),
        "signal": ("input", step.signal.numpy(force=True)),
        "beta": ("input", setting.beta.numpy(force=True)),
        "risk": ("draw", found.values.ravel()),
    }


def kernel(seed: int, eta: float, **sizes) -> dict:
    """Return what the features of a fresh sample see of the spike after a step ``eta``
    of the draw ``seed``; ``sizes`` are the fields of `fl.simulate.spikes.Setting`.

    ``outlier`` is the top eigenvalue of S'S/n, ``overlap`` the squared cosine between
    its eigenvector and v1; ``theta1`` and ``theta2`` are the strengths of the draw.
    """
    setting = Setting(**sizes)
    step = first_step(setting, seed)
    W1 = step.weights(eta)
    sample = setting.sample(seed, SECOND_SAMPLE)
    features = Student(setting, W1).features()
    equations = streamed_ridge.normal_equations(sample, features)
    outlier, top = leading(equations.gram)
    _, v1 = leading(W1)
    overlap = float(top @ v1) ** 2
    return {"outlier": outlier, "overlap": overlap} | step.strengths(eta)
