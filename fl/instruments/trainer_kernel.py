r"""The inner loop of two-layer training, compiled and fused.

The network is :math:`f(x) = c + \sum_j a_j\,\mathrm{relu}(w_j^\top x + b_j)`, the loss
is the mean square. For one configuration the activations (h x n) fit in a core's cache.
They are written once, by the forward pass, and read once, by the backward pass, which
makes of them, a few rows at a time, the masked residuals :math:`M_{ji} = \rho_i\,1\{z_{ji}>0\}`,
:math:`\rho = 2(f-y)/n`. Everything else follows from the small matrix :math:`G =
M\,[X;1]^\top`, h x (d+1):

.. math:: \nabla_{w_j} = a_j G_{j,1..d},\quad \nabla_{b_j} = a_j G_{j,d+1},\quad
          \nabla_{a_j} = (w_j, b_j)\cdot G_j,\quad \nabla_c = \sum_i \rho_i .

The third identity (relu(z) = z 1{z>0}) saves a pass over the activations.

``dims`` is a tuple of d numbers: its length is known to the compiler, which then
unrolls the inner sum over inputs. ``net`` is one network, four arrays with the names
``W`` (h, d), ``b`` (h,), ``a`` (h,) and ``c`` (1,); h is its width.
"""

from typing import NamedTuple

import numba
import numpy as np

# fast sums, but NaN and infinity stay what they are: a diverged run has to be seen
_FAST = {"reassoc", "contract", "nsz", "arcp"}


def _jit(function):
    options = {"nogil": True, "error_model": "numpy", "fastmath": _FAST}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # neither the package nor the home can be written
        return numba.njit(**options)(function)


LOOK_EVERY = 10  # steps between two looks at the curvature
# averaging: 0.9 a step and 0.999 a step, as in AdaHessian's defaults
KEEP_SLOPE, KEEP_CURVATURE = 0.9, 0.99
FLOOR = 1e-3  # added to the relative curvature before its power is taken


class Rows(NamedTuple):
    """Training rows: inputs ``X`` (d, n), the same `with_ones` in ``X1``, labels ``y``
    (n,), and in ``batches`` (steps, m) the columns of each step; m = 0: all of them.
    """

    X: np.ndarray
    X1: np.ndarray
    y: np.ndarray
    batches: np.ndarray


class Rule(NamedTuple):
    """A step of size ``eta``: ``P`` (d, d) preconditions the gradient of W; with a
    finite ``exponent`` AdaHessian's curvature to that power does (`curvature_step`).
    """

    P: np.ndarray
    exponent: np.floating
    eta: np.floating


class Record(NamedTuple):
    """What to measure after ``steps`` (C,), on ``X_test`` (d, M) with labels ``Y_test``
    (K, M), and where it goes: ``losses`` (C,) on the training rows, ``errors`` (C, K).
    """

    steps: np.ndarray
    X_test: np.ndarray
    Y_test: np.ndarray
    losses: np.ndarray
    errors: np.ndarray


def with_ones(X):
    """Return the inputs ``X`` (d, n) with a row of ones below and rows of zeros up to a
    multiple of three, for `moments`.
    """
    d, n = X.shape
    rows = np.zeros((d + 3 - d % 3, n), X.dtype)
    rows[:d], rows[d] = X, 1
    return rows


@_jit
def forward(dims, X, net, Z, f):
    """Write relu(W X + b) of ``net`` to ``Z`` (h, n) and its outputs on ``X`` (d, n),
    d the length of ``dims``, to ``f`` (n,).
    """
    W, b, a, c = net
    zero = X.dtype.type(0)
    f[:] = c[0]
    for j in range(W.shape[0]):
        for i in range(f.shape[0]):
            z = b[j]
            for k in range(len(dims)):
                z += W[j, k] * X[k, i]
            z = max(z, zero)
            Z[j, i] = z
            f[i] += a[j] * z


