"""When preconditioning helps or hurts: the claims."""

import numpy as np
from scipy.special import chdtri

from fl import judging
from fl.cells import shaped
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
    preconditioners = [study.preconditioner(name, d) for name in run.P.values]
    table = [_parts(S, P, C, n) for P in preconditioners]
    predicted = shaped(table, run, "draw")
    inflation = 1 + predicted.sel(part="variance", drop=True)  # 1/(1-γ)
    taken = predicted / inflation if broken else predicted
    rival = predicted / taken - 1
    gaps = run / taken - 1
    return judging.agreement(
        gaps,
        inflation / n,
        FINITE,
        run.attrs,
        rival,
        dim="draw",
    )


def _parts(S, P, C, n: int) -> tuple[float, float]:
    """Return bias, and variance per unit of noise, of the interpolator."""
    modes = theory.preconditioned_modes(S, P, C)
    return theory.interpolator_risk(*modes, n)


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
    exact = shaped([bias, variance], run, "draw")
    taken = shaped([bias, n / (d - n)], run, "draw") if broken else exact
    rival = exact - taken
    return judging.agreement(
        run - taken,
        0.0,
        "none, the law is exact",
        run.attrs,
        rival,
        dim="draw",
    )


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
        excess = np.array([many, single]) / study.UNLABELLED
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
        best, _ = _parts(S, C, C, n)
        commuting, _ = _parts(S, np.diag(np.diag(C)), C, n)
        lead = best / commuting - 1
        rival = {"expected": lead, "within": abs(lead) / 2}
    leads = study.leads(scale, block, "bias", broken)
    return _ahead(leads, rival)


def _ahead(leads, rival):
    bound = {"relation": "at least", "sizes": leads.attrs}
    return Evidence(0, leads.min(), 1e-9, "rounding", **bound, **rival)


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
    taken = noise / n if broken else weight
    rival = shaped(np.log(weight / taken), run)
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
    counted = run.rest.where(run.kind == "noise", 0.0) if broken else run.rest

    def risk(t, noise):
        bias, variance = theory.interpolator_risk(t, energy, n)
        total = bias + noise * variance
        finite = (1 + variance) / n  # 1 + variance is 1/(1-γ)
        return total, total * finite

    def loss(noise):
        whole, natural = risk(lam**0, noise)
        other, plain = risk(lam, noise)
        return whole - other, natural + plain

    predicted, finite = loss(run.rest)
    taken, _ = loss(counted)
    gaps, rival = run - taken, predicted - taken
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

    def ridge(p, time):
        fit = ridge_risk(lam, energy, p, n, 1 / (2 * time), noise)
        return fit.test - noise

    flow = [flow_risk(lam ** (p + 1), energy, n, noise, times) for p in powers]
    taken = predicted = shaped(flow, run, "draw")
    if broken:
        table = [[ridge(p, time) for time in times] for p in powers]
        taken = shaped(table, run, "draw")
    gaps, rival = run / taken - 1, predicted / taken - 1
    reason = "1/N, relative, for the finite size"
    return judging.agreement(gaps, 1 / n, reason, run.attrs, rival, dim="draw")
