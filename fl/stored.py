"""Large runs that are made once by one command and kept in the repository.

``fl sweep NAME --scale paper`` makes a run and writes it to ``book/data`` as netCDF,
with its seeds, its scale and the versions that made it as attributes, and its sha256 in
``book/data/SHA256SUMS``. A chapter reads it with `read`, shows it, and computes its
beginning again.
"""

import hashlib
import os
import platform
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fl import validate
from fl.keys import version
from fl.store import aside

if TYPE_CHECKING:
    import xarray as xr

FOLDER = Path(__file__).resolve().parent.parent / "book" / "data"
VERSIONS = "fl numpy scipy torch numba pytorch-optimizer".split()
RUNS: dict[str, Callable[[str], "xr.Dataset"]] = {}


def stored(name: str) -> Callable:
    """Return a decorator that makes ``scale -> Dataset`` the stored run ``name``.

    The data set must have a ``seed`` coordinate.

    Raises:
        ValueError: if there is a run of that name.
    """

    def register(function: Callable) -> Callable:
        if name in RUNS:
            raise ValueError(f"stored run {name!r} exists already: must be a new name")
        RUNS[name] = function
        return function

    return register


def make(name: str, scale: str, folder: Path = FOLDER) -> Path:
    """Run ``name`` at ``scale`` and store it in ``folder``; return the file.

    Raises:
        ValueError: for an unknown name.
    """
    data = RUNS[validate.choice("name", name, sorted(RUNS))](scale)
    if "seed" not in data.coords:
        raise ValueError(
            f"the run {name!r} has no coordinate `seed`: a stored run must say which "
            "seeds made it"
        )
    data.attrs["seeds"] = ", ".join(str(int(s)) for s in data["seed"].values)
    return write(data, name, f"fl sweep {name} --scale {scale}", folder)


def write(data: "xr.Dataset", name: str, command: str, folder: Path = FOLDER) -> Path:
    """Store ``data`` as ``name`` in ``folder``, with the ``command`` and the versions that
    made it and its checksum; return the file.
    """
    data.attrs |= {
        "command": command,
        "versions": ", ".join(f"{p} {version(p)}" for p in VERSIONS),
        "machine": f"Python {platform.python_version()}, {platform.machine()}",
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.nc"
    # float32 holds three digits with room to spare and halves what every clone carries
    narrow = (k for k, v in data.data_vars.items() if _fits(v.values))
    encoding = dict.fromkeys(narrow, {"dtype": "float32"})
    with aside(path) as part:
        data.to_netcdf(part, engine="scipy", encoding=encoding)
    sums = _sums(folder) | {path.name: hashlib.sha256(path.read_bytes()).hexdigest()}
    (folder / "SHA256SUMS").write_text(
        "".join(f"{v}  {k}\n" for k, v in sorted(sums.items()))
    )
    return path


def check_target(path: Path) -> None:
    """Check, before any work, that `export` will be able to write ``path``.

    Raises:
        ValueError: for another suffix than .nc or .parquet, a folder that is not there or
            cannot be written, or a missing library.
    """
    validate.choice(f"suffix of {path}", path.suffix, [".nc", ".parquet"])
    folder = path.resolve().parent
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise ValueError(f"{path}: its folder must exist and be writable")
    if path.suffix == ".parquet" and find_spec("pyarrow") is None:
        raise ValueError(f"{path}: needs the library pyarrow, pip install '.[cluster]'")


def export(data: "xr.Dataset", path: Path) -> Path:
    """Write ``data`` as netCDF or Parquet, by the suffix of ``path``, in full precision,
    each variable with a description and a unit; return ``path``.

    What was not described says so: its unit is "unspecified". A Parquet file has one row
    for each cell of the grid, and the descriptions as metadata of its columns.

    Raises:
        ValueError: for what `check_target` refuses.
    """
    check_target(path)
    data = data.copy()
    for name, variable in data.variables.items():
        said = {"description": variable.attrs.get("long_name", name)}
        data[name].attrs = said | {"units": "unspecified"} | variable.attrs
    with aside(path) as part:
        if path.suffix == ".nc":
            data.to_netcdf(part, engine="scipy")
        else:
            _write_parquet(data, part)
    return path


def _write_parquet(data: "xr.Dataset", path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    rows = data.to_dataframe().reset_index()
    table = pyarrow.Table.from_pandas(rows, preserve_index=False)
    fields = []
    for column in table.schema:
        words = data[column.name].attrs if column.name in data.variables else {}
        texts = {key: str(word) for key, word in words.items()}
        fields.append(column.with_metadata(texts))
    parquet.write_table(table.cast(pyarrow.schema(fields)), path)


def _fits(values: np.ndarray) -> bool:
    """Return whether single precision holds real ``values`` without overflow or loss."""
    if values.dtype.kind != "f":
        return False
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    return np.allclose(narrow, values, rtol=1e-6, atol=0.0, equal_nan=True)


def read(name: str, folder: Path = FOLDER) -> "xr.Dataset":
    """Return the stored run ``name``, read from ``folder``.

    Raises:
        FileNotFoundError: if it has not been made.
        ValueError: if the file is not the one that was stored.
    """
    path = folder / f"{name}.nc"
    cure = f"make it with: fl sweep {name} --scale paper"
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; {cure}")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != _sums(folder).get(path.name):
        raise ValueError(
            f"{path} has sha256 {found}, which SHA256SUMS does not list: it is damaged "
            f"or edited; {cure}"
        )
    import xarray as xr  # half a second, and only a reader needs it

    return xr.load_dataset(path, engine="scipy")


def _sums(folder: Path) -> dict[str, str]:
    sums = folder / "SHA256SUMS"
    if not sums.is_file():
        return {}
    # either form of sha256sum: two spaces, or a space and a star
    pairs = (line.split(maxsplit=1) for line in sums.read_text("utf-8").splitlines())
    return {name.removeprefix("*"): digest for digest, name in filter(None, pairs)}
