"""Claims of the chapter on the meter: what it reads of a known exponent, what it refuses,
and which implementations the bench tells apart.
"""

import numpy as np
import xarray as xr

from fl.evidence import Evidence, claim
from fl.judging import agreement
from fl.meter_reading import OWN
from fl.studies import exponent_meter as study
from fl.theory import exponent_meter as theory

ROUNDING = 1e-6
ANOTHER = 0.01  # what another weight of windows may do to an uncorrected reading


def _slopes(lam: xr.DataArray, damping: float = 1e-6) -> xr.DataArray:
    """Return the slopes that the theory gives for eigenvalues that were read, and the
    exponents at their coordinate ``p``.
    """

    def one(lam, p):
        return theory.damped_slope(lam[np.isfinite(lam)], p, damping)

    core = [["direction"], []]
    return xr.apply_ufunc(one, lam, lam["p"], input_core_dims=core, vectorize=True)


def _rounding(gaps: xr.DataArray, sizes: dict, rival, within=ROUNDING) -> Evidence:
    """Return the evidence that nothing but rounding stands between reading and theory, in
    the worst layer and seed; the ``rival`` predicts the gaps of a control.
    """
    return Evidence(
        0,
        abs(gaps).max(),
        ROUNDING,
        "rounding, nothing is sampled",
        sizes=sizes | {"cells": gaps.size},
        expected=abs(rival).max(),
        within=within,
    )


@claim(
    "exponent_meter.exact",
    statement="The meter reads powers of a moment that it shares with the optimizer exactly, "
    "in every layer of an MLP and a CNN",
    source="proved",
    uses=("thm-exponent-meter-exact",),
    control="the meter is given the square of the moment: half the exponent",
)
def exact(scale, broken, block):
    """Four powers, both networks, mini-batches; the control reads two of them, in the same
    eigenvectors.
    """
    chosen = study.OWN if broken else study.POWERS
    run = study.readings(scale, block, study.powers(chosen, squared=broken))
    slopes = _slopes(run["lam"])
    half = _slopes(run["lam"] ** 0.5) / 2
    return _rounding(run["slope"] - slopes, run.attrs, half - slopes)


@claim(
    "exponent_meter.own_moment",
    statement="With moments of its own the meter finds the slopes of the inverse and the "
    "inverse root of a running moment to 0.1, in windows of 20 steps, on the digits, also "
    "where it refuses to call them exponents",
    source="observed",
    uses=("thm-exponent-meter-exact",),
    control="windows of one step",
)
def own_moment(scale, broken, block):
    """The worst layer of two networks, powers and seeds, and how many are refused; in the
    control the eigenvectors are those of single batches, which have slopes of their own.
    """
    run = study.own(scale, block, 1, ["mlp"]) if broken else study.own(scale, block)
    rival = study.clouded(scale, block)
    return Evidence(
        0,
        abs(run["slope"] - run["p"]).max(),
        OWN,
        "the error that the meter prints for moments of its own",
        relation="at most",
        sizes=run.attrs | {"refused": int(run["read"].isnull().sum())},
        expected=abs(rival - rival["p"]).max(),
        within=OWN,
    )


@claim(
    "exponent_meter.corrections",
    statement="With heavy-ball momentum filtered and either weight decay taken out, gradient "
    "descent is read as 0",
    source="proved",
    uses=("thm-exponent-meter-exact",),
    control="the corrections left out",
)
def corrections(scale, broken, block):
    """Momentum 0.9 and decay 0.1, coupled and decoupled, on the MLP."""
    run = study.corrections(scale, block, corrected=not broken)
    rival = study.uncorrected(scale, block)
    return _rounding(run["slope"], run.attrs, rival, ANOTHER)


