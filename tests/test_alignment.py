"""Alignment: hand cases, invariances, limits, and two independent routes to the same
number.
"""

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from fl.links import Link
from fl.simulate import alignment as simulate
from fl.simulate import alignment_student
from fl.studies import alignment as study
from fl.tasks import Spectrum, Task, Teacher, power_law, two_level
from fl.theory import alignment_growth, alignment_laws, alignment_ridge
from fl.theory.alignment import early_alignment, gradient_weights, label_moments
from fl.theory.transfer import early_shares

LAM = power_law(40, 1.0).eigenvalues
ENERGY = np.arange(1, 41.0) ** -1.7
RNG = np.random.default_rng(0)


# --- the early feature ----------------------------------------------------------------


@pytest.mark.parametrize("link", ["abs", "square"])
@pytest.mark.parametrize("function", [early_alignment, early_shares])
def test_a_link_without_a_linear_part_has_an_early_feature_only_by_chance(
    link, function
):
    task = Task(Spectrum([2.0, 1.0]), Teacher([0.5, 1.0], link), 1.0)
    assert np.isfinite(function(task, -1.0, 100)).all()
    with pytest.raises(ValueError, match="n = inf with a link without a linear part"):
        function(task, -1.0, np.inf)


def test_label_moments_of_a_linear_teacher():
    task = Task(
        Spectrum([4.0, 1.0]), Teacher([1.0, 0.0]), snr=2.0
    )  # u ~ N(0, 4): E u^2 (u^2/4 - 1)/4 = 2
    np.testing.assert_allclose(label_moments(task), (1.0, 4 * 1.25, 2.0), rtol=1e-12)


def test_early_alignment_by_hand_for_the_identity():
    # d equal eigenvalues, linear teacher of length 1, no noise: s = 1 - (N-2)/(N(N-1))
    # + 2/N, nu = 1/(N-1)
    d, n = 7, 20
    task = Task(Spectrum(np.ones(d)), Teacher(np.eye(d)[2]))
    s, nu = 1 - (n - 2) / (n * (n - 1)) + 2 / n, 1 / (n - 1)
    for p in (-2.0, 0.0, 3.0):
        assert early_alignment(task, p, n) == pytest.approx(
            (s + nu) / (s + d * nu), rel=1e-12
        )


@pytest.mark.parametrize(
    "link",
    [
        Link("step", np.sign, np.zeros_like, kinks=(0.0,)),
        Link("wrong", np.sin, lambda u: 5 * u),
    ],
)
def test_a_slope_that_is_not_the_derivative_is_refused(link):
    task = Task(power_law(5, 1.0), Teacher(np.eye(5)[:1], link))
    with pytest.raises(ValueError, match=f"'{link.name}' has the mean slope .* must"):
        label_moments(task)


def test_weights_of_the_gradient_of_two_samples_by_quadrature():
    # in one dimension, and n = 2: g = (y1 - y2) (x1 - x2) / 2
    bent = Link("bent", lambda u: u + 0.3 * u**2, lambda u: 1 + 0.6 * u)
    task = Task(Spectrum([2.0]), Teacher([0.7], bent), snr=3.0)
    nodes, weight = np.polynomial.hermite_e.hermegauss(8)
    weight = np.outer(weight, weight) / (2 * np.pi)
    x = np.sqrt(2) * nodes
    apart = np.subtract.outer(x, x)
    labels = bent(0.7 * x)
    square = np.subtract.outer(labels, labels) ** 2 + 2 * task.noise_variance
    exact = np.sum(weight * square * apart**2) / 4
    signal, sampling = gradient_weights(task, 2)
    assert signal * (2 * 0.7) ** 2 + sampling * 2 == pytest.approx(exact)
    # the two apart, where there are more samples: labels that are noise have no signal
    loud = Task(Spectrum([2.0]), Teacher([0.7], bent), snr=1e-6)
    _, sampling = gradient_weights(loud, 11)
    assert sampling == pytest.approx(loud.noise_variance / 10)
    endless = gradient_weights(task, np.inf)
    assert endless == pytest.approx(gradient_weights(task, 10**12), abs=1e-10)


