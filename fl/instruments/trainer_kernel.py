r"""The inner loop of two-layer training, compiled and fused.

The network is :math:`f(x) = c + \sum_j a_j\,\mathrm{relu}(w_j^\top x + b_j)`, the loss
is the mean square. For one configuration the activations (h x N) fit in a core's cache.
They are written once, by the forward pass, and read once, by the backward pass, which
overwrites them with the masked residuals :math:`M_{ji} = \rho_i\,1\{z_{ji}>0\}`,
:math:`\rho = 2(f-y)/N`. Everything else follows from the small matrix :math:`G =
M\,[X;1]^\top`, h x (d+1):

.. math:: \nabla_{w_j} = a_j G_{j,1..d},\quad \nabla_{b_j} = a_j G_{j,d+1},\quad
          \nabla_{a_j} = (w_j, b_j)\cdot G_j,\quad \nabla_c = \sum_i \rho_i .

The third identity (relu(z) = z 1{z>0}) saves a pass over the activations.

``dims`` is a tuple of d numbers: its length is known to the compiler, which then
unrolls the inner sum over inputs.
"""

import numba
import numpy as np

# fast sums, but NaN and infinity stay what they are: a diverged run has to be seen
_jit = numba.njit(
    cache=True,
    nogil=True,
    error_model="numpy",
    fastmath={"reassoc", "contract", "nsz", "arcp"},
)

LOOK_EVERY = 10  # steps between two looks at the curvature
KEEP_SLOPE, KEEP_CURVATURE = (
    0.9,
    0.99,
)  # averaging: 0.9 a step and 0.999 a step, as in AdaHessian's defaults
FLOOR = 1e-3  # added to the relative curvature before its power is taken


@_jit
def forward(dims, X, W, b, a, c, Z, f):
    """Write relu(W X + b) to ``Z`` (h, N) and the outputs of the network to ``f`` (N,)."""
    zero = c[0] - c[0]
    for i in range(f.shape[0]):
        f[i] = c[0]
    for j in range(W.shape[0]):
        for i in range(f.shape[0]):
            z = b[j]
            for k in range(len(dims)):
                z += W[j, k] * X[k, i]
            z = max(z, zero)
            Z[j, i] = z
            f[i] += a[j] * z


