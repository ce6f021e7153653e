"""What functions and values put into a key, or why they cannot.

Code from a file counts by its module (`fl.closure`); code that was typed into a script or
a notebook by its byte code and by everything that it names, as that is now.
"""

import collections.abc
import dis
import enum
import inspect
import random
import sys
import types
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fl.closure import is_first_party, locate
from fl.freshness import instructions, nested

if TYPE_CHECKING:
    from fl.keys import Key

_PLAIN = (type(None), bool, int, float, complex, str, bytes, range, slice, np.generic)
# what changes while it is used: its digest of today says nothing about the next call
_STATEFUL = (np.random.Generator, np.random.RandomState, np.random.BitGenerator)
_STATEFUL += (random.Random, collections.abc.Iterator)
# of a class that was typed in: not its behaviour
_INCIDENTAL = {"__module__", "__doc__", "__dict__", "__weakref__", "__annotations__"}
_INCIDENTAL |= {"__firstlineno__", "__static_attributes__", "_abc_impl", "__slots__"}
_INCIDENTAL |= {"__dataclass_fields__", "__dataclass_params__", "__annotate_func__"}


def feed_callable(key: "Key", function, where: str) -> None:
    """Feed what ``function`` does into ``key``; ``where`` names it in errors.

    Raises:
        ValueError: for a method of an object, a closure, or a callable without source.
    """
    if isinstance(function, partial):
        feed_callable(key, function.func, where)
        feed_value(key, [function.args, function.keywords], where)
    elif inspect.ismethod(function):
        raise ValueError(
            f"{where} is {function.__qualname__}, bound to an object whose state no key "
            "can hold: write a function that takes what it needs as arguments"
        )
    elif _is_named(key, function):
        _feed_named(key, function)
    elif isinstance(plain := _unwrapped(function), types.FunctionType):
        _feed_function(key, plain, where)
    elif isinstance(function, type):
        _feed_class(key, function, where)
    else:
        raise ValueError(
            f"{where} is {function!r}, which has no source to make a key of: "
            "write a plain function around it"
        )


def _is_named(key: "Key", thing) -> bool:
    """Tell whether a library or the interpreter has ``thing`` under its own name."""
    name, module = getattr(thing, "__name__", None), getattr(thing, "__module__", None)
    places = [module or "builtins", "numpy", "scipy.special", "torch"]
    if name is None or (module and is_first_party(module, key.own)):
        return False
    return any(getattr(sys.modules.get(m), name, None) is thing for m in places)


def _feed_named(key: "Key", thing) -> None:
    module = getattr(thing, "__module__", None) or "builtins"
    key.feed(module, thing.__name__)
    key.feed_packages([module.partition(".")[0]])


def _unwrapped(function):
    """Return the function below a cache or a compiler's dispatcher, or itself."""
    for name in ("py_func", "__wrapped__"):
        if not isinstance(function, types.FunctionType):
            function = getattr(function, name, function)
    return function


def _feed_function(key: "Key", function: types.FunctionType, where: str) -> None:
    if function.__closure__:
        names = ", ".join(function.__code__.co_freevars)
        raise ValueError(
            f"{where}: {function.__qualname__} closes over variables: pass them as "
            f"arguments ({names}), so that the key holds them"
        )
    if not key.meets(function):
        return
    key.feed(function.__qualname__)
    defaults = [function.__defaults__, function.__kwdefaults__]
    feed_value(key, defaults, f"a default argument of {function.__qualname__}")
    if not _feed_by_module(key, function):
        _feed_code(key, function.__code__, function.__globals__, where)


def _feed_by_module(key: "Key", thing) -> bool:
    """Feed the module of a function or class; tell whether that says all about it."""
    module = thing.__module__
    if module == "__main__" or locate(module) is None:
        return False
    key.feed_modules([module])
    found = sys.modules.get(module)
    for name in thing.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is thing or getattr(found, "__wrapped__", None) is thing


