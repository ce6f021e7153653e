"""The second stage after the step of `fl.simulate.spikes`: ridge on the features of the
stepped weights, its exact risk, and what the features see of the spike.
"""

from collections.abc import Callable, Iterable

import numpy as np
import xarray as xr
from torch import Tensor

from fl import validate
from fl.instruments import streamed_ridge
from fl.instruments.gaussian_products import population
from fl.instruments.torch_links import centred
from fl.simulate.spikes import (
    FIRST_SAMPLE,
    SECOND_SAMPLE,
    Setting,
    first_step,
    leading,
)

FEATURES = ("network", "gaussian", "linear")
FEATURE_NOISE = 1000  # stream, and those after it: the noise of Gaussian features


class Student:
    """The features that ridge gets from a first layer, and their exact moments.

    Attributes:
        W: (d, N), the first layer.
        link: centred link ``(name, tau)`` that acts on W'x.
        rest: size of the independent noise z that is added to it.
        moments: E[s s'] (N, N), E[s f*] (N,) and E f*^2.
    """

    def __init__(self, setting: Setting, W: Tensor, kind: str = "network"):
        """Take the links of ``setting``, the first layer ``W`` (d, N), and the ``kind``
        of features.

        ``network``: sigma(W'x); ``gaussian``: mu1 W'x + mu_perp z with fresh z;
        ``linear``: z left out.

        Raises:
            ValueError: for an unknown kind, or a link without closed moments.
        """
        exact = centred(*setting.student)
        equivalent = ("linear", exact.linear)
        network = validate.choice("features", kind, FEATURES) == "network"
        self.W = W
        self.link = setting.student if network else equivalent
        self.rest = exact.rest if kind == "gaussian" else 0.0
        self.moments = population(self.link, setting.teacher, W, setting.beta)
        self.moments[0].diagonal().add_(self.rest**2)

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
        """Return the exact population risk of ridge on ``sample`` for each of
        ``penalties``; ``seed`` as in `features`.
        """
        equations = streamed_ridge.normal_equations(sample, self.features(*seed))
        fits = [streamed_ridge.ridge(equations, penalty) for penalty in penalties]
        return [streamed_ridge.quadratic_risk(w, *self.moments) for w in fits]


def risk(
    seed: int,
    eta: float,
    penalties: tuple,
    features: str = "network",
    labels: str = "true",
    output: bool = True,
    draws: int = 1,
    **sizes,
) -> xr.Dataset:
    r"""Return the exact population risk of ridge on the features after one step.

    Args:
        seed: fixes weights and all samples; the first stage is the same for all step
            sizes.
        eta: step size.
        penalties: ridge penalties lambda.
        features: the kind of `Student`.
        labels: of the first stage, see `fl.simulate.spikes.first_step`.
        output: see there.
        draws: number of second samples.
        sizes: fields of `fl.simulate.spikes.Setting`.

    Returns:
        ``fresh`` (penalty, draw): the second stage has a sample of its own; ``reused``
        (penalty): it has that of the first.
    """
    setting = Setting(**sizes)
    step = first_step(setting, seed, labels, output)
    student = Student(setting, step.weights(eta), features)
    streams = [*range(SECOND_SAMPLE, SECOND_SAMPLE + draws), FIRST_SAMPLE]
    *fresh, reused = [
        student.risks(setting.sample(seed, stream), penalties, seed, FEATURE_NOISE + k)
        for k, stream in enumerate(streams)
    ]
    return xr.Dataset(
        {
            "fresh": (("penalty", "draw"), np.transpose(fresh)),
            "reused": ("penalty", reused),
        },
        {"penalty": list(penalties)},
    )


def spectrum(seed: int, eta: float, **sizes) -> dict:
    """Return what the risk of ridge depends on, of the network's features after a step
    ``eta`` of the draw ``seed`` and of Gaussian features on the same weights; ``sizes``
    are the fields of `fl.simulate.spikes.Setting`.

    ``values`` (features, mode) are the eigenvalues of E[s s'], ``weights`` the squared
    components of E[s f*] along its eigenvectors, ``energy`` = E f*^2.
    """
    setting = Setting(**sizes)
    W1 = first_step(setting, seed).weights(eta)
    values, weights = [], []
    for kind in ("network", "gaussian"):
        covariance, cross, energy = Student(setting, W1, kind).moments
        eigenvalues, vectors = np.linalg.eigh(covariance.numpy(force=True))
        values.append(np.maximum(eigenvalues, 0))  # rounding
        weights.append((vectors.T @ cross.numpy(force=True)) ** 2)
    dims = ("features", "mode")
    return {"values": (dims, values), "weights": (dims, weights), "energy": energy}


def first_layer(seed: int, eta: float, penalty: float, draws: int, **sizes) -> dict:
    """Return a stepped first layer with its directions and its risks.

    Args:
        seed: fixes weights and all samples.
        eta: step size.
        penalty: ridge penalty lambda.
        draws: number of second samples.
        sizes: fields of `fl.simulate.spikes.Setting`.

    Returns:
        ``W`` (input, neuron), ``signal`` and ``beta`` (input), ``fresh`` (draw).
    """
    setting = Setting(**sizes)
    step = first_step(setting, seed)
    fresh = risk(seed, eta, (penalty,), draws=draws, **sizes).fresh
    return {
        "W": (("input", "neuron"), step.weights(eta).numpy(force=True)),
        "signal": ("input", step.signal.numpy(force=True)),
        "beta": ("input", setting.beta.numpy(force=True)),
        "fresh": ("draw", fresh.values[0]),
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
