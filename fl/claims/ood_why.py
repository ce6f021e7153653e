"""Claims of the chapter on out-of-distribution accuracy, second part: why the exponent
decides which cue is read.
"""

from functools import partial

from fl.evidence import Evidence, claim
from fl.studies import ood as study
from fl.theory.ood import linear_rule


@claim(
    "ood.rotation",
    statement="With the eigenvectors of Sigma as coordinates Adam reads the pattern "
    "more and the digit less; GD stays",
    source="observed",
    control="random coordinates",
)
def rotation(scale, broken, block):
    """The least by which Adam's changes of D, N and exponent, taken as claimed, exceed
    GD's changes of any sign.
    """
    number = study.CONTROL if broken else study.SEEDS
    basis = "random" if broken else "eigen"
    run = study.runs(scale, block, ["GD", "Adam"], number, basis=basis)
    usual = study.runs(scale, block, ["GD", "Adam"], number)
    change = (run - usual).mean("seed")
    adam = change.sel({"optimizer": "Adam"})
    margins = []
    for name, sign in {"digit": -1, "pattern": 1, "p_ratio": -1}.items():
        other = abs(change[name].sel({"optimizer": "GD"}))
        margins.append((sign * adam[name] - other).min())
    reason = (
        "an order needs no tolerance: "
        "the mean over seeds changes as claimed, and by more than GD's"
    )
    return Evidence(0, min(margins), 0, reason, None, "at least", run.attrs)


@claim(
    "ood.discriminant",
    statement="At p = -1 the networks read the pattern only, as the linear "
    "discriminant rule does, in every seed (patterns of the protocol's amplitude)",
    source="observed",
    control="the linear rule at p = 0: nearest class means, which read digits",
)
def discriminant(scale, broken, block):
    """The largest gap between rule and network among tests, data sets and seeds.

    Rule and network are at D = 0 and N = 1: this is about which cue, not about how far.
    """
    run = study.runs(scale, block, ["exact -1"])
    rule = partial(linear_rule, p=0.0 if broken else -1.0)
    gaps = []
    for data in run["data"].values:
        read = study.read_by(rule, data, run["seed"].values)
        found = run[["digit", "pattern"]].sel(data=data).to_array("test")
        gaps.append(abs(found - read).max())
    error = study.sampling_error()
    reason = "two sampling errors of an accuracy on the test images"
    return Evidence(0, max(gaps), 2 * error, reason, error, "at most", run.attrs)
