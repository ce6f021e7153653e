"""One gradient step: closed forms against limits, derivatives and quadrature; the two
stages of the simulation.
"""

import dataclasses

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, special

from fl import numerics, scales
from fl.instruments import streamed_ridge, torch_links
from fl.instruments.gaussian_products import population, product_mean
from fl.links import LINKS
from fl.simulate import spikes as simulate
from fl.simulate import spikes_risk as stage
from fl.simulate import spikes_shares
from fl.studies import spikes as study
from fl.studies import spikes_large as large
from fl.theory import spikes, spikes_conditional, spikes_departure, spikes_risk
from fl.theory.spikes_conditional import (
    _erf_moments,
    conditional_risk,
    predicted,
    resolvent_risk,
)

PAIR = spikes.pair()
RATIOS = [(2.0, 1.0), (4.0, 0.5), (1.0, 2.0)]
ERF, RELU = ("erf", 1.0), ("relu", 1.0)


# numbers of the links


@given(st.sampled_from(["erf", "relu", "abs"]), st.floats(0.05, 5), st.integers(0, 15))
def test_closed_hermite_coefficients_are_those_of_the_quadrature(name, tau, degree):
    link = LINKS[name]
    quadrature = numerics.hermite_coefficients(
        lambda z: link.f(tau * z), degree, [0.0] if link.kinks else []
    )
    np.testing.assert_allclose(link.hermite(degree, tau), quadrature, atol=1e-12)


def test_hermite_coefficients_carry_the_whole_variance():
    c = LINKS["relu"].hermite(60)
    assert (
        0.5 - 1e-3 < (c**2).sum() < 0.5
    )  # E relu^2 = 1/2, and the tail falls like k^(-3/2)


def test_numbers_of_the_default_pair():
    assert PAIR.mu1 == pytest.approx(2 / np.sqrt(3 * np.pi), abs=1e-14)
    assert PAIR.rest == pytest.approx(
        2 / np.pi * np.arcsin(2 / 3) - 4 / (3 * np.pi), abs=1e-14
    )
    assert PAIR.mu1s == pytest.approx(6 / np.sqrt(19 * np.pi), abs=1e-14)
    assert PAIR.energy == pytest.approx(
        2 / np.pi * np.arcsin(18 / 19) + 0.01, abs=1e-13
    )
    assert spikes.pair(RELU, RELU)[:3] == pytest.approx(
        (0.5, 0.25 - 1 / (2 * np.pi), 0.25), abs=1e-14
    )
    # E erf'(z)^2 = 4/pi E exp(-2 z^2) = 4 / (pi sqrt 5)
    assert PAIR.slope_variance == pytest.approx(
        4 / (np.pi * 5**0.5) - PAIR.mu1**2, abs=1e-14
    )


@pytest.mark.parametrize("name", LINKS)
def test_torch_links_are_the_links_centred(name):
    u = torch.linspace(-3, 3, 41, dtype=torch.float64, requires_grad=True)
    link, tau = torch_links.centred(name, 0.7), 0.7
    mean = LINKS[name].moments(tau)[0]
    np.testing.assert_allclose(
        link.f(u).detach(), LINKS[name].f(tau * u.detach().numpy()) - mean, atol=1e-13
    )
    (slope,) = torch.autograd.grad(link.f(u).sum(), u)
    away = u.detach().abs() > 1e-9  # at a kink autograd picks a side
    np.testing.assert_allclose(link.slope(u).detach()[away], slope[away], atol=1e-13)


# the spike


@pytest.mark.parametrize("psi2", [0.3, 1.0, 4.0])
def test_spike_meets_the_bulk_at_the_threshold_and_frees_itself(psi2):
    edge = psi2**0.25
    for overlap in (spikes.left_overlap, spikes.right_overlap):
        assert overlap([0.5 * edge, edge], psi2) == pytest.approx([0, 0], abs=1e-14)
        assert overlap(1e6, psi2) == pytest.approx(1)
    assert spikes.location([0.2 * edge, edge], psi2) == pytest.approx(1 + psi2**0.5)
    assert spikes.location(1e6, psi2) == pytest.approx(1e6)
    assert (np.diff(spikes.location(np.linspace(1.01, 3, 20) * edge, psi2)) > 0).all()


