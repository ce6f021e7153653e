"""One gradient step and a single-index teacher: closed forms, limits, invariances, and
what is refused.
"""

import pickle

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from fl.links import LINKS, Link
from fl.scales import SCALES
from fl.simulate import single_index as simulate
from fl.studies import single_index as study
from fl.tasks import (
    Spectrum,
    Task,
    Teacher,
    log_spaced,
    spectral_task,
    two_level,
)
from fl.theory import alignment_ridge
from fl.theory import single_index as theory
from fl.theory import single_index_batch as own
from fl.theory import single_index_network as network
from fl.theory import single_index_second as second

S, B = np.array([1.8, 0.2]), np.array([0.5, 0.5])


def direct(task, n, P, seed=0):
    """Alignment of P X y / n, written out."""
    batch = task.sample(n, np.random.default_rng([seed, n]))
    v = P(batch.X @ batch.X.T / n) @ (batch.X @ batch.y) / n
    beta = task.teacher.directions[0]
    return (v @ beta) ** 2 / (v @ v)


# --- moments ---


def test_moments_of_relu_by_hand():
    # relu at variance tau^2 = 1: mean slope 1/2, E y^2 = 1/2
    m = theory.moments(spectral_task(two_level(1.8, 2, 0.2, 2), 0, "relu", 0.09))
    assert np.allclose(
        [m.tau2, m.slope, m.nu, m.rho], [1, 0.5, (0.5 + 0.09) * 4, (0.5 + 0.09) * 4 - 1]
    )
    centred = theory.moments(
        spectral_task(two_level(1.8, 2, 0.2, 2), 0, "relu", 0.09), centred=True
    )
    assert np.isclose(centred.nu, m.nu - 4 / (2 * np.pi))  # the mean is 1/sqrt(2 pi)


def test_moments_of_a_linear_teacher_are_the_noise():
    m = theory.moments(spectral_task(log_spaced(30, 10), 1.0, "linear", 0.49))
    assert np.isclose(m.rho, 0.49)
    assert np.isclose(m.nu, 0.49 + m.tau2)


def test_moments_do_not_mind_the_units_of_labels_and_inputs():
    small = Link(
        "small", lambda u: 1e-12 * np.tanh(u), lambda u: 1e-12 / np.cosh(u) ** 2, (0,)
    )
    levels = two_level(1.8, 2, 0.2, 2)
    one, other = (theory.moments(spectral_task(levels, 0, f)) for f in ("tanh", small))
    assert np.allclose(other.slope / one.slope, 1e-12, rtol=1e-9)
    assert np.allclose([other.rho, other.nu], [one.rho, one.nu])
    wide = theory.moments(spectral_task(Spectrum(1e12 * np.ones(2)), 0, "relu"))
    assert np.isclose(wide.slope, 0.5) and np.isclose(wide.nu, 2e12)


def test_weights_follow_the_rotation():
    task = spectral_task(log_spaced(8, 5), 1.5)
    turned = task.spectrum.rotated(np.random.default_rng(1))
    moved = Task(turned, Teacher(task.teacher.directions @ turned.rotation.T))
    assert np.allclose(theory.weights(moved)[1], theory.weights(task)[1])
    assert np.isclose(
        theory.weights(spectral_task(turned, 1.5))[1] @ turned.eigenvalues,
        theory.moments(task).tau2,
    )


# --- population ---


def test_population_isotropic_and_endless_data():
    assert np.isclose(
        theory.population_power([1.0], [1.0], 0.5, 3.0, -0.7).cos2, 1 / 2.5
    )
    assert np.isclose(theory.population_power(S, B, 1e-14, 1.0, 0).cos2, 1 / 1.64)
    assert np.isclose(theory.population_power(S, B, 1e-14, 1.0, -1).cos2, 1)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.floats(0.05, 5), st.floats(0.05, 20))
def test_no_random_filter_beats_the_best(seed, gamma, nu):
    rng = np.random.default_rng(seed)
    s, b = rng.uniform(0.1, 3, 12), rng.dirichlet(np.ones(12))
    best = b / (b * s + gamma * nu / 12)
    top = theory.population_filter(s, b, gamma, nu, best).cos2
    others = [
        theory.population_filter(
            s, b, gamma, nu, best * (1 + 0.1 * rng.standard_normal(12))
        ).cos2
    ]
    others += [
        theory.population_power(s, b, gamma, nu, p).cos2 for p in (-1, -0.5, 0, 1)
    ]
    assert max(others) <= top + 1e-12
    assert np.isclose(top, (b**2 * s / (b * s + gamma * nu / 12)).sum())


