"""The two-cue protocol: what the images carry, what is shared by all methods, and what
a run returns.
"""

import copy
import functools

import numpy as np
import pytest
import torch

from fl import datasets
from fl.simulate import ood, ood_images
from fl.theory.ood import pattern_reading

try:
    WHY = (
        ""
        if datasets.mnist_folder()
        else "MNIST is not here: neither FL_DATA nor a download"
    )
except FileNotFoundError as error:
    WHY = str(error)
needs_mnist = pytest.mark.skipif(bool(WHY), reason=WHY)
BOTH = ["digits", pytest.param("mnist", marks=needs_mnist)]
KEYS = ["train", "id", "digit", "pattern", "congruent"]


once = functools.cache(ood_images.draw)  # the large data set takes seconds


def pictures(d: ood_images.Data, key: str) -> np.ndarray:
    return d.X[key] + d.mean


@pytest.mark.parametrize(
    ("data", "d", "sizes"),
    [
        ("digits", 64, (600, 600, 597)),
        pytest.param("mnist", 784, (1200, 1200, 7600), marks=needs_mnist),
    ],
)
def test_sizes(data, d, sizes):
    drawn = once(3, data)
    expected = dict(zip(KEYS, (*sizes, sizes[2], sizes[2]), strict=True))
    assert {k: x.shape for k, x in drawn.X.items()} == {
        k: (n, d) for k, n in expected.items()
    }
    assert {k: y.shape for k, y in drawn.labels.items()} == {
        k: (n,) for k, n in expected.items()
    }
    assert (
        drawn.patterns.shape == (10, d)
        and drawn.mean.shape == (d,)
        and drawn.covariance.shape == (d, d)
    )


@pytest.mark.parametrize("data", BOTH)
def test_every_image_is_a_digit_with_its_pattern_clipped(data):
    """One generator, in the order of the protocol: permutation, patterns, labels of the
    pattern test.
    """
    pixels, labels = datasets.load(data)
    rng, s = np.random.default_rng(3), {"digits": 0.15, "mnist": 0.10}[data]
    order = rng.permutation(len(labels))
    patterns = s * rng.standard_normal((10, len(pixels)))
    cut = {"digits": 600, "mnist": 1200}[data]
    rows = {"train": order[:cut], "id": order[cut : 2 * cut]} | dict.fromkeys(
        KEYS[2:], order[2 * cut :]
    )
    random = rng.integers(0, 10, len(rows["digit"]))
    partner = np.array([1, 0, 3, 2, 5, 4, 7, 6, 9, 8])
    carried = {k: labels[rows[k]] for k in KEYS} | {
        "digit": partner[labels[rows["digit"]]],
        "pattern": random,
    }
    drawn = once(3, data)
    np.testing.assert_array_equal(drawn.patterns, patterns)
    for k in KEYS:
        clean = pixels.T[rows[k]]
        np.testing.assert_allclose(
            pictures(drawn, k), np.clip(clean + patterns[carried[k]], 0, 1), atol=1e-14
        )
        np.testing.assert_array_equal(
            drawn.labels[k], random if k == "pattern" else labels[rows[k]]
        )


def test_pixels_are_clipped_and_inputs_are_centred():
    d = ood_images.draw(0)
    for k in KEYS:
        assert pictures(d, k).min() > -1e-14 and pictures(d, k).max() < 1 + 1e-14
        assert (abs(pictures(d, k)) < 1e-14).mean() > 0.05  # some are cut off
    np.testing.assert_allclose(d.X["train"].mean(0), 0, atol=1e-14)
    assert abs(d.X["id"].mean(0)).max() > 1e-3  # by the mean of the training set
    np.testing.assert_allclose(
        d.covariance, d.X["train"].T @ d.X["train"] / 600, atol=1e-14
    )


def test_uncentred_inputs_are_the_pictures():
    d, u = ood_images.draw(1), ood_images.draw(1, centred=False)
    np.testing.assert_allclose(u.X["digit"], pictures(d, "digit"), atol=1e-14)
    np.testing.assert_array_equal(u.covariance, d.covariance)


def test_labels_of_the_pattern_test_know_nothing_of_the_image():
    same, counts = [], np.zeros(10)
    for seed in range(10):
        d = ood_images.draw(seed)
        same.append(np.mean(d.labels["pattern"] == d.labels["digit"]))
        counts += np.bincount(d.labels["pattern"], minlength=10)
    n = 10 * 597
    assert abs(np.mean(same) - 0.1) < 4 * (0.09 / n) ** 0.5
    assert (
        (counts - n / 10) ** 2 / (n / 10)
    ).sum() < 28  # chi-squared of 9 degrees, one in a thousand


