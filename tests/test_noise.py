"""The protocol of the label-noise experiment, and the linear student."""

import dataclasses

import numpy as np
import pytest
import xarray as xr

from fl.instruments import trainer
from fl.simulate import alignment, noise, noise_linear
from fl.studies import noise as study
from fl.tasks import Spectrum, Task, Teacher
from fl.theory import alignment_ridge
from fl.theory import noise as theory


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
    short, longer = run(steps=20), run(steps=40)
    common = np.intersect1d(short.step, longer.step)
    xr.testing.assert_equal(short.sel(step=common), longer.sel(step=common))
    assert run(steps=20, rotated=True).noisy.notnull().all()


def test_fewer_rows_are_the_first_ones():
    few, full = run(steps=20, n=20, n_test=100), run(steps=20)
    assert few["train"][0, 0] != full["train"][0, 0]
    assert abs(np.log(few["noisy"] / full["noisy"])).max() < 0.5
    _, (X, y, _) = noise.sample(0, "high", 1.0)
    start = trainer.kaiming(
        1, noise.WIDTH, 10, np.random.default_rng([0, noise.WEIGHTS])
    )
    data = trainer.Data(X[:, :20], y[:20], X[:, 200:300], y[None, 200:300])
    same = trainer.train(data, np.eye(10)[None], start, [20], eta=noise.ETA)
    once = run(steps=20, n=20, n_test=100, exponents=(0.0,))
    assert once["noisy"][0, -1] == pytest.approx(same.test[0, 0, 0], rel=1e-5)


def test_exact_powers_do_not_care_about_the_basis_but_the_diagonal_does():
    """Rotated inputs meet a Kaiming start that is not rotated: equal up to that start,
    which training forgets.
    """
    at = {"case": "high", "snr": 5.0, "seed": 1, "steps": 600}
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
        ({"n": 201}, "n = 201: must be at most 200"),
        ({"n_test": 9801}, "n_test = 9801: must be at most 9800"),
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
    assert main["snr"].values.tolist() == grid["snr"]
    assert main.attrs["steps"] == setting.steps == main["step"].values[-1]


def test_variants_are_paired_with_the_main_sweep(asked):
    for scale in ("smoke", "book", "paper"):
        main, other = study.main(scale, 2), study.variants(scale, 2, batch=study.FEW)
        assert main.attrs["seeds"] == other.attrs["seeds"] and 1.0 in main["snr"]
        (_, _, plain), (_, _, changed) = asked[-2:]
        assert dataclasses.replace(plain, batch=study.FEW) == changed


def test_the_stored_run_is_the_main_sweep_of_both_optimizers(asked):
    stored = study.published("paper")
    assert [setting.optimizer for _, _, setting in asked] == ["exact", "adahessian"]
    assert stored["noisy"].dims[:2] == ("optimizer", "case")
    assert asked[0][:2] == asked[1][:2] and stored.sizes["p"] == 5
    assert asked[0][1] == [0, 1, 2, 3, 4] and asked[0][2] == noise.PROTOCOL
    assert all(v.attrs.keys() == {"description", "units"} for v in stored.values())


# --- the linear student ---------------------------------------------------------------


def test_flow_solves_its_differential_equation():
    rng = np.random.default_rng(0)
    root = rng.standard_normal((2, 3, 5))
    second, slope = root @ root.swapaxes(1, 2), rng.standard_normal((2, 3))
    steps = 2000
    w = np.zeros((2, 3))
    for _ in range(steps):
        w += 2 * 0.3 / steps * (slope - np.einsum("ikd,id->ik", second, w))
    (found,) = noise_linear.flow(second, slope, [0.3])
    assert np.allclose(found, w, atol=5e-3 * abs(w).max())


def test_the_linear_student_ends_at_least_squares():
    sizes = {"exponents": [-2.0, 1.0], "moments": [1e6], "draws": 50}
    risk = noise_linear.linear_student(0, "high", 30, **sizes)["risk"]
    assert np.allclose(risk.sel(p=-2.0), risk.sel(p=1.0), rtol=1e-4)
    with pytest.raises(ValueError, match="n = 10: must be larger than 10"):
        noise_linear.linear_student(0, "high", 10, **sizes)


LAM = np.array([3.0, 1.0, 0.2])


def test_the_curve_starts_at_the_signal_and_ends_at_least_squares():
    energy = np.array([0.5, 0.2, 0.3])
    start, end = theory.flow_risk(LAM, energy, -0.5, 12, 2.0, [1e-8, 1e6])
    assert start == pytest.approx(1.0) and end == pytest.approx(2.0 * 3 / 9)


def test_many_samples_leave_the_flow_of_the_population():
    energy, times = np.array([0.5, 0.2, 0.3]), np.array([0.05, 0.4, 2.0])
    for p in (-2.0, 0.5):
        ours = theory.flow_risk(LAM, energy, p, 10**9, 1.0, times)
        theirs = alignment_ridge.flow_risk(LAM, energy, p, 2 * times)
        assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-8)


def test_the_exponent_is_a_change_of_coordinates():
    """Only the speeds and the energies enter."""
    energy, times = np.array([0.5, 0.2, 0.3]), [0.1, 1.0]
    one = theory.flow_risk(LAM, energy, 1.0, 20, 1.0, times)
    other = theory.flow_risk(LAM**2, energy, 0.0, 20, 1.0, times)
    assert one == pytest.approx(other, rel=1e-12)


def test_least_risk_lies_on_the_curve():
    task = noise.task("low", 1.0)
    share = theory.least_share(task, -2.0, 200)
    lam, energy, rest = alignment_ridge.linear_part(task)
    curve = theory.flow_risk(lam, energy, -2.0, 200, rest, np.geomspace(1e-4, 1, 200))
    assert share == pytest.approx(curve.min() / energy.sum(), rel=0.02)
    assert share < theory.least_share(task, -1.0, 200)


@pytest.mark.parametrize("link", ["abs", "square"])
def test_a_link_without_a_linear_part_leaves_the_student_nothing(link):
    with pytest.raises(ValueError, match="task: its link must have a linear part"):
        theory.least_share(Task(Spectrum(LAM), Teacher(LAM, link), 1.0), -1.0, 50)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 0}, "n = 0: must be an integer >= 1"),
        ({"lam": [1.0, 0.0, 1.0]}, "lam"),
        ({"t": [0.0]}, "t has"),
        ({"noise": -1.0}, "noise"),
        ({"energy": [1.0]}, "energy"),
    ],
)
def test_bad_curves_are_named(change, message):
    good = {"lam": LAM, "energy": LAM, "p": 0.0, "n": 9, "noise": 1.0, "t": [1.0]}
    with pytest.raises(ValueError, match=message):
        theory.flow_risk(**good | change)