def test_alignment_does_not_see_the_scale_of_the_covariance():
    # s -> 4 s with the label fixed: slope / 2, so tau2, rho and nu are 4 times as large
    a = [
        own.kfac(S, B, 0.5, 0.3, 0.1).cos2,
        own.sample_power(S, B, 0.5, 0.3, -0.3).cos2,
    ]
    c = [
        own.kfac(4 * S, B, 0.5, 1.2, 0.4).cos2,
        own.sample_power(4 * S, B, 0.5, 1.2, -0.3).cos2,
    ]
    assert np.allclose(a, c)


@pytest.mark.parametrize("r", [-1, 0, 1, 2])
def test_best_exponent_runs_from_whitening_to_the_teacher(r):
    s = log_spaced(400, 100).eigenvalues
    b = s**r / (s**r).sum()
    assert abs(theory.best_exponent(s, b, 1.0, 1e-6) + 1) < 0.01
    assert abs(theory.best_exponent(s, b, 1.0, 1e6) - r) < 0.01


# --- the batch's own covariance ---


@settings(max_examples=40, deadline=None)
@given(st.floats(0.05, 4), st.floats(1e-3, 50), st.integers(0, 1000))
def test_resolvent_scale_solves_its_equation(gamma, damping, seed):
    s = np.random.default_rng(seed).uniform(0.05, 4, 9)
    kappa = own.resolvent_scale(s, gamma, damping)
    assert kappa >= damping
    assert np.isclose(
        kappa * (1 - gamma * np.mean(s / (s + kappa))), damping, rtol=1e-9
    )


def test_resolvent_scale_of_two_levels_is_the_root_of_a_cubic():
    gamma, lam, (s1, s2) = 0.7, 0.3, S
    k = np.polynomial.Polynomial([0, 1])
    w = 0.5
    cubic = (lam - k) * (k + s1) * (k + s2) + gamma * k * (
        w * s1 * (k + s2) + w * s2 * (k + s1)
    )
    roots = cubic.roots()
    assert np.isclose(
        own.resolvent_scale(S, gamma, lam), roots[roots.real > 0].real.max()
    )


@pytest.mark.parametrize("gamma", [0.4, 1.7])
def test_kfac_isotropic(gamma):
    lam, rho = 0.3, 0.8
    q = lam + gamma - 1
    u = 1 / (1 + (q + np.sqrt(q * q + 4 * lam)) / 2)
    closed = 1 / (1 + gamma * (rho + (1 - u) ** 2) / (1 - gamma * u * u))
    assert np.isclose(own.kfac([1.0], [1.0], gamma, rho, lam).cos2, closed)


def test_kfac_limits():
    weak = np.array([0.1, 0.9])
    assert np.isclose(
        own.kfac(S, weak, 2.0, 0.4, 1e8).cos2,
        theory.population_power(S, weak, 2.0, 0.76, 0).cos2,
    )
    plain = 1 / (1 + 0.4 * 0.5 * np.mean(1 / S) / 0.5)
    assert np.isclose(
        own.kfac(S, weak, 0.5, 0.4, 0).cos2, plain
    )  # whatever the direction
    assert np.isclose(own.kfac(S, B, 0.5, 0.4, 0).cos2, plain)
    assert np.isclose(
        own.kfac(S, weak, 2.0, 0.4, 0).cos2,
        own.kfac(S, weak, 2.0, 0.4, 1e-10).cos2,
    )


@pytest.mark.parametrize("n", [13, 60])
def test_kfac_length_contains_the_ridge_risk(n):
    # two chapters, one kappa: |beta|^2 = sum b s^2/D^2 + gamma E[s/D^2] * (test error
    # of ridge regression)
    s, lam, rho = log_spaced(30, 12).eigenvalues, 0.2, 0.7
    b = np.random.default_rng(3).dirichlet(np.ones(30))
    kappa = own.resolvent_scale(s, 30 / n, lam)
    risk = alignment_ridge.ridge_risk(s, s * b, 0.0, n, lam, rho).test
    square = b @ (s / (s + kappa)) ** 2 + np.sum(s / (s + kappa) ** 2) / n * risk
    assert np.isclose(own.kfac(s, b, 30 / n, rho, lam).square, square)


