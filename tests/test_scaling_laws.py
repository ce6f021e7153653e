"""Scaling laws of the linear student: limits, two routes, what is refused."""

import numpy as np
import pytest

from fl.simulate import alignment_student
from fl.simulate import scaling_laws as simulate
from fl.theory import alignment_laws, alignment_ridge
from fl.theory import scaling_laws as theory

A, B = 1.6, 2.1


def test_the_table_by_hand():
    p = 0.25  # q = 2
    found = [
        theory.exponent(v, A, B, p) for v in ("time", "samples", "compute", "width")
    ]
    assert found == pytest.approx([0.55, 1.1, 1.1 / 3, 1.1])
    path = [theory.exponent("path", A, B, p, zeta) for zeta in (0.5, 2.0, 5.0)]
    assert path == pytest.approx([0.275, 1.1, 1.1])


def test_the_curve_has_the_ends_of_the_two_laws():
    q, n = 2.5, 80
    low, high = theory.shape(q, B, [0.03, 100.0], n=n)
    early = alignment_laws.flow_power_law(q, B, [(0.03 * n) ** q / 2])[0]
    late, _ = alignment_laws.interpolation_power_law(q, B, n)
    assert low == pytest.approx(early * n ** (B - 1), rel=0.08)
    assert high == pytest.approx(late * n ** (B - 1), rel=0.015)


@pytest.mark.parametrize(
    ("q", "b"), [(1.05, 1.2), (1.2, 1.05), (1.2, 2.5), (2.0, 1.1), (3.0, 6.0)]
)
def test_modes_beyond_the_last_are_in_the_curve(q, b):
    """For q near 1 they act like a ridge, for b near 1 like noise: a fifth and a third."""
    (end,) = theory.shape(q, b, [100.0])
    limit, _ = alignment_laws.interpolation_power_law(q, b, 1)
    assert end == pytest.approx(limit, rel=theory.WORST)
    coarse, fine = [theory.shape(q, b, [0.05, 0.5, 5.0], n=n) for n in (100, 200)]
    assert coarse == pytest.approx(fine, rel=theory.WORST)


def test_drawn_samples_lie_on_the_curve():
    n, q, b, x = 40, 1.3, 1.4, np.array([0.1, 1.0, 20.0])
    times = list((x * n) ** q / 4)
    drawn = [simulate.plane(s, n, 20 * n, q, b, times)["risk"][1] for s in range(12)]
    scaled = np.mean(drawn, 0) * n ** (b - 1)
    assert scaled == pytest.approx(theory.shape(q, b, x), rel=0.05)


@pytest.mark.parametrize("q", [1.1, 1.5])
def test_the_best_split_is_that_of_many_more_samples(q):
    x, b = theory.best_split(q, 1.3), 1.3
    near = x * np.array([0.95, 1.0, 1.05])
    cost = theory.shape(q, b, near, n=500) * near ** (q * (b - 1) / (1 + q))
    assert cost[1] == min(cost)


def test_all_sizes_lie_on_one_curve():
    few, many = [theory.shape(2.0, B, [0.2, 1.0, 5.0], n=n) for n in (25, 100)]
    assert few == pytest.approx(many, rel=0.05)
    assert abs(few / many - 1).max() > 1e-4


@pytest.mark.parametrize(("q", "b"), [(2.0, 1.8), (3.0, 2.4)])
def test_at_the_best_split_the_elasticities_are_equal(q, b):
    x = theory.best_split(q, b)
    low, high = np.log(theory.shape(q, b, [x / 1.1, x * 1.1]))
    falls = (low - high) / (2 * np.log(1.1))
    assert falls / q == pytest.approx(b - 1 - falls, abs=0.01)


def test_joined_laws_take_the_slower_at_the_ends():
    early = theory.two_laws(2.0, B, 1e12, 50.0)
    late = theory.two_laws(2.0, B, 50.0, 1e30)
    assert early == pytest.approx(alignment_laws.flow_power_law(2.0, B, [100.0])[0])
    constant = alignment_laws.interpolation_power_law(2.0, B, 50)[0]
    assert late == pytest.approx(constant)


