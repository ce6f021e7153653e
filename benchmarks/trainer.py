"""The fused trainer against the published loop and a batched one, on the label-noise
experiment of the book: ``python benchmarks/trainer.py``.

The published loop trains one network at a time with autograd and evaluates the 9,800 test
rows in every epoch; the batched loop trains all configurations in one, without test rows.
Everything is per configuration and epoch. Then the parts of one full-batch step, each
called by itself, beside the rate of a matrix product of the same shape.
"""

from clock import THREADS, Row, agree, clocked, main, shared

# isort: split
import numpy as np
import torch

from fl.instruments import trainer
from fl.instruments import trainer_kernel as kernel
from fl.numerics import log_steps
from fl.simulate import noise

# the well-conditioned cells of case High: p = -2 amplifies rounding
EXPONENTS = [-1.0, 0.0, 1.0]
SHORT, ETA = 300, noise.ETA
COUNTS = [1, 4, 16, 64, 256]


def problem(copies: int) -> tuple:
    """Return rows, labels, preconditioners (B, d, d) and B starts."""
    task, (X, y, _) = noise.sample(0, "high", 1.0)
    powers = np.array([task.spectrum.power(p) for p in EXPONENTS])
    P = powers[np.arange(copies) % len(powers)]
    rng = np.random.default_rng([0, 3])
    return X, y, P, trainer.kaiming(copies, noise.WIDTH, len(X), rng)


def published(X, y, P, start, epochs: int, evaluate: bool) -> float:
    """Train one network the plain way; return its final test error."""
    W, b, a, c = (
        torch.tensor(part, dtype=torch.float32, requires_grad=True) for part in start
    )
    X, y, P = (torch.tensor(part, dtype=torch.float32) for part in (X.T, y, P))
    cut = noise.TRAIN

    def error(inputs, targets):
        return ((torch.relu(inputs @ W.T + b) @ a + c - targets) ** 2).mean()

    for _ in range(epochs):
        error(X[:cut], y[:cut]).backward()
        with torch.no_grad():
            W -= ETA * W.grad @ P
            for part in (b, a, c):
                part -= ETA * part.grad
            for part in (W, b, a, c):
                part.grad = None
            if evaluate:
                error(X[cut:], y[cut:])
    with torch.no_grad():
        return error(X[cut:], y[cut:]).item()


def batched(X, y, P, start, epochs: int) -> np.ndarray:
    """Train all networks in one autograd loop; return their final errors on the rows
    after the training rows, if there are some.
    """
    parts = [torch.tensor(w, dtype=torch.float32, requires_grad=True) for w in start]
    X, y, P = (torch.tensor(part, dtype=torch.float32) for part in (X, y, P))
    cut = noise.TRAIN

    def errors(inputs, targets):
        W, b, a, c = parts
        active = torch.relu(W @ inputs + b[:, :, None])
        return ((torch.einsum("bh,bhn->bn", a, active) + c - targets) ** 2).mean(1)

    for _ in range(epochs):
        slopes = torch.autograd.grad(errors(X[:, :cut], y[:cut]).sum(), parts)
        with torch.no_grad():
            for w, slope in zip(parts, [slopes[0] @ P, *slopes[1:]], strict=True):
                w -= ETA * slope
    with torch.no_grad():
        return errors(X[:, cut:], y[cut:]).numpy()


def few_rows(X, y, *rest) -> tuple:
    """Return a problem with ten test rows, so that training alone counts."""
    return X[:, : noise.TRAIN + 10], y[: noise.TRAIN + 10], *rest


def fused(X, y, P, start, steps) -> np.ndarray:
    """Train all networks with `fl`, in the precision of the others; return their final
    test errors.
    """
    T = noise.TRAIN
    data = trainer.Data(X[:, :T], y[:T], X[:, T:], y[None, T:])
    ends = trainer.train(data, P, start, steps, eta=ETA, dtype="float32")
    return ends.test[:, -1, 0]


def two_hundred(steps: int) -> np.ndarray:
    """Return 200 steps on a logarithmic grid up to ``steps``."""
    enough = (n for n in range(200, 5000) if len(log_steps(steps, n)) >= 200)
    return log_steps(steps, next(enough))[-200:]


