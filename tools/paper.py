"""Keep what the claims gave at the papers' sizes, for the page on reproducing.

    .venv/bin/fl verify gram --scale paper --json gram.json
    .venv/bin/fl verify gram.twins --scale paper --block 1 --json again.json
    .venv/bin/python tools/paper.py gram.json again.json ...

A claim may be asked on several blocks of seeds. The claims in the files replace the stored
ones; the others stay as they were.
"""

import json
import sys
from pathlib import Path

import xarray as xr

from fl import stored

WORDS = {
    "asked": ("number of blocks of seeds on which the claim was asked", "1"),
    "stood": ("number of them in which it held and its control failed", "1"),
    "sharpness": ("distance of the control from the prediction, in tolerances", "1"),
    "seconds": ("time of one core in all; shared runs count once", "s"),
}


def gathered(files: list[Path]) -> xr.Dataset:
    """Return the counts of the verdicts in ``files``, over the claims."""
    known: dict[str, list[dict]] = {}
    for file in files:
        for record in json.loads(file.read_text("utf-8")):
            if record["scale"] != "paper":
                raise SystemExit(f"{file}: the scale of {record['id']} must be paper")
            known.setdefault(record["id"], []).append(record)
    data = xr.Dataset(coords={"claim": list(known)})
    data["asked"] = "claim", [len(rs) for rs in known.values()]
    stood = [
        sum(r["holds"] and r["control_fails"] for r in rs) for rs in known.values()
    ]
    data["stood"] = "claim", stood
    data["sharpness"] = "claim", [min(map(_sharpness, rs)) for rs in known.values()]
    data["seconds"] = "claim", [sum(r["seconds"] for r in rs) for rs in known.values()]
    for name, (text, units) in WORDS.items():
        data[name].attrs = {"description": text, "units": units}
    return data


def _sharpness(record: dict) -> float:
    # JSON has no infinity
    given = record["sharpness"]
    return float("inf") if given is None else given


def main(files: list[str]) -> None:
    """Add the verdicts in ``files`` to the stored ones."""
    data = gathered([Path(f) for f in files])
    try:
        data = data.combine_first(stored.read("paper"))
    except FileNotFoundError:
        pass
    data.attrs = {"seeds": "block 0, where missed 1 to 10 too"}
    print(stored.write(data, "paper", "fl verify --scale paper"))


if __name__ == "__main__":
    main(sys.argv[1:])
