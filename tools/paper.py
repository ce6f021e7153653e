"""Keep what the claims gave at the papers' sizes, for the page on reproducing.

    .venv/bin/fl verify gram --scale paper --json gram.json
    .venv/bin/python tools/paper.py gram.json ...

Each file replaces the claims that it holds; the others stay as they were.
"""

import json
import sys
from pathlib import Path

import xarray as xr

from fl import stored

NUMBERS = {
    "margin": "distance of the measurement from the prediction, in tolerances",
    "sharpness": "distance of the control from the prediction, in tolerances",
    "stands": "whether the claim holds and its control fails as it must",
    "seconds": "time of one core; what an earlier claim of the topic made is not in it",
}
UNITS = {"seconds": "s"}


def gathered(files: list[Path]) -> xr.Dataset:
    """Return the numbers of the verdicts in ``files``, over the claims."""
    records = [r for file in files for r in json.loads(file.read_text())]
    for record in records:
        if record["scale"] != "paper":
            raise SystemExit(f"{record['id']}: its scale must be paper")
        record["stands"] = record["holds"] and record["control_fails"]
    data = xr.Dataset(coords={"claim": [r["id"] for r in records]})
    for name, words in NUMBERS.items():
        values = [float("inf") if r[name] is None else float(r[name]) for r in records]
        units = {"description": words, "units": UNITS.get(name, "1")}
        data[name] = "claim", values, units
    return data


def main(files: list[str]) -> None:
    """Add the verdicts in ``files`` to the stored ones."""
    data = gathered([Path(f) for f in files])
    try:
        data = data.combine_first(stored.read("paper"))
    except FileNotFoundError:
        pass
    data.attrs = {"seeds": "those of block 0"}
    print(stored.write(data, "paper", "fl verify --scale paper"))


if __name__ == "__main__":
    main(sys.argv[1:])
