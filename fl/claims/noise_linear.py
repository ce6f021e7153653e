"""Claims of the chapter on label noise: the linear student's exact curve."""

import itertools

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
    uses=("thm-noise-linear", "thm-noise-flow"),
    control="the flow of the population, with the noise of 200 or 40 rows added",
)
def linear_student(scale, broken, block):
    """Every exponent, number of rows and time is a cell."""
    run = study.linear(scale, block)
    risks = run["risk"]
    cells = risks.isel(draw=0, drop=True)
    exact, rival = _curves(cells)
    predicted = rival if broken else exact
    # relative 1/(N - d - 1) in the variance; the sample variance of one direction moves
    # e^{-4x} by 16 x^2 e^{-4x}/N, at most 4 e^{-2}/N
    n = predicted["n"]
    variance = predicted / (n - study.D - 1)
    signal = 4 * np.exp(-2) / n
    bias = variance + signal
    gaps = risks - predicted
    words = "the next order in 1/N"
    return agreement(gaps, bias, words, run.attrs, exact - rival, "draw")


def _curves(cells: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Return the closed form in ``cells``, and what is left of it when the sample
    covariance is taken for the true one.
    """
    exact = xr.zeros_like(cells)
    rival = xr.zeros_like(cells)
    rows = cells["n"].values
    grid = itertools.product(study.CASES, rows, study.POWERS)
    for case, n, p in grid:
        task = study.task(case, 1.0, link="linear")
        lam, energy, noise = linear_part(task)
        total = energy.sum()
        energy = energy / total
        noise = noise / total
        speed = lam ** (p + 1)
        rate = 2 * speed[energy > 0]
        moments = np.array(study.MOMENTS)
        times = moments / rate
        decay = np.outer(times, -2 * speed)
        written = np.expm1(decay) ** 2
        added = noise / n * written.sum(1)
        twice = 2 * times
        unlearned = population_risk(lam, energy, p, twice)
        at = {"case": case, "n": n, "p": p}
        rival.loc[at] = unlearned + added
        exact.loc[at] = flow_risk(lam, energy, p, n, noise, times)
    return exact, rival
