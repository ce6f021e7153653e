"""The import closure of a module: every first-party file that its code can reach.

First-party are `fl`, the top-level package of the module itself, and whatever else is
neither the standard library nor an installed package: a reader's own files. A file counts
as its syntax tree without docstrings, comments and layout, so that an edit of the words
changes nothing, and is read again whenever it has changed on disk. What a claim of the book
says that it ``uses`` counts as words too: nothing is computed with it.

The ``__init__`` files of `fl` are faces: they hold no logic (a test looks) and count only
for those who take a name from them.
"""

import ast
import hashlib
import importlib.util
import os
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).resolve().parent


_KNOWN: dict[tuple, tuple] = {}  # closures, each with the ages of its files


class Source(NamedTuple):
    """A file: digest of its syntax tree, what it imports, what its names must be.

    ``bound`` holds the names that the file binds once: to a plain function (its kind is
    ``def``), to a constant (``is``), or to a name of another module (``from``).
    """

    digest: str
    imports: tuple[tuple[str, tuple[str, ...]], ...]
    bound: dict[str, tuple[str, object]]


class Closure(NamedTuple):
    """First-party modules with their files, and the third-party packages they import."""

    modules: dict[str, Path]
    packages: frozenset[str]


def closure(modules: Iterable[str], own: Iterable[str] = ("fl",)) -> Closure:
    """Return everything that importing ``modules`` (dotted names) may run.

    ``own`` are top-level packages that are first-party wherever they are installed.
    """
    modules = frozenset(modules)
    places = [_places(name.partition(".")[0]) for name in sorted(modules)]
    asked = str(places), modules, frozenset(own)
    known, ages = _KNOWN.get(asked, (None, None))
    if known is None or ages != list(map(age_of, known.modules.values())):
        known = _closure(*asked[1:])
        _KNOWN[asked] = known, list(map(age_of, known.modules.values()))
    return known


def _closure(modules: Iterable[str], own: Iterable[str]) -> Closure:
    found, packages, waiting = {}, set(), [(name, ()) for name in modules]
    while waiting:
        name, attributes = waiting.pop()
        if not is_first_party(name, own):
            packages.add(name.partition(".")[0])
            continue
        for module, path in _reached(name, attributes):
            if module not in found:
                found[module] = path
                waiting += read(path, module).imports
    packages -= sys.stdlib_module_names
    return Closure(dict(sorted(found.items())), frozenset(packages))


def is_first_party(name: str, own: Iterable[str]) -> bool:
    """Return whether the module ``name`` belongs to ``own`` packages or the reader."""
    top = name.partition(".")[0]
    return top in own or not all(map(is_installed, _places(top)))


def locate(name: str) -> Path | None:
    """Return the file of the first-party module ``name``, the face if it is a package.

    None if there is no such file, as for a folder without ``__init__``.
    """
    top, *rest = name.split(".")
    for place in _places(top):
        stem = place.joinpath(*rest)
        for path in (stem, stem.with_name(f"{stem.name}.py"), stem / "__init__.py"):
            if path.is_file():
                return path
    return None


def read(path: Path, module: str) -> Source:
    """Return the `Source` of the file ``path`` of ``module``, anew if it has changed."""
    return _parse(path, module, age_of(path))


def age_of(path: Path) -> tuple[int, ...]:
    """Return what tells whether ``path`` was written again; empty if it is no file."""
    state = path.stat() if path.is_file() else None
    return (state.st_mtime_ns, state.st_size, state.st_ino) if state else ()


@cache
def _parse(path: Path, module: str, age: tuple) -> Source:
    return parse(path.read_bytes(), path, module)


