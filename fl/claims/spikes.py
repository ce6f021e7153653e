"""Claims of the chapter on the spike that one gradient step writes into the first
layer.
"""

import xarray as xr

from fl.evidence import Evidence, claim
from fl.numerics import standard_error, worst_cell
from fl.studies import spikes as study
from fl.theory import spikes as theory


def worst(gaps: xr.DataArray, tolerance: float, reason: str, sizes: dict) -> Evidence:
    """Return the evidence that the mean of ``gaps`` over seeds is 0 in its worst cell,
    up to ``tolerance`` for ``reason``, at ``sizes``.
    """
    cells = abs(gaps.mean("seed"))
    errors = standard_error(gaps)
    _, (measured, error) = worst_cell(cells, errors)
    return Evidence(0, measured, tolerance, reason, error, sizes=sizes)


@claim(
    "spikes.rank_one",
    statement="In operator norm the first gradient is one rank-one matrix, mu1 (X'y/n) "
    "a'/sqrt(N): the relative error falls like 1/sqrt(d)",
    source="paper BE22",
    control="the Frobenius norm",
)
def rank_one(scale, broken, block):
    """Fit the exponent of the relative error over four sizes."""
    runs = study.gradients(scale, block)
    fits = study.exponents(runs.frobenius if broken else runs.operator)
    reason = "finite sizes and logarithms: exponents between -0.62 and -0.38"
    error = standard_error(fits)
    return Evidence(-0.5, fits.mean(), 0.12, reason, error, sizes=runs.attrs)


@claim(
    "spikes.frobenius",
    statement="In Frobenius norm what remains does not vanish: it tends to a closed "
    "form, for centred labels",
    source="derived",
    control="labels with a mean, a student that is not odd",
)
def frobenius(scale, broken, block):
    """Compare the relative Frobenius error of four pairs with its limit."""
    shifted = {"pairs": [study.RELUS], "offset": 0.4} if broken else {}
    runs = study.remainders(scale, block, **shifted)
    limits = [theory.frobenius_limit(theory.pair(**links), 2.0) for links in runs.pairs]
    ratio = runs.frobenius / xr.DataArray(limits, dims="pair")
    reason = "relative, worst pair: standard error and a bias of order 1/d"
    return worst(ratio - 1, 0.04, reason, runs.attrs)


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
    theta = runs.theta1 if broken else runs.theta2
    shift = theory.output_shift(theory.pair(), runs.eta, theta, runs.psi2)
    place = theory.location(theta, runs.psi2) + shift / runs.width**0.5
    tolerance = 0.025 if scale == "smoke" else 0.015
    reason = (
        "relative, worst of six cells: three standard errors and terms of order 1/N"
    )
    return worst(runs.s1 / place - 1, tolerance, reason, runs.attrs)


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
    kept = 1.0 if broken else (runs.theta1 / theta2) ** 2
    left = kept * theory.left_overlap(theta2, psi2)
    right = theory.right_overlap(theta2, psi2)
    gaps = xr.concat([runs.u_beta - left, runs.v_a - right], "vector")
    reason = "worst of twelve cells: standard error and the 1/sqrt(N) bias"
    return worst(gaps, 0.06, reason, runs.attrs)


@claim(
    "spikes.below_threshold",
    statement="Below the threshold nothing leaves the bulk: s1 ends at 1 + sqrt(psi2) "
    "and u1 does not see the teacher",
    source="derived",
    control="a step of twice the threshold",
)
def below_threshold(scale, broken, block):
    """Take the worse of the relative gap of s1 to the edge and the overlap, at half the
    threshold.
    """
    multiple = 2.0 if broken else 0.5
    runs = study.spikes(scale, block).sel(multiple=multiple)
    edge = theory.location(0.0, runs.psi2)
    gap = abs(runs.s1 / edge - 1)
    gaps = xr.concat([gap, runs.u_beta], "quantity")
    reason = "the edge is reached from below like d^(-2/3), the overlap falls like 1/d"
    sizes = runs.attrs | {"eta/eta_c": multiple}
    return worst(gaps, 0.03, reason, sizes)


@claim(
    "spikes.kernel_outlier",
    statement="On fresh data the kernel of the stepped features has one outlier, at a "
    "closed form Lambda, and its eigenvector has a closed overlap with the right "
    "singular vector of the spike",
    source="derived",
    control="theta1 in place of theta2",
)
def kernel_outlier(scale, broken, block):
    """Take the worst of relative location (tolerance 6 %) and overlap (0.04), each in
    units of its tolerance.
    """
    runs = study.kernels(scale, block)
    strength = runs.theta1 if broken else runs.theta2
    theta, psi1 = xr.broadcast(strength, runs.psi1)
    place, overlap = theory.kernel_outlier(
        theory.pair(), psi1.values, 1.0, theta.values
    )
    gaps = [(runs.outlier / place - 1) / 0.06, (runs.overlap - overlap) / 0.04]
    reason = (
        "units of 6 % in location and 0.04 in overlap: a bias of order 1/sqrt(d) and "
        "the standard error"
    )
    return worst(xr.concat(gaps, "quantity"), 1.0, reason, runs.attrs)