def _feed_code(key: "Key", code: types.CodeType, known: dict, where: str) -> None:
    key.feed(*instructions(code))
    parts = list(nested(code))
    steps = [step for part in parts for step in dis.get_instructions(part)]
    for module in {s.argval for s in steps if s.opname == "IMPORT_NAME"}:
        _feed_import(key, module)
    used = {s.argval for s in steps if s.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    for name in sorted(used & known.keys()):
        value = known[name]
        key.feed(name)
        feed_value(key, value, f"{name}, which {where} uses,")
        if isinstance(value, types.ModuleType):
            _feed_submodules(key, value, {n for part in parts for n in part.co_names})


def _feed_import(key: "Key", name: str) -> None:
    if is_first_party(name, key.own):
        key.feed_modules([name])
    else:
        key.feed_packages([name.partition(".")[0]])


def _feed_submodules(key: "Key", module: types.ModuleType, names: set[str]) -> None:
    """Feed the loaded submodules of a reader's package that are reached by ``names``."""
    depth = module.__name__.count(".") + 1
    for below in sorted(m for m in sys.modules if m.startswith(module.__name__ + ".")):
        if set(below.split(".")[depth:]) <= names and is_first_party(below, key.own):
            key.feed_modules([below])


def _feed_class(key: "Key", cls: type, where: str) -> None:
    if _is_named(key, cls):
        _feed_named(key, cls)
    elif key.meets(cls) and not _feed_by_module(key, cls):
        key.feed(cls.__qualname__)
        for base in cls.__bases__:
            _feed_class(key, base, where)
        for name in _written(cls):
            key.feed(name)
            _feed_attribute(key, vars(cls)[name], f"{cls.__qualname__}.{name}")


def _feed_attribute(key: "Key", value, where: str) -> None:
    descriptors = types.MemberDescriptorType | types.GetSetDescriptorType
    if isinstance(value, property):
        for function in filter(None, (value.fget, value.fset)):
            _feed_attribute(key, function, where)
    elif isinstance(value, staticmethod | classmethod):
        _feed_attribute(key, value.__func__, where)
    elif isinstance(value, types.FunctionType):
        feed_value(key, [value.__defaults__, value.__kwdefaults__], where)
        _feed_code(key, value.__code__, value.__globals__, where)
    elif not isinstance(value, descriptors):
        feed_value(key, value, where)


def _written(cls: type) -> list[str]:
    """Return the attributes that were written, not generated out of the fields."""
    names = sorted(vars(cls).keys() - _INCIDENTAL)
    if not (hasattr(cls, "__dataclass_fields__") or hasattr(cls, "_fields")):
        return names
    codes = {n: getattr(vars(cls)[n], "__code__", None) for n in names}
    makers = ("<string>", "dataclasses.py", "__init__.py")
    generated = {
        n
        for n, c in codes.items()
        if c and c.co_filename.endswith(makers) and n[0] == "_"
    }
    return [n for n in names if n not in generated]


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
    if isinstance(value, enum.Enum):
        key.feed(value.name)
        _feed_class(key, kind, where)
    elif isinstance(value, _PLAIN):
        key.feed(repr(value))
    elif isinstance(value, Path):
        key.feed_file(value)
    elif isinstance(value, types.ModuleType):
        _feed_import(key, value.__name__)
    elif isinstance(value, np.ndarray) and not value.dtype.hasobject:
        key.feed(value.dtype.str, value.shape, value.tobytes())
    elif isinstance(value, type | partial) or hasattr(value, "__name__"):
        feed_callable(key, value, where)
    else:
        _feed_object(key, value, where)


def _feed_object(key: "Key", value, where: str) -> None:
    """Feed a container or an object: its class and what it holds."""
    kind = type(value)
    _feed_class(key, kind, where)
    if isinstance(value, collections.abc.Mapping):
        _feed_items(key, value, [*value, *value.values()], where)
    elif isinstance(value, list | tuple | set | frozenset):
        ordered = isinstance(value, list | tuple)
        _feed_items(key, value, value if ordered else sorted(value, key=repr), where)
    elif kind.__module__ == "__main__" or is_first_party(kind.__module__, key.own):
        inside = getattr(value, "__dict__", {})
        _feed_items(key, value, [*inside, *inside.values()], where)
    else:
        _feed_pickled(key, value, where)


def _feed_items(key: "Key", whole, items, where: str) -> None:
    if any(whole is above for above in key.inside):  # it holds itself
        return
    key.inside.append(whole)
    for item in items:
        feed_value(key, item, where)
    key.inside.pop()


def _feed_pickled(key: "Key", value, where: str) -> None:
    import joblib  # a third of a second, and only objects of libraries need it

    try:
        key.feed(joblib.hash(value))
    except Exception as error:
        raise ValueError(
            f"{where} is {value!r}, of which no key can be made ({error}): pass numbers, "
            "texts, arrays, or collections of them"
        ) from None