def test_features_at_the_end_are_the_dual_of_samples():
    """A projection: the same implicit ridge, and no inflation by 1/(1-gamma)."""
    r = np.arange(1, 61.0)
    lam, energy = r**-A, r**-B
    (end,) = theory.feature_risk(lam, energy, 20, [np.inf])
    fit = alignment_ridge.ridge_risk(lam, lam, 0.0, 20, 0.0, 0.0)
    kappa = alignment_ridge.implicit_ridge(lam, 20, 0.0)
    assert end == pytest.approx(np.sum(energy * kappa / (lam + kappa)))
    matched = theory.feature_risk(lam, lam, 20, [np.inf])[0]
    assert matched == pytest.approx(20 * kappa)
    assert matched == pytest.approx(fit.test)
    late, early = theory.feature_risk(lam, energy, 20, [1e7, 1e-9])
    assert late == pytest.approx(end, rel=1e-4)
    assert early == pytest.approx(energy.sum(), rel=1e-6)


def test_many_features_are_the_population():
    r = np.arange(1, 41.0)
    lam, energy, times = r**-A, r**-B, np.array([0.5, 5.0])
    # more features than inputs are refused; copies of vanishing inputs leave room
    lam = np.concatenate([lam, np.full(60_000, 1e-12)])
    energy = np.concatenate([energy, np.zeros(60_000)])
    risk = theory.feature_risk(lam, energy, 50_000, times)
    flow = alignment_ridge.flow_risk(lam[:40], energy[:40], 0.0, 2 * times)
    assert risk == pytest.approx(flow, rel=2e-3)


def test_drawn_features_do_not_care_for_the_optimizer_in_the_end():
    size = {"width": 12, "d": 50, "a": A, "b": B, "times": [0.0, 3.0, np.inf]}
    runs = [simulate.features(0, p=p, **size)["risk"][1] for p in (-1.0, 0.0)]
    natural, plain = runs
    assert natural[2] == pytest.approx(plain[2], rel=1e-9)
    assert natural[0] == pytest.approx(plain[0]) and natural[1] < plain[1]
    # one rate for all of them
    share = (natural[1] - natural[2]) / (natural[0] - natural[2])
    assert share == pytest.approx(np.exp(-12.0))


def test_the_drawn_plane_ends_at_the_interpolator():
    times = [0.0, 1e9, np.inf]
    start, late, end = simulate.plane(2, 15, 200, 2.0, B, times)["risk"][1]
    assert late == pytest.approx(end, rel=1e-6)
    tail, ridge = simulate.beyond(200, B), simulate.beyond(200, 2.0)
    assert start == pytest.approx(np.sum(np.arange(1, 201.0) ** -B) + tail)
    r, rng = np.arange(1, 201.0), np.random.default_rng([2, simulate.INPUTS])
    Z, w = rng.standard_normal((200, 15)), r ** (-B / 2)
    labels = w @ Z + np.sqrt(tail) * rng.standard_normal(15)
    gap = w - alignment_student.ridge_weights(Z, labels, r**-2.0, ridge / 15)
    assert end == pytest.approx(gap @ gap + tail)


def test_a_tail_is_what_is_cut_off():
    r = np.arange(101, 2_000_000.0)
    assert simulate.beyond(100, 2.5) == pytest.approx(np.sum(r**-2.5), rel=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: theory.exponent("steps", A, B, 0.0), "variable = 'steps'"),
        (lambda: theory.exponent("time", A, 1.0, 0.0), "b = 1.0"),
        (lambda: theory.exponent("samples", A, 5.0, 0.25), "b = 5.0: must be < 2q"),
        (lambda: theory.exponent("width", A, 3.0, 0.5), "b = 3.0: must be < a"),
        (lambda: theory.exponent("time", A, B, -0.5), "p = -0.5: must be above"),
        (lambda: theory.exponent("time", 1.0, 1.5, 0.0), "p = 0.0: must be above"),
        (lambda: theory.exponent("path", A, B, 0.0), "zeta = None: must be a finite"),
        (lambda: theory.exponent("time", A, B, 0.0, 1.0), "zeta = 1.0"),
        (lambda: theory.exponent("path", A, B, 0.0, 0.0), "zeta = 0.0"),
        (lambda: theory.shape(2.0, B, [0.019]), r"x = .*0.019.*: must be .* \[0.02"),
        (lambda: theory.shape(1.5, 3.5, [1.0]), "correction of b = 3.5 at"),
        (lambda: theory.two_laws(2.0, B, [9, 9], [1, 2, 3]), r"n has shape \(2,\)"),
        (lambda: theory.feature_risk([1.0, 2.0], [1.0, 1.0], 2, [1.0]), "width = 2"),
        (
            lambda: theory.feature_risk([1.0, 2.0], [1.0, 1.0], 1, [-1]),
            r"times = \[-1.\]",
        ),
        (lambda: simulate.plane(0, 5, 5, 2.0, B, [1.0]), "n = 5"),
        (lambda: simulate.features(0, 5, 5, A, B, 0.0, [1.0]), "width = 5"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
