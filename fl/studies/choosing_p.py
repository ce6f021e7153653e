"""Choosing the exponent: the sizes at each scale, the choosers, and the stored runs."""

from collections.abc import Callable, Mapping

import numpy as np
import xarray as xr

from fl import scales
from fl.moments import Spectrum
from fl.scales import Scale
from fl.simulate import choosing_p_draws as draws
from fl.simulate import choosing_p_networks as networks
from fl.simulate import choosing_p_tables as real
from fl.simulate.choosing_p_draws import Design
from fl.stored import stored
from fl.sweep import evaluate, sized, sweep
from fl.theory import choosing_p as theory

SAID = ("low", "high", "se", "signal", "resolved", "told")
FIXED = networks.EXPONENTS
EXPONENTS = np.linspace(-2, 2, 33)
# the model itself: many and few directions, strong and weak signals, fewer rows than inputs
COVERED = {
    "d 80, n 500": Design("model", n=500, d=80, snr=2.0, p=0.5),
    "d 80, n 500, weak": Design("model", n=500, d=80, snr=0.7, p=-0.3),
    "d 12, n 300": Design("model", n=300, d=12, snr=1.5, p=0.2),
    "d 120, n 90": Design("model", n=90, d=120, snr=2.0, p=0.5),
}
# nothing that a linear fit could see of p
BLIND = {
    "noise": Design(n=300, d=40, snr=0.0),
    "flat": Design(n=300, d=40, snr=2.0, a=0.0),
    "even": Design("even", n=300, d=40, snr=2.0),
}
SEEN = {"linear": Design(n=300, d=40, snr=2.0)}
# density of the labels: a table and the signal over noise of its model
DENSE = (
    {"design": Design(n=90, d=25, p=0.5), "delta": 40.0},
    {"design": Design(n=30, d=70, p=-0.5), "delta": 300.0},
    {"design": Design(n=70, d=40, p=1.0), "delta": 5.0},
)
FOLDED = Design(n=100, d=20, p=-0.5)
RESCALED, COLUMNS = Design(n=300, d=30, p=0.4), 2
MATCHED = Design(n=320, d=48, snr=1.2, p=0.3)
# teachers and noise that the model does not have
MODELS = {
    "power, n 400": Design(n=400),
    "power, n 100": Design(n=100),
    "one direction, n 400": Design("direction", n=400),
    "one direction, n 100": Design("direction", n=100),
    "ReLU link, n 100": Design("relu", n=100),
    "two directions, n 100": Design("two", n=100),
    "heavy tails, n 400": Design(n=400, noise="heavy"),
    "ten rows share noise, n 400": Design(n=400, noise="groups"),
    "uneven noise, n 400": Design(n=400, noise="uneven"),
}
WORDS = {
    "risk": "error on the other half over the label's variance there",
    "p_hat": "exponent of smallest deviance",
    "low": "lower end of its interval",
    "high": "upper end of its interval",
    "se": "standard error of the exponent",
    "full": "the same if every direction counted in full",
    "signal": "deviance gained by a signal",
    "resolved": "number of resolved directions",
    "told": "1 if the rule tells, 0 if not",
    "cv_p": "exponent of cross-validation",
    "error": "mean squared error on other rows, best step and step size",
    "eta": "the step size that was best",
}
PAIRS, NOISES = ("3 8", "1 7", "4 9", "2 5", "0 6"), (0.0, 4.0)
SHIPPED = tuple(name for name, at in real.TABLES.items() if at.package == "sklearn")
# all but the last, linnerud: ten rows of a training half decide nothing, and their scatter
# would drown the others
JUDGED = SHIPPED[:-1]


def read(seed: int, unit: Callable, **setting) -> xr.Dataset:
    """Return what the `choosers`, or `fits` where it has no risks, make of the table that a
    ``unit`` of the experiment draws with a ``seed`` in a ``setting``, and what else it saw.
    """
    spectrum, seen = unit(seed, **setting)
    if "risk" in seen:
        return choosers(spectrum, seen)
    return fits(spectrum).assign(seen)


def fits(spectrum: Spectrum) -> xr.Dataset:
    """Return ``p_hat``, ``low``, ``high``, ``se``, ``signal``, ``resolved`` and ``told`` of
    `theory.fit` for a table of a ``spectrum``; the interval is sought on `EXPONENTS`.
    ``full`` is the standard error that counts every direction in full.
    """
    lam = spectrum.lam
    fit = theory.fit(*spectrum.statistics, EXPONENTS)
    said = {name: float(getattr(fit, name)) for name in SAID}
    full = theory.standard_error(lam, np.ones_like(lam), spectrum.dof)
    return xr.Dataset(said | {"p_hat": fit.p, "full": full})


