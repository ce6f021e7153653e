"""The Gram recursion and training in parameter space: identities, invariances, limits,
arguments.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fl import numerics, tasks
from fl.claims.gram import worst_gap
from fl.simulate import gram as simulate
from fl.simulate import gram_linear as simulate_linear
from fl.simulate import gram_networks
from fl.studies import gram as study
from fl.studies import gram_linear as study_linear
from fl.theory import gram as theory
from fl.theory import gram_linear as theory_linear
from fl.updates import Rule, gap


def network(seed=0, d=6, N=9, width=5, depth=2, k=1, p=-0.5):
    """Return X, Y, P, W0, theta0 of a small problem."""
    rng = np.random.default_rng(seed)
    spectrum = tasks.power_law(d, 1.0)
    X, P = spectrum.inputs(N, rng), spectrum.power(p)
    W0, theta0 = (
        simulate.first_layer(rng, width, P),
        simulate.later_layers(rng, [width] * (depth - 1) + [k]),
    )
    return X, rng.standard_normal((k, N)), P, W0, theta0


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("depth", [2, 3])
def test_hand_written_gradients_are_those_of_autograd(activation, depth):
    X, Y, _, W0, theta0 = network(depth=depth, k=2)
    found = theory.gradients(W0 @ X, theta0, Y, activation)
    Z = torch.tensor(W0 @ X, requires_grad=True)
    weights = [torch.tensor(v, requires_grad=True) for v in theta0]
    f = Z
    for A, c in zip(weights[::2], weights[1::2], strict=True):
        f = A @ simulate.ACTIVATIONS[activation](f) + c[:, None]
    ((f - torch.tensor(Y)) ** 2).sum(0).mean().backward()
    for ours, auto in zip(found, [Z, *weights], strict=True):
        np.testing.assert_allclose(ours, auto.grad.numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", study.RULES)
def test_every_rule_closes_and_a_coupled_penalty_opens_it(name):
    rule = {"eta": study.ETA} | study.RULES[name]
    cells = [gram_networks.small(study.SMALL, 2, 30, seed=7, **rule)]
    assert worst_gap(study.train(cells)) < 1e-12
    cells = [gram_networks.small(study.SMALL, 2, 30, seed=7, **rule | {"decay": 0.3})]
    assert worst_gap(study.train(cells, coupled=True)) > 1e-3


def test_biases_that_do_not_move_close_too():
    rule = {"eta": study.ETA, "train_biases": False, "momentum": 0.5}
    cells = [gram_networks.small(study.SMALL, 3, 30, seed=7, **rule)]
    assert worst_gap(study.train(cells)) < 1e-12


@pytest.mark.parametrize("damping", [None, 0.5])
def test_a_sample_drawn_twice_counts_twice_and_minus_one_is_the_last(damping):
    X, Y, P, W0, theta0 = network()
    batches = np.random.default_rng(8).integers(-9, 9, size=(40, 4))
    batches[0] = [2, 2, -1, 8]
    rule = Rule(40, 0.05, "relu", batches=batches, damping=damping)
    run = simulate.train(X, Y, W0, theta0, P, rule)
    assert gap(run, theory.train(W0 @ X, theta0, Y, theory.gram(X, P), rule)) < 1e-12


def test_coupled_penalty_is_decoupled_decay_for_plain_descent():
    X, Y, _, W0, theta0 = network()
    rule = Rule(steps=30, eta=0.05, decay=0.3)
    runs = [
        simulate.train(X, Y, W0, theta0, np.eye(6), r) for r in (rule, rule.coupled())
    ]
    assert gap(*runs) < 1e-13


@pytest.mark.parametrize("N", [4, 15])
@pytest.mark.parametrize("p", [-2.0, -0.5, 1.0])
def test_coupled_penalty_closes_for_powers_of_the_training_covariance(p, N):
    X, Y, _, W0, theta0 = network(N=N)
    P = numerics.psd_power(X @ X.T / N, p)
    P, scale = P / np.trace(P), np.trace(P)
    G = theory.gram(X, P)
    # K/N is a function of G/N = (K/N)^(p+1)
    A = numerics.psd_power(scale * (G + G.T) / (2 * N), p / (p + 1)) / scale
    decay = Rule(steps=60, eta=0.05, bias_eta=0.02, decay=0.3)
    penalty = decay.coupled()
    run = simulate.train(X, Y, W0, theta0, P, penalty)
    assert gap(run, theory.train(W0 @ X, theta0, Y, G, penalty, A)) < 1e-10
    assert gap(run, theory.train(W0 @ X, theta0, Y, G, decay)) > 1e-4


def test_momentum_before_and_after_the_preconditioner_differ_only_if_it_moves():
    X, Y, P, W0, theta0 = network()
    moving = P * np.linspace(0.2, 2, 40)[:, None, None]

    def run(P, memory):
        rule = Rule(steps=40, eta=0.05, momentum=0.8, memory=memory)
        return simulate.train(X, Y, W0, theta0, P, rule)

    assert gap(run(P, "gradients"), run(P, "steps")) < 1e-13
    assert gap(run(moving, "gradients"), run(moving, "steps")) > 1e-3


def test_the_bias_is_the_pre_activation_of_the_input_zero():
    X, Y, P, W0, theta0 = network()
    rule = Rule(steps=20, eta=0.05, bias_eta=0.1)
    columns = np.hstack([X, np.zeros((6, 1))])
    run = simulate.train(columns, Y, W0, theta0, P, rule)
    G = theory.gram(X, P, columns)
    other = theory.train(W0 @ columns, theta0, Y, G, rule)
    np.testing.assert_allclose(run.Z[..., 9:], other.Z[..., 9:], atol=1e-13)
    assert np.abs(run.Z[-1, :, 9:]).max() > 1e-3


def test_test_inputs_change_nothing_else():
    X, Y, P, W0, theta0 = network()
    x = np.random.default_rng(1).standard_normal((6, 3))
    rule = Rule(steps=20, eta=0.05, momentum=0.5, every=7)
    alone = simulate.train(X, Y, W0, theta0, P, rule)
    beside = simulate.train(np.hstack([X, x]), Y, W0, theta0, P, rule)
    assert alone.steps.tolist() == [0, 7, 14, 20]
    np.testing.assert_allclose(beside.Z[..., :9], alone.Z, atol=1e-13)
    np.testing.assert_allclose(beside.loss, alone.loss, atol=1e-13)
    np.testing.assert_allclose(beside.outputs[..., :9], alone.outputs, atol=1e-13)


def test_directions_in_the_kernel_of_the_preconditioner_never_move():
    X, Y, _, _, theta0 = network()
    P = np.diag([2.0, 1.0, 0.5, 0.0, 0.0, 0.0])
    W0 = np.random.default_rng(1).standard_normal((5, 6))
    W = simulate.train(X, Y, W0, theta0, P, Rule(steps=30, eta=0.05)).W[-1]
    assert (W[:, 3:] == W0[:, 3:]).all()
    assert np.abs(W[:, :3] - W0[:, :3]).max() > 0.01
    assert not simulate.first_layer(np.random.default_rng(1), 5, P)[:, 3:].any()


def test_batched_runs_are_the_single_runs():
    X, Y, P, _, _ = network()
    rng = np.random.default_rng(2)
    W0 = simulate.first_layer(rng, 5, P, (3,))
    theta0 = simulate.later_layers(rng, [5, 4, 1], (3,))
    rule = Rule(steps=15, eta=0.05, momentum=0.5, damping=0.5, bias_eta=0.1)
    together = simulate.train(X, Y, W0, theta0, P, rule)
    alone = simulate.train(X, Y, W0[1], [v[1] for v in theta0], P, rule)
    np.testing.assert_allclose(together.Z[:, 1], alone.Z, atol=1e-13)
    np.testing.assert_allclose(together.loss[:, 1], alone.loss, atol=1e-13)


@pytest.mark.parametrize("damping", [None, 0.5])
def test_a_batch_of_networks_closes_like_each_of_them(damping):
    X, Y, P, _, _ = network()
    N = np.shape(Y)[-1]
    rng = np.random.default_rng(3)
    W0 = simulate.first_layer(rng, 5, P, (2, 3))
    theta0 = simulate.later_layers(rng, [5, 4, 1], (2, 3))
    drawn = np.array([[0, 0, -1], [1, 2, 2]] * 4)
    rule = Rule(
        steps=8, eta=0.05, momentum=0.5, damping=damping, bias_eta=0.1, batches=drawn
    )
    G = theory.gram(X[:, :N], P, X)
    closed = theory.train(W0 @ X, theta0, Y, G, rule)
    run = simulate.train(X, Y, W0, theta0, P, rule)
    assert closed.Z.shape == run.Z.shape
    for name in ("Z", "outputs", "loss"):
        np.testing.assert_allclose(
            getattr(closed, name), getattr(run, name), atol=1e-12
        )


@settings(max_examples=25, deadline=None)
@given(p=st.floats(-2, 2), seed=st.integers(0, 1000))
def test_twins_share_gram_and_start(p, seed):
    X, _, _, W0, _ = network(seed)
    P = tasks.power_law(6, 1.0).power(p)
    X2, W2 = simulate.twin(X, W0, P, np.random.default_rng(seed))
    np.testing.assert_allclose(
        theory.gram(X2, P), theory.gram(X, P), rtol=1e-8, atol=1e-10 * np.trace(P)
    )
    np.testing.assert_allclose(W2 @ X2, W0 @ X, rtol=1e-8, atol=1e-9 * np.abs(W0).max())
    assert np.linalg.norm(X2 - X) > 0.1 * np.linalg.norm(X)


def test_spectrum_is_flat_at_minus_one_and_plain_at_zero():
    X = tasks.power_law(8, 1.0).inputs(5, np.random.default_rng(0))
    s, flat = simulate.gram_eigenvalues(X, -1)
    np.testing.assert_allclose(flat, np.ones(5), atol=1e-9)
    np.testing.assert_allclose(theory.spectrum(s, 0), s**2)
    assert (
        theory.spectrum(simulate.gram_eigenvalues(X.T, -1)[0], -1).tolist()
        == [1.0] * 5 + [0.0] * 3
    )


def test_initial_moment_is_mean_and_spread_over_draws():
    X, _, P, _, _ = network()
    W0 = simulate.first_layer(np.random.default_rng(3), 5, P, (20000,))
    moments = ((W0 @ X) ** 2).mean((1, 2))
    mean, sd = theory.initial_moment(theory.gram(X, P), 5)
    assert abs(moments.mean() - mean) < 4 * sd / 20000**0.5
    assert abs(moments.std() / sd - 1) < 0.05


@pytest.mark.parametrize("p", [-1.0, 0.0, 0.7])
@pytest.mark.parametrize("N", [4, 12])
def test_linear_path_is_that_of_descent(p, N):
    X, Y, P, _, _ = network(N=N, p=p)
    x, eta = (
        np.random.default_rng(4).standard_normal((6, 3)),
        0.1 / np.linalg.eigvalsh(P)[-1],
    )
    path = simulate_linear.linear_descent(X, Y[0], P, eta, [0, 1, 7, 200])
    G, C = theory.gram(X, P), theory.gram(X, P, x)
    for w, steps in zip(path, [0, 1, 7, 200], strict=True):
        np.testing.assert_allclose(
            theory_linear.linear_outputs(G, C, Y[0], eta, steps), w @ x, atol=1e-10
        )


@pytest.mark.parametrize("p", [-1.0, 0.5])
def test_with_more_samples_than_dimensions_every_power_ends_at_least_squares(p):
    X, Y, P, _, _ = network(N=14, p=p)
    f = theory_linear.linear_outputs(
        theory.gram(X, P), theory.gram(X, P, np.eye(6)), Y[0]
    )
    np.testing.assert_allclose(f, np.linalg.lstsq(X.T, Y[0])[0], atol=1e-10)
    np.testing.assert_allclose(f, theory_linear.interpolator(X, Y[0]), atol=1e-10)


def test_a_gram_matrix_of_single_precision_ends_at_least_squares():
    rng = np.random.default_rng(9)
    X, x, y = (rng.standard_normal(s) for s in [(3, 30), (3, 4), 30])
    single = X.astype(np.float32)
    found = theory_linear.linear_outputs(single.T @ single, single.T @ x, y)
    np.testing.assert_allclose(found, theory_linear.interpolator(X, y) @ x, atol=1e-5)


def test_whitened_risk_is_the_mean_over_draws():
    rng, N, d, noise = np.random.default_rng(5), 20, 60, 0.5
    w, risks = np.eye(d)[0], []
    for _ in range(400):
        X = rng.standard_normal((d, N))
        found = theory_linear.interpolator(
            X, w @ X + noise**0.5 * rng.standard_normal(N)
        )
        risks.append(((found - w) ** 2).sum())
    error = np.std(risks) / 20
    assert (
        abs(np.mean(risks) - theory_linear.whitened_risk(N, d, noise)) < 4 * error < 0.1
    )


def test_noise_brings_the_whitened_risk_to_chance_before_all_dimensions_are_seen():
    d, noise = 100, 0.4
    chance = round(d * (1 - noise)) - 1
    assert theory_linear.whitened_risk(chance, d, noise) == pytest.approx(1)
    assert min(theory_linear.whitened_risk(n, d, 1.0) for n in range(1, d - 1)) >= 1


def test_train_only_whitening_has_a_trivial_gram_and_a_cross_gram_that_is_not():
    X, _, _, _, _ = network(d=12, N=4)
    P = simulate_linear.whitening(X)
    x = np.random.default_rng(6).standard_normal((12, 2))
    np.testing.assert_allclose(theory.gram(X, P), 4 * np.eye(4), atol=1e-10)
    np.testing.assert_allclose(
        theory.gram(X, P, x), 4 * np.linalg.pinv(X) @ x, atol=1e-10
    )
    both = simulate_linear.whitening(X, x)
    np.testing.assert_allclose(theory.gram(X, both, x), 0, atol=1e-10)


def test_studies_of_recursion_and_test_time_hold_what_their_sizes_say():
    for name, number in [("recursion", 37), ("test_time", 8)]:
        found, fresh = (getattr(study, name)("smoke", block) for block in (0, 1))
        assert found.attrs["cells"] == len(found.cells) == number
        assert not set(found.attrs["seeds"]) & set(fresh.attrs["seeds"])
        for (cell, run), (other, _) in zip(found.cells, fresh.cells, strict=True):
            assert cell.rule.steps == run.steps[-1] == found.attrs["steps"]
            assert np.abs(cell.X - other.X).max() > 0.1
        assert cell.X.shape[0] in (study.SMALL.d, study.DIGITS.d)
        assert found.cells[0][0].W0.shape == (found.attrs["width"], found.attrs["d"])


def test_study_of_the_spectrum_holds_three_sets_and_all_exponents():
    found, fresh = study.spectrum("smoke", 0), study.spectrum("smoke", 1)
    assert [p for p, _, _ in found.cells] == list(study.EXPONENTS) * 3
    assert {len(s) for _, s, _ in found.cells} == {20, 40, 80}
    assert np.abs(found.cells[0][1] - fresh.cells[0][1]).max() > 1e-3


@pytest.mark.parametrize(
    "run",
    [
        study.isotropy,
        lambda *sizes: study_linear.linear(*sizes)[0],
        study_linear.networks,
        study_linear.limits,
    ],
)
def test_blocks_of_a_study_share_no_seed_and_have_the_same_sizes(run):
    found, fresh = run("smoke", 0), run("smoke", 1)
    assert found.sizes == fresh.sizes
    assert not set(found.seed.values.ravel()) & set(fresh.seed.values.ravel())
    assert found.attrs.keys() == fresh.attrs.keys() > set()


X, Y, P, W0, THETA = network()
G, Z0 = theory.gram(X, P), W0 @ X
RULE = Rule(steps=2, eta=0.1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: theory.gram(X, np.eye(3)), r"P has shape \(3, 3\): must be \(6, 6\)"),
        (lambda: theory.gram(X * np.nan, P), "X has 54 entries that are NaN"),
        (
            lambda: theory.train(Z0, THETA, Y, G[:4, :4], RULE),
            r"G has shape \(4, 4\): must be \(9, 9\)",
        ),
        (
            lambda: theory.train(np.hstack([Z0, Z0]), THETA, Y, G, RULE),
            r"G has shape \(9, 9\): must be \(9, 18\)",
        ),
        (
            lambda: theory.train(Z0, THETA, Y, np.stack([G] * 3), RULE),
            r"G has shape \(3, 9, 9\): must be \(2, 9, 9\)",
        ),
        (
            lambda: theory.train(Z0, THETA, Y, G, Rule(steps=2, eta=0.1, penalty=0.5)),
            "penalty, without a penalty_matrix = 0.5: must be",
        ),
        (
            lambda: Rule(steps=2, eta=0.1, activation="sine"),
            "activation = 'sine': must be one of relu, tanh",
        ),
        (lambda: Rule(steps=0, eta=0.1), "steps = 0: must be an integer >= 1"),
        (
            lambda: Rule(steps=2, eta=0.0),
            r"eta = 0.0: must be a finite number in \(0",
        ),
        (
            lambda: Rule(steps=2, eta=0.1, momentum=1.0),
            "momentum = 1.0: must be a finite number",
        ),
        (
            lambda: Rule(steps=2, eta=0.1, memory="both"),
            "memory = 'both': must be one of gradients, steps",
        ),
        (
            lambda: Rule(steps=2, eta=0.1, batches=np.zeros((3, 4), dtype=int)),
            r"batches has shape \(3, 4\): must be \(2, n\)",
        ),
        (
            lambda: simulate.train(X[:, :4], Y, W0, THETA, P, RULE),
            "columns of X = 4: must be an integer >= 9",
        ),
        (
            lambda: simulate.train(X, Y, W0, THETA, np.stack([P] * 3), RULE),
            r"P has shape \(3, 6, 6\): must be \(2, 6, 6\)",
        ),
        (
            lambda: simulate.twin(
                X, W0, np.diag([1.0, 0, 1, 1, 1, 1]), np.random.default_rng()
            ),
            "P has condition number inf",
        ),
        (
            lambda: simulate.first_layer(np.random.default_rng(), 3, -P),
            "P has smallest eigenvalue",
        ),
        (lambda: theory.spectrum([1.0], np.inf), "p = inf: must be a finite number"),
        (lambda: theory.spectrum([-1.0, 2.0], 0.5), "singular_values, the smallest = "),
        (lambda: theory.gram(X, -P), "P has smallest eigenvalue"),
        (lambda: theory.gram(X, [P, np.triu(P + 1)]), "P is not symmetric"),
        (
            lambda: theory.train(Z0, THETA, Y, np.triu(G), RULE),
            "G differs from its transpose by",
        ),
        (
            lambda: theory.train(Z0, THETA, Y, G, Rule(2, 0.1, batches=[[9], [0]])),
            "batches from 0 to 9: must be indices of 9 samples",
        ),
        (
            lambda: theory_linear.linear_outputs(G, G, Y[0], 1e3, 5),
            "eta = 1000: must be at most",
        ),
        (
            lambda: theory_linear.whitened_risk(9, 10),
            "n = 9: must be at most d - 2 = 8",
        ),
        (
            lambda: simulate_linear.linear_chance("digits", "test", 2, 2, 64, 0),
            r"over = 'test': must be one of train, train\+test",
        ),
    ],
)
def test_an_error_names_argument_value_and_what_is_allowed(call, message):
    with pytest.raises(ValueError, match=message):
        call()
