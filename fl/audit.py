"""The audit: every claim and its control asked again on fresh blocks of seeds.

A claim is *sound* if it holds in at least 95 % of the blocks and its control fails in at
least 95 % of them. Block 0, the book's own, is never among them. A true claim fails by chance
in one block of a hundred, so one that is not sound is asked on four times as many blocks, and
these decide. ``fl audit --keep`` stores
the audit of the book; the scoreboard shows it, and says which claims have changed since.
"""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fl import scales, stored, validate
from fl.closure import closure, read
from fl.evidence import Claim, verify_all
from fl.stored import FOLDER

if TYPE_CHECKING:
    import xarray as xr

SHARE = 0.95  # of the blocks
AGAIN = 4  # times as many for a claim that is not sound
# how a result is kept is not what it is
_KEEPING = (
    "closure digests entries freshness keys reads store stored sweep registry".split()
)
_DESCRIPTIONS = {
    "holds": "whether the claim holds",
    "control_fails": "whether its control fails as it must",
    "margin": "distance of the measurement from the prediction, in tolerances (for a bound "
    "on the wrong side, negative on the right one)",
    "sharpness": "distance of the control from the prediction, in tolerances",
}


def audit(
    claims: Iterable[Claim],
    scale: scales.Scale = "book",
    blocks: int | None = None,
    jobs: int | None = None,
    tell: Callable | None = None,
) -> "xr.Dataset":
    """Evaluate claims and their controls on fresh blocks of seeds, stored as they finish.

    Args:
        claims: which.
        scale: ``smoke``, ``book`` or ``paper``.
        blocks: how many, from block 1 on; 20, 10 and 3 at the three scales if None. A
            claim that is not sound is asked on `AGAIN` times as many.
        jobs: worker processes; ``FL_JOBS`` or the number of cores if None.
        tell: called as ``tell(verdict)`` whenever one has been evaluated.

    Returns:
        ``holds``, ``control_fails``, ``margin`` and ``sharpness``, each (claim, block), NaN
        where a claim was not asked, and ``source`` (claim,), a digest of the code that the
        claim rests on.

    Raises:
        ValueError: for an unknown scale or less than one block.
    """
    usual = scales.at(scale, smoke=20, book=10, paper=3)
    number = validate.count("blocks", usual if blocks is None else blocks)
    claims = list(claims)
    data = _asked(claims, scale, range(1, number + 1), jobs, tell)
    missed = [c for c, fine in zip(claims, sound(data).values, strict=True) if not fine]
    if missed:
        rest = range(number + 1, AGAIN * number + 1)
        data = data.combine_first(_asked(missed, scale, rest, jobs, tell))
        data = data.sel(claim=[c.id for c in claims])
    words = {"description": "digest of the code that was audited"}
    data["source"] = "claim", list(map(digest, claims)), words
    return data.assign_attrs(scale=scale)


def _asked(claims: list[Claim], scale: str, blocks: range, jobs, tell) -> "xr.Dataset":
    """Return what is described in `_DESCRIPTIONS` for ``claims`` on ``blocks``."""
    import xarray as xr

    found = verify_all(claims, scale, jobs, blocks, tell)
    ids = [c.id for c in claims]
    data = xr.Dataset(coords={"claim": ids, "block": list(blocks)})
    for name, words in _DESCRIPTIONS.items():
        values = np.array([getattr(v, name) for v in found], float)
        labels = {"description": words, "units": "1"}
        table = values.reshape(len(ids), len(blocks))
        data[name] = ("claim", "block"), table, labels
    return data


def digest(claim: Claim) -> str:
    """Return a digest of all code of `fl` that ``claim`` rests on, apart from how results
    are kept.
    """
    plain = getattr(claim.function, "func", claim.function)  # of a partial
    whole = hashlib.sha256()
    for module, path in closure([plain.__module__]).modules.items():
        if module.rpartition(".")[2] not in _KEEPING:
            source = read(path, module)
            whole.update(f"{module} {source.digest}\n".encode())
    return whole.hexdigest()[:16]


def sound(data: "xr.Dataset") -> "xr.DataArray":
    """Return which claims of an audit, ``data``, are sound, (claim,)."""
    shares = data[["holds", "control_fails"]].mean("block")
    return (shares.holds >= SHARE) & (shares.control_fails >= SHARE)


def summaries(data: "xr.Dataset") -> dict[str, dict]:
    """Return for each claim of an audit, ``data``, its counts, its median and worst margin,
    its least sharpness, whether it is sound, and the digest of its code.
    """
    columns = {
        "blocks": data.holds.count("block"),
        "held": data.holds.sum("block").astype(int),
        "control_failed": data.control_fails.sum("block").astype(int),
        "median_margin": data.margin.median("block"),
        "worst_margin": data.margin.max("block"),
        "least_sharpness": data.sharpness.min("block"),
        "stood": (data.holds * data.control_fails).sum("block").astype(int),
        "sound": sound(data),
        "source": data.source.astype(str),
    }
    return type(data)(columns).to_dataframe().to_dict("index")


def known(folder: Path = FOLDER) -> dict[str, dict]:
    """Return the `summaries` of the audit stored in ``folder``; none where there is none."""
    try:
        return summaries(stored.read("audit", folder))
    except FileNotFoundError:
        return {}


def words(summary: dict | None, claim: Claim) -> str:
    """Return what the scoreboard says of a ``claim`` with one of the `summaries` as its
    ``summary``: the counts, margins and sharpness, and whether its code has changed since.
    """
    if summary is None:
        return "not audited"
    n = summary["blocks"]
    text = (
        f"held {summary['held']}/{n}, control failed {summary['control_failed']}/{n}, "
        f"margin {summary['median_margin']:.2g}, at worst {summary['worst_margin']:.2g}, "
        f"sharpness at least {summary['least_sharpness']:.2g}"
    )
    return text if summary["source"] == digest(claim) else f"{text} (before an edit)"
