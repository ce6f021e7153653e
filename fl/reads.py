"""What a unit loads and reads while it runs, held against what its key holds.

An import by a computed name, or a file that was opened by its path, would change the
number without changing the key. So every such thing is an error, after the unit has run
and before its result is stored.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from fl.closure import PACKAGE, is_first_party, is_installed
from fl.freshness import brought

if TYPE_CHECKING:
    from fl.keys import Held

# files of the system and of the compilers, which the versions in the key stand for
_SYSTEM = [Path(sys.prefix), Path(sys.base_prefix)]
_SYSTEM += [Path(os.sep, name) for name in "proc sys dev etc usr lib lib64".split()]
_COMPILED = {".py", ".pyc", ".so", ".pyd", ".nbi", ".nbc"}
_WATCHES: list["_Watch"] = []


class _Watch:
    """Files that were read, but for those that were written first."""

    def __init__(self):
        self.read: set[str] = set()
        self.made: set[str] = set()

    def note(self, path: str, mode: str | None, flags: int) -> None:
        if mode is None:
            makes = flags & (os.O_TRUNC | os.O_CREAT | os.O_EXCL)
            reads = not flags & os.O_WRONLY
        else:
            makes, reads = set(mode) & set("wx"), set(mode) & set("r+")
        if makes:
            self.made.add(path)
        elif reads and path not in self.made:
            self.read.add(path)

    def data(self, ignored: Iterable[Path]) -> set[str]:
        roots = [*_SYSTEM, *map(Path.resolve, ignored)]
        opened = {Path(name).resolve() for name in self.read}
        return {str(path) for path in opened if _is_data(path, roots)}


@contextmanager
def watched(function: str, held: "Held", ignored: Path) -> Iterator[None]:
    """Run a unit, and refuse what it loads or reads beside its key.

    Args:
        function: its name, for the message.
        held: what its key holds.
        ignored: folder of the results store, whose files are results themselves.

    Raises:
        ValueError: after the unit has run, with the modules or files that were missing.
    """
    _install()
    before, watch = set(sys.modules), _Watch()
    _WATCHES.append(watch)
    try:
        yield
    finally:
        _WATCHES.remove(watch)
    late = {*sys.modules} - before | {*_brought_in(held.modules)}
    if missing := sorted(m for m in late if _is_missing(m, held, watch.made)):
        raise ValueError(
            f"{function} imported {', '.join(missing)} by a computed name: no key can hold "
            "that; write the import statement out"
        )
    if beside := sorted(watch.data([ignored]) - set(map(str, held.files))):
        raise ValueError(
            f"{function} read {', '.join(beside)}, which its key does not hold: pass "
            "each file as an argument of type pathlib.Path, then its content counts"
        )


def _brought_in(modules: Iterable[str]) -> Iterator[str]:
    """Yield what a reader's ``modules`` imported at any time, by whatever means."""
    theirs = [m for m in modules if m.partition(".")[0] != "fl"]
    files = {file for m in theirs for file in brought(m)}
    for name, module in list(sys.modules.items()) if files else ():
        if name != "__main__" and getattr(module, "__file__", None) in files:
            yield name


def _is_missing(module: str, held: "Held", made: set[str]) -> bool:
    loaded = sys.modules.get(module)
    path = Path(getattr(loaded, "__file__", None) or "face/__init__.py")
    inside = path.is_relative_to(PACKAGE) or not path.is_file()
    face = path.stem == "__init__" and inside
    # written meanwhile, as some releases of torch do: what wrote it is in the key
    known = module in held.modules or face or str(path) in made
    return not known and is_first_party(module, held.own)


def _is_data(path: Path, ignored: Iterable[Path]) -> bool:
    temporary = any(part.startswith("joblib_memmapping") for part in path.parts)
    known = is_installed(path) or any(map(path.is_relative_to, ignored))
    return path.is_file() and not (known or temporary or path.suffix in _COMPILED)


@cache
def _install() -> None:  # once: a hook cannot be taken out again
    sys.addaudithook(_hear)


def _hear(event: str, arguments: tuple) -> None:
    if event == "open" and isinstance(arguments[0], str | os.PathLike):
        path, mode, flags = arguments
        for watch in _WATCHES:
            watch.note(os.path.abspath(os.fsdecode(path)), mode, flags)


def begin() -> None:
    """Begin to note what this process reads, see `end`."""
    _install()
    _WATCHES.append(_Watch())


def end(ignored: Iterable[Path] = ()) -> dict[str, list[str]]:
    """Return the ``modules`` of `fl` that are loaded, and the data ``files`` read.

    ``ignored`` are folders whose files do not count.
    """
    modules = sorted(m for m in sys.modules if m.startswith("fl."))
    return {"modules": modules, "files": sorted(_WATCHES.pop().data(ignored))}
