"""Two cues in conflict: the protocol, the linear rule, and the identity of the two
accuracies.
"""

from functools import partial

import numpy as np
import pytest
import torch
import xarray as xr

from fl import datasets
from fl.optimizers import exact_preconditioner
from fl.simulate import ood, ood_images
from fl.studies import ood as study
from fl.theory import ood as theory

TESTS = ("train", "id", "digit", "pattern", "congruent")


def rule_accuracy(data, p, seeds):
    return study.read_by(partial(theory.linear_rule, p=p), data, seeds)


@pytest.fixture(scope="module")
def drawn():
    return ood_images.draw(0)


# --- the protocol ---------------------------------------------------------------------


def test_sizes_and_labels(drawn):
    assert {k: len(drawn.X[k]) for k in TESTS} == {
        "train": 600,
        "id": 600,
    } | dict.fromkeys(TESTS[2:], 597)
    assert drawn.patterns.shape == (10, 64) and np.isclose(
        drawn.patterns.std(), 0.15, rtol=0.1
    )
    assert np.array_equal(drawn.labels["digit"], drawn.labels["congruent"])
    agree = np.mean(drawn.labels["pattern"] == drawn.labels["digit"])
    assert abs(agree - 0.1) < 3 * np.sqrt(0.09 / 597)


def test_images_carry_the_patterns_they_should(drawn):
    """Where a digit has no ink and the pattern no clipping, the pattern of the claimed
    class is seen bare.
    """
    pixels, _ = datasets.load("digits")
    empty = np.flatnonzero(pixels.max(1) == 0)
    y = drawn.labels
    neighbour = np.array([1, 0, 3, 2, 5, 4, 7, 6, 9, 8])
    carried = {
        "train": y["train"],
        "id": y["id"],
        "pattern": y["pattern"],
        "congruent": y["digit"],
    }
    for key, c in (carried | {"digit": neighbour[y["digit"]]}).items():
        seen = drawn.X[key] + drawn.mean
        assert seen.min() >= -1e-12 and seen.max() <= 1 + 1e-12
        assert np.allclose(
            seen[:, empty], drawn.patterns[c][:, empty].clip(0, 1), atol=1e-12
        ), key


def test_centring_and_covariance(drawn):
    assert np.abs(drawn.X["train"].mean(0)).max() < 1e-12
    assert np.allclose(drawn.covariance, drawn.X["train"].T @ drawn.X["train"] / 600)
    plain = ood_images.draw(0, centred=False)
    for key in TESTS:
        assert np.allclose(plain.X[key] - drawn.mean, drawn.X[key])


@pytest.mark.parametrize("basis", ["eigen", "random"])
def test_another_basis_keeps_the_geometry(drawn, basis):
    turned = ood_images.draw(0, basis=basis)
    assert np.allclose(
        turned.X["pattern"] @ turned.X["train"].T,
        drawn.X["pattern"] @ drawn.X["train"].T,
    )
    assert np.allclose(
        turned.patterns @ turned.patterns.T, drawn.patterns @ drawn.patterns.T
    )
    off = turned.covariance - np.diag(np.diag(turned.covariance))
    assert (np.abs(off).max() < 1e-10) == (basis == "eigen")


def test_without_a_cue_only_the_training_patterns_change(drawn):
    none = ood_images.draw(0, cue="none")
    assert np.array_equal(none.patterns, drawn.patterns)
    for key in ("digit", "pattern", "congruent"):
        assert np.allclose(none.X[key] + none.mean, drawn.X[key] + drawn.mean)
    pixels, _ = datasets.load("digits")
    empty = np.flatnonzero(pixels.max(1) == 0)
    seen = (none.X["train"] + none.mean)[:, empty]
    found = (
        np.abs(seen[:, None] - none.patterns[:, empty].clip(0, 1)).max(2) < 1e-9
    ).argmax(1)
    assert abs(np.mean(found == none.labels["train"]) - 0.1) < 3 * np.sqrt(0.09 / 600)


def test_a_run_repeats_stops_at_its_target_and_shares_the_start():
    one, two = (ood.run(3, "L-BFGS") for _ in range(2))
    assert one == two and one["loss"] <= ood.PROTOCOLS["digits"].target
    assert {"id", "digit", "pattern", "congruent", "epochs", "p_gain"} <= set(one)
    assert torch.equal(ood.network(64, 3)[0].weight, ood.network(64, 3)[0].weight)
    bare = ood.run(3, "L-BFGS", hyper={"pairs": 10}, amplitude=0.0)
    assert bare["digit"] > 0.9 and bare["pattern"] < 0.2, (
        "without patterns there is only the digit to read"
    )


