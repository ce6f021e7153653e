"""The protocol of the label-noise experiment."""

import numpy as np
import pytest
import xarray as xr

from fl.simulate import alignment, noise
from fl.studies import noise as study


@pytest.mark.parametrize("case", ["high", "low"])
def test_rows_follow_the_protocol(case):
    task, (X, y, clean) = noise.sample(3, case, 2.0)
    assert X.shape == (10, 10_000) and y.shape == clean.shape == (10_000,)
    train = y[: noise.TRAIN]
    assert abs(train.mean()) < 1e-12 and np.isclose(train.std(ddof=1), 1)
    assert np.isclose(clean.std() / (y - clean).std(), 2.0, rtol=0.05), (
        "SNR is a ratio of standard deviations"
    )
    variances = task.spectrum.eigenvalues
    assert sorted(variances.tolist()) == (
        [0.1] * 9 + [10] if case == "high" else [0.1] + [10] * 9
    )
    seen = np.flatnonzero(task.teacher.directions[0])
    assert len(seen) == 1 and variances[seen[0]] == (10 if case == "high" else 0.1)


def test_seeds_share_inputs_across_noise_levels_and_permutation_spares_the_test_rows():
    _, quiet = noise.sample(0, "low", 5.0)
    _, loud = noise.sample(0, "low", 0.5)
    assert np.array_equal(quiet.X, loud.X)
    _, shuffled = noise.sample(0, "low", 5.0, permuted=True)
    assert np.allclose(shuffled.y[noise.TRAIN :], quiet.y[noise.TRAIN :])
    assert np.allclose(
        np.sort(shuffled.y[: noise.TRAIN]), np.sort(quiet.y[: noise.TRAIN])
    )
    assert not np.allclose(shuffled.y[: noise.TRAIN], quiet.y[: noise.TRAIN])


@pytest.mark.parametrize("case", ["high", "low"])
def test_cases_are_those_of_the_alignment_chapter(case):
    ours, theirs = (
        noise.task(case, 2.0, [1.0]),
        alignment.extreme_task(case, 2.0),
    )
    assert np.array_equal(ours.spectrum.eigenvalues, theirs.spectrum.eigenvalues)
    assert np.array_equal(ours.teacher.directions, theirs.teacher.directions)
    assert ours.teacher.link is theirs.teacher.link and ours.snr == theirs.snr


def test_two_directions():
    for teacher, expected in [("two", [10, 10]), ("opposite", [10, 0.1])]:
        task, _ = noise.sample(0, "high", 1.0, teacher)
        assert [
            task.spectrum.eigenvalues[np.flatnonzero(row)[0]]
            for row in task.teacher.directions
        ] == expected


def run(seed=0, case="high", snr=1.0, exponents=(-1.0, 1.0), **changes):
    setting = noise.Setting(exponents=exponents, **changes)
    return noise.trajectories(seed, case, snr, setting)


def test_a_short_run_records_the_beginning_of_a_long_one():
    assert noise.recorded(3).tolist() == [1, 2, 3]
    assert set(noise.recorded(1000)[:-1]) <= set(noise.recorded(noise.LONGEST))
    short, longer, last = (run(steps=20), run(steps=40), run(steps=40, last_only=True))
    common = np.intersect1d(short.step, longer.step)
    xr.testing.assert_equal(short.sel(step=common), longer.sel(step=common))
    xr.testing.assert_equal(last, longer.isel(step=[-1]))
    assert run(steps=20, rotated=True).noisy.notnull().all()


def test_exact_powers_do_not_care_about_the_basis_but_the_diagonal_does():
    """Rotated inputs meet a Kaiming start that is not rotated: equal up to that start,
    which training forgets.
    """
    at = {"case": "high", "snr": 5.0, "seed": 1, "steps": 600, "dtype": "float64"}
    plain, turned = (
        run(**at, exponents=[1.0], rotated=r)["noisy"][0, -1] for r in (False, True)
    )
    assert abs(np.log(plain / turned)) < 0.1
    at |= {"exponents": [-2.0], "optimizer": "adahessian"}
    plain, turned = (run(**at, rotated=r)["clean"][0, -1] for r in (False, True))
    assert np.log(plain / turned) > 1


def test_read_outs():
    data = xr.Dataset(
        {
            "train": (("p", "step"), [[0.9, 0.5, 0.1], [0.9, 0.7, 0.4]]),
            "noisy": (("p", "step"), [[0.8, 0.6, 0.7], [0.9, 0.8, 0.75]]),
            "clean": (("p", "step"), [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]),
        },
        coords={"p": [0, 1], "step": [1, 2, 3]},
    )
    assert study.at_best(data)["clean"].values.tolist() == [2, 6]
    # both reach 0.4; the first exponent passes it at its third recorded step
    assert study.at_equal_train_error(data)["clean"].values.tolist() == [3, 6]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"case": "middle"}, "case = 'middle': must be one of high, low"),
        ({"snr": 0.0}, "snr"),
        ({"teacher": "three"}, "teacher = 'three'"),
        ({"optimizer": "adam"}, "optimizer = 'adam': must be one of exact, adahessian"),
        ({"init": "zero"}, "init"),
        ({"steps": 0}, "steps"),
        ({"batch": 7}, "must divide"),
        ({"exponents": [np.inf]}, "p = inf"),
    ],
)
def test_bad_settings_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        run(**{"steps": 5} | change)


# --- study ----------------------------------------------------------------------------


@pytest.fixture
def asked(monkeypatch):
    """Sweeps that a study asks for, none of which is run."""
    calls = []

    def sweep(function, grid, seeds, setting):
        calls.append((grid, list(seeds), setting))
        errors = np.ones((len(setting.exponents), len(noise.recorded(setting.steps))))
        dims = ("p", "step")
        steps = noise.recorded(setting.steps)
        unit = xr.Dataset(
            {name: (dims, errors) for name in study.ERRORS},
            {"p": list(setting.exponents), "step": steps},
        )
        return unit.expand_dims({k: list(v) for k, v in grid.items()} | {"seed": seeds})

    monkeypatch.setattr(study, "sweep", sweep)
    return calls


@pytest.mark.parametrize("scale", ["smoke", "book", "paper"])
def test_sizes_are_stated_once_and_blocks_share_no_seed(asked, scale):
    main, fresh = study.main(scale), study.main(scale, block=1)
    (grid, seeds, setting), (_, others, _) = asked
    assert not set(seeds) & set(others) and fresh.attrs["seeds"] == others
    assert main.attrs["seeds"] == seeds == main["seed"].values.tolist()
    assert main.attrs["snr"] == grid["snr"] and main.attrs["steps"] == setting.steps
    assert main["step"].values[-1] == setting.steps == study.steps(scale)


def test_the_variants_end_where_the_main_sweep_records(asked):
    for scale in ("smoke", "book", "paper"):
        assert study.unchanged(scale).sizes["step"] == 1
        study.variants(scale)
        assert asked[-1][2].steps == study.shorter(scale) and asked[-1][2].last_only


def test_the_stored_run_is_the_main_sweep_of_both_optimizers(asked):
    stored = study.published("paper")
    assert [setting.optimizer for _, _, setting in asked] == ["exact", "adahessian"]
    assert stored["noisy"].dims[:2] == ("optimizer", "case")
    assert asked[0][:2] == asked[1][:2] and stored.sizes["p"] == 5
    assert all(v.attrs.keys() == {"description", "units"} for v in stored.values())
