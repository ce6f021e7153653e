"""The results store: every finished unit is kept at once under its key.

A killed run loses only the units in flight, a changed function never reads an old number
(`fl.keys`), and two processes may share one folder. The folder is ``.fl-cache`` beside the
package, or ``FL_CACHE``; ``FL_JOBS`` sets the number of worker processes (default: all
cores).

Any joblib backend serves: wrap the call in ``joblib.parallel_config(backend="dask")`` for
a cluster, or in `fl.cluster.workers`.
"""

import errno
import hashlib
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from tqdm import tqdm

from fl import validate
from fl.closure import PACKAGE
from fl.entries import packed, unpacked
from fl.freshness import refuse_stale
from fl.keys import Held, function_key, function_name
from fl.reads import watched

SPACE = 16 * 2**20  # bytes that must be free before work starts
_TALLIES: list = []  # the one in use is the last
_AGES: dict = {}  # files of the modules that the workers have loaded, and their path
# what `_load` raises where there is no entry, or a damaged one
_UNREADABLE = (FileNotFoundError, NotADirectoryError, ValueError)


class Unit(NamedTuple):
    """One call: its place among the results, its file in the store, what its key holds."""

    place: int
    function: Callable
    arguments: Mapping
    path: Path
    held: Held
    accept: Callable | None


class Failed(NamedTuple):
    """What a unit with these ``arguments`` raised: one line, and its traceback."""

    arguments: Mapping
    error: str
    trace: str


class UnitsFailed(RuntimeError):
    """Some units failed; the others are stored."""


@dataclass
class Tally:
    """Units computed (``done``), found in the store (``cached``), and ``failed``."""

    done: int = 0
    cached: int = 0
    failed: list[Failed] = field(default_factory=list)


@contextmanager
def tally() -> Iterator[Tally]:
    """Count the units that are evaluated inside; one that fails is kept with its
    traceback while the others go on, and `evaluate` raises `UnitsFailed` in the end.
    """
    _TALLIES.append(Tally())
    try:
        yield _TALLIES[-1]
    finally:
        _TALLIES.pop()


def evaluate(
    function: Callable,
    units: Sequence[Mapping],
    jobs: int | None = None,
    *,
    accept: Callable | None = None,
    in_order: bool = False,
    tell: Callable | None = None,
) -> list:
    """Return ``function(**unit)`` for every unit, stored or computed and then stored.

    Args:
        function: a plain function, or a `functools.partial` of one.
        units: keyword arguments of each call.
        jobs: worker processes; ``FL_JOBS`` or the number of cores if None.
        accept: called as ``accept(function, arguments, result)`` before a result is
            stored; it raises for one that must not be.
        in_order: start the units as they come; otherwise each process has an order of
            its own, and two that need the same units share the work.
        tell: called as ``tell(result)`` whenever a unit has been computed.

    Raises:
        ValueError: for a function or an argument that no key can hold, or a unit that
            reads or imports what its key does not hold.
        OSError: if the results folder cannot be written or is full; before any work.
        UnitsFailed: inside a `tally`, in the end, if a unit failed.
    """
    jobs = validate.count("jobs", _default_jobs() if jobs is None else jobs)
    of_function, name = function_key(function), function_name(function)
    folder = cache_folder() / name
    results, todo = [None] * len(units), []
    for i, arguments in enumerate(units):
        key = of_function.with_arguments(arguments)
        path = folder / key.digest
        try:
            results[i] = _load(path)
        except _UNREADABLE as error:
            if isinstance(error, ValueError):
                entry = f"{folder.name}/{path.name}"
                tqdm.write(f"results cache: {entry} is damaged and is computed again")
            todo.append(Unit(i, function, arguments, path, key.held(), accept))
    if todo:  # nothing is computed that could not be kept
        with _named(folder):
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
            if shutil.disk_usage(folder).free < SPACE:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if not in_order:
        random.Random(os.getpid()).shuffle(todo)
    # disable=None: a bar in a terminal, silence in a notebook or a pipe
    bar = {"total": len(todo), "leave": False, "disable": len(todo) <= 1 or None}
    for place, result in tqdm(_computed(todo, jobs), name, **bar):
        results[place] = result
        if tell is not None and not isinstance(result, Failed):
            tell(result)
    if _TALLIES:
        _count(_TALLIES[-1], name, results, len(todo))
    return results


def _count(found: Tally, name: str, results: list, begun: int) -> None:
    """Add the results of one call of `evaluate`, of which ``begun`` were not stored."""
    failed = [result for result in results if isinstance(result, Failed)]
    found.cached += len(results) - begun
    found.done += begun - len(failed)
    found.failed += failed
    if failed:
        first = failed[0]
        raise UnitsFailed(
            f"{len(failed)} of {len(results)} units of {name} failed, the first at "
            f"{dict(first.arguments)}: {first.error}"
        )


