"""Claims of the chapter on the feature matrix: rest, balance, and reading an exponent.

An identity is judged in the worst network by its relative error, against rounding or the
accuracy of the integrator. The control says what its rival predicts in the same networks.
"""

from types import SimpleNamespace

import numpy as np

from fl.evidence import Evidence, claim
from fl.judging import agreement, order
from fl.studies import feature_matrix as study
from fl.studies.feature_matrix import Rule
from fl.theory import feature_matrix as theory
from fl.theory.feature_matrix import relative_gap as gap

REST = "rounding, and what still moves after thousands of steps"
FLOW = "the integrator's tolerance of 1e-10 a step, over the whole flow"
AXES = ("case", "depth", "p", "seed")


def _worst(run, broken, errors, tolerance, reason) -> Evidence:
    """Hold the largest relative error of all networks of a run against zero.

    ``errors`` takes what is known of one network to the error of the claim, to that of
    its control, and to what the control's rival predicts for it.
    """
    flat = run.stack(cell=[axis for axis in AXES if axis in run.dims])
    flat = flat.reset_index("cell").reset_coords()
    each = [flat.isel(cell=i).variables for i in range(flat.sizes["cell"])]
    nets = [SimpleNamespace(**{k: v.values for k, v in net.items()}) for net in each]
    holds, fails, rival = np.max([errors(net) for net in nets], axis=0)
    rest = {"sizes": run.attrs, "expected": rival if broken else None, "within": 0.01}
    return Evidence(0, fails if broken else holds, tolerance, reason, **rest)


@claim(
    "feature_matrix.fact",
    statement="At rest under decoupled decay $W'W = FP$, for any depth",
    source="proved",
    control="P left out, the formula of plain descent",
)
def fact(scale, broken, block):
    """A tanh network of depth 3 and a linear one of depth 4; if the law holds, F is the
    feature matrix times the inverse of P.
    """

    def errors(net):
        M, F = net.W.T @ net.W, -net.W.T @ net.G / net.decay
        inverse = np.linalg.inv(net.metric)
        return gap(F @ net.metric, M), gap(F, M), gap(M @ inverse, M)

    return _worst(study.toys(scale, block, study.DEEP), broken, errors, 1e-8, REST)


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

    def errors(net):
        plain, own = (
            theory.nuclear_fit(net.X, net.Y, P, net.decay).M
            for P in (np.eye(len(net.X)), net.metric)
        )
        error = gap(net.W.T @ net.W, plain)
        return error, error, gap(own, plain)

    run = study.toys(scale, block, coupled=not broken)
    return _worst(run, broken, errors, 1e-8, REST)


@claim(
    "feature_matrix.forgets",
    statement="Under the flow of a linear network with decoupled decay k the imbalance in "
    "the metric of P shrinks as $e^{-2kt}$",
    source="proved",
    control="coupled decay",
)
def forgets(scale, broken, block):
    """All times and depths, relative to the start; the control follows its own law."""
    k = study.FLOW_DECAY

    def errors(net):
        gram = net.second.mT @ net.second
        own = net.first @ np.linalg.inv(net.metric) @ net.first.mT - gram
        plain = net.first @ net.first.mT - gram
        law = np.exp(-2 * k * net.time)[:, None, None]
        coupled = theory.coupled_imbalance(own[0], plain, k, net.time)
        error, rival = (gap(C - law * own[0] + own[0], own[0]) for C in (own, coupled))
        return error.max(), error.max(), rival.max()

    run = study.flows(scale, block, Rule(1.0, k, coupled=broken))
    return _worst(run, broken, errors, 1e-6, FLOW)


