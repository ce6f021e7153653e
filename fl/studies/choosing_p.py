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
from fl.sweep import sized, sweep
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
        lam, *_, dof = data = known(*statistics)
        fit = theory.fit(*data, exponents)
        full = theory.standard_error(lam, np.ones_like(lam), dof)
        return np.array([full, *(getattr(fit, name) for name in names)])

    found = _each(one, run, STATISTICS, "said", ["full", "p_hat", *names[1:]])
    return found.to_dataset("said")


def known(lam, scores, residual, dof) -> tuple:
    """Return what `theory.fit` takes of the statistics of one table: ``lam`` and
    ``scores`` (r,) without their padding, ``residual`` and ``dof``.
    """
    there = np.isfinite(lam)
    return lam[there], scores[there], float(residual), int(dof)


def _each(function, run: xr.Dataset, names, label: str, labels) -> xr.DataArray:
    """Return what ``function`` says, along ``label``, of the variables ``names`` of each
    table of a ``run``.
    """
    parts = [run[name] for name in names]
    tables = run["dof"].dims
    own = [[dim for dim in part.dims if dim not in tables] for part in parts]
    found = xr.apply_ufunc(
        function,
        *parts,
        input_core_dims=own,
        output_core_dims=[[label]],
        vectorize=True,
    )
    return found.assign_coords({label: labels})


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
    whole = run.assign(
        p_hat=fit["p_hat"],
        sure=(fit["told"] > 0) & outside,
    )
    names = ("risk", "cv", "gcv", "grid", "p", "p_hat", "sure", *STATISTICS)
    risk = _each(_risks, whole, names, "chooser", CHOOSERS)
    least = run["cv"].min("penalty").argmin("p")
    taken = run["p"][least].drop_vars("p")
    return fit.assign(risk=risk, cv_p=taken)


def _risks(risk, cv, gcv, grid, p, p_hat, sure, *statistics) -> np.ndarray:
    """Return the risks of `CHOOSERS` on one table."""
    data = known(*statistics)
    mean = theory.geometric_mean(data[0])
    above = p[:, None] + 1
    delta = mean**above / grid
    dev = theory.deviance(p[:, None], delta, *data)
    rows = np.arange(len(p))
    tuned = risk[rows, cv.argmin(1)]
    likely = risk[rows, dev.argmin(1)]
    lowest = dev.min(1)
    weights = np.exp((lowest.min() - lowest) / 2)
    average = np.average(likely, weights=weights)
    wanted = (*FIXED, p_hat)
    *fixed, chosen = (tuned[abs(p - q).argmin()] for q in wanted)
    joint = [risk.flat[table.argmin()] for table in (cv, gcv, dev)]
    last = chosen if sure else fixed[FIXED.index(0)]
    return np.array([*fixed, *joint, chosen, average, last, risk.min()])


def statistics(
    scale: Scale, block: int, designs: Mapping[str, Design], number: int | None = None
) -> xr.Dataset:
    """Return `fits` of tables of some ``designs`` by label, at a ``scale``, a ``block``.

    ``number`` of tables; 80, 150 or 1000 if None.
    """
    numbers = (number,) * 3 if number else (80, 150, 1000)
    grid = {"design": designs}
    run = sized(draws.statistics, scale, block, numbers, grid)
    return fits(run)


def dense(scale: Scale, block: int = 0) -> list[xr.Dataset]:
    """Return for each of `DENSE` statistics and ``deviance`` over ``seed``, at a ``scale``
    and a ``block``.
    """
    fixed = [{"design": design, "delta": delta} for design, delta in DENSE]
    return [sized(draws.dense, scale, block, (5, 10, 40), **one) for one in fixed]


def rescaled(scale: Scale, block: int = 0, columns: int = RESCALED.d) -> xr.Dataset:
    """Return `fits` over ``units`` (as drawn, the label and some ``columns`` times 100) and
    ``seed``, at a ``scale`` and a ``block``.
    """
    fixed = {"design": RESCALED, "columns": columns}
    run = sized(draws.rescaled, scale, block, (30, 60, 300), **fixed)
    return fits(run)


def folded(scale: Scale, block: int = 0, moved: bool = True) -> xr.Dataset:
    """Return both criteria from moments and from rows over ``seed``, at a ``scale`` and a
    ``block``, the folds ``moved`` to the mean of the training rows or not.
    """
    fixed = {"design": FOLDED, "moved": moved}
    return sized(draws.folded, scale, block, (20, 40, 200), **fixed)


def matched(scale: Scale, block: int = 0) -> xr.Dataset:
    """Return what the `choosers` do under the power law that the model assumes, at a
    ``scale`` and a ``block``.
    """
    run = sized(draws.risks, scale, block, (40, 60, 400), design=MATCHED)
    return choosers(run)


def models(scale: Scale) -> xr.Dataset:
    """Return what the `choosers` do on tables of `MODELS` at a ``scale``."""
    grid = {"design": MODELS}
    run = sized(draws.risks, scale, 0, (4, 16, 60), grid)
    return choosers(run)


def published(scale: Scale, block: int = 0, permuted: bool = False) -> xr.Dataset:
    """Return `fits` of the tables of [YN25] over ``case`` and ``seed``, at a ``scale`` and
    a ``block``, the labels ``permuted`` or not.
    """
    grid = {"case": ["high", "low"]}
    sizes = scale, block, (30, 60, 300)
    run = sized(draws.published, *sizes, grid, permuted=permuted)
    return fits(run)


def halves(scale: Scale, block: int = 0, names=JUDGED) -> xr.Dataset:
    """Return what the `choosers` do on standardised halves of real tables, by ``names``, at
    a ``scale`` and a ``block``.
    """
    grid = {"name": names}
    run = sized(simulate.half, scale, block, (6, 20, 48), grid)
    return choosers(run)


@stored("choosing_p")
def tables(scale: Scale) -> xr.Dataset:
    """Return what the `choosers` do on halves of all real tables at a ``scale``, in both
    units.
    """
    grid = {"name": list(simulate.TABLES), "units": simulate.UNITS}
    run = sized(simulate.half, scale, 0, (2, 4, 24), grid)
    return _described(choosers(run))


@stored("choosing_p_networks")
def trained(scale: Scale) -> xr.Dataset:
    """Return the errors of networks with five exponents on pairs of digits, beside the
    `fits` of the same rows, at a ``scale``.
    """
    pairs = PAIRS[: scales.at(scale, smoke=1, book=2, paper=5)]
    steps = scales.at(scale, smoke=50, book=600, paper=600)
    grid = {"pair": pairs, "noise": NOISES}
    run = sweep(networks.trained, grid, scales.seeds(2), steps=steps)
    whole = fits(run).merge(run[["error", "eta"]])
    return _described(whole)


def _described(run: xr.Dataset) -> xr.Dataset:
    for name, values in run.data_vars.items():
        values.attrs = {"description": WORDS[name], "units": "none"}
    return run
