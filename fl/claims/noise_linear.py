"""Claims of the chapter on label noise: the linear student's exact curve."""

import numpy as np
import xarray as xr

from fl.evidence import claim
from fl.judging import agreement
from fl.studies import noise as study
from fl.theory.alignment_ridge import flow_risk as population_risk
from fl.theory.alignment_ridge import linear_part
from fl.theory.noise import flow_risk


@claim(
    "noise.linear_student",
    statement="The linear student's noise-free error along its flow is the closed form, "
    "for p = -2 to 1 in both cases, with 40 and with 200 rows (SNR 1)",
    source="derived",
    control="the flow of the population, with the noise of 200 or 40 rows added",
)
def linear_student(scale, broken, block):
    """Every exponent, number of rows and time is a cell."""
    run = study.linear(scale, block)
    cells = run["risk"].isel(draw=0, drop=True)
    exact, rival = xr.zeros_like(cells), xr.zeros_like(cells)
    for where in exact.stack(cell=exact.dims[:3])["cell"].values:
        at = dict(zip(exact.dims[:3], where, strict=True))
        exact.loc[at], rival.loc[at] = _curves(**at)
    predicted = rival if broken else exact
    # relative 1/(N - d - 1) in the variance; the sample variance of one direction moves
    # e^{-4x} by 16 x^2 e^{-4x}/N, at most 4 e^{-2}/N
    d = len(study.task("high", 1.0).spectrum.eigenvalues)
    bias = predicted / (predicted["n"] - d - 1) + 4 * np.exp(-2) / predicted["n"]
    words = "the next order in 1/N"
    gaps = run["risk"] - predicted
    return agreement(
        gaps, bias, words, run.attrs, exact - rival if broken else None, "draw"
    )


def _curves(case: str, n: int, p: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the closed form at `study.MOMENTS`, and what is left of it when the sample
    covariance is taken for the true one.
    """
    lam, energy, noise = linear_part(study.task(case, 1.0, link="linear"))
    rate = 2 * lam[energy > 0] ** (p + 1)
    times = np.array(study.MOMENTS) / rate
    written = (1 - np.exp(-2 * np.outer(times, lam ** (p + 1)))) ** 2
    exact = flow_risk(lam, energy, p, n, noise, times)
    rival = population_risk(lam, energy, p, 2 * times) + noise / n * written.sum(1)
    total = energy.sum()
    return exact / total, rival / total
