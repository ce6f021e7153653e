import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg, special
from scipy.linalg import subspace_angles
from torch.utils.flop_counter import FlopCounterMode

from fl import stored
from fl.instruments import two_layer_optimizers as zoo
from fl.simulate import representation as sim
from fl.simulate import representation_contest as contest
from fl.simulate import representation_descent as descent
from fl.studies import representation as study
from fl.studies import representation_contest as contest_study
from fl.studies import representation_noise as noise_study
from fl.theory import representation as theory
from fl.theory import representation_cost
from fl.theory import representation_noise as noise_theory
from fl.theory import representation_rivals as rivals


@pytest.fixture
def p():
    return sim.random_problem(10, 6, 3, 20, 3, 0)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def batch(p, n, noise, rng):
    X = rng.standard_normal((n, len(p.S))) @ np.linalg.cholesky(p.S).T
    E = noise**0.5 * rng.standard_normal((n, len(p.F_star)))
    return X, E, sim.Moments(X.T @ X / n, E.T @ X / n)


def test_problem_has_the_condition_numbers_it_was_asked_for(p):
    s, f = np.linalg.eigvalsh(p.S), np.linalg.svd(p.F_star)[1]
    assert s[-1] / s[0] == pytest.approx(20) and f[0] / f[-1] == pytest.approx(3)
    assert np.trace(p.S) == pytest.approx(10) and np.sum(p.F_star**2) == pytest.approx(
        3
    )
    np.testing.assert_allclose(p.G_star @ p.G_star.T, np.eye(3), atol=1e-12)


def test_gradient_agrees_with_autograd(p, rng):
    X, E, m = batch(p, 30, 0.25, rng)
    F, G = rng.standard_normal((6, 3)), rng.standard_normal((3, 10))
    weights = torch.tensor(G, requires_grad=True)
    residual = torch.tensor(X) @ weights.T @ torch.tensor(F.T) - torch.tensor(
        X @ p.W.T + E
    )
    residual.pow(2).sum().div(60).backward()
    np.testing.assert_allclose(sim.gradient(p, F, G, m), weights.grad, atol=1e-12)


def test_least_squares_head_is_least_squares(p, rng):
    X, E, m = batch(p, 30, 0.25, rng)
    G = rng.standard_normal((3, 10))
    expected = np.linalg.lstsq(X @ G.T, X @ p.W.T + E, rcond=None)[0].T
    np.testing.assert_allclose(sim.least_squares_head(p, G, m), expected, atol=1e-12)


def test_bartlett_moments_have_the_law_of_sampled_moments(p, rng):
    n, size = 15, 20000
    m = sim.moments(p, n, 0.25, rng, (size,))
    assert np.abs(m.S_hat.mean(0) - p.S).max() < 0.1
    second = np.einsum("bij,bij->b", m.S_hat, m.S_hat)
    expected = (1 + 1 / n) * np.sum(p.S**2) + np.trace(p.S) ** 2 / n
    assert abs(second.mean() - expected) < 4 * second.std() / size**0.5
    # given X the noise moment has covariance noise S_hat / n per row
    noise = np.einsum("bij,bij->bi", m.R, np.linalg.solve(m.S_hat, m.R.mT).mT)
    assert noise.mean() == pytest.approx(0.25 * 10 / n, rel=0.01)


def test_schur_complement_is_the_regression_residual(p):
    N, S, g = theory.complement(p.G_star), p.S, p.G_star
    direct = N.T @ (S - S @ g.T @ np.linalg.solve(g @ S @ g.T, g @ S)) @ N
    np.testing.assert_allclose(theory.schur_complement(S, g), direct, atol=1e-12)


def test_schur_complement_of_an_invariant_teacher_is_the_rest_of_the_spectrum():
    p = sim.random_problem(10, 6, 3, 20, 3, 0, invariant=True)
    seen, rest = p.G_star @ p.S @ p.G_star.T, theory.schur_complement(p.S, p.G_star)
    both = np.sort([*np.linalg.eigvalsh(seen), *np.linalg.eigvalsh(rest)])
    np.testing.assert_allclose(both, np.linalg.eigvalsh(p.S), atol=1e-10)
    F = p.F_star + 0.1
    assert theory.head_error_distance(*p, F, 0.2) < 1e-10


