"""Measure your own optimizer: special cases, invariances, limits, two independent routes."""

import numpy as np
import pytest
import torch
from scipy import linalg

from fl import stored
from fl.instruments.digits_networks import NETWORKS, Digits, moments, network
from fl.instruments.two_sided import TwoSided
from fl.simulate import exponent_meter as simulate
from fl.simulate import exponent_meter_bench as bench
from fl.studies import exponent_meter as study
from fl.theory import exponent_meter as theory

MU, LAM = np.geomspace(1, 0.2, 5), np.geomspace(1, 0.1, 4)


def test_damping_flattens_and_its_limits_are_p_and_zero():
    slopes = [theory.damped_slope(LAM, -1.0, d) for d in (0.0, 0.03, 1.0, 1e9)]
    assert np.isclose(slopes[0], -1) and abs(slopes[-1]) < 1e-8
    assert (np.diff(slopes) > 0).all()


def test_a_gain_that_is_a_power_has_its_exponents():
    gain = 3 * np.outer(MU**-0.3, LAM**0.7)
    assert np.allclose(theory.exponents(MU, LAM, gain), (-0.3, 0.7))


@pytest.mark.parametrize("left", [-0.25, 0.5])
def test_two_factors_of_one_number_are_one_factor(left):
    # L and R are then the same average, and their powers add
    both = theory.two_sided([2.0], [3.0], left, -0.5, 0.9)
    one = theory.two_sided([2.0], [3.0], left - 0.5, 0.0, 0.9)
    np.testing.assert_allclose(both, one, rtol=1e-12)


def test_long_memory_leaves_the_powers_and_both_sides_are_alike():
    assert np.allclose(
        theory.exponents(MU, LAM, theory.two_sided(MU, LAM, -0.25, -0.5, 1.0)),
        (-0.25, -0.5),
    )
    gain = theory.two_sided(MU, LAM, -0.25, -0.5, 0.99)
    turned = theory.two_sided(LAM, MU, -0.5, -0.25, 0.99)
    assert np.allclose(gain, turned.T)
    assert np.allclose(theory.two_sided(MU, LAM, 0, 0, 0.9), 1)


def test_the_effect_of_memory_is_that_of_a_direct_average():
    """The same expectation by drawing factors, to first order in one minus the memory."""
    beta, left = 0.998, -0.5
    rng = np.random.default_rng(0)
    weights = (1 - beta) * beta ** np.arange(4000)
    gains = []
    for _ in range(40):
        Z = rng.standard_normal((4000, 5, 4)) * np.sqrt(np.outer(MU, LAM))
        L = np.einsum("s,sik,sjk->ij", weights, Z, Z)
        root = linalg.inv(linalg.sqrtm(L).real)
        # the present gradient taken out: what is left is the fluctuation alone
        gains.append(np.diag(root) * np.sqrt(MU * LAM.sum()))
    found, error = np.mean(gains, 0) - 1, np.std(gains, 0) / np.sqrt(40)
    own = theory.two_sided(MU, LAM, left, 0.0, beta) / theory.two_sided(
        MU, LAM, left, 0.0, 1.0
    )
    # linear in lambda_k is the present gradient, constant the fluctuation
    constant = [np.polyfit(LAM, row - 1, 1)[1] for row in own]
    assert (abs(found - constant) < 4 * error + 1e-4).all()


