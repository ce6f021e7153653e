"""Preconditioned first steps: special cases, invariances, limits, two routes."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl.simulate import unified as simulate
from fl.studies import unified as study
from fl.theory import spikes, spikes_risk, unified, unified_risk
from fl.theory.alignment_ridge import resolvent_scale
from fl.theory.single_index import population_filter
from fl.theory.single_index_batch import best_damping
from fl.theory.unified_spike import LAYERS, spike, spiked, threshold

ISOTROPIC = unified.Problem(spikes.pair(), np.ones(2), np.ones(2) / 2, 2.0, 0.7)
ONE_SIDED = unified.Problem(spikes.pair(), np.ones(2), np.eye(2)[0], 2.0, 0.7)
LINEAR = spikes.Pair(1.0, 0.0, 0.0, 1.0, 0.0, 0.1)
UNEVEN = study.Cell(12.0, -1.0, 2.5, 1.3, 0.2).at(60)


def aligned(problem, phi) -> float:
    return population_filter(*problem.sizes, problem.moments.nu, phi).cos2


def with_pair(**numbers):
    return replace(UNEVEN, pair=UNEVEN.pair._replace(**numbers))


# --- the dictionary ---


def test_a_problem_keeps_arrays_of_its_own():
    pair, s, b = spikes.pair(), [1.8, 0.2], np.array([0.4, 0.6])
    problem = unified.Problem(tuple(pair), s, b, 2, 1)
    same = unified.Problem(pair, np.array(s, np.float32), b.tolist(), 2.0, 1.0)
    b[:] = 1
    assert problem.pair == pair and np.array_equal(problem.b, [0.4, 0.6])
    for call in (unified.best_own, lambda x: x.own(0.1), lambda x: x.energy.tolist()):
        assert np.allclose(call(problem), call(same), rtol=1e-6)


@pytest.mark.parametrize("p", [-1.0, -0.5, 0.0, 1.0])
def test_a_power_of_the_covariance_in_the_units_of_the_spike(p):
    # both sums written out, with beta of beta' Sigma beta = 1
    pair, s, e = UNEVEN.pair, UNEVEN.s, UNEVEN.energy
    n = UNEVEN.psi1 * len(s)
    beta2, P = e / s, s**p
    square = pair.mu1s**2 * np.sum((P * s) ** 2 * beta2)
    square += pair.energy / n * np.sum(P**2 * s)
    cos2 = pair.mu1s**2 * (P @ e) ** 2 / (beta2.sum() * square)
    assert np.isclose(aligned(UNEVEN, P), cos2, rtol=1e-12)
    model = spiked(UNEVEN, P)
    assert np.isclose(model.square.sum(), pair.mu1**2 * square, rtol=1e-12)
    assert np.isclose(model.along.sum() ** 2 / model.square.sum(), cos2, rtol=1e-12)


@pytest.mark.parametrize("damping", [0.05, 1.0])
def test_ridge_in_the_units_of_the_spike(damping):
    pair, s, e = UNEVEN.pair, UNEVEN.s, UNEVEN.energy
    n = UNEVEN.psi1 * len(s)
    kappa = resolvent_scale(s, 1 / UNEVEN.psi1, damping)
    D, beta2, rest = s + kappa, e / s, pair.floor + pair.noise
    error = pair.mu1s**2 * kappa**2 * np.sum(e / D**2) + rest
    error /= 1 - np.sum((s / D) ** 2) / n
    square = pair.mu1s**2 * np.sum(beta2 * (s / D) ** 2) + error * np.sum(s / D**2) / n
    cos2 = (pair.mu1s * np.sum(beta2 * s / D)) ** 2 / (beta2.sum() * square)
    assert np.isclose(UNEVEN.own(damping).cos2, cos2, rtol=1e-12)


# --- the spike ---


def test_isotropic_inputs_give_the_old_spike():
    for layer in LAYERS:
        model = spiked(ISOTROPIC, np.ones(2), layer)
        old = spikes.threshold(ISOTROPIC.pair, 2.0, 0.7)
        assert np.isclose(threshold(model), old, rtol=1e-12)
        for eta in (1.2 * old, 4.0):
            theta1, theta2 = spikes.strengths(ISOTROPIC.pair, 2.0, eta)
            kept = (theta1 / theta2) ** 2 * spikes.left_overlap(theta2, 0.7)
            found = spike(model, eta)
            assert np.allclose(found, (spikes.location(theta2, 0.7), kept))
        assert np.allclose(spike(model, 0.5 * old), (1 + 0.7**0.5, 0))


def test_only_the_threshold_knows_the_scale_of_the_preconditioner():
    for layer in LAYERS:
        one, two = (spiked(UNEVEN, c * UNEVEN.s**0.5, layer) for c in (1.0, 3.0))
        same = layer == "start"  # which is normalised
        assert np.isclose(threshold(one), threshold(two) * (1 if same else 3))


def test_half_forgets_covariance_and_teacher():
    places = [
        spike(spiked(study.Cell(r, slope).at(50), study.Cell(r).at(50).s ** -0.5), 3.0)
        for r, slope in ((1.0, 0.0), (12.0, -2.0), (40.0, 3.0))
    ]
    assert np.ptp([s1 for s1, _ in places]) < 1e-10
    assert np.ptp([overlap for _, overlap in places]) > 0.02


@pytest.mark.parametrize("psi2", [unified.LEAST, 1.0, unified.MOST])
def test_the_ends_of_the_range_have_a_spike(psi2):
    problem = replace(UNEVEN, psi1=unified.LEAST, psi2=psi2)
    for layer in LAYERS:
        model = spiked(problem, UNEVEN.s, layer)
        limit = model.along / model.square**0.5
        assert 0 < threshold(model) < 1e6
        s1, overlap = spike(model, 1e12)
        assert np.isclose(s1, 1e12 * model.square.sum() ** 0.5)
        assert 0 < overlap <= limit @ limit
        assert np.isclose(overlap, model.along.sum() ** 2 / model.square.sum())


@pytest.mark.parametrize("layer", LAYERS)
def test_a_large_matrix_has_the_spike(layer):
    rng = np.random.default_rng(5)
    d, eta = 700, 3.0
    problem = study.Cell(8.0, -0.5, 3.0, 0.5).at(d)
    model = spiked(problem, problem.s**0.5, layer)
    w = np.sqrt(problem.energy if layer == "features" else problem.b)
    mean = model.along / w
    v = mean + np.sqrt(model.square - mean**2) * rng.standard_normal(d)
    a = rng.standard_normal(d // 2)
    M = np.sqrt(model.h / d)[:, None] * rng.standard_normal((d, d // 2))
    M += eta * np.outer(v, a / np.linalg.norm(a))
    U, values, _ = np.linalg.svd(M, full_matrices=False)
    s1, overlap = spike(model._replace(square=v**2, along=v * w), eta)
    assert np.isclose(values[0], s1, rtol=0.02)
    assert abs((U[:, 0] @ w) ** 2 - overlap) < 0.04


# --- which preconditioner points best ---


def test_no_small_perturbation_beats_the_best_filter():
    rng = np.random.default_rng(0)
    problem = study.FLAT.at(60)
    noise = 1 + 1e-3 * rng.standard_normal((300, 60))
    phi, value = unified.best_filter(problem)
    assert np.isclose(aligned(problem, phi), value, rtol=1e-12)
    assert (aligned(problem, phi * noise) < value).all()
    inverse = 1 / problem.s
    better = aligned(problem, inverse * noise) > aligned(problem, inverse)
    assert better.sum() > 60


@given(
    st.floats(1.0, 50.0),
    st.floats(-2.0, 2.0),
    st.floats(0.3, 6.0),
    st.floats(0.01, 5.0),
)
def test_the_same_sample_beats_every_filter(ratio, slope, psi1, noise):
    problem = study.Cell(ratio, slope, psi1, 1.0, noise).at(40)
    damping, value = unified.best_own(problem)
    assert unified.best_filter(problem)[1] < value < unified.best_filter(problem, 0)[1]
    assert unified.other(problem, damping).cos2 < value


def test_without_a_shape_the_best_is_the_best_ridge():
    problem = study.Cell(12.0, 0.0, 1.7, 1.0, 0.3).at(80)
    damping, value = unified.best_own(problem)
    assert np.isclose(problem.own(damping).cos2, value, rtol=1e-10)
    found = best_damping(*problem.sizes, problem.moments.rho)
    assert np.isclose(found, damping, rtol=1e-4)


def test_a_ridge_that_knows_nothing_can_lose():
    problem = study.Cell(12.0, -2.0, 0.5, 1.0, 0.3).at(80)
    tuned = max(problem.own(x).cos2 for x in np.geomspace(1e-4, 1e4, 60))
    assert tuned < unified.best_filter(problem)[1] - 0.05


def test_another_sample_at_great_damping_is_a_filter():
    k = UNEVEN.b * len(UNEVEN.b)
    limit = unified.other(UNEVEN, 1e7).cos2
    assert np.isclose(limit, aligned(UNEVEN, k), rtol=1e-5)


def test_another_sample_by_draws():
    cell = study.Cell(12.0, -0.7, 2.0, 1.0, 0.1)
    problem = cell.at(100)
    damping, _ = unified.best_own(problem)
    run = simulate.gradients(3, 60, 1.0, damping, d=100, **cell._asdict())
    assert abs(run["other"] - unified.other(problem, damping).cos2) < 0.03


# --- the risk ---


def test_isotropic_inputs_give_the_old_risk():
    etas = np.array([0.0, 1.0, 5.0])
    new = unified_risk.risk(ISOTROPIC, np.ones(2), 0.1, etas)
    old = spikes_risk.small_step_risk(ISOTROPIC.pair, 2.0, 0.7, 0.1, etas)
    assert np.allclose(new, old, rtol=1e-8)


def test_the_resolvent_is_that_of_a_matrix():
    problem = study.Cell(8.0, 0.0, 3.0, 0.6).at(600)
    Z = np.random.default_rng(1).standard_normal((600, 360))
    V = np.sqrt(problem.s / 600)[:, None] * Z
    kappa, _ = unified_risk.resolvent(problem, 0.5)
    found = np.diag(np.linalg.inv(V @ V.T + 0.5 * np.eye(600)))
    q, e = kappa / (kappa + problem.s) / 0.5, problem.psi2 * kappa / 0.5 - 1
    assert abs(found.mean() / q.mean() - 1) < 0.01
    assert abs((problem.s * found).mean() / e - 1) < 0.01


def test_the_scale_of_the_resolvent_has_this_slope():
    (right, _), (left, _) = (unified_risk.resolvent(UNEVEN, x) for x in (0.501, 0.499))
    _, slope = unified_risk.resolvent(UNEVEN, 0.5)
    assert np.isclose((right - left) / 0.002, slope, rtol=1e-5)


def test_the_scale_of_the_resolvent_at_the_ends():
    for s in (1e-20, 1e30):  # one level, psi2 = 1: s = kappa^2/(1 + kappa)
        kappa, _ = unified_risk.resolvent(replace(ISOTROPIC, psi2=1.0), s)
        assert np.isclose(kappa, s / 2 + np.sqrt(s**2 / 4 + s), rtol=1e-5)


@pytest.mark.parametrize(
    ("pair", "psi1", "psi2", "wanted", "rtol"),
    [  # the same formulas in 45 digits
        (spikes.pair(), 1.0, 1.0, 50580.90152492729, 1e-10),
        (LINEAR, 1.0, 1e3, 948208.8198068115, 1e-5),
        (LINEAR, 1e-3, 1e3, 0.998657818071273, 1e-8),
    ],
)
def test_the_risk_almost_without_penalty(pair, psi1, psi2, wanted, rtol):
    problem = unified.Problem(pair, [1.8, 0.2], [0.4, 0.6], psi1, psi2)
    risk = unified_risk.risk(problem, np.ones(2), 1e-12, 1.0)
    assert np.isclose(risk, wanted, rtol=rtol)


def test_the_risk_at_the_ends_of_the_range():
    label = UNEVEN.pair.mu1s**2 + UNEVEN.pair.floor
    none, far, farther = (
        unified_risk.risk(UNEVEN, UNEVEN.s, x, y)
        for x, y in ((1e12, 0.0), (0.1, 1e6), (0.1, -1e12))
    )
    assert np.isclose(none, label) and np.isclose(far, farther, rtol=1e-6)


def test_the_risk_falls_with_the_step_to_no_less_than_the_floor():
    for p in (-1.0, 0.0, 1.0):
        risks = unified_risk.risk(UNEVEN, UNEVEN.s**p, 0.05, np.arange(6.0))
        assert (np.diff(risks) < 0).all() and risks[-1] > UNEVEN.pair.floor


def test_a_shaped_start_has_the_risk_of_other_inputs():
    # features see P^(1/2) Sigma P^(1/2): equal levels for p = -1
    white = unified.Problem(
        UNEVEN.pair, np.ones_like(UNEVEN.s), UNEVEN.energy, UNEVEN.psi1, UNEVEN.psi2
    )
    start = spiked(UNEVEN, 1 / UNEVEN.s, "start")
    assert np.allclose(start.square * UNEVEN.s, spiked(white, np.ones(60)).square)


# --- simulation ---


def test_twins_train():
    assert (study.twins("smoke").gap < 1e-12).all()
    sizes = {"d": 20, "psi1": 3.0, "ratio": 12.0, "noise": 0.01, "matched": False}
    short, long = (simulate.twins(0, 1.0, 0.1, n, **sizes)["gap"] for n in (1, 10))
    assert abs(long / short - 1) > 1e-3, "no step was made"


def test_samples_are_those_of_the_stream():
    setting = simulate.Setting(d=10, psi1=3.0, ratio=4.0)
    X, y = setting.samples(2, 5, 1)
    assert X.shape == (2, 30, 10) and y.shape == (2, 30)
    white = next(iter(setting.white(5, 1)))[0]
    assert np.allclose(X[0], white * setting.lam**0.5)


def test_other_blocks_have_other_seeds(cache):
    ours, theirs = (study.twins("smoke", block).seed.values for block in (0, 1))
    assert not set(ours) & set(theirs)


# --- refusals ---


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: study.Cell(psi1=-1.0).at(9), "psi1 = "),
        (lambda: study.Cell(psi2=0.0).at(9), "psi2 = "),
        (lambda: unified.Problem(spikes.pair(), [2.0], [1.0], 1.0, 1.0), "s has mean"),
        (lambda: unified.Problem(spikes.pair(), [1.0], [0.5], 1.0, 1.0), "b has"),
        (lambda: replace(UNEVEN, pair=None), "pair = None"),
        (lambda: replace(ISOTROPIC, s=[1.8, 0.20001]), "s has mean 1.000005:"),
        (lambda: with_pair(mu1=0.0, mu1s=0.0), r"\|mu1\| = 0"),
        (lambda: with_pair(mu1s=0.0), r"\|mu1s\| = 0"),
        (lambda: with_pair(rest=-0.1), "rest = -0.1"),
        (lambda: with_pair(floor=-0.1), "floor = -0.1"),
        (lambda: with_pair(noise=-3.0), "noise = -3"),
        (lambda: with_pair(noise=np.nan), "pair has 1"),
        (lambda: replace(UNEVEN, psi2=1e24), "psi2 = 1e"),
        (lambda: spike(spiked(UNEVEN, UNEVEN.s), 1e84), "eta = 1e"),
        (lambda: unified_risk.resolvent(UNEVEN, -1.0), "s = -1"),
        (lambda: unified_risk.resolvent(UNEVEN, 0.0), "s = 0"),
        (lambda: unified_risk.risk(UNEVEN, UNEVEN.s, 1e148, 1.0), "penalty = 1e"),
        (lambda: unified_risk.risk(UNEVEN, UNEVEN.s, 1e-32, 1.0), "penalty = 1e"),
        (lambda: unified_risk.risk(UNEVEN, UNEVEN.s, 0.1, [0, -1e160]), "of .etas"),
        (lambda: spiked(UNEVEN, UNEVEN.s, "head"), "layer = "),
        (lambda: spiked(UNEVEN, 0 * UNEVEN.s), "phi"),
        (lambda: spike(spiked(UNEVEN, UNEVEN.s), -1.0), "eta = "),
        (lambda: unified_risk.risk(UNEVEN, UNEVEN.s, 0.0, 1.0), "penalty = "),
        (lambda: UNEVEN.own(-1.0), "damping = "),
        (lambda: unified.best_filter(UNEVEN, -1.0), "level = -1"),
        (lambda: unified.best_filter(ONE_SIDED, 0), "b has smallest entry 0"),
        (lambda: unified.best_own(ONE_SIDED), "b has smallest entry 0"),
        (lambda: unified.other(ONE_SIDED, 0.1), "b has smallest entry 0"),
        (lambda: unified.other(UNEVEN, 0), "damping = 0"),
        (lambda: unified_risk.risk(UNEVEN, UNEVEN.s, 0.1, np.nan), "etas has 1"),
    ],
)
def test_what_is_refused(call, named):
    with pytest.raises(ValueError, match=named):
        call()
