"""Optimizers on the bench of `fl.meter_bench`: powers of both covariances, right and with
faults that are in use, and published optimizers as they are.
"""

from collections.abc import Callable

import torch
import xarray as xr

from fl import meter_bench, validate
from fl.instruments.two_sided import TwoSided
from fl.optimizers import library


def _powers(left: float, right: float, **options) -> Callable:
    return lambda params: TwoSided(params, left, right, **options)


QUARTER = -1 / 4


def _adam(params) -> torch.optim.Optimizer:
    return torch.optim.Adam(params, lr=1e-6, betas=(0.0, 0.999))


ON_AXES = "Adam"  # all others are benched with turned bases
# name -> what makes it
METHODS: dict[str, Callable] = {
    "SGD": lambda params: torch.optim.SGD(params, lr=1e-6),
    ON_AXES: _adam,
    "Adam, turned": _adam,
    "-1/4, -1/4": _powers(QUARTER, QUARTER),
    "-1/3, -1/3": _powers(-1 / 3, -1 / 3),
    "-1/2, -1/2": _powers(-1 / 2, -1 / 2),
    "0, -1": _powers(0.0, -1.0),
    "0, -1, damped": _powers(0.0, -1.0, damping=1.0),
    "exchanged": _powers(0.0, QUARTER, exchanged=True),
    "one-sided": _powers(0.0, QUARTER),
}
_NAMES = {
    "torch": "SGD Adam AdamW NAdam RAdam Adamax Adagrad Adadelta "
    "RMSprop Rprop Adafactor Muon",
    "pytorch-optimizer": "Shampoo ScalableShampoo SOAP Kron Lion CAME AdaBelief Adan "
    "Lamb Yogi ADOPT SignSGD",
}
PUBLISHED = {f"{of} {n}": n for of, names in _NAMES.items() for n in names.split()}


def benched(seed: int, method: str, **options) -> xr.Dataset:
    """Return the bench of one of `METHODS`.

    Args:
        seed: of gradients and bases.
        method: its name.
        options: of `fl.meter_bench.bench`.

    Returns:
        ``exponent`` and ``error`` (side,), the ``gain`` (row, column) and the
        eigenvectors ``rows`` and ``columns``.

    Raises:
        ValueError: for an unknown method.
    """
    make = METHODS[validate.choice("method", method, METHODS)]
    found = meter_bench.bench(make, rotated=method != ON_AXES, seed=seed, **options)
    vectors = {
        "rows": (("axis_row", "row"), found.rows),
        "columns": (("axis_column", "column"), found.columns),
        "gain": (("row", "column"), found.gain),
    }
    places = {"row": found.mu, "column": found.lam}
    return xr.Dataset(_numbers(found) | vectors | places)


def asserted(seed: int, method: str, right: float, **options) -> dict[str, float]:
    """Return 1 as ``passed`` if one of `METHODS` passes the assertion of an exponent.

    Args:
        seed: of gradients and bases.
        method: its name.
        right: the exponent of the right side.
        options: of `fl.meter_bench.assert_exponent`.

    Raises:
        ValueError: for an unknown method.
    """
    make = METHODS[validate.choice("method", method, METHODS)]
    try:
        meter_bench.assert_exponent(make, right=right, seed=seed, **options)
    except AssertionError:
        return {"passed": 0.0}
    return {"passed": 1.0}


def published(seed: int, name: str, rotated: bool = True) -> xr.Dataset:
    """Return ``exponent`` and ``error`` (side,) and ``kappa`` of one of `PUBLISHED` with its
    defaults.

    ``seed`` and ``rotated`` are as in `benched`; ``name`` is its name. Methods that draw
    random numbers draw them from the seed.

    Raises:
        ValueError: for an unknown name.
    """
    short = PUBLISHED[validate.choice("name", name, PUBLISHED)]
    make = getattr(torch.optim, short) if name.startswith("torch") else library(short)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        found = meter_bench.bench(make, rotated=rotated, seed=seed)
    return xr.Dataset(_numbers(found))


def _numbers(found: meter_bench.Bench) -> dict:
    return {
        "exponent": ("side", [found.left, found.right]),
        "error": ("side", [found.left_error, found.right_error]),
        "kappa": found.kappa,
        "side": ["left", "right"],
    }