@pytest.mark.parametrize("gamma", [0.3, 1.0, 2.5])
def test_best_damping_of_an_even_teacher(gamma):
    s = log_spaced(40, 50).eigenvalues
    assert np.isclose(
        own.best_damping(s, np.full(40, 1 / 40), gamma, 0.6), gamma * 0.6, rtol=1e-4
    )


def test_best_damping_moves_with_the_teacher():
    assert own.best_damping(S, S / S.sum(), 0.5, 0.5) > 0.5
    assert own.best_damping(S, (1 / S) / (1 / S).sum(), 0.5, 0.5) < 0.1


def test_whitenings_tie_at_the_crossing():
    rho, tau2 = 0.4, 0.9
    gamma = own.whitening_crossing(tau2, rho)
    true = theory.population_power(S, B, gamma, rho + tau2, -1).cos2
    assert np.isclose(true, own.kfac(S, B, gamma, rho, 0).cos2, rtol=1e-9)


@pytest.mark.parametrize("gamma", [0.05, 0.6, 0.99])
def test_sample_powers_that_have_closed_forms(gamma):
    b, rho = np.array([0.3, 0.7]), 0.4
    tau2 = b @ S
    assert np.isclose(
        own.sample_power(S, b, gamma, rho, -1).cos2,
        own.kfac(S, b, gamma, rho, 0).cos2,
    )
    assert np.isclose(
        own.sample_power(S, b, gamma, rho, 0).cos2,
        theory.population_power(S, b, gamma, rho + tau2, 0).cos2,
    )
    assert np.isclose(
        own.sample_power(S, b, gamma, rho, -0.5).square, tau2 + gamma * rho
    )


@pytest.mark.parametrize("p", [-9, 3, 8, 9, 15])
def test_sample_powers_of_the_marchenko_pastur_law(p):
    gamma, rho = 0.1, 0.3
    low, high = (1 - gamma**0.5) ** 2, (1 + gamma**0.5) ** 2
    angle, weight = np.polynomial.legendre.leggauss(200)
    x = (low + high) / 2 + (high - low) / 2 * np.sin(np.pi / 2 * angle)
    # dx is the root of (high - x) (x - low), times that of the angle
    law = weight * (high - x) * (x - low) / (4 * gamma * x)
    moment = {k: law @ x**k for k in (0, p + 1, 2 * p + 2, 2 * p + 1)}
    assert np.isclose(moment[0], 1)
    square = moment[2 * p + 2] + gamma * rho * moment[2 * p + 1]
    exact = moment[p + 1] ** 2 / square
    found = own.sample_power([1.0], [1.0], gamma, rho, p).cos2
    assert np.isclose(found, exact, rtol=1e-6)


def test_best_damping_may_be_none():
    s = np.geomspace(100, 1, 20)
    assert own.best_damping(s, s**-2 / (s**-2).sum(), 0.1, 0.05) == 0


# --- the network ---


def test_first_steps_of_a_linear_and_of_a_shifted_teacher():
    gamma, noise = 0.5, 0.3
    task = spectral_task(Spectrum(np.ones(2)), 0, "linear", noise)
    plain, flat, white = (own.first_step(task, gamma, d).cos2 for d in (None, 1e9, 0.0))
    assert np.allclose([plain, flat], 1 / (1 + gamma * (1 + noise)))
    assert np.isclose(white, 1 / (1 + gamma * noise / (1 - gamma)))
    levels = spectral_task(two_level(1.8, 2, 0.2, 2), 1, "tanh", noise)
    plain, flat = (own.first_step(levels, gamma, d).cos2 for d in (None, 1e9))
    assert np.isclose(plain, flat)
    shifted = Link("shifted", lambda u: u + 3, np.ones_like)
    task = spectral_task(Spectrum(np.ones(2)), 0, shifted, noise)
    found = [
        own.first_step(task, gamma, None, centred).cos2 for centred in (True, False)
    ]
    assert np.allclose(found, 1 / (1 + gamma * (1 + noise + np.array([0, 9]))))


