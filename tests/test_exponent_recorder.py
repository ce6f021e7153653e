"""The effective exponent: exact for powers, blind to step size and basis, and not to a wrong
sign.
"""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fl.instruments.exponent_recorder import Recorder
from fl.optimizers import exact_preconditioner, minimise

D, H = 6, 4


def spectrum(rng, d=D, spread=100.0):
    Q = np.linalg.qr(rng.standard_normal((d, d)))[0]
    return (Q * np.geomspace(1, 1 / spread, d)) @ Q.T


def power(S, p):
    values, vectors = np.linalg.eigh(S)
    return (vectors * values**p) @ vectors.T


def feed(recorder, steps, update, rng, shape=(H, D)):
    """Show ``steps`` updates W += update(G, t) with fresh gradients G."""
    W = torch.tensor(rng.standard_normal(shape))
    for t in range(steps + 1):
        G = torch.tensor(rng.standard_normal(shape))
        recorder.see(t, W, G)
        W = W + update(G, t)
    return recorder.result()


def measure(p, eta=0.1, window=5, steps=40, seed=0, turn=None, scale=1.0):
    rng = np.random.default_rng(seed)
    S = scale * spectrum(rng)
    P = torch.tensor(power(S, p))
    turn = np.eye(D) if turn is None else turn
    recorder = Recorder(turn.T @ S @ turn, window)
    schedule = eta if callable(eta) else lambda t: eta
    Q = torch.tensor(turn)
    # G stands for the gradient in the turned coordinates
    return feed(recorder, steps, lambda G, t: -schedule(t) * G @ Q.T @ P @ Q, rng)


@pytest.mark.parametrize("window", [1, 5, 20])
@pytest.mark.parametrize("p", [-1.0, -0.5, 0.0, 0.5, 1.0])
def test_a_power_is_found_exactly(p, window):
    e = measure(p, window=window)
    assert e.p_ratio == pytest.approx(p, abs=1e-10) and e.p_gain == pytest.approx(
        p, abs=1e-10
    )
    assert e.kappa == pytest.approx(1, abs=1e-12) and e.windows == 40 // window
    assert p == 0 or e.r2 == pytest.approx(1, abs=1e-12)


def test_curves_of_a_power():
    e = measure(-0.5, eta=0.3)
    np.testing.assert_allclose(
        e.eigenvalues, np.geomspace(1, 0.01, D), rtol=1e-12
    )  # from the largest on
    np.testing.assert_allclose(e.ratio, np.log(0.3 * e.eigenvalues**-0.5), rtol=1e-10)
    np.testing.assert_allclose(e.gain / e.gain[0], e.eigenvalues**-0.5, rtol=1e-10)


@given(st.floats(-2, 2), st.floats(1e-4, 10), st.integers(0, 100), st.floats(0.01, 100))
def test_step_size_basis_and_units_do_not_matter(p, eta, seed, scale):
    Q = np.linalg.qr(np.random.default_rng(seed + 1).standard_normal((D, D)))[0]
    e = measure(p, eta=eta, seed=seed, turn=Q, scale=scale, steps=10)
    assert e.p_ratio == pytest.approx(p, abs=1e-7) and e.p_gain == pytest.approx(
        p, abs=1e-7
    )
    assert e.kappa == pytest.approx(1, abs=1e-9)


