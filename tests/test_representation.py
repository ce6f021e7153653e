import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fl.instruments import two_layer_optimizers as zoo
from fl.simulate import representation as sim
from fl.simulate import representation_contest as contest
from fl.theory import representation as theory
from fl.theory import representation_cost


@pytest.fixture
def p():
    return sim.problem(10, 6, 3, 20, 3, 0)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def batch(p, n, sigma, rng):
    X = rng.standard_normal((n, len(p.S))) @ np.linalg.cholesky(p.S).T
    E = sigma * rng.standard_normal((n, len(p.F_star)))
    return X, E, sim.Moments(X.T @ X / n, E.T @ X / n)


def test_problem_has_the_condition_numbers_it_was_asked_for(p):
    s, f = np.linalg.eigvalsh(p.S), np.linalg.svd(p.F_star)[1]
    assert s[-1] / s[0] == pytest.approx(20) and f[0] / f[-1] == pytest.approx(3)
    assert np.trace(p.S) == pytest.approx(10) and np.sum(p.F_star**2) == pytest.approx(
        3
    )
    np.testing.assert_allclose(p.G_star @ p.G_star.T, np.eye(3), atol=1e-12)


def test_gradient_agrees_with_autograd(p, rng):
    X, E, m = batch(p, 30, 0.5, rng)
    F, G = rng.standard_normal((6, 3)), rng.standard_normal((3, 10))
    weights = torch.tensor(G, requires_grad=True)
    residual = torch.tensor(X) @ weights.T @ torch.tensor(F.T) - torch.tensor(
        X @ p.W.T + E
    )
    residual.pow(2).sum().div(60).backward()
    np.testing.assert_allclose(sim.gradient(p, F, G, m), weights.grad, atol=1e-12)


def test_least_squares_head_is_least_squares(p, rng):
    X, E, m = batch(p, 30, 0.5, rng)
    G = rng.standard_normal((3, 10))
    expected = np.linalg.lstsq(X @ G.T, X @ p.W.T + E, rcond=None)[0].T
    np.testing.assert_allclose(sim.least_squares_head(p, G, m), expected, atol=1e-12)


def test_bartlett_moments_have_the_law_of_sampled_moments(p, rng):
    n, size = 15, 20000
    m = sim.moments(p, n, 0.5, rng, (size,))
    assert np.abs(m.S_hat.mean(0) - p.S).max() < 0.1
    second = np.einsum("bij,bij->b", m.S_hat, m.S_hat)
    expected = (1 + 1 / n) * np.sum(p.S**2) + np.trace(p.S) ** 2 / n
    assert abs(second.mean() - expected) < 4 * second.std() / size**0.5
    # given X the noise moment has covariance sigma^2 S_hat / n per row
    noise = np.einsum("bij,bij->bi", m.R, np.linalg.solve(m.S_hat, m.R.mT).mT)
    assert noise.mean() == pytest.approx(0.25 * 10 / n, rel=0.01)


def test_schur_complement_is_the_regression_residual(p):
    N, S, g = theory.complement(p.G_star), p.S, p.G_star
    direct = N.T @ (S - S @ g.T @ np.linalg.solve(g @ S @ g.T, g @ S)) @ N
    np.testing.assert_allclose(theory.schur_complement(S, g), direct, atol=1e-12)


def test_schur_complement_of_an_invariant_teacher_is_the_rest_of_the_spectrum():
    p = sim.problem(10, 6, 3, 20, 3, 0, invariant=True)
    seen, rest = p.G_star @ p.S @ p.G_star.T, theory.schur_complement(p.S, p.G_star)
    both = np.sort([*np.linalg.eigvalsh(seen), *np.linalg.eigvalsh(rest)])
    np.testing.assert_allclose(both, np.linalg.eigvalsh(p.S), atol=1e-10)
    F = p.F_star + 0.1
    assert theory.head_error_distance(F, p.F_star, p.S, p.G_star, 0.2) < 1e-10


def test_modes_multiply_the_spectra_of_the_two_factors(p):
    f = np.linalg.eigvalsh(p.F_star.T @ p.F_star)
    s = np.linalg.eigvalsh(theory.schur_complement(p.S, p.G_star))
    one = np.ones((3, 7))
    np.testing.assert_allclose(
        theory.modes(p.F_star, p.S, p.G_star), np.outer(f, s), atol=1e-12
    )
    np.testing.assert_allclose(
        theory.modes(p.F_star, p.S, p.G_star, "I", "S"), f[:, None] * one, atol=1e-9
    )
    np.testing.assert_allclose(
        theory.modes(p.F_star, p.S, p.G_star, "FF", "S"), one, atol=1e-9
    )
    heavy = theory.modes(p.F_star, p.S, p.G_star, "FF", "S", damping=1e6) * 1e6
    np.testing.assert_allclose(heavy, s * one, rtol=1e-4)


