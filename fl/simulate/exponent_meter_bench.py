"""Optimizers on the bench of `fl.meter_bench`: powers of both covariances, right and with
faults that are in use, and published optimizers as they are.
"""

from collections.abc import Callable

import torch
import xarray as xr

from fl import meter_bench, validate
from fl.optimizers import library

FLOOR = 1e-12


class TwoSided(torch.optim.Optimizer):
    r"""The update :math:`L^{\rm left}GR^{\rm right}` with moving averages L of
    :math:`GG^\top` and R of :math:`G^\top G`.

    Args:
        params: matrices to move.
        left: power of L.
        right: power of R.
        memory: of the averages, which are corrected for being short at the start.
        damping: added to both, in units of their mean eigenvalues.
        exchanged: the fault: L and R change places.
    """

    def __init__(self, params, left, right, memory=0.98, damping=0.0, exchanged=False):
        super().__init__(params, {"lr": 1e-6})
        self.powers, self.memory, self.damping = (left, right), memory, damping
        self.exchanged, self.age = exchanged, 0

    @torch.no_grad()
    def step(self) -> None:
        """Move every matrix by one step."""
        self.age += 1
        short = 1 - self.memory**self.age
        (group,) = self.param_groups
        for w in group["params"]:
            G, kept = w.grad, self.state[w]
            for side, M in (("L", G @ G.T), ("R", G.T @ G)):
                old = kept.get(side, torch.zeros_like(M))
                kept[side] = old.lerp(M, 1 - self.memory)
            sides = (kept["R"], kept["L"]) if self.exchanged else (kept["L"], kept["R"])
            left, right = (
                _root(M / short, p, self.damping)
                for M, p in zip(sides, self.powers, strict=True)
            )
            w.sub_(left @ G @ right, alpha=group["lr"])


def _root(M, p: float, damping: float) -> torch.Tensor:
    if p == 0:
        return torch.eye(len(M), dtype=M.dtype)
    values, vectors = torch.linalg.eigh(M)
    raised = values.clamp_min(FLOOR * values[-1]) + damping * values.mean()
    return (vectors * raised**p) @ vectors.T


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
TORCH = (
    *("SGD", "Adam", "AdamW", "NAdam", "RAdam", "Adamax", "Adagrad", "Adadelta"),
    *("RMSprop", "Rprop", "Adafactor", "Muon"),
)
LIBRARY = (
    *(
        "Shampoo",
        "ScalableShampoo",
        "SOAP",
        "Kron",
        "Lion",
        "CAME",
        "AdaBelief",
        "Adan",
    ),
    *("Lamb", "Yogi", "ADOPT", "SignSGD"),
)
PUBLISHED = {f"torch {n}": n for n in TORCH} | {
    f"pytorch-optimizer {n}": n for n in LIBRARY
}


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
    places = {"side": ["left", "right"], "row": found.mu, "column": found.lam}
    return xr.Dataset(_numbers(found) | vectors, places)


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
    return xr.Dataset(_numbers(found), {"side": ["left", "right"]})


def _numbers(found: meter_bench.Bench) -> dict:
    return {
        "exponent": ("side", [found.left, found.right]),
        "error": ("side", [found.left_error, found.right_error]),
        "kappa": found.kappa,
    }
