"""Scaling laws of the linear student: the claims."""

import numpy as np
import xarray as xr

from fl import judging
from fl.evidence import claim
from fl.studies import scaling_laws as study
from fl.theory import scaling_laws as theory
from fl.theory.alignment_laws import flow_correction, interpolation_correction


@claim(
    "scaling_laws.table",
    statement="The risk falls like a power of time, of samples and of compute, of the "
    "exponents (b-1)/q, b-1, (b-1)/(1+q): p = 0, 1/3, 1",
    source="derived",
    uses=("thm-scaling-table",),
    control="samples have the exponent of time, and compute that of samples",
)
def table(scale, broken, block):
    """Measured minus predicted exponent, worst cell. The first corrections of the laws
    at both ends bound what a finite size does to the slope between them.
    """
    run = study.slopes(scale, block)
    n, d, eta = [run.attrs[name] for name in ("n", "d", "eta")]
    b, late = study.B, np.log(study.LATE[1] / study.LATE[0])

    def exponents(law, p):
        return theory.exponent(str(law), study.A, b, float(p))

    def corrections(law, p):
        q = study.A * (p + 1)
        if law == "time":
            terms = flow_correction(q, b, study.LATE, d, eta)
            return abs(terms).sum() / late
        total = 0.0
        for few in (1, 4):
            size = few * n
            terms = interpolation_correction(q, b, size, study.RATIO * size)[0]
            # those in N/d are the same at both ends
            total += abs(terms[1]) + abs(terms[2]) + q / size
        growth = 1 + q if law == "compute" else 1
        return total / (growth * np.log(4))

    def over(function, laws):
        return xr.apply_ufunc(function, laws, run.p, vectorize=True)

    right = taken = over(exponents, run.law)
    rival = None
    if broken:
        others = ["time", "time", "samples"]
        taken = over(exponents, run.law.copy(data=others))
        rival = right - taken
    reason = "first corrections at both ends, and q/N, over the logarithm of the growth"
    bias = over(corrections, run.law)
    return judging.agreement(run - taken, bias, reason, run.attrs, rival)


@claim(
    "scaling_laws.model_size",
    statement="The risk of random features at a fixed time of gradient descent is that of "
    "the contour, for three widths: not the one at the end",
    source="derived",
    uses=("thm-help-stopping",),
    control="the time of training makes no difference",
)
def model_size(scale, broken, block):
    """Relative deviation of the mean over features, worst width and time."""
    run = study.widths(scale, block)
    d, times = run.attrs["d"], run.time.values
    r = np.arange(1, d + 1.0)
    lam, energy = r**-study.A, r**-study.B
    rows = []
    for width in run.width.values:
        risk = theory.feature_risk(lam, energy, int(width), times)
        rows.append(risk + study.beyond(d, study.B))
    coords = {"width": run.width, "time": run.time}
    taken = predicted = xr.DataArray(rows, coords)
    rival = None
    if broken:
        end = predicted.sel(time=np.inf)
        taken = end + 0 * predicted
        rival = predicted / taken - 1
    reason = "a/M, relative: a feature more or less in the equivalent"
    gaps = run / taken - 1
    return judging.agreement(gaps, study.A / run.width, reason, run.attrs, rival)