def choosers(spectrum: Spectrum, table: xr.Dataset) -> xr.Dataset:
    """Return which exponent each chooser takes and at what risk, for a ``spectrum`` and a
    ``table`` of `real.half` or `draws.risks`.

    Returns:
        `fits`; ``cv_p``, the exponent of cross-validation; and ``risk`` (chooser): p fixed
        at `FIXED` with the penalty of cross-validation; ``CV``, ``GCV`` and ``evidence``
        over exponents and penalties; ``evidence + CV``, the exponent of the evidence with
        the penalty of cross-validation; ``average``, the mean over exponents with the
        evidence as weight; ``told, else 0``, ``evidence + CV`` where the interval is told
        and excludes 0, p = 0 elsewhere; ``oracle``, the best of the grid.
    """
    fit = fits(spectrum)
    p, risk, cv = table.p, table.risk, table.cv
    delta = theory.geometric_mean(spectrum.lam) ** (p + 1) / table.grid
    dev = risk.copy(
        data=theory.deviance(p.values[:, None], delta, *spectrum.statistics),
    )
    tuned, likely = (risk[each.argmin(["penalty"])] for each in (cv, dev))
    lowest = dev.min("penalty")
    weights = np.exp((lowest.min() - lowest) / 2)
    chosen = tuned.sel(p=fit.p_hat, method="nearest")
    # told, and both ends on one side
    sure = fit.told * fit.low * fit.high > 0
    risks = {f"{q:g}": tuned.sel(p=q) for q in FIXED}
    risks |= {
        "CV": risk[cv.argmin(...)],
        "GCV": risk[table.gcv.argmin(...)],
        "evidence": risk[dev.argmin(...)],
        "evidence + CV": chosen,
        "average": likely.weighted(weights).mean(),
        "told, else 0": chosen if sure else risks["0"],
        "oracle": risk.min(),
    }
    return fit.assign(
        risk=("chooser", [*map(float, risks.values())]),
        chooser=list(risks),
        cv_p=cv.min("penalty").idxmin("p"),
    )


def statistics(
    scale: Scale, block: int, designs: Mapping[str, Design], numbers=(80, 150, 1000)
) -> xr.Dataset:
    """Return `fits` of tables of some ``designs`` by label, at a ``scale``, a ``block``.

    ``numbers`` of tables, at each of the three scales.
    """
    return sized(
        read, scale, block, numbers, {"design": designs}, unit=draws.statistics
    )


def dense(scale: Scale, block: int = 0) -> list[tuple]:
    """Return what `draws.dense` does for each of `DENSE` and each seed, at a ``scale`` and a
    ``block``.
    """
    number = scales.at(scale, smoke=5, book=10, paper=40)
    units = [
        model | {"seed": seed}
        for model in DENSE
        for seed in scales.seeds(number, block)
    ]
    return evaluate(draws.dense, units)


def rescaled(scale: Scale, block: int = 0, columns: int = RESCALED.d) -> xr.Dataset:
    """Return `fits` over ``units`` (as drawn, the label and some ``columns`` times 100) and
    ``seed``, at a ``scale`` and a ``block``.
    """
    return sized(
        read,
        scale,
        block,
        (30, 60, 300),
        {"units": [1.0, 100.0]},
        unit=draws.statistics,
        design=RESCALED,
        columns=columns,
    )


def folded(scale: Scale, block: int = 0, moved: bool = True) -> xr.Dataset:
    """Return both criteria from moments and from rows over ``seed``, at a ``scale`` and a
    ``block``, the folds ``moved`` to the mean of the training rows or not.
    """
    return sized(draws.folded, scale, block, (20, 40, 200), design=FOLDED, moved=moved)


def matched(scale: Scale, block: int = 0) -> xr.Dataset:
    """Return what the `choosers` do under the power law that the model assumes, at a
    ``scale`` and a ``block``.
    """
    return sized(read, scale, block, (40, 60, 400), unit=draws.risks, design=MATCHED)


def models(scale: Scale) -> xr.Dataset:
    """Return what the `choosers` do on tables of `MODELS` at a ``scale``."""
    return sized(read, scale, 0, (4, 16, 60), {"design": MODELS}, unit=draws.risks)


def published(scale: Scale, block: int = 0, permuted: bool = False) -> xr.Dataset:
    """Return `fits` of the tables of [YN25] over ``case`` and ``seed``, at a ``scale`` and
    a ``block``, the labels ``permuted`` or not.
    """
    return sized(
        read,
        scale,
        block,
        (30, 60, 300),
        {"case": ["high", "low"]},
        unit=draws.published,
        permuted=permuted,
    )


def halves(scale: Scale, block: int = 0, names=JUDGED) -> xr.Dataset:
    """Return what the `choosers` do on standardised halves of real tables, by ``names``, at
    a ``scale`` and a ``block``.
    """
    return sized(read, scale, block, (6, 20, 48), {"name": names}, unit=real.half)


@stored("choosing_p")
def tables(scale: Scale) -> xr.Dataset:
    """Return what the `choosers` do on halves of real tables at a ``scale``, in both units:
    of all of them at ``paper``, of those that scikit-learn ships elsewhere.
    """
    names = scales.at(scale, smoke=SHIPPED, book=SHIPPED, paper=tuple(real.TABLES))
    grid = {"name": names, "units": real.UNITS}
    return _described(sized(read, scale, 0, (2, 4, 24), grid, unit=real.half))


@stored("choosing_p_networks")
def trained(scale: Scale) -> xr.Dataset:
    """Return the errors of networks with five exponents on pairs of digits, beside the
    `fits` of the same rows, at a ``scale``.
    """
    pairs = PAIRS[: scales.at(scale, smoke=1, book=2, paper=5)]
    steps = scales.at(scale, smoke=50, book=600, paper=600)
    grid = {"pair": pairs, "noise": NOISES}
    return _described(
        sweep(read, grid, scales.seeds(2), unit=networks.trained, steps=steps)
    )


def _described(run: xr.Dataset) -> xr.Dataset:
    for name, values in run.data_vars.items():
        values.attrs = {"description": WORDS[name], "units": "none"}
    return run
