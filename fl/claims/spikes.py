"""Claims of the chapter on the spike that one gradient step writes into the first
layer.
"""

import numpy as np
import xarray as xr

from fl.evidence import claim
from fl.judging import agreement
from fl.links import LINKS
from fl.studies import spikes as study
from fl.theory import spikes as theory

LIMIT = "none: two sizes take the term in 1/d off"


@claim(
    "spikes.rank_one",
    statement="In operator norm the first gradient is one rank-one matrix, mu1 (X'y/n) "
    "a'/sqrt(N): the relative error falls like 1/sqrt(d), up to a factor between 1 and "
    "sqrt(log d)",
    source="derived",
    uses=("thm-spikes-rank-one",),
    control="the Frobenius norm, in which the error does not vanish",
)
def rank_one(scale, broken, block):
    """Compare the fitted exponent with the middle of the two laws, -1/2 and a little
    more.
    """
    runs = study.gradients(scale, block)
    law = np.log(runs.d) / runs.d
    slow = study.exponents(law**0.5)
    middle, half = (slow - 0.5) / 2, (slow + 0.5) / 2
    errors = runs.frobenius if broken else runs.operator
    fits = study.exponents(errors)
    reason = "half the gap between the two laws"
    return agreement(fits - middle, half, reason, runs.attrs, -middle)


@claim(
    "spikes.frobenius",
    statement="In Frobenius norm what remains does not vanish: it tends to a closed "
    "form, for centred labels",
    source="derived",
    uses=("thm-spikes-frobenius",),
    control="labels of mean 1, for the student that is not odd",
)
def frobenius(scale, broken, block):
    """Compare the relative Frobenius error of the pairs with its limit."""
    pairs, offset = (study.PAIRS[1:2], 1.0) if broken else (study.PAIRS, 0.0)
    runs = study.remainders(scale, block, pairs, offset)
    limits, rivals = [], []
    for links in runs.pairs:
        name, tau = links["student"]
        bend = 2**0.5 * LINKS[name].hermite(2, tau)[2]
        pair = theory.pair(**links)
        limits.append(theory.frobenius_limit(pair, 2.0))
        rivals.append(theory.frobenius_limit(pair, 2.0, offset, bend))
    closed = xr.DataArray(limits, dims="pair")
    gaps = study.limit(runs.frobenius) / closed - 1
    rival = None
    if broken:
        others = xr.DataArray(rivals, dims="pair")
        rival = others / closed - 1
    return agreement(gaps, 0, LIMIT, runs.attrs, rival)


def _felt(runs: xr.Dataset, strength: xr.DataArray, psi2) -> xr.DataArray:
    return theory.felt(theory.pair(), runs.eta, strength, psi2 * runs.d)


@claim(
    "spikes.location",
    statement="Above the threshold the largest singular value sits at the BBP location "
    "of theta2, corrected for the network's own output",
    source="derived",
    uses=("thm-spikes-location", "thm-spikes-output"),
    control="theta1, the part along the teacher, in place of theta2",
)
def location(scale, broken, block):
    """Compare s1 with its location at the realised strength, at 2 and 3 times the
    threshold.
    """
    runs = study.spikes(scale, block).sel(multiple=[2.0, 3.0])
    right = _place(runs, runs.theta2)
    wrong = _place(runs, runs.theta1)
    place = wrong if broken else right
    gaps = (runs.s1 - place) / right
    rival = study.limit(1 - wrong / right)
    return agreement(study.limit(gaps), 0, LIMIT, runs.attrs, rival)


def _place(runs: xr.Dataset, strength: xr.DataArray) -> xr.DataArray:
    return theory.location(_felt(runs, strength, runs.psi2), runs.psi2)


@claim(
    "spikes.alignment",
    statement="Above the threshold both singular vectors of the spike have the BBP "
    "overlaps, the left one with the teacher times theta1^2/theta2^2, corrected for the "
    "network's own output",
    source="derived",
    uses=("thm-spikes-location", "thm-spikes-output"),
    control="the factor theta1^2/theta2^2 left out",
)
def alignment(scale, broken, block):
    """Compare <u1, beta*>^2 and <v1, a>^2 with their limits at realised strengths."""
    runs = study.spikes(scale, block).sel(multiple=[2.0, 3.0])
    felt = _felt(runs, runs.theta2, runs.psi2)
    right = theory.right_overlap(felt, runs.psi2)
    whole, kept = _left(runs)
    left, rival = kept, None
    if broken:
        left = whole
        both = [
            study.limit(kept - whole),
            study.limit(xr.zeros_like(right)),
        ]
        rival = xr.concat(both, "vector")
    gaps = xr.concat([runs.u_beta - left, runs.v_a - right], "vector")
    return agreement(study.limit(gaps), 0, LIMIT, runs.attrs, rival)


def _left(runs: xr.Dataset) -> tuple:
    """Return the overlaps of u1 with X'y and with the teacher."""
    felt = _felt(runs, runs.theta2, runs.psi2)
    whole = theory.left_overlap(felt, runs.psi2)
    return whole, whole * (runs.theta1 / felt) ** 2


@claim(
    "spikes.below_threshold",
    statement="Below the threshold nothing leaves the bulk: s1 ends at 1 + sqrt(psi2) "
    "and u1 does not see the teacher",
    source="derived",
    uses=("thm-spikes-location",),
    control="a step of twice the threshold",
)
def below_threshold(scale, broken, block):
    """Take the relative gap of s1 to the edge, with the d^(-2/3) of an edge taken off,
    and the overlap, at half the threshold.
    """
    multiple = 2.0 if broken else 0.5
    runs = study.spikes(scale, block).sel(multiple=multiple)
    edge = theory.location(0.0, runs.psi2)
    both = [
        study.limit(runs.s1 / edge - 1, 2 / 3),
        study.limit(runs.u_beta),
    ]
    rival = None
    if broken:
        beyond = study.limit(_place(runs, runs.theta2) / edge - 1, 2 / 3)
        rival = xr.concat(
            [beyond, study.limit(_left(runs)[1])],
            "quantity",
        )
    sizes = runs.attrs | {"eta/eta_c": multiple}
    reason = "none: two sizes take off d^(-2/3) of an edge, 1/d of an overlap"
    return agreement(xr.concat(both, "quantity"), 0, reason, sizes, rival)


@claim(
    "spikes.kernel_outlier",
    statement="On fresh data the kernel of the stepped features has one outlier, at a "
    "closed form Lambda, and its eigenvector has a closed overlap with the right "
    "singular vector of the spike",
    source="derived",
    uses=("thm-spikes-kernel",),
    control="theta1 in place of theta2",
)
def kernel_outlier(scale, broken, block):
    """Compare relative location and overlap at realised strengths."""
    runs = study.kernels(scale, block)
    right, wrong = (_kernel(runs, runs[name]) for name in ("theta2", "theta1"))
    place, overlap = wrong if broken else right
    seen = [
        (runs.outlier - place) / right[0],
        runs.overlap - overlap,
    ]
    gaps, rival = xr.concat(seen, "quantity"), None
    if broken:
        both = [1 - place / right[0], right[1] - overlap]
        rival = study.limit(xr.concat(both, "quantity"))
    return agreement(study.limit(gaps), 0, LIMIT, runs.attrs, rival)


def _kernel(runs: xr.Dataset, strength: xr.DataArray) -> list:
    felt, psi1 = xr.broadcast(_felt(runs, strength, 1.0), runs.psi1)
    found = theory.kernel_outlier(theory.pair(), psi1.values, 1.0, felt.values)
    return [felt.copy(data=values) for values in found]
