"""Solvers of the theory against direct transcriptions: ``python benchmarks/solvers.py``.

The transcriptions are damped fixed-point iterations in plain numpy, as one would type them
from the page: of the trace of the resolvent over the spectrum of the features, of the test
error of ridge over all eigenvalues, and of the error curve of a trained network. They
iterate until nothing moves in the tenth digit. Nearer to the real axis the one of the spectrum
ends at a wrong solution; that of the package follows the right one down.
"""

from clock import Row, agree, clocked, main

# isort: split
import numpy as np

from fl.links import LINKS
from fl.theory import alignment_ridge
from fl.theory.spectrum_error import ReadOut
from fl.theory.spectrum_features import conditional_features, giant_step
from fl.theory.spectrum_resolvent import resolvent

SIN, TANH = LINKS["sin"], LINKS["tanh"]
ALPHA, DELTA, STILL = 2.0, 1.0, 1e-11
STEPS = 100_000


def iterated(step, x: np.ndarray) -> np.ndarray:
    """Return the limit of ``x -> (x + step(x))/2``, elementwise.

    Raises:
        ArithmeticError: if it still moves after `STEPS` sweeps.
    """
    for _ in range(STEPS):
        new = (x + step(x)) / 2
        if np.abs(new - x).max() < STILL * np.abs(new).max():
            return new
        x = new
    raise ArithmeticError("the iteration still moves")


def typed_resolvent(features, z: complex) -> complex:
    """Return the trace nu of one block at one point, by iteration."""
    mu1, mu2sq, weight = features.mu1[:, 0], features.mu2sq[:, 0], features.weight
    s = -ALPHA * z

    def step(x):
        V, nu = x
        D = ALPHA * weight / (1 + mu1**2 * V + mu2sq * nu)
        V_hat, nu_hat = D @ mu1**2, D @ mu2sq
        new = nu / (1 + DELTA * nu * V_hat)
        return np.array([new, (1 - new * V_hat) / (s + nu_hat)])

    return iterated(step, np.array([1 / s, 1 / s]))[1]


def typed_ridge(lam, energy, n: int, penalty: float, noise: float) -> float:
    """Return the test error of ridge from the loop for kappa."""
    step = lambda kappa: penalty + kappa * (lam / (lam + kappa)).sum() / n  # noqa: E731
    kappa = iterated(step, np.array([penalty]))[0]
    u = lam / (lam + kappa)
    return (energy @ (1 - u) ** 2 + noise) / (1 - (u**2).sum() / n)


def spectrum(long: bool):
    """Yield the resolvent at points above the spectrum."""
    features = conditional_features(TANH, giant_step(SIN, TANH, 3.0, 20.0))
    for points in (10, 40, 160):
        z = np.geomspace(0.05, 3, points) * (1 + 0.05j)
        ours = lambda z=z: resolvent(features, z, ALPHA, DELTA).nu[:, 0]  # noqa: E731
        typed = lambda z=z: np.array([typed_resolvent(features, x) for x in z])  # noqa: E731
        if points == 10:
            gap = np.abs(ours() / typed() - 1).max()
            agree("resolvent", gap, 1e-7)
            made = clocked(typed, repeats=3)
            yield Row("solvers", "resolvent, typed, points:", **made, size=points)
        made = clocked(ours)
        yield Row("solvers", "resolvent, points:", **made, size=points)


def eigenvalues(long: bool):
    """Yield the error of ridge over more and more eigenvalues, n = d/4."""
    for d in (1000, 4000, 16000, 64000, *[256_000, 1_024_000] * long):
        lam = np.arange(1, d + 1) ** -1.5
        energy, n = lam * np.arange(1, d + 1) ** -0.5, d // 4
        typed = lambda x=(lam, energy, n): typed_ridge(*x, 1e-3, 0.1)  # noqa: E731
        ours = lambda x=(lam, energy, 0.0, n): (  # noqa: E731
            alignment_ridge.ridge_risk(*x, 1e-3, 0.1).test
        )
        agree(f"ridge error, {d} eigenvalues", abs(ours() / typed() - 1), 1e-7)
        made = clocked(ours)
        yield Row("solvers", "ridge error, eigenvalues:", **made, size=d, work=d)
        made = clocked(typed, repeats=3)
        yield Row("solvers", "ridge error, typed, eigenvalues:", **made, size=d, work=d)


def curve(long: bool):
    """Yield the error curve of a network after a giant step."""
    solver = ReadOut(SIN, TANH, giant_step(SIN, TANH, 3.0, 20.0))
    for points in (5, 20, 80):
        alphas = np.geomspace(0.2, 3, points)
        made = clocked(lambda a=alphas: solver.error(0.1, a, DELTA))
        yield Row("solvers", "error curve of a network, points:", **made, size=points)


def rows(long: bool):
    """Yield all rows."""
    for part in (spectrum, eigenvalues, curve):
        yield from part(long)


if __name__ == "__main__":
    main(rows, __doc__)
