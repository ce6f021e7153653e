"""Claims of the chapter on representation learning that compare tuned optimizers."""

from fl.evidence import Evidence, claim
from fl.studies import representation_contest as study


def _final(scale, condition: str, block) -> tuple[dict, dict]:
    """Return the mean final distance of every optimizer, and the sizes."""
    data = study.compact_contest(scale, block)
    last = data.distance.sel(condition=condition).isel(progress=-1).mean("seed")
    final = dict(zip(data.optimizer.values, last.values, strict=True))
    return final, data.attrs | {"condition": condition} | final


@claim(
    "representation.head_to_head",
    statement="On the moderate problem (κ(S) = 30, κ(F*) = 3, 100 steps) tuned KFAC "
    "ends below half the distance of the best of SGD, momentum, Adam and Muon, and "
    "below an eighth of SGD's",
    source="observed",
    control="the isotropic problem",
)
def head_to_head(scale, broken, block):
    """Compare mean final distances; the smaller of (best other / 2) and (SGD / 8) in
    units of KFAC's.
    """
    final, sizes = _final(scale, "isotropic" if broken else "moderate", block)
    best = min(last for name, last in final.items() if name != "KFAC")
    margin = min(best / 2, final["SGD"] / 8) / final["KFAC"]
    reason = "an inequality with its margin in the factors"
    return Evidence(1, margin, 0, reason, relation="at least", sizes=sizes)


@claim(
    "representation.isotropic_tie",
    statement="On the isotropic problem with a well-conditioned head tuned SGD ends "
    "within 1.5 times KFAC's distance",
    source="observed",
    control="the moderate problem",
)
def isotropic_tie(scale, broken, block):
    """Compare mean final distances of SGD and KFAC."""
    final, sizes = _final(scale, "moderate" if broken else "isotropic", block)
    ratio = final["SGD"] / final["KFAC"]
    reason = "an inequality with its margin in the factor"
    return Evidence(1.5, ratio, 0, reason, relation="at most", sizes=sizes)
