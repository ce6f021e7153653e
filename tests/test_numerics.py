"""Identities of the numerical tools; an error of a sign or of a factor two breaks one
of them.
"""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import special
from scipy.stats import ortho_group

from fl import numerics
from fl.links import LINKS

well_conditioned = arrays(float, (4, 4), elements=st.floats(-1, 1)).map(
    lambda A: A @ A.T + 0.1 * np.eye(4)
)
exponents = st.floats(-2, 2)


@given(well_conditioned, exponents, exponents)
def test_powers_add(S, p, q):
    product = numerics.psd_power(S, p) @ numerics.psd_power(S, q)
    np.testing.assert_allclose(
        product,
        numerics.psd_power(S, p + q),
        rtol=1e-8,
        atol=1e-8 * np.abs(product).max(),
    )


@given(well_conditioned, exponents, st.integers(0, 99))
def test_power_turns_with_the_basis(S, p, seed):
    U = ortho_group.rvs(4, random_state=np.random.default_rng(seed))
    turned = U @ S @ U.T
    turned = (turned + turned.T) / 2
    want = U @ numerics.psd_power(S, p) @ U.T
    np.testing.assert_allclose(
        numerics.psd_power(turned, p), want, rtol=1e-8, atol=1e-8 * np.abs(want).max()
    )


def test_power_is_the_pseudo_inverse_and_the_projection():
    A = np.random.default_rng(0).standard_normal((5, 3))
    S = A @ A.T
    np.testing.assert_allclose(
        numerics.psd_power(S, -1), np.linalg.pinv(S, hermitian=True), atol=1e-9
    )
    np.testing.assert_allclose(
        numerics.psd_power(S, 0), A @ np.linalg.pinv(A), atol=1e-10
    )
    np.testing.assert_allclose(numerics.psd_power(S, 1), S, atol=1e-12)
    assert not numerics.psd_power(np.zeros((2, 2)), -1).any()


@pytest.mark.parametrize("p", [np.inf, np.nan, "1", None], ids=str)
def test_power_refuses_an_exponent_that_is_not_finite(p):
    with pytest.raises(ValueError, match="p = .*must be a finite number"):
        numerics.psd_power(np.eye(2), p)


@pytest.mark.parametrize(
    ("f", "kinks", "square"),
    [
        (lambda z: np.maximum(z, 0), [0.0], 0.5),
        (np.abs, [0.0], 1.0),
        (special.erf, [], 2 / np.pi * np.arcsin(2 / 3)),
        (lambda z: special.erf(3 * z), [], 2 / np.pi * np.arcsin(18 / 19)),
        (np.sin, [], (1 - np.exp(-2)) / 2),
    ],
    ids=["relu", "abs", "erf", "erf3", "sin"],
)
def test_gaussian_means_in_closed_form_and_parseval(f, kinks, square):
    assert numerics.gaussian_mean(lambda z: f(z) ** 2, kinks) == pytest.approx(
        square, abs=1e-12
    )
    partial = np.cumsum(numerics.hermite_coefficients(f, 80, kinks) ** 2)
    assert partial[-1] <= square + 1e-10  # Bessel
    # the tail of a kinked function falls like degree^(-3/2), of a smooth one
    # geometrically
    assert square - partial[-1] < (2e-3 if kinks or square > 0.7 else 1e-10)


@given(st.lists(st.floats(-2, 2), min_size=1, max_size=7))
def test_hermite_coefficients_of_a_hermite_series_are_its_own(c):
    scale = np.sqrt(special.factorial(np.arange(len(c))))

    def series(z):
        return np.polynomial.hermite_e.hermeval(z, np.array(c) / scale)

    np.testing.assert_allclose(
        numerics.hermite_coefficients(series, len(c) + 1)[: len(c)], c, atol=1e-10
    )
    assert numerics.gaussian_mean(lambda z: series(z) ** 2) == pytest.approx(
        np.sum(np.square(c)), abs=1e-9
    )


