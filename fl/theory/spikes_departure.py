r"""Where a step stops being small: the step size at which the nonlinear part of the
features no longer acts like noise, and how it moves with the width.
"""

import numpy as np
import xarray as xr
from scipy.optimize import brentq

from fl import validate


def departure_exponent(degree: int) -> float:
    r"""Return q = (k-1)/(2k): steps of order :math:`N^q` are the first at which the
    features leave the linear regime; derived, to leading order.

    Every neuron has a projection of order :math:`\eta/\sqrt N` on the direction of X'y,
    so the Hermite part of ``degree`` k of the features holds a spike of size
    :math:`(\eta/\sqrt N)^k\sqrt N`, beside a bulk of order one.

    >>> departure_exponent(2), round(departure_exponent(3), 3)
    (0.25, 0.333)

    Raises:
        ValueError: if ``degree``, the first beyond the linear part, is < 2.
    """
    degree = validate.count("degree", degree, minimum=2)
    return (degree - 1) / (2 * degree)


def spectral_risk(
    values, weights, energy: float, n: int, penalty: float, noise: float
) -> float:
    r"""Return the deterministic equivalent of the ridge risk on Gaussian features.

    .. math:: R+\sigma^2=\frac{\mathbb Ef^{*2}+\sigma^2
              -\sum_ig_i^2\frac{\lambda_i+2\kappa}{(\lambda_i+\kappa)^2}}{1-\gamma},
              \quad\ell=\kappa-\frac\kappa n\sum_i\frac{\lambda_i}{\lambda_i+\kappa},
              \quad\gamma=\frac1n\sum_i\frac{\lambda_i^2}{(\lambda_i+\kappa)^2}.

    Args:
        values: (N,), eigenvalues lambda of the features' covariance, >= 0.
        weights: (N,), squared components g^2 of E[s f*] along its eigenvectors.
        energy: E f*^2.
        n: number of samples.
        penalty: the l of the equation, > 0.
        noise: variance of the label noise.

    Raises:
        ValueError: for wrong shapes, ``n`` < 1, or a penalty not > 0.
    """
    values = validate.array("values", values, ("N",))
    weights = validate.array("weights", weights, values.shape)
    n = validate.count("n", n)
    penalty = validate.number("penalty", penalty, 0, open_low=True)

    def excess(log_kappa: float) -> float:
        kappa = np.exp(log_kappa)
        share = values / (values + kappa)
        return kappa * (1 - share.sum() / n) - penalty

    # kappa lies between the penalty and the penalty plus the trace over n
    high = np.log(penalty + values.sum() / n) + 1
    kappa = np.exp(brentq(excess, np.log(penalty) - 1, high, xtol=1e-14))
    share = values / (values + kappa)
    gamma = (share**2).sum() / n
    kept = weights * (values + 2 * kappa) / (values + kappa) ** 2
    return float((energy + noise - kept.sum()) / (1 - gamma) - noise)


def shortfall(run: xr.Dataset) -> xr.DataArray:
    """Return by how much the risk of the network's features falls short of that of
    Gaussian ones on the same weights, relative, less the same without a step.

    ``run`` holds ``values`` and ``weights`` (..., etabar, features, mode) and
    ``energy`` as `spectral_risk` takes them, the network first, and as attributes
    ``n``, ``penalty`` and ``noise``; one of its steps is 0.
    """
    problem = {name: run.attrs[name] for name in ("n", "penalty", "noise")}
    risks = xr.apply_ufunc(
        spectral_risk,
        run["values"],
        run.weights,
        run.energy,
        kwargs=problem,
        input_core_dims=[["mode"], ["mode"], []],
        vectorize=True,
    )
    ratio = risks.isel(features=0) / risks.isel(features=1)
    return ratio.sel(etabar=0.0, drop=True) - ratio


def departure(gap: xr.DataArray, level: float = 0.2) -> float:
    """Return eta / sqrt(N) at which the mean of ``gap`` (etabar, seed) reaches
    ``level``, a power of the step between two steps.

    Raises:
        ValueError: if it is not reached within the steps > 0 of ``gap``.
    """
    mean = gap.mean("seed")
    mean = mean.where(mean.etabar > 0, drop=True)
    if not mean[0] < level < mean[-1]:
        raise ValueError(
            f"level = {level!r}: must lie within {mean.values[[0, -1]]}, the gaps at the "
            "smallest and the largest step"
        )
    place = np.interp(np.log(level), np.log(mean), np.log(mean.etabar))
    return float(np.exp(place))