@pytest.mark.parametrize("p", [-2.0, -1.0, 0.0, 1.0])
def test_early_alignment_leading_order(p):
    """1/A - 1 is close to m2/(N c1^2 tau^2) sum (lam_r/lam_k)^(2p+2), with an error of
    order 1/N.
    """
    n = 10**9
    task = simulate.extreme_task("high", 1.0)
    lam = task.spectrum.eigenvalues
    c1, m2, _ = label_moments(task)
    leading = m2 / (n * c1**2 * lam[0]) * np.sum((lam[1:] / lam[0]) ** (2 * p + 2))
    assert 1 / early_alignment(task, p, n) - 1 == pytest.approx(
        leading, rel=1e-4, abs=1e-14
    )


def test_early_alignment_ignores_basis_scale_of_the_inputs_and_dead_directions():
    lam, beta, n = np.array([3.0, 1.0, 0.2]), np.array([0.3, -1.0, 2.0]), 50
    plain = early_alignment(Task(Spectrum(lam), Teacher(beta), 1.5), -0.7, n)
    U = np.linalg.qr(RNG.standard_normal((3, 3)))[0]
    turned = Task(Spectrum(lam, U), Teacher(U @ beta), 1.5)
    scaled = Task(Spectrum(9 * lam), Teacher(beta / 3), 1.5)
    dead = Task(Spectrum(np.append(lam, 0.0)), Teacher(np.append(beta, 5.0)), 1.5)
    for other in (turned, scaled, dead):
        assert early_alignment(other, -0.7, n) == pytest.approx(plain, rel=1e-10)


@given(p=st.floats(-3, 3), snr=st.floats(0.1, 10), n=st.integers(2, 1000))
@settings(max_examples=20, deadline=None)
def test_early_alignment_is_a_squared_correlation(p, snr, n):
    task = Task(two_level(3.0, 2, 0.5, 3), Teacher([1.0, 0, 0, 0, 1.0], "tanh"), snr)
    assert 0 < early_alignment(task, p, n) <= 1 + 1e-12


def test_early_feature_of_one_seed_does_not_depend_on_the_other_exponents():
    size = {"n": 20, "draws": 5, "seed": 3}
    one = simulate.early_feature("low", 1.0, [0.0], **size)["along"][1]
    two = simulate.early_feature("low", 1.0, [-1.0, 0.0], **size)["along"][1]
    np.testing.assert_array_equal(one[0], two[1])


# --- the escape from zero -------------------------------------------------------------


@pytest.mark.parametrize("activation", ["relu", "linear"])
def test_gradients_agree_with_autograd(activation):
    X, y = RNG.standard_normal((3, 11)), RNG.standard_normal(11)
    net = simulate.initial(5, 3, 0.7, RNG)
    leaves = [torch.tensor(v, requires_grad=True) for v in net]
    Z = leaves[0] @ torch.tensor(X) + leaves[1][:, None]
    output = leaves[2] @ (torch.relu(Z) if activation == "relu" else Z)
    ((output - torch.tensor(y)) ** 2).mean().backward()
    for hand, leaf in zip(
        simulate.gradients(net, X, y, activation), leaves, strict=True
    ):
        np.testing.assert_allclose(hand, leaf.grad.numpy(), atol=1e-13)


def test_one_step_changes_the_conserved_quantity_only_at_second_order():
    """The first order vanishes exactly: the change is eta^2 (g_w' P g_w + g_b^2 -
    g_a^2) for each neuron.
    """
    X, y, task = simulate.small_sample("low", 30, 1)
    P, inverse, eta = task.spectrum.power(0.6), task.spectrum.power(-0.6), 0.1
    net = simulate.initial(6, 7, 0.5, RNG)
    after, G = simulate.descend(net, X, y, P, eta), simulate.gradients(net, X, y)
    before, later = (
        np.sum(v.W @ inverse * v.W, axis=1) + v.b**2 - v.a**2 for v in (net, after)
    )
    second = eta**2 * (np.sum(G.W @ P * G.W, axis=1) + G.b**2 - G.a**2)
    np.testing.assert_allclose(later - before, second, atol=1e-12)


