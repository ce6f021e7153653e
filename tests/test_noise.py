"""The protocol of the label-noise experiment."""

import numpy as np
import pytest
import xarray as xr

from fl.simulate import alignment, noise


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


def test_a_short_run_records_the_beginning_of_a_long_one():
    assert noise.recorded(3).tolist() == [1, 2, 3]
    assert set(noise.recorded(1000)[:-1]) <= set(noise.recorded(noise.LONGEST))
    short = noise.trajectories(0, "high", 1.0, steps=20, p=[-1.0, 1.0])
    longer = noise.trajectories(0, "high", 1.0, steps=40, p=[-1.0, 1.0])
    common = np.intersect1d(short.step, longer.step)
    xr.testing.assert_equal(short.sel(step=common), longer.sel(step=common))
    last = noise.trajectories(0, "high", 1.0, steps=40, p=[-1.0, 1.0], last_only=True)
    xr.testing.assert_equal(last, longer.isel(step=[-1]))
    assert (
        noise.trajectories(0, "high", 1.0, steps=20, p=[-1.0], rotated=True)
        .noisy.notnull()
        .all()
    )


def test_exact_powers_do_not_care_about_the_basis_but_the_diagonal_does():
    """Rotated inputs meet a Kaiming start that is not rotated: equal up to that start,
    which training forgets.
    """
    at = {
        "seed": 1,
        "case": "high",
        "snr": 5.0,
        "steps": 600,
        "p": [1.0],
        "dtype": "float64",
    }
    plain, turned = (
        noise.trajectories(**at, rotated=r)["noisy"][0, -1] for r in (False, True)
    )
    assert abs(np.log(plain / turned)) < 0.1
    at |= {"p": [-2.0], "optimizer": "adahessian"}
    plain, turned = (
        noise.trajectories(**at, rotated=r)["clean"][0, -1] for r in (False, True)
    )
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
    assert noise.at_best(data)["clean"].values.tolist() == [2, 6]
    # both reach 0.4; the first exponent passes it at its third recorded step
    assert noise.at_equal_train_error(data)["clean"].values.tolist() == [3, 6]


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
        ({"p": [np.inf]}, "p = inf"),
    ],
)
def test_bad_settings_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        noise.trajectories(
            **{"seed": 0, "case": "high", "snr": 1.0, "steps": 5} | change
        )
