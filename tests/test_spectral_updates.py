"""Updates that act on singular values: special cases, invariances, two routes."""

import numpy as np
import pytest
from scipy import linalg, optimize

from fl.instruments.metric_descent import gradients
from fl.instruments.singular_powers import decrease, one_step, svd_power
from fl.links import LINKS
from fl.simulate import spectral_updates as simulate
from fl.simulate.spectral_updates_escape import train
from fl.simulate.spectral_updates_order import descend
from fl.studies import spectral_updates as study
from fl.theory import effective_exponent
from fl.theory import spectral_updates as theory
from fl.theory import spectral_updates_escape as escape
from fl.theory import spectral_updates_order as order

LAM = np.array([4.0, 1.0, 0.3])
SQUARE = LINKS["square"]


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


# --- single steps ---


def test_the_q_step_of_one_is_the_gradient_and_of_zero_the_polar_factor():
    G = random(6, 4)
    assert np.allclose(svd_power(G, 1), G)
    assert np.allclose(svd_power(G, 0), linalg.polar(G)[0])
    stack = svd_power(np.array([G, 2 * G]), 0.5)
    assert np.allclose(stack[1], 2**0.5 * stack[0])


def test_a_null_direction_stays_null_under_a_negative_power():
    G = np.outer([1.0, 2.0], [3.0, 0.0, 4.0])
    assert np.allclose(svd_power(G, -1), G / np.linalg.norm(G) ** 2)


def test_two_sided_roots_of_one_gradient_are_a_q_step():
    G = random(5, 3)
    for a, b in study.ROOTS:
        left = simulate.psd_power(G @ G.T, -a) @ G @ simulate.psd_power(G.T @ G, -b)
        right = svd_power(G, 1 - 2 * (a + b))
        # a = 0 keeps the range of G as well
        assert np.allclose(left, right)


def test_the_stable_rank_of_the_digits_is_below_two_with_their_mean_alone():
    for name in ("pixels", "relu"):
        raw, centred = (simulate.digits(0, name, c, 0, 300) for c in (False, True))
        ranks = [(one["whole"] / one["largest"]) ** 2 for one in (raw, centred)]
        assert ranks[0] < 2 < 5 < ranks[1] and raw["behind"] == 1


def test_a_step_decreases_the_loss_by_what_it_says():
    A, R = random(3, 5), random(4, 5, seed=1)
    move = random(4, 3, seed=2)
    after = np.sum((R - move @ A) ** 2) / 2
    found = decrease(A, R, move)
    assert np.isclose(found, np.sum(R**2) / 2 - after)


def test_the_spectral_guarantee_is_exact_where_neurons_are_many():
    A, R = random(3, 7), random(5, 7, seed=1)
    one = one_step(A, R)
    norms = [[one["whole"]], [one["largest"]]], [[one["nuclear"]], [one["size"]]]
    sure = theory.guarantees(*norms)
    assert np.isclose(one["spectral"], sure.spectral[0])
    assert one["gradient"] > sure.gradient[0]


def test_guarantees_scale_and_ranks_do_not():
    one = theory.guarantees([[3.0], [2.0]], [[5.0], [4.0]])
    two = theory.guarantees([[6.0], [4.0]], [[15.0], [12.0]])
    assert np.allclose(one[:2], two[:2])
    assert np.allclose(np.array(two[2:]) / one[2:], 9 / 4)


# --- powers ---


def test_polar_is_the_case_zero():
    assert np.allclose(
        theory.singular_power(LAM, 0, 0.05), effective_exponent.polar(LAM, 0.05)
    )


def test_the_gradient_has_no_multiplier_and_no_correction():
    assert np.allclose(theory.singular_power(LAM, 1, 0.3), 1)


@pytest.mark.parametrize("q", [-1 / 3, 0.5, 2.0])
def test_the_correction_is_the_second_difference_of_a_matrix_power(q):
    # E f(m + e D) - f(m) = e^2/2 sum var(D_kl) d^2 f: by finite differences of f
    a, h = (q + 1) / 2, 1e-3

    def power(M):
        values, vectors = np.linalg.eigh(M)
        return (vectors * values**a) @ vectors.T

    total = np.zeros(3)
    for k in range(3):
        for j in range(k + 1):
            D = np.zeros((3, 3))
            D[k, j] = D[j, k] = h
            second = power(np.diag(LAM) + D) + power(np.diag(LAM) - D)
            variance = LAM[k] * LAM[j] * (2 if k == j else 1)
            total += np.diag(second - 2 * np.diag(LAM**a)) / h**2 * variance / 2
    found = theory.singular_power(LAM, q, 0.01) / LAM ** (a - 1) - 1
    assert np.allclose(found, 0.01 * total / LAM**a, rtol=1e-4)