def test_growth_rate_is_the_maximum_over_a_fine_grid_of_angles():
    x, y = RNG.standard_normal(60), RNG.standard_normal(60)
    angle = np.linspace(0, 2 * np.pi, 40001)
    h = (
        np.maximum(np.outer(np.cos(angle), 1.7**0.5 * x) + np.sin(angle)[:, None], 0)
        @ y
        / 60
    )
    assert alignment_growth.growth_rate(x[None], y, [[1.7]]) == pytest.approx(
        2 * np.abs(h).max(), rel=1e-4
    )


def test_no_network_grows_faster_than_the_growth_rate():
    X, y, task = simulate.small_sample("low", 50, 0)
    P, inverse = task.spectrum.power(0.5), task.spectrum.power(-0.5)
    bound = alignment_growth.growth_rate(X, y, P)
    for _ in range(50):
        net = simulate.initial(3, 7, 1e-9, RNG)
        G = simulate.gradients(net, X, y)
        size = np.sum(net.W @ inverse * net.W) + np.sum(net.b**2) + np.sum(net.a**2)
        speed = -np.sum(G.W * net.W) - G.b @ net.b - G.a @ net.a
        assert speed / size <= bound * (1 + 1e-6)


@pytest.mark.parametrize("p", [-1.0, 0.5])
def test_linear_network_escapes_at_its_own_rate(p):
    X, y, task = simulate.small_sample("high", 60, 2)
    rate = simulate.escape_rate("high", p, 60, 20, 2, activation="linear")["rate"]
    # after 20 e-foldings the output is some 1e-5 of the labels, and slows the growth by
    # as much
    assert rate == pytest.approx(
        alignment_growth.linear_growth_rate(X, y, task.spectrum.power(p)), rel=1e-4
    )


def test_growth_rate_finds_the_highest_of_several_maxima():
    """For one input the maximum is at a sample's border or inside an arc between two:
    all of them are tried.
    """
    for seed in (0, 1, 52):
        rng = np.random.default_rng(seed)
        x, y = rng.standard_normal(6), rng.standard_normal(6)
        lifted = np.vstack([x, np.ones(6)])
        angles = np.linspace(0, 2 * np.pi, 200_001)
        u = np.column_stack([np.cos(angles), np.sin(angles)])
        h = np.maximum(u @ lifted, 0) @ y / 6
        rate = alignment_growth.growth_rate(x[None], y, np.eye(1))
        assert rate == pytest.approx(2 * np.abs(h).max(), rel=1e-4)
    assert rate == pytest.approx(0.22584, rel=1e-4)


@pytest.mark.parametrize("k", [2, 3])
def test_the_search_for_the_fastest_neuron_starts_all_over_the_sphere(k):
    number = alignment_growth.DIRECTIONS
    starts = alignment_growth._directions(np.ones((k, 4)), np.ones(4))[:number]
    # several times as even as so many draws, which miss by 0.04 and 0.02
    np.testing.assert_allclose(starts.mean(0), 0, atol=0.01)
    np.testing.assert_allclose(starts.T @ starts / number, np.eye(k) / k, atol=0.005)


def test_linear_rate_scales_like_lam_to_one_plus_half_p():
    lam = np.array([4.0, 0.25])
    X = np.sqrt(2 * lam)[:, None] * np.array(
        [[1, -1, 0, 0], [0, 0, 1, -1.0]]
    )  # second moment diag(lam)
    for p in (-2.0, 0.0, 1.0):
        rates = [
            alignment_growth.linear_growth_rate(X, X[k], np.diag(lam**p))
            for k in range(2)
        ]
        np.testing.assert_allclose(rates, 2 * lam ** (1 + p / 2), rtol=1e-12)


