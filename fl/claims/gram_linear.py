"""Claims of the chapter on the Gram matrix about linear models and whitening."""

import numpy as np

from fl.evidence import Evidence, claim
from fl.studies import gram_linear as study
from fl.theory import gram_linear as theory


@claim(
    "gram.whitening",
    statement="Whitening over training and test inputs together (N + M <= d, linearly "
    "independent) leaves the test set at exact chance: a linear model from 0, and a "
    "network started P-isotropic",
    source="derived",
    control="each alone: train-only whitening in the linear model; isotropic start of "
    "the network",
)
def whitening(scale, broken, block):
    """Worst of the linear risk's deviation from 1 and the network's covariance, in
    units of their bounds.
    """
    linear, networks = study.linear(scale, block), study.networks(scale, block)
    measured = max(risk_deviation(linear), covariance(networks))
    if broken:  # the control that comes closer to passing
        linear = study.linear(scale, block, over="train")
        networks = study.networks(scale, block, start="isotropic")
        measured = min(risk_deviation(linear), covariance(networks))
    reason = (
        "in units of 1e-9 (rounding) for the linear risk and of four standard errors "
        "for the network"
    )
    return Evidence(0, measured, 1, reason, sizes=linear.attrs | networks.attrs)


def risk_deviation(linear):
    """Return how far the risk of ``linear`` models is from 1, in units of 1e-9."""
    return np.abs(linear.risk - 1).max() / 1e-9


def covariance(networks):
    """Return the size of the covariance of test outputs and labels of ``networks`` in
    units of four standard errors, exact if the signs of the outputs are fair.

    Infinite if a network has not fitted its training set.
    """
    if networks.loss.max() >= 1e-3:
        return np.inf
    products = networks.outputs * networks.labels
    return abs(products.sum()) / np.sqrt((products**2).sum()) / 4


@claim(
    "gram.same_limit",
    statement="A linear model started at 0 with N <= d ends at the same minimum-norm "
    "interpolator for every power of the training covariance",
    source="derived",
    control="powers of the population covariance",
)
def same_limit(scale, broken, block):
    """Worst relative distance between the end of the descent and the minimum-norm
    interpolator.
    """
    found = study.limits(scale, block, of="population" if broken else "training")
    target = theory.interpolator(found.X[0, 0], found.y[0, 0])
    distances = np.linalg.norm(found.w - target, axis=-1)
    worst = distances.max() / np.linalg.norm(target)
    reason = "descent is stopped where its bound is 1e-12"
    return Evidence(0, worst, 1e-9, reason, sizes=found.attrs)
