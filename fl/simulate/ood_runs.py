"""The large runs behind the tables on out-of-distribution accuracy; see `fl.simulate.ood` for one run."""

import xarray as xr

from fl.simulate import ood
from fl.stored import stored
from fl.sweep import sweep

# label -> settings of `ood.run` that differ from the protocol's
VARIANTS = {
    "500 epochs": {"long": True},
    "eigenbasis": {"basis": "eigen"},
    "random basis": {"basis": "random"},
    "uncentred": {"centred": False},
    "no cue": {"cue": "none"},
    **{f"noise {s:g}": {"noise": s} for s in (0.05, 0.1, 0.2, 0.3)},
}
# label -> method and hyper-parameters that differ from the table's
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
SOME = ("exact -1", "GD", "Adam", "K-FAC 1e-6")  # enough for a quick look


@stored("ood")
def table(scale: str) -> xr.Dataset:
    """All methods on both data sets, ten seeds, trained to the same loss."""
    data, methods, seeds = {
        "smoke": (["digits"], SOME, 1),
        "book": (["digits"], ood.METHODS, 3),
        "paper": (list(ood.PROTOCOLS), ood.METHODS, 10),
    }[scale]
    return sweep(ood.run, {"data": data, "method": list(methods)}, range(seeds))


@stored("ood_variants")
def variants(scale: str) -> xr.Dataset:
    """All methods on the digits with one thing changed at a time: length, coordinates, centring, cue, noise level."""
    methods, seeds = {"smoke": (SOME, 1), "book": (SOME, 3), "paper": (ood.METHODS, 5)}[scale]
    parts = [sweep(ood.run, {"method": list(methods)}, range(seeds), **setting) for setting in VARIANTS.values()]
    return xr.concat(parts, xr.DataArray(list(VARIANTS), dims="variant", name="variant"))


@stored("ood_settings")
def settings(scale: str) -> xr.Dataset:
    """Other hyper-parameters on the digits."""
    names, seeds = (list(SETTINGS)[:1], 1) if scale == "smoke" else (list(SETTINGS), 5)
    return sweep(other, {"setting": names}, range(seeds))


def other(seed: int, setting: str) -> dict[str, float]:
    """Return `ood.run` on the digits with the hyper-parameters of `SETTINGS`."""
    method, hyper = SETTINGS[setting]
    return ood.run(seed, method, hyper=hyper)
