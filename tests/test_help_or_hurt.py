"""Interpolators with a fixed preconditioner: special cases, invariances, two routes."""

import numpy as np
import pytest
from scipy.optimize import brentq, minimize

from fl.simulate import help_or_hurt as simulate
from fl.simulate import help_or_hurt_contest as contest
from fl.theory import alignment_ridge, gram_linear
from fl.theory import help_or_hurt as theory
from fl.theory import help_or_hurt_stopping as stopping

RNG = np.random.default_rng(5)
LAM = 1 / np.arange(1, 41.0)
ENERGY = 3 * LAM**1.4


def matrix(d: int = 6) -> np.ndarray:
    root = RNG.standard_normal((d, d + 2))
    return root @ root.T


# --- bias and variance ------------------------------------------------------------------


def test_two_modes_and_one_sample_by_hand():
    t, e = (5.0, 0.3), (2.0, 0.7)
    bias, variance = theory.interpolator_risk(t, e, 1)
    assert bias == pytest.approx((e[0] * t[1] + e[1] * t[0]) / (2 * np.sqrt(1.5)))
    assert variance == pytest.approx(sum(t) / (2 * np.sqrt(1.5)))


def test_the_natural_gradient_is_a_projection():
    bias, variance = theory.interpolator_risk(np.full(40, 7.0), ENERGY, 15)
    assert bias == pytest.approx(25 / 40 * ENERGY.sum())
    assert variance == pytest.approx(15 / 25)
    exact = gram_linear.whitened_risk(15, 40, 1.0) - gram_linear.whitened_risk(15, 40)
    assert exact == pytest.approx(15 / 24)


def test_the_matrix_form_is_the_quadratic_form_of_the_text():
    S, P, C = matrix(), matrix(), matrix()
    t, energy = theory.preconditioned_modes(S, P, C)
    bias, _ = theory.interpolator_risk(t, energy, 3)
    values, axes = np.linalg.eigh(P)
    root = axes * np.sqrt(values) @ axes.T
    T, back = root @ S @ root, np.linalg.inv(root)
    kappa = brentq(
        lambda k: np.trace(T @ np.linalg.inv(T + k * np.eye(6))) - 3, 1e-6, 1e6
    )
    missed = np.linalg.inv(T + kappa * np.eye(6))
    gamma = np.trace(np.linalg.matrix_power(T @ missed, 2)) / 3
    form = kappa**2 * np.trace(missed @ T @ missed @ back @ C @ back) / (1 - gamma)
    assert bias == pytest.approx(form, rel=1e-6)


def test_only_the_geometry_counts():
    """A change of coordinates of the inputs changes nothing."""
    S, P, C, B = matrix(), matrix(), matrix(), RNG.standard_normal((6, 6))
    inverse = np.linalg.inv(B)
    turned = B @ S @ B.T, inverse.T @ P @ inverse, inverse.T @ C @ inverse
    ours = theory.interpolator_risk(*theory.preconditioned_modes(S, P, C), 3)
    theirs = theory.interpolator_risk(*theory.preconditioned_modes(*turned), 3)
    assert ours == pytest.approx(theirs, rel=1e-7)
    scaled = theory.interpolator_risk(*theory.preconditioned_modes(S, 9 * P, C), 3)
    assert ours == pytest.approx(scaled, rel=1e-9)


def test_a_power_of_the_covariance_is_that_of_the_ridge_chapter():
    S = np.diag(LAM)
    C = np.diag(ENERGY / LAM)
    t, energy = theory.preconditioned_modes(S, np.diag(LAM**0.5), C)
    bias, variance = theory.interpolator_risk(t, energy, 12)
    fit = alignment_ridge.ridge_risk(LAM, ENERGY, 0.5, 12, 0.0, 2.0)
    assert bias + 2 * variance == pytest.approx(fit.test - 2)


