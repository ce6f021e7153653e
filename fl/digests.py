"""What functions and values put into a key, or why they cannot.

Code from a file counts by its module (`fl.closure`); code that was typed into a script or
a notebook by its byte code and by everything that it names, as that is now.
"""

import collections.abc
import copyreg
import dis
import functools
import inspect
import random
import sys
import types
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fl.closure import is_first_party, is_installed, locate
from fl.freshness import instructions, nested, written

if TYPE_CHECKING:
    from fl.keys import Key

_PLAIN = {type(None), type(...), type(NotImplemented), bool, int, float, complex}
_PLAIN |= {str, bytes, range}
# what changes while it is used: its digest of today says nothing about the next call
_STATEFUL = (np.random.Generator, np.random.RandomState, np.random.BitGenerator)
_STATEFUL += (random.Random, collections.abc.Iterator)
_CALLABLE = types.FunctionType | types.MethodType | types.BuiltinFunctionType
_CALLABLE |= type | partial | np.ufunc
_DESCRIPTORS = property | staticmethod | classmethod | functools.cached_property
_SLOTS = types.MemberDescriptorType | types.GetSetDescriptorType
_FIELD = ("name", "default", "default_factory", "init", "kw_only")
_UNSEEN = {"eval", "exec", "globals"}  # they reach what the code does not name
_FIRST: dict[int, tuple] = {}  # caches and compiled functions as they were first met


def feed_callable(key: "Key", function, where: str) -> None:
    """Feed what ``function`` does into ``key``; ``where`` names it in errors.

    Raises:
        ValueError: for a method of an object, a closure, or a callable without source.
    """
    if isinstance(function, partial):
        feed_callable(key, function.func, where)
        feed_value(key, [function.args, function.keywords], where)
    elif isinstance(owner := getattr(function, "__self__", None), type):
        key.feed(function.__name__)
        _feed_class(key, owner, where)
    elif inspect.ismethod(function):
        raise ValueError(
            f"{where} is {function.__qualname__}, bound to an object whose state no key "
            "can hold: write a function that takes what it needs as arguments"
        )
    elif isinstance(function, type):
        _feed_class(key, function, where)
    elif _feeds_library(key, function):
        return
    elif isinstance(function, types.FunctionType):
        _feed_function(key, function, where)
    elif (plain := _unwrapped(function)) is not function:
        if key.meets(function):
            _refuse_frozen(key, function, plain, where)
            feed_value(key, getattr(function, "targetoptions", None), where)
            _feed_function(key, plain, where)
    else:
        raise ValueError(
            f"{where} is {function!r}, which has no source to make a key of: "
            "write a plain function around it"
        )


def _feeds_library(key: "Key", thing, name: str | None = None) -> bool:
    """Feed the module of a library or the interpreter that holds ``thing``, if any does."""
    name, module = name or getattr(thing, "__name__", None), _module(thing)
    if name is None or (module and is_first_party(module, key.own)):
        return False
    plain = isinstance(thing, types.FunctionType | type)
    for place in [module or "builtins", *([] if plain else sorted(sys.modules))]:
        known = getattr(sys.modules.get(place), "__dict__", {})
        held = isinstance(thing, type) and place == module
        if place != "__main__" and (held or known.get(name) is thing):
            file = known.get("__file__")
            if is_installed(file) if file else place in sys.stdlib_module_names:
                key.feed(place, getattr(thing, "__qualname__", name))
                key.feed_package(place)
                return True
    return False


def _module(thing) -> str | None:
    name = getattr(thing, "__module__", None)
    return name if isinstance(name, str) else None


def _unwrapped(function):
    """Return the function below a cache or a compiler's dispatcher, or itself."""
    plain = types.FunctionType
    return inspect.unwrap(function, stop=lambda inner: isinstance(inner, plain))


def _refuse_frozen(key: "Key", wrapper, plain: types.FunctionType, where: str) -> None:
    """Refuse a cache or a compiled function that may hold the globals of before."""
    if key.inner or _feeds_by_module(plain):
        return
    inner = type(key)(key.own)
    inner.inner = True
    _feed_function(inner, plain, where)
    _, first = _FIRST.setdefault(id(wrapper), (wrapper, inner.digest))
    if first != inner.digest:
        raise ValueError(
            f"{where} is {plain.__qualname__}, which was cached or compiled before what it "
            "uses has changed: define it again"
        )


def _feed_function(key: "Key", function: types.FunctionType, where: str) -> None:
    if not _feeds_whole(key, function):
        name = function.__qualname__
        defaults = [function.__defaults__, function.__kwdefaults__]
        feed_value(key, defaults, f"a default argument of {name}")
        own = {n: v for n, v in vars(function).items() if n != "__wrapped__"}
        feed_value(key, own, f"an attribute of {name}")
        _feed_cells(key, function, where)
        _feed_code(key, function.__code__, function.__globals__, where)


def _feeds_whole(key: "Key", thing) -> bool:
    """Feed which function or class ``thing`` is, with its module, if it is a new one; tell
    whether nothing is left to feed.
    """
    if not key.meets(thing):
        return True
    module = _module(thing) or "__main__"
    key.feed(module, thing.__qualname__)
    key.feed_modules([module])
    return _feeds_by_module(thing)


def _feeds_by_module(thing) -> bool:
    """Tell whether the source of its module says all about a function or class."""
    module = _module(thing) or "__main__"
    found = sys.modules.get(module)
    if module == "__main__" or not (found and locate(module)):
        return False
    known = list(vars(found).values())
    for name in thing.__qualname__.split("."):
        found = getattr(found, name, None)
    wrapped = getattr(found, "__wrapped__", None)
    return any(thing is other for other in (found, wrapped, *known))


