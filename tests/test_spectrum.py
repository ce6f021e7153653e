"""The spectrum of learned features and the ridge error: closed forms, invariances,
limits, two independent routes.
"""

import pickle
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from fl.simulate import spectrum as simulate
from fl.simulate.spectrum import Setting, Spiked, Step
from fl.simulate.spectrum_rows import row_terms, spike
from fl.studies import spectrum as study
from fl.studies import spectrum_error
from fl.studies.spectrum import ERF2, RELU, SIN, SIN_COS, TANH
from fl.tasks import Link
from fl.theory.spectrum import (
    Law,
    averaged,
    bulk_of,
    diverging_outliers,
    gaussian_equivalent,
    sample_law,
)
from fl.theory.spectrum_error import ReadOut, _design, linear_floor
from fl.theory.spectrum_features import (
    conditional_features,
    giant_step,
    normal_grid,
    sample_grid,
    spiked_model,
    teacher_given_spike,
)
from fl.theory.spectrum_resolvent import fixed_point, follow, linearise, resolvent
from fl.theory.spikes import pair
from fl.theory.spikes_risk import small_step_risk

UNBOUNDED = Link("z sin 2z", lambda u: u * np.sin(2 * u), None)


@settings(max_examples=15, deadline=None)
@given(r=st.floats(-3, 3), c=st.floats(0.2, 2))
def test_relu_features_have_their_closed_form(r, c):
    f = conditional_features(RELU, spiked_model(r, c))
    mean, x = r * f.kappa, r * f.kappa / c
    assert np.allclose(f.mu0[:, 0], mean * norm.cdf(x) + c * norm.pdf(x), atol=1e-12)
    assert np.allclose(f.mu1[:, 0], c * norm.cdf(x), atol=1e-12)
    assert np.allclose(f.curvature[:, 0], norm.pdf(x) / c, atol=1e-11)
    second = (mean**2 + c**2) * norm.cdf(x) + mean * c * norm.pdf(x)
    assert np.allclose(
        f.mu2sq[:, 0], second - f.mu0[:, 0] ** 2 - f.mu1[:, 0] ** 2, atol=1e-11
    )


def test_conditional_features_average_to_the_unconditional_second_moment():
    f = conditional_features(TANH, spiked_model(1.5, 0.7))
    total = f.mean(f.mu0**2 + f.mu1**2 + f.mu2sq)[0]
    assert np.isclose(total, TANH.moments(np.hypot(1.5, 0.7))[1], rtol=1e-9)


def test_teacher_given_spike_at_the_ends():
    kappa, _ = normal_grid(21)
    h, h1, hh = teacher_given_spike(SIN, 1.0, kappa)
    assert (
        np.allclose(h, np.sin(kappa))
        and not h1.any()
        and np.allclose(hh, np.sin(kappa) ** 2)
    )
    h, h1, hh = teacher_given_spike(SIN, 0.6, kappa)
    assert np.allclose(
        h, np.sin(0.6 * kappa) * np.exp(-0.32), atol=1e-12
    )  # rho^2 / 2 = 0.32
    assert np.allclose(h1, 0.8 * np.cos(0.6 * kappa) * np.exp(-0.32), atol=1e-12)
    assert np.allclose(hh, (1 - np.cos(1.2 * kappa) * np.exp(-1.28)) / 2, atol=1e-12)


def test_giant_step_of_a_huge_batch():
    model = giant_step(SIN, TANH, 2.0, 1e9, zeta=(1.0, -0.5))
    m1 = TANH.moments()[2]
    assert np.allclose(
        model.r, 2 * np.array([1.0, -0.5]) * m1 * np.exp(-0.5), rtol=1e-6
    )
    assert (
        np.allclose(model.c, 1)
        and np.isclose(model.gamma, 1)
        and np.allclose(model.s, 0)
    )
    assert np.allclose(giant_step(SIN, TANH, 0.0, 20.0).r, 0)


def test_giant_step_constants_are_those_of_a_simulated_step():
    d, p, alpha0 = 60, 400, 200.0
    model = giant_step(SIN_COS, RELU, 1.5, alpha0, (1.0, -1.0))
    setting = Setting(RELU, p, 1.0, p / d, SIN_COS)
    network = Step(1.5, (1.0, -1.0), alpha0).draw(setting, 3)
    measured = simulate.measured_spike(network)
    assert np.allclose(measured["r"][1], model.r, rtol=0.08)
    # per overlap of the old row; per overlap of the new one, with its noise, it is s_b
    slopes = row_terms(3, Step(1.5, (1.0, -1.0), alpha0), setting)["along"][1]
    assert np.allclose(slopes, 1 + model.s * model.c**2, rtol=0.2)


