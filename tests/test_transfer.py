"""Transfer: the heads, the protocol of two tasks, the sequence, and the closed form of
the early shares.
"""

import numpy as np
import pytest
import xarray as xr
from sklearn.linear_model import Ridge

from fl.instruments import trainer
from fl.simulate import noise, transfer, transfer_heads, transfer_sequence
from fl.studies import transfer as study
from fl.tasks import Batch, Spectrum, Task, Teacher, power_law
from fl.theory.alignment import early_alignment
from fl.theory.transfer import early_shares


@pytest.fixture
def rng():
    return np.random.default_rng(5)


# --- theory ---------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["high", "low"])
@pytest.mark.parametrize("p", [-2.0, -1.0, 0.5])
def test_the_share_of_the_teacher_is_its_alignment(case, p):
    task = noise.task(case, 2.0, [0.7])
    shares = early_shares(task, p, 200)
    assert shares.sum() == pytest.approx(1)
    k, r = transfer.DIRECTIONS[case]
    assert shares[k] == pytest.approx(early_alignment(task, p, 200))
    assert shares[r] == pytest.approx((1 - shares[k]) / 9, rel=1e-9)


def test_the_rest_is_shared_like_a_power_of_the_spectrum():
    task = Task(power_law(5, 1.0), Teacher([0, 0, 2.0, 0, 0], "softplus10"), 1.0)
    shares = early_shares(task, 0.5, 100)
    assert shares[4] / shares[0] == pytest.approx(5.0**-3)
    assert early_shares(task, 0.5, np.inf).tolist() == [0, 0, 1, 0, 0]


def test_shares_do_not_depend_on_the_basis(rng):
    lam, beta = np.array([3.0, 1.0, 0.2]), np.array([0.3, 1.0, -2.0])
    turned = Spectrum(lam).rotated(rng)
    plain = early_shares(Task(Spectrum(lam), Teacher(beta, "relu"), 1.0), -0.5, 50)
    assert early_shares(
        Task(turned, Teacher(turned.rotation @ beta, "relu"), 1.0), -0.5, 50
    ) == pytest.approx(plain)


def test_shares_against_draws_of_the_gradient(rng):
    """An oblique teacher: both the signal term and the noise term are seen, at 2% of
    the largest share.
    """
    lam, beta, n, p = np.array([4.0, 1.0, 0.5]), np.array([0.2, 1.0, 0.5]), 40, -0.7
    task = Task(Spectrum(lam), Teacher(beta, "softplus10"), 0.7)
    energy = np.zeros(3)
    whole = task.sample(4000 * n, rng)
    batches = np.split(np.vstack([whole.X, whole.y]), 4000, axis=1)
    for *X, y in batches:
        energy += lam ** (2 * p + 1) * (X @ (y - y.mean()) / n) ** 2
    assert energy / energy.sum() == pytest.approx(early_shares(task, p, n), abs=0.012)


def test_noise_raises_the_share_and_samples_lower_it():
    low, high = (
        early_shares(noise.task("high", s, [1.0]), -1.0, 200)[1] for s in (np.inf, 0.5)
    )
    # five times the noise, over a denominator that holds ten shares of it
    assert high / low == pytest.approx(5 * (1 - 10 * high) / (1 - 10 * low), rel=1e-9)
    task = noise.task("low", 1.0, [1.0])
    assert early_shares(task, -1.0, 400)[0] / early_shares(task, -1.0, 800)[
        0
    ] == pytest.approx(2, rel=0.1)


# --- heads ----------------------------------------------------------------------------


@pytest.mark.parametrize("width", [5, 60])
def test_heads_are_those_of_centred_ridge_regression(rng, width):
    F, Y = rng.standard_normal((width, 40)) + 3, rng.standard_normal((2, 40))
    heads = transfer_heads.ridge_heads(
        F, Y - Y.mean(1, keepdims=True), np.array([1e-3, 0.2])
    )
    for k in range(2):
        for i, penalty in enumerate([1e-3, 0.2]):
            assert heads[k, i] == pytest.approx(
                Ridge(alpha=penalty * 40).fit(F.T, Y[k]).coef_, rel=1e-6, abs=1e-9
            )


