"""The fused trainer against autograd, and the invariances that a wrong gradient would
break.
"""

import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.stats import ortho_group

from fl.instruments import trainer
from fl.instruments import trainer_kernel as kernel

RNG = np.random.default_rng(0)
D, N, M, H = 4, 15, 37, 9
X, X_TEST = RNG.standard_normal((D, N)), RNG.standard_normal((D, M))
Y, Y_TEST = RNG.standard_normal(N), RNG.standard_normal((2, M))
ROOTS = RNG.standard_normal((3, D, D))
P = ROOTS @ ROOTS.transpose(0, 2, 1) / D
START = trainer.kaiming(3, H, D, np.random.default_rng(1), scale=0.5)


DATA = trainer.Data(X, Y, X_TEST, Y_TEST)


def fit(steps, data=DATA, P=P, start=START, **options):
    options = {"dtype": "float64", "eta": 0.05} | options
    return trainer.train(data, P, start, steps, **options)


def autograd(P, steps, start, batches=None, eta=0.05):
    """The same training, the slow way; returns the parameters of one network."""
    W, b, a, c = (
        torch.tensor(part, dtype=torch.float64, requires_grad=True) for part in start
    )
    inputs, labels, P = torch.tensor(X), torch.tensor(Y), torch.tensor(P)
    for step in range(steps):
        columns = slice(None) if batches is None else torch.tensor(batches[step])
        f = torch.relu(W @ inputs[:, columns] + b[:, None]).T @ a + c
        ((f - labels[columns]) ** 2).mean().backward()
        with torch.no_grad():
            W -= eta * W.grad @ P
            for part in (b, a, c):
                part -= eta * part.grad
            for part in (W, b, a, c):
                part.grad = None
    return [part.detach().numpy() for part in (W, b, a, c)]


@pytest.mark.parametrize("batch", [None, 5])
def test_equals_autograd(batch):
    batches = (
        None
        if batch is None
        else trainer.shuffled_batches(N, batch, 40, np.random.default_rng(3))
    )
    network = fit([40], batches=batches).network
    for i in range(3):
        expected = autograd(P[i], 40, [part[i] for part in START], batches)
        for ours, theirs in zip(network, expected, strict=True):
            assert np.abs(ours[i] - theirs).max() < 1e-12
    assert np.abs(network.W - START.W).max() > 0.05, (
        "nothing moved, so nothing was tested"
    )


def test_recorded_errors_are_those_of_the_network():
    history = fit([1, 7, 30])
    f, f_test = history.network(X), history.network(X_TEST)
    assert np.allclose(history.train[:, -1], ((f - Y) ** 2).mean(1), rtol=1e-12)
    assert np.allclose(
        history.test[:, -1], ((f_test[:, None] - Y_TEST) ** 2).mean(2), rtol=1e-12
    )
    assert np.array_equal(fit([1, 7]).test, history.test[:, :2]), (
        "a short run is the beginning of a long one"
    )


def test_curvature_is_the_diagonal_of_the_hessian():
    W, b, a, c = (torch.tensor(part[0]) for part in START)
    b = b + 0.1

    def loss(W):
        f = torch.relu(W @ torch.tensor(X) + b[:, None]).T @ a + c
        return ((f - torch.tensor(Y)) ** 2).mean()

    hessian = torch.autograd.functional.hessian(loss, W).reshape(H * D, H * D)
    Z, f = np.empty((H, N)), np.empty(N)
    parts = [part.numpy() for part in (W, b, a, c)]
    kernel.forward((0,) * D, X, trainer.Network(*parts), Z, f)
    squares, scale = np.zeros((H, D)), np.empty((H, D))
    kernel.look(Z, kernel.with_ones(X), parts[2], squares, 1.0, scale)
    measured = np.sqrt(squares / (1 - kernel.KEEP_CURVATURE))
    assert np.allclose(measured.ravel(), hessian.diagonal().numpy(), rtol=1e-10)
    assert np.allclose(scale, measured / measured.mean() + kernel.FLOOR)


def test_exponent_zero_averages_gradients_and_all_keep_the_first_order_decrease():
    one = fit([1], exponents=[0.0, 1.0, -1.0])
    plain = fit([1], P=np.array([np.eye(D)] * 3))
    assert np.allclose(one.network.W[0], plain.network.W[0], rtol=1e-12), (
        "one step of the average is the gradient"
    )
    step = plain.network.W[0] - START.W[0]
    for i in (1, 2):
        assert np.isclose(
            ((one.network.W[i] - START.W[i]) * step).sum(), (step**2).sum(), rtol=1e-10
        )
        assert not np.allclose(one.network.W[i], plain.network.W[i])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("p", [-1.0, 0.5, 1.0])
def test_a_head_at_zero_trains_at_any_exponent(p, dtype):
    """No curvature and no gradient in the first step: its head moves alone, as always."""
    start = START._replace(a=np.zeros_like(START.a))
    exponents = np.full(len(START.a), p)
    found = fit([1, 50], start=start, exponents=exponents, dtype=dtype)
    one, plain = fit([1], start=start, exponents=exponents), fit([1], start=start)
    assert np.array_equal(one.network.a, plain.network.a)
    assert np.array_equal(one.network.W, start.W)
    assert (
        np.isfinite(found.test).all() and (found.train[:, 1] < found.train[:, 0]).all()
    )


