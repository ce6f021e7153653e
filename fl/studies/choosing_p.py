"""Choosing the exponent: the sizes at each scale, the choosers, and the stored runs."""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from fl import scales
from fl.scales import Scale
from fl.simulate import choosing_p as simulate
from fl.simulate import choosing_p_draws as draws
from fl.simulate import choosing_p_networks as networks
from fl.simulate.choosing_p_draws import Design
from fl.stored import stored
from fl.sweep import sweep
from fl.theory import choosing_p as theory

STATISTICS = ("lam", "scores", "residual", "dof")
FIXED = (-1.0, -0.5, 0.0, 0.5, 1.0)
CHOOSERS = [
    *(f"{p:g}" for p in FIXED),
    *("CV", "GCV", "evidence", "evidence + CV", "average", "told, else 0", "oracle"),
]
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
    (Design(n=90, d=25, p=0.5), 40.0),
    (Design(n=30, d=70, p=-0.5), 300.0),
    (Design(n=70, d=40, p=1.0), 5.0),
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
# ten rows of a training half decide nothing, and their scatter would drown the others
JUDGED = tuple(name for name in simulate.TABLES if name != "linnerud, weight")


def fits(run: xr.Dataset, exponents=EXPONENTS) -> xr.Dataset:
    """Return ``p_hat``, ``low``, ``high``, ``se``, ``signal``, ``resolved`` and ``told`` of
    `theory.fit` for every table of a ``run`` of statistics, with the dimensions of its
    ``dof``; the interval is sought on ``exponents`` (K,). ``full`` is the standard error
    that counts every direction in full.
    """
    names = ("p", "low", "high", "se", "signal", "resolved", "told")

    def one(*statistics):
        data = _data(*statistics)
        fit = theory.fit(*data, exponents)
        lam, *_, dof = data
        full = theory.standard_error(lam, np.ones_like(lam), dof)
        return full, *(float(getattr(fit, name)) for name in names)

    parts = [run[name] for name in STATISTICS]
    core = [["direction"], ["direction"], [], []]
    found = xr.apply_ufunc(
        one,
        *parts,
        input_core_dims=core,
        output_core_dims=[[]] * (len(names) + 1),
        vectorize=True,
    )
    named = zip(("full", *names), found, strict=True)
    return xr.Dataset(dict(named)).rename(p="p_hat")


def _data(lam, scores, residual, dof) -> tuple:
    there = np.isfinite(lam)
    return lam[there], scores[there], float(residual), int(dof)


def choosers(run: xr.Dataset) -> xr.Dataset:
    """Return which exponent each chooser takes and at what risk, for every table of a
    ``run`` of `simulate.half` or `draws.risks`.

    Returns:
        `fits`; ``cv_p``, the exponent of cross-validation; and ``risk`` (chooser): p fixed
        at `FIXED` with the penalty of cross-validation; ``CV``, ``GCV`` and ``evidence``
        over exponents and penalties; ``evidence + CV``, the exponent of the evidence with
        the penalty of cross-validation; ``average``, the mean over exponents with the
        evidence as weight; ``told, else 0``, ``evidence + CV`` where the interval is told
        and excludes 0, p = 0 elsewhere; ``oracle``, the best of the grid.
    """
    fit = fits(run)
    outside = (fit["low"] > 0) | (fit["high"] < 0)
    sure = (fit["told"] > 0) & outside
    dims = list(run["dof"].dims)
    whole = run.assign(p_hat=fit["p_hat"], sure=sure)
    whole = whole.stack(unit=dims)
    units = range(whole.sizes["unit"])
    p = run["p"].values
    risk = [_risks(p, whole.isel(unit=i)) for i in units]
    shape = *run["dof"].shape, -1
    shaped = np.reshape(risk, shape)
    best = run["cv"].min("penalty")
    least = best.argmin("p")
    taken = run["p"][least].drop_vars("p")
    fit = fit.assign(risk=((*dims, "chooser"), shaped), cv_p=taken)
    return fit.assign_coords(chooser=CHOOSERS)


def _risks(p, one: xr.Dataset) -> list[float]:
    """Return the risks of `CHOOSERS` on one table."""
    given = [one[name].values for name in STATISTICS]
    data = _data(*given)
    risk, cv, gcv = (one[name].values for name in ("risk", "cv", "gcv"))
    mean = theory.geometric_mean(data[0])
    above = p[:, None] + 1
    delta = mean**above / one["grid"].values
    dev = theory.deviance(p[:, None], delta, *data)
    rows = np.arange(len(p))
    tuned = risk[rows, cv.argmin(1)]
    likely = risk[rows, dev.argmin(1)]
    lowest = dev.min(1)
    weights = np.exp((lowest.min() - lowest) / 2)
    average = np.average(likely, weights=weights)
    wanted = [*FIXED, one["p_hat"].item()]
    *fixed, chosen = (tuned[abs(p - q).argmin()] for q in wanted)
    joint = [risk.flat[table.argmin()] for table in (cv, gcv, dev)]
    last = chosen if one["sure"] else fixed[FIXED.index(0)]
    return [*fixed, *joint, chosen, average, last, risk.min()]