@claim(
    "feature_matrix.geometric_mean",
    statement="From a balanced start a linear network of depth L has throughout training "
    "$W'W = P \\#_{1/L} J'J$",
    source="proved",
    control="the mean with the identity: the exponent 1/L of the ansatz without P",
)
def geometric_mean(scale, broken, block):
    """Depths 2, 3 and 4 at all times; the control is off by what the law says."""

    def errors(net):
        law, plain = (
            np.stack([theory.geometric_mean(P, J, 1 / net.depth) for J in net.J])
            for P in (net.metric, np.eye(len(net.metric)))
        )
        M = net.first.mT @ net.first
        return gap(law, M).max(), gap(plain, M).max(), gap(plain, law).max()

    return _worst(study.flows(scale, block, balanced=True), broken, errors, 1e-6, FLOW)


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

    def errors(net):
        M, (J, own) = (
            net.W.T @ net.W,
            theory.nuclear_fit(net.X, net.Y, net.metric, net.decay),
        )

        def step(M, P):
            return gap(theory.recursive_step(net.X, net.Y, M, P, net.decay).M, M)

        one = np.eye(len(M))
        return max(gap(net.J, J), step(M, net.metric)), step(M, one), step(own, one)

    return _worst(study.toys(scale, block), broken, errors, 1e-8, REST)


@claim(
    "feature_matrix.average",
    statement="$k\\bar W - (W_0 - W_T)/(\\eta T) = -\\bar GP$ over any stretch of training: "
    "the exponent that it gives is exact long before rest",
    source="proved",
    control="the averages alone, as if the weights were at rest",
)
def average(scale, broken, block):
    """The worst power and seed on the digits after a tenth of the steps to rest."""
    run = study.digits_runs(scale, block, study.READ[scale], steps=60)
    found = run["p_mean" if broken else "p_moved"]
    reason = "rounding in directions of little gradient"
    return Evidence(0, abs(found - run["p"]).max(), 1e-6, reason, sizes=run.attrs)


@claim(
    "feature_matrix.read_gradient",
    statement="The exponent of a ReLU network on the digits, at rest under decoupled decay, "
    "is read from averages of its weights and gradients",
    source="derived",
    control="coupled decay, which leaves the exponent 0 whatever P",
)
def read_gradient(scale, broken, block):
    """Powers of both signs; the control has negative ones, and has to read 0."""
    powers = study.POWERS[:2] if broken else study.READ[scale]
    rule = study.COUPLED if broken else study.RESTING
    run = study.digits_runs(scale, block, powers, rule)
    rival = -run["p"] if broken else None
    reason = "the weights still move during the average; fixed beforehand"
    return agreement(run["p_mean"] - run["p"], 0.005, reason, run.attrs, rival)


@claim(
    "feature_matrix.read_balance",
    statement="The exponent of a ReLU network on the digits, trained by plain steps from a "
    "small start, is read from its weights alone",
    source="derived",
    control="PyTorch's usual size of the start, whose imbalance training keeps",
)
def read_balance(scale, broken, block):
    """Powers of both signs; the control has positive ones, and has to read what the kept
    imbalance says.
    """
    powers = study.POWERS[3:] if broken else study.READ[scale]
    start = study.USUAL if broken else study.SMALL
    run = study.digits_runs(scale, block, powers, study.PLAIN, start, 400)
    rival = run["p_law"] - run["p"] if broken else None
    reason = "squares of the start and the first order of the steps, fixed beforehand"
    return agreement(run["p_balance"] - run["p"], 0.02, reason, run.attrs, rival)


@claim(
    "feature_matrix.scope",
    statement="The certificate $1-R^2$ of Adam, K-FAC and Muon is more than a decade above "
    "that of gradient descent and exact powers, from a small start",
    source="observed",
    control="the exact powers from PyTorch's usual size of the start",
)
def scope(scale, broken, block):
    """Decades between each adaptive method and the worst exact power, less one, paired
    over seeds.
    """
    powers, adaptive = study.APART[scale]
    start = study.USUAL if broken else study.SMALL
    others = study.zoos(scale, block, adaptive)["misfit"]
    exact = study.zoos(scale, block, powers, start)
    worst = exact["misfit"].max("optimizer")
    return order(np.log10(others / worst) - 1, exact.attrs)