def test_location_solves_the_equation_of_the_spiked_model():
    # theta^2 x m(-x) mt(-x) = 1 with the two resolvents of W0, outside the spectrum
    for psi2 in (0.3, 1.0, 4.0):
        theta2 = 1.7 * psi2**0.25
        x = spikes.location(theta2, psi2) ** 2
        product = x * spikes.stieltjes(-x, psi2)[0] * spikes.companion(-x, psi2)[0]
        assert theta2**2 * product == pytest.approx(1, rel=1e-12)


def test_transposing_the_matrix_swaps_the_overlaps():
    # W1' has entries of variance 1/d = psi2/N: rescaled by sqrt(psi2) it is the same
    # model with 1/psi2
    psi2, theta2 = 2.5, 2.0
    swapped = spikes.left_overlap(theta2 / psi2**0.5, 1 / psi2)
    assert swapped == pytest.approx(spikes.right_overlap(theta2, psi2))


def test_strengths_and_threshold():
    theta1, theta2 = spikes.strengths(PAIR, 1e12, 3.0)
    assert theta2 == pytest.approx(theta1)  # with all the data the spike is the teacher
    assert spikes.strengths(PAIR, 2.0, spikes.threshold(PAIR, 2.0, 0.5))[
        1
    ] == pytest.approx(0.5**0.25)
    assert spikes.frobenius_limit(PAIR, 1e12) == pytest.approx(0, abs=1e-5)
    linear = spikes.pair(("linear", 1.0))
    assert spikes.frobenius_limit(linear, 2.0) == pytest.approx(
        0, abs=1e-7
    ) and linear.rest == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("psi2", [0.4, 1.0, 3.0])
def test_resolvent_is_the_integral_over_the_bulk(psi2):
    low, high = abs(1 - psi2**0.5), 1 + psi2**0.5
    share = min(1.0, psi2)
    for s in (0.3, 2.0, -1.5 * high**2):
        inside = integrate.quad(
            lambda x, s=s: spikes.bulk_density(x, psi2) / (x**2 + s), low + 1e-12, high
        )[0]
        assert spikes.stieltjes(s, psi2)[0] == pytest.approx(
            share * inside + (1 - share) / s, rel=1e-5
        )
        shares = share / psi2
        assert spikes.companion(s, psi2)[0] == pytest.approx(
            shares * inside + (1 - shares) / s, rel=1e-5
        )
        for f in (spikes.stieltjes, spikes.companion):
            difference = (f(s + 1e-5, psi2)[0] - f(s - 1e-5, psi2)[0]) / 2e-5
            assert f(s, psi2)[1] == pytest.approx(difference, rel=1e-6)


def test_kernel_outlier_with_all_the_data_is_that_of_the_covariance():
    ell = PAIR.mu1**2 * spikes.location(2.5, 1.0) ** 2 + PAIR.rest
    place, overlap = spikes.kernel_outlier(PAIR, 1e9, 1.0, 2.5)
    assert (place, overlap) == (pytest.approx(ell), pytest.approx(1))
    assert np.isnan(spikes.kernel_outlier(PAIR, 2.0, 1.0, 0.9)).all()


def test_kernel_outlier_overlap_is_the_logarithmic_slope_of_its_place():
    theta, step = 2.5, 1e-6
    near = np.array([theta - step, theta, theta + step])
    place, overlap = spikes.kernel_outlier(PAIR, 2.0, 1.0, near)
    ell = PAIR.mu1**2 * spikes.location(near, 1.0) ** 2 + PAIR.rest
    assert np.diff(np.log(place[::2])) / np.diff(np.log(ell[::2])) == pytest.approx(
        overlap[1], rel=1e-6
    )


# the risk


def test_effective_penalty_with_all_the_data_is_the_penalty():
    kappa, gamma, _ = spikes_risk.effective(PAIR, 1e9, 1.0, 0.3)
    assert (kappa, gamma) == (pytest.approx(0.3), pytest.approx(0, abs=1e-8))


