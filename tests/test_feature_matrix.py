"""The feature matrix: special cases, invariances, limits, two independent routes."""

import numpy as np
import pytest
import torch
from scipy import optimize
from scipy.linalg import sqrtm

from fl.cells import relative_gap
from fl.claims import feature_matrix as claims
from fl.instruments import metric_descent as descent
from fl.instruments.exponent_reader import read_balance, read_gradient
from fl.instruments.metric_descent import Rule
from fl.simulate import feature_matrix as simulate
from fl.simulate import feature_matrix_digits as digits
from fl.simulate import feature_matrix_zoo as zoo
from fl.simulate.feature_matrix import Case
from fl.studies import feature_matrix as study
from fl.tasks import Spectrum, from_data
from fl.theory import feature_matrix as theory

RNG = np.random.default_rng(0)
X, Y = simulate.problem(5)
MOMENT = from_data(X)
MOMENT_0 = from_data(simulate.problem(0)[0])
P = MOMENT.power(-0.7)


def metric(d=7):
    A = RNG.standard_normal((d, d))
    return np.eye(d) / 2 + A @ A.T / d


def mean(A, B, t=0.5):
    """The weighted geometric mean by its definition."""
    root = np.real(sqrtm(A))
    inverse = np.linalg.inv(root)
    values, vectors = np.linalg.eigh(inverse @ B @ inverse)
    return root @ (vectors * values.clip(0) ** t) @ vectors.T @ root


def chain(M, metric, depth):
    """The mean without a root: M (P^-1 M)^(L-1)."""
    return M @ np.linalg.matrix_power(np.linalg.solve(metric, M), depth - 1)


# --- theory ---------------------------------------------------------------------------


@pytest.mark.parametrize("t", [0.5, 1 / 3, 0.25, 1.0])
def test_geometric_mean_is_its_definition(t):
    J = RNG.standard_normal((7, 7))
    assert np.allclose(theory.geometric_mean(P, J, t), mean(P, J.T @ J, t), rtol=1e-9)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_geometric_mean_without_roots_gives_back_the_function(depth):
    J = RNG.standard_normal((2, 7))
    M = theory.geometric_mean(P, J, 1 / depth)
    assert np.allclose(chain(M, P, depth), J.T @ J, atol=1e-12)


def test_geometric_mean_changes_coordinates_like_a_metric():
    J, T = RNG.standard_normal((3, 7)), RNG.standard_normal((7, 7))
    there = theory.geometric_mean(T.T @ P @ T, J @ T)
    assert np.allclose(there, T.T @ theory.geometric_mean(P, J) @ T)


def test_geometric_mean_of_equals_and_of_a_scale():
    root = np.linalg.cholesky(P).T
    assert np.allclose(theory.geometric_mean(P, root, 0.3), P)
    J = RNG.standard_normal((3, 7))
    fourfold = theory.geometric_mean(16 * P, J)
    assert np.allclose(fourfold, 4 * theory.geometric_mean(P, J))


def test_nuclear_fit_by_a_general_minimiser_of_the_factors():
    k, J = 0.05, theory.nuclear_fit(X, Y, P, 0.05).J
    inverse = np.linalg.inv(P)

    def cost(flat):
        A, W = flat.reshape(2, 7, 7)
        error = A @ W @ X - Y
        penalty = np.trace(W @ inverse @ W.T) + np.sum(A**2)
        slope = error @ X.T / len(X.T)
        gradient = slope @ W.T + k * A, A.T @ slope + k * W @ inverse
        value = np.sum(error**2) / 2 / len(X.T) + k * penalty / 2
        return value, np.ravel(gradient)

    start = RNG.standard_normal(98)
    options = {"maxiter": 5000, "ftol": 1e-16, "gtol": 1e-10}
    found = optimize.minimize(cost, start, jac=True, options=options, method="L-BFGS-B")
    A, W = found.x.reshape(2, 7, 7)
    assert relative_gap(A @ W, J) < 1e-5


def test_nuclear_fit_for_the_inverse_moment_is_a_soft_threshold():
    root = MOMENT.power(-0.5)
    U, s, V = np.linalg.svd(Y @ X.T / len(X.T) @ root)
    shrunk = U * (s - 0.1).clip(0) @ V @ root
    assert np.allclose(theory.nuclear_fit(X, Y, MOMENT.power(-1), 0.1).J, shrunk)


def test_nuclear_fit_does_not_mind_the_units_of_the_inputs():
    fit = theory.nuclear_fit(X, Y, P, 0.1).J
    for unit in (1e-6, 1e6):
        other = theory.nuclear_fit(unit * X, Y, P, unit * 0.1).J
        assert np.allclose(unit * other, fit)


