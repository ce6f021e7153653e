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
from fl.closure import PACKAGE, closure, read
from fl.digests import feed_callable, feed_value
from fl.freshness import refuse_stale

MODES = ("closure", "whole")
NUMERICAL = "numpy scipy torch numba scikit-learn xarray pytorch-optimizer".split()
_DISTRIBUTIONS = {"sklearn": "scikit-learn", "pytorch_optimizer": "pytorch-optimizer"}
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
        self._hash = hashlib.sha256()
        self.inside: list = []  # the containers around the value that is being fed
        self._met: list = []
        self.feed(sys.version.split()[0], *map(version, NUMERICAL))

    @property
    def digest(self) -> str:
        """The digest of all that was fed, 32 hexadecimal digits."""
        return self._hash.hexdigest()[:32]

    def feed(self, *parts) -> None:
        """Take in ``parts``, bytes or texts; where one ends counts."""
        for part in parts:
            raw = part if isinstance(part, bytes) else str(part).encode()
            self._hash.update(b"%d:" % len(raw) + raw)

    def meets(self, thing) -> bool:
        """Return whether ``thing`` is met for the first time: what names itself ends."""
        if any(thing is known for known in self._met):
            return False
        self._met.append(thing)
        return True

    def feed_modules(self, names: Iterable[str]) -> None:
        """Take in the import closure of the modules ``names``, and the files they read.

        Raises:
            ValueError: for a module that was edited after it was loaded.
        """
        names = [name for name in names if name not in self.modules]
        found = closure(names, self.own)
        for name, path in found.modules.items():
            source = read(path, name)
            refuse_stale(name, path)
            self.modules[name] = path
            self.feed(name, source.digest)
            if "files_read" in source.defines:
                for file in importlib.import_module(name).files_read():
                    self.feed_file(Path(file))
        self.feed_packages(found.packages)

    def feed_packages(self, names: Iterable[str]) -> None:
        """Take in the versions of installed packages, by the ``names`` they import as."""
        for name in sorted(names):
            self.feed(name, version(name))

    def feed_file(self, path: Path) -> None:
        """Take in the content of the file ``path``, or of all files of a folder."""
        inside = path.rglob("*") if path.is_dir() else [path]
        for file in sorted(inside):
            self.files.add(file.resolve())
            self.feed(file.name, file.read_bytes() if file.is_file() else "no file")

    def with_arguments(self, arguments: Mapping) -> "Key":
        """Return a key that holds keyword ``arguments`` besides all of this one.

        Raises:
            ValueError: for an argument that has no honest digest.
        """
        made = copy(self)
        made.modules, made.files = dict(self.modules), set(self.files)
        made._hash, made._met = self._hash.copy(), list(self._met)
        for name, value in sorted(arguments.items()):
            made.feed(name)
            feed_value(made, value, f"the argument {name}")
        return made

    def held(self) -> "Held":
        """Return what the key holds, in a form that travels to another process."""
        return Held(dict(self.modules), frozenset(self.files), self.own)


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
    plain = function.func if isinstance(function, partial) else function
    top = (getattr(plain, "__module__", None) or "builtins").partition(".")[0]
    made = Key({"fl", top} - _LIBRARIES)
    mode = validate.choice("FL_KEYS", os.environ.get("FL_KEYS") or "closure", MODES)
    if mode == "whole":
        for path in sorted(PACKAGE.rglob("*.py")):
            made.feed(path.relative_to(PACKAGE).as_posix(), path.read_bytes())
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
    try:
        return importlib.metadata.version(_DISTRIBUTIONS.get(package, package))
    except importlib.metadata.PackageNotFoundError:
        return "absent"
