"""When preconditioning helps or hurts: the claims."""

import numpy as np
from scipy.special import chdtri

from fl import judging
from fl.evidence import Evidence, claim
from fl.studies import help_or_hurt as study
from fl.theory import help_or_hurt as theory
from fl.theory.alignment_ridge import ridge_risk
from fl.theory.gram_linear import whitened_risk
from fl.theory.help_or_hurt_stopping import flow_risk

FINITE = "1/(N(1-γ)) relative: a sample more or less in the equivalent"


@claim(
    "help_or_hurt.ridgeless",
    statement="Bias and variance of the interpolator are those of the equivalent for "
    "three fixed preconditioners, one of which does not commute with the covariance",
    source="derived",
    uses=("thm-help-risk",),
    control="without the factor 1/(1-γ)",
)
def ridgeless(scale, broken, block):
    """Relative deviation of the mean over training sets, worst preconditioner and part."""
    run = study.ridgeless(scale, block)
    d, n = run.attrs["d"], run.attrs["n"]
    S, C = study.covariance(d), study.teacher(d)
    table = []
    for name in run.P.values:
        P = study.preconditioner(name, d)
        t, energy = theory.preconditioned_modes(S, P, C)
        table.append(theory.interpolator_risk(t, energy, n))
    predicted = _like(run, table)
    inflation = 1 + predicted.sel(part="variance", drop=True)  # 1/(1-γ)
    rival = None
    if broken:
        predicted = predicted / inflation
        rival = inflation - 1
    gaps = run / predicted - 1
    return judging.agreement(gaps, inflation / n, FINITE, run.attrs, rival, dim="draw")


@claim(
    "help_or_hurt.natural_exact",
    statement="With P = Σ^-1 the interpolator of Gaussian inputs has the bias 1 - N/d, in "
    "units of the signal, and the variance N/(d-N-1)",
    source="proved",
    uses=("thm-help-risk",),
    control="the variance N/(d-N) of the limit of large sizes",
)
def natural_exact(scale, broken, block):
    """Deviation of the mean over training sets, worst of the two."""
    run = study.natural(scale, block)
    d, n = run.attrs["d"], run.attrs["n"]
    S, C = study.covariance(d), study.teacher(d)
    share = whitened_risk(n, d)
    variance = whitened_risk(n, d, 1.0) - share
    bias = share * np.trace(S @ C)
    taken = exact = _like(run, [bias, variance])
    rival = None
    if broken:
        taken = _like(run, [bias, n / (d - n)])
        rival = exact - taken
    gaps = run - taken
    reason = "none, the law is exact"
    return judging.agreement(gaps, 0.0, reason, run.attrs, rival, dim="draw")


@claim(
    "help_or_hurt.variance",
    statement="P = Σ^-1 interpolates with the least variance on every sample of heavy-"
    "tailed inputs, against 22 rivals",
    source="proved",
    uses=("thm-help-optima",),
    control="Σ estimated from 200 unlabelled inputs",
)
def variance(scale, broken, block):
    """Lead over the best rival, worst sample. With an estimate from m inputs it is, to
    first order in 1/m, minus a weighted mean of N chi-squares of d - N degrees of
    freedom, over m: between equal weights and a single one, with 99 % on either side.
    """
    d, n = study.CONTEST["d"], study.CONTEST["n"]
    leads = study.leads(scale, block, "variance", broken)
    rival = {}
    if broken:
        many = chdtri(n * (d - n), np.log(100) / leads.size) / n
        single = chdtri(d - n, 0.01 / leads.size)
        ends = np.array([many, single])
        excess = ends / study.UNLABELLED
        low, high = -excess / (1 + excess)
        rival = {
            "expected": (low + high) / 2,
            "within": (low - high) / 2,
        }
    return _ahead(leads, rival)


@claim(
    "help_or_hurt.bias",
    statement="P = C, the teachers' second moment, interpolates noise-free labels with "
    "the least mean risk over teachers on every sample, against 22 rivals; C does not "
    "commute with the covariance",
    source="proved",
    uses=("thm-help-optima",),
    control="the best preconditioner that commutes with the covariance",
)
def bias(scale, broken, block):
    """Lead over the best rival, worst sample; that of the control may be half as much
    again, or half as little, as the equivalent says.
    """
    rival = {}
    if broken:
        d, n = study.CONTEST["d"], study.CONTEST["n"]
        S, C = study.covariance(d), study.turned(d, study.CONDITION)
        risks = []
        for P in (C, np.diag(np.diag(C))):
            modes = theory.preconditioned_modes(S, P, C)
            bias, _ = theory.interpolator_risk(*modes, n)
            risks.append(bias)
        lead = risks[0] / risks[1] - 1
        rival = {"expected": lead, "within": abs(lead) / 2}
    leads = study.leads(scale, block, "bias", broken)
    return _ahead(leads, rival)