def _feed_cells(key: "Key", function: types.FunctionType, where: str) -> None:
    free = function.__code__.co_freevars
    for name, cell in zip(free, function.__closure__ or (), strict=True):
        try:
            value = cell.cell_contents
        except ValueError:  # not yet bound
            continue
        if name == "__class__":
            continue
        if not isinstance(value, types.FunctionType):  # what decorators close over
            raise ValueError(
                f"{where}: {function.__qualname__} closes over variables: pass them as "
                f"arguments ({', '.join(free)}), so that the "
                "key holds them"
            )
        feed_callable(key, value, where)


def _feed_code(key: "Key", code: types.CodeType, known: dict, where: str) -> None:
    key.feed(*instructions(code))
    parts = list(nested(code))
    steps = [step for part in parts for step in dis.get_instructions(part)]
    for module in sorted({s.argval for s in steps if s.opname == "IMPORT_NAME"}):
        _feed_import(key, module)
    loads = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
    used = {s.argval for s in steps if s.opname in loads}
    if hidden := used & _UNSEEN - known.keys():
        raise ValueError(
            f"{where} uses {min(hidden)}, which reaches what no key can see: name what "
            "it needs, or pass it as arguments"
        )
    for name in sorted(used & known.keys()):
        value = known[name]
        key.feed(name)
        if type(value) in _PLAIN or not _feeds_library(key, value, name):
            feed_value(key, value, f"{name}, which {where} uses,")
        if isinstance(value, types.ModuleType):
            _feed_submodules(key, value, {n for part in parts for n in part.co_names})


def _feed_import(key: "Key", name: str) -> None:
    key.feed(name)
    if is_first_party(name, key.own):
        key.feed_modules([name])
    else:
        key.feed_package(name)


def _feed_submodules(key: "Key", module: types.ModuleType, names: set[str]) -> None:
    """Feed the loaded submodules of a reader's package that are reached by ``names``."""
    prefix = f"{module.__name__}."
    for below in sorted(m for m in sys.modules if m.startswith(prefix)):
        inside = set(below.removeprefix(prefix).split("."))
        if inside <= names and is_first_party(below, key.own):
            key.feed_modules([below])


def _feed_class(key: "Key", cls: type, where: str) -> None:
    if not (_feeds_library(key, cls) or _feeds_whole(key, cls)):
        for base in (*cls.__bases__, type(cls)):
            _feed_class(key, base, where)
        for name in written(cls):
            key.feed(name)
            _feed_attribute(key, vars(cls)[name], f"{cls.__qualname__}.{name}")


def _feed_attribute(key: "Key", value, where: str) -> None:
    if isinstance(value, _DESCRIPTORS):
        for name in ("fget", "fset", "fdel", "__func__", "func"):
            if function := getattr(value, name, None):
                feed_callable(key, function, where)
    elif where.endswith(".__dataclass_fields__"):
        fields = [[getattr(f, n) for n in _FIELD] for f in value.values()]
        feed_value(key, fields, where)
    elif not isinstance(value, _SLOTS):
        feed_value(key, value, where)


def feed_value(key: "Key", value, where: str) -> None:
    """Feed ``value`` into ``key``; ``where`` names it in errors.

    Raises:
        ValueError: for what has a state (generators, iterators, open files) or no digest.
    """
    kind = type(value)
    if isinstance(value, _STATEFUL) or kind.__name__ == "Generator":
        raise ValueError(
            f"{where} is {value!r}, whose state changes as it is used: pass a seed, or "
            "the values themselves"
        )
    key.feed(kind.__qualname__)
    if kind in _PLAIN:
        key.feed(repr(value))
    elif isinstance(value, Path):
        key.feed_file(value)
    elif isinstance(value, types.ModuleType):
        _feed_import(key, value.__name__)
    elif kind is np.ndarray and not value.dtype.hasobject:
        key.feed(repr(value.dtype), value.shape, value.tobytes())
    elif isinstance(value, _CALLABLE) or _unwrapped(value) is not value:
        feed_callable(key, value, where)
    elif any(places := [value is above for above in key.inside]):  # it holds itself
        key.feed(places)
    else:
        key.inside.append(value)
        _feed_object(key, value, where)
        key.inside.pop()


def _feed_object(key: "Key", value, where: str) -> None:
    """Feed a container or an object: its class and what it holds."""
    kind = type(value)
    if kind in (list, tuple):
        items = value
    elif kind in (dict, types.MappingProxyType):
        items = [*value, *value.values()]
    elif kind in (set, frozenset):
        items = sorted(value, key=lambda item: key.alone(item, where).digest)
    elif hasattr(value, "detach") and hasattr(value, "device"):
        flat = value.detach().cpu().contiguous().reshape(-1)
        size = f"{value.dtype} {value.shape} {value.device} {value.requires_grad}"
        items = [size, flat.view(sys.modules["torch"].uint8).numpy()]
    else:
        items = _parts(value, where)
    key.feed(len(items))
    for item in items:
        feed_value(key, item, where)


def _parts(value, where: str) -> list:
    """Return what an object is made of, by the rule of copies and pickles."""
    known = copyreg.dispatch_table.get(type(value))
    try:
        made = known(value) if known else value.__reduce_ex__(4)
    except Exception as error:
        raise ValueError(
            f"{where} is {value!r}, of which no key can be made ({error}): pass numbers, "
            "texts, arrays, or collections of them"
        ) from None
    if isinstance(made, str):
        return [type(value), made]
    return [type(value), *made[:3], *(list(parts or ()) for parts in made[3:5])]
