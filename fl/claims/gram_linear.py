"""Claims of the chapter on the Gram matrix about linear models and whitening."""

import numpy as np

from fl.claims.gram import last_outputs, shown
from fl.evidence import Evidence, claim
from fl.studies import gram_linear as study
from fl.theory import gram_linear as theory


@claim(
    "gram.whitening",
    statement="Whitening over training and test inputs together (N + M <= d, linearly "
    "independent) leaves the test set at exact chance: a linear model from 0 predicts 0",
    source="proved",
    uses=("thm-gram-recursion",),
    control="whitening over the training inputs alone",
)
def whitening(scale, broken, block):
    """Largest deviation of the relative test risk from 1, over data sets and draws; of
    the control that of the minimum-norm interpolator, to which every power leads.
    """
    found = study.linear(scale, block, "train" if broken else "train+test")
    worst = max(abs(run.risk - 1).max() for run in found)
    sizes = {"linear": [run.attrs for run in found]}
    expected = None
    if broken:
        expected = max(least_norm_deviation(run) for run in found)
    rival = {"expected": expected, "within": 1e-9}
    return Evidence(0, worst, 1e-9, "rounding in float64", sizes=sizes, **rival)


def least_norm_deviation(run) -> float:
    """Return the largest deviation from 1 of the relative test risk of the minimum-norm
    interpolator on the data sets of a ``run``.
    """
    gaps, n = [], run.attrs["n"]
    for seed in run.seed:
        one = run.sel(seed=seed).squeeze()
        X, y = one.X.values, one.y.values
        w = theory.interpolator(X[:, :n], y[:n])
        errors = w @ X[:, n:] - y[n:]
        risk = (errors**2).sum() / (y[n:] ** 2).sum()
        gaps.append(abs(risk - 1))
    return max(gaps)


@claim(
    "gram.whitened_networks",
    statement="Whitened over training and test inputs together and started P-isotropic, "
    "trained networks (tanh and ReLU) have test outputs whose centred covariance with "
    "the labels is zero on average",
    source="proved",
    uses=("thm-gram-recursion",),
    control="isotropic start, with the same preconditioner and Gram matrices",
)
def whitened_networks(scale, broken, block):
    """Covariance summed over networks, in standard errors, for the activation that has
    the larger one; of the control that of the recursion from the same W0 X, which is all
    that these networks see of a test input.
    """
    from scipy import stats

    start = "isotropic" if broken else "P-isotropic"
    found = study.networks(scale, block, start)
    rival = {}
    if broken:
        outputs = [
            last_outputs(cell)[len(cell.Y) :]
            for cell in study.starts(scale, block, start)
        ]
        told = found.outputs.copy(data=np.reshape(outputs, found.outputs.shape))
        rival = shown(abs(covariance(found.assign(outputs=told))).max())
    z = abs(covariance(found))
    # rounding, times what whitening by a square random matrix makes of it, moves the test
    # pre-activations too; a millionth is nothing to a standard error
    if found.loss.max() >= 1e-3 or found.moved.max() >= 1e-6:
        z = z * np.inf  # not fitted, or they did move: nothing shown
    return Evidence(
        0,
        z.max(),
        stats.norm.isf(1e-3 / 2 / len(z)),
        "exact standard errors, as outputs are exchangeable over test points; noise "
        "alone lies beyond in one of all activations with probability 1/1000",
        standard_error=1,
        sizes=found.attrs,
        **rival,
    )


def covariance(networks):
    """Return the sum over ``networks`` of the centred covariance of test outputs and
    labels, in standard errors: exact if the outputs of a network are exchangeable.
    """
    f = networks.outputs - networks.outputs.mean("test")
    y = networks.labels - networks.labels.mean("test")
    products = (f * y).sum("test").sum("seed")
    spread = (f**2).sum("test") * (y**2).sum("test")
    variance = spread.sum("seed") / (networks.sizes["test"] - 1)
    return products / np.sqrt(variance)


@claim(
    "gram.same_limit",
    statement="A linear model started at 0 with N <= d ends at the same minimum-norm "
    "interpolator for every power of the training covariance",
    source="proved",
    uses=("thm-gram-limit",),
    control="powers of the population covariance",
)
def same_limit(scale, broken, block):
    """Worst relative distance between the end of the descent and the minimum-norm
    interpolator; of the control that of P X (X^T P X)^-1 y.
    """
    found = study.limits(scale, block, of="population" if broken else "training")
    X, y = found.X[0, 0].values, found.y[0, 0].values
    target = theory.interpolator(X, y)

    def worst(ends):
        distances = np.linalg.norm(ends - target, axis=-1)
        return distances.max() / np.linalg.norm(target)

    expected = None
    if broken:
        ends = [
            theory.linear_outputs(X.T @ P @ X, X.T @ P, y) for P in found.P[:, 0].values
        ]
        expected = worst(ends)
    reason = "descent is stopped where its bound is 1e-12"
    rival = {"expected": expected, "within": 1e-9}
    return Evidence(0, worst(found.w), 1e-9, reason, sizes=found.attrs, **rival)
