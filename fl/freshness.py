"""Whether a loaded module is still the one in its file.

A module that was edited after it was loaded computes with the old source; a result stored
under the new one would be wrong for everybody who reads it later.
"""

import ast
import dis
import sys
import time
import types
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path

_STARTED = time.time()  # the modules of `fl` are loaded after this one
_CHECKED: dict[
    str, tuple
] = {}  # module -> its spec and the age of its file, when fresh


def refuse_stale(name: str, path: Path) -> None:
    """Refuse the module ``name`` if its file ``path`` has changed since it was loaded.

    Raises:
        ValueError: if it has, and was not reloaded.
    """
    module = sys.modules.get(name)
    if module is None:
        return
    state = module.__spec__, path.stat().st_mtime  # a reload makes another spec
    if _CHECKED.get(name) == state:
        return
    ours = name.startswith("fl.") and name not in _CHECKED and state[1] < _STARTED
    if not ours and _differs(module, path):
        raise ValueError(
            f"the module {name} is not what {path} says, which has changed since it was "
            "loaded: reload it with importlib.reload, or start again"
        )
    _CHECKED[name] = state


def _differs(module: types.ModuleType, path: Path) -> bool:
    """Tell whether a function or a literal of the file is another one in ``module``."""
    if type(module.__spec__.loader) is not SourceFileLoader:  # it may rewrite the code
        return False
    source = path.read_bytes()
    tree, here = ast.parse(source), vars(module)
    # a decorator may have put anything in the place of a function
    plain = {n.name for n in tree.body if isinstance(n, ast.FunctionDef)} - {
        n.name for n in tree.body if getattr(n, "decorator_list", [])
    }
    for code in compile(source, str(path), "exec").co_consts:
        loaded = here.get(getattr(code, "co_name", None))
        if isinstance(loaded, types.FunctionType) and code.co_name in plain:
            if not same_code(code, loaded.__code__):
                return True
    literals = dict(_literals(tree))
    return any(here.get(name, value) != value for name, value in literals.items())


def same_code(first: types.CodeType, second: types.CodeType) -> bool:
    """Return whether ``first`` and ``second`` do the same, whatever their docstrings."""
    return list(instructions(first)) == list(instructions(second))


def nested(code: types.CodeType) -> Iterator[types.CodeType]:
    """Yield the code object ``code`` and all those inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from nested(constant)


def instructions(code: types.CodeType) -> Iterator[str]:
    """Yield what ``code`` does: its instructions and those of inner functions."""
    for part in nested(code):
        yield f"{part.co_name} {part.co_varnames} {part.co_exceptiontable}"
        for step in dis.get_instructions(part):
            value = step.argval
            if isinstance(value, types.CodeType):
                value = value.co_name
            elif isinstance(value, frozenset):  # its order is another in each process
                value = sorted(value, key=repr)
            yield f"{step.opname} {value!r}"


def _literals(tree: ast.Module) -> Iterator[tuple[str, object]]:
    """Yield the names that a file sets to a number, a string or a tuple of them."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                value = ast.literal_eval(node.value)
            except ValueError:
                continue
            if isinstance(value, int | float | str | tuple):
                yield node.targets[0].id, value