def with_ones(X):
    """Return the inputs (d, N) with a row of ones below and rows of zeros up to a
    multiple of four, for `moments`.
    """
    d, N = X.shape
    rows = np.zeros((-(-(d + 1) // 4) * 4, N), X.dtype)
    rows[:d], rows[d] = X, 1
    return rows


@_jit
def moments(Z, rho, X1, G):
    """Overwrite the activations ``Z`` (h, N) by masked residuals and write their
    product with ``X1`` (K, N) to ``G``.

    Two neurons and four inputs at a time: eight sums stay in registers, which beats a
    general matrix product here.
    """
    h, N = Z.shape
    zero = rho[0] - rho[0]
    for j in range(h):
        for i in range(N):
            Z[j, i] = rho[i] if Z[j, i] > zero else zero
    for j in range(0, h, 2):
        m = min(j + 1, h - 1)
        for k in range(0, X1.shape[0], 4):
            s0, s1, s2, s3, t0, t1, t2, t3 = (
                zero,
                zero,
                zero,
                zero,
                zero,
                zero,
                zero,
                zero,
            )
            for i in range(N):
                u, v = Z[j, i], Z[m, i]
                s0 += u * X1[k, i]
                s1 += u * X1[k + 1, i]
                s2 += u * X1[k + 2, i]
                s3 += u * X1[k + 3, i]
                t0 += v * X1[k, i]
                t1 += v * X1[k + 1, i]
                t2 += v * X1[k + 2, i]
                t3 += v * X1[k + 3, i]
            G[j, k], G[j, k + 1], G[j, k + 2], G[j, k + 3] = s0, s1, s2, s3
            G[m, k], G[m, k + 1], G[m, k + 2], G[m, k + 3] = t0, t1, t2, t3


@_jit
def look(Z, X1, a, squares, power, scale):
    r"""Add a look at the curvature to the running ``squares`` (h, d) and set ``scale``
    (h, d) by it.

    The curvature is the diagonal of the loss's Hessian in W, :math:`\frac2N a_j^2\sum_i
    1\{z_{ji}>0\}x_{ri}^2`, exact where no pre-activation is zero. ``Z`` (h, N) keeps
    its signs; ``X1`` (K, N) holds the inputs first.
    """
    one = Z.dtype.type(1)
    G = np.empty((Z.shape[0], X1.shape[0]), Z.dtype)
    moments(Z, np.ones(Z.shape[1], Z.dtype), X1 * X1, G)
    keep = Z.dtype.type(KEEP_CURVATURE)
    for j in range(scale.shape[0]):
        for r in range(scale.shape[1]):
            H = 2 * one / Z.shape[1] * a[j] * a[j] * G[j, r]
            squares[j, r] = keep * squares[j, r] + (one - keep) * H * H
            scale[j, r] = np.sqrt(squares[j, r])
    mean = (
        scale.mean()
    )  # the correction for the short beginning of an average cancels in the ratio
    for j in range(scale.shape[0]):
        for r in range(scale.shape[1]):
            scale[j, r] = (scale[j, r] / mean + Z.dtype.type(FLOOR)) ** power


@_jit
def curvature_step(gradient, scale, slopes, step, update):
    """Average the ``gradient`` (h, d) in ``slopes`` and write the scaled step to
    ``update``.

    Its length gives it, to first order, the decrease of a plain gradient step: no power
    needs a rate of its own.
    """
    one, keep = update.dtype.type(1), update.dtype.type(KEEP_SLOPE)
    plain, scaled = one - one, one - one
    for j in range(scale.shape[0]):
        for r in range(scale.shape[1]):
            square = gradient[j, r] * gradient[j, r]
            plain += square
            scaled += scale[j, r] * square
            slopes[j, r] = keep * slopes[j, r] + (one - keep) * gradient[j, r]
    length = update.dtype.type(plain / scaled / (1 - KEEP_SLOPE**step))
    for j in range(scale.shape[0]):
        for r in range(scale.shape[1]):
            update[j, r] = length * scale[j, r] * slopes[j, r]


@_jit
def mean_square(dims, X, Y, W, b, a, c, Z, f, errors):
    """Write the mean squared error against each row of ``Y`` (K, M) to ``errors`` (K,),
    in blocks that fit in cache.
    """
    block, M = Z.shape[1], X.shape[1]
    total = np.zeros(errors.shape[0])
    part = np.empty(
        (X.shape[0], block), X.dtype
    )  # contiguous, unlike a slice of X: the inner loop vectorises
    for start in range(0, M, block):
        n = min(block, M - start)
        part[:, :n] = X[:, start : start + n]
        forward(dims, part, W, b, a, c, Z, f[:n])
        for k in range(Y.shape[0]):
            for i in range(n):
                total[k] += (f[i] - Y[k, start + i]) ** 2
    for k in range(errors.shape[0]):
        errors[k] = total[k] / M


@_jit
def descend(rate, G, update, W, b, a):
    """Move W along ``update`` and b, a along their gradients, all read off ``G`` before
    anything moves.
    """
    d = W.shape[1]
    for j in range(W.shape[0]):
        slope = b[j] * G[j, d]
        for r in range(d):
            slope += W[j, r] * G[j, r]
            W[j, r] -= rate * update[j, r]
        b[j] -= rate * a[j] * G[j, d]
        a[j] -= rate * slope


@_jit
def train(
    dims,
    X,
    X1,
    y,
    batches,
    P,
    power,
    rate,
    checkpoints,
    X_test,
    Y_test,
    W,
    b,
    a,
    c,
    losses,
    errors,
):
    """Train one configuration in place; record it after ``checkpoints`` (C,) steps, the
    last of which ends it.

    ``X1`` is `with_ones` of ``X``. ``batches`` (steps, n) holds the columns of each
    step, or no columns for full batches. ``P`` (d, d) preconditions the gradient of W;
    with a finite ``power``, AdaHessian's curvature to that power does so instead
    (`curvature_step`).
    """
    d, N = X.shape
    h, full, diagonal = W.shape[0], batches.shape[1] == 0, np.isfinite(power)
    n = N if full else batches.shape[1]
    one = X.dtype.type(1)
    Xb, yb, X1 = X[:, :n].copy(), y[:n].copy(), X1[:, :n].copy()
    Z, f, G = (
        np.empty((h, n), X.dtype),
        np.empty(n, X.dtype),
        np.empty((h, len(X1)), X.dtype),
    )
    Z_all, f_all = np.empty((h, N), X.dtype), np.empty(N, X.dtype)
    gradient, update, slopes = (
        np.empty((h, d), X.dtype),
        np.empty((h, d), X.dtype),
        np.zeros((h, d), X.dtype),
    )
    squares, scale = np.zeros((h, d), X.dtype), np.ones((h, d), X.dtype)
    at = 0
    for step in range(1, checkpoints[-1] + 1):
        if not full:
            for i in range(n):
                column = batches[step - 1, i]
                yb[i] = y[column]
                for k in range(d):
                    Xb[k, i] = X1[k, i] = X[k, column]
        forward(dims, Xb, W, b, a, c, Z, f)
        if diagonal and (step - 1) % LOOK_EVERY == 0:
            look(Z, X1, a, squares, power, scale)
        f[:] = (f - yb) * (2 * one / n)
        moments(Z, f, X1, G)
        for j in range(h):
            for r in range(d):
                gradient[j, r] = a[j] * G[j, r]
        if diagonal:
            curvature_step(gradient, scale, slopes, step, update)
        else:
            np.dot(gradient, P, update)
        descend(rate, G, update, W, b, a)
        c[0] -= rate * f.sum()
        if checkpoints[at] == step:
            mean_square(
                dims,
                X,
                y.reshape((1, N)),
                W,
                b,
                a,
                c,
                Z_all,
                f_all,
                losses[at : at + 1],
            )
            mean_square(dims, X_test, Y_test, W, b, a, c, Z_all, f_all, errors[at])
            at += 1
