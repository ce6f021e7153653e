"""Entries of the results store: numbers, texts, arrays and collections of them, as data.

An entry is an archive of arrays with one JSON text that says how they hang together.
Reading one runs no code, whoever wrote it: a folder may come from a colleague or a shared
disk. What is nothing of the kind is refused when it is written and unreadable when it is
read.
"""

import io
import json
from collections.abc import Mapping
from zipfile import BadZipFile

import numpy as np

TREE = "tree"
_PLAIN = (str, bool, int, float, type(None))


def packed(value) -> bytes:
    """Return ``value`` as bytes: numbers, texts, None, arrays, labelled arrays and data
    sets, and lists, tuples and mappings with text keys of them.

    Raises:
        TypeError: for anything else, with its type.
    """
    arrays: dict[str, np.ndarray] = {}
    tree = json.dumps(_taken(value, arrays))
    buffer = io.BytesIO()
    np.savez(buffer, **arrays, **{TREE: np.array(tree)})
    return buffer.getvalue()


def unpacked(raw: bytes):
    """Return the value that `packed` made ``raw`` from.

    Raises:
        ValueError: if nothing like that did.
    """
    try:
        with np.load(io.BytesIO(raw), allow_pickle=False) as arrays:
            return _given(json.loads(arrays[TREE].item()), arrays)
    except (KeyError, TypeError, ValueError, OSError, EOFError, BadZipFile) as error:
        raise ValueError(f"no entry of a results store: {error}") from None


def _taken(value, arrays: dict):
    """Return ``value`` as JSON, its arrays put into ``arrays`` and named."""
    if type(value) in _PLAIN:
        return value
    kind = type(value).__name__
    if kind in ("Dataset", "DataArray"):  # of xarray, without importing it to ask
        return {kind: _taken(_parts(value), arrays)}
    if type(value) in (list, tuple):
        return {kind: [_taken(item, arrays) for item in value]}
    if isinstance(value, Mapping):
        if other := [key for key in value if not isinstance(key, str)]:
            raise TypeError(f"a mapping with the key {other[0]!r}")
        return {"dict": [[key, _taken(item, arrays)] for key, item in value.items()]}
    if isinstance(value, np.ndarray | np.generic) and not value.dtype.hasobject:
        name = f"a{len(arrays)}"
        arrays[name] = np.asarray(value)
        return {"scalar" if isinstance(value, np.generic) else "array": name}
    raise TypeError(f"a {kind}")


def _parts(data) -> dict:
    """Return a labelled array or a data set as plain parts."""
    variables = getattr(data, "data_vars", {"": data})
    made = {"attrs": dict(data.attrs), "name": getattr(data, "name", None)}
    for part, found in [("variables", variables), ("coords", data.coords)]:
        made[part] = {k: (v.dims, v.values, dict(v.attrs)) for k, v in found.items()}
    return made


def _given(tree, arrays):
    """Return the value of which ``tree`` is the JSON."""
    if not isinstance(tree, dict):
        return tree
    ((kind, inside),) = tree.items()
    if kind in ("array", "scalar"):
        return arrays[inside] if kind == "array" else arrays[inside][()]
    if kind in ("list", "tuple"):
        items = [_given(item, arrays) for item in inside]
        return items if kind == "list" else tuple(items)
    if kind == "dict":
        return {k: _given(item, arrays) for k, item in inside}
    import xarray as xr  # half a second, and only few entries need it

    parts = _given(inside, arrays)
    data = xr.Dataset(parts["variables"], parts["coords"], parts["attrs"])
    return data if kind == "Dataset" else data[""].rename(parts["name"])
