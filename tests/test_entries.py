"""Entries of the store: what goes in comes out, bit for bit, and nothing in it runs."""

import pickle

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fl.entries import packed, unpacked
from fl.store import cached

plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
arrays = hnp.arrays(
    st.sampled_from([np.float64, np.float32, np.int64, np.bool_, np.complex128, "U3"]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)
values = st.recursive(
    plain | arrays,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(), inner, max_size=3)
    ),
    max_leaves=8,
)


def same(left, right) -> bool:
    if type(left) is not type(right):
        return False
    if isinstance(left, np.ndarray | np.generic):
        return (left.dtype, left.shape, left.tobytes()) == (
            right.dtype,
            right.shape,
            right.tobytes(),
        )
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[k], right[k]) for k in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right or left != left and right != right


@given(values)
def test_round_trip(value):
    assert same(unpacked(packed(value)), value)


@pytest.mark.parametrize("number", [np.float32(0.1), np.int64(3), np.bool_(True)])
def test_numbers_of_numpy_keep_their_type(number):
    back = unpacked(packed({"x": number}))["x"]
    assert type(back) is type(number) and back == number


def test_labelled_arrays_and_data_sets():
    array = xr.DataArray(
        [[1.0, np.nan]], {"p": [-1], "kind": "x"}, ["p", "k"], "risk", {"units": "1"}
    )
    assert unpacked(packed(array)).identical(array)
    data = xr.Dataset({"risk": array, "n": 3}, attrs={"seeds": [0, 1]})
    assert unpacked(packed({"a": data}))["a"].identical(data)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({1: 2}, "a mapping with the key 1"),
        ([object()], "a object"),
        (np.array([None]), "a ndarray"),
        ({"f": print}, "a builtin_function_or_method"),
    ],
)
def test_what_is_no_data_is_refused(value, message):
    with pytest.raises(TypeError, match=message):
        packed(value)


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def unit():
    return {"x": 1.0}


def test_a_foreign_entry_runs_nothing_and_is_computed_again(cache, tmp_path):
    import hashlib

    assert cached(unit) == {"x": 1.0}
    (entry,) = [p for p in cache.rglob("*") if p.is_file()]
    for trap in (
        pickle.dumps(Trap(str(tmp_path / "sprung"))),
        array_of_objects(Trap(str(tmp_path / "sprung"))),
        b"nonsense",
        b"",
    ):
        entry.write_bytes(hashlib.sha256(trap).digest() + trap)
        assert cached(unit) == {"x": 1.0}
        assert not (tmp_path / "sprung").exists()


def array_of_objects(thing) -> bytes:
    """Return an archive whose arrays are pickled."""
    import io

    buffer = io.BytesIO()
    np.savez(buffer, tree=np.array([thing], object))
    return buffer.getvalue()


@pytest.mark.parametrize("raw", [b"", b"PK", packed(1)[:-20], packed({"x": 1})[20:]])
def test_what_is_no_entry_is_named(raw):
    with pytest.raises(ValueError, match="no entry of a results store"):
        unpacked(raw)
