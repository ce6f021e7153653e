"""Tasks: the laws they promise, and the mistakes they refuse."""

import pickle

import joblib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import ortho_group

from fl.tasks import (
    LINKS,
    Link,
    Spectrum,
    Task,
    Teacher,
    from_data,
    power_law,
    spectral_task,
    two_level,
)


def rng(seed=0):
    return np.random.default_rng(seed)


# --- links ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", LINKS)
@pytest.mark.parametrize("tau", [0.1, 1.0, 7.0])
def test_mean_slope_is_the_first_hermite_coefficient(name, tau):
    # Stein: E[z f(tau z)] = tau E f'(tau z)
    assert LINKS[name].hermite(1, tau)[1] == pytest.approx(
        tau * LINKS[name].moments(tau)[2], abs=1e-8 * max(1, tau)
    )


@pytest.mark.parametrize("name", LINKS)
def test_slope_is_the_derivative(name):
    u = np.array([-1.3, -0.4, 0.7, 2.1])
    difference = (LINKS[name](u + 1e-6) - LINKS[name](u - 1e-6)) / 2e-6
    np.testing.assert_allclose(LINKS[name].slope(u), difference, atol=1e-7)


@pytest.mark.parametrize("name", LINKS)
def test_moments_are_those_of_a_sample(name):
    values = LINKS[name](1.5 * rng().standard_normal(200_000))
    mean, variance, _ = LINKS[name].moments(1.5)
    assert abs(values.mean() - mean) < 5 * values.std() / np.sqrt(len(values))
    spread = ((values - values.mean()) ** 2).std() / np.sqrt(len(values))
    assert abs(values.var() - variance) < 5 * spread


@given(st.floats(1e-3, 1e3))
def test_softplus10_has_mean_slope_5_at_every_variance(tau):
    # its slope is 10 times a function that is odd around 1/2
    assert LINKS["softplus10"].moments(tau)[2] == pytest.approx(5, abs=1e-9)


def test_named_links_travel_by_name():
    assert pickle.loads(pickle.dumps(LINKS["relu"])) is LINKS["relu"]


@pytest.mark.parametrize("tau", [0, -1, np.inf, np.nan])
def test_link_refuses_a_scale(tau):
    with pytest.raises(
        ValueError, match=r"tau = .*must be a finite number in \(0, inf\)"
    ):
        LINKS["relu"].moments(tau)


# --- spectra --------------------------------------------------------------------------

spectra = st.one_of(
    st.builds(power_law, st.integers(1, 6), st.floats(-1, 2)),
    st.builds(
        two_level,
        st.floats(0.1, 5),
        st.integers(1, 3),
        st.floats(0.1, 5),
        st.integers(1, 3),
    ),
)


@given(spectra, st.floats(-2, 2), st.floats(-2, 2), st.integers(0, 99))
def test_powers_add_on_every_basis(spectrum, p, q, seed):
    turned = spectrum.rotated(rng(seed))
    np.testing.assert_allclose(
        turned.power(p) @ turned.power(q), turned.power(p + q), rtol=1e-8, atol=1e-8
    )
    np.testing.assert_allclose(
        np.linalg.eigvalsh(turned.power(p)),
        np.sort(spectrum.eigenvalues**p),
        rtol=1e-8,
        atol=1e-10,
    )


@pytest.mark.parametrize(
    "spectrum",
    [two_level(4.0, 2, 0.25, 3), power_law(6, 1.5)],
    ids=["two levels", "power law"],
)
@pytest.mark.parametrize("rotate", [False, True], ids=["axes", "rotated"])
def test_inputs_have_the_covariance(spectrum, rotate):
    spectrum = spectrum.rotated(rng(1)) if rotate else spectrum
    n, S = 40_000, spectrum.power(1)
    X = spectrum.inputs(n, rng(2))
    assert X.shape == (spectrum.d, n)
    # Var(x_i x_j) = S_ii S_jj + S_ij^2 for a Gaussian
    error = np.sqrt((np.outer(np.diag(S), np.diag(S)) + S**2) / n)
    assert (np.abs(X @ X.T / n - S) < 5 * error).all()
    assert (np.abs(X.mean(1)) < 5 * np.sqrt(np.diag(S) / n)).all()


def test_spectrum_of_data_gives_the_second_moment_back():
    X = rng().standard_normal((4, 30)) * np.array([[3.0], [1.0], [0.5], [0.1]])
    spectrum = from_data(X)
    np.testing.assert_allclose(spectrum.power(1), X @ X.T / 30, atol=1e-12)
    assert (np.diff(spectrum.eigenvalues) <= 0).all()


