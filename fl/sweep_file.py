"""A grid in a file: ``fl sweep grid.toml`` for a function of one's own.

function = "mine.py:unit"     # or "module:unit"
seeds = 10                    # or a list of them
[axes]
p = [-1, 0, 1]
[fixed]                       # the same for every unit
n = 100
[variables]                   # for the file of results: description, units
risk = ["test error without label noise", "1"]
"""

import importlib
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fl import validate
from fl.sweep import sweep

if TYPE_CHECKING:
    import xarray as xr

KEYS = ("function", "seeds", "axes", "fixed", "variables")


def read(path: Path) -> dict:
    """Return the grid in the file ``path``, its function loaded.

    Raises:
        ValueError: for a file that is no such grid, or a function that is not there.
    """
    try:
        grid = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{path}: must be a TOML file: {error}") from None
    for key in grid:
        validate.choice(f"key of {path}", key, KEYS)
    for key in KEYS[2:]:
        if not isinstance(grid.setdefault(key, {}), dict):
            raise ValueError(f"{key} = {grid[key]!r} of {path}: must be a table")
    seeds = grid.setdefault("seeds", 1)
    if not isinstance(seeds, list):
        grid["seeds"] = list(range(validate.count("seeds", seeds)))
    grid["function"] = load(str(grid.get("function", "")), path.resolve().parent)
    return grid


def load(target: str, folder: Path) -> Callable:
    """Return the function of a ``target`` FILE.py:name, seen from ``folder``, or
    module:name.

    Raises:
        ValueError: if it is not there, or its module fails.
    """
    place, _, name = target.rpartition(":")
    file = folder / place
    if place.endswith(".py") and file.is_file():
        sys.path.insert(0, str(file.parent))
        place = file.stem
    try:
        found = getattr(importlib.import_module(place), name, None)
    except Exception as error:  # whatever a stranger's module does wrong
        raise ValueError(
            f"function = {target!r}: {type(error).__name__}: {error}"
        ) from error
    if not callable(found):
        raise ValueError(
            f"function = {target!r}: must be FILE.py:name or module:name of a function"
        )
    return found


def run(grid: dict) -> "xr.Dataset":
    """Return the sweep over a ``grid`` of `read`, its variables described.

    Raises:
        ValueError: for what `sweep` refuses, or a description of what is not there.
    """
    data = sweep(grid["function"], grid["axes"], grid["seeds"], **grid["fixed"])
    for name, said in grid["variables"].items():
        description, units = said if isinstance(said, list) else (said, "1")
        validate.choice("variable", name, list(data.variables))
        data[name].attrs |= {"description": description, "units": units}
    return data