def test_amplitude_of_the_patterns():
    quiet, loud = ood_images.draw(0, amplitude=0.05), ood_images.draw(0, amplitude=0.2)
    np.testing.assert_allclose(loud.patterns, 4 * quiet.patterns)
    assert quiet.patterns.std() == pytest.approx(0.05, rel=0.1)
    none = ood_images.draw(0, amplitude=0.0)
    np.testing.assert_array_equal(none.X["digit"], none.X["congruent"])


def test_seeds_differ_and_repeat():
    a, b, c = ood_images.draw(0), ood_images.draw(0), ood_images.draw(1)
    np.testing.assert_array_equal(a.X["pattern"], b.X["pattern"])
    assert not np.array_equal(a.patterns, c.patterns) and not np.array_equal(
        a.labels["train"], c.labels["train"]
    )


@pytest.mark.parametrize("basis", ["eigen", "random"])
def test_another_basis_is_a_rotation(basis):
    a, b = ood_images.draw(2), ood_images.draw(2, basis=basis)
    for k in KEYS:
        np.testing.assert_array_equal(a.labels[k], b.labels[k])
    np.testing.assert_allclose(
        b.X["train"] @ b.X["digit"].T, a.X["train"] @ a.X["digit"].T, atol=1e-12
    )
    np.testing.assert_allclose(
        b.patterns @ b.patterns.T, a.patterns @ a.patterns.T, atol=1e-12
    )
    np.testing.assert_allclose(b.X["id"] @ b.mean, a.X["id"] @ a.mean, atol=1e-12)
    np.testing.assert_allclose(
        np.linalg.eigvalsh(b.covariance), np.linalg.eigvalsh(a.covariance), atol=1e-14
    )
    np.testing.assert_allclose(
        b.covariance, b.X["train"].T @ b.X["train"] / 600, atol=1e-14
    )
    off = b.covariance - np.diag(np.diag(b.covariance))
    assert (abs(off).max() < 1e-14) == (basis == "eigen")
    assert abs(b.X["train"] - a.X["train"]).max() > 0.1


def test_without_a_cue_the_pattern_says_nothing_of_the_class():
    """The pattern that a training image carries is found from the empty pixels, and
    agrees by chance.
    """
    agree = {"class": [], "none": []}
    for cue in agree:
        for seed in range(4):
            d = ood_images.draw(seed, cue=cue, amplitude=0.3)
            pixels, _ = datasets.load("digits")
            order = np.random.default_rng(seed).permutation(pixels.shape[1])[:600]
            carried = pictures(d, "train")[:, None] - np.clip(
                pixels.T[order][:, None] + d.patterns, 0, 1
            )
            agree[cue].append(
                np.mean(abs(carried).max(2).argmin(1) == d.labels["train"])
            )
            np.testing.assert_allclose(abs(carried).max(2).min(1), 0, atol=1e-13)
    assert agree["class"] == [1.0] * 4
    assert abs(np.mean(agree["none"]) - 0.1) < 4 * (0.09 / 2400) ** 0.5


def test_without_a_cue_the_tests_stay():
    a, b = ood_images.draw(5), ood_images.draw(5, cue="none")
    for k in ("digit", "pattern", "congruent"):
        np.testing.assert_allclose(pictures(b, k), pictures(a, k), atol=1e-14)
    assert not np.allclose(pictures(b, "id"), pictures(a, "id"))


def test_network_is_torchs_with_the_seed():
    torch.manual_seed(4)
    layers = torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 10)
    state = torch.get_rng_state()
    for dtype in (
        torch.float32,
        torch.float64,
    ):  # both precisions start at the same weights
        net = ood.network(64, 4, dtype)
        for w, v in zip(
            net.parameters(), torch.nn.Sequential(*layers).parameters(), strict=True
        ):
            assert w.dtype == dtype and torch.equal(w.float(), v)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    "method",
    ["exact -1", "GD", "SAM", "K-FAC 1e-6", "L-BFGS", "Muon", "power-AdaHessian -1"],
)
def test_all_methods_of_a_seed_meet_the_same_data_and_start(method, monkeypatch):
    seen = {}

    def minimise(name, model, loss, steps, watch, seed, **hyper):
        seen.update(start=copy.deepcopy(model), loss=loss().item())
        model[0].weight.grad = torch.zeros_like(model[0].weight)
        watch(0, seen["loss"])
        return 0

    monkeypatch.setattr(ood.optimizers, "minimise", minimise)
    student, _ = ood.train(1, method)
    drawn, reference = ood_images.draw(1), ood.network(64, 1)
    np.testing.assert_array_equal(student.data.X["train"], drawn.X["train"])
    for w, v in zip(seen["start"].parameters(), reference.parameters(), strict=True):
        assert torch.equal(w.float(), v)
    x, y = torch.tensor(drawn.X["train"]), torch.tensor(drawn.labels["train"])
    assert seen["loss"] == pytest.approx(
        torch.nn.functional.cross_entropy(reference.double()(x), y).item(), rel=1e-5
    )