def test_errors_are_on_rows_that_neither_fitted_nor_chose(rng):
    network = trainer.kaiming(1, 20, 10, rng, scale=1.0)
    X, y = rng.standard_normal((10, 900)), rng.standard_normal(900)
    errors = transfer_heads.ridge_errors(
        network, [Batch(X, y, y), Batch(X, 2 * y, 2 * y)], [0.1]
    ).isel(p=0, penalty=0)
    F = np.maximum(network.W[0] @ X + network.b[0][:, None], 0).T
    f = Ridge(alpha=0.1 * 200).fit(F[:200], y[:200]).predict(F)
    assert errors["validation"][0] == pytest.approx(np.mean((f - y)[200:400] ** 2))
    assert errors["test"][0] == pytest.approx(np.mean((f - y)[400:] ** 2))
    assert errors["test"][1] == pytest.approx(4 * errors["test"][0].item()), (
        "labels do not mix"
    )


def test_the_ridge_is_chosen_on_validation_rows_alone():
    errors = transfer_heads.ridge_errors(
        trainer.kaiming(2, 30, 10, np.random.default_rng(0)),
        [transfer.draw(0, "low", 1.0, 8, 2)],
    )
    chosen = transfer_heads.tuned(errors)
    best = errors["validation"].argmin("penalty")
    assert np.array_equal(
        chosen["penalty"], errors["penalty"][best]
    ) and chosen.dims == (
        "p",
        "target",
    )
    assert (chosen >= errors["test"].min("penalty")).all()


# --- protocol -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "variances"), [("high", (10, 0.1)), ("low", (0.1, 10))]
)
def test_the_second_task_is_at_the_other_end(case, variances):
    spectrum = noise.task(case, 1.0).spectrum
    assert tuple(spectrum.eigenvalues[list(transfer.DIRECTIONS[case])]) == variances
    ascending = np.argsort(spectrum.eigenvalues)
    assert transfer.DIRECTIONS[case][1] == ascending[0 if case == "high" else -1]


def test_rows_are_shared_across_noise_levels_and_directions():
    a, b = transfer.draw(3, "high", 0.5, 1, 2), transfer.draw(3, "high", np.inf, 0, 2)
    assert np.array_equal(a.X, b.X) and a.X.shape == (10, transfer.ROWS)
    assert np.allclose(b.y, b.clean), "no noise"
    assert not np.array_equal(a.X, transfer.draw(3, "high", 0.5, 1, 3).X)
    ratio = a.clean.std() / (a.y - a.clean).std()
    assert ratio == pytest.approx(0.5, rel=0.05)
    order = np.argsort(a.X[1])
    slope = np.sign(a.clean[order[-1]] - a.clean[order[0]])
    assert (slope * np.diff(a.clean[order]) >= -1e-9).all(), (
        "the teacher sees its direction alone"
    )


def test_arranged_noise_keeps_its_values_and_rises_with_the_coordinate():
    _, batch = noise.sample(1, "high", 0.5)
    other = transfer.arranged(batch, 0)
    n = noise.TRAIN
    values, sorted_values = (v.y[:n] - v.clean[:n] for v in (batch, other))
    scale = np.ptp(sorted_values) / np.ptp(values)
    a, b = (np.sort(v - v.mean()) for v in (values * scale, sorted_values))
    assert a == pytest.approx(b, abs=1e-9)
    assert (np.diff(sorted_values[np.argsort(batch.X[0, :n])]) >= -1e-12).all()
    assert (
        other.y[:n].std(ddof=1) == pytest.approx(1) and abs(other.y[:n].mean()) < 1e-12
    )


def test_the_share_is_that_of_the_pre_activations(rng):
    spectrum = Spectrum(np.array([4.0, 1.0]))
    W = np.array([[[1.0, 2.0], [0.0, 4.0]]])
    network = trainer.Network(W, np.zeros((1, 2)), np.zeros((1, 2)), np.zeros((1, 1)))
    shares = transfer.variance_shares(network, spectrum)
    assert shares[:, 0] == pytest.approx([4 / 24, 20 / 24])
    Z = W[0] @ spectrum.inputs(200_000, rng)
    assert Z.var(1).sum() == pytest.approx(24, rel=0.02)