def test_spike_against_a_large_random_matrix():
    d, N, theta = 600, 300, 2.0
    rng = np.random.default_rng(0)
    u, v = rng.standard_normal(N), rng.standard_normal(d)
    G = rng.standard_normal((N, d)) / np.sqrt(d) + theta * np.outer(
        u / np.linalg.norm(u), v / np.linalg.norm(v)
    )
    values, right = np.linalg.svd(G)[1:]
    outlier, overlap = network.spike(theta, N / d)
    assert abs(values[0] / outlier - 1) < 0.02
    assert abs((right[0] @ v) ** 2 / (v @ v) - overlap) < 0.03


def test_spike_leaves_the_bulk_at_the_threshold():
    outlier, overlap = network.spike(2**0.25 + 1e-7, 2.0)
    assert np.isclose(outlier, 1 + np.sqrt(2), atol=1e-5)
    assert abs(overlap) < 1e-5
    with pytest.raises(ValueError, match="theta = 1"):
        network.spike(1.0, 2.0)


def test_implicit_damping():
    assert np.isclose(network.implicit_damping("relu", S, 0.5), 0.5)
    assert abs(network.implicit_damping("linear", S, 0.5)) < 1e-12
    assert 0 < network.implicit_damping("tanh", S, 0.5) < 0.5


def test_adam_on_the_axes_is_adam_where_noise_and_one_size_leave_no_axes():
    s, b = np.ones(50), np.full(50, 1 / 50)
    cell = s, b, 0.5, 1e6, "tanh"
    expected = network.adam(*cell)
    assert network.adam_on_axes(*cell) == pytest.approx(expected, rel=1e-3)
    # without noise each coordinate has its sign: equal ones are right
    assert network.adam_on_axes(s, b, 0.5, 1e-9, "tanh") == pytest.approx(1, rel=1e-3)


def test_adam_on_the_axes_averages_the_signs_of_noisy_coordinates():
    s, b, gamma, nu = np.array([1.5, 0.5]), np.array([0.2, 0.8]), 0.7, 0.4
    c, V = network.slope_moments("relu", s)
    z, weight = np.polynomial.hermite_e.hermegauss(120)
    m = np.sqrt(2 * s * b / (gamma * nu))[:, None]
    t = special.erf(c * (m + z) / np.sqrt(2 * V)) @ np.diag(weight / weight.sum())
    square = (special.erf(c * (m + z) / np.sqrt(2 * V)) ** 2) @ weight / weight.sum()
    expected = (np.sqrt(b) @ t.sum(1)) ** 2 / square.sum()
    found = network.adam_on_axes(s, b, gamma, nu, "relu")
    assert found == pytest.approx(expected, rel=1e-6)


def test_adam_lies_between_two_over_pi_and_one():
    plain = theory.population_power(S, B, 0.5, 1.25, 0).cos2
    assert 2 / np.pi < network.adam(S, B, 0.5, 1.25, "tanh") / plain < 1
    # many samples: no dither is left
    clean = theory.population_power(S, B, 1e-9, 1.25, 0).cos2
    assert np.isclose(
        network.adam(S, B, 1e-9, 1.25, "tanh"), 2 / np.pi * clean, rtol=1e-3
    )


def test_a_step_makes_the_spike_that_it_is_asked_for():
    # the mean slope of a ReLU is 1/2: eta * 1/2 * |slope| * 2 = theta
    direction = theory.Direction(1.0, 4.0)
    found = [
        network.step_size(direction, sign * 0.4, "relu", S, 3.0) for sign in (1, -1)
    ]
    assert np.allclose(found, 7.5)


def small(seed, d, n, width):
    """Return inputs, first layer, head and labels of a small network."""
    rng = np.random.default_rng(seed)
    X, G = rng.standard_normal((d, n)), rng.standard_normal((width, d))
    return X, G, rng.standard_normal(width), rng.standard_normal(n)


def test_chance_is_the_mean_over_inputs_of_one_sample():
    # E[y^2 (b's^p x)^2]/(E y^2 tr Sigma^(2p+1)), by quadrature in the plane
    s, b, p = np.array([1.5, 0.4]), np.array([0.3, 0.7]), -0.3
    beta = np.sqrt(b)
    nodes, weight = np.polynomial.hermite_e.hermegauss(8)
    u = np.stack(np.meshgrid(nodes, nodes), -1).reshape(-1, 2)
    x, weight = u * np.sqrt(s), np.outer(weight, weight).ravel() / (2 * np.pi)
    task = Task(Spectrum(s), Teacher(beta, "square"), 1.5)
    power = weight * ((x @ beta) ** 4 + task.noise_variance)
    along = x @ (s**p * beta)
    expected = power @ along**2 / power.sum() / np.sum(s ** (2 * p + 1))
    assert np.isclose(network.chance(task, p), expected)