@pytest.mark.parametrize("left", [-0.5, 2.0])
@pytest.mark.parametrize("mu", [[1.0, 0.4], [0.6, 0.6]])
def test_memory_enters_by_the_derivatives_of_a_matrix_power(mu, left):
    """The mean over all 2 x 2 gradients, exact by quadrature, of a power that the present
    gradient moves once and the others twice.
    """
    mu, lam, beta, h = np.array(mu), np.array([0.7, 0.2]), 0.97, 1e-4
    nodes, weight = np.polynomial.hermite_e.hermegauss(3)
    draws = np.stack(np.meshgrid(*[nodes] * 4), -1).reshape(-1, 2, 2)
    share = np.prod(np.meshgrid(*[weight / weight.sum()] * 4), 0).ravel()
    size = np.outer(mu, lam)
    Z = draws * np.sqrt(size)
    mean = np.diag(mu * lam.sum())

    def power(t):
        values, U = np.linalg.eigh(mean + t * (Z @ Z.mT - mean))
        return (U * values[:, None] ** left) @ U.mT

    up, middle, down = power(h), power(0), power(-h)
    once = np.einsum("z,zij,zjk,zik->ik", share, (up - down) / (2 * h), Z, Z) / size
    twice = np.einsum("z,zii->i", share, (up + down - 2 * middle) / (2 * h**2))
    moved = once + twice[:, None] / (1 + beta)
    expected = (mu * lam.sum())[:, None] ** left + (1 - beta) * moved
    found = theory.two_sided(mu, lam, left, 0.0, beta)
    assert np.allclose(found, expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: theory.two_sided(MU, LAM, -3, -3, 0.5), "memory = 0.5"),
        (lambda: theory.two_sided(MU, LAM, 0, np.nan, 1), "right = nan"),
        (lambda: theory.damped_slope(LAM, np.nan, 0.1), "p = nan"),
    ],
)
def test_what_the_theory_cannot_say_is_refused_by_name(call, named):
    with pytest.raises(ValueError, match=named):
        call()


def test_turned_by_nothing_is_on_the_axes_and_fully_turned_is_flat():
    eye = np.eye(5), np.eye(4)
    on_axes = theory.exponents(MU, LAM, theory.turned(MU, LAM, *eye))
    assert np.allclose(on_axes, (-0.5, -0.5))
    flat = np.full((4, 4), 0.5)
    gain = theory.turned(MU, LAM, eye[0], flat)
    assert np.allclose(theory.exponents(MU, LAM, gain), (-0.5, 0))


def test_exchanged_factors_are_no_power_and_others_are():
    params = [torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)]
    G = torch.diag(torch.tensor([4.0, 2.0, 1.0], dtype=torch.float64))
    params[0].grad = G.clone()
    optimizer = TwoSided(params, -0.25, -0.25, memory=0.0)
    optimizer.step()
    # one diagonal gradient: both factors are its squares, and the step is its polar factor
    assert torch.allclose(params[0], -1e-6 * torch.eye(3, dtype=torch.float64))


@pytest.mark.parametrize("name", NETWORKS)
def test_moments_are_those_of_all_inputs(name):
    model, digits = network(name, 0), Digits(0)
    found = moments(model, digits.X)
    assert len(found) == 3
    if name == "mlp":
        M = digits.X.T @ digits.X / len(digits.X)
        assert torch.allclose(found["0"], M)
    assert all(torch.linalg.eigvalsh(M)[0] > -1e-12 for M in found.values())


def test_bad_settings_are_refused_by_name():
    for change in ({"network": "rnn"}, {"extra": "both"}, {"p": 9}, {"steps": 0}):
        with pytest.raises(ValueError, match=f"{next(iter(change))} = "):
            simulate.Setting(**change)
    with pytest.raises(ValueError, match="method"):
        bench.benched(0, "nobody")


def test_the_stored_run_has_two_dozen_optimizers_and_begins_like_a_fresh_one():
    run = stored.read("exponent_meter")
    assert run.sizes["name"] == 24 and run.sizes["rotated"] == 2
    fresh = bench.published(0, "torch Adagrad", rotated=False)
    kept = run.sel(name="torch Adagrad", rotated=False, seed=0)
    assert np.allclose(fresh["exponent"], kept["exponent"], atol=1e-6)


def test_another_block_has_other_seeds():
    one, two = (study.clouded("smoke", block)["seed"].item() for block in (0, 1))
    assert one != two
