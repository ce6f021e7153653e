r"""Two exponents of an optimizer on gradients of known covariance: a test for a test suite.

    assert_exponent(lambda params: MyShampoo(params, lr=1e-3), left=-0.25, right=-0.25)

No model: one matrix W (h, d) is given :math:`G_t=A\mu^{1/2}\Xi_t\lambda^{1/2}B^\top`
with fresh normal :math:`\Xi_t`, so that :math:`\mathbb EGG^\top` has the eigenvalues
:math:`\mu\sum\lambda` and :math:`\mathbb EG^\top G` has :math:`\lambda\sum\mu`. In the
coordinates :math:`A^\top\cdot B` the gain of each entry, a ratio of sums over windows, is
fitted by :math:`c\,\mu_j^{\rm left}\lambda_k^{\rm right}`: exact for updates
:math:`L^rGR^p`. A test of two numbers: common factors (the step size, a bias correction)
and what depends on W (weight decay) are invisible.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from fl import validate

GROUPS = 4  # of interleaved windows, for the standard errors
FOLLOWS = 0.5  # kappa: with less, the update is no matter of the gradient
TOLERANCE, ROUNDS = 1e-9, 200
TEXT = (
    "left {left:+.3f} +- {left_error:.3f}, right {right:+.3f} +- {right_error:.3f}, "
    "kappa {kappa:.2f}"
)


class Bench(NamedTuple):
    """What the bench reads: the exponents ``left`` and ``right`` and their standard
    errors, ``kappa``, the cosine of the update with the fitted law, the ``gain`` (h, d)
    and the eigenvalues ``mu`` (h,) and ``lam`` (d,), whose eigenvectors are the columns
    of ``rows`` (h, h) and ``columns`` (d, d).
    """

    left: float
    right: float
    left_error: float
    right_error: float
    kappa: float
    gain: np.ndarray
    mu: np.ndarray
    lam: np.ndarray
    rows: np.ndarray
    columns: np.ndarray

    def __str__(self) -> str:
        return TEXT.format(**self._asdict())


def bench(
    make: Callable,
    shape: tuple[int, int] = (24, 12),
    ratios: tuple[float, float] = (10.0, 30.0),
    rotated: bool = True,
    momentum: float = 0.0,
    warm_up: int = 300,
    windows: tuple[int, int] = (8, 50),
    seed: int = 0,
) -> Bench:
    """Return the two exponents of an optimizer.

    Args:
        make: takes a list with one float64 parameter and returns a
            `torch.optim.Optimizer` for it.
        shape: h and d of the matrix.
        ratios: largest over smallest eigenvalue, of mu and of lam. A side of ratio 1 or
            length 1 is flat and tells no exponent: NaN.
        rotated: turn both bases at random; diagonal methods lose their exponents.
        momentum: filter the gradients like the buffer of heavy-ball momentum.
        warm_up: steps before the first window, for running statistics.
        windows: their number, 8 or a larger multiple of 4, and the steps in each.
        seed: of gradients and bases.

    Raises:
        ValueError: for sizes out of range, a ``make`` that returns no optimizer, or an
            optimizer that wants a closure.
    """
    for name, pair in [("shape", shape), ("ratios", ratios), ("windows", windows)]:
        validate.array(name, pair, (2,))
    h, d = (validate.count("shape entry", n) for n in shape)
    steep, steeper = (validate.number("ratios entry", r, 1) for r in ratios)
    mu = np.geomspace(1, 1 / steep, h)
    lam = np.geomspace(1, 1 / steeper, d)
    number, length = (validate.count("windows entry", n) for n in windows)
    if number % GROUPS or number == GROUPS:
        raise ValueError(f"windows = {windows}: their number must be 8, 12, 16, ...")
    momentum = validate.number("momentum", momentum, 0, 1)
    rng = np.random.default_rng(validate.count("seed", seed, 0))
    start = validate.count("warm_up", warm_up, 0)
    A, B = (
        np.linalg.qr(rng.standard_normal((n, n))).Q if rotated else np.eye(n)
        for n in (h, d)
    )
    left, right = A * np.sqrt(mu), B * np.sqrt(lam)
    W = torch.nn.Parameter(torch.zeros(h, d, dtype=torch.float64))
    optimizer = make([W])
    if not callable(getattr(optimizer, "step", None)):
        raise ValueError(f"make(params) = {optimizer!r}: must be an optimizer")
    # of the warm-up, then of the windows: where the weights end, sums of gradients
    filtered, (places, sums) = 0.0, np.zeros((2, 1 + number, h, d))
    for step in range(-start, number * length):
        window = 1 + max(step // length, -1)
        noise = rng.standard_normal((h, d))
        G = left @ noise @ right.T
        filtered = momentum * filtered + G
        W.grad = torch.as_tensor(G)
        _step(optimizer)
        places[window] = W.detach().numpy()
        sums[window] += filtered
    with np.errstate(all="ignore"):
        moves = np.diff(places, axis=0)
        D, S = (A.T @ part @ B for part in (moves, sums[1:]))
        return _report(D, S, mu, lam, A, B)


def assert_exponent(
    make: Callable,
    left: float | None = None,
    right: float | None = None,
    tol: float = 0.05,
    **options,
) -> Bench:
    """Pass if both exponents of an optimizer are what they should be; return the bench.

    An exponent passes if it is within ``tol`` and two standard errors are within ``tol``
    too: they are large just where the gain is no power. Kappa must be at least 0.5.

    Args:
        make: as in `bench`.
        left: the exponent of the gradient's row side, not asked if None.
        right: that of its input side.
        tol: largest error.
        options: of `bench`.

    Raises:
        AssertionError: if an exponent is another one, or cannot be told.
        ValueError: if nothing is asked, or for an argument that `bench` refuses.
    """
    wanted = {"left": left, "right": right}
    asked = {
        side: validate.number(side, p) for side, p in wanted.items() if p is not None
    }
    tol = validate.number("tol", tol, 0, open_low=True)
    if not asked:
        raise ValueError("left = right = None: must ask for at least one exponent")
    found = bench(make, **options)
    for side, p in asked.items():
        read, error = getattr(found, side), getattr(found, f"{side}_error")
        if not (2 * error <= tol and FOLLOWS <= found.kappa < np.inf):
            raise AssertionError(
                f"{side}: cannot tell, {read:.3f} +- {error:.3f} (is the gain a power? "
                f"kappa {found.kappa:.2f}); two standard errors must be within {tol:g}, "
                f"kappa at least {FOLLOWS}"
            )
        if not abs(read - p) <= tol:
            raise AssertionError(
                f"{side} = {read:.3f} +- {error:.3f}: must be {p:g} +- {tol:g}"
            )
    return found


def _step(optimizer) -> None:
    try:
        optimizer.step()
    except TypeError as error:
        if "closure" not in str(error):
            raise
        raise ValueError(
            f"make(params) is a {type(optimizer).__name__}, whose step wants a closure: "
            "methods that evaluate the loss cannot be benched"
        ) from error


def _report(D, S, mu, lam, *bases) -> Bench:
    """Return the exponents from the windows D and S (window, h, d)."""
    design = np.array(np.meshgrid(np.log(mu), np.log(lam), indexing="ij"))
    grouped = -1, GROUPS, *design.shape[1:]
    along = (-D * S).reshape(grouped)
    size = (S**2).reshape(grouped)
    gain = along.sum((0, 1)) / size.sum((0, 1))
    found = _fit(gain, design)
    parts = [_fit(one, design) for one in along.sum(0) / size.sum(0)]
    law = S * np.exp(np.tensordot(found, design, 1))
    lengths = np.linalg.norm([D, law], axis=(2, 3))
    cosines = -(D * law).sum((1, 2)) / lengths.prod(0)
    errors = np.std(parts, axis=0, ddof=1) / GROUPS**0.5
    numbers = np.array([found, errors])
    flat = np.ptp(design, (1, 2)) < TOLERANCE
    numbers[:, flat] = np.nan
    numbers = map(float, [*numbers.flat, cosines.mean()])
    return Bench(*numbers, gain, mu, lam, *bases)


def _fit(gain, design) -> np.ndarray:
    """Return the exponents (2,) of a gain (h, d) by relative least squares: the residuals
    gain / law - 1 are orthogonal to the design, so noise in the gain leaves no bias.
    """
    x = design.reshape(2, -1)
    x = np.insert(x - x.mean(1, keepdims=True), 0, 1, axis=0)
    level = gain.mean()
    theta, y = np.zeros(3), gain.ravel() / level
    inverse = np.linalg.pinv(x.T)
    for _ in range(ROUNDS):
        residual = y * np.exp(-theta @ x) - 1
        move = inverse @ residual
        size = abs(move).max()
        theta += move / max(1, size)
        if size < TOLERANCE and level > 0:
            return theta[1:]
    return np.full(2, np.nan)