def test_equal_eigenvalues_are_no_singular_case():
    near = theory.singular_power([1.0, 1.0 + 1e-7], 0.5, 0.1)
    assert np.allclose(near, theory.singular_power([1.0, 1.0], 0.5, 0.1), atol=1e-6)


@pytest.mark.parametrize("q", [-1.0, 0.0, 1.0])
def test_eigenvalues_at_the_ends_of_floating_point_have_their_powers(q):
    ends = np.array([1e-150, 1e150])
    # without a correction where the matrix power is none or the matrix itself
    found = theory.singular_power(ends, q, 0.1 if q else 0.0)
    assert np.allclose(found / ends ** ((q - 1) / 2), 1)


def test_multipliers_scale_with_the_moment():
    one = theory.singular_power(LAM, -0.5, 0.02)
    assert np.allclose(theory.singular_power(9 * LAM, -0.5, 0.02), 9**-0.75 * one)


def test_a_spike_of_nothing_is_noise():
    zero = theory.spiked_power(LAM, np.zeros(3), 0.5, 0.02)
    assert np.allclose(zero, theory.singular_power(LAM, 0.5, 0.02))


def test_a_spike_is_the_diagonal_of_a_matrix_power():
    b = np.array([1.0, -0.5, 2.0])
    gram = np.diag(LAM) + np.outer(b, b)
    direct = np.diag(simulate.psd_power(gram, 0.25)) / np.diag(gram)
    assert np.allclose(theory.spiked_power(LAM, b, -0.5), direct)


def test_one_axis_has_the_moments_of_chi_square():
    # E (z^2)^a = 2^a gamma(a + 1/2) / gamma(1/2), with h rows a chi-square of h
    from scipy.special import gammaln

    h, a = 400, 0.75
    exact = np.exp(gammaln(h / 2 + a) - gammaln(h / 2)) * (2 / h) ** a
    found = theory.singular_power([1.0], 2 * a - 1, 1 / h)[0]
    assert abs(found - exact) < 1 / h**2


# --- the order of learning ---


def test_one_layer_under_the_gradient_knows_no_order():
    times = order.learning_time([1.0, 5.0], 1.0, 1, 1e-12)
    assert np.allclose(times, np.log(2))


def test_two_layers_under_the_gradient_follow_the_logistic_curve():
    s, start = 2.0, 0.01
    time = order.learning_time([s], 1.0, 2, start)
    assert np.allclose(time, np.log(s / start**2 - 1) / (2 * s))


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_all_modes_come_at_one_time_at_the_critical_power(depth):
    q = 1 / (2 * depth - 1)
    assert abs(order.speed(q, depth)) < 1e-15
    if depth > 1:
        times = order.learning_time([0.5, 8.0], q, depth, 1e-9)
        assert np.isclose(*times, rtol=1e-3)


def test_a_net_does_not_mind_the_frames_of_its_target():
    fixed = {"modes": study.MODES, "depth": 2, "q": 0.5, "start": 0.1, "steps": 20}
    one, two = (descend(seed, **fixed) for seed in (0, 1))
    assert np.allclose(one["half"][1], two["half"][1])


def test_a_mode_that_is_never_learned_has_no_time():
    # twenty units of time are far too short for a gradient from so small a start
    fixed = {"modes": ((1e-3, 1.0),), "depth": 2, "q": 1.0, "steps": 5}
    assert np.isnan(descend(0, start=1e-3, **fixed)["half"][1][0])


def test_balanced_layers_stay_balanced():
    fixed = {"modes": study.WHITE, "depth": 3, "q": 0.3, "start": 0.1, "steps": 20}
    first, last = descend(0, **fixed)["ends"][1]
    assert np.allclose(first, last)


@pytest.mark.parametrize(("q", "weak"), [(1.0, 2.0), (0.0, 2.0), (0.0, 5.0)])
def test_what_the_weak_of_two_cues_has_reached_when_the_strong_is_half_learned(q, weak):
    strong, start, eta = 8.0, 0.01, 1 / 2000
    X = 2**0.5 * np.eye(2)
    layers = start * np.array([np.eye(2)] * 2)
    while (J := layers[1] @ layers[0])[0, 0] < strong / 2:
        slopes = gradients(layers, X, np.diag([strong, weak]) @ X, "linear")
        layers = layers - eta * svd_power(slopes, q)
    share = min(1, strong / (2 * weak))
    if q:
        first, second = (s / start**2 - 1 for s in (strong, weak))
        share = 1 / (1 + second * first ** (-weak / strong))
    assert np.isclose(J[1, 1] / weak, share, rtol=0.03)


# --- even teachers ---


def test_the_contrast_of_a_quartic():
    from fl.links import Link

    quartic = Link("quartic", lambda u: u**4, lambda u: 4 * u**3)
    # E u^6 / E u^4 = 15/3 at variance one, and the same at another
    assert np.isclose(escape.contrast(quartic), 5)
    assert np.isclose(escape.contrast(quartic, 7.0), 5)