def test_quadratic_form_slope_and_pole():
    for psi1, psi2 in RATIOS:
        theta1, theta2 = spikes.strengths(PAIR, psi1, 5.0)
        values, slope = spikes_risk.quadratic_form(
            [0.4 - 1e-6, 0.4, 0.4 + 1e-6], psi2, theta1, theta2
        )
        assert slope[1] == pytest.approx((values[2] - values[0]) / 2e-6, rel=1e-6)
        assert spikes_risk.pole(psi2, theta1, theta2) == pytest.approx(
            -(spikes.location(theta2, psi2) ** 2), rel=1e-12
        )
    with pytest.raises(ValueError, match="theta2 = 0.5"):
        spikes_risk.pole(1.0, 0.5, 0.5)
    with pytest.raises(ValueError, match="theta1 = 0"):
        spikes_risk.pole(1.0, 0, 2.0)


@given(st.floats(-1.5, 1.5), st.floats(-6, 1), st.floats(-3, 0))
def test_pole_is_found_near_the_threshold_and_for_weak_teachers(ratio, above, aligned):
    psi2 = 10**ratio
    theta2 = psi2**0.25 * (1 + 10**above)
    pole = spikes_risk.pole(psi2, 10**aligned * theta2, theta2)
    assert pole == pytest.approx(-(spikes.location(theta2, psi2) ** 2), rel=1e-10)


def test_felt_strength_is_that_of_a_matrix_with_the_output_taken_off():
    rng, d, theta2, eta = np.random.default_rng(0), 400, 3.0, 20.0
    W0, a, b = rng.standard_normal((d, d)) / d**0.5, np.ones(d) / d**0.5, np.eye(d)[0]
    output = eta * PAIR.mu1**2 / d**0.5 * np.outer(W0 @ a, a)
    strengths = theta2, spikes.felt(PAIR, eta, theta2, d)
    measured, expected = [], []
    for kept, felt in zip((0, 1), strengths, strict=True):
        W1 = W0 - kept * output + theta2 * np.outer(b, a)
        u, s, v = np.linalg.svd(W1)
        form = b @ np.linalg.solve(W1 @ W1.T + 0.4 * np.eye(d), b)
        measured.append([s[0], (u[:, 0] @ b) ** 2, (v[0] @ a) ** 2, form])
        left = spikes.left_overlap(felt, 1.0) * (theta2 / felt) ** 2
        right = spikes.right_overlap(felt, 1.0)
        T, _ = spikes_risk.quadratic_form(0.4, 1.0, theta2, felt)
        expected.append([spikes.location(felt, 1.0), left, right, T])
    moved, predicted = np.diff(measured, axis=0), np.diff(expected, axis=0)
    np.testing.assert_allclose(moved, predicted, atol=0.02)  # of 0.1 and 0.06
    assert spikes.felt(PAIR, eta, theta2, np.inf) == theta2
    assert spikes.felt(PAIR, 1.0, 0.1, 4.0) == 0


def test_gain_is_zero_if_and_only_if_there_is_no_step_or_no_linear_part():
    def gain(pair, eta, psi1=2.0, psi2=1.0):
        start, end = spikes_risk.small_step_risk(pair, psi1, psi2, 0.1, [0.0, eta])
        return start - end

    assert gain(PAIR, 0.0) == 0 and gain(PAIR, 1e-3) > 0
    assert gain(PAIR._replace(mu1s=0.0), 2.0) == 0
    for psi1, psi2 in [(0.1, 5.0), (0.5, 0.2), *RATIOS]:
        assert gain(PAIR, 0.5, psi1, psi2) > 0
    wide = [gain(PAIR, 2.0, psi2=psi2) for psi2 in (1.0, 4.0, 16.0, 64.0)]
    assert wide == pytest.approx([0.090, 0.012, 0.0014, 0.00024], rel=0.05)


def test_frobenius_limit_of_labels_with_a_mean():
    # relu, relu + 0.4, n = 3d, noise 0.05: measured 0.818 at d = 700
    pair = spikes.pair(RELU, RELU, 0.05)
    bend = 1 / np.sqrt(2 * np.pi)  # E sigma'' of the ReLU: the density at its kink
    assert spikes.frobenius_limit(pair, 3.0, 0.4, bend) == pytest.approx(
        0.811, abs=1e-3
    )
    assert bend == pytest.approx(2**0.5 * LINKS["relu"].hermite(2)[2])
    # erf does not bend on the mean, and an offset is then one more variance of the labels
    noisy = PAIR._replace(noise=PAIR.noise + 0.16)
    flat = spikes.frobenius_limit(PAIR, 3.0, 0.4)
    assert flat == pytest.approx(spikes.frobenius_limit(noisy, 3.0))


