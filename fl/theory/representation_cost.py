r"""Floating-point operations of one step of each optimizer on the two layers of
:math:`\hat y = F G x`.

Leading terms, a multiplication and an addition counted as two. A dense solve of size q
costs :math:`\tfrac23 q^3`, a symmetric eigendecomposition :math:`9q^3`, a thin singular
value decomposition of (a, b), a <= b, :math:`6a^2b + 20a^3`.

``dX`` inputs, ``k`` features and ``dY`` outputs, ``n`` samples to a batch.
"""

import numpy as np

from fl import validate

ELEMENTWISE = {  # operations per weight
    "SGD": 2,
    "momentum": 4,
    "Adam": 12,
    "AdamW": 14,
    "batch-norm": 2,
    "batch-norm + Adam": 12,
}
# operations for a matrix (a, b), a <= b: coefficients of a^2 b, a b^2, a^3, b^3, a b
MATRIX = {
    "Muon": (20, 0, 10, 0, 4),  # five Newton-Schulz steps
    "Muon exact": (8, 0, 20, 0, 4),  # one singular value decomposition
    "Shampoo": (4, 4, 11, 11, 0),  # two factors, their roots, two products
    # three rotations and the two factors each step, one power iteration with a QR every
    # ten
    "SOAP": (8, 8, 8 / 15, 8 / 15, 12),
}
KRONECKER = ("KFAC", "KFAC left", "KFAC right", "NGD")


def gradient_flops(dX: int, dY: int, k: int, n: int) -> float:
    """Return the cost of both gradients: n k (4 dX + 6 dY), for ``dX``, ``dY``, ``k``
    and ``n`` as above.

    >>> gradient_flops(40, 12, 4, 256)
    237568

    Raises:
        ValueError: for a size below 1.
    """
    sizes = {"dX": dX, "dY": dY, "k": k, "n": n}
    for name, size in sizes.items():
        validate.count(name, size)
    return n * k * (4 * dX + 6 * dY)


def step_flops(optimizer: str, dX: int, dY: int, k: int, n: int) -> float:
    """Return the operations of one step of ``optimizer``, gradients included, for
    ``dX``, ``dY``, ``k`` and ``n`` as above.

    Raises:
        ValueError: for an unknown optimizer, or a size below 1.
    """
    validate.choice("optimizer", optimizer, [*ELEMENTWISE, *MATRIX, *KRONECKER])
    sizes = {"dX": dX, "dY": dY, "k": k, "n": n}
    total = gradient_flops(**sizes)
    if optimizer in KRONECKER:
        return total + _kronecker(optimizer, **sizes)
    if optimizer in MATRIX:
        total += _matrix(optimizer, k, dX)
        return total + _matrix(optimizer, k, dY)
    if optimizer.startswith("batch-norm"):
        total += 10 * n * k
    weights = k * (dX + dY)
    return total + ELEMENTWISE[optimizer] * weights


def _matrix(optimizer, *shape):
    a, b = sorted(shape)
    terms = [
        a**2 * b,
        a * b**2,
        a**3,
        b**3,
        a * b,
    ]
    return np.dot(MATRIX[optimizer], terms)


def _product(a, b, c):
    return 2 * a * b * c


def _solve(q, columns):
    factorisation = 2 / 3 * q**3
    return factorisation + _product(q, q, columns)


def _kronecker(optimizer, dX, dY, k, n):
    inputs = _product(n, dX, dX)
    features = _product(n, k, k)
    head = _product(dY, k, k)
    if optimizer == "NGD":
        weights = k * (dX + dY)
        mixed = _product(n, k, dX) + weights**2
        matrix = inputs + features + head + mixed
        return matrix + _solve(weights, 0)
    left = head + _solve(k, dX)
    right = inputs + _solve(dX, k)
    sides = {
        "KFAC": left + right,
        "KFAC left": left,
        "KFAC right": right,
    }
    return features + _solve(k, dY) + sides[optimizer]