def test_drawn_interpolators_fit_and_agree_with_the_equivalent():
    X, C = simulate.inputs(3, 200, 20, 50), simulate.teacher(50)
    P = simulate.preconditioner("damped", 50)
    M = simulate.interpolator(X, P)
    assert np.allclose(X.mT @ M, np.eye(20), atol=1e-9)
    modes = theory.preconditioned_modes(simulate.covariance(50), P, C)
    bias, variance = theory.interpolator_risk(*modes, 20)
    drawn = simulate.risk(M, X, C, 2.0).mean()
    assert drawn == pytest.approx(bias + 2 * variance, rel=0.08)


# --- the two optima ---------------------------------------------------------------------


@pytest.mark.parametrize("goal", ["variance", "bias"])
def test_what_theory_names_wins_and_the_wrong_one_loses(goal):
    size = {"d": 15, "n": 6, "goal": goal, "rivals": 10}
    assert all(contest.contest(s, **size)["best"] > 0 for s in range(900, 906))
    assert all(contest.contest(s, **size, estimated=90)["best"] < 0 for s in range(6))


def test_the_least_variance_is_that_of_a_flat_spectrum():
    spectra = np.exp(RNG.standard_normal((50, 40)))
    found = [theory.interpolator_risk(t, ENERGY, 15)[1] for t in spectra]
    assert min(found) > 15 / 25


def test_the_matched_spectrum_has_the_least_bias_and_it_is_n_kappa():
    bias, _ = theory.interpolator_risk(ENERGY, ENERGY, 15)
    assert bias == pytest.approx(15 * alignment_ridge.implicit_ridge(ENERGY, 15, 0.0))
    for noise in RNG.normal(0, 0.2, (30, 40)):
        assert theory.interpolator_risk(ENERGY * np.exp(noise), ENERGY, 15)[0] > bias


# --- between and beyond -----------------------------------------------------------------


@pytest.mark.parametrize("noise", [0.02, 1.0, 30.0])
def test_the_best_spectrum_is_what_a_search_finds(noise):
    energy = ENERGY[:16]
    best = theory.best_spectrum(energy, 9, noise)

    def loss(log_t):
        bias, variance = theory.interpolator_risk(np.exp(log_t), energy, 9)
        return np.log(bias + noise * variance)

    found = minimize(loss, np.zeros(16), method="L-BFGS-B", tol=1e-14)
    assert loss(np.log(best)) <= found.fun + 1e-12
    assert found.fun == pytest.approx(loss(np.log(best)), abs=1e-6)
    kappa = alignment_ridge.implicit_ridge(best, 9, 0.0)
    whole = np.exp(loss(np.log(best))) + noise
    assert whole == pytest.approx(9 * (kappa + noise / 7), rel=1e-9)


def test_the_ends_of_the_best_spectrum():
    assert np.array_equal(theory.best_spectrum(ENERGY, 15, 0.0), ENERGY)
    much = theory.best_spectrum(ENERGY, 15, 1e9)
    assert np.ptp(much) / much[0] < 1e-6


def test_the_risks_cross_where_they_say():
    crossing = theory.crossing_noise(LAM, ENERGY, 15)
    plain = theory.interpolator_risk(LAM, ENERGY, 15)
    natural = theory.interpolator_risk(LAM**0, ENERGY, 15)
    for factor, sign in [(0.9, 1), (1.0, 0), (1.1, -1)]:
        noise = factor * crossing
        gap = natural[0] - plain[0] + noise * (natural[1] - plain[1])
        assert gap * sign > 0 or (sign == 0 and abs(gap) < 1e-12)
    assert theory.crossing_noise(LAM, np.ones(40), 15) < 0


def test_nearly_equal_eigenvalues_cross_where_exact_numbers_do():
    """Differences of the risks are of second order, and cancel once more here."""
    for h in (1e-3, 1e-6, 1e-8):
        found = theory.crossing_noise([1, 1 + h, 1], [1, 2, 3], 1)
        assert found == pytest.approx(-4, rel=1e-6)
    lam, energy = 1 + 1e-6 * LAM, ENERGY
    mpmath = pytest.importorskip("mpmath")
    with mpmath.workdps(50):
        t, e = mpmath.matrix(lam), mpmath.matrix(energy)
        kappa = mpmath.findroot(lambda k: sum(v / (v + k) for v in t) - 39, 0.03)
        u = [v / (v + kappa) for v in t]
        gamma = sum(v**2 for v in u) / 39
        bias = sum(w * (1 - v) ** 2 for v, w in zip(u, e, strict=True)) / (1 - gamma)
        exact = (sum(e) / 40 - bias) / (gamma / (1 - gamma) - 39)
    assert theory.crossing_noise(lam, energy, 39) == pytest.approx(float(exact))


