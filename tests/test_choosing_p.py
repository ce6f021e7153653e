"""Choosing the exponent: special cases, invariances, limits, two independent routes."""

import numpy as np
import pytest

from fl import stored
from fl.moments import Moments, merged, spectral
from fl.moments_folds import shrinkage
from fl.simulate import choosing_p as simulate
from fl.simulate import choosing_p_draws as draws
from fl.simulate import choosing_p_networks as networks
from fl.simulate import choosing_p_tables as real
from fl.simulate.choosing_p_draws import Design
from fl.studies import choosing_p as study
from fl.theory import choosing_p as theory

LAM = np.geomspace(1, 0.01, 30)


def expected(p, signal=40.0, lam=LAM):
    """Return the expected scores of an exponent under noise of variance 1."""
    logs = np.log(lam)
    return 1 + signal * np.exp((p + 1) * (logs - logs.mean()))


@pytest.mark.parametrize("p", [-1.5, -0.5, 0.0, 0.7])
def test_expected_scores_give_their_exponent_noise_and_penalty(p):
    fit = theory.fit(LAM, 3 * expected(p), 3 * 70.0, 100)
    assert fit.p == pytest.approx(p, abs=0.01) and fit.low < p < fit.high
    assert fit.noise == pytest.approx(3, rel=1e-3)
    mean = theory.geometric_mean(LAM)
    assert fit.penalty == pytest.approx(mean ** (p + 1) / 40, rel=0.05)


def test_the_deviance_is_the_sum_of_logarithms_of_normal_densities():
    rng = np.random.default_rng(0)
    scores, residual, dof = rng.chisquare(1, 30) * expected(0.4), 55.0, 90
    p, delta = np.array([[-1.0], [0.3]]), np.array([0.0, 2.0, 50.0])
    found = theory.deviance(p, delta, LAM, scores, residual, dof)
    for i, j in np.ndindex(2, 3):
        D = 1 + delta[j] * (expected(p[i, 0], 1.0) - 1)
        size = (np.sum(scores / D) + residual) / dof
        total = np.sum(np.log(size * D) + scores / (size * D))
        total += (dof - 30) * np.log(size) + residual / size
        assert found[i, j] == pytest.approx(total - dof)


def test_the_profile_is_below_every_point_of_a_finer_grid():
    rng = np.random.default_rng(1)
    scores = rng.chisquare(1, 30) * expected(0.0, 3.0)
    p = np.linspace(-2, 2, 9)
    lowest, best = theory.profile(p, LAM, scores, 60.0, 100)
    grid = np.geomspace(1e-8, 1e8, 3001)
    fine = theory.deviance(p[:, None], grid, LAM, scores, 60.0, 100).min(1)
    assert (lowest <= fine + 1e-9).all() and np.allclose(lowest, fine, atol=1e-4)
    at = theory.deviance(p, best, LAM, scores, 60.0, 100)
    assert np.allclose(at, lowest, atol=1e-9)


def test_with_as_many_directions_as_contrasts_the_inverse_sees_no_signal_to_noise():
    scores = np.random.default_rng(2).chisquare(1, 30)
    deltas = np.array([0.0, 1.0, 1e4])
    at = theory.deviance(-1.0, deltas, LAM, scores, 0.0, 30)
    other = theory.deviance(-0.5, deltas, LAM, scores, 0.0, 30)
    assert np.ptp(at) < 1e-10 < 1 < np.ptp(other)


def test_units_of_all_inputs_and_of_the_label_do_not_matter_but_scale_the_penalty():
    scores = np.random.default_rng(3).chisquare(1, 30) * expected(0.5)
    one = theory.fit(LAM, scores, 60.0, 100)
    two = theory.fit(49 * LAM, 9 * scores, 540.0, 100)
    for name in ("p", "low", "high", "se", "signal", "resolved"):
        assert getattr(one, name) == pytest.approx(getattr(two, name), abs=1e-8)
    assert two.penalty == pytest.approx(one.penalty * 49 ** (one.p + 1))
    assert two.noise == pytest.approx(9 * one.noise)


def test_nothing_is_told_of_noise_equal_directions_or_two_of_them():
    flat = theory.fit(np.ones(30), expected(0.0), 70.0, 100)
    assert np.isinf(flat.se) and (flat.low, flat.high) == (-2, 2) and not flat.told
    noise = theory.fit(LAM, np.ones(30), 70.0, 100)
    assert noise.signal == pytest.approx(0, abs=1e-6) and not noise.told
    few = theory.fit(LAM[[0, 29]], expected(0.0)[[0, 29]], 98.0, 100)
    assert not few.told
    falling = theory.fit(LAM, expected(0.0, -0.5 / 10), 70.0, 100)
    assert falling.penalty > 0