@_jit
def moments(Z, rho, X1, G):
    """Write the product of the masked residuals ``rho`` (n,), zero where the activations
    ``Z`` (h, n) are, with ``X1`` (K, n) to ``G`` (h, K).

    Four neurons and three inputs at a time: twelve sums stay in registers, enough to
    hide how long one takes, and a masked row is used again while it is in cache. That
    beats a general matrix product of this shape.
    """
    h, n = Z.shape
    zero = Z.dtype.type(0)
    M = np.empty((4, n), Z.dtype)
    for j in range(0, h, 4):
        for q in range(4):
            row = Z[min(j + q, h - 1)]
            masked = M[q]
            for i in range(n):
                masked[i] = rho[i] if row[i] > zero else zero
        for k in range(0, X1.shape[0], 3):
            x0, x1, x2 = X1[k], X1[k + 1], X1[k + 2]
            a0 = a1 = a2 = b0 = b1 = b2 = zero
            c0 = c1 = c2 = d0 = d1 = d2 = zero
            for i in range(n):
                x, y, z = x0[i], x1[i], x2[i]
                u = M[0, i]
                a0 += u * x
                a1 += u * y
                a2 += u * z
                u = M[1, i]
                b0 += u * x
                b1 += u * y
                b2 += u * z
                u = M[2, i]
                c0 += u * x
                c1 += u * y
                c2 += u * z
                u = M[3, i]
                d0 += u * x
                d1 += u * y
                d2 += u * z
            sums = (a0, a1, a2), (b0, b1, b2), (c0, c1, c2), (d0, d1, d2)
            for q in range(min(4, h - j)):
                G[j + q, k], G[j + q, k + 1], G[j + q, k + 2] = sums[q]


@_jit
def look(Z, X1, a, squares, exponent, scale):
    r"""Add a look at the curvature to the running ``squares`` (h, d) and set ``scale``
    (h, d) by it, to the power ``exponent``.

    The curvature is the diagonal of the loss's Hessian in W, :math:`\frac2n a_j^2\sum_i
    1\{z_{ji}>0\}x_{ri}^2`, exact where no pre-activation is zero. ``Z`` (h, n) keeps
    its signs; ``X1`` (K, n) holds the inputs first; ``a`` (h,) is the second layer.
    """
    h, n = Z.shape
    d = scale.shape[1]
    dtype = Z.dtype
    one = dtype.type(1)
    keep = dtype.type(KEEP_CURVATURE)
    G = np.empty((h, X1.shape[0]), dtype)
    ones = np.ones(n, dtype)
    moments(Z, ones, X1 * X1, G)
    for j in range(h):
        for r in range(d):
            H = 2 * one / n * a[j] * a[j] * G[j, r]
            kept = keep * squares[j, r]
            added = (one - keep) * H * H
            squares[j, r] = kept + added
    scale[:] = np.sqrt(squares)
    # the correction for the short beginning of an average cancels in the ratio
    mean = scale.mean()
    floor = dtype.type(FLOOR)
    # no curvature at all (a head at zero): no input stands out
    if mean > 0:
        scale /= mean
    else:
        scale[:] = one
    scale[:] = (scale + floor) ** exponent


@_jit
def curvature_step(gradient, scale, slopes, step, update):
    """Average the ``gradient`` (h, d) in ``slopes`` (h, d) and write step number
    ``step``, scaled by ``scale`` (h, d), to ``update`` (h, d).

    Its length gives it, to first order, the decrease of a plain gradient step: no
    exponent needs a step size of its own.
    """
    h, d = scale.shape
    dtype = update.dtype
    one = dtype.type(1)
    keep = dtype.type(KEEP_SLOPE)
    plain = scaled = dtype.type(0)
    for j in range(h):
        for r in range(d):
            slope = gradient[j, r]
            square = slope * slope
            plain += square
            scaled += scale[j, r] * square
            kept = keep * slopes[j, r]
            added = (one - keep) * slope
            slopes[j, r] = kept + added
    begun = 1 - KEEP_SLOPE**step
    # without a gradient nothing moves
    length = dtype.type(0)
    if scaled > 0:
        length = dtype.type(plain / scaled / begun)
    for j in range(h):
        for r in range(d):
            update[j, r] = length * scale[j, r] * slopes[j, r]