def test_rate_of_a_frozen_half_space_by_hand():
    x, y = np.array([1.0, -1.0, 3.0]), np.array([1.0, 5.0, 2.0])
    rate = alignment_growth.linear_growth_rate([x], y * (x > 0), [[4.0]])
    assert rate == pytest.approx(2 * np.sqrt(4 * (7 / 3) ** 2 + 1))


# --- the linear student ---------------------------------------------------------------


def test_the_linear_part_of_a_relu_and_of_a_linear_teacher():
    spectrum, beta = (
        Spectrum([4.0, 1.0]),
        np.array([0.5, 1.0]),
    )  # variance 2 of the index
    task = Task(spectrum, Teacher(beta, "relu"), snr=2.0)
    lam, energy, noise = alignment_ridge.linear_part(task)
    assert lam.tolist() == [4.0, 1.0]
    np.testing.assert_allclose(energy, [0.25, 0.25])  # half a slope, squared
    rest = 2 * (1 / 4 - 1 / (2 * np.pi))  # of the variance (1/2 - 1/(2 pi)) tau^2
    assert noise == pytest.approx(rest + task.noise_variance)
    linear = Task(spectrum, Teacher(beta), snr=2.0)
    _, energy, noise = alignment_ridge.linear_part(linear)
    assert noise == pytest.approx(linear.noise_variance)
    assert energy.sum() == pytest.approx(2)


def test_two_level_ridge_solves_the_equation():
    t = np.repeat([3.0, 0.2], [5, 30])
    A, m_A, B, m_B, n = 3.0, 5, 0.2, 30, 12
    root = np.roots([n, n * (A + B) - m_A * A - m_B * B, A * B * (n - m_A - m_B)]).max()
    assert alignment_ridge.implicit_ridge(t, n, 0.0) == pytest.approx(root, rel=1e-10)


@given(
    n=st.integers(1, 80).filter(lambda n: n != 40),
    penalty=st.floats(1e-6, 1e3),
    p=st.floats(-2, 2),
)
@settings(max_examples=40, deadline=None)
def test_implicit_ridge_is_a_root(n, penalty, p):
    t = LAM ** (p + 1)
    kappa = alignment_ridge.implicit_ridge(t, n, penalty)
    root = kappa * (1 - np.sum(t / (t + kappa)) / n)
    assert root == pytest.approx(penalty, rel=1e-6)
    risk = alignment_ridge.ridge_risk(LAM, ENERGY, p, n, penalty, 0.1)
    assert risk.penalty == pytest.approx(penalty, rel=1e-6)


def test_a_square_sample_has_no_implicit_ridge_of_its_own():
    # the edge: below it the root is 0, beyond it gamma - 1 for equal eigenvalues
    for unit in (1e-6, 1.0, 1e6):
        s = [3.0 * unit]
        found = [alignment_ridge.resolvent_scale(s, g, 0.0) for g in (0.9, 1.0, 1.5)]
        assert np.divide(found, unit) == pytest.approx([0, 0, 1.5])


def test_ridge_risk_limits():
    heavy = alignment_ridge.ridge_risk(LAM, ENERGY, 0.5, 30, 1e9, 0.3)
    assert heavy.test == pytest.approx(
        ENERGY.sum() + 0.3, rel=1e-6
    )  # nothing is learned
    assert heavy.train == pytest.approx(heavy.test, rel=1e-6)
    squares = alignment_ridge.ridge_risk(LAM, ENERGY, 0.5, 100, 0.0, 0.3)
    assert squares[:2] == pytest.approx(
        (0.3 / (1 - 0.4), 0.3 * (1 - 0.4))
    )  # least squares, d/N = 0.4
    assert alignment_ridge.ridge_risk(
        LAM, ENERGY, 0.5, 100, 1e-10, 0.3
    ).test == pytest.approx(squares.test, rel=1e-5)
    assert alignment_ridge.ridge_risk(
        LAM, ENERGY, 0.5, 20, 0.0, 0.3
    ).train == pytest.approx(0, abs=1e-12)  # interpolation