def test_modes_multiply_the_spectra_of_the_two_factors(p):
    f = np.linalg.eigvalsh(p.F_star.T @ p.F_star)
    s = np.linalg.eigvalsh(theory.schur_complement(p.S, p.G_star))
    one = np.ones((3, 7))
    np.testing.assert_allclose(theory.modes(*p), np.outer(f, s), atol=1e-12)
    np.testing.assert_allclose(theory.modes(*p, "I", "S"), f[:, None] * one, atol=1e-9)
    np.testing.assert_allclose(theory.modes(*p, "FF", "S"), one, atol=1e-9)
    heavy = theory.modes(*p, "FF", "S", damping=1e6) * 1e6
    np.testing.assert_allclose(heavy, s * one, rtol=1e-4)


def test_best_step_balances_the_extreme_modes():
    m = np.array([0.1, 0.5, 2.0])
    assert theory.factor(m, theory.best_step(m)) == pytest.approx(
        theory.best_factor(20)
    )
    assert theory.best_factor(1) == 0


def test_damped_kfac_shrinks_at_the_predicted_rate(p, rng):
    m = theory.modes(*p, "FF", "S", 0.2)
    factors = sim.KFAC._replace(damping=0.2)
    path = descent.descend(p, sim.start(p, 0.02, rng), 0.5, factors)
    assert descent.measured_factor(path) == pytest.approx(
        theory.factor(m, 0.5), rel=5e-3
    )


def test_a_pure_mode_has_one_factor_in_every_quarter():
    path = 0.3 * 0.9 ** np.arange(41)
    found = [descent.measured_factor(path, quarter) for quarter in (2, 3, 4)]
    assert found == pytest.approx([0.9] * 3, rel=1e-12)
    mixed = path + 0.3 * 0.5 ** np.arange(41)
    early, late = (descent.measured_factor(mixed, quarter) for quarter in (1, 4))
    assert early < late < 0.9


def test_one_direction_far_from_the_teacher_moves_by_the_exact_formula(rng):
    p = sim.random_problem(8, 4, 1, 10, 1, 0, invariant=True)
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


@pytest.mark.parametrize("gauge", descent.GAUGES.values())
def test_gauges_hold_what_they_promise(p, rng, gauge):
    G = descent.in_gauge(p, rng.standard_normal((3, 10)), gauge)
    F = sim.least_squares_head(p, G, sim.population(p))
    FF, GG = F.T @ F, G @ G.T
    s = np.diag(GG) if gauge else np.diag(FF) ** 0.5
    s = s ** (1 / (2 * gauge)) if gauge else s
    np.testing.assert_allclose(GG, np.diag(s ** (2 * gauge)), atol=1e-10)
    np.testing.assert_allclose(FF, np.diag(s ** (2 - 2 * gauge)), atol=1e-10)


@pytest.mark.parametrize("gauge", descent.GAUGES.values())
def test_features_left_alone_keep_the_factor_of_their_gauge(p, gauge):
    m = theory.modes(*p, gauge=gauge)
    G = sim.start(p, 1e-3, np.random.default_rng(0))
    G = descent.in_gauge(p, G, gauge)
    path = descent.descend(p, G, theory.best_step(m), gauge=None)
    expected = theory.factor(m, theory.best_step(m))
    assert descent.measured_factor(path) == pytest.approx(expected, abs=2e-3)


def test_a_general_basis_has_its_own_rates(p, rng):
    # B'B = A'A is no power of the head: the rates are those of (B'B)^-1 F*'F*
    A = np.diag([1.0, 3.0, 0.5]) @ np.linalg.qr(rng.standard_normal((3, 3)))[0]
    T = 1e-6 * rng.standard_normal((3, 10)) @ p.hidden
    G, whole = A @ (p.G_star + T), sim.population(p)
    F = sim.least_squares_head(p, G, whole)
    G = sim.feature_step(p, F, G, whole, 0.1)
    after = np.linalg.solve(G @ p.G_star.T, G) @ p.hidden
    S, g = p.S, p.G_star
    rest = p.hidden @ (S - S @ g.T @ np.linalg.solve(g @ S @ g.T, g @ S)) @ p.hidden
    left = np.linalg.solve(A.T @ A, p.F_star.T @ p.F_star)
    np.testing.assert_allclose(after, T - 0.1 * left @ T @ rest, atol=1e-10)