def test_chance_of_labels_with_edges():
    window = Link("window", lambda u: 1.0 * (abs(u) > 1), np.zeros_like, (-1.0, 1.0))
    task = Task(Spectrum(6.25 * np.ones(3)), Teacher(np.eye(3)[0], window))
    beyond = stats.norm.sf(0.4)  # E[t^2; t > a] = P(t > a) + a times the density
    expected = (1 + 0.4 * stats.norm.pdf(0.4) / beyond) / 3
    assert np.isclose(network.chance(task, -0.3), expected)


def test_gradient_by_hand_agrees_with_autograd():
    X, G, a, y = small(2, 5, 12, 7)
    u = G @ X
    slopes = a[:, None] * (1 - np.tanh(u) ** 2)
    by_hand = ((y - a @ np.tanh(u)) * slopes) @ X.T / 12
    found = simulate.descent(G, a, X, y, "tanh")
    assert np.allclose(found, by_hand, rtol=0, atol=1e-14)


def test_batchnorm_gradient_keeps_no_scale():
    X, G, a, y = small(3, 5, 20, 4)
    g = simulate.descent(G, a, X, y, "tanh", batchnorm=True)
    # the output ignores |g_k|
    assert np.allclose((g * G).sum(1), 0, rtol=0, atol=1e-12)
    scaled = simulate.descent(3 * G, a, X, y, "tanh", batchnorm=True)
    assert np.allclose(scaled, g / 3, rtol=0, atol=1e-12)


@pytest.mark.parametrize("activation", ["linear", "tanh"])
def test_gauss_newton_fits_the_batch_to_first_order(activation):
    X, G, a, y = (torch.from_numpy(v) for v in small(4, 5, 4, 6))
    sigma = {"linear": lambda u: u, "tanh": torch.tanh}[activation]
    step = simulate.gauss_newton(*(v.numpy() for v in (G, a, X, y)), activation)
    step = torch.from_numpy(step).ravel()
    out = a @ sigma(G @ X)
    J = torch.autograd.functional.jacobian(lambda W: a @ sigma(W @ X), G).reshape(4, -1)
    assert torch.allclose(out + J @ step, y, atol=1e-10)
    # and is the shortest such step
    assert torch.allclose(step, torch.linalg.pinv(J) @ (y - out), atol=1e-10)


# --- the second spike ---


SKEW = Link("skew", lambda u: u**2 - 1 + u**3 - 3 * u, lambda u: 2 * u + 3 * u**2 - 3)


CENTRED = Link("centred", lambda u: u**2 - 1, lambda u: 2 * u)


def even(noise=0.0, link="abs"):
    return spectral_task(Spectrum(np.ones(1)), 0.0, link, noise)


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_second_spike_with_many_samples(noise):
    # to first order in d/n: the fluctuation of E[y x x'] along the teacher, and the
    # noise of single neurons
    gamma, aspect = 1e-4, 0.5
    lost = 1 - second.second_spike(even(noise), gamma, aspect, "relu").cos2
    mean, h = np.sqrt(2 / np.pi), np.sqrt(2 / np.pi)  # of |u|, and its E f''
    clean = 1 - mean**2
    along = 3 - 4 * mean**2 + mean**2 + noise  # E y^2 u^2, E|u|^3 = 2 mean
    ratio = 0.25 * 2 * np.pi  # Var s' over (E s'')^2
    expected = gamma / h**2 * (along + ratio * (clean + noise) / aspect)
    assert np.isclose(lost, expected, rtol=0.01)


def test_second_spike_sees_no_scale_and_no_copies():
    law = second.second_spike(even(0.1), 0.1, 2.0, "relu")
    many = spectral_task(Spectrum(np.ones(5)), 0.0, "abs", 0.1)
    wide = spectral_task(Spectrum(4 * np.ones(1)), 0.0, "abs", 0.4)
    assert np.allclose(law, second.second_spike(many, 0.1, 2.0, "relu"))
    assert np.allclose(law, second.second_spike(wide, 0.1, 2.0, "relu"), rtol=1e-5)