# where steps stop being small


def test_departure_has_its_power_and_vanishes_where_the_start_is_enough():
    links, N = large.DEGREES[3], np.array([1e6, 8e6])
    spread, eta = spikes_departure.departure(links, 3, N, 4.0, 2.0, 0.1, 0.03)
    assert spread[1] / spread[0] == pytest.approx(8 ** (2 / 3))
    assert eta[1] / eta[0] == pytest.approx(2, rel=1e-3)
    assert spikes_departure.departure(links, 3, 100, 4.0, 2.0, 0.1, 1e-9)[1] == 0


def test_departure_does_not_mind_the_units_of_a_relu():
    # features twice as large under a penalty four times as large are the same ridge
    found = [
        spikes_departure.departure(
            {"student": ("relu", tau), "teacher": ERF}, 2, 1e4, 4.0, 2.0, penalty, 0.3
        )
        for tau, penalty in [(1.0, 0.1), (2.0, 0.4)]
    ]
    assert found[1] == pytest.approx([found[0][0], found[0][1] / 2])


def test_shares_are_those_of_sampled_features():
    sizes = {"d": 10, "psi1": 4.0, "psi2": 2.0, **large.RELUS}
    run = spikes_shares.shares(0, 2, (3.0,), 0.1, **sizes)
    step = simulate.first_step(simulate.Setting(**sizes), 0)
    W, b = step.weights(3.0), step.signal / step.signal.norm()
    X = streamed_ridge.normal((400_000, 10), 1)
    S, u = torch_links.centred("relu").f(X @ W), X @ b
    h = (u**2 - 1) / 2**0.5
    v, C = S.T @ h / len(X), S.T @ S / len(X) + 0.1 * torch.eye(20, dtype=X.dtype)
    q = float(v @ torch.linalg.solve(C, v))
    assert run.together.item() == pytest.approx(q / (1 - q), rel=0.05)
    alone = (v**2 / (C.diagonal() - 0.1)).mean()
    assert run.alone.item() == pytest.approx(float(alone), rel=0.05)
    assert run.spread.item() == pytest.approx(float((W.T @ b).square().sum()))


def test_a_kernel_with_the_data_of_a_power_learns_and_a_huge_penalty_nothing():
    sizes = {"d": 2, "psi1": 100.0, "psi2": 4.0}
    run = spikes_shares.kernel_risks(0, (1e-4, 1e-2), **sizes)
    assert run.risk.sel(kernel="smooth") < PAIR.floor / 3
    none = spikes_shares.kernel_risks(0, (1e9,), **sizes).risk
    assert none.values == pytest.approx(PAIR.energy - PAIR.noise, rel=0.15)


def test_exponents_of_a_run_of_powers():
    def run(d, seeds=3):
        eta = xr.DataArray([1.0, 2.0, 4.0], dims="eta")
        spread = eta**2 * xr.ones_like(xr.DataArray(np.zeros(seeds), dims="seed"))
        held = (spread**2 / d).transpose("seed", "eta")
        data = {"spread": spread.transpose("seed", "eta"), "together": held}
        return xr.Dataset(data).assign_attrs(d=d)

    slopes = large.spread_exponent([run(10), run(20, 2), run(40)], "together")
    assert slopes.values == pytest.approx([0.5] * 3)


def test_infinite_width_is_ridge_on_the_inputs():
    # W0 W0' = psi2 I: the linear part is x itself, the rest a further penalty
    psi1, psi2, penalty = 3.0, 1e6, 0.2 * 1e6
    shrink = (penalty + psi2 / psi1 * PAIR.rest) / (PAIR.mu1**2 * psi2)
    # kappa of ordinary ridge in d dimensions: shrink = kappa (1 - 1/(psi1 (1 + kappa)))
    b = 1 - 1 / psi1 - shrink
    kappa = (-b + np.sqrt(b**2 + 4 * shrink)) / 2
    inflation = 1 - 1 / psi1 / (1 + kappa) ** 2
    expected = (
        PAIR.mu1s**2 * (kappa / (1 + kappa)) ** 2 + PAIR.floor + PAIR.noise
    ) / inflation - PAIR.noise
    assert spikes_risk.small_step_risk(PAIR, psi1, psi2, penalty, 0.0) == pytest.approx(
        expected, rel=1e-4
    )


