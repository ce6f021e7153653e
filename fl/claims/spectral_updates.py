"""Updates that act on singular values: claims about single steps.

Multipliers are known up to a common factor: their logarithms are compared, less the mean
over the axes.
"""

from itertools import product

import numpy as np
import xarray as xr

from fl.cells import shaped
from fl.evidence import Evidence, claim
from fl.judging import agreement, order
from fl.studies import spectral_updates as study
from fl.theory import spectral_updates as theory

HALF = np.log(2) / 2  # of what lies between a guarantee and twice as much


@claim(
    "spectral_updates.guarantee",
    statement="A gradient and a spectral step decrease the loss by once to twice what "
    "they guarantee; so nuclear rank ≥ 2 × stable rank means that the spectral step "
    "does more, ≤ half of it that the gradient step does",
    source="proved",
    uses=("thm-spectral-sandwich",),
    control="the ranks compared without the factor two",
)
def guarantee(scale, broken, block):
    """Seek the layer that is worst in any of the inequalities, as logarithms."""
    sizes, gains, sure = _layers(scale, block)
    criterion = np.log(sure.nuclear / sure.stable)
    decided = abs(criterion) >= (0 if broken else 2 * HALF)
    behind = np.subtract(*np.log(gains)) * np.sign(criterion)
    # gains lie between 0 and log 2
    outside = abs(np.log(gains / sure[2:]) - HALF) - HALF
    return Evidence(
        0,
        max(outside.max(), behind[decided].max()),
        1e-9,
        "rounding; the logarithm by which the worst layer breaks an inequality",
        relation="at most",
        sizes=sizes | {"decided": decided.sum()},
        # without its factor a step falls behind, by less than the factor
        expected=HALF,
        within=HALF,
    )


@claim(
    "spectral_updates.line_search",
    statement="With exact line search a nuclear rank of twice the stable rank is not enough: "
    "in at least one of ten such random layers the gradient step does more",
    source="observed",
    uses=("thm-spectral-tuned",),
    control="steps of the sizes that the guarantees give, where the criterion decides",
)
def line_search(scale, broken, block):
    """The share of such layers, among twenty times as many as `guarantee` has."""
    sizes, gains, sure = _layers(scale, block, 20)
    if not broken:
        bound = np.array(sure[2:])
        gains = bound**2 / (2 * bound - gains)
    won = np.greater(*gains)[sure.nuclear >= 2 * sure.stable]
    return Evidence(
        0.1,
        won.mean(),
        0,
        "one of ten, half of what the first blocks of seeds gave",
        won.std() / won.size**0.5,
        "at least",
        sizes | {"decided": won.size},
        expected=0,
    )


def _layers(scale, block, times=1):
    """Return the sizes of the random layers, the gains of a gradient and a spectral step
    (2, layer), and what is sure of both.
    """
    run = study.layers(scale, block, times)
    norms = run[["whole", "largest", "nuclear", "size"]].to_array().values
    gains = run[["gradient", "spectral"]].to_array().values
    return run.attrs, gains, theory.guarantees(norms[:2], norms[2:])


@claim(
    "spectral_updates.digits",
    statement="On pixels and ReLU features of the digits the stable rank is below 2, the "
    "nuclear rank after 50 gradient steps above 2 × stable rank, and the loss beyond the "
    "least possible more than twice what 50 spectral steps leave; it is the mean of the "
    "features that makes it so",
    source="observed",
    uses=("thm-spectral-mean", "thm-spectral-sandwich"),
    control="the mean taken from the features",
)
def digits(scale, broken, block):
    """Three orders over choices of images and neurons, all steps of the sizes that the
    guarantees give; without the mean, ranks and losses are alike.
    """
    run = study.digits(scale, block, centred=broken, after=50)
    nuclear = (run.nuclear / run["size"]) ** 2
    stable = (run.whole / run.largest) ** 2

    def logs(*ratios):
        return np.log(xr.concat(ratios, "order") / 2)

    return order(
        logs(nuclear / stable, run.behind, 4 / stable),
        run.attrs,
        logs(nuclear / nuclear, nuclear / nuclear, 4 / nuclear),
        np.log(1.6),  # give or take a factor 1.6
    )


@claim(
    "spectral_updates.power",
    statement="The step with the q-th power of the singular values multiplies by "
    "λ^((q-1)/2) on noise and by λ^(q-1) on a signal of full rank, with a 1/h correction",
    source="derived",
    uses=("thm-spectral-powers",),
    control="one exponent, (q-1)/2, whatever the gradient is made of",
)
def power(scale, broken, block):
    """Both laws are Gaussian and differ in their moment alone."""
    return _judged(
        scale,
        broken,
        block,
        {"lam": [study.LAM, study.SQUARES], "roots": study.ONE_SIDED},
        lam=[study.LAM] * 2,
    )


@claim(
    "spectral_updates.factors",
    statement="Two-sided roots, L^-a G R^-b: of one and the same gradient they are the "
    "step with q = 1 - 2(a+b), of many gradients they have the exponent -b on noise",
    source="derived",
    uses=("thm-spectral-powers",),
    control="the rule for one gradient where the factors hold many, and the reverse",
)
def factors(scale, broken, block):
    """Four pairs of roots; on noise of a wide layer the two rules differ by a."""
    return _judged(
        scale,
        broken,
        block,
        {"roots": study.ROOTS, "others": [0, study.MANY]},
        others=[study.MANY, 0],
    )


@claim(
    "spectral_updates.rank_one",
    statement="With a signal of rank one in the noise the q-step is no power of the "
    "covariance: it multiplies direction k by (Γ^((q+1)/2))_kk / Γ_kk",
    source="derived",
    uses=("thm-spectral-spike",),
    control="each direction by the power (q-1)/2 of its own second moment",
)
def rank_one(scale, broken, block):
    """Eight directions, all of which the signal sees."""
    return _judged(
        scale,
        broken,
        block,
        {"roots": study.ONE_SIDED, "spike": 1.0},
        lam=[study.LAM + 1],
        spike=0.0,
    )


def _judged(scale, broken, block, grid, **rival):
    """Hold multipliers on a ``grid`` against theory at 1/h; in a control against what it
    says of the setting that a ``rival`` takes this for.
    """
    run = study.gains(scale, block, **grid)
    right = _law(run.gain, 1 / study.WIDTH, **grid)
    shown = _law(run.gain, 0, **grid | rival) if broken else right
    return agreement(
        _logs(run.gain) - shown,
        ((right - _law(run.gain, 0, **grid)) ** 2).max("axis"),
        "the square of the largest 1/h correction",
        run.attrs,
        right - shown,
    )


def _law(gain, epsilon, roots, lam=(study.LAM,), others=(0,), spike=0.0):
    """Return the `_logs` of theory's multipliers, labelled like ``gain``; the other
    arguments are those of `fl.studies.spectral_updates.gains`.
    """
    return _logs(
        shaped(
            [
                m**-b
                if many
                else theory.spiked_power(
                    m,
                    np.full_like(m, spike),
                    1 - 2 * (a + b),
                    epsilon,
                )
                for m, (a, b), many in product(lam, roots, others)
            ],
            gain,
        )
    )


def _logs(multipliers):
    """Return logarithms with the mean zero over the axes."""
    logs = np.log(multipliers)
    return logs - logs.mean("axis")