BUMP = Link("bump", lambda u: np.exp(-(u**2)), lambda u: -2 * u * np.exp(-(u**2)))


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_second_spike_does_not_mind_the_units_of_the_inputs(unit):
    law = second.second_spike(even(0.1), 0.1, 2.0, "relu")
    wide = spectral_task(Spectrum(unit * np.ones(1)), 0.0, "abs", 0.1 * unit)
    assert np.allclose(law, second.second_spike(wide, 0.1, 2.0, "relu"), rtol=1e-8)


def test_second_spike_does_not_mind_the_units_of_the_labels():
    high = Link("high", lambda u: 1e3 * BUMP(u), lambda u: 1e3 * BUMP.slope(u))
    found = [
        second.second_spike(even(noise, f), 0.02, 2.0, "relu")
        for f, noise in [(BUMP, 0.01), (high, 1e4)]
    ]
    assert np.allclose(*found, rtol=1e-8)


@pytest.mark.parametrize(("ratio", "aspect", "seen"), [(8, 4, 0.74), (16, 4, 0.86)])
def test_second_spike_against_large_networks(ratio, aspect, seen):
    # d = 200, four seeds, standard error below 0.01
    found = second.second_spike(even(), 1 / ratio, aspect, "relu").cos2
    assert abs(found - seen) < 0.025


@pytest.mark.parametrize(
    ("task", "gamma", "aspect", "activation", "match"),
    [
        (even(link="relu"), 0.1, 2.0, "relu", "relu: must be an even function"),
        # no mean slope, yet its third degree reaches the spike
        (even(link=SKEW), 0.1, 2.0, "relu", "skew: must be an even function"),
        (even(), 0.1, 2.0, "tanh", "all must differ from 0"),
        # without a mean slope the curvature is the first spike, not the second
        (even(), 0.1, 2.0, "square", "its mean slope is .*: all must"),
        (even(), 0.1, 0.0, "relu", "aspect = 0"),
        (even(), 0.1, 1e-3, "relu", "aspect = 0.001: must be larger"),
        (even(), 2.0, 2.0, "relu", "gamma = 2: must be smaller"),
    ],
)
def test_second_spike_refuses(task, gamma, aspect, activation, match):
    with pytest.raises(ValueError, match=match):
        second.second_spike(task, gamma, aspect, activation)


def test_curvature_of_odd_and_even_activations():
    assert abs(network.mean_curvature("tanh", S)) < 1e-12
    assert np.isclose(network.mean_curvature("square", 3 * S), 2)


# --- the experiment ---


def test_muon_is_scored_like_the_others_and_by_the_head():
    task = spectral_task(two_level(1.8, 30, 0.2, 30), 0, noise=0.09)
    found = [simulate.updates(task, 240, 120, "tanh", seed) for seed in range(4)]
    means = {name: np.mean([one[name] for one in found]) for name in found[0]}
    assert means["muon"] < 0.1 < means["sgd"]
    assert abs(means["muon_head"] - means["sgd"]) < 0.1


def alignment(task, n, family, *members, seed=0, draws=1):
    return simulate.directions(task, n, seed, family, members, draws).alignment


def test_directions_are_what_they_say():
    task, n = spectral_task(log_spaced(12, 5), 0.5, "tanh", 0.04), 40
    known = alignment(task, n, "population", -0.7)
    damped = alignment(task, n, "kfac", 0.0, 0.3)
    sample = alignment(task, n, "sample", -1.0, 0.5)
    assert np.isclose(known[0, 0], direct(task, n, lambda C: task.spectrum.power(-0.7)))
    inverse = direct(task, n, lambda C: np.linalg.inv(C + 0.3 * np.eye(12)))
    assert np.isclose(damped.sel(damping=0.3)[0], inverse)
    assert np.isclose(sample[0, 0], damped[0, 0])

    def root(C):
        values, vectors = np.linalg.eigh(C)
        return (vectors * np.sqrt(values)) @ vectors.T

    assert np.isclose(sample.sel(p=0.5)[0], direct(task, n, root))