@given(st.floats(0.3, 50), st.floats(0.2, 4), st.floats(-3, 0.5))
def test_risk_falls_with_the_step_and_stays_above_the_floor(psi1, psi2, log_penalty):
    risk = spikes_risk.small_step_risk(
        PAIR, psi1, psi2, 10**log_penalty, np.linspace(0, 20, 40)
    )
    assert (
        (np.diff(risk) < 1e-13).all() and risk[0] > risk[-1] and risk[-1] > PAIR.floor
    )
    if psi1 > 5 and psi2 > 1:
        assert risk[0] < PAIR.energy  # not worse than the prediction 0


def test_risk_reaches_the_floor_with_all_the_data():
    assert spikes_risk.small_step_risk(PAIR, 1e7, 1.0, 1e-6, 1e4) == pytest.approx(
        PAIR.floor, abs=1e-3
    )


@given(st.floats(-3, 3), st.floats(0.01, 3))
def test_erf_moments(shift, scale):
    expected = [
        numerics.gaussian_mean(lambda z: special.erf(shift + scale * z)),
        numerics.gaussian_mean(
            lambda z: 2 / np.sqrt(np.pi) * np.exp(-((shift + scale * z) ** 2))
        ),
        numerics.gaussian_mean(lambda z: special.erf(shift + scale * z) ** 2),
    ]
    np.testing.assert_allclose(
        _erf_moments(shift, np.float64(scale)), expected, atol=1e-12
    )


def test_resolvent_risk_of_white_noise_and_of_equal_groups():
    n, N, penalty, energy = 60, 30, 0.5, 2.0
    kappa = np.roots(
        [1, N / n - 1 + 1 - penalty, -penalty]
    ).max()  # penalty = kappa (1 - (N/n)/(1 + kappa))
    C, h = np.eye(N)[None], np.zeros((1, N))
    one = resolvent_risk(C, h, [energy], [1.0], n, penalty, 0.0)
    assert one == pytest.approx(energy / (1 - N / n / (1 + kappa) ** 2), rel=1e-8)
    rng = np.random.default_rng(0)
    factor, h = rng.standard_normal((N, 2 * N)) / 8, 0.1 * rng.standard_normal(N)
    C = factor @ factor.T
    single = resolvent_risk(C[None], h[None], [energy], [1.0], n, penalty, 0.1)
    double = resolvent_risk(
        [C, C], [h, h], [energy, energy], [0.3, 0.7], n, penalty, 0.1
    )
    assert double == pytest.approx(single, rel=1e-8)


def test_conditional_risk_meets_the_closed_form_without_a_step():
    rng, d = np.random.default_rng(1), 100
    W, axes = rng.standard_normal((d, d)) / d**0.5, np.eye(d)[:12]
    b = rng.standard_normal(d)
    risks = [conditional_risk(W, b, x, 2 * d, 0.1, 0.01) for x in axes]
    closed = spikes_risk.small_step_risk(PAIR, 2.0, 1.0, 0.1, 0.0)
    assert abs(np.mean(risks) - closed) < 4 * np.std(risks) / len(axes) ** 0.5 < 0.1


@pytest.mark.parametrize("link", [("erf", 3.0), ("relu", 2.0)])
def test_moments_about_a_shift_are_those_of_a_sum_over_draws(link):
    name, tau = link
    f = LINKS[name]
    shift, scale, h = 0.4, 0.7, 1e-4
    z = np.linspace(-9, 9, 40001)
    weight = np.exp(-(z**2) / 2)
    weight /= weight.sum()

    def mean(shift):
        return weight @ f(tau * (shift + scale * z)) - weight @ f(tau * z)

    centred = f(tau * (shift + scale * z)) - weight @ f(tau * z)
    slope = (mean(shift + h) - mean(shift - h)) / (2 * h)
    expected = mean(shift), slope, weight @ centred**2
    found = spikes_conditional._moments("student", link, shift, scale)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_the_conditional_equivalent_keeps_parity_and_lets_relus_pass():
    rng, d = np.random.default_rng(2), 30
    b = np.eye(d)[0]
    W = rng.standard_normal((d, 2 * d)) / d**0.5
    W[0] += 3 * rng.standard_normal(2 * d)
    erf3, relu = ("erf", 3.0), ("relu", 1.0)
    for teacher, passes in ((erf3, False), (relu, True)):
        risk = conditional_risk(W, b, b, 10**6, 1e-6, 0.0, relu, teacher)
        assert (risk < spikes.pair(relu, teacher).floor) == passes