def reuse(seed=0, case="high", snr=1.0, **changes):
    return transfer.reuse(seed, case, snr, transfer.Setting(**changes))


def test_stages_are_one_run():
    """Recording on the way changes nothing, and the first task is the run of the
    chapter on noise.
    """
    exponents = [-1.0, 1.0]
    both = reuse(steps=(20, 60), exponents=exponents)
    once = reuse(steps=(60,), exponents=exponents)
    assert np.allclose(both["test"].sel(step=60), once["test"].sel(step=60), rtol=1e-5)
    setting = noise.Setting(steps=60, exponents=exponents)
    before = noise.trajectories(0, "high", 1.0, setting)
    assert np.allclose(both["train"].sel(step=60), before["train"][:, -1], rtol=1e-6)
    assert both["test"].dims == ("p", "step", "target", "penalty")
    assert both["share"].dims == both["others"].dims == ("p", "step")


def test_no_steps_are_the_features_that_were_never_trained():
    errors = reuse(case="low", steps=(0,), exponents=[-1.0, 1.0], width=40)
    network = trainer.kaiming(1, 40, 10, np.random.default_rng([0, noise.WEIGHTS]))
    alone = transfer_heads.ridge_errors(network, [transfer.draw(0, "low", 1.0, 8, 2)])
    for p in range(2):
        assert np.array_equal(errors["test"][p, 0], alone["test"][0])
    assert errors["train"].values == pytest.approx(199 / 200, rel=1e-3)


def test_fewer_test_rows_and_a_longer_step_are_the_same_experiment():
    few = reuse(steps=(60,), exponents=[0.0], width=40, n_test=500)
    full = reuse(steps=(60,), exponents=[0.0], width=40)
    assert np.array_equal(few["validation"], full["validation"])
    assert abs(np.log(few["test"] / full["test"])).max() < 0.3
    slow = reuse(steps=(400,), exponents=[0.0], width=40)
    fast = reuse(steps=(200,), exponents=[0.0], width=40, eta=2 * noise.ETA)
    assert np.allclose(fast["train"], slow["train"], rtol=0.05)


def test_others_average_the_nine_directions():
    run = reuse(case="low", steps=(5, 300), exponents=[-1.0], width=40).isel(p=0)
    assert 0.2 < run["share"][1] / run["others"][1] < 5
    assert run["others"][0] == pytest.approx(1 / 9, rel=0.01), (
        "at the start the nine large directions hold everything"
    )


def test_the_same_direction_is_easier():
    setting = {"snr": np.inf, "steps": (800,), "exponents": [0.0], "targets": [np.inf]}
    same, other = (
        study.fixed_penalty(reuse(**setting, width=60, same=s), np.inf)
        for s in (True, False)
    )
    assert same.item() < 0.1 < 0.8 < other.item()


def test_adahessian_and_arranged_noise_run():
    setting = {"case": "low", "snr": 0.5, "steps": (200,), "exponents": [-1.0]}
    plain, diagonal, arranged = (
        reuse(**setting, width=20, **changes)
        for changes in ({}, {"optimizer": "adahessian"}, {"arrange": True})
    )
    assert plain["train"].notnull().all()
    assert not np.allclose(plain["share"], diagonal["share"], rtol=1e-3)
    assert not np.allclose(plain["train"], arranged["train"], rtol=1e-6)


# --- sequence -------------------------------------------------------------------------


@pytest.mark.parametrize("order", transfer_sequence.ORDERS)
@pytest.mark.parametrize("case", ["high", "low"])
def test_orders_start_on_the_distinguished_direction(case, order):
    lam = noise.task(case, 1.0).spectrum.eigenvalues
    directions = transfer_sequence.ORDERS[order][case]
    assert len(directions) == 5 and directions[0] == transfer.DIRECTIONS[case][0]
    others = [r for r in directions if r != directions[0]]
    assert (
        len(set(others))
        == len(others)
        == {"staying": 0, "alternating": 2, "wandering": 4}[order]
    )
    assert all(lam[r] != lam[directions[0]] for r in others)