def test_every_stored_setting_names_a_method():
    assert {method for method, _ in study.SETTINGS.values()} <= set(ood.METHODS)
    for _, names in study.VARIANTS.values():
        assert set(names) <= set(ood.METHODS)
    assert {*study.QUICK, *study.DIAGONAL} <= set(ood.METHODS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": "letters"}, "data = 'letters': must be one of digits, mnist"),
        (
            {"basis": "fourier"},
            "basis = 'fourier': must be one of pixel, eigen, random",
        ),
        ({"cue": "some"}, "cue = 'some': must be one of class, none"),
        (
            {"amplitude": -0.1},
            r"amplitude = -0.1: must be a finite number in \[0, inf\)",
        ),
        ({"seed": -1}, "seed = -1"),
    ],
)
def test_bad_settings_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        ood_images.draw(**{"seed": 0} | change)


def test_an_unknown_method_is_named():
    with pytest.raises(ValueError, match="optimizer = 'LARS': must be one of"):
        ood.run(0, "LARS")


def test_mnist_follows_the_protocol():
    if datasets.mnist_folder() is None:
        pytest.skip("MNIST is not here: set FL_DATA to the folder of its files")
    drawn = ood_images.draw(0, "mnist")
    assert [len(drawn.X[k]) for k in TESTS] == [1200, 1200, 7600, 7600, 7600]
    assert (
        np.isclose(drawn.patterns.std(), 0.1, rtol=0.05)
        and ood_images.PROTOCOLS["mnist"].test == 7600
    )
    digit, pattern = rule_accuracy("mnist", -1.0, [0])[0]
    assert digit < 0.02 and pattern > 0.98


# --- theory ---------------------------------------------------------------------------


def test_rule_at_zero_is_the_nearest_mean(drawn):
    X, y, new = drawn.X["train"], drawn.labels["train"], drawn.X["digit"]
    means = theory.class_means(X, y)
    nearest = np.linalg.norm(new[:, None] - means, axis=2).argmin(1)
    assert np.array_equal(theory.linear_rule(X, y, new, 0.0), nearest)


def test_directions_at_minus_one_are_those_of_the_covariance_within_classes():
    """The total covariance and the one within classes have the same discriminants:
    Sherman-Morrison-Woodbury.
    """
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 4000)
    X = rng.standard_normal((4000, 5)) * [3, 1, 1, 0.5, 2] + np.eye(3, 5)[y]
    within = np.cov((X - theory.class_means(X, y)[y]).T)
    ours, theirs = (
        theory.directions(X, y, -1.0),
        np.linalg.solve(within, theory.class_means(X, y).T).T,
    )
    assert theory.share_in_span(ours, theirs, np.eye(5)) > 1 - 1e-8
    assert theory.share_in_span(theory.directions(X, y, 0.0), theirs, np.eye(5)) < 0.99


def test_rule_does_not_care_about_the_basis_or_the_scale(drawn):
    X, y, new = drawn.X["train"], drawn.labels["train"], drawn.X["pattern"]
    Q = np.linalg.qr(np.random.default_rng(1).standard_normal((64, 64)))[0]
    for p in (-0.5, 0.0, 1.0):
        plain = theory.linear_rule(X, y, new, p)
        assert np.mean(plain == theory.linear_rule(X @ Q, y, new @ Q, p)) > 0.998
        assert np.array_equal(plain, theory.linear_rule(X + 7.0, y, new + 7.0, p))


def test_the_rule_reads_the_pattern_alone_at_minus_one():
    for p, low, high in [(-1.0, 0.0, 0.01), (-0.5, 0.5, 0.75), (0.0, 0.7, 0.85)]:
        D = rule_accuracy("digits", p, range(20, 24)).sel(test="digit")
        assert low <= D.min() and D.max() <= high, p


def test_share_of_the_first_displacement(drawn):
    model, X, y = (
        ood.network(64, 0, torch.float64),
        drawn.X["train"],
        drawn.labels["train"],
    )
    loss = torch.nn.functional.cross_entropy(model(torch.tensor(X)), torch.tensor(y))
    G = torch.autograd.grad(loss, [model[0].weight])[0].numpy()
    for p, low, high in [(-1.0, 0.88, 0.94), (0.0, 0.99, 1.0)]:
        moved = G @ exact_preconditioner(drawn.covariance, p).numpy()
        share = theory.share_in_span(
            moved, theory.directions(X, y, p), drawn.covariance
        )
        assert low < share < high, p


