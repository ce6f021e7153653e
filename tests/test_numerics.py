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