def test_noise_hides_the_own_overlap_of_a_row():
    few, many = (giant_step(SIN_COS, RELU, 3.0, a, (1.0, -1.0)) for a in (0.5, 1e12))
    assert few.c.min() > 1.1 and np.allclose(many.c, 1)
    # of the overlap with the row and its noise, 1/c^2 is the row's
    np.testing.assert_allclose(few.s * few.c**2, many.s, rtol=1e-9)
    np.testing.assert_allclose(few.beta, many.beta, rtol=1e-9)


def test_the_step_ties_the_row_norm_to_the_overlap():
    d, p = 60, 400
    model = giant_step(SIN, TANH, 3.0, 400.0)
    setting = Setting(TANH, p, 1.0, p / d)
    # projecting v out removes the part t_j^2 of the row as well, which is even in t_j
    slope = row_terms(0, Step(3.0, alpha0=400.0), setting)["norm"][1]
    assert model.beta[0] < 0 and np.allclose(slope, 2 * model.beta, rtol=0.2)


def test_a_network_whose_output_does_not_vanish_needs_other_constants():
    # c_b = 1 - eta zeta_b f0 E phi'': what `giant_step` refuses to predict
    setting = Setting(RELU, 400, 1.0, 1.0)
    norms = [spike(s, Step(1.5, (1.0,), 20.0), setting) for s in range(2)]
    rest = np.mean([u["norm"][1] - u["r"][1] ** 2 for u in norms])
    f0, bend = RELU.hermite(2)[0], 2**0.5 * RELU.hermite(2)[2]
    noise = 1.5**2 * (SIN.moments()[1] + f0**2) * RELU.slope_variance() / 20
    assert np.isclose(rest, (1 - 1.5 * f0 * bend) ** 2 + noise, rtol=0.05)


def marchenko_pastur(z, ratio):
    """Return the Stieltjes transform of X X' / N for X (p, N), ratio = p / N, unit
    variance.
    """
    b = z + ratio - 1
    root = np.sqrt(b**2 - 4 * ratio * z)
    root = np.where((root * b.conj()).real < 0, root, -root)
    return (-b - root) / (2 * ratio * z)


def test_population_law_of_one_block_is_a_shifted_marchenko_pastur_law():
    f, delta = conditional_features(TANH, spiked_model(1.5)), 0.5
    v, shift = f.mean(f.mu1**2)[0], f.mean(f.mu2sq)[0]
    z = np.array([0.4 + 0.05j, 0.2 + 0.1j, 1 + 1j])
    m = 1e8 * resolvent(f, z, 1e8, delta).nu[:, 0]
    x = (z - shift) / v
    assert np.allclose(v * m, marchenko_pastur(x, delta), rtol=1e-5)
    assert np.all(m.imag > 0)


def test_linear_features_obey_the_two_step_marchenko_pastur_equation():
    # mu1 constant, no noise: K = X' X / n with covariance W0 W0', itself
    # Marchenko-Pastur
    f = conditional_features(TANH, spiked_model(0.0))
    f = replace(f, mu1=np.ones_like(f.mu1), mu2sq=np.zeros_like(f.mu1))
    alpha, delta, z = 3.0, 0.7, np.array([0.8 + 0.2j, 2 + 1j])
    m = alpha * resolvent(f, z, alpha, delta).nu[:, 0]
    inner = -z * (
        1 - 1 / alpha - z * m / alpha
    )  # Silverstein: m = int 1/(t (1 - c - c z m) - z), c = 1/alpha
    scale = inner / -z
    assert np.allclose(m, marchenko_pastur(z / scale, delta) / scale, rtol=1e-8)