def test_a_step_size_that_changes_from_window_to_window_does_not_matter():
    e = measure(0.7, eta=lambda t: 0.5 / (1 + t // 5))
    assert e.p_ratio == pytest.approx(0.7, abs=1e-10) and e.p_gain == pytest.approx(
        0.7, abs=1e-10
    )


def test_the_sign_of_the_exponent_is_seen():
    up, down = measure(0.5), measure(-0.5)
    assert (
        up.p_ratio > 0.4 > -0.4 > down.p_ratio
        and up.ratio[0] > up.ratio[-1]
        and down.ratio[0] < down.ratio[-1]
    )


def test_going_uphill_shows_in_gain_and_kappa():
    e = measure(0.5, eta=-0.1)
    assert e.p_ratio == pytest.approx(0.5) and e.kappa == pytest.approx(-1)
    assert (e.gain < 0).all() and np.isnan(e.p_gain)


def test_gain_leaves_out_what_is_not_along_the_gradient():
    """Movement added to a direction, at a right angle to the gradient there, lengthens
    it but gains nothing.
    """
    rng = np.random.default_rng(0)
    S = np.diag(np.geomspace(1, 0.01, D))

    def update(G, t):
        G, side = G.numpy(), rng.standard_normal((H, D))
        side -= G * (side * G).sum(0) / (G**2).sum(0)
        side *= np.linalg.norm(G, axis=0) / np.linalg.norm(side, axis=0)
        return -0.1 * torch.tensor(
            G + side * np.linspace(0, 5, D)
        )  # more and more to the weak directions

    e = feed(Recorder(S, 1), 20, update, rng)
    assert (
        e.p_gain == pytest.approx(0, abs=1e-10) and e.p_ratio < -0.2 and e.kappa < 0.9
    )
    np.testing.assert_allclose(
        e.ratio, np.log(0.1 * np.hypot(1, np.linspace(0, 5, D))), rtol=1e-9
    )


def test_movement_without_a_gradient_law_has_no_fit():
    rng = np.random.default_rng(0)
    e = feed(
        Recorder(spectrum(rng)),
        200,
        lambda G, t: torch.tensor(rng.standard_normal((H, D))),
        rng,
    )
    assert abs(e.kappa) < 0.2


def test_a_window_takes_the_gradients_at_the_starts_of_its_steps():
    """By hand: two windows of two steps in one dimension."""
    recorder = Recorder(np.eye(2), window=2)
    at = torch.tensor(
        [[0.0, 0.0], [1.0, 2.0], [3.0, 3.0], [3.0, 9.0], [4.0, 5.0]]
    ).double()
    slopes = torch.tensor(
        [[1.0, 1.0], [2.0, 0.0], [5.0, 1.0], [-4.0, 1.0], [9.0, 9.0]]
    ).double()
    for t in range(5):
        recorder.see(t, at[t][None], slopes[t][None])
    moves, sums = zip(
        *((D.tolist()[0], S.tolist()[0]) for D, S in recorder.windows), strict=True
    )
    assert moves == ([3, 3], [1, 2]) and sums == ([3, 1], [1, 2])
    recorder.see(5, at[0][None], slopes[0][None])
    assert recorder.result().windows == 2  # the third is not complete


def test_the_recorder_keeps_its_own_copy_of_weights_that_move_in_place():
    recorder, W = Recorder(np.eye(D), 1), torch.zeros(H, D, dtype=torch.float64)
    recorder.see(0, W, torch.ones(H, D))
    W -= 0.5
    recorder.see(1, W, torch.ones(H, D))
    assert recorder.result().kappa == pytest.approx(1)
    np.testing.assert_allclose(recorder.result().ratio, np.log(0.5))


@pytest.mark.parametrize("steps", [0, 4])
def test_no_complete_window_gives_nan(steps):
    e = feed(
        Recorder(spectrum(np.random.default_rng(0))),
        steps,
        lambda G, t: -G,
        np.random.default_rng(1),
    )
    assert e.windows == 0 and np.isnan([e.p_ratio, e.p_gain, e.kappa, e.r2]).all()
    assert np.isnan(
        e.ratio
    ).all() and e.ratio.shape == e.gain.shape == e.eigenvalues.shape == (D,)


def test_weights_that_stand_still_give_nan_and_no_warning():
    e = feed(
        Recorder(np.diag(np.arange(1.0, D + 1))),
        10,
        lambda G, t: 0 * G,
        np.random.default_rng(1),
    )
    assert e.windows == 2 and np.isnan([e.p_ratio, e.p_gain, e.kappa, e.r2]).all()


def test_directions_below_the_threshold_are_left_out():
    S = np.diag([1.0, 0.1, 1e-3, 1e-4, 0.99e-4, 0.0])
    rng = np.random.default_rng(0)

    def update(G, t):
        move = -0.1 * G.clone()
        move[:, 4:] *= 1e6  # nobody sees it
        return move

    e = feed(Recorder(S), 10, update, rng)
    np.testing.assert_allclose(e.eigenvalues, [1.0, 0.1, 1e-3, 1e-4])
    assert e.p_ratio == pytest.approx(0, abs=1e-10) and e.kappa == pytest.approx(1)
    assert len(Recorder(S, kept=0.01).eigenvalues) == 2


def test_one_direction_has_no_slope():
    e = feed(
        Recorder(np.diag([1.0, 1e-9])),
        5,
        lambda G, t: -G,
        np.random.default_rng(0),
        (H, 2),
    )
    assert e.windows == 1 and np.isnan(e.p_ratio) and np.isnan(e.p_gain)


@pytest.mark.parametrize("p", [-1.0, 0.0, 0.5])
def test_exact_powers_on_a_network_have_their_exponent(p):
    """With the zoo's jitter, which is of the order 1e-6 of the largest eigenvalue."""
    rng = np.random.default_rng(3)
    X = torch.tensor(rng.standard_normal((40, D)) * np.geomspace(1, 0.3, D))
    y = torch.tensor(rng.integers(0, 3, 40))
    S = np.cov(X.numpy().T, bias=True)
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(D, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)
    ).double()
    recorder = Recorder(S)
    first = model[0].weight

    def loss():
        return torch.nn.functional.cross_entropy(model(X), y)

    minimise(
        "exact",
        model,
        loss,
        20,
        lambda t, value: recorder.see(t, first, first.grad),
        p=p,
        lr=0.1,
        covariance=S,
    )
    e = recorder.result()
    assert (
        e.windows == 4
        and e.p_ratio == pytest.approx(p, abs=1e-4)
        and e.p_gain == pytest.approx(p, abs=1e-4)
    )
    assert e.kappa == pytest.approx(1, abs=1e-8)
    assert exact_preconditioner(S, p).shape == (D, D)


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (
            (-np.eye(2),),
            "covariance has smallest eigenvalue -1: must be positive semi-definite",
        ),
        ((np.ones(3),), r"covariance has shape \(3,\): must be \(d, d\)"),
        ((np.triu(np.ones((2, 2))),), "covariance is not symmetric"),
        ((np.full((2, 2), np.nan),), "covariance has 4 entries that are NaN"),
        ((np.zeros((2, 2)),), "covariance = 0: must have a positive eigenvalue"),
        ((np.eye(2), 0), "window = 0: must be an integer >= 1"),
        ((np.eye(2), 2.5), "window = 2.5"),
        ((np.eye(2), 5, 0.0), r"kept = 0.0: must be a finite number in \(0, 1\]"),
        ((np.eye(2), 5, 1.5), "kept = 1.5"),
    ],
    ids=[
        "negative",
        "vector",
        "asymmetric",
        "nan",
        "zero",
        "no window",
        "half a window",
        "kept 0",
        "kept 1.5",
    ],
)
def test_mistakes_are_named(mistake, message):
    with pytest.raises(ValueError, match=message):
        Recorder(*mistake)


