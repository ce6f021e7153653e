"""Claims of the chapter on the feature matrix: rest, balance, and reading an exponent.

An identity is judged in the worst network by its relative error, against rounding or the
accuracy of the integrator. The control says what its rival predicts in the same networks.
"""

import numpy as np

from fl.cells import relative_gap as gap
from fl.evidence import Evidence, claim
from fl.instruments.metric_descent import Rule
from fl.judging import agreement, order
from fl.studies import feature_matrix as study
from fl.theory import feature_matrix as theory

# tolerances and their reasons
REST = 1e-8, "rounding, and what still moves after thousands of steps"
SLOW = 1e-6, "coupled decay is slow where P and Q are small: a few networks still move"
FLOW = 1e-6, "the integrator's tolerance of 1e-10 a step, over the whole flow"
EARLY = 1e-6, "rounding in directions of little gradient"


def _exact(run, found, accuracy, within=0.01) -> Evidence:
    """Hold the largest relative error of all networks of a ``run`` against zero.

    ``found`` are pairs of numbers or arrays: errors of the claim or its control, and what
    the control's rival predicts for these, give or take ``within``.
    """
    # not max(), which loses the NaN of a network that diverged
    measured, rival = (
        np.max([np.max(one) for one in each]) for each in zip(*found, strict=True)
    )
    return Evidence(
        0,
        measured,
        *accuracy,
        sizes=run.attrs,
        expected=rival,
        within=within,
    )


def _worst(run, errors, accuracy) -> Evidence:
    """Return what `_exact` does of a ``run`` whose networks are asked one by one:
    ``errors`` takes what is known of a network, by name, to its pair.
    """
    axes = run.metric.dims[:-2]  # (..., row, column)
    found = []
    for _, net in run.stack(cell=axes).groupby("cell"):
        known = net.squeeze("cell").variables
        found.append(errors(**{name: one.values for name, one in known.items()}))
    return _exact(run, found, accuracy)


def _rest(scale, block, case) -> tuple:
    """Return the run of a ``case``, and of all networks and layers W'W, W'Q^-1 W, F and
    P.
    """
    run = study.toys(scale, block, case)
    W, G, Q, P = run[["W", "G", "left", "metric"]].to_array().values
    return (
        run,
        W.mT @ W,
        W.mT @ np.linalg.solve(Q, W),
        -W.mT @ G / case.rule.decay,
        P,
    )


@claim(
    "feature_matrix.fact",
    statement="At rest under decoupled decay $W'Q^{-1}W = FP$ in every layer, for any depth",
    source="proved",
    uses=("thm-feature_matrix-fact",),
    control="P left out",
)
def fact(scale, broken, block):
    """A tanh network of depth 3, all of whose layers have a P and a Q, and a linear one of
    depth 4, whose first has a P; if the law holds, F is the left side times the inverse
    of P.
    """
    found = []
    for case in (study.TANH, study.LINEAR):
        run, _, M, F, P = _rest(scale, block, case)
        law = F if broken else F @ P
        found.append((gap(law, M), gap(M @ np.linalg.inv(P), M)))
    return _exact(run, found, REST)


@claim(
    "feature_matrix.left_factor",
    statement="At rest under decoupled decay it is $W'Q^{-1}W$ that the gradient fixes, not "
    "the feature matrix",
    source="proved",
    uses=("thm-feature_matrix-fact",),
    control="the left factor ignored, $W'W = FP$",
)
def left_factor(scale, broken, block):
    """The tanh network of `fact`."""
    run, plain, M, F, P = _rest(scale, block, study.TANH)
    shown = plain if broken else M
    return _exact(run, [(gap(F @ P, shown), gap(M, plain))], REST)


@claim(
    "feature_matrix.drops_out",
    statement="At rest under coupled decay $W'W = F$ in every layer, whatever P and Q",
    source="proved",
    uses=("thm-feature_matrix-coupled",),
    control="decoupled decay",
)
def drops_out(scale, broken, block):
    """The tanh network of `fact`, whose law the control obeys."""
    case = study.TANH if broken else study.COUPLED_TANH
    run, plain, M, F, P = _rest(scale, block, case)
    return _exact(run, [(gap(F, plain), gap(M @ np.linalg.inv(P), plain))], SLOW)


@claim(
    "feature_matrix.coupled",
    statement="Two linear layers with coupled decay end at the feature matrix "
    "$(J'J)^{1/2}$ of plain descent, whatever P",
    source="derived",
    uses=("thm-feature_matrix-coupled",),
    control="decoupled decay",
)
def coupled(scale, broken, block):
    """The convex programme without P against the end of training, for three powers; the
    control ends where the programme with P says.
    """

    def errors(W, X, Y, metric, decay, **_):
        plain, own = (
            theory.nuclear_fit(X, Y, P, decay).M for P in (np.eye(len(X)), metric)
        )
        return gap(W.T @ W, plain), gap(own, plain)

    run = study.toys(scale, block, study.TWO if broken else study.FORGETFUL)
    return _worst(run.isel(layer=0), errors, REST)


@claim(
    "feature_matrix.forgets",
    statement="Under the flow of a linear network with decoupled decay k the imbalance in "
    "the metric of P shrinks as $e^{-2kt}$",
    source="proved",
    uses=("thm-feature_matrix-forgets",),
    control="coupled decay",
)
def forgets(scale, broken, block):
    """All times and depths, relative to the start; the control follows its own law."""
    k = study.FLOW_DECAY

    def errors(first, second, metric, time, **_):
        gram = second.mT @ second
        plain = first @ first.mT - gram
        own = first @ np.linalg.inv(metric) @ first.mT - gram
        start = own[0]
        law = np.multiply.outer(np.exp(-2 * k * time), start)
        rival = theory.coupled_imbalance(start, plain, k, time)
        return [gap(found - law + start, start) for found in (own, rival)]

    run = study.flows(scale, block, Rule(1.0, k, coupled=broken))
    return _worst(run, errors, FLOW)