def test_far_eigenvalues_keep_their_variance():
    """By hand: (t1 + t2)/(2 sqrt(t1 t2)) for one sample."""
    for small in (1e-12, 1e-32):
        _, variance = theory.interpolator_risk([1, small], [1, 1], 1)
        assert variance == pytest.approx(0.5 / np.sqrt(small), rel=1e-4)


def test_the_price_of_columns_that_are_nearly_dependent():
    """Exact numbers, for two columns that are 1e-9 apart in the second coordinate."""
    X, S, C = np.array([[1, 1], [0, 1e-9]]), np.diag([2.0, 3.0, 1.0]), np.eye(3)
    X = np.vstack([X, [1, 1]])
    # across: (1, -1)/root 2, which C does not see, of the size 1e-9/root(2 * 3)
    price = theory.interpolation_price(X, S, C, 0.5)
    assert price == pytest.approx(0.5 * 6e18, rel=1e-5)


def test_the_price_is_the_difference_of_two_risks_and_nothing_does_better():
    (X,), C = simulate.inputs(8, 1, 9, 20), matrix(20)
    best = contest.best_interpolator(X, C, 0.4)
    assert np.allclose(X.T @ best, np.eye(9))
    ridge = contest.bayes_ridge(X, C, 0.4)
    ours, bayes = [simulate.risk(M, X, C, 0.4) for M in (best, ridge)]
    price = theory.interpolation_price(X, simulate.covariance(20), C, 0.4)
    assert ours - bayes == pytest.approx(price, rel=1e-9)
    null = np.linalg.svd(X)[0][:, 9:]
    for _ in range(10):
        other = best + 0.1 * null @ RNG.standard_normal((11, 9))
        assert simulate.risk(other, X, C, 0.4) > ours


# --- early stopping ---------------------------------------------------------------------


def test_contour_gives_the_exponential():
    nodes, weights = stopping.contour()
    for c in (0.0, 0.3, 5.0, 1e4):
        assert weights @ (1 / (nodes + c)) == pytest.approx(np.exp(-c), abs=1e-11)


@pytest.mark.parametrize("n", [10, 39, 40, 41, 300])
def test_the_complex_root_solves_its_equation(n):
    times = np.array([1e-3, 1.0, 1e4])
    kappa = stopping.complex_ridge(LAM, n, times)
    penalty = stopping.contour()[0] / (2 * times[:, None])
    used = LAM / (LAM + kappa[..., None])
    assert np.allclose(kappa * (1 - used.sum(-1) / n), penalty, rtol=1e-7)
    assert (kappa.imag * penalty.imag > 0).all()


def test_the_flow_starts_at_the_signal_and_ends_at_the_interpolator():
    start, end = stopping.flow_risk(LAM, ENERGY, 15, 0.5, [1e-9, 1e8])
    bias, variance = theory.interpolator_risk(LAM, ENERGY, 15)
    assert start == pytest.approx(ENERGY.sum(), rel=1e-6)
    assert end == pytest.approx(bias + 0.5 * variance, rel=1e-6)


def test_rounding_leaves_no_negative_risk():
    early = stopping.flow_risk(np.ones(5), np.zeros(5), 5000, 1.0, [5e-7, 1e-6])
    assert (early >= 0).all() and early.max() < 1e-13


def test_noise_has_the_closed_form_of_its_divided_differences():
    """For n > d and above: 2 psi(t) - psi(2t), in another arrangement."""
    nodes, weights = stopping.contour()
    for n in (15, 90):
        times = np.array([0.3, 4.0, 20.0])

        def psi(times, n=n):
            excess = stopping.complex_ridge(LAM, n, times) / (
                nodes / (2 * times[:, None])
            )
            return ((excess - 1) @ (weights / nodes)).real

        found = stopping.flow_risk(LAM, 0 * LAM, n, 1.0, times)
        assert found == pytest.approx(2 * psi(times) - psi(2 * times), rel=1e-8)