def test_derivative_map_against_finite_differences():
    f = conditional_features(RELU, spiked_model((1.0, -0.5), pi=(0.3, 0.7)))
    point = fixed_point(f, 0.3, 2.0, 1.5)
    own, hats = linearise(point)
    rng = np.random.default_rng(0)
    dx, dh = rng.standard_normal((2, 6))

    def equations(x, h):
        V, nu, V_hat, nu_hat = x[:4].reshape(2, 2), x[4:], h[:4].reshape(2, 2), h[4:]
        P = np.diag(nu)
        first = (np.eye(2) + 1.5 * P @ V_hat) @ V - P
        return np.concatenate(
            [first.ravel(), nu * (0.3 + nu_hat) + np.diag(V @ V_hat) - f.pi]
        )

    x, h = point.x[0], point.hats[0]
    assert np.abs(equations(x, h)).max() < 1e-10
    step = 1e-6
    numeric = (
        equations(x + step * dx, h + step * dh)
        - equations(x - step * dx, h - step * dh)
    ) / (2 * step)
    assert np.allclose(numeric, own[0] @ dx + hats[0] @ dh, atol=1e-7)


def test_fixed_point_is_the_trace_of_a_sampled_resolvent():
    run = simulate.spectrum(0, Spiked((1.0, -1.0)), Setting(RELU, 400, 2.0, 1.0))
    f = conditional_features(
        RELU, spiked_model((1.0, -1.0)), sample_grid(run["kappa"][1])
    )
    z = np.array([0.3 + 0.3j, 1 + 0.5j])
    empirical = (1 / (run["eigenvalue"][1] - z[:, None])).mean(1)
    point = resolvent(f, z, 2.0, 1.0)
    assert np.allclose(point.trace, empirical, atol=0.02)
    near = resolvent(f, 1.1 * z, 2.0, 1.0)
    again = resolvent(f, z, 2.0, 1.0, near.x)
    assert np.allclose(again.trace, point.trace, rtol=1e-9)


def test_warm_and_cold_starts_agree():
    f = conditional_features(TANH, spiked_model((2.0, 0.5)))
    cold = fixed_point(f, [0.1, 0.2], 2.0, 1.0)
    near = fixed_point(f, [0.2, 0.3], 2.1, 1.0)
    warm = follow(f, cold.s[None], cold.alpha, cold.delta, near.x)
    assert (
        cold.converged.all()
        and warm.converged.all()
        and np.allclose(cold.x, warm.x, rtol=1e-10)
    )


def test_a_point_that_was_not_reached_has_no_trace_and_names_its_argument():
    f = conditional_features(TANH, spiked_model(1.0), normal_grid(11))
    point = resolvent(f, [-1.0 + 0.5j, 2.0 + 0.5j], 4.0, 1.3)
    missed = replace(point, converged=np.array([True, False]))
    with pytest.raises(ArithmeticError, match=r"not reached at z = \[2\.\+0\.5j\]"):
        _ = missed.trace


@pytest.mark.parametrize(
    "link, activation", [(SIN, TANH), (SIN_COS, RELU)], ids=["tanh", "relu"]
)
def test_equal_blocks_merge(link, activation):
    one, two = (
        spiked_model(1.2, gamma=0.9),
        spiked_model((1.2, 1.2), pi=(0.3, 0.7), gamma=0.9),
    )
    errors = [
        ReadOut(link, activation, m, 0.01).error(0.1, [0.5, 2.0], 1.5)
        for m in (one, two)
    ]
    assert np.allclose(errors[0], errors[1], rtol=1e-8)
    z = np.array([0.2 + 0.1j])
    nus = [
        resolvent(conditional_features(activation, m), z, 2.0, 1.0).nu.sum()
        for m in (one, two)
    ]
    assert np.isclose(*nus, rtol=1e-9)


def test_signs_of_the_blocks_do_not_matter_for_odd_activations():
    errors = [
        ReadOut(SIN, TANH, spiked_model(r)).error(0.1, 2.0, 1.0)[0]
        for r in [(1.5,), (-1.5,), (1.5, -1.5)]
    ]
    assert np.allclose(errors, errors[0], rtol=1e-8)


def test_without_spike_the_alignment_does_not_matter():
    errors = [
        ReadOut(SIN, TANH, spiked_model(0.0, gamma=g)).error(0.1, 2.0, 1.3)[0]
        for g in (0.0, 0.5, 1.0)
    ]
    assert np.allclose(errors, errors[0], rtol=1e-8)


def test_own_overlaps_are_along_the_teacher_wherever_the_absent_spike_points():
    errors = [
        ReadOut(SIN_COS, RELU, spiked_model(0.0, 1.2, None, g, 0.7, 0.4)).error(
            0.1, 2.0, 1.3
        )[0]
        for g in (0.0, 0.6, -0.8, 1.0)
    ]
    assert np.allclose(errors, errors[0], rtol=1e-8)