@claim(
    "feature_matrix.geometric_mean",
    statement="From a balanced start a linear network of depth L has throughout training "
    "$W'W = P \\#_{1/L} J'J$",
    source="proved",
    uses=("thm-feature_matrix-mean",),
    control="the mean with the identity: the exponent 1/L of the ansatz without P",
)
def geometric_mean(scale, broken, block):
    """Depths 2, 3 and 4 at all times; the control is off by what the law says."""

    def errors(first, J, metric, depth, **_):
        own, law = (
            [theory.geometric_mean(P, A, 1 / depth) for A in J]
            for P in (metric, np.eye(len(metric)) if broken else metric)
        )
        M = first.mT @ first
        return gap(law, M), gap(law, own)

    return _worst(study.flows(scale, block, balanced=True), errors, FLOW)


@claim(
    "feature_matrix.recursive",
    statement="Two linear layers with decoupled decay end at the minimum of the nuclear "
    "norm in the metric, and this is a fixed point of the recursive feature machine "
    "$M \\leftarrow P \\# J'J$",
    source="derived",
    uses=("thm-feature_matrix-three",),
    control="the recursive feature machine without P, $M \\leftarrow (J'J)^{1/2}$",
)
def recursive(scale, broken, block):
    """The function of network and programme, and the metric of the network after one
    step of the machine.
    """

    def errors(W, J, X, Y, metric, decay, **_):
        fit = theory.nuclear_fit(X, Y, metric, decay)
        P = np.eye(len(X)) if broken else metric

        def step(M):
            return gap(theory.recursive_step(X, Y, M, P, decay).M, M)

        return max(gap(J, fit.J), step(W.T @ W)), step(fit.M)

    return _worst(study.toys(scale, block).isel(layer=0), errors, REST)


@claim(
    "feature_matrix.average",
    statement="$k\\bar W - (W_0 - W_T)/(\\eta T) = -\\bar GP$ over any stretch of training: "
    "the exponent that it gives is exact long before rest",
    source="proved",
    uses=("thm-feature_matrix-average",),
    control="the averages alone, as if the weights were at rest",
)
def average(scale, broken, block):
    """The worst power and seed on the digits after a tenth of the steps to rest."""
    run = study.digits_runs(scale, block, study.READ[scale], steps=60)
    errors = abs((run.p_mean if broken else run.p_moved) - run.p)
    # by then weak directions have not left their isotropic start: p > 0 is read as 0, or
    # below it by as much as their gradient is smaller
    unseen = run.p.max()
    return _exact(run, [(errors, unseen)], EARLY, within=unseen / 2)


@claim(
    "feature_matrix.read_gradient",
    statement="The exponent of a ReLU network on the digits, at rest under decoupled decay, "
    "is read from averages of its weights and gradients",
    source="derived",
    uses=("def-feature_matrix-readers", "thm-feature_matrix-average"),
    control="coupled decay, which leaves the exponent 0 whatever P",
)
def read_gradient(scale, broken, block):
    """Powers of both signs; the control has negative ones, and has to read 0."""
    powers = study.POWERS[:2] if broken else study.READ[scale]
    rule = study.COUPLED if broken else study.RESTING
    run = study.digits_runs(scale, block, powers, rule)
    return agreement(
        run.p_mean - run.p,
        0.005,
        "the weights still move during the average; fixed beforehand",
        run.attrs,
        -run.p,
    )


@claim(
    "feature_matrix.read_balance",
    statement="The exponent of a ReLU network on the digits, trained by plain steps from a "
    "small start, is read from its weights alone",
    source="derived",
    uses=("def-feature_matrix-balance", "thm-feature_matrix-forgets"),
    control="PyTorch's usual size of the start, whose imbalance training keeps",
)
def read_balance(scale, broken, block):
    """Powers of both signs; the control has p = 1, and has to read what the kept imbalance
    says.
    """
    powers = study.POWERS[4:] if broken else study.READ[scale]
    start = study.USUAL if broken else study.SMALL
    run = study.digits_runs(scale, block, powers, study.PLAIN, start, 400)
    return agreement(
        run.p_balance - run.p,
        0.02,
        "squares of the start and the first order of the steps, fixed beforehand",
        run.attrs,
        run.p_law - run.p,
    )


@claim(
    "feature_matrix.scope",
    statement="The certificate $1-R^2$ of Adam and K-FAC is more than a decade above "
    "that of gradient descent and exact powers, from a small start",
    source="observed",
    uses=("def-feature_matrix-balance",),
    control="the exact powers from PyTorch's usual size of the start",
)
def scope(scale, broken, block):
    """Decades between each adaptive method and the worst exact power, less one, paired
    over seeds.
    """
    number = study.COMPARED[scale]
    start = study.USUAL if broken else study.SMALL
    others = study.zoos(scale, block, study.ADAPTIVE[:number]).misfit
    exact = study.zoos(scale, block, study.EXACT[:number], start)
    leads = np.log10(others / exact.misfit.max("optimizer")) - 1
    if not broken:
        return order(leads, exact.attrs)
    # without biases and optimizers, the same powers from this start leave a misfit alike
    alike = study.digits_runs(
        scale, block, study.EXACTLY[:number], study.PLAIN, start, 400
    ).misfit
    rival = np.log10(others / alike.mean("seed").max("p")) - 1
    return order(leads, exact.attrs, rival, np.log10(2))  # a factor two of the misfit
