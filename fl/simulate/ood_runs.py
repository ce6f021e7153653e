"""The large runs behind the tables on out-of-distribution accuracy; see
`fl.simulate.ood` for one run.
"""

import xarray as xr

from fl.simulate import ood
from fl.stored import stored
from fl.sweep import sweep

SOME = (
    "exact -1",
    "exact +1",
    "GD",
    "Adam",
    "K-FAC 1e-6",
)  # the ends, the middle, and what lies between
# label -> settings of `ood.run` that differ from the protocol's, and the methods that
# run with them
VARIANTS = {
    "500 epochs": ({"long": True}, tuple(ood.METHODS)),
    "eigenbasis": ({"basis": "eigen"}, tuple(ood.METHODS)),
    "random basis": ({"basis": "random"}, tuple(ood.METHODS)),
    "uncentred": ({"centred": False}, SOME),
    "no cue": ({"cue": "none"}, SOME),
    **{f"noise {s:g}": ({"noise": s}, SOME) for s in (0.05, 0.1, 0.2, 0.3)},
}
# label -> optimizer and hyper-parameters that differ from the table's
SETTINGS = {
    "GD lr 0.3": ("GD", {"lr": 0.3}),
    "SAM rho 0.1": ("SAM", {"rho": 0.1}),
    "SAM rho 2": ("SAM", {"rho": 2.0}),
    "Adam lr 3e-4": ("Adam", {"lr": 3e-4}),
    "Adam lr 3e-3": ("Adam", {"lr": 3e-3}),
    "AdaHessian lr 0.03": ("AdaHessian", {"lr": 0.03}),
    "Sophia-H lr 1e-3, p 1": ("Sophia-H", {"lr": 1e-3, "p": 1.0}),
    "Muon lr 0.005": ("Muon", {"lr": 0.005}),
    "Muon lr 0.02": ("Muon", {"lr": 0.02}),
    "SOAP lr 3e-3": ("SOAP", {"lr": 3e-3}),
    "Shampoo lr 0.02": ("Shampoo", {"lr": 0.02}),
    "K-FAC 1e-6, clip 1e-5": ("K-FAC 1e-6", {"clip": 1e-5}),
    "K-FAC 1e-3, clip 1e-3": ("K-FAC 1e-3", {"clip": 1e-3}),
}


@stored("ood")
def table(scale: str) -> xr.Dataset:
    """All methods on both data sets, ten seeds, trained to the same loss."""
    data, methods, seeds = {
        "smoke": (["digits"], SOME, 1),
        "book": (["digits"], ood.METHODS, 3),
        "paper": (list(ood.PROTOCOLS), ood.METHODS, 10),
    }[scale]
    return sweep(ood.run, {"data": data, "optimizer": list(methods)}, range(seeds))


@stored("ood_variants")
def variants(scale: str) -> xr.Dataset:
    """One thing changed at a time on the digits: length, coordinates, centring, cue,
    noise level.

    Length and coordinates change for all methods, the rest for `SOME`; what did not run
    is NaN.
    """
    seeds = {"smoke": 1, "book": 3, "paper": 5}[scale]
    parts = [
        sweep(
            ood.run,
            {"optimizer": list(methods if scale == "paper" else SOME)},
            range(seeds),
            **setting,
        )
        for setting, methods in VARIANTS.values()
    ]
    labels = xr.DataArray(list(VARIANTS), dims="variant", name="variant")
    return xr.concat(parts, labels, join="outer").sel(
        optimizer=list(parts[0]["optimizer"].values)
    )


@stored("ood_settings")
def settings(scale: str) -> xr.Dataset:
    """Other hyper-parameters on the digits."""
    names, seeds = (list(SETTINGS)[:1], 1) if scale == "smoke" else (list(SETTINGS), 5)
    return sweep(other, {"setting": names}, range(seeds))


def other(seed: int, setting: str) -> dict[str, float]:
    """Return `ood.run` on the digits with the hyper-parameters of `SETTINGS`."""
    optimizer, hyper = SETTINGS[setting]
    return ood.run(seed, optimizer, hyper=hyper)