@pytest.mark.parametrize("family", simulate.FAMILIES)
def test_directions_do_not_see_a_rotation(family):
    task, n = spectral_task(log_spaced(10, 5), 0.5, "relu", 0.04), 25
    turned = task.spectrum.rotated(np.random.default_rng(9))
    moved = Task(
        turned, Teacher(task.teacher.directions @ turned.rotation.T, "relu"), task.snr
    )
    a, b = (alignment(t, n, family, 0.2, seed=1, draws=3) for t in (task, moved))
    assert np.allclose(a, b)


@pytest.mark.parametrize("n", [8, 30])
def test_power_zero_of_every_covariance_is_the_gradient(n):
    task = spectral_task(log_spaced(10, 5), 0.5, "relu", 0.04)
    a, b = (alignment(task, n, name, 0.0, draws=3) for name in ("population", "sample"))
    assert np.allclose(a, b)


def test_weights_before_and_after_a_step():
    task = spectral_task(two_level(1.8, 10, 0.2, 10), 0, noise=0.09)
    still = simulate.stepped_weights(task, 40, 40, "tanh", eta=0.0, seed=0)
    moved = simulate.stepped_weights(
        task, 40, 40, "tanh", eta=50.0, seed=0, damping=0.1
    )
    assert still["values"][1].shape == (20,)
    assert moved["values"][1][0] > 3 * still["values"][1][0]


# --- the studies ---