def test_best_step_balances_the_extreme_modes():
    m = np.array([0.1, 0.5, 2.0])
    assert theory.factor(m, theory.best_step(m)) == pytest.approx(
        theory.best_factor(20)
    )
    assert theory.best_factor(1) == 0


def test_damped_kfac_shrinks_at_the_predicted_rate(p, rng):
    m = theory.modes(p.F_star, p.S, p.G_star, "FF", "S", 0.2)
    path = sim.descend(p, sim.start(p, 0.02, rng), 0.5, "FF", "S", 0.2)
    assert sim.measured_factor(path) == pytest.approx(theory.factor(m, 0.5), rel=5e-3)


def test_one_direction_far_from_the_teacher_moves_by_the_exact_formula(rng):
    p = sim.problem(8, 4, 1, 10, 1, 0, invariant=True)
    T = rng.standard_normal((1, 8)) @ (np.eye(8) - p.G_star.T @ p.G_star)
    s0, q = (p.G_star @ p.S @ p.G_star.T).item(), (T @ p.S @ T.T).item()
    phi = 0.1 * np.sum(p.F_star**2) * (s0 / (s0 + q)) ** 2
    G = p.G_star + T
    G = sim.feature_step(
        p, sim.least_squares_head(p, G, sim.population(p)), G, sim.population(p), 0.1
    )
    np.testing.assert_allclose(
        G / (G @ p.G_star.T), p.G_star + (T - phi * T @ p.S) / (1 + phi * q), atol=1e-12
    )


@given(st.floats(0.01, 1.0), st.integers(0, 50))
@settings(max_examples=20, deadline=None)
def test_kfac_step_ignores_covariance_and_batch(eta, seed):
    p, rng = sim.problem(7, 4, 2, 10, 3, seed), np.random.default_rng(seed)
    F, G = rng.standard_normal((4, 2)), rng.standard_normal((2, 7))
    steps = [
        sim.feature_step(p, F, G, sim.moments(p, 12, 0.0, rng), eta, "FF", "S")
        for _ in range(2)
    ]
    np.testing.assert_allclose(steps[0], steps[1], atol=1e-7)
    N = theory.complement(p.G_star)
    np.testing.assert_allclose(steps[0] @ N, (1 - eta) * G @ N, atol=1e-7)


def test_sgd_variance_without_noise_is_left_over_from_the_inputs(p, rng):
    F, G = rng.standard_normal((6, 3)), rng.standard_normal((3, 10))
    assert theory.sgd_variance(F, G, p.F_star, p.S, p.G_star, 0.1, 50, 0.0) > 0
    assert theory.sgd_variance(
        p.F_star, p.G_star, p.F_star, p.S, p.G_star, 0.1, 50, 0.0
    ) == pytest.approx(0, abs=1e-20)
    assert theory.kfac_variance(F, p.S, 0.1, 50, 0.0) == 0


def test_noise_floor_grows_from_zero_to_its_limit(p):
    law = [
        theory.noise_floor(p.F_star, p.S, p.G_star, "sgd", 0.05, 100, 0.1, t)
        for t in (0, 1, 10, 10**5, None)
    ]
    assert (
        law[0] == 0 and np.all(np.diff(law[:4]) > 0) and law[3] == pytest.approx(law[4])
    )
    # one step from the teacher is the variance of one step: eta^2 sigma^2 tr(F'F)
    # tr(S_perp)/n
    one = (
        0.05**2
        * 0.01
        / 100
        * np.sum(p.F_star**2)
        * np.trace(theory.schur_complement(p.S, p.G_star))
    )
    assert law[1] == pytest.approx(one)


def test_separate_batches_leak_head_noise_into_the_features(p):
    shared, separate = (
        theory.noise_floor(p.F_star, p.S, p.G_star, m, 0.05, 100, 0.1)
        for m in ("sgd", "sgd separate")
    )
    assert separate > shared
    q = sim.problem(10, 6, 3, 20, 3, 0, invariant=True)
    shared, separate = (
        theory.noise_floor(q.F_star, q.S, q.G_star, m, 0.05, 100, 0.1)
        for m in ("sgd", "sgd separate")
    )
    assert separate == pytest.approx(shared)


