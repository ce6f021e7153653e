"""Derived multipliers against direct computations, and the bench that measures them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray as xr

from fl import optimizers
from fl.simulate import effective_exponent as bench
from fl.simulate import effective_exponent_images as images
from fl.simulate.effective_exponent import Setting
from fl.studies import effective_exponent as study
from fl.theory import effective_exponent as theory
from fl.theory.effective_exponent_bench import exponents, multiplier

LAM = np.array([10.0, 3.0, 1.0, 0.1])
S = np.diag(bench.EIGENVALUES)


def stand_in(sizes):
    """Return a sweep that trains nothing and gives back its seeds."""

    def sweep(function, seeds, **fixed):
        sizes.append(fixed)
        return xr.Dataset({"p_gain": ("seed", np.ones(len(seeds)))}, {"seed": seeds})

    return sweep


def local(function, lam=1.0, step=1e-4):
    """Return the slope of a multiplier at one eigenvalue."""
    return theory.slope(
        [lam * (1 + step), lam], function(np.array([lam * (1 + step), lam]))
    )


# --- theory ---------------------------------------------------------------------------


@pytest.mark.parametrize("p", [-1.0, -0.5, 0.0, 2.0])
def test_slope_of_a_power_is_its_exponent_whatever_the_factor(p):
    assert theory.slope(LAM, 7.3 * LAM**p) == pytest.approx(p, abs=1e-12)


def test_second_moment_of_sampled_gradients():
    rng = np.random.default_rng(0)
    signal, noise, B, draws = 0.7, 4.0, 8, 40_000
    x = rng.standard_normal((draws, B, 4)) * np.sqrt(LAM)
    labels = np.sqrt(noise) * rng.standard_normal((draws, B))
    residual = signal * x @ np.array([1, -1, 1, 1]) - labels
    square = np.einsum("nb,nbk->nk", residual, x) / B
    assert np.allclose(
        (square**2).mean(0), theory.second_moment(LAM, signal, noise, B), rtol=0.04
    )
    assert np.allclose(theory.second_moment(LAM, signal, noise), (LAM * signal) ** 2)


def test_hutchinson_square_of_sampled_estimates_in_any_basis():
    rng = np.random.default_rng(1)
    U = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    S, B, draws = U @ np.diag(LAM) @ U.T, 5, 40_000
    x = rng.standard_normal((draws, B, 4)) * np.sqrt(LAM) @ U.T
    z = rng.choice([-1.0, 1.0], (draws, 4))
    estimate = z * np.einsum("nbk,nb->nk", x, np.einsum("nbk,nk->nb", x, z)) / B
    assert np.allclose(estimate.mean(0), np.diag(S), rtol=0.05)
    assert np.allclose((estimate**2).mean(0), theory.hutchinson_square(S, B), rtol=0.05)
    assert np.allclose(theory.hutchinson_square(np.diag(LAM)), LAM**2), (
        "the population's diagonal is exact"
    )


def test_limits_of_the_multipliers():
    small, large = 1e-6, 1e6
    assert local(lambda x: theory.damped(x, small)) == pytest.approx(-1, abs=1e-4)
    assert local(lambda x: theory.damped(x, large)) == pytest.approx(0, abs=1e-4)
    assert local(lambda x: theory.damped(x, 3.0, 3.0)) == pytest.approx(-0.5, abs=1e-4)
    assert local(lambda x: theory.ascent(x, 1.0, large)) == pytest.approx(0, abs=1e-4)
    assert local(lambda x: theory.ascent(x, 1.0, 1.0)) == pytest.approx(0.5, abs=1e-4)
    assert local(lambda x: theory.ascent(x, 1.0, small)) == pytest.approx(1, abs=1e-4)
    assert local(lambda x: theory.clipped(x, large, x**0.5)) == pytest.approx(
        -1, abs=1e-4
    )
    assert local(lambda x: theory.clipped(x, small, x**0.5)) == pytest.approx(
        -0.5, abs=1e-4
    )
    assert local(
        lambda x: theory.normalised(theory.second_moment(x, 1.0, 0.0))
    ) == pytest.approx(-1, abs=1e-4)
    assert local(
        lambda x: theory.normalised(theory.second_moment(x, 0.0, 1.0, 9))
    ) == pytest.approx(-0.5, abs=1e-4)


def test_clipped_is_the_regression_of_the_clipped_average():
    m = np.random.default_rng(2).standard_normal((400_000, 4)) * 0.3 * np.sqrt(LAM)
    found = (np.clip(m / LAM, -0.2, 0.2) * m).mean(0) / (m**2).mean(0)
    assert np.allclose(found, theory.clipped(LAM, 0.2, 0.3 * np.sqrt(LAM)), rtol=0.02)


def test_averaged_is_the_regression_of_the_averaged_gradient():
    rng, beta, L = np.random.default_rng(3), 0.8, 20
    g = rng.standard_normal((20_000, 200)) + 0.15
    mean = np.zeros(len(g))
    moved, seen = np.zeros(len(g)), np.zeros(len(g))
    for t in range(200):
        mean = beta * mean + (1 - beta) * g[:, t]
        if t >= 200 - L:
            moved, seen = moved + mean, seen + g[:, t]
    # one direction with eigenvalue 1 and moments as drawn: signal 0.15, and a variance
    # of 1 without sampling terms
    share, whole = 1 / 1e9, 0.15**2
    noise = 1e9 * (1 - share * 2 * whole)
    expected = theory.averaged([1.0], 0.15, noise, int(1e9), beta, L)[0]
    assert (moved * seen).mean() / (seen**2).mean() == pytest.approx(expected, rel=0.02)
    assert theory.averaged(LAM, 1.0, 0.0, 10**9, 0.9, 50) == pytest.approx(
        1, abs=1e-6
    ), "the signal passes whole"


@pytest.mark.parametrize("h", [32, 128])
def test_polar_factor_of_sampled_noise(h):
    rng, total = np.random.default_rng(4), 0
    for _ in range(400):
        G = rng.standard_normal((h, 4)) * np.sqrt(LAM)
        U, _, Vt = np.linalg.svd(G, full_matrices=False)
        total = total + np.sum(U @ Vt * G, 0)
    found = total / 400 / (np.sqrt(h) * LAM)
    assert np.allclose(found, theory.polar(LAM, 1 / h), rtol=0.01 + 20 / h**2)
    assert np.allclose(theory.polar(LAM), LAM**-0.5)


def test_newton_schulz_is_the_published_iteration():
    G = torch.diag(torch.as_tensor(np.sqrt(LAM)))
    published = torch.optim._muon._zeropower_via_newtonschulz(G, theory.MUON, 5, 1e-7)
    found = published.double().diagonal().numpy() / np.sqrt(LAM)
    ours = theory.newton_schulz(LAM)
    assert np.allclose(found / found[0], ours / ours[0], rtol=0.03), (
        "bfloat16 has two digits"
    )


def test_two_sided_counts_every_age():
    momentum, age = 0.999, np.arange(40_000)
    weight = 0.05 * 0.95**age
    inner = 1 - weight + np.outer(8 * LAM / LAM.sum(), weight)
    expected = LAM**-0.25 * (inner**-0.25 @ ((1 - momentum) * momentum**age))
    assert np.allclose(theory.two_sided(LAM, 8, 0.95, momentum), expected, rtol=1e-9)


def test_two_sided_limits():
    assert theory.slope(LAM, theory.two_sided(LAM, 8, 0.9999, 0.0)) == pytest.approx(
        -0.25, abs=1e-3
    )
    assert theory.slope(LAM, theory.two_sided(LAM, 8, 0.0, 0.0)) == pytest.approx(
        -0.5, abs=1e-3
    )


def test_matrix_gain_of_aligned_and_of_turned_factors():
    C = np.diag(LAM)
    assert np.allclose(theory.matrix_gain(C, C, lambda v: v**-0.5), LAM**-0.5)
    assert np.allclose(theory.matrix_gain(C + 1.0, C, np.ones_like), 1)
    b = np.ones((4, 1))
    X = np.linalg.inv(C + b @ b.T)
    assert np.allclose(
        theory.matrix_gain(C + b @ b.T, C, lambda v: 1 / v), np.diag(X @ C) / LAM
    )


def test_turned_by_nothing_and_by_everything():
    D = LAM**-0.5
    assert np.allclose(theory.turned(D, np.eye(4)), D)
    hadamard = (
        np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2
    )
    assert np.allclose(theory.turned(D, hadamard), D.mean()), (
        "equal weights level all multipliers"
    )


# --- bench ----------------------------------------------------------------------------


def test_gradients_have_the_law_they_are_given():
    setting = Setting(signal=1.0, noise=0.0, batch=np.inf, spread=4.0, rotated=True)
    b = bench.Bench(0, setting)
    b.loss().backward()
    S = b.spectrum.power(1)
    assert np.allclose(b.X.T @ b.X / len(b.X), S), (
        "the population has exactly the covariance"
    )
    assert np.allclose(
        b.first.grad, -(b.readout[:, None] ** 2) * torch.as_tensor(b.errors @ S)
    )
    along = np.abs(b.errors @ b.spectrum.rotation)
    assert np.allclose(along, 1), (
        "errors are equal along the eigenvectors, not along the axes"
    )
    low = bench.Bench(0, Setting(signal=1.0, rank_one=True))
    assert np.linalg.matrix_rank(low.errors) == 1


def test_noise_gradients_have_the_covariance_of_the_inputs():
    b, total = bench.Bench(1, Setting(noise=4.0, batch=16)), 0
    for _ in range(300):
        b.redraw()
        (g,) = torch.autograd.grad(b.loss(), b.first)
        total = total + (g.T @ g).detach().numpy()
    expected = 4.0 * S / 16 * b.setting.width
    size = np.sqrt(np.outer(expected.diagonal(), expected.diagonal()))
    assert np.abs(total / 300 - expected).max() < 0.05 * size.max()


@pytest.mark.parametrize(
    "name", [name for name in bench.NAMES if name not in ("K-FAC", bench.NATURAL)]
)
def test_weights_stand_still(name):
    b = bench.Bench(0, Setting())
    hyper = {"covariance": S} if name == "exact" else {}
    optimizers.minimise(name, b.model, b.loss, 3, lr=bench.ETA, **hyper)
    assert b.first.detach().abs().max() < 1e-5


@pytest.mark.parametrize("p", [-1.0, -0.5, 0.5, 1.0])
def test_exact_powers_are_measured_exactly(p):
    for rotated in (False, True):
        setting = Setting(rotated=rotated)
        run = bench.measure(0, "exact", setting, {"p": p}, steps=20, window=5)
        assert (
            abs(run.p_ratio - p) < 1e-4
            and abs(run.p_gain - p) < 1e-4
            and run.kappa > 1 - 1e-6
        )


def test_whole_population_sees_the_derived_multiplier_of_every_neuron_and_direction():
    cases = [c for n in ("Adam", "AdaHessian", "SAM") for c in study.CASES[n]]
    whole = [case for case in cases if case.setting.batch == np.inf]
    assert len(whole) == 5
    for case in whole:
        run = bench.measure(3, case.optimizer, case.setting, case.hyper, case.steps)
        line = multiplier(bench.EIGENVALUES, case)
        expected = line / np.exp(np.log(line).mean())
        assert np.allclose(run["gain"], expected, rtol=1e-3), case


def test_powers_of_adahessian():
    for p in (-1.0, -0.5, 0.5, 1.0):
        hyper = {"p": p}
        run = bench.measure(0, "power-AdaHessian", study.WHOLE, hyper, steps=100)
        floor = (bench.EIGENVALUES / bench.EIGENVALUES.mean() + 1e-3) ** p
        assert float(run.p_gain) == pytest.approx(
            theory.slope(bench.EIGENVALUES, floor), abs=1e-4
        )


def test_momentum_and_weight_decay_change_no_exponent():
    for name, like in [("momentum", "GD"), ("AdamW", "Adam")]:
        runs = [
            bench.measure(0, n, study.WHOLE, steps=100)["p_gain"] for n in (name, like)
        ]
        assert float(runs[0]) == pytest.approx(float(runs[1]), abs=1e-4)


def test_soap_moves_nothing_in_its_first_step():
    b = bench.Bench(0, Setting())
    optimizers.minimise("SOAP", b.model, b.loss, 1)
    assert not b.first.detach().any()
    optimizers.minimise("SOAP", b.model, b.loss, 2)
    assert b.first.detach().any()


def test_shampoo_of_one_gradient_is_its_polar_factor():
    b = bench.Bench(0, Setting())
    (G,) = torch.autograd.grad(b.loss(), b.first)
    optimizers.minimise(
        "Shampoo",
        b.model,
        b.loss,
        1,
        lr=1.0,
        memory=0.0,
        momentum=0.0,
        every=1,
        floor=1e-14,
    )
    U, _, Vt = torch.linalg.svd(G, full_matrices=False)
    assert torch.allclose(b.first.detach(), -U @ Vt, atol=1e-3)


def test_along_sees_the_gradient_fall():
    run = bench.along(0, steps=61, every=20)
    assert (np.diff(run["size"]) < 0).all() and (np.diff(run["p_gain"]) > 0).all()
    assert np.allclose(bench.along(0, rho=0.0, steps=31)["p_gain"], 0, atol=1e-6)


def test_course_reads_windows_of_one_run():
    run = images.course(0, "exact +0.5", 20, windows=(1, 5), every=10)
    assert run.p_gain.dims == ("epoch", "window")
    assert run.epoch.values.tolist() == [10, 20]
    assert np.allclose(run.p_gain, 0.5, atol=0.01) and run.loss[1] < run.loss[0]


# --- studies --------------------------------------------------------------------------


def test_every_case_has_a_multiplier_and_a_regime_of_its_own():
    for name, cases in study.CASES.items():
        assert {case.optimizer for case in cases} == {name}
        assert len({case.label for case in cases}) == len(cases)
        for case in cases:
            found = multiplier(bench.EIGENVALUES, case, np.eye(8))
            assert (found > 0).all(), case
            assert case.steps % study.WINDOW == 0


def test_a_control_is_never_the_case_it_stands_in_for():
    for name, control in study.CONTROLS.items():
        assert control != study.CASES[name][0]
        derived = exponents(bench.EIGENVALUES, study.CASES[name][0], [np.eye(8)])
        if control.optimizer == name and not control.setting.rotated:
            other = exponents(bench.EIGENVALUES, control, [np.eye(8)])
            assert abs(derived - other) > 0.2, name


def test_multipliers_of_diagonal_methods_follow_the_axes():
    adam, turned = study.CASES["Adam"][0], study.CASES["Adam"][3]
    U = np.linalg.qr(np.random.default_rng(0).standard_normal((8, 8)))[0]
    lam = bench.EIGENVALUES
    expected = U.T**2 @ np.diag((U * lam) @ U.T) ** -0.5
    found = multiplier(lam, turned, U)
    assert np.allclose(found / found[0], expected / expected[0])
    assert np.allclose(multiplier(lam, adam, U), multiplier(lam, adam))


def test_one_gradient_of_shampoo_is_smoothed_by_few_neurons_or_few_samples():
    def found(width, batch):
        setting = dict(signal=0.0, noise=1.0, batch=batch, width=width, rotated=False)
        hyper = {"memory": 0.0, "momentum": 0.0}
        case = SimpleNamespace(
            optimizer="Shampoo", hyper=hyper, setting=SimpleNamespace(**setting)
        )
        return multiplier(LAM, case)

    assert np.allclose(found(16, 48), found(48, 16))
    assert np.allclose(found(16, 48), found(12, np.inf))


def test_runs_of_the_bench_say_their_sizes_and_blocks_share_no_seed(monkeypatch):
    given = []
    monkeypatch.setattr(study, "sweep", stand_in(given))
    case = study.CASES["K-FAC"][0]
    for scale, number in [("smoke", 3), ("book", 8), ("paper", 24)]:
        run, other = (study.measured(scale, block, case) for block in (0, 1))
        assert run.attrs["seeds"].tolist() == list(range(number))
        assert not set(run.seed.values) & set(other.seed.values)
        assert run.attrs["setting"]["batch"] == 256 and run.attrs["steps"] == 200
        assert not set(study.sam(scale).seed.values) & set(
            study.sam(scale, 1).seed.values
        )
    assert given[0]["hyper"] == {"damping": 1e-6}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bench.measure(0, "L-BFGS"), "optimizer = 'L-BFGS': must be one of GD"),
        (
            lambda: bench.measure(0, "GD", steps=30, window=20),
            "steps = 30: must be a multiple of window = 20",
        ),
        (lambda: Setting(noise=-1.0), "noise = -1.0"),
        (lambda: Setting(batch=0), "batch = 0: must be an integer >= 1"),
        (lambda: Setting(spread=0.5), "spread = 0.5"),
        (
            lambda: bench.measure(0, "GD", hyper={"rho": 1.0}),
            "hyper-parameter of GD = 'rho'",
        ),
        (
            lambda: multiplier(LAM, study.Case("Lion", "")),
            "optimizer = 'Lion': must be",
        ),
        (lambda: multiplier(LAM, study.CASES["Adam"][3]), "U = None: must be"),
        (lambda: bench.along(0, rho=-1.0), "rho of SAM = -1.0"),
        (lambda: images.course(0, "Lion", 20), "optimizer = 'Lion': must be one of"),
        (
            lambda: images.course(0, "GD", 30),
            "epochs = 30: must be a multiple of every = 20",
        ),
        (
            lambda: theory.slope([1.0, 1.0], [1.0, 2.0]),
            "must hold two different eigenvalues",
        ),
        (  # the mean of their logarithms is one rounding off
            lambda: theory.slope([3.98212018] * 3, [1.0, 2.0, 3.0]),
            "must hold two different eigenvalues",
        ),
        (
            lambda: theory.slope([1.0, 2.0], [1.0, -2.0]),
            "multiplier has smallest entry -2",
        ),
        (lambda: theory.second_moment(LAM, 1.0, 1.0, 0), "batch = 0"),
        (lambda: theory.damped(LAM, -1.0), "damping = -1.0"),
        (lambda: theory.clipped(LAM, 0.0, LAM), "clip = 0.0"),
        (lambda: theory.ascent(LAM, 1.0, 0.0), "size = 0.0"),
        (lambda: theory.polar(LAM, 2.0), "fluctuation = 2.0"),
        (lambda: theory.averaged(LAM, 1.0, 1.0, 8, 1.5, 10), "memory = 1.5"),
        (lambda: theory.averaged(LAM, 1.0, 1.0, 8, 1.0, 10), "memory = 1.0: .* < 1"),
        (lambda: theory.two_sided(LAM, 8, 1.0, 0.9), "memory = 1.0: .* < 1"),
        (lambda: theory.two_sided(LAM, 8, 0.9, 1.0), "momentum = 1.0: .* < 1"),
        (lambda: theory.polar(np.ones(100), 0.1), "fluctuation = 0.1: must be at most"),
        (lambda: theory.matrix_gain(np.eye(2), np.diag([1.0, 0.0]), np.sqrt), "seen"),
        (lambda: theory.matrix_gain(np.zeros((2, 2)), np.eye(2), np.log), "gram"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