def test_the_design_is_how_a_neuron_moves_with_its_own_overlap():
    """By differences: a row of overlap h along one axis of the plane of spike and teacher,
    and 1 along its teacher's, has t = h w_axis / c as the overlap of the old row.
    """
    r, c, s, beta, h = 1.3, 0.8, 0.7, 0.4, 1e-5
    model, kappa = spiked_model(r, c, None, 0.6, s, beta), np.linspace(-2, 2, 5)
    features = conditional_features(TANH, model, (kappa, np.full(5, 0.2)))
    z, weight = np.polynomial.hermite_e.hermegauss(80)
    w = np.array([0.6, 0.8])

    def mean(axis, tau, overlap):
        x = np.stack([kappa, np.full(5, tau)])
        norm = np.sqrt(c**2 + 2 * beta * overlap * w[axis] / c)
        moved = c * overlap * (x[axis] + s * w[axis] * (w @ x))
        u = r * kappa[:, None] + norm * z + moved[:, None]
        return np.tanh(u) @ weight / weight.sum()

    def slope(axis, tau):
        return (mean(axis, tau, h) - mean(axis, tau, -h)) / (2 * h)

    by_kappa = [slope(axis, 0.0) for axis in (0, 1)]
    by_tau = [slope(axis, 1.0) - by_kappa[axis] for axis in (0, 1)]
    design = _design(features, model)
    assert np.allclose(design[:, 0], [*mean(0, 0.0, 0.0), *np.zeros(5)])
    assert np.allclose(design[:5, 1:].T, by_kappa, atol=1e-8)
    assert np.allclose(design[5:, 1:].T, by_tau, atol=1e-8)


def test_a_kink_may_be_anywhere():
    """A ReLU that bends at 1/2 is one whose input is less by 1/2."""
    late = Link("late", lambda u: np.maximum(u - 0.5, 0), None, kinks=(0.5,))
    model, kappa = spiked_model(2.0, 0.7), np.linspace(-3, 3, 21)
    weight = np.full(21, 1 / 21)
    moved = conditional_features(RELU, model, (kappa - 0.25, weight))
    found = conditional_features(late, model, (kappa, weight))
    for name in ("mu0", "mu1", "mu2sq", "curvature"):
        np.testing.assert_allclose(
            getattr(found, name), getattr(moved, name), atol=1e-12
        )


@settings(max_examples=10, deadline=None)
@given(psi1=st.floats(0.5, 5), psi2=st.floats(0.3, 4), penalty=st.floats(0.02, 2))
def test_without_spike_the_error_is_the_classical_risk(psi1, psi2, penalty):
    alpha = psi1 / psi2
    read_out = ReadOut(SIN, TANH, spiked_model(0.0), 0.05)
    here = read_out.error(penalty * alpha, alpha, psi2)[0]
    classical = small_step_risk(
        pair(("tanh", 1.0), ("sin", 1.0), 0.05), psi1, psi2, penalty, 0.0
    )
    assert np.isclose(here, classical + 0.05, rtol=1e-7)


def test_published_values_of_the_classical_risk():
    # no penalty, infinitely many samples and neurons: what is left is the part of the
    # link that is not linear
    two = pair(("tanh", 1.0), ("sin", 1.0), 0.0)
    assert np.isclose(
        small_step_risk(two, 1e7, 1e3, 1e-9, 0.0), linear_floor(SIN), rtol=1e-2
    )


def test_no_error_below_the_noise_and_a_huge_penalty_predicts_nothing():
    model = spiked_model(1.0, gamma=0.9)
    huge, free = (
        ReadOut(SIN, TANH, model, 0.2).error(1e9, 2.0, 1.0, width=w)[0]
        for w in (100, None)
    )
    assert np.isclose(huge, SIN.moments()[1] + 0.2, rtol=1e-6)
    assert free < 0.4  # in the limit the block sums cost nothing, whatever the penalty
    read_out = ReadOut(TANH, TANH, spiked_model(1.0, 0.01), 0.2)
    many = read_out.error(1e-3, 1e4, 1.0)
    assert 0.2 < many[0] < 0.203  # the feature is the link: tanh(kappa)


def test_linear_floor_of_sine():
    assert np.isclose(linear_floor(SIN), (1 - np.exp(-2)) / 2 - np.exp(-1), rtol=1e-12)