def test_fewer_samples_than_dimensions_leave_null_directions_null():
    X = rng().standard_normal((20, 5))
    spectrum = from_data(X)
    assert (spectrum.eigenvalues[5:] == 0).all()
    np.testing.assert_allclose(
        spectrum.power(-1), np.linalg.pinv(X @ X.T / 5, hermitian=True), atol=1e-10
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([],), r"eigenvalues has shape \(0,\): must be \(d,\)"),
        (([1.0, np.nan],), "eigenvalues has 1 entries that are NaN"),
        (([1.0, -1.0],), "eigenvalues has entries from -1 to 1: all >= 0"),
        (([0.0, 0.0],), "one > 0"),
        (([1.0, 2.0], np.eye(3)), r"rotation has shape \(3, 3\): must be \(2, 2\)"),
        (([1.0, 2.0], 2 * np.eye(2)), "rotation has .*must be orthogonal"),
    ],
)
def test_spectrum_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        Spectrum(*arguments)


def test_a_checked_spectrum_does_not_change_with_the_callers_array():
    values = np.array([1.0, 2.0])
    spectrum = Spectrum(values)
    values[0] = np.nan
    assert spectrum.eigenvalues[0] == 1.0


@pytest.mark.parametrize("p", [np.inf, -np.inf, np.nan, "2"])
def test_spectrum_refuses_a_power(p):
    with pytest.raises(ValueError, match="p = .*must be a finite number"):
        power_law(3, 1.0).power(p)


@pytest.mark.parametrize("n", [0, -1, 2.0, None, True])
def test_spectrum_refuses_a_number_of_samples(n):
    with pytest.raises(ValueError, match="n = .*must be an integer >= 1"):
        power_law(3, 1.0).inputs(n, rng())


