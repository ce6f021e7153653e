"""The bench of an optimizer that somebody wrote in a script: ``fl meter SCRIPT.py:make``.

The script defines ``make(params)``, which returns a `torch.optim.Optimizer` for a list
with one parameter.
"""

import math
from collections.abc import Callable
from pathlib import Path
from runpy import run_path

from fl.meter_bench import Bench, bench


def load(target: str) -> Callable:
    """Return the function of a ``target`` of the form SCRIPT.py:make.

    Raises:
        ValueError: if there is no such file or function, or the script fails.
    """
    script, _, name = target.rpartition(":")
    path = Path(script)
    if not (path.suffix == ".py" and path.is_file() and name):
        raise ValueError(
            f"{target}: must be SCRIPT.py:make, a file that exists and a function"
        )
    try:
        make = run_path(script).get(name)
    except Exception as error:  # whatever a stranger's script does wrong
        raise ValueError(f"{script} fails: {type(error).__name__}: {error}") from error
    if not callable(make):
        raise ValueError(f"{script} has no function {name}")
    return make


def benches(target: str, seed: int = 0) -> dict[str, Bench]:
    """Return the bench of the optimizer of a ``target`` (see `load`) with a ``seed``: with
    the eigenvectors on the axes, and turned.

    Raises:
        ValueError: if the script cannot be used, or its optimizer not be benched.
    """
    make = load(target)
    try:
        return {
            basis: bench(make, rotated=basis == "rotated", seed=seed)
            for basis in ("axes", "rotated")
        }
    except ValueError:
        raise
    except Exception as error:  # make or step
        raise ValueError(f"{target} fails: {type(error).__name__}: {error}") from error


def records(target: str, found: dict[str, Bench]) -> list[dict]:
    """Return the benches ``found`` of a ``target`` as plain numbers, None for NaN."""
    names = ("left", "left_error", "right", "right_error", "kappa")
    rows = []
    for basis, b in found.items():
        plain = {k: v if math.isfinite(v := getattr(b, k)) else None for k in names}
        rows.append({"optimizer": target, "basis": basis} | plain)
    return rows