def test_transfer_risk_of_perfect_features_is_that_of_k_weights(p, rng):
    F = rng.standard_normal((5, 3))
    assert theory.transfer_risk(F, p.G_star, p.G_star, p.S, 23, 2.0) == pytest.approx(
        4 * 5 * 3 / 19
    )
    bias = theory.transfer_risk(F, sim.start(p, 0.4, rng), p.G_star, p.S, 10**9, 0.0)
    assert 0 < bias < np.trace(F @ p.G_star @ p.S @ p.G_star.T @ F.T)


@pytest.mark.parametrize("normalise", [False, True])
def test_contest_gradients_agree_with_autograd(normalise):
    _, F, G, X, Y = contest.arena("moderate", 0)
    F, G = F.clone().requires_grad_(), G.clone().requires_grad_()
    Z = X[0] @ G.T
    Z = Z / Z.pow(2).mean(0).sqrt() if normalise else Z
    (Z @ F.T - Y[0]).pow(2).sum().div(2 * len(Z)).backward()
    gF, gG, _ = zoo.gradients(F.detach(), G.detach(), X[0], Y[0], normalise)
    torch.testing.assert_close(gF, F.grad)
    torch.testing.assert_close(gG, G.grad)


def one_step(name, rate=1.0, damping=0.0):
    _, F, G, X, Y = contest.arena("moderate", 0)
    F, G = F.clone(), G.clone()
    gF, gG, Z = zoo.gradients(F, G, X[0], Y[0])
    before = F.clone(), G.clone()
    with torch.no_grad():
        zoo.updater(name, F, G, damping)(rate, gF, gG, X[0], Z)
    return (
        [(old - new.detach()) / rate for old, new in zip(before, (F, G), strict=True)],
        (gF, gG),
        before,
        X[0],
        Z,
    )


def polar(g):
    U, _, Vt = torch.linalg.svd(g, full_matrices=False)
    return U @ Vt


def test_first_steps_of_shampoo_and_exact_muon_are_polar_factors():
    (dF, dG), (gF, gG), *_ = one_step("Shampoo", 1e-3)
    torch.testing.assert_close(dG, polar(gG), atol=1e-3, rtol=0)
    (mF, mG), *_ = one_step("Muon exact", 1e-3)
    torch.testing.assert_close(mG, polar(gG), atol=1e-9, rtol=0)
    torch.testing.assert_close(mF, 3**0.5 * polar(gF), atol=1e-9, rtol=0)


def test_published_muon_is_a_rough_polar_factor():
    (_, dG), (_, gG), *_ = one_step("Muon", 1e-3)
    values = torch.linalg.svdvals(dG)
    assert (
        values.max() < 1.3
        and torch.nn.functional.cosine_similarity(dG.flatten(), polar(gG).flatten(), 0)
        > 0.95
    )


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_first_step_of_adam_is_the_sign(name):
    (_, dG), (_, gG), (_, G), *_ = one_step(name, 1e-4)
    decay = 0.01 * G if name == "AdamW" else 0
    torch.testing.assert_close(dG - decay, gG.sign(), atol=1e-3, rtol=0)


def test_soap_starts_on_its_second_step():
    (dF, dG), *_ = one_step("SOAP")
    assert not dF.any() and not dG.any()


def test_gauss_newton_matrix_is_the_jacobian_squared():
    _, F, G, X, _ = contest.arena("moderate", 0)
    X = X[0][:9]
    jacobian = torch.autograd.functional.jacobian(lambda f, g: X @ g.T @ f.T, (F, G))
    J = torch.cat([j.reshape(X.shape[0] * len(F), -1) for j in jacobian], 1)
    torch.testing.assert_close(zoo.gauss_newton(F, G, X, X @ G.T), J.T @ J / 9)


def test_heavy_damping_turns_natural_gradient_and_kfac_into_gradient_steps():
    (_, dG), (_, gG), *_ = one_step("NGD", damping=1e8)
    torch.testing.assert_close(dG * 1e8, gG, rtol=1e-4, atol=1e-6)
    (_, dG), (_, gG), *_ = one_step("KFAC", damping=1e4)
    torch.testing.assert_close(dG * 1e8, gG, rtol=1e-2, atol=1e-4)


def test_kfac_is_the_product_of_its_halves():
    (dF, dG), (gF, gG), (F, G), X, Z = one_step("KFAC")
    (_, left), *_ = one_step("KFAC left")
    (_, right), *_ = one_step("KFAC right")
    S = X.T @ X / len(X)
    torch.testing.assert_close(dG @ S, left)
    torch.testing.assert_close(F.T @ F @ dG, right)
    torch.testing.assert_close(dF @ (Z.T @ Z / len(X)), gF)


