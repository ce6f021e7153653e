"""Sweeps: a function over a grid of settings and seeds, cached unit by unit, parallel,
resumable.

Every finished unit is stored at once under a key made of the whole source of `fl`, the
versions of the numerical libraries, the function and its arguments. A killed run
therefore loses only the units in flight, a changed package never reads an old number,
and two processes may share one folder. The folder is ``.fl-cache`` beside the package,
or ``FL_CACHE``; ``FL_JOBS`` sets the number of worker processes (default: all cores).

Any joblib backend serves: wrap the call in ``joblib.parallel_config(backend="dask")``
for a cluster.
"""

import hashlib
import importlib.metadata
import inspect
import io
import itertools
import multiprocessing
import numbers
import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

import joblib
import numpy as np
import platformdirs
import xarray as xr
from tqdm import tqdm

from fl import validate

_PACKAGE = Path(__file__).resolve().parent
_MISSING, _DAMAGED = object(), object()


def sweep(
    function: Callable,
    grid: Mapping[str, Sequence] | None = None,
    seeds: Iterable[int] = (0,),
    jobs: int | None = None,
    **fixed,
) -> xr.Dataset:
    """Evaluate ``function(seed=..., **setting, **fixed)`` on a grid and return one
    labelled data set.

    Args:
        function: returns a mapping of names to scalars or ``(dims, array)`` pairs, or
            an `xarray.Dataset`; the same names, dimensions and coordinates for every
            unit.
        grid: a list of values (numbers, strings, booleans) per keyword argument; each
            becomes a dimension.
        seeds: whole numbers >= 0; the last of the grid's dimensions, ``seed``.
        jobs: worker processes; ``FL_JOBS`` or the number of cores if None.
        fixed: further keyword arguments, the same for every unit.

    Returns:
        The variables of the units with the dimensions of the grid, then ``seed``, in
        front.

    Raises:
        ValueError: for an empty axis, a bad seed, or units that do not fit together.
    """
    axes = {name: list(values) for name, values in (grid or {}).items()}
    for name in ({"seed"} & (axes.keys() | fixed)) | (axes.keys() & fixed):
        raise ValueError(
            f"{name} is given twice: an axis of the grid, `seeds` and fixed arguments must differ in name"
        )
    axes["seed"] = [validate.count("seeds entry", seed, minimum=0) for seed in seeds]
    for name, values in axes.items():
        _check_axis("seeds" if name == "seed" else name, values)
    units = [
        dict(zip(axes, point, strict=True)) | fixed
        for point in itertools.product(*axes.values())
    ]
    results = [
        r if isinstance(r, xr.Dataset) else xr.Dataset(r)
        for r in evaluate(function, units, jobs)
    ]
    first = results[0]
    for unit, result in zip(units, results, strict=True):
        if (found := _form(result)) != (wanted := _form(first)):
            raise ValueError(
                f"{function.__name__} returned {found} at {unit}: must be {wanted}, as at {units[0]}"
            )
        for name in first.coords:
            if not result.coords[name].equals(first.coords[name]):
                raise ValueError(
                    f"{function.__name__} returned another coordinate {name} at {unit} than at {units[0]}"
                )
    for name in axes.keys() & first.sizes.keys():
        raise ValueError(
            f"{function.__name__} returned a dimension {name}: must differ from the axes of the sweep"
        )
    shape = tuple(len(values) for values in axes.values())
    variables = {
        name: (
            (*axes, *first[name].dims),
            np.stack([r[name].values for r in results]).reshape(
                shape + first[name].shape
            ),
        )
        for name in first.data_vars
    }
    return xr.Dataset(variables, coords={**first.coords, **axes})


def evaluate(
    function: Callable, units: Sequence[Mapping], jobs: int | None = None
) -> list:
    """Return ``function(**unit)`` for every unit, from the store where it is there,
    else computed and stored.
    """
    jobs = validate.count("jobs", _default_jobs() if jobs is None else jobs)
    paths = [_path(function, unit) for unit in units]
    results = [_load(path) for path in paths]
    for path, result in zip(paths, results, strict=True):
        if result is _DAMAGED:
            tqdm.write(
                f"results cache: {path.parent.name}/{path.name} is damaged and is computed again"
            )
    missing = [
        i
        for i, result in enumerate(results)
        if result is _MISSING or result is _DAMAGED
    ]
    if not missing:
        return results
    # each process takes the units in an order of its own: two that need the same ones
    # share the work
    random.Random(os.getpid()).shuffle(missing)
    tasks = [(i, function, units[i], paths[i]) for i in missing]
    if jobs == 1 or len(missing) == 1:
        computed = itertools.starmap(_compute, tasks)
    else:
        pool = joblib.Parallel(
            n_jobs=min(jobs, len(missing)), return_as="generator_unordered"
        )
        computed = pool(joblib.delayed(_compute)(*task) for task in tasks)
    # disable=None: a bar in a terminal, silence in a notebook or a pipe; a single unit
    # needs no bar
    for i, result in tqdm(
        computed,
        function.__name__,
        len(missing),
        leave=False,
        disable=len(missing) == 1 or None,
    ):
        results[i] = result
    return results