@_jit
def mean_square(dims, X, Y, net, Z, f, errors):
    """Write the mean squared error of ``net`` on ``X`` (d, M), d that of ``dims``,
    against each row of ``Y`` (K, M) to ``errors`` (K,), in blocks of the size of the
    buffers ``Z`` (h, n) and ``f`` (n,), which fit in cache.
    """
    d, M = X.shape
    block = len(f)
    total = np.zeros(errors.shape[0])
    # contiguous, unlike a slice of X: the inner loop vectorises
    part = np.empty((d, block), X.dtype)
    for start in range(0, M, block):
        n = min(block, M - start)
        part[:, :n] = X[:, start : start + n]
        forward(dims, part, net, Z, f[:n])
        for k in range(Y.shape[0]):
            # a local sum: one in memory might overlap with f, and is then added up in
            # another order, as the addresses have it
            added = 0.0
            for i in range(n):
                gap = f[i] - Y[k, start + i]
                added += gap**2
            total[k] += added
    errors[:] = total / M


@_jit
def descend(eta, G, update, net):
    """Move W along ``update`` (h, d) and b, a of ``net`` along their gradients, by
    ``eta``, all read off ``G`` (h, K) before anything moves.
    """
    W, b, a, _ = net
    h, d = W.shape
    for j in range(h):
        slope = b[j] * G[j, d]
        for r in range(d):
            slope += W[j, r] * G[j, r]
            W[j, r] -= eta * update[j, r]
        b[j] -= eta * a[j] * G[j, d]
        a[j] -= eta * slope


@_jit
def train(dims, rows, rule, net, record):
    """Train one configuration in place, ``net`` on ``rows`` by ``rule``, and fill the
    ``record``, the last of whose steps ends it; ``dims`` is that of the inputs.
    """
    W, _, a, c = net
    steps, X_test, Y_test, losses, errors = record
    h, d = W.shape
    N = rows.X.shape[1]
    dtype = W.dtype
    diagonal = np.isfinite(rule.exponent)
    full = rows.batches.shape[1] == 0
    n = N if full else rows.batches.shape[1]
    X = rows.X[:, :n].copy()
    X1 = rows.X1[:, :n].copy()
    y = rows.y[:n].copy()
    Z = np.empty((h, n), dtype)
    f = np.empty(n, dtype)
    G = np.empty((h, len(X1)), dtype)
    Z_all = np.empty((h, N), dtype)
    f_all = np.empty(N, dtype)
    y_all = rows.y.reshape((1, N))
    gradient = np.empty((h, d), dtype)
    update = np.empty((h, d), dtype)
    slopes = np.zeros((h, d), dtype)
    squares = np.zeros((h, d), dtype)
    scale = np.ones((h, d), dtype)
    mean = 2 * dtype.type(1) / n
    at = 0
    for step in range(1, steps[-1] + 1):
        if not full:
            for i in range(n):
                column = rows.batches[step - 1, i]
                y[i] = rows.y[column]
                for k in range(d):
                    X[k, i] = X1[k, i] = rows.X[k, column]
        forward(dims, X, net, Z, f)
        if diagonal and (step - 1) % LOOK_EVERY == 0:
            look(Z, X1, a, squares, rule.exponent, scale)
        f[:] = (f - y) * mean
        moments(Z, f, X1, G)
        np.multiply(a[:, None], G[:, :d], gradient)
        if diagonal:
            curvature_step(gradient, scale, slopes, step, update)
        else:
            np.dot(gradient, rule.P, update)
        descend(rule.eta, G, update, net)
        c[0] -= rule.eta * f.sum()
        if steps[at] == step:
            loss = losses[at : at + 1]
            mean_square(dims, rows.X, y_all, net, Z_all, f_all, loss)
            mean_square(dims, X_test, Y_test, net, Z_all, f_all, errors[at])
            at += 1