@pytest.mark.parametrize("scale", SCALES)
def test_sizes_are_those_of_the_scale(scale, monkeypatch):
    """Without running anything: what a study asks of the sweep, in d and d/2."""
    asked = []

    def sweep(unit, **fixed):
        asked.append(fixed)
        return xr.Dataset()

    monkeypatch.setattr(study, "sweep", sweep)
    for block in (0, 1):
        pairs = [*study.near_dampings(scale, block), *study.first_updates(scale, block)]
        assert all(c.gamma == c.data.d / c.data.n for pair in pairs for c in pair)
        assert all(big.data.d == 2 * small.data.d for big, small in pairs)
    d, number, draws = study.PAIRED[scale]
    assert {a["draws"] for a in asked if "draws" in a} == {draws}
    assert [a["n"] for a in asked[:6:2]] == [2 * d, 2 * d, 3 * d // 4]
    widths = {a["width"] for a in asked if "width" in a}
    assert widths == {2 * study.NETWORK[scale][0], study.NETWORK[scale][0]}
    first, second = asked[:10], asked[10:]
    assert len(first[0]["seeds"]) == number
    assert not any(
        set(a["seeds"]) & set(b["seeds"]) for a, b in zip(first, second, strict=True)
    )


def test_a_block_of_seeds_is_disjoint_from_the_first():
    (a, *_), (b, *_) = (study.near_exponents("smoke", block)[0] for block in (0, 1))
    assert not set(a.data.seed.values) & set(b.data.seed.values)
    assert not np.allclose(a.data.alignment, b.data.alignment)


def test_what_needs_an_inverse_is_left_out():
    for family, number in (("population", 9), ("kfac", 9), ("sample", 6)):
        cells = [big for big, _ in study.filters("smoke", family=family)]
        assert len(cells) == number
        assert all(
            0 not in c.data.members for c in cells if family == "kfac" and c.gamma > 1
        )


@pytest.mark.parametrize("top", [-0.4, 0.0, 0.7])
def test_turning_point_finds_the_top_of_a_parabola(top):
    exact = -((np.array([-1, 0, 1]) - top) ** 2)
    assert np.isclose(study.turning_point(exact), top)


def test_signs_have_the_covariance_of_the_spectrum_and_squares_that_do_not_vary():
    s = log_spaced(6, 4).eigenvalues
    X = simulate.Signs(s).inputs(4000, np.random.default_rng(0))
    assert np.allclose(X**2, s[:, None])
    assert np.abs(X @ X.T / 4000 - np.diag(s)).max() < 0.12


# --- what is refused ---


def test_refuses_a_singular_sample_covariance():
    task = spectral_task(two_level(1.8, 5, 0.2, 5), 0, noise=0.09)
    with pytest.raises(
        ValueError, match=r"n = 10 with damping = 0: n must be > d = 10"
    ):
        simulate.directions(task, 10, 0, "kfac", (1.0, 0.0))
    with pytest.raises(ValueError, match=r"n = 8 with a negative exponent"):
        simulate.directions(task, 8, 0, "sample", (0.5, -0.5))
    with pytest.raises(ValueError, match="damping = -1"):
        simulate.directions(task, 20, 0, "kfac", (0.1, -1.0))
    with pytest.raises(ValueError, match="family = 'power'"):
        simulate.directions(task, 20, 0, "power", (0.5,))
    with pytest.raises(ValueError, match="n must be > d"):
        simulate.updates(task, 10, 5, "tanh", 0, damping=0.0)
    with pytest.raises(ValueError, match="gamma = 1: must be < 1"):
        own.sample_power(S, B, 1.0, 0.5, -0.5)
    with pytest.raises(ValueError, match="at gamma = 1"):
        own.kfac(S, B, 1.0, 0.5, 0.0)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: own.kfac(S, [0.5, 0.6], 0.5, 0.5, 0.1), "b has smallest entry"),
        (lambda: own.kfac([1.8, 0.0], B, 0.5, 0.5, 0.1), "s has smallest entry 0"),
        (lambda: own.kfac(S, B, 0.5, 0.5, -0.1), "damping = -0.1"),
        (lambda: theory.population_power(S, B, 0.0, 0.5, 0), "gamma = 0"),
        (lambda: theory.population_filter(S, B, 0.5, 0.5, [0, 0]), "phi is zero"),
        (lambda: theory.best_exponent(S, B, 0.5, -1.0), "nu = -1"),
        (lambda: theory.best_exponent([1.0, 1.0], B, 0.5, 1.0), "every exponent"),
        (
            lambda: theory.best_exponent(S, S**7 / (S**7).sum(), 1.0, 1e9),
            "best exponent lies beyond 4",
        ),
        (
            lambda: theory.best_exponent(S, S**-6 / (S**-6).sum(), 1.0, 1e9),
            "best exponent lies beyond -3",
        ),
        (lambda: own.sample_power(S, B, 0.5, 0.3, 200), "p = 200: must be nearer"),
        (lambda: network.adam(S, B, 0.5, 0.0, "tanh"), "nu = 0"),
        (
            lambda: theory.moments(spectral_task(two_level(2, 2, 1, 2), 0, "abs")),
            "mean slope 0",
        ),
        (lambda: theory.moments(even(link=CENTRED)), "mean slope 0"),
        (
            lambda: theory.weights(Task(Spectrum([1.0, 2.0]), Teacher([1.0, 1.0]))),
            "of length 1",
        ),
        (lambda: network.slope_moments("gelu", S), "activation = 'gelu'"),
        (lambda: network.adam(S, B, 0.5, 1.0, "linear"), "must vary"),
        (lambda: network.implicit_damping("abs", S, 0.5), "non-zero mean slope"),
        (lambda: network.adam(S, B, 0.5, 1.0, "square"), "'square': .* mean slope"),
        (lambda: network.adam_on_axes(S, B, 0.5, 1.0, "abs"), "'abs': .* mean slope"),
        (lambda: network.chance(even(link="tanh"), 0.0), "tanh, which is odd"),
        (
            lambda: simulate.updates(
                spectral_task(two_level(2, 2, 1, 2), 0), 9, 3, "gelu", 0
            ),
            "activation = 'gelu'",
        ),
        (
            lambda: spectral_task(Spectrum([1.0, 0.0]), 0),
            "eigenvalues has smallest entry 0",
        ),
        (lambda: spectral_task(two_level(2, 2, 1, 2), 0, noise=-1), "noise = -1"),
        (lambda: log_spaced(5, 0.5), "ratio = 0.5"),
    ],
)
def test_refuses(call, match):
    with pytest.raises(ValueError, match=match):
        call()


def test_named_links_travel_between_processes():
    task = pickle.loads(pickle.dumps(spectral_task(log_spaced(4, 2), 0, "tanh")))
    assert task.teacher.link is LINKS["tanh"]
    with pytest.raises(Exception, match="pickle"):
        pickle.dumps(Link("mine", lambda u: u, np.ones_like))


@pytest.mark.parametrize("gamma", [1 - 1e-9, np.nextafter(1.0, 0.0)])
def test_a_power_of_a_covariance_with_eigenvalues_near_zero_is_refused(gamma):
    with pytest.raises(ValueError, match="gamma = .*: must be < 1 by more"):
        own.sample_power([1.0, 0.5, 2.0], np.full(3, 1 / 3), gamma, 0.3, -0.7)
