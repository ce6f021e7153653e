"""Checks of arguments: each error names the argument, its value, and what is allowed.

Every public function of the package runs its checks before any work starts, so a mistake
costs no time. The first parameter of each check is the name to use in the error.
"""

import reprlib
from collections.abc import Iterable

import numpy as np

_TRUTH = (bool, np.bool_)


def count(name: str, value, minimum: int = 1) -> int:
    """Return ``value``, called ``name`` in the error, as an int.

    Raises:
        ValueError: unless it is a whole number >= ``minimum``.
    """
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, _TRUTH)
    if not whole or value < minimum:
        raise ValueError(f"{name} = {value!r}: must be an integer >= {minimum}")
    return int(value)


def number(
    name: str,
    value,
    low: float = -np.inf,
    high: float = np.inf,
    *,
    open_low: bool = False,
) -> float:
    """Return ``value``, called ``name`` in the error, as a float.

    Raises:
        ValueError: unless it is finite and in [``low``, ``high``], or in (low, high] if
            ``open_low``.
    """
    result = _as_float(value)
    inside = low <= result <= high and not (open_low and result == low)
    if not (np.isfinite(result) and inside):
        left = "(" if open_low or low == -np.inf else "["
        right = ")" if high == np.inf else "]"
        interval = f"{left}{low:g}, {high:g}{right}"
        raise ValueError(f"{name} = {value!r}: must be a finite number in {interval}")
    return result


def _as_float(value) -> float:
    """Return a scalar as a float, NaN for what nobody means as a number."""
    if isinstance(value, (str, bytes, *_TRUTH)) or np.ndim(value):
        return np.nan
    try:
        return float(value)
    except (TypeError, ValueError):
        return np.nan


def choice(name: str, value, allowed: Iterable) -> str:
    """Return ``value``, called ``name`` in the error.

    Raises:
        ValueError: unless it is one of ``allowed``.
    """
    allowed = list(allowed)
    if value not in allowed:
        options = ", ".join(map(str, allowed))
        raise ValueError(f"{name} = {value!r}: must be one of {options}")
    return value


def array(name: str, value, shape: tuple = ()) -> np.ndarray:
    """Return ``value``, called ``name`` in the error, as a float64 array.

    ``shape`` holds an int where the length is fixed, a letter where any length >= 1
    will do; a letter that stands twice asks for equal lengths. ``array("X", X, ("d",
    "N"))`` takes any non-empty matrix.

    Raises:
        ValueError: for another number of dimensions, another length, NaN or infinity.
    """
    try:
        raw = np.asarray(value)
        if raw.dtype.kind not in "biuf":
            raise TypeError
        result = raw.astype(np.float64, copy=False)
    except (TypeError, ValueError):  # ragged, complex, text
        wanted = f"an array of real numbers of shape {_show(shape)}"
        shown = reprlib.repr(value)  # no more than a line of it
        raise ValueError(f"{name} = {shown}: must be {wanted}") from None
    if not _fits(result.shape, shape):
        raise ValueError(f"{name} has shape {result.shape}: must be {_show(shape)}")
    bad = int(np.size(result) - np.isfinite(result).sum())
    if bad:
        raise ValueError(
            f"{name} has {bad} entries that are NaN or infinite: all must be finite"
        )
    return result


def _fits(found: tuple[int, ...], shape: tuple) -> bool:
    lengths: dict[str, int] = {}
    for n, want in zip(found, shape, strict=False):
        if isinstance(want, str):
            if n < 1 or n != lengths.setdefault(want, n):
                return False
        elif n != want:
            return False
    return len(found) == len(shape)


def positive(name: str, value, shape: tuple = ("d",)) -> np.ndarray:
    """Return ``value``, called ``name`` in the error, as an array of this ``shape``.

    Raises:
        ValueError: unless every entry is finite and > 0.
    """
    result = array(name, value, shape)
    if (result <= 0).any():
        raise ValueError(f"{name} has smallest entry {result.min():g}: all must be > 0")
    return result


def rounding(value) -> float:
    """Return four rounding units of the floating-point type of ``value``; those of double
    precision for anything else.
    """
    dtype = np.asarray(value).dtype
    kind = dtype if dtype.kind == "f" else float
    return 4 * float(np.finfo(kind).eps)


def psd(name: str, value, tolerance: float = 1e-10) -> np.ndarray:
    """Return ``value``, called ``name`` in the error, as a float64 matrix (d, d).

    ``tolerance`` is relative to the largest absolute eigenvalue, to let rounding pass; it
    is at least the `rounding` of the type in which the value came.

    Raises:
        ValueError: unless it is symmetric and has no negative eigenvalue.
    """
    result = array(name, value, ("d", "d"))
    tolerance = max(tolerance, rounding(value))
    scale = max(np.abs(result).max(), np.finfo(float).tiny)
    wanted = "must be a symmetric positive semi-definite matrix"
    if np.abs(result - result.T).max() > tolerance * scale:
        raise ValueError(f"{name} is not symmetric: {wanted}")
    smallest = np.linalg.eigvalsh(result)[0]
    if smallest < -tolerance * scale * len(result):
        raise ValueError(
            f"{name} has smallest eigenvalue {smallest:g}: must be positive semi-definite"
        )
    return result


def generator(name: str, value) -> np.random.Generator:
    """Return ``value``, called ``name`` in the error.

    Raises:
        ValueError: unless it is a `numpy.random.Generator`.
    """
    if not isinstance(value, np.random.Generator):
        raise ValueError(
            f"{name} = {value!r}: must be a numpy.random.Generator, such as "
            "numpy.random.default_rng(0)"
        )
    return value


def _show(shape: tuple) -> str:
    inner = ", ".join(map(str, shape))
    return f"({inner},)" if len(shape) == 1 else f"({inner})"