@claim(
    "exponent_meter.damped",
    statement="A damped inverse is read as the slope of -log(lambda + delta), not as -1",
    source="proved",
    uses=("thm-exponent-meter-exact",),
    control="the exponent -1 of the inverse without damping",
)
def damped(scale, broken, block):
    """The damping is 0.05 of the largest eigenvalue; all layers of both networks."""
    settings = study.powers([-1.0], damping=study.DAMPING)
    run = study.readings(scale, block, settings)
    slopes = _slopes(run["lam"], study.DAMPING)
    believed = run["p"] if broken else slopes
    return _rounding(run["slope"] - believed, run.attrs, slopes - believed)


@claim(
    "exponent_meter.refusals",
    statement="The meter reads no layer in bfloat16, frozen, shared or with white inputs, and "
    "leaves the run as it is, bit for bit",
    source="observed",
    uses=("thm-exponent-meter-exact",),
    control="float32, trained, single and coloured layers, which are read, and other batches",
)
def refusals(scale, broken, block):
    """The number of kinds and seeds for which it goes wrong."""
    wrong = study.refused(scale, block, faulty=not broken)
    sizes = {"seeds": wrong["seed"].values, "kinds": wrong["kind"].values}
    return Evidence(0, wrong.sum(), 0, "a count", sizes=sizes, expected=wrong.size)


def _derived(method: str, rows, columns) -> tuple[np.ndarray, float]:
    """Return the derived exponents (side,) of a method in the bases ``rows`` and
    ``columns`` of the gradients, and the square of the largest effect of memory.
    """
    mu, lam = study.ROWS, study.COLUMNS
    if method in study.SIDES:
        gain, plain = (
            theory.two_sided(mu, lam, *study.SIDES[method], memory)
            for memory in (study.MEMORY, 1.0)
        )
    else:
        gain = plain = theory.turned(mu, lam, rows, columns)
    effect = abs(gain / plain - 1).max()
    return np.array(theory.exponents(mu, lam, gain)), effect**2


@claim(
    "exponent_meter.bench",
    statement="The bench reads 0 for gradient descent, -1/2 on both sides for Adam on the "
    "axes, and both powers of L^r G R^p up to the derived effect of memory",
    source="derived",
    uses=("thm-exponent-meter-memory",),
    control="Adam on turned axes, for which -1/2 is not derived",
)
def bench(scale, broken, block):
    """Both sides of five methods; the control has a derived reading of its own."""
    methods = [study.TURNED] if broken else study.DERIVED
    run = study.benched(scale, block, methods)
    right, squares = xr.apply_ufunc(
        _derived,
        run["method"],
        run["rows"],
        run["columns"],
        input_core_dims=[[], ["axis_row", "row"], ["axis_column", "column"]],
        output_core_dims=[["side"], []],
        vectorize=True,
    )
    believed = -0.5 if broken else right
    gaps = run["exponent"] - believed
    bias = ROUNDING + squares.max("seed")
    reason = "the square of the derived effect of memory, and rounding"
    return agreement(gaps, bias, reason, run.attrs, right - believed)


@claim(
    "exponent_meter.faults",
    statement="The assertion passes right powers and fails a root of the wrong order, exchanged "
    "factors and a lost damping",
    source="observed",
    uses=("exponent_meter.bench",),
    control="gradients of one size in every direction, on which all versions read alike",
)
def faults(scale, broken, block):
    """The share of right verdicts; the control is right only about the faulty versions."""
    lam = study.COLUMNS
    damped = theory.damped_slope(lam, -1.0, lam.mean() / lam[0])
    targets = {"-1/4, -1/4": -0.25, "0, -1, damped": damped, "one-sided": -0.25}
    right = study.verdicts(scale, targets, block, flat=broken)
    sizes = study.SHORT | {"tol": study.TOLERANCE, "seeds": right["seed"].values}
    faulty = 1 - len(study.FAULTS) / right.sizes["method"]
    return Evidence(
        1, right.mean(), 0, "a share", sizes=sizes, expected=faulty, within=1e-9
    )