def loops(long: bool):
    """Yield seconds per configuration and epoch."""
    X, y, P, start = problem(3)
    first = trainer.Network(*(part[0] for part in start))
    ends = fused(X, y, P, start, [SHORT])
    plain = batched(X, y, P, start, SHORT)
    alone = published(X, y, P[0], first, SHORT, False)
    agree("fused and batched training", np.abs(ends / plain - 1).max(), 1e-4)
    agree("fused and published training", abs(ends[0] / alone - 1), 1e-4)

    group = "trainer"
    run = clocked(lambda: published(X, y, P[0], first, 4, True), repeats=3)
    yield Row(group, "published loop, 9,800 test rows an epoch", **shared(run, 4))
    run = clocked(lambda: published(X, y, P[0], first, 100, False), repeats=3)
    yield Row(group, "published loop, no test rows", **shared(run, 100))
    for copies in COUNTS[:4]:
        problem_of = few_rows(*problem(copies))
        epochs = max(4, 64 // copies)
        run = clocked(lambda p=problem_of, e=epochs: batched(*p, e), repeats=3)
        each = shared(run, copies * epochs)
        yield Row(group, "batched loop, no test rows", size=copies, **each)
    for copies in COUNTS:
        problem_of, steps = few_rows(*problem(copies)), max(16, 2048 // copies)
        run = clocked(lambda p=problem_of, s=steps: fused(*p, [s]), repeats=3)
        each = shared(run, copies * steps)
        yield Row(group, "fused, no test rows", size=copies, **each)
    one = X, y, P[:1], trainer.Network(*(part[:1] for part in start))
    for steps in (3000, *[10_000] * long):
        grid = two_hundred(steps)
        run = shared(clocked(lambda g=grid: fused(*one, g), repeats=3), steps)
        yield Row(group, "fused, 200 test errors, steps:", size=steps, **run)


def parts(long: bool):
    """Yield the parts of one full-batch step, and what the machine can do."""
    X, y, P, start = problem(1)
    d, N, h = len(X), noise.TRAIN, noise.WIDTH
    X, P = np.ascontiguousarray(X[:, :N], np.float32), P[0].astype(np.float32)
    net = trainer.Network(*(part[0].astype(np.float32) for part in start))
    W, X1, rho = net.W, kernel.with_ones(X), y[:N].astype(np.float32)
    Z, f = np.empty((h, N), np.float32), np.empty(N, np.float32)
    G, update = np.empty((h, len(X1)), np.float32), np.empty((h, d), np.float32)
    gradient, XT = np.empty((h, d), np.float32), np.ascontiguousarray(X.T)

    def move() -> None:
        np.multiply(net.a[:, None], G[:, :d], gradient)
        np.dot(gradient, P, update)
        kernel.descend(np.float32(0), G, update, net)

    def residual() -> None:
        np.multiply(f - rho, np.float32(2 / N), f)

    forward = lambda: kernel.forward((0,) * d, X, net, Z, f)  # noqa: E731
    backward = lambda: kernel.moments(Z, rho, X1, G)  # noqa: E731
    forward()
    mask = np.where(Z > 0, rho, 0)
    backward()  # leaves Z as the mask of the mask: as much to do
    gap = np.abs(G - mask @ X1.T).max() / np.abs(G).max()
    agree("backward and a matrix product", gap, 1e-5)

    group, flops = "step", 2.0 * h * N * d
    calls = {"calls": 400}
    yield Row(
        group, "forward, with relu and output", **clocked(forward, **calls), work=flops
    )
    yield Row(group, "residual", **clocked(residual, **calls))
    yield Row(
        group, "backward, with the mask", **clocked(backward, **calls), work=flops
    )
    yield Row(group, "update of all weights", **clocked(move, **calls))
    many = np.empty((h, N), np.float32)
    product = clocked(lambda: np.dot(W, X, many), **calls)
    yield Row(group, "matrix product of the forward shape", **product, work=flops)
    product = clocked(lambda: np.dot(many, XT, gradient), **calls)
    yield Row(group, "matrix product of the backward shape", **product, work=flops)


def machine(long: bool):
    """Yield the rates of large matrix products and of a large copy."""
    rng = np.random.default_rng(0)
    for dtype in (np.float32, np.float64):
        A = rng.standard_normal((1200, 1200)).astype(dtype)
        made = clocked(lambda A=A: A @ A)
        name = f"matrix product of size 1200, {np.dtype(dtype)}"
        yield Row("machine", name, **made, work=2.0 * len(A) ** 3)
    A = rng.standard_normal((3000, 3000))
    made = clocked(lambda: np.linalg.eigh(A[:600, :600] + A[:600, :600].T), repeats=3)
    yield Row("machine", "eigendecomposition of size 600", **made, work=600.0**3)
    B = np.empty_like(A)
    made = clocked(lambda: np.copyto(B, A))
    yield Row("machine", "copy of 72 MB", **made, work=2.0 * A.nbytes)


def rows(long: bool):
    """Yield all rows."""
    torch.set_num_threads(int(THREADS))
    for part in (machine, parts, loops):
        yield from part(long)


if __name__ == "__main__":
    main(rows, __doc__)
