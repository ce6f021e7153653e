"""Every error names the argument, the value it had, and what is allowed."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from fl import validate

anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.floats()),
)


@given(anything, st.integers(-3, 3))
def test_count_is_a_whole_number_or_an_error_that_names_all(value, minimum):
    if type(value) is int and value >= minimum:
        assert validate.count("n", value, minimum) == value
    else:
        with pytest.raises(
            ValueError,
            match=re.escape(f"n = {value!r}: must be an integer >= {minimum}"),
        ):
            validate.count("n", value, minimum)


@given(anything, st.floats(-5, 5), st.floats(-5, 5), st.booleans())
def test_number_is_in_its_interval_or_an_error_that_names_all(
    value, low, high, open_low
):
    good = isinstance(value, (int, float)) and not isinstance(value, bool)
    if good and low <= value <= high and not (open_low and value == low):
        assert validate.number("p", value, low, high, open_low=open_low) == value
    else:
        with pytest.raises(
            ValueError, match=re.escape(f"p = {value!r}: must be a finite number in ")
        ) as error:
            validate.number("p", value, low, high, open_low=open_low)
        assert f"{low:g}" in str(error.value) and f"{high:g}" in str(error.value)


@pytest.mark.parametrize("value", [np.float32(2), np.int64(2), np.array(2.0), 2])
def test_number_takes_numpy_scalars(value):
    assert validate.number("p", value) == 2.0


def test_choice_lists_what_is_allowed():
    assert validate.choice("link", "relu", {"relu": 1, "tanh": 2}) == "relu"
    with pytest.raises(ValueError, match="link = 'gelu': must be one of relu, tanh"):
        validate.choice("link", "gelu", ["relu", "tanh"])


@given(
    arrays(float, array_shapes(max_dims=3, max_side=4), elements=st.floats(-1e9, 1e9))
)
def test_array_takes_its_own_shape_and_no_other(value):
    assert (validate.array("X", value, value.shape) == value).all()
    assert (validate.array("X", value, tuple("abc"[: value.ndim])) == value).all()
    with pytest.raises(ValueError, match="X has shape"):
        validate.array("X", value, (*value.shape, 1))
    with pytest.raises(
        ValueError, match=re.escape(f"X has shape {value.shape}: must be")
    ):
        validate.array("X", value, (value.shape[0] + 1, *value.shape[1:]))


@given(
    arrays(float, (2, 3), elements=st.floats(-1, 1)),
    st.sampled_from([np.nan, np.inf, -np.inf]),
    st.integers(0, 5),
)
def test_array_counts_what_is_not_finite(value, bad, where):
    value.flat[where] = bad
    with pytest.raises(
        ValueError, match="X has 1 entries that are NaN or infinite: all must be finite"
    ):
        validate.array("X", value, ("d", "N"))


def test_a_letter_that_stands_twice_asks_for_equal_lengths():
    validate.array("S", np.eye(3), ("d", "d"))
    with pytest.raises(
        ValueError, match=re.escape("S has shape (2, 3): must be (d, d)")
    ):
        validate.array("S", np.ones((2, 3)), ("d", "d"))


@pytest.mark.parametrize(
    "value",
    [[[1, 2], [3]], "abc", ["1", "2"], [1j], None, [print]],
    ids=["ragged", "text", "texts", "complex", "none", "function"],
)
def test_array_refuses_what_is_no_array_of_real_numbers(value):
    with pytest.raises(ValueError, match="X .*must be"):
        validate.array("X", value, ("d",))


@pytest.mark.parametrize("shape", [("d",), ("d", "N")])
def test_array_refuses_empty(shape):
    with pytest.raises(ValueError, match="X has shape"):
        validate.array("X", np.empty((0,) * len(shape)), shape)


def test_positive_names_the_smallest_entry():
    with pytest.raises(
        ValueError, match="spectrum has smallest entry -2: all must be > 0"
    ):
        validate.positive("spectrum", [1.0, -2.0])


@given(arrays(float, (3, 3), elements=st.floats(-1, 1)))
def test_psd_takes_every_square_and_refuses_its_shift(A):
    S = A @ A.T
    assert (validate.psd("S", S) == S).all()
    with pytest.raises(
        ValueError, match="S has smallest eigenvalue .*: must be positive semi-definite"
    ):
        validate.psd("S", S - (np.linalg.eigvalsh(S)[0] + 0.1) * np.eye(3))


def test_psd_refuses_what_is_not_symmetric():
    with pytest.raises(ValueError, match="S is not symmetric: must be"):
        validate.psd("S", [[1.0, 0.5], [0.4, 1.0]])


def test_generator_refuses_a_seed():
    with pytest.raises(
        ValueError, match=re.escape("rng = 0: must be a numpy.random.Generator")
    ):
        validate.generator("rng", 0)