def test_a_head_that_is_wrong_enough_spoils_the_subspace_under_kfac():
    line = sim.Problem(np.eye(2), np.ones((1, 1)), np.array([[1.0, 0.0]]))
    G, head = np.array([[1.0, 0.1]]), -np.ones((1, 1))
    after = sim.feature_step(line, head, G, sim.population(line), 0.5, sim.KFAC)
    np.testing.assert_allclose(after, [[0.0, 0.05]], atol=1e-15)
    assert sim.distance(line, G) == pytest.approx(0.1 / np.hypot(1, 0.1))
    assert sim.distance(line, after) == pytest.approx(1)


def test_a_path_too_short_to_have_a_factor_is_refused():
    with pytest.raises(ValueError, match="steps of the path = 3"):
        descent.measured_factor([1, 0.5, 0.25, 0.125])


@given(st.floats(0.01, 1.0), st.integers(0, 50))
@settings(max_examples=20, deadline=None)
def test_kfac_step_ignores_covariance_and_batch(eta, seed):
    p, rng = sim.random_problem(7, 4, 2, 10, 3, seed), np.random.default_rng(seed)
    F, G = rng.standard_normal((4, 2)), rng.standard_normal((2, 7))
    steps = [
        sim.feature_step(p, F, G, sim.moments(p, 12, 0.0, rng), eta, sim.KFAC)
        for _ in range(2)
    ]
    np.testing.assert_allclose(steps[0], steps[1], atol=1e-7)
    N = theory.complement(p.G_star)
    np.testing.assert_allclose(steps[0] @ N, (1 - eta) * G @ N, atol=1e-7)


def test_sgd_variance_without_noise_is_left_over_from_the_inputs(p, rng):
    F, G = rng.standard_normal((6, 3)), rng.standard_normal((3, 10))
    assert noise_theory.sgd_variance(p, F, G, 0.1, 50, 0.0) > 0
    perfect = noise_theory.sgd_variance(p, p.F_star, p.G_star, 0.1, 50, 0.0)
    assert perfect == pytest.approx(0, abs=1e-20)
    assert noise_theory.kfac_variance(p.S, F, 0.1, 50, 0.0) == 0


def test_a_single_input_of_signs_has_no_multiplicative_noise():
    one = sim.Problem(np.array([[2.0]]), np.ones((2, 1)), np.ones((1, 1)))
    case = (one, 3 * one.F_star, one.G_star, 0.1, 20, 0.0)
    assert noise_theory.sgd_variance(*case, -2.0) == pytest.approx(0, abs=1e-12)
    assert noise_theory.sgd_variance(*case) > 0


def test_batches_of_signs_have_the_covariance_of_the_problem(p, rng):
    X, _ = sim.samples(p, 50, 0.0, rng, (400,), signs=True)
    batch = sim.moments(p, 50, 0.0, rng, (400,), signs=True)
    for S_hat in (X.mT @ X / 50, batch.S_hat):
        np.testing.assert_allclose(S_hat.mean(0), p.S, atol=0.12)
    np.testing.assert_allclose((X @ np.linalg.inv(p.S) * X).sum(-1), len(p.S))