def test_rates_are_those_of_the_mean_step():
    lam = np.array([1.0, 4.0])
    X = np.sqrt(lam)[:, None] * random(2, 200_000)
    H = X * np.abs(X[0]) @ X.T / X.shape[1]
    rates = escape.escape_rates(lam, LINKS["abs"], -0.5)
    assert np.allclose(np.diag(H) * lam**-0.5, rates, rtol=0.02)
    assert escape.escape_rates(lam, LINKS["abs"], centred=True)[1] == 0


def test_whitening_never_lets_a_strong_direction_lead():
    rates = escape.escape_rates([1.0, 1e6], LINKS["square"], -1.0)
    assert np.isclose(rates[0] / rates[1], 3)


def test_one_neuron_takes_the_path_of_the_gradient():
    rates = np.array([3.0, 10.0, 1.0])
    logs = np.log(escape.one_neuron(rates, 5.0))
    assert np.allclose(logs / rates, (logs / rates)[0], rtol=2e-3)


def test_the_units_of_the_speeds_of_one_neuron_do_not_matter():
    rates = np.array([3.0, 10.0, 1.0])
    grown = [escape.one_neuron(c * rates, 5.0, 100) for c in (1, 1e200, 1e-200)]
    assert np.allclose(grown, grown[0])


def test_polar_steps_of_as_many_neurons_as_inputs_grow_all_directions_alike():
    grown = train(0, "square", None, 1e-7, 10, 1e-6)
    assert np.allclose(grown["growth"][1][-1], 2)


@pytest.mark.parametrize(
    ("p", "eta", "steps"), [(0.0, 0.004, 90), (-1.0, 0.02, 90), (None, 0.004, 25)]
)
def test_the_alignment_at_the_escape_is_that_of_the_linear_rates(p, eta, steps):
    lam, start, output = np.array(study.SPECTRUM), 0.01, 0.1
    rates = np.ones_like(lam) if p is None else escape.escape_rates(lam, SQUARE, p)

    def weight(t):
        return lam * start**2 * np.exp(2 * rates * t)

    def alignment(weight):
        return weight[0] / np.linalg.norm(weight)

    time = optimize.brentq(lambda t: weight(t).sum() - output, 0, 10)
    grown = np.array(train(0, "square", p, eta, steps, start)["growth"][1])
    path = lam * (start * grown) ** 2
    seen = path[np.argmax(path.sum(1) > output)]
    gap = np.log10(alignment(seen) / alignment(weight(time)))
    assert seen.sum() > output and abs(gap) < 0.15


def test_another_block_has_other_seeds(cache):
    seeds = [study.layers("smoke", block)["seed"].item() for block in (0, 1)]
    assert seeds[0] != seeds[1]


# --- refusals ---


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: theory.singular_power(LAM, -3.0), "q = "),
        (lambda: theory.singular_power(np.ones(100), 0.0, 0.5), "fluctuation = "),
        (lambda: theory.singular_power([1e-150, 1e150], -2, 0.1), "fluctuation = 0.1"),
        (lambda: theory.guarantees([[0.0], [1.0]], [[1.0], [1.0]]), "inputs"),
        (lambda: theory.guarantees([[1.0], [2.0]], [[1.0], [1.0]]), "inputs"),
        (lambda: theory.guarantees([[2.0], [1.0]], [[1.0], [2.0]]), "gradient"),
        (lambda: theory.spiked_power(LAM, [1.0], 0.0), "spike"),
        (lambda: escape.escape_rates(LAM, LINKS["square"], 2000), "p = 2000"),
        (lambda: escape.one_neuron([1.0, 2.0], np.nan), "length = nan"),
        (lambda: order.learning_time([1.0], np.nan, 2, 0.1), "q = nan"),
        (lambda: order.learning_time([1.0], 0.5, 2, 0.1, 0.0), "variance"),
        (lambda: order.speed(np.nan, 2), "q has"),
        (lambda: order.speed(1, 0), "depth"),
        (lambda: order.learning_time([0.1], 0.0, 2, 1.0), "start = "),
        (lambda: order.learning_time([1.0], 0.5, 0, 0.1), "depth = "),
        (lambda: escape.contrast(LINKS["tanh"]), "link = "),
        (lambda: train(0, "abs", 0.0, 0.1, 1, 0.0), "start = "),
        (lambda: descend(0, study.WHITE, 2, 0.0, -1.0, 5), "start = "),
        (lambda: train(0, "cube", 0.0, 0.1, 1, 1e-6), "link = "),
        (lambda: simulate.digits(0, "voxels", False, 0, 10), "features = "),
    ],
)
def test_what_is_refused(call, named):
    with pytest.raises(ValueError, match=named):
        call()
