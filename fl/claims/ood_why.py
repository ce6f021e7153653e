"""Claims of the chapter on out-of-distribution accuracy, second part: why the exponent
decides which cue is read.
"""

import numpy as np
import xarray as xr

from fl.claims.ood import CONTROL, SEEDS, runs, sampling_error, sets, sizes
from fl.evidence import Evidence, claim
from fl.simulate import ood
from fl.theory.ood import linear_rule

TESTS = ["digit", "noise"]


@claim(
    "ood.rotation",
    statement="With the eigenvectors of Sigma as coordinates Adam reads the pattern more and the digit less; GD stays",
    source="observed",
    control="random coordinates",
)
def rotation(scale, broken, block=0):
    """The least by which Adam's changes of D, N and exponent, taken as claimed, exceed
    GD's changes of any sign.
    """
    names, seeds = ["GD", "Adam"], CONTROL[scale] if broken else SEEDS[scale]
    turned = runs(scale, names, seeds, basis="random" if broken else "eigen")
    change = (turned - runs(scale, names, seeds).sel(data=["digits"])).mean("seed")
    moved = {
        k: s * change[k].sel({"optimizer": "Adam"})
        for k, s in [("digit", -1), ("noise", 1), ("p_ratio", -1)]
    }
    margin = min(
        float((v - abs(change[k].sel({"optimizer": "GD"}))).min())
        for k, v in moved.items()
    )
    reason = "an order needs no tolerance: the mean over seeds changes as claimed, and by more than GD's"
    return Evidence(0, margin, 0, reason, None, "at least", sizes(turned))


@claim(
    "ood.discriminant",
    statement="At p = -1 the networks have the accuracies D and N of the linear discriminant rule, in every seed",
    source="derived",
    control="the linear rule at p = 0",
)
def discriminant(scale, broken, block=0):
    """The largest difference between rule and network among tests, data sets and seeds."""
    data, p = runs(scale, ["exact -1"]), 0.0 if broken else -1.0
    gaps = [
        rule_accuracy(d, p, data["seed"].values) - data.sel(data=d)[TESTS]
        for d in sets(scale)
    ]
    worst = max(float(abs(gap[test]).max()) for gap in gaps for test in TESTS)
    reason = "two sampling errors of an accuracy on the test images"
    return Evidence(
        0, worst, 2 * sampling_error(), reason, sampling_error(), "at most", sizes(data)
    )


def rule_accuracy(data: str, p: float, seeds) -> xr.Dataset:
    """Return D and N of the linear rule on the training images of each seed, with the
    dimension seed.
    """
    found = []
    for d in (ood.draw(int(seed), data) for seed in seeds):
        # both tests show the same images, so they have as many rows
        said = linear_rule(
            d.X["train"],
            d.labels["train"],
            np.concatenate([d.X[test] for test in TESTS]),
            p,
        )
        found.append(
            [
                np.mean(s == d.labels[test])
                for s, test in zip(np.split(said, 2), TESTS, strict=True)
            ]
        )
    return xr.Dataset(
        {k: ("seed", v) for k, v in zip(TESTS, np.transpose(found), strict=True)},
        {"seed": list(seeds)},
    )
