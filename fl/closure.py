"""The import closure of a module: every first-party file that its code can reach.

First-party are `fl`, the top-level package of the module itself, and whatever else is
neither the standard library nor an installed package: a reader's own files. A file counts
as its syntax tree without docstrings, comments and layout, so that an edit of the words
changes nothing, and is read again whenever it has changed on disk.

The ``__init__`` files of `fl` are faces: they hold no logic (a test looks) and count only
for those who take a name from them.
"""

import ast
import hashlib
import importlib.util
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).resolve().parent


class Source(NamedTuple):
    """A file: digest of its syntax tree, the names it imports, its top-level names."""

    digest: str
    imports: tuple[tuple[str, tuple[str, ...]], ...]
    defines: frozenset[str]


class Closure(NamedTuple):
    """First-party modules with their files, and the third-party packages they import."""

    modules: dict[str, Path]
    packages: frozenset[str]


def closure(modules: Iterable[str], own: Iterable[str] = ("fl",)) -> Closure:
    """Return everything that importing ``modules`` (dotted names) may run.

    ``own`` are top-level packages that are first-party wherever they are installed.
    """
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


def is_first_party(name: str, own: Iterable[str] = ("fl",)) -> bool:
    """Return whether the module ``name`` belongs to ``own`` packages or the reader."""
    top = name.partition(".")[0]
    if top in own:
        return True
    if top in sys.stdlib_module_names or top in sys.builtin_module_names:
        return False
    return any(not _is_installed(place) for place in _places(top))


def locate(name: str) -> Path | None:
    """Return the file of the first-party module ``name``, the face if it is a package.

    None if there is no such file, as for a folder without ``__init__``.
    """
    top, *rest = name.split(".")
    for place in _places(top):
        stem = place.joinpath(*rest)
        if place.suffix == ".py" and not rest:
            return place
        for path in (stem.with_name(stem.name + ".py"), stem / "__init__.py"):
            if path.is_file():
                return path
    return None


def read(path: Path, module: str) -> Source:
    """Return the `Source` of the file ``path`` of ``module``, anew if it has changed."""
    state = path.stat()
    return _parse(path, module, state.st_mtime_ns, state.st_size)


@cache
def _parse(path: Path, module: str, changed: int, size: int) -> Source:
    tree = without_docstrings(ast.parse(path.read_bytes()))
    package = module if path.stem == "__init__" else module.rpartition(".")[0]
    defines = {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}
    digest = hashlib.sha256(ast.dump(tree).encode()).hexdigest()
    return Source(digest, tuple(_imports(tree, package)), frozenset(defines))


def without_docstrings(tree: ast.Module) -> ast.Module:
    """Return ``tree`` with the docstrings of module, classes and functions taken out."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        if (
            isinstance(node, documented)
            and ast.get_docstring(node, clean=False) is not None
        ):
            node.body = body[1:]
    return tree


def _imports(tree: ast.Module, package: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each imported module, at any depth of the code, with the names taken from it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # one dot is the package itself, each further dot the one above
            above = package.split(".")[: len(package.split(".")) + 1 - node.level]
            base = [".".join(above)] if node.level else []
            name = ".".join(base + ([node.module] if node.module else []))
            yield name, tuple(alias.name for alias in node.names)


def _reached(name: str, attributes: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    """Yield the modules that importing ``attributes`` from the module ``name`` runs."""
    submodules = {a: locate(f"{name}.{a}") for a in attributes}
    for attribute, path in submodules.items():
        if path is not None:
            yield f"{name}.{attribute}", path
    parts = name.split(".")
    for depth in range(1, len(parts) + 1):
        module = ".".join(parts[:depth])
        path = locate(module)
        asked = depth == len(parts) and (not attributes or None in submodules.values())
        face = parts[0] == "fl" and path is not None and path.stem == "__init__"
        if path is not None and (asked or not face):
            yield module, path


def _places(top: str) -> list[Path]:
    """Return where the top-level module ``top`` lies: its file, or folders to look in."""
    if top == "fl":
        return [PACKAGE]
    module = sys.modules.get(top)
    try:
        spec = getattr(module, "__spec__", None) or importlib.util.find_spec(top)
    except (ImportError, ValueError):  # no such module, or one that runs as a script
        spec = None
    if spec is None:
        return []
    if spec.submodule_search_locations is not None:
        return [Path(folder).resolve() for folder in spec.submodule_search_locations]
    return [Path(spec.origin).resolve()] if spec.has_location else []


def _is_installed(place: Path) -> bool:
    return any(place.is_relative_to(root) for root in INSTALLED)


def _installed() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    folders = [paths[kind] for kind in ("stdlib", "platstdlib", "purelib", "platlib")]
    folders += [*site.getsitepackages(), site.getusersitepackages()]
    return tuple(Path(folder).resolve() for folder in folders)


INSTALLED = _installed()  # where packages of the interpreter and of pip lie