def test_ridge_risk_at_whitening_with_population_covariance():
    """p = -1, d > N, no ridge: excess = signal (1 - N/d) + noise N/(d - N)."""
    risk = alignment_ridge.ridge_risk(LAM, ENERGY, -1.0, 10, 0.0, 0.5)
    assert risk.test - 0.5 == pytest.approx(
        ENERGY.sum() * (1 - 10 / 40) + 0.5 * 10 / 30, rel=1e-10
    )


@pytest.mark.parametrize("n", [15, 60])
def test_matched_preconditioner_beats_every_other_spectrum(n):
    """The best shrinkage is t proportional to e with the penalty noise/N, among all t,
    not only among powers.
    """
    noise, p_star = 0.4, 0.7  # energies r^-1.7 = lam^(p* + 1)
    best = alignment_ridge.tuned_ridge(LAM, ENERGY, p_star, n, noise)
    assert best.penalty == pytest.approx(noise / n, rel=1e-3)
    for _ in range(50):
        t = ENERGY * np.exp(0.3 * RNG.standard_normal(40))
        other = alignment_ridge.tuned_ridge(t, ENERGY, 0.0, n, noise)
        assert other.test > best.test


def test_tuned_ridge_with_as_many_samples_as_inputs():
    # without penalty the risk is infinite there; the matched penalty is noise/N as ever
    best = alignment_ridge.tuned_ridge(LAM, ENERGY, 0.7, 40, 0.4)
    assert best.penalty == pytest.approx(0.4 / 40, rel=1e-3)


def test_best_exponent_without_ridge_is_lower_with_noise_and_the_same_without():
    lam, energy = power_law(2000, 1.0).eigenvalues, np.arange(1, 2001.0) ** -1.8
    assert alignment_ridge.best_exponent(
        lam, energy, 100, 1e-9, tuned=False
    ) == pytest.approx(0.8, abs=0.02)
    assert alignment_ridge.best_exponent(lam, energy, 100, 0.5, tuned=False) < 0.4


def test_interpolation_constant_is_stationary_at_q_equal_b():
    value = [
        alignment_laws.interpolation_power_law(q, 2.2, 100)[0]
        for q in (2.19, 2.2, 2.21)
    ]
    assert value[1] < min(value[0], value[2])


@pytest.mark.parametrize(("q", "b"), [(2.0, 2.0), (2.5, 2.7)])
def test_interpolation_law_is_the_limit_of_the_deterministic_equivalent(q, b):
    r, n = np.arange(1, 200_001.0), 500
    signal, noise = alignment_laws.interpolation_power_law(q, b, n)
    clean = alignment_ridge.ridge_risk(r**-q, r**-b, 0.0, n, 0.0, 0.0).test
    assert clean == pytest.approx(signal, rel=0.02)
    assert alignment_ridge.ridge_risk(
        r**-q, r**-b, 0.0, n, 0.0, 1.0
    ).test - 1 - clean == pytest.approx(noise, rel=0.02)


@pytest.mark.parametrize(
    ("q", "b", "n"),
    [
        (2.0, 1.6, 200),  # what is beyond d
        (3.0, 2.7, 200),  # the sum that is no integral
        (2.0, 4.0, 200),  # all modes, in the implicit ridge
        (3.0, 6.2, 1000),  # and the first modes
    ],
)
def test_interpolation_correction_is_the_gap_to_the_equivalent(q, b, n):
    d = 20_000
    r = np.arange(1, d + 1.0)
    law, level = alignment_laws.interpolation_power_law(q, b, n)
    terms = alignment_laws.interpolation_correction(q, b, n, d)
    signal, noise = terms.sum(1)
    clean = alignment_ridge.ridge_risk(r**-q, r**-b, 0.0, n, 0.0, 0.0).test
    noisy = alignment_ridge.ridge_risk(r**-q, r**-b, 0.0, n, 0.0, 1.0).test
    gap = clean / law - 1
    assert abs(gap) < 0.07
    assert signal == pytest.approx(gap, abs=gap**2)
    assert 1 + noise == pytest.approx((noisy - 1 - clean) / level, abs=2e-4)