def test_first_coefficient_is_the_mean_slope():
    c = numerics.hermite_coefficients(np.tanh, 1)
    assert c[1] == pytest.approx(
        numerics.gaussian_mean(lambda z: 1 - np.tanh(z) ** 2), abs=1e-13
    )


@given(st.integers(0, 2**20), st.floats(0, np.pi / 2))
def test_subspace_distance_is_the_sine_of_the_angle(seed, angle):
    U = ortho_group.rvs(5, random_state=np.random.default_rng(seed))
    turned = np.cos(angle) * U[:, 1] + np.sin(angle) * U[:, 2]
    A, B = U[:, :2], np.stack([3 * U[:, 0], turned], axis=1)
    assert numerics.subspace_distance(A, B) == pytest.approx(np.sin(angle), abs=1e-7)
    assert numerics.subspace_distance(
        A, B @ [[1.0, 2.0], [0.0, -1.0]]
    ) == pytest.approx(np.sin(angle), abs=1e-7)
    assert numerics.subspace_distance(A, U[:, :1]) == pytest.approx(0, abs=1e-7)


def test_subspace_distance_refuses_what_has_no_angle():
    with pytest.raises(ValueError, match="B has 3 rows: must have as many as A, 2"):
        numerics.subspace_distance(np.eye(2), np.eye(3))
    with pytest.raises(ValueError, match="B is zero"):
        numerics.subspace_distance(np.eye(2), np.zeros((2, 1)))


@given(st.integers(1, 10_000), st.integers(2, 300))
def test_log_steps_hold_both_ends_and_rise(last, number):
    steps = numerics.log_steps(last, number)
    assert steps[0] == 1 and steps[-1] == last and len(steps) <= number
    assert (np.diff(steps) > 0).all()


@given(st.floats(-3, 3))
def test_quadrature_sees_a_kink_wherever_it_is(kink):
    assume(abs(kink) > 1e-3)
    z, phi, Phi = kink, np.exp(-(kink**2) / 2) / np.sqrt(2 * np.pi), special.ndtr(-kink)
    want = phi - z * Phi  # E max(Z - kink, 0)
    assert numerics.gaussian_mean(
        lambda x: np.maximum(x - kink, 0), [kink]
    ) == pytest.approx(want, abs=1e-13)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_inverse_of_a_covariance_of_low_rank_in_its_own_precision(dtype):
    """Rank 5 of 6: the sixth eigenvalue is rounding, and stays zero."""
    for seed in range(100):
        rng = np.random.default_rng(seed)
        mix = rng.standard_normal((6, 5)).astype(dtype)
        X = mix @ rng.standard_normal((5, 300)).astype(dtype)
        S = X @ X.T / dtype(300)
        found = numerics.psd_power(S, -1)
        exact = np.linalg.pinv(S.astype(float), rcond=1e-5, hermitian=True)
        assert abs(found - exact).max() < 1e-6 * abs(exact).max()


def test_power_of_repeated_and_zero_eigenvalues():
    for dtype in (np.float64, np.float32, np.float16):
        for spectrum in ([1, 1, 1], [1, 1, 0], [1, 0, 0], [0, 0, 0]):
            S = np.diag(spectrum).astype(dtype)
            np.testing.assert_allclose(numerics.psd_power(S, -2.0), S, rtol=1e-3)


@pytest.mark.parametrize("tau", [1e-3, 1.0, 50.0])
def test_closed_forms_agree_with_the_quadrature_up_to_degree_300(tau):
    for closed, f, kinks in [
        (numerics.hermite_relu, lambda z: np.maximum(tau * z, 0), [0.0]),
        (numerics.hermite_abs, lambda z: abs(tau * z), [0.0]),
        (numerics.hermite_erf, lambda z: special.erf(tau * z), [-1 / tau, 1 / tau]),
    ]:
        quadrature = numerics.hermite_coefficients(f, 300, kinks)
        scale = abs(quadrature).max()
        np.testing.assert_allclose(closed(300, tau), quadrature, atol=1e-11 * scale)