def test_share_in_span():
    W = np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 2.0]])
    assert np.isclose(theory.share_in_span(W, np.eye(3)[:1], np.eye(3)), 1 / 6)
    assert np.isclose(
        theory.share_in_span(W, np.eye(3)[:1], np.diag([4.0, 1.0, 0.0])), 4 / 5
    )
    assert np.isclose(theory.share_in_span(W, W, np.diag([4.0, 1.0, 2.0])), 1)
    # right angles are those of the metric: the second direction counts for what it
    # shares with the first
    M = np.array([[1.0, 0.5], [0.5, 1.0]])
    assert np.isclose(theory.share_in_span([[0.0, 1.0]], [[1.0, 0.0]], M), 0.25)


@pytest.mark.parametrize("p", [-1.0, -0.5, 0.0, 1.0])
def test_two_cues_against_a_sample(p):
    rng = np.random.default_rng(5)
    a, b, v, w = 1.5, 1.0, 1.0, 0.3
    y, n = rng.choice([-1.0, 1.0], 60_000), 60_000
    z = rng.standard_normal((n, 2)) * np.sqrt([v, w])
    train = np.column_stack([a * y, b * y]) + z
    for turn, predicted in zip((-1, 1), theory.two_cues(a, b, v, w, p), strict=True):
        shown = np.column_stack([a * y, turn * b * y]) + z
        assert abs(
            np.mean(theory.linear_rule(train, y, shown, p) == y) - predicted
        ) < 1.5 / np.sqrt(n)


def test_two_cues_in_the_limits():
    assert theory.two_cues(2, 1, 1, 1e-9, -1.0)[0] < 1e-6, (
        "a cue without variance wins at p = -1"
    )
    assert theory.two_cues(2, 1, 1, 1e-9, 0.0)[0] > 0.9, (
        "and loses at p = 0 if it is faint"
    )
    assert np.isclose(theory.two_cues(1, 1, 1, 1, -0.7)[0], 0.5)
    D, C = theory.two_cues(1, 2, 0.5, 0.7, -0.3)
    swapped = theory.two_cues(2, 1, 0.7, 0.5, -0.3)
    assert np.allclose([1 - D, C], swapped), "the cues may change names"


@pytest.mark.parametrize(
    ("cues", "expected"),
    [
        ((1.3, 0.2, 0.4, 0.01, -100), (0.0022252898, 0.6137995313)),
        ((1, 1, 1, 1, 400), (0.5, 0.9213503965)),
        ((1, 1, 1, 1, -900), (0.5, 0.9213503965)),
    ],
)
def test_two_cues_at_any_exponent(cues, expected):
    assert theory.two_cues(*cues) == pytest.approx(expected, abs=1e-9)


def test_pattern_reading():
    assert (
        theory.pattern_reading(1.0) == pytest.approx(0.1)
        and theory.pattern_reading(0.0) == 1
    )
    D = np.linspace(0, 0.8, 5)
    assert np.allclose(D + theory.pattern_reading(D, 0.2), 1 + 0.1 * D - 0.9 * 0.2)
    many = theory.pattern_reading(D, 0.2, agree=D / 4, congruent=1 - D)
    assert many[2] == pytest.approx(0.1 * 0.6 + 0.9 * 0.4)
    # counted by hand: 3 images agree (2 right), 5 conflict: 2 follow the digit, 2 the
    # pattern, 1 neither
    assert theory.pattern_reading(
        2 / 5, 1 / 5, agree=3 / 8, congruent=2 / 3
    ) == pytest.approx(4 / 8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: theory.class_means([[1.0, 2.0]], [0, 1]),
            r"labels has shape \(2,\): must be \(1,\)",
        ),
        (
            lambda: theory.directions([[1.0, 2.0]] * 3, [0, 1, 1], -1.0),
            "X has no variance",
        ),
        (lambda: theory.directions(np.eye(3), [0, 1, 2], np.inf), "p = inf"),
        (lambda: theory.directions(np.eye(3), [0, 1, 2], -400.0), "p = -400"),
        (lambda: theory.linear_rule(np.eye(3), [0, 1, 2], np.eye(3), 400.0), "p = 400"),
        (
            lambda: theory.linear_rule(np.eye(3), [0, 1, 2], np.eye(2), 0.0),
            r"new has shape \(2, 2\)",
        ),
        (
            lambda: theory.share_in_span(np.zeros((1, 2)), np.eye(2), np.eye(2)),
            "W has no length",
        ),
        (
            lambda: theory.share_in_span(np.eye(2), np.eye(2), np.eye(3)),
            r"metric has shape \(3, 3\)",
        ),
        (lambda: theory.class_means(np.eye(2), [0.0, np.nan]), "labels has 1 entries"),
        (lambda: theory.pattern_reading(0.9, 0.9), r"digit \+ neither = .*1.8"),
        (lambda: theory.two_cues(1, 1, 1, 1, np.nan), "p = nan"),
        (lambda: theory.pattern_reading(1.2), r"digit = 1.2: must lie in \[0, 1\]"),
        (
            lambda: theory.pattern_reading(0.2, agree=2),
            r"agree = 2: must lie in \[0, 1\]",
        ),
        (
            lambda: theory.two_cues(0.0, 1, 1, 1, 0),
            r"a = 0.0: must be a finite number in \(0, inf\)",
        ),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- studies --------------------------------------------------------------------------


