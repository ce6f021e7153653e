"""Whether a loaded module is still the one in its file.

A module that was edited after it was loaded computes with the old source; a result stored
under the new one would be wrong for everybody who reads it later. So the source of each
module of ours or of the reader is noted at the moment it runs.
"""

import dis
import inspect
import pickle
import struct
import sys
import types
from collections import defaultdict
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from importlib.util import cache_from_source
from pathlib import Path

from fl.closure import age_of, is_installed, parse, read

# of a class that was typed in: not its behaviour
_INCIDENTAL = {
    *"__module__ __doc__ __dict__ __weakref__ __annotations__ __firstlineno__".split(),
    *"__static_attributes__ _abc_impl __slots__ __dataclass_params__".split(),
    *"__annotate_func__ __annotations_cache__ __subclasshook__".split(),
}
_RAN: dict[str, tuple] = {}  # file -> its age and its text when it was last run
_BROUGHT = defaultdict(set)  # module -> files that ran because it imported them


def refuse_stale(name: str, path: Path) -> None:
    """Refuse the module ``name`` if it is not what its file ``path`` says.

    Raises:
        ValueError: if the file was edited and not loaded again, or if a function, a
            constant or an imported name of the module is another one.
    """
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None)
    if file not in _RAN:
        return
    age, text = _RAN[file]
    now = age_of(path)
    if age != now:
        if text is None or parse(text, path, name).digest != read(path, name).digest:
            raise ValueError(
                f"the module {name} is not what {path} says, which has changed since it "
                "was loaded: reload it with importlib.reload, or start again"
            )
        _RAN[file] = now, text
    for bound, what in read(path, name).bound.items():
        if bound in vars(module) and _differs(vars(module)[bound], what, file):
            raise ValueError(
                f"{name}.{bound} is not what {path} says: reload {name} with "
                "importlib.reload, or pass what you want to change as an argument"
            )


def brought(module: str) -> set[str]:
    """Return the files that ran because ``module`` imported them, by whatever means."""
    return _BROUGHT[module]


def _differs(found, what: tuple, file: str) -> bool:
    """Tell whether ``found`` in a module of ``file`` is not ``what`` the file says."""
    match what:
        case "def", _:
            code = getattr(found, "__code__", None)
            return getattr(code, "co_filename", None) != file
        case "is", wanted:
            return type(found) is not type(wanted) or found != wanted
        case _, (module, name):
            origin = sys.modules.get(module)
            known = getattr(origin, "__file__", None) in _RAN
            return known and not _same(found, vars(origin).get(name, found))


def _same(first, second) -> bool:
    if first is second or type(first) is not type(second):
        return first is second
    # a reload by IPython puts the new code into the old function
    if isinstance(first, types.FunctionType):
        return first.__code__ is second.__code__
    if isinstance(first, type):
        return all(
            _same(vars(first).get(name), value)
            for name, value in vars(second).items()
            if isinstance(value, types.FunctionType)
        )
    try:
        return pickle.dumps(first) == pickle.dumps(second)
    except Exception:  # it cannot be compared
        return False


def nested(code: types.CodeType) -> Iterator[types.CodeType]:
    """Yield the code object ``code`` and all those inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from nested(constant)


def instructions(code: types.CodeType) -> Iterator[str]:
    """Yield what ``code`` does: its instructions and those of inner functions."""
    stars = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS
    for part in nested(code):
        yield f"{part.co_name} {part.co_varnames} {part.co_exceptiontable}"
        yield f"{part.co_argcount} {part.co_kwonlyargcount} {part.co_flags & stars}"
        for step in dis.get_instructions(part):
            value = step.argval
            if isinstance(value, types.CodeType):
                value = value.co_name
            elif isinstance(value, frozenset):  # its order is another in each process
                value = sorted(value, key=repr)
            yield f"{step.opname} {value!r}"


def written(cls: type) -> list[str]:
    """Return the attributes of ``cls`` that were written, not generated out of the fields."""
    names = sorted(vars(cls).keys() - _INCIDENTAL)
    if not (hasattr(cls, "__dataclass_fields__") or hasattr(cls, "_fields")):
        return names
    makers = ("<string>", "dataclasses.py", "__init__.py")
    codes = {n: getattr(inspect.unwrap(vars(cls)[n]), "__code__", None) for n in names}
    return [
        name
        for name, code in codes.items()
        if not (code and code.co_filename.endswith(makers) and name[0] == "_")
    ]


def _hear(event: str, arguments: tuple) -> None:
    match event, arguments:
        case "exec", (types.CodeType(co_name="<module>", co_filename=file),):
            if _is_ours(file):
                _note(file)
                importer = sys._getframe(1)
                while importer and not _is_ours(importer.f_code.co_filename):
                    importer = importer.f_back
                if importer:
                    _BROUGHT[importer.f_globals.get("__name__")].add(file)


def _is_ours(file: str | None) -> bool:
    return str(file).endswith(".py") and not is_installed(file)


def _note(file: str) -> None:
    try:
        _RAN[file] = age_of(Path(file)), Path(file).read_bytes()
    except OSError:  # the name of a file that is none
        pass


def _note_earlier(file: str) -> None:
    """Note a module that was loaded before this one: its byte code has its age."""
    _note(file)
    compiled = Path(cache_from_source(file))
    if file in _RAN and compiled.is_file() and not sys.dont_write_bytecode:
        (when, size, _), _ = _RAN[file]
        header = struct.pack("<II", when // 10**9 % 2**32, size % 2**32)
        if compiled.read_bytes()[8:16] != header:
            _RAN[file] = (), None


for _module in list(sys.modules.values()):
    _loader = getattr(getattr(_module, "__spec__", None), "loader", None)
    if type(_loader) is SourceFileLoader and _is_ours(_module.__file__):
        _note_earlier(_module.__file__)
sys.addaudithook(_hear)
