"""What a unit loads and reads while it runs, held against what its key holds.

An import by a computed name, or a file that was opened by its path, would change the
number without changing the key. So every such thing is an error, after the unit has run
and before its result is stored.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fl.closure import INSTALLED, PACKAGE, is_first_party

if TYPE_CHECKING:
    from fl.keys import Held

# files of the system and of the compilers, which the versions in the key stand for
_SYSTEM = [*INSTALLED, *map(Path, (sys.prefix, sys.base_prefix))]
_SYSTEM += [Path(os.sep, name) for name in "proc sys dev etc usr lib lib64".split()]
_COMPILED = {".py", ".pyc", ".so", ".pyd", ".nbi", ".nbc"}
_WATCHES: list["_Watch"] = []


class _Watch:
    def __init__(self):
        self.read: set[str] = set()
        self.written: set[str] = set()


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
    late = sorted(m for m in set(sys.modules) - before if _is_missing(m, held))
    if late:
        raise ValueError(
            f"{function} imported {', '.join(late)} by a computed name: no key can hold "
            "that; write the import statement out"
        )
    opened = {Path(name).resolve() for name in watch.read - watch.written}
    beside = sorted(str(p) for p in opened - held.files if _is_data(p, [ignored]))
    if beside:
        raise ValueError(
            f"{function} read {', '.join(beside)}, which its key does not hold: pass "
            "each file as an argument of type pathlib.Path, then its content counts"
        )


def _is_missing(module: str, held: "Held") -> bool:
    loaded = sys.modules.get(module)
    path = Path(getattr(loaded, "__file__", None) or "face/__init__.py")
    face = path.stem == "__init__" and (
        path.is_relative_to(PACKAGE) or not path.is_file()
    )
    return module not in held.modules and not face and is_first_party(module, held.own)


def _is_data(path: Path, ignored: Iterable[Path]) -> bool:
    temporary = any(part.startswith("joblib_memmapping") for part in path.parts)
    roots = [*_SYSTEM, *(folder.resolve() for folder in ignored)]
    known = any(path.is_relative_to(root) for root in roots)
    return path.is_file() and not (known or temporary or path.suffix in _COMPILED)


def _install() -> None:
    if not _INSTALLED:
        sys.addaudithook(_hear)
        _INSTALLED.append(True)


_INSTALLED: list[bool] = []  # a hook cannot be taken out again


def _hear(event: str, arguments: tuple) -> None:
    if (
        event != "open"
        or not _WATCHES
        or not isinstance(arguments[0], str | os.PathLike)
    ):
        return
    path, mode, flags = arguments
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT
    writes = flags & writing if mode is None else set(mode) & set("wax+")
    for watch in _WATCHES:
        (watch.written if writes else watch.read).add(os.path.abspath(os.fspath(path)))


def begin() -> None:
    """Begin to note what this process reads, see `end`."""
    _install()
    _WATCHES.append(_Watch())


def end(ignored: Iterable[Path] = ()) -> dict[str, list[str]]:
    """Return the ``modules`` of `fl` that are loaded, and the data ``files`` read.

    ``ignored`` are folders whose files do not count.
    """
    watch = _WATCHES.pop()
    opened = {Path(name).resolve() for name in watch.read - watch.written}
    files = sorted(str(path) for path in opened if _is_data(path, ignored))
    return {
        "modules": sorted(m for m in sys.modules if m.startswith("fl.")),
        "files": files,
    }