def test_stated_accuracy_of_the_kappa_grid():
    for link, activation, model in [
        (SIN, TANH, spiked_model(1.5, gamma=0.9)),
        (TANH, RELU, spiked_model((1.5, -1.0))),
    ]:
        usual, fine = (
            ReadOut(link, activation, model, grid=g).error(0.1, 2.0, 1.0)[0]
            for g in (None, normal_grid(321, 9))
        )
        assert abs(usual / fine - 1) < 1e-8


def test_width_correction_vanishes():
    model = spiked_model((0.5, 1.0, 2.0))
    limit, *finite = (
        ReadOut(SIN, TANH, model).error(0.1, 2.0, 1.0, width=w)[0]
        for w in (None, 100, 10**9)
    )
    assert finite[0] > 1.2 * limit and np.isclose(finite[1], limit, rtol=0.05)


def test_a_penalty_of_the_order_of_the_width_shrinks_the_mean():
    # it stops all else; the mean of the labels is a ridge on one input, the block's mean
    mean, alpha, width = 1 / np.sqrt(2 * np.pi), 2.0, 10**7
    for times, kept in [(1, 1 / 2), (2, 1 / 3)]:
        penalty = times * alpha * width * mean**2
        for r in (0.0, [0.0, 0.0]):
            read_out = ReadOut(RELU, RELU, spiked_model(r, gamma=0.0))
            error = read_out.error(penalty, alpha, 1.3, width)[0]
            assert np.isclose(error, 0.5 - mean**2 * (1 - (1 - kept) ** 2), rtol=1e-5)


def test_a_small_penalty_is_reached_from_a_large_one():
    model = spiked_model((1.5, -1.0), gamma=0.9)
    read_out, penalties = ReadOut(SIN, RELU, model), [1e-6, 0.1, 3.0]
    together = read_out.error(penalties, 2.0, 1.0)
    alone = [read_out.error(penalty, 2.0, 1.0)[0] for penalty in penalties]
    assert np.allclose(together, alone, rtol=1e-9)


def test_laws_have_mass_one_and_the_mean_of_the_row_variance():
    f = conditional_features(RELU, spiked_model((1.0, -1.0)))
    size = f.mean(f.mu1**2 + f.mu2sq) @ f.pi
    for law in (sample_law(f, 1.5, 2.0), sample_law(f, 1e8, 0.5)):
        assert abs(law.mass - 1) < 4e-3 and np.all(law.density >= 0)
        assert np.isclose(np.trapezoid(law.x * law.density, law.x), size, rtol=5e-3)


@pytest.mark.parametrize("r, alpha", [(3.0, 1.05), (6.0, 1.5)])
def test_a_strong_spike_loses_no_mass(r, alpha):
    law = sample_law(conditional_features(TANH, spiked_model(r)), alpha, 1.0)
    assert abs(law.mass - 1) < 0.01


def test_two_blocks_of_one_sign_find_the_true_root():
    # the value and its error: eight direct simulations
    read_out = ReadOut(SIN, RELU, spiked_model((5.0, 2.0)))
    error = read_out.error(0.01, 1.5, 5.0)[0]
    assert np.isclose(error, 0.3157, atol=1e-4) and abs(error - 0.311) < 3 * 0.004
    f = conditional_features(RELU, spiked_model((5.0, 2.0)))
    point = fixed_point(f, [0.01, 0.1], 1.5, 5.0)
    assert point.converged.all() and (point.nu > 0).all()


def test_one_row_law_has_the_mean_squares_and_keeps_the_second_moment():
    f = conditional_features(RELU, spiked_model((1.5, -1.0)))
    total = f.mean(f.mu0**2 + f.mu1**2 + f.mu2sq)
    for g in (averaged(f), gaussian_equivalent(f)):
        assert np.ptp(g.mu1, axis=0).max() == 0 and np.ptp(g.mu2sq, axis=0).max() == 0
        assert np.allclose(g.mean(g.mu0**2 + g.mu1**2 + g.mu2sq), total, rtol=1e-10)
    assert np.abs(np.diff(g.mu0, 2, axis=0)).max() < 1e-12  # linear in kappa


def test_a_gaussian_equivalent_never_passes_the_linear_floor():
    for alpha in (1.0, 100.0):
        equivalent = ReadOut(SIN, TANH, spiked_model(1.5), change=gaussian_equivalent)
        assert equivalent.error(0.1, alpha, 0.5)[0] > linear_floor(SIN)