@pytest.mark.parametrize("gaussian", [True, False])
def test_variance_of_a_step_is_that_over_all_batches_of_one_sample(rng, gaussian):
    """Exactly: three nodes for a normal input, two signs else; noise has two values."""
    p, eta, noise = sim.random_problem(3, 2, 2, 5, 3, 1), 0.3, 0.7
    F, G = rng.standard_normal((2, 2)), rng.standard_normal((2, 3))
    nodes, weight = np.polynomial.hermite_e.hermegauss(3 if gaussian else 2)
    U = np.stack(np.meshgrid(*[nodes] * 3), -1).reshape(-1, 3)
    share = np.prod(np.meshgrid(*[weight / weight.sum()] * 3), 0).ravel()
    X = U @ linalg.sqrtm(p.S)
    signs = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]]) * noise**0.5
    residual = (X @ (F @ G - p.W).T)[:, None] - signs
    steps = eta * np.einsum("uek,ud->uekd", residual @ F, X)
    share = np.repeat(share[:, None] / 4, 4, 1)
    mean = np.einsum("ue,uekd->kd", share, steps)
    exact = np.einsum("ue,uekd->", share, (steps - mean) ** 2)
    kurtosis = 0.0 if gaussian else -2.0
    law = [noise_theory.sgd_variance(p, F, G, eta, n, noise, kurtosis) for n in (1, 7)]
    assert law == pytest.approx([exact, exact / 7], rel=1e-10)
    normal = noise_theory.sgd_variance(p, F, G, eta, 1, noise)
    assert (normal == pytest.approx(exact)) == gaussian


@pytest.mark.parametrize("n", [3, 12])
def test_variance_of_a_kfac_step_with_one_input(rng, n):
    # X'X/s is chi-squared with n degrees of freedom; n itself for signs
    S, F = np.array([[2.5]]), rng.standard_normal((4, 2))
    inverse = special.gamma(n / 2 - 1) / special.gamma(n / 2) / 2 / 2.5
    head = np.sum(np.linalg.pinv(F) ** 2)
    exact = 0.3**2 * 0.7 * head * inverse
    assert noise_theory.kfac_variance(S, F, 0.3, n, 0.7) == pytest.approx(exact)
    signs = noise_theory.kfac_variance(S, F, 0.3, 100, 0.7, -2.0)
    assert signs == pytest.approx(0.3**2 * 0.7 * head / 250, rel=1e-3)
    with pytest.raises(ValueError, match="n - dX - 1 - k4"):  # it would be negative
        noise_theory.kfac_variance(S, F, 0.3, 5, 0.7, 6.0)


def test_the_unseen_part_of_a_noisy_kfac_step(p, rng):
    _, _, m = batch(p, 30, 0.25, rng)
    F, G = rng.standard_normal((6, 3)), rng.standard_normal((3, 10))
    after = sim.feature_step(p, F, G, m, 0.3, sim.KFAC)
    law = theory.kfac_outside(G, F, p.G_star, m.xi, 0.3)
    np.testing.assert_allclose(after @ theory.complement(p.G_star), law, atol=1e-12)


def test_a_wrong_head_throws_perfect_features_out(p, rng):
    F, whole = rng.standard_normal((6, 3)), sim.population(p)
    after = sim.feature_step(p, F, p.G_star, whole, 0.1)
    law = theory.head_error_distance(*p, F, 0.1)
    assert law == pytest.approx(sim.distance(p, after))


def test_the_first_step_from_zero_finds_the_rows_that_the_covariance_turned():
    # (1, 1) becomes (a, b); angles of the plane
    angle = np.pi / 4 - np.arctan(0.7 / 1.3)
    assert theory.two_level_first_step(1.3, 0.7) == pytest.approx(np.sin(angle))


def test_whitened_angles_follow_kfac_from_anywhere(rng):
    p = sim.random_problem(6, 4, 1, 10, 1, 3)
    root, whole = linalg.sqrtm(p.S), sim.population(p)

    def tangent(G):
        return np.tan(linalg.subspace_angles((G @ root).T, (p.G_star @ root).T))

    G = p.G_star + 0.7 * rng.standard_normal((1, 6))
    path = [tangent(G)]
    for _ in range(3):
        F = sim.least_squares_head(p, G, whole)
        G = sim.feature_step(p, F, G, whole, 0.3, sim.KFAC)
        path.append(tangent(G))
    np.testing.assert_allclose(theory.kfac_tangents(path[0], 0.3, 3), path)
    assert theory.kfac_tangents(path[0], 0.3, 0).tolist() == [path[0].tolist()]


