"""Evidence from labelled draws: every cell is judged in its own standard errors.

A claim about many cells (sizes, exponents, settings) holds or fails in its worst cell. The
quantiles are Student's, so that sampling alone decides a whole claim wrongly with
probability at most `CHANCE`: it fails a true `agreement` if it fails any one cell, so there
the chance is shared out over the cells (Bonferroni); it passes a false `order` only if it
passes the cell that is false, whichever that is, so there each cell has the whole chance (an
intersection-union test).
"""

from dataclasses import replace

import numpy as np
import xarray as xr

from fl import validate
from fl.cells import extrapolated
from fl.evidence import Evidence
from fl.numerics import standard_error, worst_cell

CHANCE = 0.01
SMALLEST = 1e-300  # allowed where nothing varies: a tie is a tie
FAR = 1e3  # standard errors: beyond it a lead is never missed


def quantile(draws: int, cells: int = 1, sides: int = 2) -> float:
    """Return how many standard errors the mean of ``draws`` may be off, so that noise alone
    exceeds it in one of ``cells`` with probability `CHANCE`; ``sides`` is 1 for an order.

    >>> round(quantile(10), 2), round(quantile(10, cells=20), 2)
    (3.25, 5.29)

    Raises:
        ValueError: for less than two draws, or no cell.
    """
    from scipy.special import stdtrit  # scipy.stats takes a second to import

    freedom = validate.count("draws", draws, minimum=2) - 1
    tail = CHANCE / (sides * validate.count("cells", cells))
    return float(-stdtrit(freedom, tail))


def agreement(
    gaps: xr.DataArray, bias, reason: str, sizes: dict, rival=None, dim: str = "seed"
) -> Evidence:
    """Return the evidence that ``gaps``, measured minus predicted, have mean zero in every
    cell, the worst in units of what it is allowed: ``bias`` and `quantile` standard errors.

    Args:
        gaps: with the dimension ``dim``; one mean over it is a cell.
        bias: what a finite size or rounding may do to a mean, >= 0, one number or an array
            over the cells.
        reason: where the bias comes from.
        sizes: what was run.
        rival: the gaps that the hypothesis of a control predicts, over the cells.
        dim: of the independent draws.

    Returns:
        Evidence that is 0 give or take 1; the worst cell, its gap and what it is allowed
        stand among the sizes.
    """
    mean, error = gaps.mean(dim), standard_error(gaps, dim)
    allowed = bias + quantile(gaps.sizes[dim], mean.size) * error
    allowed = np.maximum(allowed, SMALLEST)
    where, (measured, *own) = worst_cell(abs(mean) / allowed, mean, error, allowed)
    expected = None
    if rival is not None:
        expected = float((abs(_mean(rival, dim)) / allowed).max())
    words = (
        f"worst cell, in units of the bias allowed ({reason}) and Student's quantile of "
        f"the cell's own standard error, {CHANCE:.0%} for all cells"
    )
    found = {"sizes": sizes | _cell(where, own), "expected": expected, "within": 1.0}
    return Evidence(0, measured, 1, words, own[1] / own[2], **found)


def order(
    leads: xr.DataArray, sizes: dict, rival=None, margin: float = 0, dim: str = "seed"
) -> Evidence:
    r"""Return the evidence that ``leads`` have a positive mean in every cell, the worst in
    units of `quantile` of its own standard errors.

    Noise alone passes an order that is false anywhere with probability at most `CHANCE`,
    whatever the other cells: all must pass, and the false one does so rarely. It fails a
    true one with at most :math:`\sum_k P(t'_k<q)` over the cells, :math:`t'_k` the
    noncentral Student law of the true lead in standard errors; with the measured leads in
    the place of the true ones this stands among the sizes.

    Args:
        leads: paired differences, positive where the order is the claimed one, with the
            dimension ``dim``; one mean over it is a cell.
        sizes: what was run.
        rival: the leads that the hypothesis of a control predicts, over the cells.
        margin: by how much, as a lead, the control may miss that beyond what noise alone
            does to all cells, with the chance shared out over them.
        dim: of the independent draws.

    Returns:
        Evidence that is at least 1; the worst cell and its lead stand among the sizes.
    """
    from scipy.special import nctdtr

    mean, error = leads.mean(dim), standard_error(leads, dim)
    draws = leads.sizes[dim]
    unit = quantile(draws, sides=1)
    needed = np.maximum(unit * error, SMALLEST)
    expected, spread = None, needed / unit
    if rival is not None:
        expected = float((_mean(rival, dim) / needed).min())
    if dim in getattr(rival, "dims", ()):  # sampled too, with errors of its own
        spread = np.maximum(spread, standard_error(leads - rival, dim))
    allowed = quantile(draws, mean.size) * spread / needed
    where, (measured, *own, noise) = worst_cell(
        -mean / needed, mean, error, needed, allowed
    )
    seen = np.clip(unit * mean / needed, -FAR, FAR)
    missed = float(nctdtr(draws - 1, seen, unit).sum().clip(max=1))
    words = (
        f"worst cell, in units of the lead that noise alone reaches in {CHANCE:.0%} of "
        "cells (Student's quantile of its own standard error; all cells must reach it)"
    )
    found = {
        "sizes": sizes | _cell(where, own) | {"chance to miss such leads": missed},
        "expected": expected,
        "within": noise + margin / own[2],
    }
    return Evidence(1, -measured, 0, words, own[1] / own[2], "at least", **found)


def limit(gaps: xr.DataArray, sizes: dict, rival, dim: str = "steps") -> Evidence:
    """Return the `agreement` of ``gaps`` at two step sizes, the second half of the first,
    without their error of first order.

    Args:
        gaps: with the dimension ``dim``, labelled by the number of steps in a unit of
            time, and ``seed``; draws differ by rounding, so there is no standard error.
        sizes: what was run.
        rival: the gaps that the hypothesis of a control predicts, over the cells.
        dim: of the two step sizes.
    """
    rest, change = extrapolated(gaps, dim)
    found = agreement(
        rest,
        change.max("seed") + gaps[dim][0] ** -2.0,
        "what halving the step size changes, and 1 / steps^2",
        sizes,
        rival,
    )
    return replace(found, standard_error=None)


def roughly(found: Evidence, share: float) -> Evidence:
    """Return ``found``, of a control that may miss by this ``share`` what its rival
    predicts.
    """
    return replace(found, within=share * abs(found.expected))


def _mean(values, dim: str):
    return values.mean(dim) if dim in getattr(values, "dims", ()) else values


def _cell(where: dict, own: list[float]) -> dict:
    mean, error, allowed = own
    numbers = {"gap": mean, "its standard error": error, "allowed": allowed}
    return {"worst cell": where | numbers}