def parse(text: bytes, path: Path, module: str = "") -> Source:
    """Return the `Source` of a file ``path`` of ``module`` that reads ``text``."""
    if path.suffix != ".py":  # compiled
        return Source(hashlib.sha256(text).hexdigest(), (), {})
    tree = without_docstrings(ast.parse(text, str(path)))
    if path.parent == PACKAGE / "claims":
        _drop_uses(tree)
    digest = hashlib.sha256(ast.dump(tree).encode()).hexdigest()
    package = module if path.stem == "__init__" else module.rpartition(".")[0]
    often = Counter(name for node in ast.walk(tree) for name in _binds(node))
    bound = {n: what for n, what in _bound(tree, package) if often[n] == 1}
    return Source(digest, tuple(_imports(tree, package)), bound)


def _binds(node: ast.AST) -> list[str]:
    match node:
        case ast.alias(name, other):
            return [other or name.partition(".")[0]]
        case (
            ast.FunctionDef(name)
            | ast.AsyncFunctionDef(name)
            | ast.ClassDef(name)
            | ast.Name(name, ast.Store() | ast.Del())
        ):
            return [name]
    return []


def _bound(tree: ast.Module, package: str) -> Iterator[tuple[str, tuple]]:
    """Yield what a file says of its names, where a look at the loaded module can tell."""
    for node in tree.body:
        match node:
            case ast.FunctionDef(name, decorator_list=[]):
                yield name, ("def", None)
            case ast.ImportFrom():
                module = _source(node, package)
                for alias in node.names:
                    yield alias.asname or alias.name, ("from", (module, alias.name))
            case ast.Assign([ast.Name(name), *_], said):
                with suppress(ValueError, TypeError):
                    value = ast.literal_eval(said)
                    if isinstance(value, int | float | str | tuple):
                        yield name, ("is", value)


def without_docstrings(tree: ast.Module) -> ast.Module:
    """Return ``tree`` with the docstrings of module, classes and functions taken out."""
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node, False) is not None:
            del node.body[0]
    return tree


def _drop_uses(tree: ast.Module) -> None:
    for node in ast.walk(tree):
        match node:
            case ast.Call(ast.Name("claim"), _, keywords):
                node.keywords = [k for k in keywords if k.arg != "uses"]


def _imports(tree: ast.Module, package: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each imported module, at any depth of the code, with the names taken from it."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names):
                yield from ((alias.name, ()) for alias in names)
            case ast.ImportFrom(_, names):
                yield _source(node, package), tuple(alias.name for alias in names)


def _source(node: ast.ImportFrom, package: str) -> str:
    name = "." * node.level + (node.module or "")
    return importlib.util.resolve_name(name, package)


def _reached(name: str, attributes: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    """Yield the modules that importing ``attributes`` from the module ``name`` runs."""
    names = [f"{name}.{attribute}" for attribute in attributes]
    submodules = {below: path for below in names if (path := locate(below))}
    yield from submodules.items()
    for module in accumulate(name.split("."), "{}.{}".format):
        asked = module == name and not (names and submodules.keys() >= set(names))
        path = locate(module)
        face = path and path.stem == "__init__" and path.is_relative_to(PACKAGE)
        if path and (asked or not face):
            yield module, path


def _places(top: str) -> list[Path]:
    """Return where the top-level module ``top`` lies: its file, or folders to look in."""
    if top == "fl":
        return [PACKAGE]
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):  # no such module, or one that runs as a script
        return []
    places = spec and spec.submodule_search_locations
    if places is None and spec and spec.has_location:
        places = [spec.origin]
    return [Path(place).resolve() for place in places or ()]


def is_installed(path: str | Path) -> bool:
    """Return whether ``path`` belongs to the interpreter or to a package of pip."""
    site = {"site-packages", "dist-packages"}.intersection(Path(path).parts)
    return bool(site) or str(path).startswith(INSTALLED)


_PATHS = map(sysconfig.get_path, ("stdlib", "platstdlib", "purelib", "platlib"))
# where the modules of the interpreter and of pip lie
INSTALLED = tuple(f"{Path(p).resolve()}{os.sep}" for p in _PATHS)