def test_a_flow_that_takes_small_steps_is_the_flow():
    risk = simulate.flows(0, 8, 5, 0.0, [0.5], [0.4], 1)["risk"][1]
    (X,) = simulate.inputs(0, 1, 5, 8)
    PX = np.diag(np.diag(simulate.covariance(8)) ** 0.5) @ X
    M, steps = np.zeros((8, 5)), 4000
    for _ in range(steps):
        M = M + 2 * 0.4 / steps / 5 * PX @ (np.eye(5) - X.T @ M)
    C = 2 * np.diag(np.diag(simulate.teacher(8)))
    assert simulate.risk(M, X, C, 0.0) == pytest.approx(np.squeeze(risk), rel=1e-3)


def test_the_bound_is_a_maximum_and_holds_on_drawn_samples():
    x = np.linspace(0.01, 30, 10_000)
    ratios = ((1 - np.exp(-x)) * (1 + x) / x) ** 2
    assert stopping.stopping_bound() == pytest.approx(ratios.max(), rel=1e-6)
    C = 2 * np.diag(np.diag(simulate.teacher(12)))
    (X,) = simulate.inputs(4, 1, 7, 12)
    values, axes = np.linalg.eigh(X.T @ C @ X / 7)
    for tau in (0.1, 1.0, 10.0):
        flow = (1 - np.exp(-2 * tau * values)) / values
        ridge = 1 / (values + 1 / (2 * tau))
        maps = [C @ X @ (axes * fit) @ axes.T / 7 for fit in (flow, ridge)]
        one, other = [simulate.risk(M, X, C, 0.2) for M in maps]
        assert one <= stopping.stopping_bound() * other


# --- bad input --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: theory.interpolator_risk(LAM, ENERGY, 40), "n = 40: must be .* 39"),
        (lambda: theory.crossing_noise(LAM**0, ENERGY, 5), "spread of lam = .*0.0"),
        (lambda: theory.best_spectrum(ENERGY, 40, 1.0), "n = 40"),
        (lambda: theory.best_spectrum([1.0, 0.0], 1, 0.0), "smallest entry 0"),
        (lambda: theory.best_spectrum([-0.5, 1.0], 1, 1.0), "energy = .*-0.5"),
        (
            lambda: theory.interpolation_price(
                np.ones((3, 2)), np.eye(3), np.eye(3), 1
            ),
            "rank of X = .*1.*2, inf",
        ),
        (
            lambda: theory.interpolation_price(
                np.ones((3, 1)), np.diag([1.0, 1.0, 0.0]), np.eye(3), 1.0
            ),
            "S is singular",
        ),
        (lambda: theory.best_spectrum(ENERGY, 4, -1.0), "noise = -1"),
        (
            lambda: theory.preconditioned_modes(np.eye(2), np.eye(3), np.eye(2)),
            "P has shape",
        ),
        (
            lambda: theory.preconditioned_modes(np.eye(2), np.diag([1, 0]), np.eye(2)),
            "T, of S and P, is singular",
        ),
        (
            lambda: theory.interpolation_price(np.eye(3), np.eye(3), np.eye(3), 1.0),
            "N = 3: must be .* 2",
        ),
        (
            lambda: stopping.flow_risk(LAM, -ENERGY, 5, 0.0, [1.0]),
            "energy has 40 entries",
        ),
        (lambda: stopping.flow_risk(LAM, ENERGY, 5, 0.0, [0.0]), "times has smallest"),
        (lambda: stopping.flow_risk(LAM, ENERGY, 5, 0.0, [1e-320]), "times = .*1e-320"),
        (lambda: simulate.inputs(0, 1, 5, 5), "n = 5: must be below"),
        (lambda: simulate.preconditioner("best", 5), "name = 'best'"),
        (lambda: contest.contest(0, 5, 2, "risk", 1), "goal = 'risk'"),
        (lambda: contest.best_weight(0, 5, 2, 0.0, 1), "noise = 0"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