def test_one_step_of_each_noise_floor_is_the_variance_of_one_step(p):
    """From the teacher: what the noise moves off its rows, in units of the head."""
    eta, n, noise = 0.05, 100, 0.01
    unseen = theory.complement(p.G_star)
    heads = np.sum(p.F_star**2)
    first = {
        m: noise_theory.noise_floor(*p, m, eta, n, noise, 1)
        for m in noise_theory.METHODS
    }
    rest = np.trace(theory.schur_complement(p.S, p.G_star))
    whole = np.trace(
        unseen.T @ p.S @ unseen
    )  # the rest and what the teacher sees of it
    scale = eta**2 * noise / n * heads
    assert first["sgd separate"] == pytest.approx(scale * (rest + 2 * (whole - rest)))
    step = noise_theory.kfac_variance(p.S, p.F_star, eta, n, noise)
    share = np.trace(np.linalg.inv(p.S) @ unseen @ unseen.T)
    share /= np.trace(np.linalg.inv(p.S))
    assert first["kfac"] == pytest.approx(step * share)


@pytest.mark.parametrize("method", noise_theory.METHODS)
def test_a_noise_floor_of_one_rate_is_a_geometric_sum(method):
    isotropic = np.eye(4), np.eye(2), np.eye(4)[:2]
    law = [
        noise_theory.noise_floor(*isotropic, method, 0.3, 50, 0.1, t)
        for t in (1, 2, 3, None)
    ]
    kept = 0.7**2
    sums = [1, 1 + kept, 1 + kept + kept**2, 1 / (1 - kept)]
    np.testing.assert_allclose(law, law[0] * np.array(sums))


def test_noise_floor_grows_from_zero_to_its_limit(p):
    law = [
        noise_theory.noise_floor(*p, "sgd", 0.05, 100, 0.01, t)
        for t in (0, 1, 10, 10**5, None)
    ]
    assert (
        law[0] == 0 and np.all(np.diff(law[:4]) > 0) and law[3] == pytest.approx(law[4])
    )
    # one step from the teacher is the variance of one step: eta^2 noise tr(F'F)
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
        noise_theory.noise_floor(*p, m, 0.05, 100, 0.01)
        for m in ("sgd", "sgd separate")
    )
    assert separate > shared
    q = sim.random_problem(10, 6, 3, 20, 3, 0, invariant=True)
    shared, separate = (
        noise_theory.noise_floor(*q, m, 0.05, 100, 0.01)
        for m in ("sgd", "sgd separate")
    )
    assert separate == pytest.approx(shared)


def test_transfer_risk_of_perfect_features_is_that_of_k_weights(p, rng):
    F = rng.standard_normal((5, 3))
    q = p._replace(F_star=F)
    assert theory.transfer_risk(*q, p.G_star, 23, 4.0) == pytest.approx(4 * 5 * 3 / 19)
    # the fewest samples for which the risk has a mean
    assert theory.transfer_risk(*q, p.G_star, 5, 4.0) == pytest.approx(4 * 5 * 3)
    bias = theory.transfer_risk(*q, sim.start(p, 0.4, rng), 10**9, 0.0)
    assert 0 < bias < np.trace(F @ p.G_star @ p.S @ p.G_star.T @ F.T)


def test_what_features_miss_is_a_noise_of_the_labels(p, rng):
    G, W = rng.standard_normal((3, 10)), p.W
    missed = W @ p.S - W @ p.S @ G.T @ np.linalg.solve(G @ p.S @ G.T, G @ p.S)
    bias = theory.transfer_bias(*p, G)
    assert bias == pytest.approx(np.trace(missed @ W.T))
    clean, noisy = (theory.transfer_risk(*p, G, 23, noise) for noise in (0.0, 4.0))
    assert clean == pytest.approx(bias * (1 + 3 / 19))
    assert noisy - clean == pytest.approx(4 * 6 * 3 / 19)


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