def _ahead(leads, rival):
    measured = leads.min()
    bound = {"relation": "at least", "sizes": leads.attrs}
    return Evidence(0, measured, 1e-9, "rounding", **bound, **rival)


@claim(
    "help_or_hurt.best_interpolator",
    statement="The best interpolator with P = C + m Σ^-1 on drawn inputs has m = "
    "noise/(d-N), C commuting with Σ",
    source="derived",
    uses=("thm-help-between",),
    control="m = noise/N, the penalty of the best ridge regression",
)
def best_interpolator(scale, broken, block):
    """Logarithm of the best weight over that of the theory, mean over sets of inputs."""
    run = study.weights(scale, block)
    d, n, noise = [run.attrs[name] for name in ("d", "n", "noise")]
    weight, *_ = theory.best_spectrum(np.zeros(d), n, noise)
    taken, rival = weight, None
    if broken:
        taken = noise / n
        rival = _like(run, np.log(weight / taken), "seed")
    gaps = np.log(run / taken)
    finite = 1 / n + 1 / (d - n)
    reason = "1/N + 1/(d-N), relative, for the finite size"
    return judging.agreement(gaps, finite, reason, run.attrs, rival)


@claim(
    "help_or_hurt.crossing",
    statement="What the natural gradient loses against plain descent is as predicted, a "
    "loss below the crossing noise and a gain above it, for label noise and for a "
    "quadratic rest of the same variance",
    source="derived",
    uses=("thm-help-risk",),
    control="a quadratic rest is no noise",
)
def crossing(scale, broken, block):
    """Difference of the risks, worst rest."""
    run = study.duels(scale, block)
    d, n = run.attrs["d"], run.attrs["n"]
    lam = np.diag(study.covariance(d))
    energy = lam / lam.sum()
    noise = run.rest + _like(run, np.zeros((2, 2)))
    counted = noise.where(run.kind == "noise", 0.0) if broken else noise

    def risk(t, noise):
        bias, variance = theory.interpolator_risk(t, energy, n)
        total = bias + noise * variance
        finite = (1 + variance) / n  # 1 + variance is 1/(1-γ)
        return total, total * finite

    whole, natural = risk(lam**0, noise)
    other, plain = risk(lam, noise)
    rival, predicted = None, whole - other
    if broken:
        first, _ = risk(lam**0, counted)
        second, _ = risk(lam, counted)
        predicted = first - second
        rival = whole - other - predicted
    gaps, finite = run - predicted, natural + plain
    reason = FINITE + ", of each risk"
    return judging.agreement(gaps, finite, reason, run.attrs, rival, dim="draw")


@claim(
    "help_or_hurt.early_stopping",
    statement="The risk of a preconditioned flow with fewer samples than inputs is the "
    "contour's sum of ridge regressions: p = -1/2, 0, 1/2, three times",
    source="derived",
    uses=("thm-help-stopping",),
    control="ridge regression of the penalty 1/2τ in its place",
)
def early_stopping(scale, broken, block):
    """Relative deviation of the mean over training sets, worst exponent and time."""
    run = study.flows(scale, block)
    d, n, noise = [run.attrs[name] for name in ("d", "n", "noise")]
    lam = np.diag(study.covariance(d))
    energy, times = 2 * lam**1.6, run.time.values
    powers = run.p.values
    flow = [flow_risk(lam ** (p + 1), energy, n, noise, times) for p in powers]
    taken = predicted = _like(run, flow)
    rival = None
    if broken:

        def ridge(p, time):
            fit = ridge_risk(lam, energy, p, n, 1 / (2 * time), noise)
            return fit.test - noise

        taken = _like(run, [[ridge(p, time) for time in times] for p in powers])
        rival = predicted / taken - 1
    gaps = run / taken - 1
    reason = "1/N, relative, for the finite size"
    return judging.agreement(gaps, 1 / n, reason, run.attrs, rival, dim="draw")


def _like(run, values, dim="draw"):
    """Return ``values`` labelled as ``run``, less a dimension."""
    shape = run.isel({dim: 0}, drop=True)
    return shape.copy(data=np.asarray(values))
