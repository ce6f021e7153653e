"""Claims of the chapter on the Gram matrix about linear models and whitening."""

import numpy as np

from fl.claims.gram import POWERS
from fl.evidence import Evidence, claim
from fl.simulate import gram_linear as simulate
from fl.sweep import cached
from fl.theory import gram_linear as theory


def network_z(start: str, seeds: int) -> float:
    """Return the covariance of test outputs and labels in standard errors, exact if the
    signs of the outputs are fair.

    Infinite if a network has not fitted its training set.
    """
    found = cached(simulate.network_chance, start=start, seeds=seeds)
    products = found["outputs"] * found["labels"]
    return (
        float(products.sum() / np.sqrt((products**2).sum()))
        if found["loss"].max() < 1e-3
        else np.inf
    )


@claim(
    "gram.whitening",
    statement="Whitening over training and test inputs together (N + M <= d, linearly independent) leaves the test set "
    "at exact chance: a linear model from 0, and a network started P-isotropic",
    source="derived",
    control="each alone: train-only whitening in the linear model; isotropic start of the network",
)
def whitening(scale, broken, block=0):
    """Worst of the linear risk's deviation from 1 and the network's covariance, in
    units of their bounds.
    """
    draws, seeds = {"smoke": (2, 4), "book": (5, 8), "paper": (20, 32)}[scale]

    def check(over: str, start: str) -> float:
        cells = [("power law", 40, 60, 120), ("digits", 12, 24, 64)]
        found = [
            simulate.linear_chance(s, over, n, m, d, i)
            for s, n, m, d in cells
            for i in range(draws)
        ]
        return max(
            max(abs(f["risk"] - 1) for f in found) / 1e-9,
            abs(network_z(start, seeds)) / 4,
        )

    if broken:  # the control that comes closer to passing
        measured = min(check("train", "P-isotropic"), check("train+test", "isotropic"))
    else:
        measured = check("train+test", "P-isotropic")
    sizes = {
        "linear d, N, M": [120, 40, 60],
        "digits d, N, M": [64, 12, 24],
        "draws": draws,
        "network seeds": seeds,
    }
    sizes |= {"network d, N, M, h": [100, 30, 50, 300]}
    reason = "in units of 1e-9 (rounding) for the linear risk and of four standard errors for the network"
    return Evidence(0, measured, 1, reason, sizes=sizes)


@claim(
    "gram.same_limit",
    statement="A linear model started at 0 with N <= d ends at the same minimum-norm interpolator for every power of "
    "the training covariance",
    source="derived",
    control="powers of the population covariance",
)
def same_limit(scale, broken, block=0):
    """Worst relative distance between the end of the descent and the minimum-norm
    interpolator.
    """
    n, d = {"smoke": (10, 60), "book": (20, 60), "paper": (40, 120)}[scale]
    found = simulate.limits(
        "population" if broken else "training", POWERS, n, d, seed=6
    )
    target = theory.interpolator(found["X"], found["y"])
    distances = np.linalg.norm(found["w"] - target, axis=1) / np.linalg.norm(target)
    sizes = {
        "N": n,
        "d": d,
        "p": list(POWERS),
        "steps": found["steps"].tolist(),
        "seed": 6,
    }
    return Evidence(
        0,
        float(distances.max()),
        1e-9,
        "descent is stopped where its bound is 1e-12",
        sizes=sizes,
    )
