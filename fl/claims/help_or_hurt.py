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
    C = study.teacher(run.d)
    exact = [_parts(run, study.preconditioner(name, run.d), C) for name in run.names]
    inflation = 1 + np.array(exact)[:, 1:]  # 1/(1-γ), from the variance
    return _agreement(
        run,
        broken,
        exact,
        exact / inflation,
        inflation / run.n,
        FINITE,
        relative=True,
    )


def _parts(run, P, C):
    """Return bias and variance of the equivalent at the sizes of ``run``."""
    modes = theory.preconditioned_modes(study.covariance(run.d), P, C)
    return theory.interpolator_risk(*modes, run.n)


def _agreement(run, broken, exact, other, bias, reason, relative=False):
    """Return the evidence that the means of ``run`` over its draws are ``exact``, or the
    ``other`` of the control, which a ``broken`` check takes for it; gaps may be in units
    of what is taken, ``relative``.
    """
    exact = shaped(exact, run, "draw")
    other = shaped(other, run, "draw")
    taken = other if broken else exact
    unit = taken if relative else 1.0
    return judging.agreement(
        (run - taken) / unit,
        bias,
        reason,
        run.attrs,
        (exact - taken) / unit,
        dim="draw",
    )


@claim(
    "help_or_hurt.natural_exact",
    statement="With P = Σ^-1 the interpolator of Gaussian inputs has the bias 1 - N/d, in "
    "units of the signal, and the variance N/(d-N-1)",
    source="proved",
    uses=("thm-help-natural",),
    control="the variance N/(d-N) of the limit of large sizes",
)
def natural_exact(scale, broken, block):
    """Deviation of the mean over training sets, worst of the two."""
    run = study.natural(scale, block)
    d = run.d
    n = run.n
    share = whitened_risk(n, d)
    variance = whitened_risk(n, d, 1.0) - share
    bias = share * np.trace(study.covariance(d) @ study.teacher(d))
    return _agreement(
        run,
        broken,
        [bias, variance],
        [bias, n / (d - n)],
        0.0,
        "none, the law is exact",
    )


@claim(
    "help_or_hurt.variance",
    statement="P = Σ^-1 interpolates with the least variance on every sample of heavy-"
    "tailed inputs, against 22 rivals",
    source="proved",
    uses=("thm-help-variance",),
    control="Σ estimated from 200 unlabelled inputs",
)
def variance(scale, broken, block):
    """Lead over the best rival, worst sample. With an estimate from m inputs it is, to
    first order in 1/m, minus a weighted mean of N chi-squares of d - N degrees of
    freedom, over m: between equal weights and a single one, with 99 % on either side.
    """
    leads = study.leads(scale, block, "variance", broken)
    n = leads.n
    free = leads.d - n
    many = chdtri(n * free, np.log(100) / leads.size) / n
    single = chdtri(free, 0.01 / leads.size)
    excess = np.array([many, single]) / study.UNLABELLED
    return _ahead(leads, -excess / (1 + excess))


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
    leads = study.leads(scale, block, "bias", broken)
    C = study.turned(leads.d, study.CONDITION)
    best, _ = _parts(leads, C, C)
    commuting, _ = _parts(leads, C * np.eye(leads.d), C)
    lead = best / commuting - 1
    return _ahead(leads, [lead / 2, lead * 1.5])


def _ahead(leads, ends):
    """Return the evidence that all ``leads`` are positive; the worst of a control lies
    between the two ``ends``.
    """
    return Evidence(
        0,
        leads.min(),
        1e-9,
        "rounding",
        relation="at least",
        sizes=leads.attrs,
        expected=np.mean(ends),
        within=np.ptp(ends) / 2,
    )


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
    n = run.n
    weight = theory.best_spectrum(np.zeros(run.d), n, run.noise)[0]
    taken = run.noise / n if broken else weight
    return judging.agreement(
        np.log(run / taken),
        1 / n + 1 / (run.d - n),
        "1/N + 1/(d-N), relative, for the finite size",
        run.attrs,
        np.log(weight / taken),
    )


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
    lam = np.diag(study.covariance(run.d))
    both = [
        theory.interpolator_risk(t, lam / lam.sum(), run.n)  # bias and variance
        for t in (lam**0, lam)
    ]
    bias, variance = np.subtract(*both)
    rest = np.outer(run.rest, [1, 1])  # of either kind
    noise = rest * [1, 0]  # the quadratic left out
    finite = sum((b + rest * v) * (1 + v) for b, v in both)  # 1 + v is 1/(1-γ)
    return _agreement(
        run,
        broken,
        bias + rest * variance,
        bias + noise * variance,
        finite / run.n,
        FINITE + ", of each risk",
    )


@claim(
    "help_or_hurt.early_stopping",
    statement="The risk of a preconditioned flow with fewer samples than inputs is the "
    "contour's sum of ridge regressions: p = -1/2, 0, 1/2, three times",
    source="derived",
    uses=("thm-help-stopping", "thm-help-sum"),
    control="ridge regression of the penalty 1/2τ in its place",
)
def early_stopping(scale, broken, block):
    """Relative deviation of the mean over training sets, worst exponent and time."""
    run = study.flows(scale, block)
    n = run.n
    noise = run.noise
    lam = np.diag(study.covariance(run.d))
    energy = 2 * lam**1.6
    flow = [
        flow_risk(lam ** (p + 1), energy, n, noise, run.times) for p in run.exponents
    ]
    ridge = [
        ridge_risk(lam, energy, p, n, 1 / (2 * time), noise).test - noise
        for p in run.exponents
        for time in run.times
    ]
    return _agreement(
        run,
        broken,
        flow,
        ridge,
        1 / n,
        "1/N, relative, for the finite size",
        relative=True,
    )
