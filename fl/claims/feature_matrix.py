"""Claims of the chapter on the feature matrix: rest, balance, and reading an exponent.

An identity is judged in the worst cell by its relative error, against rounding or the
accuracy of the integrator; the control says what its rival predicts for the same cells.
"""

import numpy as np
import xarray as xr

from fl.evidence import Evidence, claim
from fl.judging import agreement, order
from fl.studies import feature_matrix as study
from fl.theory import feature_matrix as theory

REST = "rounding, and what still moves after thousands of steps"
FLOW = "the integrator's tolerance of 1e-10 a step"


SQUARE = ("row", "column")


def _apply(function, *matrices, dims=(SQUARE, SQUARE), out=()) -> xr.DataArray:
    """Return a function of labelled matrices, cell by cell; ``out`` are the dimensions of
    what it returns.
    """
    return xr.apply_ufunc(
        function,
        *matrices,
        input_core_dims=dims,
        output_core_dims=[out],
        vectorize=True,
    )


def _identity(gaps, tolerance, reason, sizes, rival=None) -> Evidence:
    """Hold the largest relative error of an identity against zero."""
    found = {"expected": None if rival is None else float(rival.max()), "within": 0.01}
    return Evidence(0, float(gaps.max()), tolerance, reason, sizes=sizes, **found)


def _gap(a, b, dims=SQUARE) -> xr.DataArray:
    return _apply(theory.relative_gap, a, b, dims=(dims, dims))


@claim(
    "feature_matrix.fact",
    statement="At rest under decoupled decay $W'Q^{-1}W = FP$ in every layer, for any depth",
    source="proved",
    control="P left out, the formula of plain descent",
)
def fact(scale, broken, block):
    """Two layers of three networks, with a left factor, with two metrics, and linear."""
    run = study.rest(scale, block)
    features, metric = run["features"], run["metric"]
    if not broken:
        found = _apply(np.matmul, run["fact"], metric, out=SQUARE)
        return _identity(_gap(found, features), 1e-8, REST, run.attrs)
    # if the law holds, F is the feature matrix times the inverse of P
    inverse = _apply(lambda M, P: M @ np.linalg.inv(P), features, metric, out=SQUARE)
    gaps, rival = (_gap(F, features) for F in (run["fact"], inverse))
    return _identity(gaps, 1e-8, REST, run.attrs, rival)


def _fit(run, metric, what: str) -> xr.DataArray:
    """Return ``J`` or ``M`` of the convex programme in a metric (row, column)."""

    def solve(X, Y, P) -> np.ndarray:
        return getattr(theory.nuclear_fit(X, Y, P, study.END_DECAY), what)

    dims = ("row", "sample"), ("output", "sample"), SQUARE
    out = {"J": ("output", "row"), "M": SQUARE}[what]
    return _apply(solve, run["X"], run["Y"], metric, dims=dims, out=out)


def _plain(run) -> xr.DataArray:
    return xr.DataArray(np.eye(run.sizes["row"]), dims=SQUARE)


@claim(
    "feature_matrix.coupled",
    statement="Two linear layers with coupled decay end at the feature matrix "
    "$(J'J)^{1/2}$ of plain descent, whatever P",
    source="derived",
    control="decoupled decay",
)
def coupled(scale, broken, block):
    """The convex programme without P against the end of training, for three powers; the
    control ends where the programme with P says.
    """
    run = study.ends(scale, block, coupled=not broken)
    plain = _fit(run, _plain(run), "M")
    rival = _gap(_fit(run, run["metric"], "M"), plain) if broken else None
    gaps = _gap(run["features"], plain)
    return _identity(gaps, 1e-8, REST, run.attrs, rival)


@claim(
    "feature_matrix.average",
    statement="Averages over any stretch of training obey "
    "$k\\bar W + \\bar GP = (W_0 - W_T)/(\\eta T)$, for ReLU and mini-batches",
    source="proved",
    control="the last weights and gradient in place of the averages",
)
def average(scale, broken, block):
    """Relative to the decay of the mean weights; the control is off by the next move."""
    run = study.averages(scale, block)
    decay, dims = run["decay"], ("neuron", "row")
    W, G = (run["last"], run["G_last"]) if broken else (run["W"], run["G"])
    left = (run["first"] - run["last"]) / (run["eta"] * run.attrs["averaged"])
    moved = (G.rename(row="column") * run["metric"]).sum("column")
    whole, rival = decay * run["W"], None
    gaps = _gap(whole + decay * W + moved - left, whole, dims)
    if broken:
        move = (run["last"] - run["next"]) / run["eta"]
        rival = _gap(whole + move - left, whole, dims)
    return _identity(gaps, 1e-10, "rounding over thousands of terms", run.attrs, rival)


@claim(
    "feature_matrix.forgets",
    statement="Under the flow of a linear network with decoupled decay k the imbalance in "
    "the metric of P shrinks as $e^{-2kt}$",
    source="proved",
    control="coupled decay",
)
def forgets(scale, broken, block):
    """All times and depths, relative to the start; the control follows its own law, up
    to the quadrature.
    """
    run = study.flow(scale, block, study.FLOW_DECAY, coupled=broken)
    times, dims = run["time"].values, ("time", "neuron", "other")

    def gap(found) -> np.ndarray:
        law = theory.imbalance(found[0], study.FLOW_DECAY, times)
        return np.linalg.norm(found - law, axis=(1, 2)) / np.linalg.norm(found[0])

    def own(found, plain) -> np.ndarray:
        return theory.coupled_imbalance(found[0], plain, study.FLOW_DECAY, times)

    found, rival = run["imbalance"], None
    if broken:
        law = _apply(own, found, run["plain"], dims=(dims, dims), out=dims)
        rival = _apply(gap, law, dims=[dims], out=("time",))
    gaps = _apply(gap, found, dims=[dims], out=("time",))
    return _identity(gaps, 1e-6, FLOW, run.attrs | {"decay": study.FLOW_DECAY}, rival)


