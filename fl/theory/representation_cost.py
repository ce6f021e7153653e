r"""Floating-point operations of one step of each optimizer on the two layers of
:math:`\hat y = F G x`.

Leading terms, a multiplication and an addition counted as two. A dense solve of size q
costs :math:`\tfrac23 q^3`, a symmetric eigendecomposition :math:`9q^3`, a thin singular
value decomposition of (a, b), a <= b, :math:`6a^2b + 20a^3`.
"""

from fl import validate

ELEMENTWISE = {
    "SGD": 2,
    "momentum": 4,
    "Adam": 12,
    "AdamW": 14,
    "batch-norm": 2,
    "batch-norm + Adam": 12,
}
STRUCTURED = (
    "Muon",
    "Muon exact",
    "Shampoo",
    "SOAP",
    "KFAC",
    "KFAC left",
    "KFAC right",
    "NGD",
)


def gradient_flops(dX: int, dY: int, k: int, n: int) -> float:
    """Return the cost of both gradients on ``n`` samples: n k (4 dX + 6 dY).

    >>> gradient_flops(40, 12, 4, 256)
    237568
    """
    return n * k * (4 * dX + 6 * dY)


def step_flops(optimizer: str, dX: int, dY: int, k: int, n: int) -> float:
    """Return the operations of one step, gradients on ``n`` samples included.

    Raises:
        ValueError: for an unknown optimizer.
    """
    validate.choice("optimizer", optimizer, [*ELEMENTWISE, *STRUCTURED])
    dX, dY, k, n = (
        validate.count(name, v)
        for name, v in [("dX", dX), ("dY", dY), ("k", k), ("n", n)]
    )
    base, weights = gradient_flops(dX, dY, k, n), k * (dX + dY)
    if optimizer in ELEMENTWISE:
        return (
            base
            + ELEMENTWISE[optimizer] * weights
            + (10 * n * k if optimizer.startswith("batch") else 0)
        )
    if optimizer == "NGD":
        factors = 2 * n * (dX**2 + k**2 + k * dX) + 2 * dY * k**2 + weights**2
        return base + factors + 2 / 3 * weights**3
    if optimizer.startswith("KFAC"):
        left = 2 * dY * k**2 + 2 / 3 * k**3 + 2 * k**2 * dX
        right = 2 * n * dX**2 + 2 / 3 * dX**3 + 2 * dX**2 * k
        head = 2 * n * k**2 + 2 / 3 * k**3 + 2 * k**2 * dY
        return (
            base
            + head
            + left * (optimizer != "KFAC right")
            + right * (optimizer != "KFAC left")
        )
    matrix = {
        "Muon": _newton_schulz,
        "Muon exact": _polar,
        "Shampoo": _shampoo,
        "SOAP": _soap,
    }[optimizer]
    return base + sum(matrix(min(k, d), max(k, d)) for d in (dX, dY))


def _newton_schulz(a: int, b: int) -> float:
    return 5 * (4 * a**2 * b + 2 * a**3) + 4 * a * b


def _polar(a: int, b: int) -> float:
    return 8 * a**2 * b + 20 * a**3 + 4 * a * b


def _shampoo(a: int, b: int) -> float:
    return 4 * a * b * (a + b) + 11 * (a**3 + b**3)


def _soap(a: int, b: int) -> float:
    # three rotations and the two factors each step, one power iteration with a QR every
    # ten
    return 8 * a * b * (a + b) + (2 + 10 / 3) / 10 * (a**3 + b**3) + 12 * a * b