def test_the_error_is_that_of_two_resolved_directions_and_of_the_whole_information():
    two = theory.standard_error(np.array([10.0, 1.0]), np.ones(2), 10_000)
    assert two == pytest.approx(2 / np.log(10), rel=1e-3)
    u, dof = shrinkage(LAM, 0.3, 0.05), 47
    logs = np.log(LAM)
    G = np.zeros((dof, 3))
    G[:, 0] = 1
    G[:30, 1:] = np.transpose([u, u * logs])
    inverse = np.linalg.inv(G.T @ G / 2)
    assert theory.standard_error(LAM, u, dof) == pytest.approx(inverse[2, 2] ** 0.5)


def test_the_error_is_the_scatter_of_the_estimate_also_without_residual():
    lam = 1 / np.arange(1.0, 201)
    t = lam**1.5
    variance = 1 + 200 * 4 * t / t.sum()
    rng = np.random.default_rng(4)
    found = [
        theory.fit(lam, variance * rng.chisquare(1, 200), 0.0, 200, study.EXPONENTS).p
        for _ in range(80)
    ]
    error = theory.standard_error(lam, 1 - 1 / variance, 200)
    assert 0.75 < np.std(found) / error < 1.35


def test_bad_input_is_refused_by_name():
    good = (LAM, np.ones(30), 1.0, 100)
    for i, name, bad in [
        (0, "lam", -LAM),
        (1, "scores", -np.ones(30)),
        (1, "scores", np.ones(4)),
        (2, "residual", -1.0),
        (3, "dof", 29),
    ]:
        changed = [*good[:i], bad, *good[i + 1 :]]
        with pytest.raises(ValueError, match=name):
            theory.fit(*changed)
    with pytest.raises(ValueError, match="exponents"):
        theory.fit(*good, exponents=[0.0, -1.0, 1.0])
    with pytest.raises(ValueError, match="variance"):
        theory.fit(LAM, np.zeros(30), 0.0, 100)
    with pytest.raises(ValueError, match="residual = 0 with dof 100 > 30"):
        theory.fit(LAM, np.ones(30), 0.0, 100)
    with pytest.raises(ValueError, match="penalty"):
        shrinkage(LAM, 0.0, -1.0)
    with pytest.raises(ValueError, match="p has 1 entries that are NaN"):
        shrinkage(LAM, np.nan, 1.0)
    with pytest.raises(ValueError, match="delta"):
        theory.deviance(0.0, -1.0, *good)


def test_penalties_reach_from_all_to_nothing():
    for p, row in zip(simulate.EXPONENTS, simulate.penalties(LAM), strict=True):
        kept = LAM[:, None] ** (p + 1) / (LAM[:, None] ** (p + 1) + row)
        assert kept[:, 0].min() > 0.999 and kept[:, -1].max() < 0.001


def test_tables_are_those_of_the_library():
    X, y = real.table("wine, alcohol")
    assert X.shape == (178, 12) and 11 < y.min() < 15
    X, y = real.table("digits, 3")
    assert X.shape == (1797, 64) and set(y) == {0, 1} and y.sum() == 183
    X, y = real.table("linnerud, weight")
    assert X.shape == (20, 3) and y.shape == (20,)
    with pytest.raises(ValueError, match="name"):
        real.table("boston")


def test_a_table_of_another_package_says_which_one_is_missing(monkeypatch):
    def absent(name):
        raise ImportError(name)

    monkeypatch.setitem(real.READERS, "ISLP", absent)
    with pytest.raises(ModuleNotFoundError, match=r"'Credit, balance' needs .* ISLP"):
        real.table("Credit, balance")


def test_gaps_categories_and_logarithms_of_a_table(monkeypatch):
    import pandas as pd

    frame = pd.DataFrame(
        {
            "kind": pd.Categorical(["a", "b", "c", "a"]),
            "x": [1.0, 2.0, 3.0, np.nan],
            "y": [1.0, np.e, np.e**2, 5.0],
            "again": [2.0, 4.0, 6.0, 8.0],
        }
    )
    monkeypatch.setitem(real.READERS, "ISLP", lambda name: frame)
    known = real.Known("ISLP", "drawn", "y", without=("again",), log=True)
    monkeypatch.setitem(real.TABLES, "drawn", known)
    X, y = real.table("drawn")
    np.testing.assert_array_equal(X, [[1, 0, 0], [2, 1, 0], [3, 0, 1]])
    np.testing.assert_allclose(y, [0, 1, 2], atol=1e-15)


def test_columns_beyond_the_rows_are_rotated_and_rows_are_capped(monkeypatch):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((40, 90)), rng.standard_normal(40)
    monkeypatch.setattr(real, "table", lambda name: (X, y))
    seen, run = real.half(0, "wine, class 0", "raw")
    rows = np.random.default_rng([0, real.SPLIT]).permutation(40)
    train, test = rows[:20], rows[20:]
    Z = X[train] - X[train].mean(0)
    lam, U = np.linalg.eigh(Z.T @ Z / 20)
    np.testing.assert_allclose(seen.lam, lam[:-20:-1], rtol=1e-9)
    p, penalty = 0.5, float(run.grid.sel(p=0.5)[16])
    kept = lam[-19:] ** (p + 1) / (lam[-19:] ** (p + 1) + penalty)
    w = U[:, -19:] @ (kept / lam[-19:] * (U[:, -19:].T @ Z.T @ y[train] / 20))
    missed = y[test] - y[train].mean() - (X[test] - X[train].mean(0)) @ w
    risk = np.mean(missed**2) / y[test].var()
    assert float(run.risk.sel(p=0.5)[16]) == pytest.approx(risk, rel=1e-9)
    monkeypatch.setattr(real, "MOST", 15)
    assert real.half(0, "wine, class 0", "raw")[0].dof == 14