def in_basis(basis, updates):
    """The exponents of given (update, gradient) pairs, one window each."""
    recorder = Recorder((basis * REPEATED) @ basis.T, window=1)
    W = torch.zeros(3, 10, dtype=torch.float64)
    for t, (move, gradient) in enumerate([*updates, updates[0]]):
        recorder.see(t, W, torch.tensor(gradient))
        W = W + torch.tensor(move)
    return recorder


REPEATED = np.array([10.0] * 9 + [0.1])


def test_a_repeated_eigenvalue_has_one_exponent_whatever_its_eigenvectors():
    rng = np.random.default_rng(0)
    pairs = [(rng.standard_normal((3, 10)), rng.standard_normal((3, 10)))]
    pairs = [(move - gradient, gradient) for move, gradient in pairs]
    inside = np.eye(10)
    inside[:9, :9] = np.linalg.qr(rng.standard_normal((9, 9)))[0]
    found = [in_basis(basis, pairs) for basis in (np.eye(10), inside)]
    first, other = (recorder.result() for recorder in found)
    for name in ("p_ratio", "p_gain", "kappa"):
        assert getattr(first, name) == pytest.approx(getattr(other, name), abs=1e-12)
    np.testing.assert_allclose(first.gain, other.gain, rtol=1e-12)
    # by hand: squares and inner products over the nine directions, and over the tenth
    (move, gradient) = pairs[0]
    strong, weak = slice(9), slice(9, None)
    log = []
    for k in (strong, weak):
        lengths = np.linalg.norm(move[:, k]), np.linalg.norm(gradient[:, k])
        along = -np.sum(move[:, k] * gradient[:, k])
        log.append((np.log(lengths[0] / lengths[1]), np.log(along / lengths[1] ** 2)))
    by_hand = (np.array(log[0]) - log[1]) / np.log(100)
    assert (first.p_ratio, first.p_gain) == pytest.approx(tuple(by_hand), abs=1e-12)


def test_rounding_does_not_part_an_eigenspace_and_a_gap_does():
    recorder = Recorder(np.diag([2.0, 1.0, 1.0 - 1e-14, 1.0 - 1e-6]))
    assert recorder.together.sum(0).tolist() == [1, 2, 2, 1]


def test_one_eigenvalue_has_no_exponent():
    rng = np.random.default_rng(1)
    Q = np.linalg.qr(rng.standard_normal((D, D)))[0]
    e = feed(Recorder(Q @ Q.T, 1), 3, lambda G, t: -G, rng)
    assert np.isnan([e.p_ratio, e.p_gain]).all()
    np.testing.assert_allclose(e.ratio, 0, atol=1e-12)