# the simulation


SMALL = {"d": 12, "psi1": 3.0, "psi2": 1.5}


def small(**others):
    return simulate.Setting(**SMALL | others)


@pytest.mark.parametrize("student", [ERF, RELU, ("tanh", 1.3)])
def test_gradient_is_that_of_autograd(student):
    setting = small(student=student)
    step = simulate.first_step(setting, 4)
    (X, y), link = next(iter(setting.sample(4, 2))), torch_links.centred(*student)
    W = step.W0.clone().requires_grad_()
    f = link.f(X @ W) @ step.a / setting.width**0.5
    (((y - f) ** 2).mean() / 2).backward()
    torch.testing.assert_close(step.G0, -W.grad, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(step.signal, X.T @ y / setting.n)
    assert X.shape == (36, 12) and step.W0.shape == (12, 18)


def test_a_sample_does_not_depend_on_the_chunk_and_repeats_itself():
    whole, pieces = (
        small().sample(7, 1),
        dataclasses.replace(small().sample(7, 1), chunk=5),
    )
    for a, b in zip(
        next(iter(whole)), map(torch.cat, zip(*pieces, strict=True)), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-14)
    assert [len(y) for _, y in pieces] == [5] * 7 + [1]
    first, second = (
        streamed_ridge.normal_equations(s, torch.erf) for s in (whole, pieces)
    )
    for a, b in zip(first[:2], second[:2], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def test_ridge_is_the_minimiser():
    sample = small().sample(3)
    (X, y), equations = (
        next(iter(sample)),
        streamed_ridge.normal_equations(sample, torch.erf),
    )
    w = streamed_ridge.ridge(equations, 0.3).requires_grad_()
    loss = ((y - torch.erf(X) @ w) ** 2).mean() + 0.3 * w @ w
    (gradient,) = torch.autograd.grad(loss, w)
    assert gradient.abs().max() < 1e-12
    assert torch.equal(
        equations.gram, streamed_ridge.normal_equations(sample, torch.erf).gram
    )  # ridge leaves it alone
    for bad in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="penalty"):
            streamed_ridge.ridge(equations, bad)
    with pytest.raises(ValueError, match="sample"):
        streamed_ridge.normal_equations([], torch.erf)


ABS = ("abs", 1.5)
OTHERS = [(f, g) for f in (ERF, RELU, ("erf", 2.0)) for g in (ERF, RELU, ("relu", 0.5))]


@pytest.mark.parametrize(("f", "g"), [*OTHERS, (ABS, ("abs", 0.7)), (ERF, ABS)])
def test_gaussian_products_by_quadrature(f, g):
    u, v = (
        torch.tensor([[1.3], [0.0]], dtype=torch.float64),
        torch.tensor([[0.4], [0.9]], dtype=torch.float64),
    )
    nodes, weights = numerics.gaussian_rule([0.0], panels=24, order=8)
    x, y = np.meshgrid(nodes, nodes, indexing="ij")
    fs = torch_links.centred(*f).f(torch.from_numpy(1.3 * x))
    gs = torch_links.centred(*g).f(torch.from_numpy(0.4 * x + 0.9 * y))
    expected = float(weights @ (fs * gs).numpy() @ weights)
    assert float(product_mean(f, g, u, v)) == pytest.approx(expected, abs=2e-4)
    assert float(product_mean(g, f, v, u)) == pytest.approx(
        float(product_mean(f, g, u, v)), abs=1e-14
    )


def test_population_risk_is_the_test_error():
    setting = small(psi1=4.0, student=RELU)
    W = simulate.first_step(setting, 0).weights(3.0)
    f = torch_links.centred("relu").f
    w = streamed_ridge.ridge(
        streamed_ridge.normal_equations(setting.sample(0, 3), lambda X: f(X @ W)), 0.1
    )
    exact = streamed_ridge.quadratic_risk(
        w, *population(RELU, setting.teacher, W, setting.beta)
    )
    X = streamed_ridge.normal((200_000, setting.d), 99)
    losses = (torch_links.centred("erf", 3.0).f(X[:, 0]) - f(X @ W) @ w) ** 2
    assert abs(float(losses.mean()) - exact) < 4 * float(losses.std()) / len(X) ** 0.5
    with pytest.raises(ValueError, match="link = 'tanh'"):
        population(("tanh", 1.0), ERF, W, setting.beta)
    with pytest.raises(ValueError, match="links = abs, relu"):
        population(("abs", 1.0), RELU, W, setting.beta)


def test_without_a_step_labels_of_the_first_stage_do_not_matter():
    true, other = (
        stage.risk(2, (0, 3), (0.1,), first={"labels": k}, **SMALL).risk.values.ravel()
        for k in ("true", "shuffled")
    )
    assert true[0] == other[0] and true[1] != other[1]


def test_spike_variables():
    run = simulate.spike(0, (0.0, 1e6), **SMALL)
    still, giant = (run.isel(eta=i) for i in (0, 1))
    assert still["theta2"] == 0
    assert giant["s1"] / giant["theta2"] == pytest.approx(1, abs=0.5)
    for name in ("u_beta", "v_a"):
        assert 0 <= still[name] <= 1 and 0 <= giant[name] <= 1
    singular = torch.linalg.svdvals(simulate.first_step(small(), 0).weights(1e6))
    assert giant["s1"] == pytest.approx(float(singular[0]))


def test_kernel_variables():
    for eta in (0.0, 1e6):
        run = stage.kernel(0, eta, **SMALL)
        assert 0 <= run["overlap"] <= 1
        W = simulate.first_step(small(), 0).weights(eta)
        features = stage.Student(small(), W).features()
        sample = small().sample(0, simulate.SECOND_SAMPLE)
        gram = streamed_ridge.normal_equations(sample, features).gram
        largest = torch.linalg.eigvalsh(gram)[-1]
        assert run["outlier"] == pytest.approx(float(largest))


@pytest.mark.parametrize("kind", stage.FEATURES)
def test_moments_of_a_student_are_those_of_its_features(kind):
    setting = small(student=RELU)
    student = stage.Student(setting, simulate.first_step(setting, 0).weights(2.0), kind)
    X = streamed_ridge.normal((100_000, setting.d), 5)
    S, f = student.features(6)(X), torch_links.centred("erf", 3.0).f(X[:, 0])
    covariance, cross, energy = student.moments
    torch.testing.assert_close(S.T @ S / len(X), covariance, rtol=0, atol=0.05)
    if kind == "network":  # the others are equivalent to it in the linear part alone
        torch.testing.assert_close(S.T @ f / len(X), cross, rtol=0, atol=0.03)
    assert float(f @ f) / len(X) == pytest.approx(energy, abs=0.01)


# the studies


@pytest.mark.parametrize(
    ("run", "sizes"),
    [
        (study.gradients, {"d": [32, 64, 128], "seeds": 24, "psi1": 2.0}),
        (study.spikes, {"d": [70, 140], "ratios": study.RATIOS, "seeds": 16}),
        (study.small_steps, {"etas": study.SMALL_STEPS, "seeds": 20}),
        (large.giant_steps, {"d": 50, "psi1": 10.0, "seeds": 2}),
    ],
)
def test_studies_name_their_sizes_and_blocks_share_no_draw(run, sizes):
    first, second = run("smoke"), run("smoke", block=1)
    assert sizes.items() <= first.attrs.items() and first.attrs == second.attrs
    assert list(first.seed) == list(scales.seeds(sizes["seeds"]))
    assert not set(first.seed.values) & set(second.seed.values)
    if isinstance(first, xr.Dataset):
        first, second = (run[next(iter(run))] for run in (first, second))
    assert not np.isclose(first, second).all()


def test_penalties_lie_in_the_window_of_the_theorem():
    sizes = large.in_window("smoke").attrs
    for psi1, penalty in zip(sizes["psi1"], sizes["penalties"], strict=True):
        n, share = psi1 * sizes["d"], penalty / (2 * sizes["d"])
        assert n**-0.95 < share < n**-0.05  # eps = 0.05


def test_exponents_are_those_of_powers():
    d = xr.DataArray([10.0, 20.0, 50.0], dims="d", coords={"d": [10.0, 20.0, 50.0]})
    values = d ** xr.DataArray([-0.5, 1.0], dims="seed")
    np.testing.assert_allclose(study.exponents(values), [-0.5, 1.0])


def test_predictions_are_the_risks_of_each_first_layer():
    run = large.layers("smoke", number=2)[0]
    at1 = run.isel(seed=1)
    arguments = at1.beta.values, int(run.n), 0.1, 0.01
    expected = conditional_risk(at1.W.values, at1.signal.values, *arguments)
    assert predicted(run)[1].item() == pytest.approx(expected, rel=1e-12)


def test_a_limit_takes_one_power_off():
    d = xr.DataArray([10.0, 30.0], dims="d", coords={"d": [10.0, 30.0]})
    assert study.limit(2 + 5 / d).item() == pytest.approx(2)
    assert study.limit(2 + 5 * d ** (-2 / 3), 2 / 3).item() == pytest.approx(2)


LAYER = np.eye(3), np.eye(3)[0], np.eye(3)[1]
SINGULAR = spikes.location, spikes.left_overlap, spikes.right_overlap


def grouped(shares=(0.5, 0.5), h=((1.0,), (0.5,)), noise=0.0):
    return resolvent_risk(np.ones((2, 1, 1)), h, [1.0, 1.0], shares, 9, 0.1, noise)


def departure(width=100, level=1.0):
    links = {"student": RELU, "teacher": ("erf", 3.0)}
    return spikes_departure.departure(links, 2, width, 4.0, 1.0, 0.1, level)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: spikes.pair(("abs", 1.0)), "student = 'abs'"),
        (lambda: spikes.pair(noise=-1), "noise = -1"),
        (lambda: spikes.location(2.0, 0.0), "psi2 = 0.0"),
        (lambda: spikes_departure.departure_exponent(1), "degree"),
        (lambda: spikes.stieltjes(-1.0, 1.0), "must be > 0 or < -4"),
        (lambda: spikes_risk.effective(PAIR, 2.0, 1.0, 0.0), "penalty = 0.0"),
        (
            lambda: conditional_risk(np.eye(3), np.zeros(3), np.eye(3)[0], 5, 0.1, 0.0),
            "direction is zero",
        ),
        (
            lambda: conditional_risk(*LAYER[:2], 2 * LAYER[0][0], 5, 0.1, 0.0),
            "beta has",
        ),
        (lambda: conditional_risk(*LAYER, 5, 0.1, -0.1), "noise = -0.1"),
        (lambda: grouped(shares=[1.5, -0.5]), "shares has smallest entry -0.5"),
        (lambda: grouped(shares=[0.5, 0.6]), "shares .* sum 1.1"),
        (lambda: grouped(h=np.ones(3)), "h has shape"),
        (lambda: grouped(noise=-1.0), "noise = -1"),
        *((lambda f=f: f(-1.0, 1.0), "theta2 = -1") for f in SINGULAR),
        *((lambda f=f: f([1.0, np.inf], 1.0), "theta2 has 1") for f in SINGULAR),
        (lambda: spikes_risk.small_step_risk(PAIR, 2, 1, 0.1, 1.0, 0), "width = 0"),
        (lambda: spikes_risk.small_step_risk(PAIR, 2, 1, 0.1, np.nan), "eta has 1"),
        (lambda: spikes.felt(PAIR, 1.0, 1.0, np.nan), "width = nan"),
        (lambda: spikes_risk.pole(1.0, np.nan, 2.0), "theta1 = nan"),
        (lambda: spikes_risk.pole(1.0, 2.1, 2.0), "theta1 = 2.1"),
        (lambda: departure(level=0.0), "level has smallest entry 0"),
        (lambda: departure(width=[9, -1]), "width has smallest entry -1"),
        (lambda: simulate.first_step(small(), 0, labels="other"), "labels = 'other'"),
        (
            lambda: stage.risk(0, (1.0,), (1.0,), features="x", **SMALL),
            "features = 'x'",
        ),
        (lambda: torch_links.centred("gelu"), "name = 'gelu'"),
        (lambda: simulate.Setting(d=0), "d = 0"),
        (lambda: simulate.Setting(d=2, psi2=0.1), "width = 0"),
        (lambda: spikes.stieltjes(-0.1, 0.25), "must be > 0 or < -2.25"),
    ],
)
def test_arguments_are_checked(call, message):
    with pytest.raises(ValueError, match=message):
        call()