def cached(function: Callable, **arguments):
    """Return ``function(**arguments)`` through the store."""
    return evaluate(function, [arguments], jobs=1)[0]


@cache
def source_hash() -> str:
    """Return a hash of the source of `fl`, the interpreter and the versions of the
    numerical libraries.
    """
    digest = hashlib.sha256(sys.version.split()[0].encode())
    for name in [
        "numpy",
        "scipy",
        "torch",
        "numba",
        "scikit-learn",
        "xarray",
        "pytorch-optimizer",
    ]:
        digest.update(f"{name}=={version(name)}".encode())
    for path in sorted(_PACKAGE.rglob("*.py")):
        digest.update(
            path.relative_to(_PACKAGE).as_posix().encode() + b"\0" + path.read_bytes()
        )
    return digest.hexdigest()[:16]


def version(package: str) -> str:
    """Return the version of an installed package, or "absent": the optimizers of the
    extra `zoo` may be left out.
    """
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def cache_folder() -> Path:
    """Return the folder of the results cache; it need not exist yet."""
    given = os.environ.get("FL_CACHE")
    if given:
        return Path(given)
    checkout = _PACKAGE.parent
    return (
        checkout / ".fl-cache"
        if (checkout / "pyproject.toml").is_file()
        else platformdirs.user_cache_path("fl") / "results"
    )


def _default_jobs() -> int:
    if (
        multiprocessing.parent_process() is not None
    ):  # already one worker of several: no workers below workers
        return 1
    given = os.environ.get("FL_JOBS")
    if not given:
        return joblib.cpu_count()
    return validate.count("FL_JOBS", int(given) if given.isdigit() else given)


def _path(function: Callable, unit: Mapping) -> Path:
    name = f"{function.__module__}.{function.__qualname__}"
    # code outside the package is not in source_hash; take the function's own text
    # instead
    own = "" if function.__module__.startswith("fl.") else _own_source(function)
    return (
        cache_folder() / source_hash() / name / joblib.hash((own, sorted(unit.items())))
    )


def _own_source(function: Callable) -> str:
    if getattr(function, "__closure__", None):
        raise ValueError(
            f"{function.__qualname__} closes over variables: pass them as arguments, so that the key holds them"
        )
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        raise ValueError(
            f"{function.__qualname__} has no source to make a key of: define it in a file"
        ) from None


def _check_axis(name: str, values: list) -> None:
    if not values:
        raise ValueError(f"{name} = []: must hold at least one value")
    for value in values:
        if not isinstance(value, (str, bool, numbers.Number, np.bool_)):
            raise ValueError(
                f"{name} holds {value!r}: must be a number, a string or a boolean"
            )
    if len(set(values)) < len(values):
        raise ValueError(f"{name} = {values}: no value may stand twice")


def _form(result: xr.Dataset) -> dict:
    """Return the dimensions of each variable with their sizes, and the names of the
    coordinates.
    """
    return {
        name: list(result[name].sizes.items())
        for name in sorted(result.variables, key=str)
    }


def _compute(i: int, function: Callable, unit: Mapping, path: Path) -> tuple:
    result = _load(path)  # another process may have stored it meanwhile
    if result is not _MISSING and result is not _DAMAGED:
        return i, result
    result = function(**unit)
    buffer = io.BytesIO()
    joblib.dump(result, buffer)
    payload = buffer.getvalue()
    path.parent.mkdir(parents=True, exist_ok=True)
    # written aside and renamed: a reader sees the whole entry or none, whoever is
    # killed when
    with tempfile.NamedTemporaryFile(
        dir=path.parent, prefix=".part-", delete=False
    ) as part:
        part.write(hashlib.sha256(payload).digest() + payload)
    os.replace(part.name, path)
    return i, result


def _load(path: Path):
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return _MISSING
    if hashlib.sha256(raw[32:]).digest() == raw[:32]:
        return joblib.load(io.BytesIO(raw[32:]))
    return _DAMAGED
