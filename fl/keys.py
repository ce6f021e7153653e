"""The key of a result: a digest of everything that its numbers depend on.

That is the interpreter and the numerical libraries, the arguments, and the code of the
function. A function of a module stands for the import closure of that module
(`fl.closure`); one of a script or a notebook for what its code names: helpers, constants,
arrays, default arguments, each as it is now. Files enter by content: those given as
`pathlib.Path`, and those that a module of the closure lists in a function
``files_read()``. What has no honest digest is refused.

``FL_KEYS=whole`` takes the whole source of `fl` instead of closures.
"""

import hashlib
import importlib
import importlib.metadata
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from fl import validate
from fl.closure import PACKAGE, age_of, closure, read
from fl.digests import feed_callable, feed_value
from fl.freshness import refuse_stale

MODES = ("closure", "whole")
NUMERICAL = "numpy scipy torch numba scikit-learn xarray pytorch-optimizer".split()
# their functions count as libraries, even where one of them is the function itself
_LIBRARIES = {name.replace("-", "_") for name in NUMERICAL} | {"sklearn", "builtins"}


class Key:
    """A digest in the making, with the modules and files that it holds.

    Args:
        own: top-level packages that count as first-party wherever they are installed.
    """

    def __init__(self, own: Iterable[str] = ("fl",)):
        self.own = frozenset(own)
        self.modules: dict[str, Path] = {}
        self.files: set[Path] = set()
        self.inside: list = []  # the containers around the value that is being fed
        self.inner = False  # a key that was made while another one is
        self._met: dict[int, tuple] = {}
        self._known: dict[int, tuple] = {}  # arguments, which many units share
        self._hash = hashlib.sha256()
        self.feed(sys.version.split()[0], *map(version, NUMERICAL))

    @property
    def digest(self) -> str:
        """The digest of all that was fed, 32 hexadecimal digits."""
        return self._hash.hexdigest()[:32]

    def feed(self, *parts) -> None:
        """Take in ``parts``, texts or bytes; where one ends counts."""
        for part in parts:
            raw = part if isinstance(part, bytes) else str(part).encode()
            self._hash.update(b"%d:" % len(raw))
            self._hash.update(raw)

    def meets(self, thing) -> bool:
        """Take in which one ``thing`` is; return whether it is new."""
        before = len(self._met)
        number, _ = self._met.setdefault(id(thing), (before, thing))
        self.feed(number)
        return number == before

    def alone(self, value, where: str) -> "Key":
        """Return a key of ``value`` apart from what else this one holds.

        Raises:
            ValueError: if it has none; ``where`` names it.
        """
        part = self._copy()
        part._hash = hashlib.sha256()
        feed_value(part, value, where)
        return part

    def feed_modules(self, names: Iterable[str]) -> None:
        """Take in the import closure of the modules ``names``, and the files they read.

        Raises:
            ValueError: for a module that was edited after it was loaded.
        """
        found = closure(set(names) - self.modules.keys(), self.own)
        for package in sorted(found.packages):
            self.feed_package(package)
        for name in sorted(found.modules.keys() - self.modules.keys()):
            path = self.modules[name] = found.modules[name]
            source = read(path, name)
            self.feed(name, source.digest)
            refuse_stale(name, path)
            if "files_read" in source.bound:
                for file in importlib.import_module(name).files_read():
                    self.feed_file(Path(file))

    def feed_package(self, module: str) -> None:
        """Take in the version of the installed package that holds ``module``."""
        package = module.partition(".")[0]
        self.feed(package, version(package))

    def feed_file(self, path: Path) -> None:
        """Take in the content of the file ``path``, or of the files of a folder.

        Hidden files and byte code of a folder do not count.
        """
        folder = path.is_dir()
        for file in sorted(path.rglob("*")) if folder else [path]:
            name = file.relative_to(path if folder else path.parent)
            if folder and any(p[0] == "." or p == "__pycache__" for p in name.parts):
                continue
            self.files.add(file.resolve())
            self.feed(name.as_posix(), _content(file, age_of(file)))

    def with_arguments(self, arguments: Mapping) -> "Key":
        """Return a key that holds keyword ``arguments`` besides all of this one.

        Raises:
            ValueError: for an argument that has no honest digest.
        """
        made = self._copy()
        for name, value in sorted(arguments.items()):
            if id(value) not in self._known:  # many units share it
                part = self.alone(value, f"the argument {name}")
                self._known[id(value)] = value, part
            part = self._known[id(value)][1]
            made.feed(name, part.digest)
            made.modules |= part.modules
            made.files |= part.files
        return made

    def _copy(self) -> "Key":
        made = copy(self)
        for name in ("modules", "files", "inside", "_met", "_hash"):
            setattr(made, name, getattr(self, name).copy())
        return made

    def held(self) -> "Held":
        """Return what the key holds, in a form that travels to another process."""
        return Held(self.modules, frozenset(self.files), self.own)


@cache
def _content(file: Path, age: tuple) -> str:
    if not age:
        return "no file"
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


class Held(NamedTuple):
    """Modules with their files, data files, and first-party packages of a `Key`."""

    modules: dict[str, Path]
    files: frozenset[Path]
    own: frozenset[str]


def function_key(function: Callable) -> Key:
    """Return the key of ``function``, to which `Key.with_arguments` adds a call.

    Raises:
        ValueError: if the function has no honest digest; the message says what to do.
    """
    top = function_name(function).partition(".")[0]
    made = Key({"fl", top} - _LIBRARIES)
    mode = validate.choice("FL_KEYS", os.environ.get("FL_KEYS") or "closure", MODES)
    if mode == "whole":
        made.feed_file(PACKAGE)
    feed_callable(made, function, "the function")
    return made


def function_name(function: Callable) -> str:
    """Return the dotted name of ``function``, or of what a partial is made of."""
    plain = function.func if isinstance(function, partial) else function
    name = getattr(plain, "__qualname__", type(plain).__qualname__)
    return f"{getattr(plain, '__module__', None)}.{name}"


@cache
def version(package: str) -> str:
    """Return the version of an installed ``package``, or "absent"."""
    if package in sys.stdlib_module_names:
        return "of the interpreter"
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        names = _distributions().get(package, [])
        return " ".join(map(importlib.metadata.version, sorted(set(names)))) or "absent"


_distributions = cache(importlib.metadata.packages_distributions)
