r"""What features can be read for: new heads on a first layer that stays as it is.

A head is fitted to the 200 training rows of a task by centred ridge regression on
:math:`\phi(x)=\mathrm{relu}(Wx+b)`,

.. math:: \min_{w,c}\ \sum_i(w^\top\phi(x_i)+c-y_i)^2+\lambda n|w|^2 .

Another 200 rows choose the penalty :math:`\lambda` where it is tuned; the rest measure
the error.
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from fl import validate
from fl.instruments.trainer import Network
from fl.simulate.noise import TRAIN
from fl.tasks import Batch

PENALTY = 1e-3  # of the released scripts
PENALTIES = tuple(10.0**k for k in range(-8, 1))
VALIDATION = 200  # rows that choose the penalty, after the training rows


def ridge_errors(
    network: Network, batches: Sequence[Batch], penalties: Sequence[float] = PENALTIES
) -> xr.Dataset:
    r"""Fit heads to the features of B networks and return their errors.

    Args:
        network: the networks; their second layers are not used.
        batches: K sets of labels on the same inputs; training rows, then validation
            rows, then test rows.
        penalties: values of :math:`\lambda` (R,).

    Returns:
        mean squared errors on noisy labels in units of their variance, dimensions p
        (B), target (K) and penalty (R): on the ``validation`` rows and on the ``test``
        rows.

    Raises:
        ValueError: unless all ``penalties`` are > 0.
    """
    penalties = validate.positive("penalties", penalties, ("R",))
    X = batches[0].X
    Y = np.array([batch.y for batch in batches])
    known = Y[:, :TRAIN]
    Y = Y - known.mean(1, keepdims=True)
    validation, test = [], []
    for W, b in zip(network.W, network.b, strict=True):
        Z = W @ X + b[:, None]
        F = np.maximum(Z, 0).astype(float)
        fitted = F[:, :TRAIN]
        heads = ridge_heads(fitted, Y[:, :TRAIN], penalties)
        mean = fitted.mean(1, keepdims=True)
        new = F[:, TRAIN:] - mean
        gaps = heads @ new - Y[:, None, TRAIN:]
        squares = gaps**2
        choosing, measuring = np.split(squares, [VALIDATION], axis=-1)
        validation.append(choosing.mean(-1))
        test.append(measuring.mean(-1))
    dims = ("p", "target", "penalty")
    errors = {"validation": validation, "test": test}
    return xr.Dataset(
        {name: (dims, np.array(error)) for name, error in errors.items()},
        {"penalty": penalties},
    )


def ridge_heads(F, Y, penalties) -> np.ndarray:
    r"""Return :math:`w=(F_cF_c^\top+\lambda nI)^{-1}F_cy` on centred features for all
    labels and penalties.

    Args:
        F: features (h, n), centred here.
        Y: centred labels (K, n).
        penalties: values of :math:`\lambda` (R,).

    Returns:
        weights (K, R, h), all from one singular value decomposition.
    """
    n = F.shape[1]
    centred = F - F.mean(1, keepdims=True)
    U, s, Vt = np.linalg.svd(centred, full_matrices=False)
    penalties = np.asarray(penalties)
    raised = n * penalties[:, None]
    gain = s / (s**2 + raised)
    along = (Y @ Vt.T)[:, None]
    return (along * gain) @ U.T


def tuned(errors: xr.Dataset) -> xr.DataArray:
    """Return the test ``errors`` at the penalty with the smallest validation error; the
    penalty stays as a coordinate.
    """
    best = errors["validation"].argmin("penalty")
    return errors["test"].isel(penalty=best)