def test_high_degrees_do_not_underflow():
    assert numerics.hermite_relu(200)[172] == pytest.approx(-5.75024e-4, rel=1e-5)
    # c_2m falls like m^(-5/4)
    c = abs(numerics.hermite_abs(40_000)[::2])
    assert c[20_000] / c[10_000] == pytest.approx(2**-1.25, rel=1e-3)


@pytest.mark.parametrize(
    "f",
    [
        lambda z: np.sin(1e6 * z**2) > 0,
        np.exp,
        lambda z: z + np.nan,
        lambda z: np.exp(z**4),
    ],
    ids=["fast", "sum of exp", "nan", "infinite"],
)
def test_a_mean_that_the_nodes_do_not_resolve_is_refused(f):
    if f is np.exp:
        assert numerics.gaussian_mean(f) == pytest.approx(np.exp(0.5))
        return
    with pytest.raises(ValueError, match="f: its Gaussian mean is not resolved by"):
        numerics.gaussian_mean(f)
    with pytest.raises(ValueError, match="f: its Gaussian mean is not resolved by"):
        numerics.hermite_coefficients(f, 3)


SCALES = [1e-150, 1e-8, 0.1, 1.0, 3.0, 100.0, 1e3, 1e6, 1e20]


@pytest.mark.parametrize("tau", SCALES)
def test_moments_at_any_scale(tau):
    square = 1 + 2 * tau**2
    slope = 2 / np.sqrt(np.pi * square)
    mean, variance, found = LINKS["erf"].moments(tau)
    assert found == pytest.approx(slope, rel=1e-9) and abs(mean) < 1e-12
    energy = 2 / np.pi * np.arcsin(2 * tau**2 / square)
    assert variance == pytest.approx(energy, rel=1e-9)
    assert LINKS["erf"].hermite(1, tau)[1] == pytest.approx(tau * slope, rel=1e-9)
    mean, variance, found = LINKS["relu"].moments(tau)
    share = 0.5 - 0.5 / np.pi
    assert [mean / tau, variance / tau**2, found] == pytest.approx(
        [1 / np.sqrt(2 * np.pi), share, 0.5], rel=1e-9
    )
    c = LINKS["tanh"].hermite(1, tau)[1]
    assert c == pytest.approx(tau * LINKS["tanh"].moments(tau)[2], rel=1e-8)


@pytest.mark.parametrize("tau", [0.1, 1.0, 30.0, 1e3])
def test_moments_of_a_wave(tau):
    mean, variance, slope = LINKS["sin"].moments(tau)
    exact = [0, (1 - np.exp(-2 * tau**2)) / 2, np.exp(-(tau**2) / 2)]
    np.testing.assert_allclose([mean, variance, slope], exact, atol=1e-10)


@pytest.mark.parametrize(("name", "tau"), [("sin", 1e6), ("square", 1e160)])
def test_scales_beyond_the_quadrature_are_named(name, tau):
    for ask in (LINKS[name].moments, LINKS[name].slope_variance):
        with pytest.raises(
            ValueError, match=rf"tau = 1e\+.* of the link {name}: f: its"
        ):
            ask(tau)


def test_what_a_power_counts_as_zero_makes_a_matrix_singular():
    for least, singular in ((1e-13, True), (1e-11, False)):
        S = np.diag([1.0, least])
        assert (numerics.psd_power(S, 0)[1, 1] == 0) == singular
        if singular:
            with pytest.raises(ValueError, match="S is singular, its eigenvalues run"):
                numerics.positive_definite("S", S)
        else:
            assert np.array_equal(numerics.positive_definite("S", S), S)
    with pytest.raises(ValueError, match="S is singular"):
        numerics.positive_definite("S", np.zeros((2, 2)))