def test_every_optimizer_may_try_the_same_number_of_settings():
    assert {len(set(contest.settings(o, 9))) for o in contest.OPTIMIZERS} == {9}
    assert set(contest.RATES) == set(contest.OPTIMIZERS)


def test_a_run_that_blows_up_counts_as_no_learning():
    run = contest.train("SGD", "moderate", 100.0, 0.0, 0)
    assert run["distance"][1].min() == 1 and run["transfer"] == 1


def test_contest_keeps_the_setting_that_won_on_the_tuning_seeds(tmp_path, monkeypatch):
    monkeypatch.setenv("FL_CACHE", str(tmp_path))
    data = contest.contest(["isotropic"], ["KFAC"], [0], number=3, tuning=2)
    won = contest.tune("KFAC", "isotropic", 3, 2)
    assert (
        data["rate"].item() == won["rate"] and data["damping"].item() == won["damping"]
    )
    assert data["distance"].shape == (1, 1, 1, contest.POINTS)


def test_costs_of_a_step():
    cost = {
        o: representation_cost.step_flops(o, 40, 12, 4, 256) for o in contest.OPTIMIZERS
    }
    assert cost["SGD"] == 256 * 4 * 232 + 2 * 4 * 52
    assert cost["SGD"] < cost["Adam"] < cost["Muon"] < cost["KFAC"] < cost["NGD"]
    halves = cost["KFAC left"] + cost["KFAC right"] - cost["KFAC"]
    assert halves == pytest.approx(
        256 * 4 * 232 + 2 * 256 * 16 + 2 / 3 * 64 + 2 * 16 * 12
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: contest.settings("Lion", 3), "optimizer = 'Lion'"),
        (lambda p: contest.settings("SGD", 4), "multiple of 3"),
        (lambda p: contest.arena("harder", 0), "condition = 'harder'"),
        (
            lambda p: zoo.updater("Lion", torch.eye(2), torch.eye(2)),
            "optimizer = 'Lion'",
        ),
        (
            lambda p: representation_cost.step_flops("Lion", 4, 3, 2, 8),
            "optimizer = 'Lion'",
        ),
        (lambda p: theory.schur_complement(-p.S, p.G_star), "positive semi-definite"),
        (
            lambda p: theory.schur_complement(p.G_star.T @ p.G_star, p.G_star),
            "positive definite",
        ),
        (lambda p: theory.complement(2 * p.G_star), "orthonormal"),
        (lambda p: theory.modes(np.ones((6, 3)), p.S, p.G_star), "full column rank"),
        (lambda p: theory.modes(p.F_star, p.S, p.G_star, "G"), "left = 'G'"),
        (lambda p: theory.kfac_variance(p.F_star, p.S, 0.1, 11, 1.0), "n = 11"),
        (
            lambda p: theory.noise_floor(p.F_star, p.S, p.G_star, "sgd", 9.0, 50, 0.1),
            "eta = 9.0",
        ),
        (
            lambda p: theory.noise_floor(p.F_star, p.S, p.G_star, "adam", 0.1, 50, 0.1),
            "method = 'adam'",
        ),
        (
            lambda p: theory.transfer_risk(p.F_star, p.G_star, p.G_star, p.S, 4, 0.1),
            "n = 4",
        ),
        (lambda p: sim.problem(3, 3, 3, 1, 1, 0), "k = 3"),
        (lambda p: sim.problem(5, 3, 2, 0.5, 1, 0), "kappa_S = 0.5"),
        (lambda p: sim.moments(p, 9, 0.1, np.random.default_rng(0)), "n = 9"),
        (
            lambda p: sim.feature_step(
                p, np.ones((6, 3)), p.G_star, sim.population(p), 0.1, "FF"
            ),
            "full column rank",
        ),
        (
            lambda p: sim.feature_step(
                p, p.F_star, p.G_star, sim.population(p), 0.1, "I", "H"
            ),
            "right = 'H'",
        ),
    ],
)
def test_mistakes_are_named(p, call, message):
    with pytest.raises(ValueError, match=message):
        call(p)


def test_a_singular_batch_covariance_needs_damping(p, rng):
    _, _, m = batch(p, 8, 0.1, rng)
    with pytest.raises(ValueError, match="damping = 0"):
        sim.feature_step(p, p.F_star, p.G_star, m, 0.1, "FF", "S")
    assert np.isfinite(
        sim.feature_step(p, p.F_star, p.G_star, m, 0.1, "FF", "S", damping=0.1)
    ).all()