def test_distance_of_a_known_law():
    law = Law(np.linspace(0, 1, 101), np.ones(101), np.linspace(0, 1, 101), 1.0)
    assert np.isclose(law.distance((np.arange(10) + 0.5) / 10), 0.05)
    assert np.isclose(law.distance(np.array([2.0])), 1.0)


def test_diverging_outliers_of_relu_before_the_step_and_of_odd_activations():
    assert np.isclose(
        diverging_outliers(conditional_features(RELU, spiked_model(0.0)))[0],
        1 / (2 * np.pi),
    )
    assert np.allclose(
        diverging_outliers(conditional_features(TANH, spiked_model(0.0))), 0, atol=1e-20
    )
    top, low = diverging_outliers(conditional_features(TANH, spiked_model((1.0, -1.0))))
    assert top > 0.1 and abs(low) < 1e-14


def test_the_bulk_is_what_the_rank_of_the_means_leaves():
    eigenvalues = np.array([90.0, 40.0, 2.0, 1.0])
    for r, left in [([0.0, 0.0], 1), ([0.0, 1.5], 2)]:
        features = conditional_features(RELU, spiked_model(r))
        assert np.array_equal(bulk_of(eigenvalues, features), eigenvalues[left:])


def test_erf_kernel_of_the_population_is_the_sampled_one():
    recipe, setting = Spiked((1.5,)), Setting(ERF2, 6, np.inf, 6 / 5)
    W = recipe.draw(setting, 1).W
    X = torch.from_numpy(np.random.default_rng(0).standard_normal((200_000, 5))).to(
        W.device
    )
    features = torch.from_numpy(ERF2((X @ W.T).cpu().numpy()))
    sampled = np.linalg.eigvalsh((features.T @ features / len(X)).numpy())[::-1]
    assert np.allclose(
        simulate.population_spectrum(1, recipe, setting)["eigenvalue"][1],
        sampled,
        atol=0.01,
    )


def test_the_step_is_the_gradient():
    d, p, n0 = 5, 4, 10
    setting = Setting(TANH, p, 1.0, p / d, noise=0.1)
    network = Step(0.7, (1.0, -1.0), n0 / d).draw(setting, 0)
    W0, (target, _), block = simulate.untrained(setting, 2, 0)
    zeta = torch.tensor([1.0, -1.0], dtype=W0.dtype, device=W0.device)[block]
    ((X, y),) = simulate.Samples(n0, target, torch.sin, 0.1, (0, simulate.STEP))
    W = W0.clone().requires_grad_()
    loss = (torch.tanh(X @ W.T) @ zeta / p - y).square().sum() / (2 * n0)
    (gradient,) = torch.autograd.grad(loss, W)
    assert torch.allclose(network.W, W0 - 0.7 * p * gradient, atol=1e-12)


def test_ridge_error_of_the_simulation_minimises_the_stated_objective():
    recipe = Spiked((1.0,), gamma=0.8)
    setting = Setting(TANH, 6, 5.0, 6 / 5, penalty=0.3, noise=0.2)
    network = recipe.draw(setting, 0)
    n, test = 30, 30 * simulate.TEST_POINTS
    ((X, y),) = simulate.Samples(n, network.target, torch.sin, 0.2, (0, simulate.TRAIN))
    Phi = torch.tanh(X @ network.W.T) / 6**0.5
    a = torch.linalg.solve(Phi.T @ Phi + 0.3 * torch.eye(6, dtype=Phi.dtype), Phi.T @ y)
    chunks = simulate.Samples(test, network.target, torch.sin, 0.0, (0, simulate.TEST))
    T, t = (torch.cat(parts) for parts in zip(*chunks, strict=True))
    expected = (
        float((t - torch.tanh(T @ network.W.T) @ a / 6**0.5).square().mean()) + 0.2
    )
    error = simulate.error(0, recipe, setting)["error"]
    assert np.isclose(error, expected, rtol=1e-12)


def test_made_networks_have_the_stated_geometry():
    recipe = Spiked((2.0, -1.0, 1.5), (0.5, 1.0, 1.0), 0.6)
    network = recipe.draw(Setting(TANH, 10, 1.0, 10 / 7), 0)
    assert np.isclose(float(network.v @ network.target), 0.6) and np.isclose(
        float(network.target.norm()), 1
    )
    assert network.block.tolist() == [0] * 3 + [1] * 4 + [2] * 3
    first = network.W[0] - 2.0 * network.v
    assert np.isclose(float(first.norm()), 0.5)


