"""Moments in one pass, and ridge regression judged on folds from them alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fl.moments import Moments, spectral
from fl.moments_folds import HeldOut, shrinkage, tuned

# columns of very different sizes, and a mean that ruins raw sums of squares
SIZES = np.geomspace(1, 1e-2, 6)


def table(n=90, seed=0, mean=0.0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 6)) * SIZES + mean
    return X, (X - mean) @ rng.standard_normal(6) + rng.standard_normal(n) + mean


def moments(X, y):
    return Moments(X.shape[1]).add(X, y)


def arrays(m):
    return [m.n, m.mean, m.C, m.b, m.v]


def same(one, two, rtol=1e-9):
    for a, b in zip(arrays(one), arrays(two), strict=True):
        size = abs(np.asarray(b)).max()
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * size)


def test_they_are_what_numpy_says():
    X, y = table()
    m = moments(X, y)
    np.testing.assert_allclose(m.C, 90 * np.cov(X.T, ddof=0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(m.b, (X - X.mean(0)).T @ (y - y.mean()), rtol=1e-12)
    np.testing.assert_allclose(m.v, 90 * y.var(), rtol=1e-12)


@settings(max_examples=50, deadline=None)
@given(cuts=st.lists(st.integers(1, 89), max_size=6), seed=st.integers(0, 9))
def test_chunks_of_any_size_merge_to_the_whole(cuts, seed):
    X, y = table(seed=seed)
    ends = sorted({0, 90, *cuts})
    parts = [slice(*pair) for pair in zip(ends, ends[1:], strict=False)]
    added, merged = Moments(6), Moments(6)
    for rows in parts:
        added.add(X[rows], y[rows])
        merged = moments(X[rows], y[rows]).merge(merged)
    same(added, moments(X, y))
    same(merged, moments(X, y))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 89), min_size=1, max_size=88, unique=True))
def test_rows_taken_out_leave_the_moments_of_the_others(rows):
    X, y = table()
    rest = np.setdiff1d(np.arange(90), rows)
    same(moments(X, y).without(moments(X[rows], y[rows])), moments(X[rest], y[rest]))


def test_a_large_mean_costs_no_more_than_its_own_digits():
    X, y = table(mean=1e8)
    m = Moments(6)
    for rows in np.array_split(np.arange(90), 7):
        m.add(X[rows], y[rows])
    X, y = X - 1e8, y - 1e8  # exact
    np.testing.assert_allclose(m.C, moments(X, y).C, rtol=1e-6, atol=1e-6)
    raw = ((X + 1e8) ** 2).sum(0) - 90 * (X + 1e8).mean(0) ** 2
    assert (abs(raw / m.C.diagonal() - 1) > 0.1).any(), "raw sums would do as well"


def test_a_constant_column_is_exactly_constant():
    X, y = table()
    X[:, 2] = 0.1 + 0.2
    m = moments(X[:17], y[:17]).merge(moments(X[17:], y[17:]))
    assert (m.C[2] == 0).all()


def test_columns_are_taken_and_divided():
    X, y = table()
    by = np.array([2.0, 5.0])
    same(moments(X, y).take([4, 1], by), moments(X[:, [4, 1]] / by, y))
    same(moments(X, y).take(slice(None)), moments(X, y))


def test_operations_leave_their_arguments_alone():
    X, y = table()
    one, two = moments(X[:40], y[:40]), moments(X[40:], y[40:])
    before = [np.copy(a) for a in [*arrays(one), *arrays(two)]]
    one.merge(two).without(two).take([0]).about(two.take([0]))
    for a, b in zip(before, [*arrays(one), *arrays(two)], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("act", "word"),
    [
        (lambda m: Moments(0), "d = 0"),
        (lambda m: m.add(np.ones((2, 5)), [1, 2]), r"X has shape \(2, 5\)"),
        (lambda m: m.add(np.ones((2, 6)), [1]), r"y has shape \(1,\)"),
        (lambda m: m.add(np.full((2, 6), np.nan), [1, 2]), "NaN or infinite"),
        (lambda m: m.add([[1e200] * 6, [-1e200] * 6], [1, 2]), "too large"),
        (lambda m: m.without(m), "must be fewer than 90"),
        (lambda m: spectral(Moments(3)), "moments.n = 0"),
        (lambda m: m.merge(Moments(3)), "means of the others"),
        (lambda m: m.take([0, 1], by=0.0), "by has smallest entry 0"),
        (lambda m: m.take([0, 1], by=[1.0, np.nan]), "by has 1 entries"),
        (lambda m: HeldOut(m, Moments(6)), "fold.n = 0"),
        (lambda m: tuned(m, [m.take(slice(None))], [0.0]), "must be fewer than 90"),
        (lambda m: tuned(m, [], [0.0]), "folds have 0 rows: must have those of whole"),
    ],
)
def test_bad_arguments_are_refused_by_name(act, word):
    with pytest.raises(ValueError, match=word):
        act(moments(*table()))


# --- the eigenbasis -------------------------------------------------------------------


def test_scores_and_residual_are_those_of_least_squares():
    X, y = table()
    found = spectral(moments(X, y))
    X, y = X - X.mean(0), y - y.mean()
    U, s, _ = np.linalg.svd(X, full_matrices=False)
    np.testing.assert_allclose(found.lam, s**2 / 90, rtol=1e-10)
    np.testing.assert_allclose(found.scores, (U.T @ y) ** 2, rtol=1e-8)
    left = y - X @ np.linalg.lstsq(X, y)[0]
    np.testing.assert_allclose(found.residual, left @ left, rtol=1e-10)
    assert found.dof == 89


def test_more_columns_than_rows_leave_no_residual():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((8, 20)), rng.standard_normal(8)
    found = spectral(moments(X, y))
    assert len(found.lam) == found.dof == 7 and found.residual == 0
    np.testing.assert_allclose(found.scores.sum(), 8 * y.var(), rtol=1e-10)


def test_a_doubled_column_is_no_direction():
    X, y = table()
    assert len(spectral(moments(np.column_stack([X, X[:, 0]]), y)).lam) == 6


def test_scores_do_not_depend_on_order_units_or_origin():
    X, y = table()
    first = spectral(moments(X, y))
    order = np.random.default_rng(1).permutation(6)
    for other in (moments(X[:, order], y), moments(7 * X + 3, y), moments(-X, -y)):
        np.testing.assert_allclose(spectral(other).scores, first.scores, rtol=1e-7)


# --- folds ----------------------------------------------------------------------------


def refitted(X, y, train, test, p, penalty):
    """The same error from rows: ridge regression on P^(1/2) x, solved as equations."""
    mean, label = X[train].mean(0), y[train].mean()
    A, t = X[train] - mean, y[train] - label
    S = A.T @ A / len(t)
    lam, U = np.linalg.eigh(S)
    inverse = (U * lam**-p) @ U.T
    w = np.linalg.solve(S + penalty * inverse, A.T @ t / len(t))
    return ((y[test] - label - (X[test] - mean) @ w) ** 2).mean()


@pytest.mark.parametrize("p", [-1.0, -0.5, 0.0, 1.0])
def test_a_fold_from_moments_is_that_of_refitted_rows(p):
    X, y = table(mean=3.0)
    test = np.arange(90) % 5 == 1
    held = HeldOut(moments(X, y), moments(X[test], y[test]))
    penalties = np.array([1e-6, 1e-3, 1.0])
    expected = [refitted(X, y, ~test, test, p, rho) for rho in penalties]
    np.testing.assert_allclose(held.error(p, penalties), expected, rtol=1e-7)


def test_without_penalty_every_exponent_is_least_squares():
    X, y = table()
    test = np.arange(90) % 5 == 1
    held = HeldOut(moments(X, y), moments(X[test], y[test]))
    errors = [held.error(p, [0.0])[0] for p in (-1, 0, 2)]
    np.testing.assert_allclose(errors, errors[0], rtol=1e-12)


@settings(max_examples=40, deadline=None)
@given(
    lam=st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=5),
    p=st.floats(-6, 6),
    penalty=st.just(0.0) | st.floats(1e-12, 1e6),
)
def test_what_is_kept_of_a_direction_is_a_share(lam, p, penalty):
    s = shrinkage(lam, p, penalty)
    assert s.shape == (len(lam),) and (s >= 0).all() and (s <= 1).all()
    table = shrinkage(lam, np.array([[p], [0.0]]), np.array([[penalty, 1.0]] * 2))
    assert table.shape == (2, 2, len(lam))
    np.testing.assert_allclose(table[0, 0], s, rtol=1e-12)


def test_the_penalty_found_is_the_best_of_a_fine_grid():
    X, y = table()
    parts = [moments(X[k::5], y[k::5]) for k in range(5)]
    whole = moments(X, y)
    exponents = [-1.0, 0.0, 1.0]
    penalties, errors = tuned(whole, parts, exponents)
    assert errors.shape == (3, 5)
    held = [HeldOut(whole, part) for part in parts]
    for p, penalty, error in zip(exponents, penalties, errors, strict=True):
        grid = np.geomspace(1e-12, 1e6, 2000)
        every = np.mean([h.error(p, grid) for h in held], 0)
        assert error.mean() <= every.min() * (1 + 1e-4)
        again = [h.error(p, [penalty])[0] for h in held]
        np.testing.assert_allclose(again, error)


@pytest.mark.parametrize("noise", [1e-6, 1e-3])
def test_labels_that_are_nearly_linear_leave_every_exponent_its_least_squares(noise):
    # the grid's lower end is no penalty: at e^-9 of the least eigenvalue, p = -1 missed
    # thousands of times more than the noise
    X, y = table(n=90)
    y = X @ np.arange(1.0, 7) + noise * y
    parts = [moments(X[k::5], y[k::5]) for k in range(5)]
    exponents = [-1.0, -0.5, 0.0, 1.0]
    _, errors = tuned(moments(X, y), parts, exponents)
    free = [HeldOut(moments(X, y), part).error(0.0, [0.0])[0] for part in parts]
    assert (errors.mean(1) <= 1.001 * np.mean(free)).all()


def test_labels_that_are_linear_leave_no_error_below_zero():
    rng = np.random.default_rng(13)
    X = rng.standard_normal((200, 20))
    X[:, 1:] += X[:, :-1]
    y = X.sum(1)
    parts = [moments(X[k::5], y[k::5]) for k in range(5)]
    _, errors = tuned(moments(X, y), parts, [-1.0, 0.0, 1.0])
    assert (errors >= 0).all() and errors.max() < 1e-12


def test_no_power_is_too_large_for_what_is_kept():
    u = shrinkage([1e-3, 1.0, 10.0], [1e5, -1e5], 1.0)
    np.testing.assert_array_equal(u, [[0, 0.5, 1], [1, 0.5, 0]])
    assert not shrinkage([1e-3, 10.0], -1.0, np.inf).any()


def test_bad_folds_and_penalties_are_refused():
    m = moments(*table())
    held = HeldOut(m, moments(*(a[:9] for a in table())))
    for p, penalties, word in [
        (np.inf, [1.0], "p has 1 entries that are NaN or infinite"),
        (0, [-1.0], r"penalty = \[-1.\]: must be"),
        (0, [], r"penalty = \[\]: must be one or more"),
    ]:
        with pytest.raises(ValueError, match=word):
            held.error(p, penalties)
    with pytest.raises(ValueError, match="must be fewer"):
        HeldOut(m, m)