def statistics(
    scale: Scale, block: int, designs: Mapping[str, Design], number: int | None = None
) -> xr.Dataset:
    """Return `fits` of tables of some ``designs`` by label, at a ``scale``, a ``block``.

    ``number`` of tables; 80, 150 or 1000 if None.
    """
    tables = number or scales.at(scale, smoke=80, book=150, paper=1000)
    seeds = scales.seeds(tables, block)
    run = sweep(draws.statistics, {"design": dict(designs)}, seeds)
    return fits(run).assign_attrs(tables=tables, block=block)


def dense(scale: Scale, block: int = 0) -> list[tuple[Design, xr.Dataset]]:
    """Return each design of `DENSE` with statistics and ``deviance`` over ``seed``, at a
    ``scale`` and a ``block``.
    """
    number = scales.at(scale, smoke=5, book=10, paper=40)
    seeds = scales.seeds(number, block)
    runs = [
        sweep(draws.dense, seeds=seeds, design=design, delta=delta)
        for design, delta in DENSE
    ]
    return [
        (design, run.assign_attrs(delta=delta))
        for (design, delta), run in zip(DENSE, runs, strict=True)
    ]


def rescaled(scale: Scale, block: int = 0, columns: int = RESCALED.d) -> xr.Dataset:
    """Return `fits` over ``units`` (as drawn, the label and some ``columns`` times 100) and
    ``seed``, at a ``scale`` and a ``block``.
    """
    number = scales.at(scale, smoke=30, book=60, paper=300)
    seeds = scales.seeds(number, block)
    fixed = {"design": RESCALED, "columns": columns}
    return fits(sweep(draws.rescaled, seeds=seeds, **fixed))


def folded(scale: Scale, block: int = 0, moved: bool = True) -> xr.Dataset:
    """Return both criteria from moments and from rows over ``seed``, at a ``scale`` and a
    ``block``, the folds ``moved`` to the mean of the training rows or not.
    """
    number = scales.at(scale, smoke=20, book=40, paper=200)
    seeds = scales.seeds(number, block)
    return sweep(draws.folded, seeds=seeds, design=FOLDED, moved=moved)


def matched(scale: Scale, block: int = 0) -> xr.Dataset:
    """Return what the `choosers` do under the power law that the model assumes, at a
    ``scale`` and a ``block``.
    """
    number = scales.at(scale, smoke=40, book=60, paper=400)
    seeds = scales.seeds(number, block)
    run = sweep(draws.risks, seeds=seeds, design=MATCHED)
    return choosers(run)


def models(scale: Scale) -> xr.Dataset:
    """Return what the `choosers` do on tables of `MODELS` at a ``scale``."""
    number = scales.at(scale, smoke=4, book=16, paper=60)
    seeds = scales.seeds(number)
    run = sweep(draws.risks, {"design": MODELS}, seeds)
    return choosers(run)


def published(scale: Scale, block: int = 0, permuted: bool = False) -> xr.Dataset:
    """Return `fits` of the tables of [YN25] over ``case`` and ``seed``, at a ``scale`` and
    a ``block``, the labels ``permuted`` or not.
    """
    number = scales.at(scale, smoke=30, book=60, paper=300)
    seeds = scales.seeds(number, block)
    grid = {"case": ["high", "low"]}
    return fits(sweep(draws.published, grid, seeds, permuted=permuted))


def halves(scale: Scale, block: int = 0, names=JUDGED) -> xr.Dataset:
    """Return what the `choosers` do on standardised halves of real tables, by ``names``, at
    a ``scale`` and a ``block``.
    """
    number = scales.at(scale, smoke=6, book=20, paper=48)
    seeds = scales.seeds(number, block)
    run = sweep(simulate.half, {"name": list(names)}, seeds)
    return choosers(run)


@stored("choosing_p")
def tables(scale: Scale) -> xr.Dataset:
    """Return what the `choosers` do on halves of all real tables at a ``scale``, in both
    units.
    """
    number = scales.at(scale, smoke=2, book=4, paper=24)
    grid = {"name": list(simulate.TABLES), "units": list(simulate.UNITS)}
    run = sweep(simulate.half, grid, scales.seeds(number))
    return _described(choosers(run))


@stored("choosing_p_networks")
def trained(scale: Scale) -> xr.Dataset:
    """Return the errors of networks with five exponents on pairs of digits, beside the
    `fits` of the same rows, at a ``scale``.
    """
    pairs = list(PAIRS)[: scales.at(scale, smoke=1, book=2, paper=5)]
    steps = scales.at(scale, smoke=50, book=600, paper=600)
    grid = {"pair": pairs, "noise": list(NOISES)}
    run = sweep(networks.trained, grid, scales.seeds(2), steps=steps)
    whole = fits(run).merge(run[["error", "eta"]])
    return _described(whole)


def _described(run: xr.Dataset) -> xr.Dataset:
    for name, values in run.data_vars.items():
        values.attrs = {"description": WORDS[name], "units": "none"}
    return run