def test_tuned_ridge_takes_the_lowest_of_several_minima():
    """Nine strong directions without signal, one weak with: fitting nothing costs 11,
    the other minimum 19.
    """
    lam, energy = [10.0] * 9 + [0.1], [0.0] * 9 + [1.0]
    best = alignment_ridge.tuned_ridge(lam, energy, 2.0, 20, 10.0)
    assert best.test == pytest.approx(11.0, rel=1e-4)


@pytest.mark.parametrize("tuned", [True, False])
@pytest.mark.parametrize(
    ("lam", "energy", "n"),
    [(np.ones(40), ENERGY, 9), (3 * np.ones(8), np.ones(8), 7), (LAM, 0 * LAM, 9)],
)
def test_no_exponent_is_best_where_all_do_equally_well(lam, energy, n, tuned):
    noise = 0.1 if tuned or energy.any() else 0.0
    with pytest.raises(ValueError, match="lam, energy: must not make every exponent"):
        alignment_ridge.best_exponent(lam, energy, n, noise, tuned=tuned)


def test_of_two_penalties_that_are_nearly_as_good_the_better_is_found():
    # a valley near 1, between two points of the search, and a plateau at infinity
    lam = [0.025276121, 1.3164368, 1.3164368, 44.419159]
    energy, noise = [0.00209346, 1.0, 0.00209346, 0.00209346], 1.0000023
    found = alignment_ridge.tuned_ridge(lam, energy, 1.6028123522, 4, noise)
    assert found.penalty == pytest.approx(1.023, rel=1e-2)
    assert found.test == pytest.approx(2.00402, abs=1e-5)


def test_ridge_stays_exact_where_nothing_is_left_over():
    # d = N without noise: by hand, u = 1 - kappa/t, test = energy kappa/(2 t)
    t, energy = 1e20, 3.0
    risk = alignment_ridge.ridge_risk([t], [energy], 0.0, 1, 1e-9, 0.0)
    kappa = np.sqrt(1e-9 * t)  # rho = kappa^2/t
    assert risk.test == pytest.approx(energy * kappa / (2 * t), rel=1e-6)
    assert risk.train == pytest.approx((kappa / t) ** 2 * risk.test, rel=1e-6)


@pytest.mark.parametrize(("noise", "n"), [(1e6, 100), (1e5, 100), (1e-4, 3000)])
def test_best_exponent_is_the_matched_one_at_extreme_noise(noise, n):
    r = np.arange(1, 1001.0)
    best = alignment_ridge.best_exponent(r**-1.0, r**-1.5, n, noise)
    assert best == pytest.approx(0.5, abs=1e-3)


def test_best_exponent_outside_its_ends_is_found_with_wider_ones():
    r = np.arange(1, 301.0)
    law = (r**-0.3, r**-2.0, 50, 0.1)
    with pytest.raises(ValueError, match="ends = .* must enclose the best exponent"):
        alignment_ridge.best_exponent(*law)
    best = alignment_ridge.best_exponent(*law, ends=(0.0, 9.0))
    assert best == pytest.approx(2 / 0.3 - 1, abs=1e-3)


def test_flow_risk_at_p_minus_one_is_exponential_and_its_power_law_is_the_sum():
    np.testing.assert_allclose(
        alignment_ridge.flow_risk(LAM, ENERGY, -1.0, [0.7]), ENERGY.sum() * np.exp(-1.4)
    )
    r = np.arange(1, 50_001.0)
    np.testing.assert_allclose(
        alignment_ridge.flow_risk(r**-2.5, r**-3, 0.0, [1e3]),
        alignment_laws.flow_power_law(2.5, 3.0, [1e3]),
        1e-3,
    )


