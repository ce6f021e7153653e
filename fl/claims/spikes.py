"""Claims of the chapter on the spike that one gradient step writes into the first
layer.
"""

import numpy as np
import xarray as xr
from scipy import stats

from fl.evidence import Evidence, claim
from fl.links import LINKS
from fl.numerics import standard_error, worst_cell
from fl.studies import spikes as study
from fl.theory import spikes as theory

CHANCE = 0.01  # that sampling alone fails a claim, all its cells together


def judged(
    gaps: xr.DataArray, bias, reason: str, sizes: dict, rival=None, dim: str = "seed"
) -> Evidence:
    """Return the evidence that the mean of ``gaps`` is 0 in its worst cell, every cell
    in units of what it is allowed.

    That is its ``bias`` and a t-quantile of its own standard error over ``dim``, such
    that sampling alone fails one of all cells with probability `CHANCE`. ``reason``
    says where the bias comes from, ``sizes`` what was run; ``rival`` are the gaps that
    the hypothesis of a control predicts.
    """
    mean, error = gaps.mean(dim), standard_error(gaps, dim)
    tail = CHANCE / (2 * mean.size)
    freedom = gaps.sizes[dim] - 1
    quantile = stats.t.isf(tail, freedom)
    allowed = bias + quantile * error
    score = abs(mean) / allowed
    unit = error / allowed
    _, (measured, unit) = worst_cell(score, unit)
    expected = None
    if rival is not None:
        if dim in rival.dims:
            rival = rival.mean(dim)
        score = abs(rival) / allowed
        expected = score.max()
    words = (
        f"worst cell, in units of the bias allowed ({reason}) and a t-quantile of the "
        f"cell's own standard error, {CHANCE:.0%} for all cells"
    )
    found = {"sizes": sizes, "expected": expected, "within": 1.0}
    return Evidence(0, measured, 1, words, unit, **found)


@claim(
    "spikes.rank_one",
    statement="In operator norm the first gradient is one rank-one matrix, mu1 (X'y/n) "
    "a'/sqrt(N): the relative error falls like 1/sqrt(d), up to a factor between 1 and "
    "sqrt(log d)",
    source="derived",
    control="the Frobenius norm, in which the error does not vanish",
)
def rank_one(scale, broken, block):
    """Fit the exponent of the relative error over four sizes; the two laws give -1/2
    and a little more.
    """
    runs = study.gradients(scale, block)
    fits = study.exponents(runs.frobenius if broken else runs.operator)
    logs = np.log(runs.d)
    slow = study.exponents((logs / runs.d) ** 0.5)
    middle = (slow - 0.5) / 2
    half = (slow + 0.5) / 2
    reason = "half the gap between the two laws, and three standard errors of 24 seeds"
    found = {"sizes": runs.attrs, "expected": 0.0 if broken else None, "within": 0.1}
    error = standard_error(fits)
    tolerance = half + 0.05
    return Evidence(middle, fits.mean(), tolerance, reason, error, **found)


@claim(
    "spikes.frobenius",
    statement="In Frobenius norm what remains does not vanish: it tends to a closed "
    "form, for centred labels",
    source="derived",
    control="labels of mean 1, for the student that is not odd",
)
def frobenius(scale, broken, block):
    """Compare the relative Frobenius error of the pairs with its limit."""
    pairs, offset = (study.PAIRS[1:2], 1.0) if broken else (study.PAIRS, 0.0)
    runs = study.remainders(scale, block, pairs, offset)
    limits, rivals = [], []
    for links in runs.pairs:
        name, tau = links["student"]
        coefficients = LINKS[name].hermite(2, tau)
        bend = 2**0.5 * coefficients[2]
        pair = theory.pair(**links)
        limits.append(theory.frobenius_limit(pair, 2.0))
        rivals.append(theory.frobenius_limit(pair, 2.0, offset, bend))
    limit = xr.DataArray(limits, dims="pair")
    ratio = runs.frobenius / limit
    rival = None
    if broken:
        shifted = xr.DataArray(rivals, dims="pair")
        rival = shifted / limit - 1
    bias = 6 / runs.attrs["d"]
    return judged(ratio - 1, bias, "relative, 6/d", runs.attrs, rival)


