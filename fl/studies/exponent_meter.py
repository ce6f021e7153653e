"""The meter and its bench at three sizes, and the stored run over published optimizers."""

from itertools import product

import numpy as np
import xarray as xr

from fl import scales
from fl.scales import Scale
from fl.simulate import exponent_meter as live
from fl.simulate import exponent_meter_bench as bench
from fl.simulate.exponent_meter import NETWORKS, Setting
from fl.stored import stored
from fl.sweep import sized

SEEDS = 1, 1, 12  # of runs on the digits, in which little is left to chance
POWERS, DAMPING, OWN = (-1.0, -0.5, 0.5, 1.0), 0.05, (-1.0, -0.5)
EXTRAS = ("momentum", "coupled", "decoupled")
MEMORY, SHAPE, RATIOS = 0.98, (20, 14), (8.0, 40.0)
ROWS, COLUMNS = (
    np.geomspace(1, 1 / ratio, n) for n, ratio in zip(SHAPE, RATIOS, strict=True)
)
SHORT = {"warm_up": 100, "windows": (8, 20), "ratios": RATIOS}
# methods of the bench with the powers of their sides
SIDES = {
    "SGD": (0.0, 0.0),
    "-1/4, -1/4": (-0.25, -0.25),
    "-1/2, -1/2": (-0.5, -0.5),
    "0, -1": (0.0, -1.0),
}
DERIVED, TURNED = ("Adam", *SIDES), "Adam, turned"
# a method that is right on its right side, and its faulty versions
FAULTS = {
    "-1/4, -1/4": ("-1/2, -1/2", "-1/3, -1/3"),
    "0, -1, damped": ("0, -1",),
    "one-sided": ("exchanged",),
}
TOLERANCE = 0.05


def powers(chosen=POWERS, networks=NETWORKS, **changes) -> dict[str, Setting]:
    """Return settings by label: the exponents ``chosen`` on some ``networks``, with
    ``changes`` of `fl.simulate.exponent_meter.Setting`.
    """
    sizes = {"window": 10, "steps": 20} | changes
    return {
        f"{network} {p:g}": Setting(network=network, p=p, **sizes)
        for network, p in product(networks, chosen)
    }


def readings(
    scale: Scale, block: int, settings: dict[str, Setting], seeds=SEEDS
) -> xr.Dataset:
    """Return what the meter reads in ``settings``, each with its exponent as coordinate
    ``p``, over a ``block`` of so many ``seeds`` at each ``scale``.
    """
    run = sized(live.read, scale, block, seeds, {"setting": settings})
    used = list(settings.values())
    run = run.assign_coords(p=("setting", [setting.p for setting in used]))
    return run.assign_attrs(batch=live.BATCH, steps=used[0].steps)


def own(
    scale: Scale, block: int = 0, window: int = 20, networks=NETWORKS
) -> xr.Dataset:
    """Return what is read of ``networks`` with running moments in windows of ``window``
    steps; ``scale`` and ``block`` as in `readings`.
    """
    settings = powers(OWN, networks, window=window, steps=40, shared=False)
    return readings(scale, block, settings)


def clouded(scale: Scale, block: int = 0) -> xr.DataArray:
    """Return what windows of one step should read of the same powers on the MLP, over the
    seeds of a ``scale`` and ``block``.
    """
    return sized(live.clouded, scale, block, SEEDS, {"p": list(OWN)})["slope"]


def windows(scale: Scale, lengths: list[int]) -> xr.Dataset:
    """Return what is read of the inverse of a running moment on the MLP in windows of some
    ``lengths``, at a ``scale``.
    """
    settings = {
        f"window {length}": Setting(p=-1.0, window=length, steps=40, shared=False)
        for length in lengths
    }
    return readings(scale, 0, settings, (1, 2, 12))


def corrections(scale: Scale, block: int = 0, corrected: bool = True) -> xr.Dataset:
    """Return what is read of gradient descent with momentum or a decay, ``corrected`` or
    not, on the MLP; ``scale`` and ``block`` as in `readings`.
    """
    settings = {extra: Setting(extra=extra, corrected=corrected) for extra in EXTRAS}
    return readings(scale, block, settings)


def uncorrected(scale: Scale, block: int = 0) -> xr.DataArray:
    """Return what another reader, which corrects nothing, reads of the same runs; ``scale``
    and ``block`` as in `readings`.
    """
    return sized(live.uncorrected, scale, block, SEEDS, {"extra": EXTRAS})["slope"]


def refused(scale: Scale, block: int = 0, faulty: bool = True) -> xr.DataArray:
    """Return ``wrong`` over kinds of layers that must not be read and a run that must not
    change, or of layers that may and another run if not ``faulty``; ``scale`` and
    ``block`` as in `readings`.
    """
    kinds = {"kind": [*live.SPOILED, live.SAME]}
    return sized(live.refusals, scale, block, SEEDS, kinds, faulty=faulty)["wrong"]


def benched(scale: Scale, block: int = 0, methods=DERIVED) -> xr.Dataset:
    """Return the bench of some ``methods`` of `fl.simulate.exponent_meter_bench`, over the
    seeds of a ``scale`` and ``block``.
    """
    grid = {"method": methods}
    run = sized(bench.benched, scale, block, (5, 5, 20), grid, shape=SHAPE, **SHORT)
    return run.assign_attrs(memory=MEMORY)


def verdicts(
    scale: Scale, targets: dict[str, float], block: int = 0, flat: bool = False
) -> xr.DataArray:
    """Return whether the assertion was right about a version of a method.

    Args:
        scale: ``smoke``, ``book`` or ``paper``.
        targets: the exponent of the right side, by the right version's name.
        block: of seeds.
        flat: gradients of one size in every direction.

    Returns:
        True where the right version passes and where a faulty one fails, over ``method``
        and ``seed``.
    """
    options = {"tol": TOLERANCE, "ratios": (1.0, 1.0) if flat else RATIOS}
    run = _versions(bench.asserted, "passed", scale, block, targets, **options)
    return run == run["method"].isin(list(FAULTS))


def plane(scale: Scale) -> xr.DataArray:
    """Return the exponents of all versions of `FAULTS` on the bench at a ``scale``."""
    return _versions(bench.benched, "exponent", scale)


def _versions(
    unit, name: str, scale: Scale, block: int = 0, targets=None, **options
) -> xr.DataArray:
    """Return ``name`` of what a unit of the bench says of all versions, right and faulty;
    those of the one-sided method on a square matrix.
    """
    parts = []
    for right, faulty in FAULTS.items():
        shape = (16, 16) if right == "one-sided" else SHAPE
        fixed = SHORT | options | {"shape": shape}
        if targets:
            fixed["right"] = targets[right]
        grid = {"method": [right, *faulty]}
        run = sized(unit, scale, block, (2, 3, 12), grid, **fixed)
        parts.append(run[name])
    return xr.concat(parts, "method")


@stored("exponent_meter")
def published(scale: Scale) -> xr.Dataset:
    """Return the bench of published optimizers with their defaults at a ``scale``, with the
    eigenvectors on the axes and turned.
    """
    names = list(bench.PUBLISHED)[:: scales.at(scale, smoke=8, book=2, paper=1)]
    grid = {"name": names, "rotated": [False, True]}
    run = sized(bench.published, scale, 0, (2, 2, 4), grid)
    words = {
        "exponent": "of the two sides",
        "error": "standard error within a run",
        "kappa": "cosine of the update and the fitted law",
    }
    for name, description in words.items():
        run[name].attrs = {"description": description, "units": "none"}
    return run