@pytest.mark.parametrize(("q", "b", "eta"), [(1.5, 2.5, 1.0), (0.9, 2.5, 0.9)])
def test_flow_correction_is_that_of_descent_in_few_modes(q, b, eta):
    d, t = 30_000, np.array([60.0, 120.0])
    r = np.arange(1, d + 1.0)
    law = alignment_laws.flow_power_law(q, b, t)
    exact = alignment_ridge.flow_risk(r**-q, r**-b, 0.0, t)
    descent = (1 - eta * r**-q) ** (2 * t[:, None] / eta) @ r**-b
    cut = alignment_laws.flow_correction(q, b, t, d, 0.0)
    np.testing.assert_allclose(cut, exact / law - 1, rtol=2e-2)
    steps = alignment_laws.flow_correction(q, b, t, d, eta) - cut
    # a tiny step shows the first order, and what is left of both is the second
    first = alignment_laws.flow_correction(q, b, t, d, 1e-6) - cut
    first *= eta / 1e-6
    second = (descent - exact) / law - first
    np.testing.assert_allclose(steps - first, second, rtol=0.03)


@pytest.mark.parametrize(("name", "bad"), [("d", 2.5), ("eta", np.nan), ("eta", -1.0)])
def test_flow_correction_names_what_it_refuses(name, bad):
    sizes = dict(q=1.5, b=2.5, t=[60.0], d=100, eta=0.1)
    with pytest.raises(ValueError, match=f"{name} = "):
        alignment_laws.flow_correction(**sizes | {name: bad})


@pytest.mark.parametrize(("d", "n"), [(5, 12), (12, 5)])
def test_ridge_weights_are_stationary(d, n):
    X, y = RNG.standard_normal((d, n)), RNG.standard_normal(n)
    P, penalty = np.geomspace(0.5, 4, d), 0.3
    w = alignment_student.ridge_weights(X, y, P, penalty)
    np.testing.assert_allclose(X @ (X.T @ w - y) / n + penalty * w / P, 0, atol=1e-12)
    M = alignment_student.ridge_weights(X, np.eye(n), P, penalty)
    np.testing.assert_allclose(M @ y, w, atol=1e-12)


def test_ridge_errors_are_exact_for_a_fresh_sample():
    task = alignment_student.power_law_task(8)
    run = alignment_student.ridge_errors(8, 20, [0.5], [0.1], seed=4)
    X, y, _ = task.sample(20, np.random.default_rng(4))
    mean = task.teacher.link.moments(1.0)[0]
    w = alignment_student.ridge_weights(
        X, y - mean, task.spectrum.eigenvalues**0.5, 0.1
    )
    fresh = task.sample(400_000, np.random.default_rng(5))
    assert np.mean((fresh.y - mean - w @ fresh.X) ** 2) == pytest.approx(
        run["error"][1][0][0][0], rel=0.01
    )