def test_the_risk_on_the_other_half_is_that_of_a_library():
    from sklearn.linear_model import Ridge

    _, run = real.half(3, "diabetes")
    k = int(abs(run.p).argmin("p"))
    penalty = run.grid.values[k, 15]
    X, y = real.table("diabetes")
    rows = np.random.default_rng([3, real.SPLIT]).permutation(len(y))
    train, test = rows[:221], rows[221:]
    X = X / X[train].std(0)
    model = Ridge(alpha=221 * penalty).fit(X[train], y[train])
    error = np.mean((model.predict(X[test]) - y[test]) ** 2) / y[test].var()
    assert run.risk.values[k, 15] == pytest.approx(error, rel=1e-8)


@pytest.mark.parametrize("teacher", draws.TEACHERS)
def test_teachers_have_the_size_and_the_best_fit_that_they_say(teacher):
    design = Design(teacher, n=40_000, d=10, snr=2.0)
    X, y, best = draws.sample(0, design)
    assert y.var() == pytest.approx(5, rel=0.25)
    found = np.linalg.lstsq(X - X.mean(0), y - y.mean())[0]
    error = np.sqrt(y.var() / len(y) * np.arange(1, 11))
    assert (abs(found - best) < 5 * error).all()


@pytest.mark.parametrize("noise", draws.NOISES)
def test_noise_has_variance_one(noise):
    design = Design(n=20_000, d=3, snr=0.0, noise=noise)
    assert draws.sample(0, design)[1].var() == pytest.approx(1, rel=0.15)


def test_designs_refuse_by_name():
    for change in ({"teacher": "me"}, {"noise": "none"}, {"n": 2}, {"snr": -1.0}):
        with pytest.raises(ValueError, match=f"{next(iter(change))} = "):
            Design(**change)


def test_the_choosers_choose_what_they_say():
    spectrum, one = draws.risks(0, Design(n=60, d=8))
    found = study.choosers(spectrum, one)
    risk = found["risk"]
    assert risk.sel(chooser="oracle") == one["risk"].min()
    best = one["cv"].argmin(...)
    assert risk.sel(chooser="CV") == one["risk"][best]
    assert found["cv_p"] == one["p"][best["p"]]
    zero = one.sel(p=0.0)
    assert risk.sel(chooser="0") == zero["risk"][zero["cv"].argmin("penalty")]
    assert (risk >= risk.sel(chooser="oracle")).all()


def test_moments_of_a_table_ask_the_same_as_its_statistics():
    X, y, _ = draws.sample(1, Design(n=50, d=6))
    whole = spectral(Moments(6).add(X, y)).statistics
    folds = spectral(merged(simulate.gathered(X, y))).statistics
    for one, other in zip(whole, folds, strict=True):
        np.testing.assert_allclose(one, other)


def test_networks_learn_and_a_run_that_diverges_is_not_the_best():
    _, run = networks.trained(0, "0 1", 0.0, steps=60, etas=(0.1, 1e6))
    assert (run["eta"] == 0.1).all() and (run["error"] < 0.5).all()


def test_the_stored_runs_begin_like_fresh_ones():
    kept = stored.read("choosing_p")
    assert kept.sizes["name"] == len(real.TABLES) and kept.sizes["seed"] == 24
    fresh = study.choosers(*real.half(0, "iris, petal width", "raw"))
    old = kept.sel(name="iris, petal width", units="raw", seed=0)
    assert np.allclose(fresh["risk"], old["risk"], rtol=1e-4)
    kept = stored.read("choosing_p_networks")
    assert kept.sizes["pair"] == len(study.PAIRS) and set(kept["p"].values) == set(
        networks.EXPONENTS
    )


def test_another_block_has_other_tables():
    a, b = (study.halves("smoke", block, ["linnerud, weight"]) for block in (0, 1))
    assert not set(a["seed"].values) & set(b["seed"].values)


def test_an_interval_narrower_than_the_grid_is_that_of_a_finer_one():
    lam = np.exp(-np.linspace(0, 12, 1500))
    scores = 1 + 1e7 * lam**1.53 / (lam**1.53).sum()
    given = lam, scores, 1e7, 10**7 + 1500
    coarse = theory.fit(*given)
    near = np.linspace(coarse.p - 0.3, coarse.p + 0.3, 301)
    fine = theory.fit(*given, near)
    assert coarse.se < 0.025
    np.testing.assert_allclose(
        coarse.high - coarse.low, fine.high - fine.low, rtol=0.01
    )