def test_inputs_want_a_generator():
    with pytest.raises(ValueError, match="rng = 7: must be a numpy.random.Generator"):
        power_law(3, 1.0).inputs(2, 7)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: two_level(0.0, 1, 1.0, 1),
            r"top = 0.0: must be a finite number in \(0, inf\)",
        ),
        (lambda: two_level(1.0, 0, 1.0, 1), "n_top = 0: must be an integer >= 1"),
        (lambda: two_level(1.0, 1, np.inf, 1), "bottom = inf: must be"),
        (lambda: power_law(0, 1.0), "d = 0: must be an integer >= 1"),
        (lambda: power_law(3, np.nan), "a = nan: must be a finite number"),
        (lambda: from_data(np.zeros(3)), r"X has shape \(3,\): must be \(d, n\)"),
    ],
)
def test_makers_of_spectra_refuse(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- teachers and tasks ---------------------------------------------------------------


def test_one_dimension_is_enough():
    task = Task(Spectrum([4.0]).rotated(rng()), Teacher([1.0], "relu"), snr=2.0)
    batch = task.sample(3, rng())
    assert batch.X.shape == (1, 3) and batch.y.shape == (3,)
    np.testing.assert_allclose(task.tau, [2.0])
    assert task.noise_variance == pytest.approx(task.signal_variance / 4)


def test_signal_to_noise_ratio_is_one_of_standard_deviations():
    task = Task(two_level(4.0, 2, 0.5, 2), Teacher([0, 1, 0, 1], "tanh"), snr=3.0)
    batch = task.sample(100_000, rng(3))
    ratio = batch.clean.std() / (batch.y - batch.clean).std()
    assert ratio == pytest.approx(
        3.0, rel=0.02
    )  # s.e. of a ratio of deviations: below 1/sqrt(n) = 0.3 % each
    assert batch.clean.var() == pytest.approx(task.signal_variance, rel=0.03)
    np.testing.assert_allclose(batch.clean, np.tanh(batch.X[1] + batch.X[3]))


def test_no_noise_at_infinite_ratio_and_the_same_inputs():
    spectrum, teacher = power_law(3, 1.0), Teacher([1, 0, 0])
    quiet, loud = (
        Task(spectrum, teacher, snr).sample(5, rng(4)) for snr in (np.inf, 1.0)
    )
    assert (quiet.y == quiet.clean).all()
    assert (
        (quiet.X == loud.X).all()
        and (quiet.clean == loud.clean).all()
        and (quiet.y != loud.y).any()
    )


@given(
    arrays(float, 4, elements=st.floats(-2, 2)).filter(
        lambda b: np.linalg.norm(b) > 0.1
    ),
    st.integers(0, 99),
)
def test_a_task_turns_with_its_teacher(beta, seed):
    spectrum = power_law(4, 1.0)
    U = ortho_group.rvs(4, random_state=rng(seed))
    here = Task(spectrum, Teacher(beta, "relu"))
    there = Task(Spectrum(spectrum.eigenvalues, U), Teacher(U @ beta, "relu"))
    np.testing.assert_allclose(here.tau, there.tau, rtol=1e-9)
    assert here.signal_variance == pytest.approx(there.signal_variance, rel=1e-9)


@given(st.floats(1e-3, 1e3), st.sampled_from(["linear", "tanh", "relu"]))
def test_noise_of_a_spectral_task_is_the_variance_of_the_label_noise(noise, link):
    task = spectral_task(two_level(1.8, 2, 0.2, 2), 1.0, link, noise)
    assert task.noise_variance == pytest.approx(noise)
    assert spectral_task(task.spectrum, 1.0, link).noise_variance == 0


def test_two_indices_add_their_variances():
    spectrum, e = power_law(3, 1.0), np.eye(3)
    both = Task(spectrum, Teacher(e[:2], "softplus10"))
    assert both.signal_variance == pytest.approx(
        sum(Task(spectrum, Teacher(b, "softplus10")).signal_variance for b in e[:2])
    )
    clean = both.sample(100_000, rng(5)).clean
    assert clean.var() == pytest.approx(both.signal_variance, rel=0.03)


def test_directions_correlated_under_the_spectrum_are_refused():
    # orthogonal in the plain metric, but not in the one that matters
    with pytest.raises(
        ValueError, match="correlated under the spectrum: must be uncorrelated"
    ):
        Task(Spectrum([4.0, 1.0]), Teacher([[1, 1], [1, -1]]))
    Task(Spectrum([4.0, 1.0]), Teacher([[1, 1], [1, -4]]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Teacher([0.0, 0.0]), "directions has a row of zeros"),
        (lambda: Teacher([[1.0, 0.0], [0.0, 0.0]]), "directions has a row of zeros"),
        (lambda: Teacher([1.0, np.nan]), "directions has 1 entries that are NaN"),
        (
            lambda: Teacher([[1.0, 2.0], [3.0]]),
            "directions = .*must be an array of real numbers",
        ),
        (lambda: Teacher("abc"), "directions = .*must be an array of real numbers"),
        (
            lambda: Teacher([1.0], "gelu"),
            "link = 'gelu': must be one of linear, relu, abs",
        ),
        (
            lambda: Task(power_law(3, 1.0), Teacher([1.0])),
            "teacher has directions of length 1: must be d = 3",
        ),
        (
            lambda: Task(power_law(1, 1.0), Teacher([1.0]), snr=0),
            r"snr = 0: must be a finite number in \(0, inf\)",
        ),
        (
            lambda: Task(power_law(1, 1.0), Teacher([1.0]), snr=np.nan),
            "snr = nan: must be",
        ),
        (
            lambda: Task(power_law(1, 1.0), Teacher([1.0]), snr="inf"),
            "snr = 'inf': must be",
        ),
        (
            lambda: Task(Spectrum([1.0, 0.0]), Teacher([0, 1])),
            "teacher has a direction in the null space",
        ),
        (lambda: Task([1.0], Teacher([1.0])), "spectrum = .*must be a Spectrum"),
        (lambda: Task(power_law(1, 1.0), [1.0]), "teacher = .*must be a Teacher"),
        (
            lambda: Task(power_law(1, 1.0), Teacher([1.0])).sample(0, rng()),
            "n = 0: must be an integer >= 1",
        ),
    ],
)
def test_teachers_and_tasks_refuse(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_task_is_a_stable_key_of_the_results_cache():
    def task(snr):
        return Task(power_law(3, 1.0), Teacher([1, 0, 0], "softplus10"), snr)

    assert joblib.hash(task(1.0)) == joblib.hash(task(1.0)) != joblib.hash(task(2.0))


def test_a_link_of_ones_own():
    cube = Link("cube", lambda u: u**3, lambda u: 3 * u**2)
    task = Task(Spectrum([4.0]), Teacher([1.0], cube))
    assert task.signal_variance == pytest.approx(15 * 4**3)  # E z^6 = 15
