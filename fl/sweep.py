"""Sweeps: a function over a grid of settings and seeds, as one labelled data set.

The units are computed in parallel and kept in the results store (`fl.store`).
"""

import itertools
import numbers
import sys
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fl import scales, validate
from fl.keys import function_name
from fl.store import cache_folder, cached, evaluate

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["cache_folder", "cached", "evaluate", "sized", "sweep"]


def sweep(
    function: Callable,
    grid: Mapping[str, Sequence | Mapping] | None = None,
    seeds: Iterable[int] = (0,),
    jobs: int | None = None,
    **fixed,
) -> "xr.Dataset":
    """Evaluate ``function(seed=..., **setting, **fixed)`` on a grid.

    Args:
        function: returns a mapping of names to numbers or ``(dims, array)`` pairs, or
            an `xarray.Dataset`; the same names, dimensions and coordinates for every
            unit.
        grid: a list of values (numbers, strings, booleans) per keyword argument; each
            becomes a dimension. A mapping of labels to values serves for values of any
            other kind.
        seeds: whole numbers >= 0; the last of the grid's dimensions, ``seed``.
        jobs: worker processes; ``FL_JOBS`` or the number of cores if None.
        fixed: further keyword arguments, the same for every unit.

    Returns:
        One data set: the variables of the units with the dimensions of the grid, then
        ``seed``, in front.

    Raises:
        ValueError: for an empty axis, a bad seed, a function or argument that no key can
            hold, a unit that returns something else, or units that do not fit together.
    """
    axes = _axes(grid or {}, seeds, fixed)
    labels = {axis: list(values) for axis, values in axes.items()}
    points = [
        dict(zip(axes, point, strict=True))
        for point in itertools.product(*labels.values())
    ]
    units = [
        {axis: axes[axis][label] for axis, label in point.items()} | fixed
        for point in points
    ]
    results = list(map(_dataset, evaluate(function, units, jobs, accept=_accept)))
    name = function_name(function)
    for point, result in zip(points, results, strict=True):
        _check_fit(name, point, result, points[0], results[0])
    return _stacked(name, labels, results)


def sized(
    function: Callable,
    scale: scales.Scale,
    block: int,
    seeds: tuple[int, int, int],
    grid: Mapping[str, Sequence | Mapping] | None = None,
    **fixed,
) -> "xr.Dataset":
    """Return `sweep` over a block of seeds, with its sizes as attributes.

    Args:
        function: as in `sweep`, like ``grid`` and ``fixed``.
        scale: ``smoke``, ``book`` or ``paper``.
        block: of seeds.
        seeds: how many at each scale, in this order.
        grid: the axes.
        fixed: further arguments; numbers, strings and lists of them become attributes of
            the data set, beside the number of ``seeds``.
    """
    number = scales.at(scale, **dict(zip(scales.SCALES, seeds, strict=True)))
    found = sweep(function, grid, scales.seeds(number, block), **fixed)
    plain = str, numbers.Number, list, tuple, dict, type(None)
    sizes = {name: value for name, value in fixed.items() if isinstance(value, plain)}
    return found.assign_attrs(sizes, seeds=number)


def _axes(grid: Mapping, seeds: Iterable[int], fixed: Mapping) -> dict[str, dict]:
    """Return the values of each axis by their labels."""
    if twice := ({"seed"} | grid.keys()) & fixed.keys() | {"seed"} & grid.keys():
        raise ValueError(
            f"{min(twice)} is given twice: an axis of the grid, `seeds` and fixed "
            "arguments must differ in name"
        )
    chosen = [validate.count("seeds entry", seed, minimum=0) for seed in seeds]
    axes = {name: _labelled(name, values) for name, values in grid.items()}
    return axes | {"seed": _labelled("seeds", chosen)}


def _labelled(name: str, values: Sequence | Mapping) -> dict:
    labels = list(values)
    if not labels:
        raise ValueError(f"{name} = []: must hold at least one value")
    for label in labels:
        if not isinstance(label, (str, bool, numbers.Number, np.bool_)):
            raise ValueError(
                f"{name} holds {label!r}: must be a number, a string or a boolean, or "
                "the axis a mapping of such labels to values"
            )
    if len(set(labels)) < len(labels):
        raise ValueError(f"{name} = {labels}: no value may stand twice")
    if isinstance(values, Mapping):
        return dict(values)
    return dict(zip(labels, labels, strict=True))


def _dataset(result) -> "xr.Dataset":
    import xarray as xr  # half a second that a worker does not spend

    return result if isinstance(result, xr.Dataset) else xr.Dataset(result)


def _accept(function: Callable, arguments: Mapping, result) -> None:
    """Refuse a result that is no mapping of names to numbers or labelled arrays."""
    problem = f"a {type(result).__name__}"
    if isinstance(result, Mapping):  # as a data set is
        bad = (k for k, value in result.items() if not _is_variable(value))
        problem = next((f"{k} = {result[k]!r}" for k in bad), "")
    if problem:
        raise ValueError(
            f"{function_name(function)} returned {problem} at {dict(arguments)}: must be "
            "a mapping of names to numbers or (dims, array) pairs, or an xarray.Dataset"
        )


def _is_variable(value) -> bool:
    if isinstance(value, tuple):
        return len(value) in (2, 3, 4)
    return hasattr(value, "dims") or np.ndim(value) == 0 and value is not None


def _check_fit(name: str, point: dict, result, first_point: dict, first) -> None:
    found, wanted = _form(result), _form(first)
    if found != wanted:
        raise ValueError(
            f"{name} returned {found} at {point}: must be {wanted}, as at {first_point}"
        )
    for coordinate in first.coords:
        if not result.coords[coordinate].equals(first.coords[coordinate]):
            raise ValueError(
                f"{name} returned another coordinate {coordinate} at {point} than at "
                f"{first_point}"
            )


def _form(result: "xr.Dataset") -> dict:
    """Return the dimensions of each variable, with their sizes, and of coordinates."""
    return {name: list(result[name].sizes.items()) for name in result.variables}


def _stacked(name: str, axes: dict[str, list], results: list) -> "xr.Dataset":
    first = results[0]
    if clash := axes.keys() & first.sizes.keys():
        raise ValueError(
            f"{name} returned a dimension {min(clash)}: must differ from the axes of the "
            "sweep"
        )
    shape = tuple(map(len, axes.values()))
    variables = {}
    for variable, form in first.data_vars.items():
        stacked = np.stack([result[variable].values for result in results])
        values = stacked.reshape(shape + form.shape)
        variables[variable] = (*axes, *form.dims), values, form.attrs
    return type(first)(variables, coords={**first.coords, **axes})


class _Module(types.ModuleType):
    """The module of the name can be called like the function in it: ``fl.sweep(...)``."""

    def __call__(self, *arguments, **options):
        return sweep(*arguments, **options)


sys.modules[__name__].__class__ = _Module