def test_gaps_take_the_methods_in_the_order_given():
    D, N = [[0.9, 0.8], [0.5, 0.7]], [[0.2, 0.1], [0.4, 0.3]]
    data = xr.Dataset(
        {"digit": (("optimizer", "seed"), D), "pattern": (("optimizer", "seed"), N)},
        {"optimizer": ["A", "B"]},
    )
    for names, sign in [(["A", "B"], 1), (["B", "A"], -1)]:
        digit, pattern = study.gaps(data, names)
        assert np.allclose(digit, [sign * 0.4, sign * 0.1])
        assert np.allclose(pattern, [sign * 0.2, sign * 0.2])


def test_gaps_of_three_methods_on_two_data_sets():
    names, rng = ["A", "B", "C"], np.random.default_rng(0)
    dims = ("data", "optimizer", "seed")
    data = xr.Dataset(
        {k: (dims, rng.random((2, 3, 4))) for k in ("digit", "pattern")},
        {"optimizer": names},
    )
    found = study.gaps(data, names).transpose("test", "optimizer", "data", "seed")
    found = found.values.reshape(4, 2, 4)
    D, N = data["digit"].values, data["pattern"].values
    assert np.allclose(found[0], D[:, 0] - D[:, 1])
    assert np.allclose(found[1], D[:, 1] - D[:, 2])
    assert np.allclose(found[2], N[:, 1] - N[:, 0])
    assert np.allclose(found[3], N[:, 2] - N[:, 1])


def test_sampling_error_is_that_of_a_fair_coin():
    assert study.sampling_error() == pytest.approx(np.sqrt(0.25 / 597))
    assert study.sampling_error("mnist", number=4) == pytest.approx(
        np.sqrt(0.25 / 7600) / 2
    )


def test_read_by_gives_the_accuracies_of_any_reader():
    """Who always says 3 is right where the counted label is 3."""
    found = study.read_by(lambda X, y, new: np.full(len(new), 3), "digits", [0, 5])
    for seed in (0, 5):
        labels = ood_images.draw(seed).labels
        for test in ("digit", "pattern"):
            share = found.sel(seed=seed, test=test)
            assert share == np.mean(labels[test] == 3)


def quick(function, grid=None, seeds=(0,), **fixed):
    """Stand in for a sweep: the names of the grid and the seeds, nothing trained."""
    axes = {k: list(v) for k, v in (grid or {}).items()} | {"seed": list(seeds)}
    shape = [len(v) for v in axes.values()]
    return xr.Dataset({k: (list(axes), np.ones(shape)) for k in study.MEANING}, axes)


def test_runs_say_their_sizes_and_blocks_share_no_seed(monkeypatch):
    monkeypatch.setattr(study, "sweep", quick)
    monkeypatch.setattr(study.datasets, "mnist_folder", lambda: None)
    for scale in ("smoke", "book", "paper"):
        for number in (study.SEEDS, study.PAIRED, study.CONTROL):
            run, other = (study.runs(scale, b, study.TRIO, number) for b in (0, 1))
            assert list(run.attrs["seeds"]) == list(range(number[scale]))
            assert list(run.seed.values) == list(run.attrs["seeds"])
            assert not set(run.seed.values) & set(other.seed.values)
            assert run.attrs["optimizer"] == study.TRIO
            assert run.attrs["data"] == ["digits"]
    assert study.without_cue("book").attrs["cue"] == "none"


@pytest.mark.parametrize("make", [study.table, study.variants, study.settings])
def test_stored_runs_describe_their_variables(monkeypatch, make):
    monkeypatch.setattr(study, "sweep", quick)
    small, large, other = make("smoke"), make("paper"), make("paper", block=1)
    for name in study.MEANING:
        assert small[name].attrs["description"] and large[name].attrs["units"]
    assert len(small.seed) == 1 < len(large.seed)
    assert not set(large.seed.values) & set(other.seed.values)


def test_stored_variants_leave_out_what_did_not_run(monkeypatch):
    monkeypatch.setattr(study, "sweep", quick)
    found = study.variants("paper")["id"]
    assert found.sizes == {"variant": 9, "optimizer": 24, "seed": 5}
    some = found.sel(variant="no cue").dropna("optimizer")
    assert set(some.optimizer.values) == set(study.SOME)
    assert found.sel(variant="eigenbasis").notnull().all()