def peek(function: Callable, **arguments):
    """Return what is stored of ``function`` called with ``arguments``; None if nothing."""
    key = function_key(function).with_arguments(arguments)
    with suppress(*_UNREADABLE):
        return _load(cache_folder() / function_name(function) / key.digest)


def cached(function: Callable, **arguments):
    """Return ``function`` called with ``arguments``, through the store (`evaluate`)."""
    return evaluate(function, [arguments], jobs=1)[0]


def cache_folder() -> Path:
    """Return the folder of the results store; it need not exist yet."""
    if given := os.environ.get("FL_CACHE"):
        return Path(given).absolute()
    checkout = PACKAGE.parent
    if (checkout / "pyproject.toml").is_file():
        return checkout / ".fl-cache"
    import platformdirs

    return platformdirs.user_cache_path("fl") / "results"


def _default_jobs() -> int:
    if multiprocessing.parent_process() is not None:  # no workers below workers
        return 1
    if given := os.environ.get("FL_JOBS"):
        return validate.count("FL_JOBS", int(given) if given.isdigit() else given)
    import joblib

    return joblib.cpu_count()


def _computed(todo: list[Unit], jobs: int) -> Iterator[tuple]:
    """Yield the place and the result of each unit as it is done."""
    compute = _tried if _TALLIES else _compute
    if jobs == 1 or len(todo) <= 1:
        return map(compute, todo)
    import joblib  # a third of a second that one process alone does not spend

    _dismiss_workers_of_old_sources(todo[0].held)
    pool = joblib.Parallel(
        min(jobs, len(todo)), return_as="generator_unordered", batch_size=1
    )
    return pool(map(joblib.delayed(compute), todo))


def _dismiss_workers_of_old_sources(held: Held) -> None:
    """End the workers if a module that they may have loaded has changed, or the path."""
    from joblib.externals import loky

    ages = {path: path.stat().st_mtime for path in held.modules.values()}
    ages["sys.path"] = tuple(sys.path)
    if any(_AGES.get(path, age) != age for path, age in ages.items()):
        loky.get_reusable_executor().shutdown()
        _AGES.clear()
    _AGES.update(ages)


def _stay() -> None:
    """Keep this worker alive: libraries that a unit loads late look like a leak to loky,
    which ends such workers, and a caller may then wait for ever.
    """
    executor = sys.modules.get("joblib.externals.loky.process_executor")
    if executor is not None:
        executor._USE_PSUTIL = False


def _tried(unit: Unit) -> tuple:
    try:
        return _compute(unit)
    except OSError:
        raise
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        return unit.place, Failed(unit.arguments, said, traceback.format_exc())


def _compute(unit: Unit) -> tuple:
    _stay()
    with suppress(*_UNREADABLE):  # another process may have stored it meanwhile
        return unit.place, _load(unit.path)
    for name, path in unit.held.modules.items():  # this may be a worker of long ago
        refuse_stale(name, path)
    # a worker elsewhere has its own environment, the unit knows the store
    with watched(function_name(unit.function), unit.held, unit.path.parents[1]):
        result = unit.function(**unit.arguments)
    if unit.accept is not None:
        unit.accept(unit.function, unit.arguments, result)
    _save(unit.path, _packed(function_name(unit.function), result))
    return unit.place, result


def _packed(name: str, result) -> bytes:
    try:
        return packed(result)
    except TypeError as error:
        raise ValueError(
            f"{name} returned {result!r}, which holds {error}: must be numbers, texts, "
            "arrays, or lists, tuples and mappings (with text keys) of them"
        ) from None


def _save(path: Path, payload: bytes) -> None:
    with _named(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside(path) as part:
            part.write_bytes(hashlib.sha256(payload).digest() + payload)


@contextmanager
def aside(path: Path) -> Iterator[Path]:
    """Yield a file to write that becomes ``path`` when it is whole: a reader sees all of
    it or what was there before, whoever is killed.
    """
    part = path.with_name(f".part-{uuid4()}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _named(folder: Path) -> Iterator[None]:
    """Let errors of writing to ``folder`` say what to do about it."""
    try:
        yield
    except OSError as error:
        raise OSError(
            f"the results folder {folder} cannot be written ({error.strerror or error}): set "
            "FL_CACHE to a folder that can, with space for the results"
        ) from error


def _load(path: Path):
    """Return the result in the entry ``path``; see `_UNREADABLE`."""
    raw = path.read_bytes()
    if hashlib.sha256(raw[32:]).digest() != raw[:32]:
        raise ValueError(f"{path} is damaged")
    return unpacked(raw[32:])
