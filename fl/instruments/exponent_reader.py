r"""Which power of the input moment did a first layer W (h, d) train in? Two readers of
the weights.

Both know the eigenvectors :math:`u_k` and eigenvalues :math:`\lambda_k` of the moment
whose power the metric was, and nothing of the training. At rest under decoupled decay
:math:`kW=-GP`, so :math:`|Wu_k|/|Gu_k|\propto\lambda_k^p`; where the layers of a ReLU
network are balanced in the metric, :math:`w_j^\top P^{-1}w_j=|a_j|^2` for every neuron.
Derived in chapter "feature_matrix".
"""

from typing import NamedTuple

import numpy as np
from scipy import optimize, stats

from fl import validate
from fl.tasks import Spectrum

SEEN, ALIVE = 1e-8, 0.01  # of the largest: directions with a gradient, neurons in use
RANGE = np.linspace(-4, 4, 41)  # of exponents


class Reading(NamedTuple):
    """An exponent, its standard error, and how far the law is from holding at it: 0 is a
    perfect fit.

    ``misfit`` is the standard deviation of the log ratio's residual for
    `read_gradient`, and :math:`1-R^2` of the logarithms of the readouts for
    `read_balance`.
    """

    p: float
    error: float
    misfit: float


def read_gradient(W, G, spectrum: Spectrum) -> Reading:
    r"""Return the slope of :math:`\log(|Wu_k|/|Gu_k|)` on :math:`\log\lambda_k`.

    Args:
        W: weights (h, d), at rest under decoupled decay, or their average over time.
        G: the plain gradient (h, d) there, or its average over the same time.
        spectrum: eigenvalues and eigenvectors of the moment; a direction without
            gradient is left out.

    Raises:
        ValueError: for shapes that do not fit, or fewer than three directions.
    """
    W = validate.array("W", W, ("h", spectrum.d))
    G = validate.array("G", G, W.shape)
    U = _basis(spectrum)
    weights = np.linalg.norm(W @ U, axis=0)
    slopes = np.linalg.norm(G @ U, axis=0)
    seen = slopes > SEEN * slopes.max()
    seen &= weights > 0
    if seen.sum() < 3:
        raise ValueError(f"G is seen in {seen.sum()} directions: must be three or more")
    ratio = weights[seen] / slopes[seen]
    ratio = np.log(ratio)
    x = np.log(spectrum.eigenvalues[seen])
    line = stats.linregress(x, ratio)
    residual = ratio - line.slope * x
    return Reading(line.slope, line.stderr, residual.std())


def read_balance(W, squares, spectrum: Spectrum) -> Reading:
    r"""Return the q at which :math:`\log w_j^\top\Sigma^{-q}w_j-\log|a_j|^2` varies least
    over the neurons.

    The error is that of Gauss and Newton, from the spread that is left. Where the spread
    has no minimum between -4 and 4, fewer than four neurons are in use, or all readouts
    are equal, nothing can be read: NaN.

    Args:
        W: weights (h, d), a neuron per row.
        squares: (h,), the squared readout :math:`|a_j|^2` of each neuron, less its
            squared bias; those below 1 % of the largest are left out.
        spectrum: eigenvalues and eigenvectors of the moment, without null directions.

    Raises:
        ValueError: for shapes that do not fit, or a zero eigenvalue.
    """
    W = validate.array("W", W, ("h", spectrum.d))
    squares = validate.array("squares", squares, (len(W),))
    x = np.log(validate.positive("eigenvalues", spectrum.eigenvalues))
    least = ALIVE * squares.max()
    alive = squares > max(least, 0)
    coordinates = W[alive] @ _basis(spectrum)
    coordinates **= 2
    readout = np.log(squares[alive])

    def spread(q: float) -> float:
        size = coordinates @ np.exp(-q * x)
        return np.var(np.log(size) - readout)

    if alive.sum() < 4 or np.ptp(readout) == 0:
        return Reading(np.nan, np.nan, np.nan)
    spreads = [spread(q) for q in RANGE]
    place = np.argmin(spreads)
    whole = readout.var()
    if place in (0, len(RANGE) - 1):
        return Reading(np.nan, np.nan, spreads[place] / whole)
    bounds = RANGE[place - 1], RANGE[place + 1]
    exact = {"xatol": 1e-9}
    q = optimize.minimize_scalar(spread, bounds=bounds, options=exact).x
    scale = np.exp(-q * x)
    shares = coordinates * scale
    lean = shares @ x / shares.sum(1)
    left = spread(q)
    freedom = len(readout) - 2
    error = np.sqrt(left / freedom)
    error /= lean.std()
    return Reading(q, error, left / whole)


def _basis(spectrum: Spectrum) -> np.ndarray:
    if spectrum.rotation is None:
        return np.eye(spectrum.d)
    return spectrum.rotation
