"""Checks of arguments: each error names the argument, the value it had, and what is
allowed.

Every public function of the package runs its checks before any work starts, so a
mistake costs no time.
"""

from collections.abc import Iterable

import numpy as np


def count(name: str, value, minimum: int = 1) -> int:
    """Return ``value`` as an int; raise ``ValueError`` unless it is a whole number >=
    ``minimum``.
    """
    whole = isinstance(value, (int, np.integer)) and not isinstance(
        value, (bool, np.bool_)
    )
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
    """Return ``value`` as a float; raise ``ValueError`` unless it is finite and in
    [low, high] (or (low, high]).
    """
    try:  # text and truth values convert to floats, but nobody means them as numbers
        result = (
            np.nan
            if isinstance(value, (str, bytes, bool, np.bool_)) or np.ndim(value)
            else float(value)
        )
    except (TypeError, ValueError):
        result = np.nan
    inside = (
        np.isfinite(result)
        and low <= result <= high
        and not (open_low and result == low)
    )
    if not inside:
        left = "(" if open_low or low == -np.inf else "["
        right = ")" if high == np.inf else "]"
        raise ValueError(
            f"{name} = {value!r}: must be a finite number in {left}{low:g}, {high:g}{right}"
        )
    return result


def choice(name: str, value, allowed: Iterable) -> str:
    """Return ``value``; raise ``ValueError`` unless it is one of ``allowed``."""
    allowed = list(allowed)
    if value not in allowed:
        raise ValueError(
            f"{name} = {value!r}: must be one of {', '.join(map(str, allowed))}"
        )
    return value


def array(name: str, value, shape: tuple = ()) -> np.ndarray:
    """Return ``value`` as a finite float64 array of ``shape``.

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
        raise ValueError(
            f"{name} = {value!r}: must be an array of real numbers of shape {_show(shape)}"
        ) from None
    lengths: dict[str, int] = {}
    fits = result.ndim == len(shape) and all(
        n == lengths.setdefault(want, n) and n >= 1
        if isinstance(want, str)
        else n == want
        for n, want in zip(result.shape, shape, strict=True)
    )
    if not fits:
        raise ValueError(f"{name} has shape {result.shape}: must be {_show(shape)}")
    if not np.isfinite(result).all():
        bad = int(np.size(result) - np.isfinite(result).sum())
        raise ValueError(
            f"{name} has {bad} entries that are NaN or infinite: all must be finite"
        )
    return result


def positive(name: str, value, shape: tuple = ("d",)) -> np.ndarray:
    """Return ``value`` as a finite array; raise ``ValueError`` unless every entry is >
    0.
    """
    result = array(name, value, shape)
    if (result <= 0).any():
        raise ValueError(f"{name} has smallest entry {result.min():g}: all must be > 0")
    return result


def psd(name: str, value, tolerance: float = 1e-10) -> np.ndarray:
    """Return ``value`` as a float64 matrix; raise ``ValueError`` unless it is symmetric
    and has no negative eigenvalue.

    ``tolerance`` is relative to the largest absolute eigenvalue, to let rounding pass.
    """
    result = array(name, value, ("d", "d"))
    scale = max(np.abs(result).max(), np.finfo(float).tiny)
    if np.abs(result - result.T).max() > tolerance * scale:
        raise ValueError(
            f"{name} is not symmetric: must be a symmetric positive semi-definite matrix"
        )
    smallest = np.linalg.eigvalsh(result)[0]
    if smallest < -tolerance * scale * len(result):
        raise ValueError(
            f"{name} has smallest eigenvalue {smallest:g}: must be positive semi-definite"
        )
    return result


def generator(name: str, value) -> np.random.Generator:
    """Return ``value``; raise ``ValueError`` unless it is a `numpy.random.Generator`."""
    if not isinstance(value, np.random.Generator):
        raise ValueError(
            f"{name} = {value!r}: must be a numpy.random.Generator, such as numpy.random.default_rng(0)"
        )
    return value


def _show(shape: tuple) -> str:
    inner = ", ".join(map(str, shape))
    return f"({inner},)" if len(shape) == 1 else f"({inner})"
