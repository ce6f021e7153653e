"""Judging of cells: each in its own errors, noise alone decides as often as it is said."""

import numpy as np
import pytest
import xarray as xr

from fl import judging
from fl.numerics import standard_error

DRAWS = 300


def draws(mean, spread, seeds=12, seed=0):
    """Return draws (cell, seed) with a mean and a spread for each cell."""
    noise = np.random.default_rng(seed).standard_normal((len(mean), seeds))
    values = np.array(mean)[:, None] + np.array(spread)[:, None] * noise
    return xr.DataArray(
        values, dims=["cell", "seed"], coords={"cell": range(len(mean))}
    )


def test_a_quiet_cell_is_not_judged_by_a_loud_one():
    gaps = draws([0.5, 0.0], [0.01, 10.0])
    found = judging.agreement(gaps, 0.0, "none", {})
    assert not found.holds
    assert found.sizes["worst cell"]["cell"] == 0


def test_bias_is_added_to_what_noise_may_do():
    gaps = draws([0.5, 0.0], [0.01, 0.01])
    assert judging.agreement(gaps, 0.5, "half", {}).holds
    assert not judging.agreement(gaps, 0.4, "less", {}).holds


def test_a_control_says_what_its_rival_predicts():
    gaps = draws([0.5, 0.0], [0.1, 0.1])
    rival = xr.DataArray([0.5, 0.0], dims="cell")
    found = judging.agreement(gaps, 0.0, "none", {}, rival)
    assert found.as_expected and not found.holds
    assert not judging.agreement(gaps, 0.0, "none", {}, rival * 3).as_expected


def test_one_wrong_cell_fails_an_order():
    assert judging.order(draws([1.0, 1.0, 1.0], [0.1] * 3), {}).holds
    found = judging.order(draws([1.0, -0.2, 1.0], [0.1] * 3), {})
    assert not found.holds and found.sizes["worst cell"]["cell"] == 1


@pytest.mark.parametrize("cells", [1, 3])
def test_noise_alone_fails_an_agreement_as_often_as_said(cells):
    fails = [
        not judging.agreement(
            draws([0.0] * cells, [1.0] * cells, 5, k), 0.0, "", {}
        ).holds
        for k in range(DRAWS)
    ]
    # binomial: three standard errors of 1 % in so many draws
    assert np.mean(fails) < 0.01 + 3 * np.sqrt(0.01 * 0.99 / DRAWS)


@pytest.mark.parametrize("others", [[], [1e3] * 4, [0.0]], ids=str)
def test_noise_alone_hardly_passes_an_order(others):
    # the worst case is one false cell beside certain ones: nothing is shared out
    leads = [0.0, *others]
    passes = _passes(leads)
    assert np.mean(passes) < 0.01 + 3 * np.sqrt(0.01 * 0.99 / DRAWS)


def test_an_order_uses_its_whole_chance():
    level = 0.01
    rate = np.mean([_passes([0.0, 1e3, 1e3], first=k) for k in range(0, 900, DRAWS)])
    assert abs(rate - level) < 3 * np.sqrt(level * (1 - level) / 900)


def test_a_true_order_is_missed_as_often_as_it_is_said():
    # leads of three standard errors of a mean, in each of four cells
    leads = [3 / np.sqrt(12)] * 4
    missed = 1 - np.mean(_passes(leads, 12))
    exact = xr.DataArray([[3 / np.sqrt(12)] * 12] * 4, dims=["cell", "seed"])
    spread = np.sqrt(11 / 12) * np.resize([1.0, -1.0], 12)  # of variance one
    found = judging.order(exact + spread, {}).sizes["chance to miss such leads"]
    # a sum of chances is a bound on that of their union
    assert missed < found + 3 * np.sqrt(0.25 / DRAWS)
    assert missed > 1 - (1 - found / 4) ** 4 - 3 * np.sqrt(0.25 / DRAWS)


def test_what_a_rival_of_an_order_may_miss_grows_with_the_cells():
    one, four = (judging.order(draws([1.0] * k, [0.1] * k), {}) for k in (1, 4))
    assert 1 < one.within < four.within


def test_a_margin_of_a_rival_is_a_lead():
    leads = draws([1.0], [0.1])
    bare, wide = (judging.order(leads, {}, 0.0, margin) for margin in (0.0, 0.2))
    allowed = bare.sizes["worst cell"]["allowed"]
    assert wide.within - bare.within == pytest.approx(0.2 / allowed)


def test_a_rival_that_is_sampled_counts_with_its_own_error():
    leads, rival = draws([1.0], [0.1]), draws([0.0], [1.0], seed=7)
    still = judging.order(leads, {}, rival.mean("seed"))
    found = judging.order(leads, {}, rival)
    assert found.expected == pytest.approx(still.expected)
    grown = standard_error(leads - rival) / standard_error(leads)
    assert found.within == pytest.approx(still.within * grown.item())


def _passes(leads, seeds=5, first=0):
    cells = [draws(leads, [1.0] * len(leads), seeds, first + k) for k in range(DRAWS)]
    return [judging.order(cell, {}).holds for cell in cells]


def test_too_few_draws_are_refused():
    with pytest.raises(ValueError, match="draws = 1"):
        judging.quantile(1)


def test_where_nothing_varies_a_tie_is_no_order():
    still = draws([0.0, 1.0], [0.0, 0.0])
    assert not judging.order(still, {}).holds
    assert judging.order(still[1:], {}).holds
    assert judging.agreement(still[:1], 0.0, "exact", {}).holds
    assert not judging.agreement(still, 0.0, "exact", {}).holds


def test_the_first_order_of_a_step_size_is_no_gap():
    steps = xr.DataArray([50.0, 100.0], dims="steps", coords={"steps": [50, 100]})
    still = draws([0.0, 0.0], [1e-12, 1e-12])
    euler = still + 3 / steps + 0.5 / steps**2
    found = judging.limit(euler, {}, xr.DataArray([1.0, 1.0], dims="cell"))
    assert found.holds and found.standard_error is None and found.expected > 10
    away = judging.limit(euler + 1.0, {}, xr.DataArray([1.0, 1.0], dims="cell"))
    assert not away.holds and away.as_expected


def test_a_control_may_miss_by_a_share_of_what_its_rival_predicts():
    gaps = draws([0.5, 0.0], [0.01, 0.01])
    rival = xr.DataArray([0.4, 0.0], dims="cell")
    found = judging.agreement(gaps, 0.0, "none", {}, rival)
    wide = judging.roughly(found, 0.3)
    assert not found.as_expected and wide.as_expected
    assert wide.within == pytest.approx(0.3 * found.expected)
    assert wide.measured == found.measured