def test_single_precision_preconditioners_of_low_rank_are_taken():
    A = np.random.default_rng(0).standard_normal((D, D - 1)).astype(np.float32)
    low = (A @ A.T)[None].repeat(len(P), 0)
    assert np.isfinite(fit([5], P=low).test).all()
    drawn = trainer.p_isotropic(low, 7, np.random.default_rng(1))
    assert np.isfinite(drawn.W).all()


def test_rotating_inputs_weights_and_preconditioner_changes_nothing():
    Q = ortho_group.rvs(D, random_state=5)
    turned = trainer.Network(START.W @ Q.T, *START[1:])
    data = trainer.Data(Q @ X, Y, Q @ X_TEST, Y_TEST)
    rotated = fit([50], data, P=Q @ P @ Q.T, start=turned)
    assert np.allclose(rotated.test, fit([50]).test, rtol=1e-10)


def test_a_configuration_does_not_see_its_neighbours():
    alone = trainer.Network(*(part[1:2] for part in START))
    assert np.array_equal(fit([20], P=P[1:2], start=alone).test[0], fit([20]).test[1])


def test_single_precision_agrees_and_the_start_is_untouched():
    before = [part.copy() for part in START]
    assert np.allclose(fit([50], dtype="float32").test, fit([50]).test, rtol=1e-4)
    assert all(np.array_equal(x, y) for x, y in zip(before, START, strict=True))


def test_where_arrays_lie_in_memory_changes_no_bit():
    rng = np.random.default_rng(8)
    rows, far = rng.standard_normal((10, 64)), rng.standard_normal((10, 1000))
    labels = rng.standard_normal(64), rng.standard_normal((1, 1000))
    data = trainer.Data(rows, labels[0], far, labels[1])
    start, found = trainer.kaiming(1, 50, 10, rng), set()
    for _ in range(300):
        # the kernel's own buffers come to lie elsewhere every time
        sizes = 10 ** rng.uniform(1, 6.5, rng.integers(1, 30))
        others = [np.empty(int(size), np.uint8) for size in sizes]
        run = trainer.train(data, np.eye(10)[None], start, [1])
        found.add(run.test.tobytes() + run.train.tobytes())
        assert len(others) == len(sizes)  # they stay until here
    assert len(found) == 1


def test_divergence_is_seen():
    assert not np.isfinite(fit([200], eta=50.0).train[:, -1]).any()


def test_initialisations():
    rng = np.random.default_rng(2)
    start = trainer.kaiming(2, 4000, 10, rng, scale=1e-3)
    assert np.isclose(start.W.max(), 1e-3 * np.sqrt(0.6), rtol=1e-3)
    assert np.isclose((start.W**2).mean(), 2e-6 / 10, rtol=0.02)
    spread = np.diag([4.0, 1.0, 0.0])
    isotropic = trainer.p_isotropic(
        [spread, np.eye(3)], 4000, np.random.default_rng(2), scale=1.0
    )
    covariance = isotropic.W[0].T @ isotropic.W[0] / 4000
    assert np.allclose(covariance, spread * 2 / 5, atol=0.05) and covariance[2, 2] == 0
    assert np.isclose((isotropic.W[0] ** 2).mean(), 2 / 3, rtol=0.05)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": [3, 2]}, "steps"),
        ({"steps": [0]}, "steps"),
        ({"P": -P}, r"P\[0\] has smallest eigenvalue"),
        ({"data": DATA._replace(X=np.where(X > 1, np.nan, X))}, "X has .* NaN"),
        ({"dtype": "float16"}, "dtype = 'float16': must be one of float32, float64"),
        ({"batches": np.full((5, 3), N)}, f"batches has entries .* 0..{N - 1}"),
        ({"batches": np.zeros((2, 3), int)}, "batches has shape"),
        ({"data": DATA._replace(Y_test=Y_TEST[:, 1:])}, "Y_test"),
        ({"exponents": [1.0]}, "exponents"),
        (
            {"start": trainer.Network(START.W, START.b[:, 1:], START.a, START.c)},
            "start.b",
        ),
        ({"eta": -0.1}, "eta = -0.1"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {"steps": [5]} | change
    with pytest.raises(ValueError, match=message):
        fit(**arguments)


def test_batches_must_divide():
    with pytest.raises(ValueError, match="size = 4: must divide n = 15"):
        trainer.shuffled_batches(15, 4, 10, np.random.default_rng(0))
    columns = trainer.shuffled_batches(6, 2, 6, np.random.default_rng(0))
    assert sorted(columns[:3].ravel()) == sorted(columns[3:].ravel()) == list(range(6))


def test_compiling_is_imported_by_training_alone():
    code = "import sys, fl.simulate.transfer; print('numba' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stdout.strip() == "False", found.stderr


def test_compiling_needs_no_folder_that_can_be_written(monkeypatch):
    import numba

    plain = numba.njit

    def refusing(cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return plain(**options)

    monkeypatch.setattr(numba, "njit", refusing)
    assert kernel._jit(lambda x: x + 1)(1) == 2