def test_nuclear_fit_without_decay_is_least_squares_and_with_much_is_zero():
    exact = np.linalg.lstsq(X.T, Y.T, rcond=None)[0].T
    assert np.allclose(theory.nuclear_fit(X, Y, P, 1e-9).J, exact, atol=1e-6)
    assert not theory.nuclear_fit(X, Y, P, 100.0).J.any()


def test_recursive_step_is_kernel_ridge_regression():
    M, k, n = metric(), 0.1, len(X.T)
    dual = np.linalg.solve(X.T @ M @ X + n * k * np.eye(n), X.T @ M)
    assert np.allclose(theory.recursive_step(X, Y, M, P, k).J, Y @ dual)


def test_recursive_step_stays_at_the_minimum_of_the_programme():
    fit = theory.nuclear_fit(X, Y, P, 0.05)
    after = theory.recursive_step(X, Y, fit.M, P, 0.05)
    assert relative_gap(after.J, fit.J) < 1e-10
    assert relative_gap(after.M, fit.M) < 1e-10


def test_coupled_imbalance_of_a_constant_is_linear():
    times, one = np.linspace(0, 2, 5), np.eye(2)
    found = theory.coupled_imbalance(3 * one, np.stack([one] * 5), 0.5, times)
    assert np.allclose(found, (3 - times)[:, None, None] * one)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: theory.geometric_mean(np.diag([1.0, 0.0]), np.eye(2)),
            "P is singular",
        ),
        (
            lambda: theory.geometric_mean(np.diag([1.0, 1e-12]), np.eye(2)),
            "P is singular, its eigenvalues run from 1e-12 to 1",
        ),
        (
            lambda: theory.nuclear_fit(X[:2], Y, np.diag([1.0, 1e-13]), 1.0),
            "P is singular",
        ),
        (
            lambda: theory.coupled_imbalance(np.eye(1), np.ones((2, 1, 1)), -1, [0, 1]),
            "decay = -1",
        ),
        (
            lambda: theory.coupled_imbalance(
                np.eye(1), np.full((2, 1, 1), np.nan), 1, [0, 1]
            ),
            "plain",
        ),
        (lambda: theory.geometric_mean(np.eye(2), np.eye(2), 0.0), "t = 0.0"),
        (lambda: theory.geometric_mean(np.eye(2), np.eye(3)), "J has shape"),
        (lambda: theory.nuclear_fit(X, Y, P, 0.0), "decay = 0.0"),
        (
            lambda: theory.nuclear_fit(X[:, :3], Y[:, :3], P, 1.0),
            "singular second moment",
        ),
        (lambda: theory.recursive_step(X, Y[:, :4], np.eye(7), P, 1.0), "Y has shape"),
        (
            lambda: simulate.descend(0, Case("gelu", 2, (0.0,), Rule(0.1), 2)),
            "activation",
        ),
        (lambda: simulate.flow(0, 1, Rule(1.0), False), "depth = 1"),
        (lambda: zoo.left_by(0, "Nadam", 0.1), "optimizer = 'Nadam'"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- networks -------------------------------------------------------------------------


@pytest.mark.parametrize("activation", list(descent.ACTIVATIONS))
@pytest.mark.parametrize("classes", [False, True])
def test_gradients_are_those_of_torch(activation, classes):
    weights = [RNG.standard_normal(s) for s in ((5, 7), (4, 5), (3, 4))]
    labels = np.eye(3)[:, RNG.integers(3, size=50)]
    tensors = [torch.tensor(W, requires_grad=True) for W in weights]
    act = {"linear": lambda z: z, "relu": torch.relu, "tanh": torch.tanh}[activation]
    z = torch.tensor(X)
    for W in tensors[:-1]:
        z = act(W @ z)
    out, target = tensors[-1] @ z, torch.tensor(labels)
    loss = (out - target).square().sum() / 2 / 50
    if classes:
        loss = -(target * out.log_softmax(0)).sum() / 50
    loss.backward()
    found = descent.gradients(weights, X, labels, activation, classes)
    for ours, theirs in zip(found, tensors, strict=True):
        assert np.allclose(ours, theirs.grad.numpy())


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_averages_obey_the_identity_for_any_gradients(momentum):
    rng, k, eta = np.random.default_rng(1), 0.3, 0.1
    gradients = rng.standard_normal((7, 4, 7))
    steps = iter(gradients)
    end = descent.train(
        [rng.standard_normal((4, 7))],
        lambda _: [next(steps)],
        [(np.eye(4), P)],
        Rule(eta, k),
        7,
    )
    way = (end.before - end.weights[0]) / (eta * 4)
    assert np.allclose(k * end.W + end.G @ P, way)
    assert np.allclose(end.G, gradients[3:].mean(0))


def test_averages_over_mini_batches_tell_the_exponent_of_a_relu_network():
    """Kinks and batches: the identity is exact, and what is read from it the power."""
    rng, rule, steps = np.random.default_rng(7), Rule(0.05, 0.05), 600

    def slopes(weights):
        chosen = rng.permutation(50)[:10]
        return descent.gradients(weights, X[:, chosen], Y[:, chosen], "relu")

    start = list(rng.standard_normal((3, 7, 7)) / 7**0.5)
    end = descent.train(start, slopes, descent.in_metric(P, start), rule, steps)
    way = (end.before - end.weights[0]) / (rule.eta * steps / 2)
    assert np.allclose(rule.decay * end.W + end.G @ P, way, atol=1e-10)
    moved = end.W - way / rule.decay
    assert read_gradient(moved, end.G, MOMENT).p == pytest.approx(-0.7, abs=1e-6)


def test_fewer_samples_than_inputs_and_three_tanh_layers_tell_the_exponent_at_rest():
    # the eigenvectors are those of the metric: what the samples leave out does not matter
    few, labels = X[:, :4], Y[:, :4]
    start = list(np.random.default_rng(8).standard_normal((3, 7, 7)) / 7**0.5)

    def slopes(weights):
        return descent.gradients(weights, few, labels, "tanh")

    sides = descent.in_metric(P, start)
    end = descent.train(start, slopes, sides, Rule(0.1, 0.02, 0.9), 10_000).weights
    W, G = end[0], slopes(end)[0]
    assert np.linalg.matrix_rank(G, tol=1e-6 * np.linalg.norm(G)) <= 4
    read = read_gradient(W, G, MOMENT)
    assert read.p == pytest.approx(-0.7, abs=1e-6) and read.misfit < 1e-5


def test_steps_with_both_factors_are_those_written_out():
    Q, k = np.diag([1.6, 1.4, 1.2, 1.0, 0.8, 0.6, 0.4]), 0.2
    start = list(RNG.standard_normal((2, 7, 7)) / 3)
    sides = [(Q, P), (np.eye(7), metric())]
    R = sides[1][1]
    for coupled in (False, True):
        moves, weights = [0.0, 0.0], start
        for _ in range(5):
            G, H = descent.gradients(weights, X, Y, "tanh")
            plan = Q @ G @ P + k * weights[0], H @ R + k * weights[1]
            if coupled:
                plan = Q @ (G + k * weights[0]) @ P, (H + k * weights[1]) @ R
            moves = [0.9 * m + new for m, new in zip(moves, plan, strict=True)]
            weights = [W - 0.1 * m for W, m in zip(weights, moves, strict=True)]
        end = descent.train(
            start,
            lambda w: descent.gradients(w, X, Y, "tanh"),
            sides,
            Rule(0.1, k, 0.9, coupled),
            5,
        )
        assert np.allclose(end.weights, weights)


def test_all_layers_are_preconditioned_where_a_case_says_so():
    for everywhere in (False, True):
        case = Case("tanh", 3, (-0.5, 0.5), Rule(0.1, 0.1), 2, everywhere)
        run = simulate.descend(0, case)
        metrics, left = run["metric"][1], run["left"][1]
        assert metrics.shape == left.shape == (2, 3, 7, 7)
        assert np.allclose(metrics[0, 0], MOMENT_0.power(-0.5))
        plain = np.allclose(metrics[:, 1:], np.eye(7)) and np.allclose(left, np.eye(7))
        assert plain != everywhere


def test_a_small_start_is_balanced_up_to_its_square():
    gaps = []
    for size in (0.1, 0.05):
        start = list(size * np.random.default_rng(2).standard_normal((2, 7, 7)))
        sides = descent.in_metric(P, start)
        end = descent.train(
            start,
            lambda w: descent.gradients(w, X, Y, "linear"),
            sides,
            Rule(0.005),
            8000,
        )
        W, A = end.weights
        J = A @ W
        gaps.append(relative_gap(chain(W.T @ W, P, 2), J.T @ J))
    assert gaps[1] < 0.02 and 3 < gaps[0] / gaps[1] < 5


def test_a_flow_does_not_depend_on_how_often_it_is_read():
    few, many = (simulate.flow(0, 2, Rule(1.0), False, times=n) for n in (3, 5))
    gap = few["first"].values[-1] - many["first"].values[-1]
    assert np.abs(gap).max() < 1e-8


def test_muon_at_rest_forgets_the_data():
    W, far = np.random.default_rng(4).standard_normal((2, 8, 7))
    for step in range(3000):
        G = (W - 5 * far) @ (X @ X.T) / 50
        U, _, V = np.linalg.svd(G, full_matrices=False)
        W = W - 0.02 / (1 + step / 30) * (U @ V + 4 * W)
    assert np.allclose(W.T @ W, np.eye(7) / 16, atol=1e-3)


# --- readers --------------------------------------------------------------------------


def made(p, neurons=30, noise=0.0):
    """Weights and squared readouts that are balanced in the metric of a power."""
    rng = np.random.default_rng(3)
    W = rng.standard_normal((neurons, 7)) * np.exp(rng.standard_normal((neurons, 1)))
    size = np.sum(W @ MOMENT.power(-p) * W, 1)
    return W, 7.0 * size * np.exp(noise * rng.standard_normal(neurons))


@pytest.mark.parametrize("p", [-1.0, -0.5, 0.0, 0.7, 2.0])
def test_both_readers_are_exact_on_exact_weights(p):
    W, squares = made(p)
    read = read_balance(W, squares, MOMENT)
    assert read.p == pytest.approx(p, abs=1e-6) and read.misfit < 1e-10
    G = -3 * W @ MOMENT.power(-p)
    read = read_gradient(W, G, MOMENT)
    assert read.p == pytest.approx(p, abs=1e-12) and read.misfit < 1e-12


def test_the_gradient_reader_needs_the_eigenvectors_of_the_metric():
    W, _ = made(-0.5)
    G = -3 * W @ MOMENT.power(0.5)
    other = MOMENT.rotated(np.random.default_rng(6))
    assert read_gradient(W, G, MOMENT).p == pytest.approx(-0.5)
    assert abs(read_gradient(W, G, other).p + 0.5) > 0.2


def test_readers_do_not_know_the_coordinates():
    W, squares = made(-0.5, noise=0.3)
    flat = Spectrum(MOMENT.eigenvalues)
    turned = read_balance(W @ MOMENT.rotation, squares, flat)
    assert turned == pytest.approx(read_balance(W, squares, MOMENT), rel=1e-6)


def test_the_error_bar_of_the_balance_is_its_scatter():
    rng, found = np.random.default_rng(5), []
    W, squares = made(0.5, 60)
    for _ in range(200):
        noisy = squares * np.exp(0.1 * rng.standard_normal(60))
        found.append(read_balance(W, noisy, MOMENT))
    p, error, _ = np.transpose(found)
    assert p.mean() == pytest.approx(0.5, abs=0.02)
    assert p.std() == pytest.approx(error.mean(), rel=0.2)


def test_nothing_is_read_where_there_is_nothing_to_read():
    one = np.outer(np.arange(1.0, 9), np.ones(7))
    assert np.isnan(read_balance(one, np.ones(8), MOMENT).p)
    assert np.isnan(read_balance(one, [1, 2, 3, 0, 0, 0, 0, 0], MOMENT).p)
    assert not read_balance(one, np.arange(2.0, 10), MOMENT).error < 10
    with pytest.raises(ValueError, match="G is seen in 0 directions"):
        read_gradient(one, np.zeros((8, 7)), MOMENT)
    with pytest.raises(ValueError, match="eigenvalues"):
        read_balance(one[:, :2], np.ones(8), Spectrum([1.0, 0.0]))


# --- digits ---------------------------------------------------------------------------


def test_images_are_centred_and_their_moment_has_a_floor():
    drawn = digits.images(0, 50)
    assert np.allclose(drawn.X.mean(1), 0) and np.allclose(drawn.Y.sum(0), 1)
    least = drawn.moment.eigenvalues.min() / drawn.moment.eigenvalues.max()
    assert least == pytest.approx(digits.FLOOR / (1 + digits.FLOOR))


def test_the_kept_imbalance_explains_a_reading():
    run = digits.course(0, 0.5, 0.6, Rule(0.5), 300, 60)
    assert abs(run["p_balance"] - 0.5) > 0.2
    assert run["p_law"] == pytest.approx(run["p_balance"], abs=0.05)


def test_another_block_has_other_seeds(cache):
    blocks = [study.flows("smoke", block)["seed"].values for block in (0, 1)]
    assert not set(blocks[0]) & set(blocks[1])


def test_a_network_that_diverged_is_not_lost_among_others():
    run = study.flows("smoke").assign_attrs(seeds=2)
    for place in (0, 1):
        found = [(1e-12, 0.5), (1e-12, 0.5)]
        found[place] = (np.array([np.nan, 1e-12]), 0.5)
        assert not claims._exact(run, found, claims.REST).holds
    assert claims._exact(run, [(1e-12, 0.5)], claims.REST).holds