def one_step(name, eta=1.0, damping=0.0):
    _, F, G, X, Y = contest.arena("moderate", 0)
    F, G = F.clone(), G.clone()
    gF, gG, Z = zoo.gradients(F, G, X[0], Y[0])
    before = F.clone(), G.clone()
    with torch.no_grad():
        zoo.updater(name, F, G, damping)(eta, gF, gG, X[0], Z)
    return (
        [(old - new.detach()) / eta for old, new in zip(before, (F, G), strict=True)],
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
    assert set(contest.ETAS) == set(contest.OPTIMIZERS)


def test_a_run_that_blows_up_counts_as_no_learning():
    run = contest.train("SGD", "moderate", 100.0, 0.0, 0)
    assert run["distance"][1].min() == 1 and run["transfer"] == 1


def test_contest_keeps_the_setting_that_won_on_the_tuning_seeds(tmp_path, monkeypatch):
    monkeypatch.setenv("FL_CACHE", str(tmp_path))
    data = contest_study.contest(["isotropic"], ["KFAC"], [0], (3, 2))
    won = contest.tune("KFAC", "isotropic", 3, 2, contest_study.FIRST_TUNING_SEED)
    assert data["eta"].item() == won["eta"] and data["damping"].item() == won["damping"]
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


def test_costs_are_the_products_that_a_step_makes_and_its_decompositions(rng):
    """Products are counted while they are made, solves and spectra by their formulas."""
    dX, dY, k, n = 7, 5, 3, 11
    shapes = (dY, k), (k, dX), (n, dX), (n, dY)
    cubes = k**3 + dX**3 + k**3 + dY**3

    def counted(name, steps=1):
        F, G, X, Y = (torch.tensor(rng.standard_normal(s)) for s in shapes)
        gF, gG, Z = zoo.gradients(F, G, X, Y)
        update = zoo.updater(name, F, G, 0.1)
        with FlopCounterMode(display=False) as count, torch.no_grad():
            zoo.gradients(F, G, X, Y)
            for _ in range(steps):
                update(1e-3, gF, gG, X, Z)
        return count.get_total_flops()

    def solve(q, columns):
        return 2 / 3 * q**3 + 2 * q**2 * columns

    def thin(a, b):
        return 6 * a**2 * b + 20 * a**3

    # per weight: gradient descent scales and adds, each running average does it again
    weights, left, right = k * (dX + dY), solve(k, dX), solve(dX, k)
    head, every = solve(k, dY), {"SGD": 2, "momentum": 4, "Adam": 12, "AdamW": 14}
    rest = {name: number * weights for name, number in every.items()}
    rest |= {
        "batch-norm": rest["SGD"] + 10 * n * k,
        "batch-norm + Adam": rest["Adam"] + 10 * n * k,
        "Muon": rest["momentum"],
        "Muon exact": thin(k, dX) + thin(k, dY) + rest["momentum"],
        "Shampoo": 9 * cubes,
        "KFAC": left + right + head,
        "KFAC left": left + head,
        "KFAC right": right + head,
        "NGD": weights**2 + 2 / 3 * weights**3,
    }
    sizes = dX, dY, k, n
    for name, more in rest.items():
        law = representation_cost.step_flops(name, *sizes)
        assert law == pytest.approx(counted(name) + more), name
    # SOAP turns its bases on every tenth step, after a first that only starts it; a QR
    # with its orthogonal factor as 10/3 q^3
    gradient = representation_cost.gradient_flops(*sizes)
    ten = counted("SOAP", 12) - counted("SOAP", 2) + 10 * rest["Adam"] + 10 / 3 * cubes
    law = representation_cost.step_flops("SOAP", *sizes) - gradient
    assert law == pytest.approx(ten / 10)


def noise_floor(p, eta=0.1, noise=0.1, steps=None):
    return noise_theory.noise_floor(*p, "sgd", eta, 50, noise, steps)


def test_a_new_task_of_one_output_needs_no_rank_of_its_head(p):
    # the risks of the outputs of a task add
    G = p.G_star + 0.1
    parts = [theory.transfer_risk(p.S, row[None], p.G_star, G, 9, 0.1) for row in p[1]]
    assert sum(parts) == pytest.approx(theory.transfer_risk(*p, G, 9, 0.1))


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
        (lambda p: theory.complement(np.eye(3)), "fewer than columns"),
        (lambda p: theory.modes(p.S, np.ones((6, 3)), p.G_star), "full column rank"),
        (lambda p: theory.modes(*p, "G"), "left = 'G'"),
        (
            lambda p: theory.kfac_outside(p.G_star, p.F_star, p.G_star, p.W, 1.1),
            "eta = 1.1",
        ),
        (lambda p: theory.kfac_tangents([1.0], 1.1, 2), "eta = 1.1"),
        (lambda p: noise_theory.kfac_variance(p.S, p.F_star, 0.1, 11, 1.0), "n = 11"),
        (
            lambda p: noise_theory.noise_floor(*p, "sgd", 9.0, 50, 0.1),
            "eta = 9.0",
        ),
        (
            lambda p: noise_theory.noise_floor(*p, "adam", 0.1, 50, 0.1),
            "method = 'adam'",
        ),
        (
            lambda p: theory.transfer_risk(*p, p.G_star, 4, 0.1),
            "n = 4",
        ),
        (
            lambda p: theory.transfer_risk(*p, p.G_star[[0, 0, 1]], 9, 0.1),
            "G.T .* rank 2",
        ),
        (lambda p: theory.transfer_risk(*p, p.G_star, 9, -0.1), "noise = -0.1"),
        (lambda p: noise_floor(p, eta=-0.1), r"eta = -0.1: must be in \(0, 0.5158\)"),
        (lambda p: noise_floor(p, eta=0.0), "eta = 0.0"),
        (lambda p: noise_floor(p, eta=np.nan), "eta = nan"),
        (lambda p: noise_floor(p, noise=-1.0), "noise = -1.0"),
        (lambda p: noise_floor(p, steps=-1), "steps = -1"),
        (
            lambda p: noise_theory.sgd_variance(
                p, p.F_star, p.G_star, 0.1, 50, 0.1, -2.1
            ),
            "kurtosis = -2.1",
        ),
        (
            lambda p: noise_theory.sgd_variance(p, p.F_star, p.G_star, np.nan, 50, 0.1),
            "eta = nan",
        ),
        (lambda p: noise_theory.kfac_variance(p.S, p.F_star, 0.1, 50, -1.0), "noise"),
        (
            lambda p: noise_theory.kfac_variance(p.S, p.F_star, 0.1, 50, 1.0, -3),
            "kurtosis = -3",
        ),
        (lambda p: theory.best_step([1.0, np.nan]), "m has 1 entries"),
        (lambda p: theory.best_step([1.0, 0.0]), "m has smallest entry 0"),
        (lambda p: theory.factor([1.0], np.nan), "eta = nan"),
        (lambda p: theory.head_error_distance(*p, p.F_star, np.nan), "eta = nan"),
        (lambda p: representation_cost.gradient_flops(4, 0, 2, 8), "dY = 0"),
        (lambda p: sim.random_problem(3, 3, 3, 1, 1, 0), "k = 3"),
        (lambda p: sim.random_problem(5, 3, 2, 0.5, 1, 0), "kappa_S = 0.5"),
        (lambda p: sim.moments(p, 9, 0.1, np.random.default_rng(0)), "n = 9"),
        (
            lambda p: sim.feature_step(
                p, np.ones((6, 3)), p.G_star, sim.population(p), 0.1, sim.KFAC
            ),
            "full column rank",
        ),
        (
            lambda p: sim.feature_step(
                p, p.F_star, p.G_star, sim.population(p), 0.1, sim.Factors("I", "H")
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
        sim.feature_step(p, p.F_star, p.G_star, m, 0.1, sim.KFAC)
    assert np.isfinite(
        sim.feature_step(p, p.F_star, p.G_star, m, 0.1, sim.Factors("FF", "S", 0.1))
    ).all()


STUDIES = [
    study.single_batches,
    study.regauged,
    study.gauges,
    study.wrong_head,
    study.first_step,
    study.batchnorm,
    study.far_starts,
    study.step_sizes,
    study.factor_choices,
    noise_study.spreads,
    noise_study.floors,
    noise_study.transfers,
    contest_study.compact_contest,
]


def attrs(run):
    """Return the sizes of what a study returns: one record, or several."""
    while not hasattr(run, "attrs"):
        run = next(iter(run.values())) if isinstance(run, dict) else run[0]
    return run.attrs


@pytest.mark.parametrize("study", STUDIES, ids=lambda f: f.__name__)
def test_blocks_of_a_study_share_sizes_and_no_seed(study):
    book, again = attrs(study("smoke", 0)), attrs(study("smoke", 1))
    seeds = [set(np.atleast_1d(a.get("seeds", a.get("seed")))) for a in (book, again)]
    assert seeds[0] and not seeds[0] & seeds[1]
    drawn = {"seed", "seeds", "tuning_seeds", "eta"}  # the best step is the problem's
    assert {k: v for k, v in book.items() if k not in drawn} == {
        k: v for k, v in again.items() if k not in drawn
    }


def test_noise_floors_and_accumulation_see_one_problem():
    run = noise_study.floors("smoke")
    assert all(map(np.array_equal, run.problem, noise_study.chain_problem()))
    assert {len(v) for v in run.found.values()} == {run.attrs["chains"]}


def test_descents_begin_at_one_start():
    _, G = study.near_start()
    runs = study.factor_choices("smoke")
    assert list(runs) == list(study.FACTORS)
    assert {run.distance.values[0] for run in runs.values()} == {
        sim.distance(study.near_start()[0], G)
    }
    plain = study.step_sizes("smoke")[1.0]
    assert plain.factor == pytest.approx(runs["I, I"].factor.item())


def test_the_stored_run_says_what_it_holds():
    run = stored.read("representation")
    assert {"description", "units"} <= run.eta.attrs.keys()
    assert set(contest_study.ABOUT) == {*run.data_vars, "progress"}


def test_plain_angles_are_the_whitened_ones_where_the_inputs_are_isotropic():
    rng = np.random.default_rng(3)
    G_star, G = rng.standard_normal((2, 2, 6))
    found = rivals.kfac_plain_angles(4 * np.eye(6), G_star, G, 0.3, 5)
    start = subspace_angles(G.T, G_star.T)
    falling = -np.sort(-theory.kfac_tangents(np.tan(start), 0.3, 5))
    np.testing.assert_allclose(np.tan(found), falling, rtol=1e-9)
    # the row spaces alone matter, and one full step arrives
    other = rng.standard_normal((2, 2, 2))
    again = rivals.kfac_plain_angles(np.eye(6), other[0] @ G_star, other[1] @ G, 0.3, 5)
    np.testing.assert_allclose(again, found, atol=1e-9)
    assert rivals.kfac_plain_angles(np.eye(6), G_star, G, 1.0, 1)[1].max() < 1e-7
    assert rivals.kfac_plain_angles(np.eye(6), G_star, G_star, 0.3, 2).max() < 1e-7


def test_plain_angles_follow_two_gradient_flows_by_hand():
    # in two dimensions the slope of the features after whitening is the tangent
    S, G_star = np.diag([4.0, 1.0]), np.array([[1.0, 0.0]])
    G = np.array([[1.0, 2.0]])  # whitened (2, 2): 45 degrees
    found = rivals.kfac_plain_angles(S, G_star, G, 0.5, 1)
    np.testing.assert_allclose(np.tan(found.ravel()), [2.0, 2 / 3], rtol=1e-9)
    with pytest.raises(ValueError, match="right angle"):
        rivals.kfac_plain_angles(S, G_star, [[0.0, 1.0]], 0.5, 1)


def test_batchnorm_takes_nothing_from_a_least_squares_head():
    rng = np.random.default_rng(4)
    X, Y, G = rng.standard_normal((20, 5)), rng.standard_normal((20, 3)), np.eye(2, 5)
    S, C = X.T @ X / 20, X.T @ Y / 20
    head = np.linalg.solve(G @ S @ G.T, G @ C).T
    assert rivals.batchnorm_radial_share(S, C, head, G) < 1e-12
    share = rivals.batchnorm_radial_share(S, C, 1.1 * head, G)
    # the length of a neuron is no matter if the head makes up for it
    sizes = np.array([2.0, 2.0])
    other = 1.1 * head / sizes, sizes[:, None] * G
    np.testing.assert_allclose(rivals.batchnorm_radial_share(S, C, *other), share)
    with pytest.raises(ValueError, match="variances"):
        rivals.batchnorm_radial_share(S, C, head, 0 * G)
    with pytest.raises(ValueError, match="gradient"):
        rivals.batchnorm_radial_share(S, C, 0 * head, G)