@claim(
    "spikes.location",
    statement="Above the threshold the largest singular value sits at the BBP location "
    "of theta2, less the first-order shift by the network's own output",
    source="derived",
    control="theta1, the part along the teacher, in place of theta2",
)
def location(scale, broken, block):
    """Compare s1 with its location at the realised strength, at 2 and 3 times the
    threshold.
    """
    runs = study.spikes(scale, block).sel(multiple=[2.0, 3.0])
    right = _place(runs, runs.theta2)
    place, rival = right, None
    if broken:
        place = _place(runs, runs.theta1)
        rival = 1 - place / right
    gap = (runs.s1 - place) / right
    return judged(gap, 1 / runs.width, "relative, 1/N", runs.attrs, rival)


def _place(runs: xr.Dataset, theta: xr.DataArray) -> xr.DataArray:
    shift = theory.output_shift(theory.pair(), runs.eta, theta, runs.psi2)
    return theory.location(theta, runs.psi2) + shift / runs.width**0.5


@claim(
    "spikes.alignment",
    statement="Above the threshold both singular vectors of the spike have the BBP "
    "overlaps, the left one with the teacher times theta1^2/theta2^2",
    source="derived",
    control="the factor theta1^2/theta2^2 left out",
)
def alignment(scale, broken, block):
    """Compare <u1, beta*>^2 and <v1, a>^2 with their limits at realised strengths."""
    runs = study.spikes(scale, block).sel(multiple=[2.0, 3.0])
    theta2, psi2 = runs.theta2, runs.psi2
    whole = theory.left_overlap(theta2, psi2)
    aligned = (runs.theta1 / theta2) ** 2
    kept = whole * aligned
    right = theory.right_overlap(theta2, psi2)
    left, rival = kept, None
    if broken:
        left = whole
        both = [kept - whole, xr.zeros_like(right)]
        rival = xr.concat(both, "vector")
    gaps = [runs.u_beta - left, runs.v_a - right]
    gaps = xr.concat(gaps, "vector")
    bias = 0.3 / runs.width**0.5
    return judged(gaps, bias, "0.3/sqrt(N)", runs.attrs, rival)


@claim(
    "spikes.below_threshold",
    statement="Below the threshold nothing leaves the bulk: s1 ends at 1 + sqrt(psi2) "
    "and u1 does not see the teacher",
    source="derived",
    control="a step of twice the threshold",
)
def below_threshold(scale, broken, block):
    """Take the relative gap of s1 to the edge and the overlap, at half the threshold."""
    multiple = 2.0 if broken else 0.5
    runs = study.spikes(scale, block).sel(multiple=multiple)
    edge = theory.location(0.0, runs.psi2)
    gaps = xr.concat([runs.s1 / edge - 1, runs.u_beta], "quantity")
    sizes = runs.attrs | {"eta/eta_c": multiple}
    rival = None
    if broken:
        place = _place(runs, runs.theta2) / edge - 1
        overlap = theory.left_overlap(runs.theta2, runs.psi2)
        seen = overlap * (runs.theta1 / runs.theta2) ** 2
        rival = xr.concat([place, seen], "quantity")
    bias = runs.attrs["d"] ** (-2 / 3)
    return judged(gaps, bias, "d^(-2/3), as of an edge", sizes, rival)


@claim(
    "spikes.kernel_outlier",
    statement="On fresh data the kernel of the stepped features has one outlier, at a "
    "closed form Lambda, and its eigenvector has a closed overlap with the right "
    "singular vector of the spike",
    source="derived",
    control="theta1 in place of theta2",
)
def kernel_outlier(scale, broken, block):
    """Compare relative location and overlap at realised strengths."""
    runs = study.kernels(scale, block)
    right = _kernel(runs, runs.theta2)
    wrong = _kernel(runs, runs.theta1)
    place, overlap = wrong if broken else right
    seen = [(runs.outlier - place) / right[0], runs.overlap - overlap]
    gaps = xr.concat(seen, "quantity")
    rival = None
    if broken:
        rival = xr.concat([1 - place / right[0], right[1] - overlap], "quantity")
    size = runs.attrs["d"] ** -0.5
    bias = xr.DataArray([size, size / 2], dims="quantity")
    reason = "1/sqrt(d) relative in location, half of it in overlap"
    return judged(gaps, bias, reason, runs.attrs, rival)


def _kernel(runs: xr.Dataset, strength: xr.DataArray) -> list:
    theta, psi1 = xr.broadcast(strength, runs.psi1)
    found = theory.kernel_outlier(theory.pair(), psi1.values, 1.0, theta.values)
    return [theta.copy(data=values) for values in found]