def test_every_method_has_a_recipe():
    assert len(ood.METHODS) == 24
    for name, hyper in ood.METHODS.values():
        assert set(hyper) <= set(ood.optimizers.defaults(name))


def test_a_run_stops_at_the_target_and_reports_what_it_says():
    student, found = ood.train(0, "K-FAC 1e-6")
    data, model = student.data, student.model
    assert found["loss"] <= 0.01 and found["epochs"] < 600
    X = {k: torch.as_tensor(x, dtype=student.dtype) for k, x in data.X.items()}
    with torch.no_grad():
        for k in ("id", "digit", "pattern", "congruent"):
            guess = model(X[k]).argmax(1).numpy()
            assert found[k] == pytest.approx(np.mean(guess == data.labels[k]))
        loss = torch.nn.functional.cross_entropy(
            model(X["train"]), torch.tensor(data.labels["train"])
        )
    assert found["loss"] == pytest.approx(loss.item(), rel=1e-5)
    there = student.followed()
    said, digit = student.classes("pattern"), data.labels["digit"]
    differ = digit != data.labels["pattern"]
    assert there["agree"] == pytest.approx(1 - differ.mean())
    assert there["conflict_digit"] == pytest.approx(np.mean((said == digit)[differ]))
    read = pattern_reading(
        there["conflict_digit"],
        there["conflict_neither"],
        there["agree"],
        there["agree_right"],
    )
    assert read == pytest.approx(found["pattern"], abs=1e-12)
    exponent = student.recorder.result()
    assert exponent.windows == found["epochs"] // 5
    assert found["p_gain"] == exponent.p_gain and found["kappa"] == exponent.kappa
    assert ood.run(0, "K-FAC 1e-6") == found
    assert set(found) == {
        *"id digit pattern congruent digit_early pattern_early".split(),
        *student.followed(),
    } | {*"loss epochs p_ratio p_gain kappa r2".split()}


def test_the_cap_ends_a_run_that_is_too_slow(monkeypatch):
    short = ood.PROTOCOLS["digits"]._replace(cap=4)
    monkeypatch.setitem(ood.PROTOCOLS, "digits", short)
    run = ood.run(0, "GD")
    assert run["epochs"] == 4 and run["loss"] > 1
    assert np.isnan(
        [run["digit_early"], run["pattern_early"], run["p_ratio"], run["kappa"]]
    ).all()


def test_a_long_run_goes_on_after_the_target(monkeypatch):
    monkeypatch.setattr(ood, "LONG", 40)
    run = ood.run(0, "K-FAC 1e-6", until="long")
    assert run["epochs"] == 40 and run["loss"] < 0.005


def test_hyper_parameters_override_those_of_the_method():
    usual, other = (
        ood.run(0, "K-FAC 1e-6"),
        ood.run(0, "K-FAC 1e-6", hyper={"damping": 1e-3}),
    )
    assert other["epochs"] != usual["epochs"] and other["digit"] > usual["digit"] + 0.2


@needs_mnist
def test_mnist_trains_on_the_files():
    run = ood.run(0, "K-FAC 1e-6", data="mnist", hyper={"clip": 1e-2})
    assert run["id"] > 0.9 and run["loss"] <= 0.05


def test_mnist_without_the_files_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.delenv("FL_DATA", raising=False)
    monkeypatch.setattr(
        datasets.platformdirs, "user_cache_path", lambda name: tmp_path / "cache"
    )
    with pytest.raises(
        FileNotFoundError,
        match=r"set FL_DATA to a folder that holds .* or call fl.datasets.fetch",
    ):
        ood.run(0, "GD", data="mnist")
    monkeypatch.setenv("FL_DATA", str(tmp_path))
    with pytest.raises(
        FileNotFoundError, match="lacks t10k-images.*: copy it there or unset FL_DATA"
    ):
        ood.run(0, "GD", data="mnist")


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (
            {"optimizer": "Lion"},
            r"optimizer = 'Lion': must be one of exact -1, .*K-FAC 1e-3",
        ),
        ({"data": "cifar"}, "data = 'cifar': must be one of digits, mnist"),
        (
            {"basis": "fourier"},
            "basis = 'fourier': must be one of pixel, eigen, random",
        ),
        ({"cue": "some"}, "cue = 'some': must be one of class, none"),
        ({"amplitude": -0.1}, "amplitude = -0.1: must be a finite number"),
        ({"seed": -1}, "seed = -1"),
        ({"hyper": {"rho": 1.0}}, "hyper-parameter of GD = 'rho': must be one of lr"),
        ({"hyper": {"lr": 0.0}}, "lr of GD = 0.0"),
    ],
    ids=lambda v: "-".join(v) if isinstance(v, dict) else "",
)
def test_mistakes_are_named(mistake, message):
    with pytest.raises(ValueError, match=message):
        ood.run(**{"seed": 0, "optimizer": "GD"} | mistake)