@pytest.mark.parametrize(
    "runs",
    [
        study.bulks,
        study.widths,
        study.populations,
        study.steps,
        study.noisy_steps,
        study.row_terms,
        study.before_the_step,
        study.batches,
        spectrum_error.errors,
        spectrum_error.step_errors,
        spectrum_error.untrained_errors,
        spectrum_error.expressivity,
    ],
)
def test_studies_state_their_sizes_and_blocks_share_no_seed(runs, monkeypatch):
    units = []

    def sweep(unit, seeds, recipe, setting):
        units.append(pickle.dumps((unit, recipe, setting)))  # it travels to workers
        return xr.Dataset(coords={"seed": list(seeds)})

    monkeypatch.setattr(study, "sweep", sweep)
    first, second = runs("smoke", 0), runs("smoke", 1)
    for one, other in zip(first, second, strict=True):
        assert one.setting == other.setting and one.recipe == other.recipe
        assert not set(one.data.attrs["seeds"]) & set(other.data.attrs["seeds"])
        assert one.data.attrs["width"] == one.setting.width
        assert min(one.data.attrs["seeds"]) == 0
    assert len(set(units)) == len(first)
    larger = runs("paper", 0)
    assert all(
        a.setting.width < b.setting.width for a, b in zip(first, larger, strict=True)
    )


def on_grid(*grid):
    return conditional_features(TANH, spiked_model(1.0), grid)


def test_few_samples_are_bins_of_their_own():
    few, seven = np.arange(7.0), np.full(7, 1 / 7)
    np.testing.assert_allclose(sample_grid(few[::-1]), [few, seven])


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: spiked_model((1.0, 2.0), pi=(0.5, 0.6)), "pi sums to 1.1"),
        (lambda: spiked_model(1.0, c=0.0), "c has smallest entry 0"),
        (lambda: spiked_model([]), "r has shape"),
        (lambda: on_grid([0.0, 1.0], [1.0]), "grid[1] has shape"),
        (lambda: on_grid([0.0, 1.0], [0.5, 0.6]), "grid[1] sums to 1.1"),
        (
            lambda: sample_law(conditional_features(TANH, spiked_model(1.0)), 1e8, 2.0),
            "(an atom of mass 1 - 1/delta",
        ),
        (lambda: spiked_model(1.0, gamma=1.5), "gamma = 1.5"),
        (
            lambda: giant_step(RELU, TANH, 1.0, 20.0),
            "link = relu has mean 0.399: must be centred",
        ),
        (lambda: giant_step(SIN, TANH, 1.0, 0.0), "alpha0 = 0.0"),
        (lambda: normal_grid(2), "points = 2"),
        (
            lambda: sample_law(conditional_features(TANH, spiked_model(1.0)), 0.9, 1.0),
            "alpha = 0.9",
        ),
        (lambda: giant_step(SIN, RELU, 1.5, 20.0), "zeta = .*output 0.399"),
        (
            lambda: giant_step(SIN, RELU, 1.5, 20.0, (1.0, -1.0), pi=(0.3, 0.7)),
            "output -0.16",
        ),
        (
            lambda: sample_law(
                conditional_features(RELU, spiked_model(4.0, 0.5)), 1.1, 1.0
            ),
            "features have 19.4% of the spectrum off",
        ),
        (
            lambda: ReadOut(SIN, TANH, spiked_model(1.0)).error(0.0, 2.0, 1.0),
            "penalty has smallest entry 0",
        ),
        (
            lambda: ReadOut(SIN, TANH, spiked_model(1.0)).error(0.1, 2.0, 1.0, width=0),
            "width = 0",
        ),
        (lambda: Spiked((1.0,)).draw(Setting(TANH, 0, 1.0, 1.0), 0), "width = 0"),
        (
            lambda: Step(1.0, alpha0=-1.0).draw(Setting(TANH, 5, 1.0, 1.0), 0),
            "alpha0 = -1.0",
        ),
        (
            lambda: simulate.population_spectrum(
                0, Spiked((1.0,)), Setting(TANH, 5, np.inf, 1.0)
            ),
            "activation = 'tanh'",
        ),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_bad_arguments_are_named(call, words):
    with pytest.raises(ValueError, match=re.sub(r"([(\[])", r"\\\1", words)):
        call()