@claim(
    "feature_matrix.geometric_mean",
    statement="From a balanced start a linear network of depth L has throughout training "
    "$W'W = P \\#_{1/L} J'J$",
    source="proved",
    control="the mean with the identity, the exponent 1/L of the ansatz without P",
)
def geometric_mean(scale, broken, block):
    """Depths 2, 3 and 4 at all times; the control is off by what the law says."""
    run = study.flow(scale, block, balanced=True)
    dims = SQUARE, ("output", "row")
    gaps, rivals = [], []
    for depth in study.DEPTHS:
        at = run.sel(depth=depth)

        def mean(P, J, depth=depth) -> np.ndarray:
            return theory.geometric_mean(P, J, 1 / depth)

        law, plain = (
            _apply(mean, P, at["J"], dims=dims, out=SQUARE)
            for P in (at["metric"], _plain(at))
        )
        gaps.append(_gap(plain if broken else law, at["features"]))
        rivals.append(_gap(plain, law))
    rival = xr.concat(rivals, "depth") if broken else None
    return _identity(xr.concat(gaps, "depth"), 1e-6, FLOW, run.attrs, rival)


@claim(
    "feature_matrix.recursive",
    statement="Two linear layers with decoupled decay end at the minimum of the nuclear "
    "norm in the metric, and this is a fixed point of the recursive feature machine "
    "$M \\leftarrow P \\# J'J$",
    source="derived",
    control="the recursive feature machine without P, $M \\leftarrow (J'J)^{1/2}$",
)
def recursive(scale, broken, block):
    """The function of network and programme, and the metric of the network after one
    step of the machine.
    """
    run = study.ends(scale, block)
    pull = _plain(run) if broken else run["metric"]

    def step(X, Y, M, P) -> np.ndarray:
        return theory.recursive_step(X, Y, M, P, study.END_DECAY).M

    data, dims = (run["X"], run["Y"]), (("row", "sample"), ("output", "sample"))
    whole = dict(dims=(*dims, SQUARE, SQUARE), out=SQUARE)
    after = _apply(step, *data, run["features"], pull, **whole)
    function = _gap(run["J"], _fit(run, run["metric"], "J"), ("output", "row"))
    gaps = xr.concat([function, _gap(after, run["features"])], "what")
    rival = None
    if broken:
        M = _fit(run, run["metric"], "M")
        rival = _gap(_apply(step, *data, M, pull, **whole), M)
    return _identity(gaps, 1e-8, REST, run.attrs, rival)


@claim(
    "feature_matrix.read_gradient",
    statement="The exponent of a ReLU network on the digits, at rest under decoupled decay, "
    "is read from averages of its weights and gradients",
    source="derived",
    control="coupled decay, which leaves the exponent 0 whatever P",
)
def read_gradient(scale, broken, block):
    """Four powers; the control two, whose readings have to be 0."""
    slack = study.decayed(scale, block, study.READ)["slack"].max()
    powers = study.READ[:2] if broken else study.READ
    run = study.decayed(scale, block, powers, coupled=broken)
    reason = (
        "how far the weights still moved during the average, by the exact remainder"
    )
    gaps = run["p_gradient"] - run["p"]
    rival = -run["p"] if broken else None
    return agreement(gaps, float(slack), reason, run.attrs, rival)


@claim(
    "feature_matrix.read_balance",
    statement="The exponent of a ReLU network on the digits, trained by plain steps from a "
    "small start, is read from its weights alone",
    source="derived",
    control="PyTorch's usual size of the start, whose imbalance training keeps",
)
def read_balance(scale, broken, block):
    """Five powers; the control three, which have to read what the kept imbalance says."""
    powers, start = study.DIGITS, study.SMALL
    if broken:
        powers, start = study.POWERS, study.USUAL
    run = study.trained(scale, block, powers, start)
    gaps = run["p_balance"] - run["p"]
    rival = run["p_law"] - run["p"] if broken else None
    reason = "squares of the start and the first order of the steps, fixed beforehand"
    return agreement(gaps, 0.02, reason, run.attrs, rival)


@claim(
    "feature_matrix.scope",
    statement="The certificate $1-R^2$ of Adam, K-FAC, Shampoo and Muon is more than a "
    "decade above that of gradient descent and exact powers, from a small start",
    source="observed",
    control="the exact powers from PyTorch's usual size of the start",
)
def scope(scale, broken, block):
    """Decades between each adaptive method and the worst exact power, less one, paired
    over seeds.
    """
    others = study.optimizers(scale, block, study.ADAPTIVE)
    start = study.USUAL if broken else study.SMALL
    exact = study.optimizers(scale, block, study.EXACT, start)
    worst = exact["misfit"].max("optimizer")
    return order(np.log10(others["misfit"] / worst) - 1, others.attrs)
