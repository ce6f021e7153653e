"""Claims of the chapter on representation learning that compare tuned optimizers."""

from fl.evidence import Evidence, claim
from fl.simulate import representation_contest as contest

COMPACT = ("KFAC", "SGD", "momentum", "Adam", "Muon")


def compact_contest(scale: str):
    """Return the compact contest that the claims and the chapter share, and its tuning
    budget.
    """
    budget = {"smoke": (3, 2), "book": (6, 3), "paper": (18, 5)}[scale]
    seeds = range({"smoke": 3, "book": 5, "paper": 10}[scale])
    return contest.contest(["isotropic", "moderate"], COMPACT, seeds, *budget), budget


def _final(scale: str, condition: str) -> tuple[dict, dict]:
    data, (number, tuning) = compact_contest(scale)
    last = data["distance"].sel(condition=condition).isel(moment=-1).mean("seed")
    final = {o: float(last.sel(optimizer=o)) for o in COMPACT}
    sizes = {
        "dX": contest.DX,
        "dY": contest.DY,
        "k": contest.K,
        "n": contest.BATCH,
        "settings per optimizer": number,
    }
    first = contest.FIRST_TUNING_SEED
    seeds = {
        "tuning seeds": list(range(first, first + tuning)),
        "seeds": [int(s) for s in data["seed"].values],
    }
    return final, sizes | seeds | {"condition": condition} | final


@claim(
    "representation.head_to_head",
    statement="On the moderate problem (κ(S) = 30, κ(F*) = 3, 100 steps) tuned KFAC ends below half the distance of "
    "the best of SGD, momentum, Adam and Muon, and below an eighth of SGD's",
    source="observed",
    control="the isotropic problem",
)
def head_to_head(scale, broken, block=0):
    """Compare mean final distances; the smaller of (best other / 2) and (SGD / 8) in
    units of KFAC's.
    """
    final, sizes = _final(scale, "isotropic" if broken else "moderate")
    others = min(v for m, v in final.items() if m != "KFAC")
    margin = min(others / 2, final["SGD"] / 8) / final["KFAC"]
    return Evidence(
        1,
        margin,
        0,
        "an inequality with its margin in the factors",
        relation="at least",
        sizes=sizes,
    )


@claim(
    "representation.isotropic_tie",
    statement="On the isotropic problem with a well-conditioned head tuned SGD ends within 1.5 times KFAC's distance",
    source="observed",
    control="the moderate problem",
)
def isotropic_tie(scale, broken, block=0):
    """Compare mean final distances of SGD and KFAC."""
    final, sizes = _final(scale, "moderate" if broken else "isotropic")
    ratio = final["SGD"] / final["KFAC"]
    return Evidence(
        1.5,
        ratio,
        0,
        "an inequality with its margin in the factor",
        relation="at most",
        sizes=sizes,
    )