# --- validation -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: early_alignment(simulate.extreme_task("high", 1.0), np.inf, 10),
            "p = inf",
        ),
        (
            lambda: early_alignment(simulate.extreme_task("high", 1.0), 200.0, 10),
            "p = 200: must leave the powers",
        ),
        (
            lambda: early_alignment(simulate.extreme_task("high", 1.0), 0.0, 1),
            "n = 1: must be an integer >= 2",
        ),
        (
            lambda: early_alignment(
                Task(Spectrum([1.0, 1.0]), Teacher(np.eye(2))), 0, 9
            ),
            "2 teacher directions",
        ),
        (
            lambda: simulate.extreme_task("High", 1.0),
            "case = 'High': must be one of high, low",
        ),
        (
            lambda: alignment_growth.growth_rate(
                np.ones((2, 3)), np.ones(4), np.eye(2)
            ),
            "y has 4 entries",
        ),
        (
            lambda: alignment_growth.growth_rate(
                np.ones((2, 3)), np.ones(3), np.eye(3)
            ),
            r"P has shape \(3, 3\)",
        ),
        (
            lambda: alignment_growth.growth_rate(np.ones((1, 3)), np.ones(3), [[-1.0]]),
            "P has smallest eigenvalue",
        ),
        (
            lambda: alignment_ridge.ridge_risk(LAM, ENERGY, 0.0, 40, 0.0, 0.1),
            "n = 40 equal to the dimension",
        ),
        (
            lambda: alignment_ridge.ridge_risk(LAM, -ENERGY, 0.0, 9, 0.1, 0.1),
            "none negative",
        ),
        (
            lambda: alignment_ridge.ridge_risk(
                [1.0, 0.0], [1.0, 1.0], 0.0, 9, 0.1, 0.1
            ),
            "all must be > 0",
        ),
        (
            lambda: alignment_ridge.ridge_risk(LAM, ENERGY, 0.0, 9, np.nan, 0.1),
            "penalty = nan",
        ),
        (
            lambda: alignment_ridge.best_exponent(
                LAM, ENERGY, 20, 1e-9, tuned=False, ends=(-0.3, 0.3)
            ),
            "must enclose the best exponent, found 0.3",
        ),
        (
            lambda: alignment_ridge.best_exponent(
                LAM, ENERGY, 20, 1e-9, tuned=False, ends=(1.0, 2.0)
            ),
            "must enclose the best exponent, found 1",
        ),
        (
            lambda: alignment_ridge.best_exponent(LAM, ENERGY, 60, 0.1, tuned=False),
            "n, without a penalty = 60: must be a finite number in .*39",
        ),
        (
            lambda: alignment_ridge.best_exponent(LAM, ENERGY, 9, 0.1, ends=(3, 1)),
            r"ends\[1\] = .*1.0.*: must be a finite number in \(3, inf\)",
        ),
        (
            lambda: early_alignment(simulate.extreme_task("high", 1.0), np.nan, 10),
            "p = nan",
        ),
        (lambda: alignment_laws.interpolation_power_law(0.9, 2.0, 9), "q = 0.9"),
        (lambda: alignment_laws.interpolation_power_law(1.5, 4.1, 9), "saturates"),
        (lambda: alignment_laws.interpolation_power_law(1.5, 4.0, 9), "saturates"),
    ],
)
def test_errors_name_argument_value_and_what_is_allowed(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- the studies ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["escape", "conservation", "ridge", "interpolation"])
def test_a_study_names_its_sizes_and_its_blocks_share_no_seed(name, monkeypatch):
    """The sizes in the record are those the experiment got; nothing is run here."""
    calls = []

    def record(function, grid, seeds, **size):
        calls.append({**size, **grid})
        return xr.Dataset(coords={"seed": list(seeds)})

    monkeypatch.setattr(study, "sweep", record)
    runs = [getattr(study, name)("smoke", block) for block in (0, 1)]
    assert calls[0] == calls[1]
    for run in runs:
        assert run.attrs == calls[0] | {"seeds": run.seed.values.tolist()}
    assert not set(runs[0].seed.values) & set(runs[1].seed.values)


def test_the_studies_of_cells_label_every_cell():
    flow = study.population_flow("smoke")
    best = study.best_exponent("smoke", block=1)
    for run, cells in [(flow, study.FLOWS), (best, study.LAWS)]:
        assert run.attrs["cells"] == cells
        for i, cell in enumerate(cells):
            assert {name: run[name][i].item() for name in cell} == cell
    assert not set(best.attrs["seeds"]) & set(study.best_exponent("smoke").seed.values)
    direct = alignment_student.population_descent(
        **study.FLOWS[1], **{name: flow.attrs[name] for name in ("d", "eta", "times")}
    )
    np.testing.assert_allclose(flow.risk[1].values, direct["risk"][1], rtol=1e-12)


def test_a_block_of_the_flow_has_power_laws_of_its_own():
    flows = [study.population_flow("smoke", block) for block in (0, 3)]
    assert (flows[1].a / flows[0].a).values == pytest.approx(1 + 3 / 45)
