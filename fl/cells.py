"""Predictions beside measurements: with the labels of a run, relative gaps of matrices,
and two step sizes without the first order of either.
"""

import numpy as np
import xarray as xr


def shaped(values, like: xr.DataArray, dim: str = "seed") -> xr.DataArray:
    """Return ``values``, one for every cell of ``like`` in their order, with the labels of
    the cells; ``dim`` is that of independent draws, which a prediction has not.

    >>> run = xr.DataArray([[1.0, 1.2], [3.0, 2.9]], {"p": [-1, 0]}, ("p", "seed"))
    >>> shaped([1.1, 3.0], run).sel(p=0).item()
    3.0
    """
    one = like.isel({dim: 0})
    return one.copy(data=np.reshape(values, one.shape))


def predictions(function, *labels, dims=()) -> xr.DataArray:
    """Return ``function`` at every combination of the labelled values ``labels``, an
    array with the dimensions ``dims`` for each, or a number.

    >>> p = xr.DataArray([1, 2], {"p": [1, 2]})
    >>> found = predictions(lambda p, x: np.array([p * x, 0.0]), p, 3.0, dims=["side"])
    >>> found.sel(p=2).values.tolist()
    [6.0, 0.0]
    """
    return xr.apply_ufunc(function, *labels, vectorize=True, output_core_dims=[dims])


def extrapolated(values: xr.DataArray, dim: str = "steps") -> tuple:
    """Return ``values`` at two step sizes along ``dim``, the second half of the first,
    without the error of first order, and how large that was: what halving changed.
    """
    coarse, fine = (values.isel({dim: i}) for i in (0, 1))
    return 2 * fine - coarse, abs(fine - coarse)


def relative_gap(A, B) -> np.ndarray:
    r"""Return :math:`|A-B|/|B|` of the matrices ``A`` and ``B`` (..., m, n), Frobenius
    norms over the last two dimensions.

    >>> float(relative_gap([[3.0, 0.0]], [[2.0, 0.0]]))
    0.5
    """
    off = np.subtract(A, B)
    return np.linalg.norm(off, axis=(-2, -1)) / np.linalg.norm(B, axis=(-2, -1))