def test_sequence_measures_before_it_trains():
    setting = {"case": "high", "steps": 40, "exponents": [-1.0, 0.0], "width": 30}
    fresh, kept = (
        transfer_sequence.sequence(0, order="wandering", head=h, **setting)
        for h in ("fresh", "kept")
    )
    staying = transfer_sequence.sequence(0, order="staying", **setting)
    assert fresh["next"].dims == ("p", "task") and fresh["first"].dims == ("p", "after")
    # the second task is measured on features of the first alone: neither the head nor
    # later tasks matter
    assert fresh["next"].sel(task=2).equals(kept["next"].sel(task=2))
    assert fresh["first"].sel(after=1).equals(staying["first"].sel(after=1))
    assert not fresh["first"].sel(after=5).equals(kept["first"].sel(after=5))
    mean = transfer_sequence.average(fresh["next"])
    assert mean[0].item() == pytest.approx(np.prod(fresh["next"][0].values) ** 0.25)


# --- bad input ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"case": "middle"}, "case = 'middle': must be one of high, low"),
        ({"snr": 0.0}, "snr"),
        ({"optimizer": "adam"}, "optimizer = 'adam': must be one of exact, adahessian"),
        (
            {"optimizer": "adahessian", "steps": (2, 3)},
            "must be one number for adahessian",
        ),
        ({"steps": (3, 2)}, "steps"),
        ({"width": 0}, "width = 0"),
        ({"exponents": [np.inf]}, "p = inf"),
        ({"targets": [-1.0]}, "snr = -1"),
    ],
)
def test_bad_settings_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        reuse(**{"steps": (2,), "width": 4} | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"order": "random"},
            "order = 'random': must be one of staying, alternating, wandering",
        ),
        ({"head": "lost"}, "head = 'lost': must be one of fresh, kept"),
        ({"case": "none"}, "case = 'none'"),
        ({"steps": 0}, "steps"),
    ],
)
def test_bad_sequences_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        transfer_sequence.sequence(
            **{"seed": 0, "case": "high", "order": "staying", "steps": 2, "width": 4}
            | change
        )


def test_bad_rows_and_penalties_are_named():
    with pytest.raises(ValueError, match="direction = 10: must be at most 9"):
        transfer.draw(0, "high", 1.0, 10, 2)
    network = trainer.kaiming(1, 3, 10, np.random.default_rng(0))
    with pytest.raises(ValueError, match="penalties has smallest entry 0"):
        transfer_heads.ridge_errors(
            network, [transfer.draw(0, "high", 1.0, 1, 2)], [0.0, 1.0]
        )
    with pytest.raises(ValueError, match="n = 1"):
        early_shares(noise.task("high", 1.0, [1.0]), 0.0, 1)
    with pytest.raises(ValueError, match="2 teacher directions"):
        early_shares(noise.task("high", 1.0, [1.0, 1.0], "two"), 0.0, 10)


# --- study ----------------------------------------------------------------------------


@pytest.mark.parametrize("scale", ["smoke", "book", "paper"])
def test_sizes_are_stated_once_and_blocks_share_no_seed(monkeypatch, scale):
    asked = []

    def sweep(function, grid, seeds, setting):
        asked.append((list(seeds), setting))
        coords = {"seed": list(seeds), "step": list(setting.steps)}
        return xr.Dataset(coords=grid | coords)

    monkeypatch.setattr(study, "sweep", sweep)
    runs = study.main(scale), study.main(scale, block=1)
    (seeds, setting), (others, again) = asked
    assert not set(seeds) & set(others) and setting == again
    assert [run.attrs["seeds"] for run in runs] == [seeds, others]
    assert runs[0].attrs["width"] == setting.width
    times = [step * setting.eta for step in setting.steps]
    assert times == pytest.approx(study.TIMES) and study.CURVE[-1] == study.MIDDLE
    assert runs[0]["time"].values.tolist() == list(study.TIMES)


def test_towards_takes_the_exponent_that_points_at_the_second_task():
    errors = xr.DataArray(
        [[2.0, 1.0, 4.0], [2.0, 1.0, 4.0]],
        {"case": ["high", "low"], "p": [-2.0, -1.0, 0.0]},
    )
    assert np.exp(study.towards(errors)).values == pytest.approx([2, 4])
