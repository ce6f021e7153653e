"""Updates that act on singular values: claims about single steps.

Multipliers are known up to a common factor: their logarithms are compared, less the mean
over the axes.
"""

from dataclasses import replace

import numpy as np
import xarray as xr

from fl.evidence import Evidence, claim
from fl.judging import agreement, order
from fl.studies import spectral_updates as study
from fl.theory import spectral_updates as theory

TWO = np.log(2)
LAM = np.array(study.LAM)


@claim(
    "spectral_updates.guarantee",
    statement="A gradient and a spectral step decrease the loss by once to twice what "
    "they guarantee; so nuclear rank ≥ 2 × stable rank means that the spectral step "
    "does more, ≤ half of it that the gradient step does",
    source="proved",
    control="the ranks compared without the factor two",
)
def guarantee(scale, broken, block):
    """Seek the layer that is worst in any of the inequalities, as logarithms."""
    run = study.layers(scale, block)
    sure = _guarantees(run)
    slacks = np.log([run["gradient"] / sure.gradient, run["spectral"] / sure.spectral])
    lead = slacks[1] - slacks[0] + np.log(sure.spectral / sure.gradient)
    criterion = np.log(sure.nuclear / sure.stable)
    needed = 0.0 if broken else TWO
    sides = -lead[criterion >= needed], lead[criterion <= -needed]
    worst = max(np.max(x) for x in (-slacks, slacks - TWO, *sides))
    reason = "rounding; the logarithm by which the worst layer breaks an inequality"
    sizes = run["size"].attrs | {"decided layers": [len(side) for side in sides]}
    # without its factor a step falls behind, by less than the factor
    half = TWO / 2
    return Evidence(0, worst, 1e-9, reason, None, "at most", sizes, half, half)


def _guarantees(run) -> theory.Guarantee:
    norms = [run[x].values.ravel() for x in ("whole", "largest", "nuclear", "size")]
    return theory.guarantees(norms[:2], norms[2:])


@claim(
    "spectral_updates.digits",
    statement="On pixels and ReLU features of the digits, after 20 gradient steps, "
    "nuclear rank exceeds 2 × stable rank, and it is the mean of the features that "
    "makes it so",
    source="observed",
    control="the mean taken from the features",
)
def digits(scale, broken, block):
    """The order of two ranks over choices of images and neurons."""
    share = study.digits(scale, block, centred=broken, after=20)
    sure = _guarantees(share)
    share = share["share"]
    surplus = np.log(sure.nuclear / sure.stable) - TWO
    leads = share.copy(data=surplus.reshape(share.shape))
    # without the mean the criterion is neutral, give or take a factor 1.6
    found = order(leads, share.attrs, xr.full_like(leads, -TWO))
    return replace(found, within=np.log(1.6) / TWO * abs(found.expected))


@claim(
    "spectral_updates.power",
    statement="The step with the q-th power of the singular values multiplies by "
    "λ^((q-1)/2) on noise and by λ^(q-1) on a signal of full rank, with a 1/h correction",
    source="derived",
    control="one exponent, (q-1)/2, whatever the gradient is made of",
)
def power(scale, broken, block):
    """Both laws are Gaussian and differ in their moment alone."""
    moments = study.LAM, study.SQUARES
    gain = study.gains(scale, block, study.one_sided(), moments)

    def rows(epsilon, moments=moments):
        return [
            [theory.singular_power(m, q, epsilon) for q in study.POWERS]
            for m in moments
        ]

    believed = rows(0, moments[:1] * 2) if broken else None
    return _judged(gain.isel(others=0), rows, believed)


@claim(
    "spectral_updates.factors",
    statement="Two-sided roots, L^-a G R^-b: of one and the same gradient they are the "
    "step with q = 1 - 2(a+b), of many gradients they have the exponent -b on noise",
    source="derived",
    control="the rule for one gradient where the factors hold many, and the reverse",
)
def factors(scale, broken, block):
    """Four pairs of roots; on noise of a wide layer the two rules differ by a."""
    gain = study.gains(scale, block, study.ROOTS, others=[0, study.MANY]).isel(lam=0)

    def rows(epsilon):
        one = [
            theory.singular_power(LAM, 1 - 2 * sum(ab), epsilon) for ab in study.ROOTS
        ]
        return [one, [LAM**-b for _, b in study.ROOTS]]

    believed = rows(0)[::-1] if broken else None
    return _judged(gain.transpose("others", "roots", ...), rows, believed)


@claim(
    "spectral_updates.rank_one",
    statement="With a signal of rank one in the noise the q-step is no power of the "
    "covariance: it multiplies direction k by (Γ^((q+1)/2))_kk / Γ_kk",
    source="derived",
    control="each direction by the power (q-1)/2 of its own second moment",
)
def rank_one(scale, broken, block):
    """Eight directions, all of which the signal sees."""
    gain = study.gains(scale, block, study.one_sided(), spike=1.0)
    spike = np.ones(len(LAM))

    def rows(epsilon):
        return [[theory.spiked_power(LAM, spike, q, epsilon) for q in study.POWERS]]

    believed = [[(LAM + 1) ** ((q - 1) / 2) for q in study.POWERS]] if broken else None
    return _judged(gain.isel(others=0), rows, believed)


def _judged(gain, rows, believed) -> Evidence:
    """Hold multipliers against the ``rows`` of theory at 1/h, or against those of a
    rival.
    """
    dims = [*gain.dims[:2], "axis"]
    wide, right = (
        _shape(xr.DataArray(rows(x), dims=dims)) for x in (0, 1 / study.WIDTH)
    )
    shown = right if believed is None else _shape(xr.DataArray(believed, dims=dims))
    bias = ((right - wide) ** 2).max("axis")
    reason = "the square of the largest 1/h correction"
    return agreement(_shape(gain) - shown, bias, reason, gain.attrs, right - shown)


def _shape(multipliers):
    """Return logarithms with the mean zero over the axes."""
    logs = np.log(multipliers)
    return logs - logs.mean("axis")
