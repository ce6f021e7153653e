"""A power of the input moment before any optimizer: what it computes, and what it keeps."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from fl.instruments import trainer
from fl.numerics import psd_power
from fl.power_preconditioner import PowerPreconditioner, power_of
from fl.simulate import noise

SGD = torch.optim.SGD


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 3)).double()


def batches(steps, n=16):
    draw = torch.Generator().manual_seed(1)
    for _ in range(steps):
        x = torch.randn(n, 6, generator=draw, dtype=torch.float64)
        yield x * torch.arange(1, 7), torch.randint(3, (n,), generator=draw)


def loss(model, x, y):
    return nn.functional.cross_entropy(model(x), y)


def train(model, optimizer, data):
    for x, y in data:
        optimizer.zero_grad()
        loss(model, x, y).backward()
        optimizer.step()


def weights(model):
    return [w.detach().clone() for w in model.parameters()]


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("p", [-1.0, 0.0, 1.0])
def test_with_the_moment_given_it_is_the_exact_experiment_of_the_chapter_noise(p):
    setting = noise.Setting(steps=40, exponents=(p,))
    errors = noise.trajectories(3, "high", 1.0, setting)
    task, (X, y, _) = noise.sample(3, "high", 1.0)
    rng = np.random.default_rng([3, noise.WEIGHTS])
    W, b, a, c = (part[0] for part in trainer.kaiming(1, noise.WIDTH, noise.D, rng))
    first, last = nn.Linear(noise.D, noise.WIDTH), nn.Linear(noise.WIDTH, 1)
    model = nn.Sequential(first, nn.ReLU(), last).double()
    with torch.no_grad():
        for w, value in zip(model.parameters(), (W, b, a, c), strict=True):
            w.copy_(torch.as_tensor(value).reshape(w.shape))
    descent = SGD(model.parameters(), lr=noise.ETA)
    moments = {"0": task.spectrum.power(1)}
    optimizer = PowerPreconditioner(descent, model, p, 0.0, moments=moments)
    inputs, labels = (torch.as_tensor(part[..., : noise.TRAIN].T) for part in (X, y))

    def error():
        return ((model(inputs)[:, 0] - labels) ** 2).mean()

    for _ in range(setting.steps):
        optimizer.zero_grad()
        error().backward()
        optimizer.step()
    assert (
        abs(float(error().detach()) - float(errors["train"].isel(step=-1).squeeze()))
        < 1e-9
    )


@pytest.mark.parametrize("p", [-1.0, -0.5, 0.0, 2.0])
def test_the_power_is_that_of_a_damped_psd_matrix(p):
    X = np.random.default_rng(0).standard_normal((3, 5))
    M = X.T @ X
    assert np.allclose(power_of(torch.as_tensor(M), p, 0.0), psd_power(M, p))
    raised = M + 0.1 * np.linalg.eigvalsh(M)[-1] * np.eye(5)
    assert np.allclose(power_of(torch.as_tensor(M), p, 0.1), psd_power(raised, p))
    assert not power_of(torch.zeros(3, 3), p, 0.1).any()


def test_the_running_moment_is_a_mean_and_then_a_moving_average():
    model = mlp()
    optimizer = PowerPreconditioner(
        SGD(model.parameters(), lr=0.0), model, -0.5, memory=0.5
    )
    data = list(batches(3))
    train(model, optimizer, data)
    first, second, third = (x.T @ x / len(x) for x, _ in data)
    assert torch.allclose(optimizer.moments["0"], (first + second) / 4 + third / 2)


def test_a_step_leaves_the_gradient_as_it_was_and_moves_by_its_power():
    model = mlp()
    optimizer = PowerPreconditioner(SGD(model.parameters(), lr=1.0), model, -0.5, 0.01)
    before = weights(model)
    train(model, optimizer, batches(1))
    G, old = model[0].weight.grad, before[0]
    P = power_of(optimizer.moments["0"], -0.5, 0.01)
    assert torch.allclose(old - model[0].weight, G @ P)
    assert torch.allclose(before[2] - model[2].weight, model[2].weight.grad)


@pytest.mark.parametrize("every", [1, 4])
def test_a_state_that_is_saved_in_mid_run_goes_on_the_same(every):
    ends = []
    for saved in (False, True):
        model = mlp()

        def make(model=model):
            adam = torch.optim.Adam([{"params": model.parameters(), "lr": 0.01}])
            return PowerPreconditioner(adam, model, -0.5, layers="all", every=every)

        optimizer = make()
        data = list(batches(13))
        train(model, optimizer, data[:6])
        loss(model, *data[6]).backward()  # inputs seen, no step yet
        if saved:
            state = copy.deepcopy(optimizer.state_dict())
            optimizer.close()
            optimizer = make()
            optimizer.load_state_dict(state)
        optimizer.step()
        train(model, optimizer, data[7:])
        ends.append(weights(model))
    assert same(*ends)


def test_a_state_of_other_layers_is_refused():
    first, every = (
        PowerPreconditioner(SGD(m.parameters(), lr=1.0), m, -1.0, layers=which)
        for m, which in ((mlp(), "first"), (mlp(), "all"))
    )
    with pytest.raises(ValueError, match=r"layers \['0', '2'\]: must be \['0'\]"):
        first.load_state_dict(every.state_dict())


def test_schedulers_and_groups_reach_the_inner_optimizer():
    model = mlp()
    inner = SGD(model[0].parameters(), lr=1.0)
    optimizer = PowerPreconditioner(inner, model, -0.5)
    optimizer.add_param_group({"params": list(model[2].parameters()), "lr": 0.5})
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.1)
    train(model, optimizer, batches(1))
    scheduler.step()
    assert [g["lr"] for g in inner.param_groups] == [0.1, 0.05]
    optimizer.load_state_dict(optimizer.state_dict())
    scheduler.step()
    assert np.allclose([g["lr"] for g in inner.param_groups], [0.01, 0.005])


def test_accumulation_and_a_closure_are_the_whole_batch():
    ends = []
    for kind in ("whole", "halves", "closure"):
        model = mlp()
        optimizer = PowerPreconditioner(SGD(model.parameters(), lr=0.1), model, -0.5)
        for x, y in batches(4):

            def evaluate(model=model, optimizer=optimizer, x=x, y=y):
                optimizer.zero_grad()
                value = loss(model, x, y)
                value.backward()
                return value

            if kind == "closure":
                optimizer.step(evaluate)
                continue
            optimizer.zero_grad()
            parts = [slice(0, 8), slice(8, None)] if kind == "halves" else [slice(None)]
            for part in parts:
                (loss(model, x[part], y[part]) / len(parts)).backward()
            optimizer.step()
        ends.append(weights(model))
    for other in ends[1:]:
        assert all(torch.allclose(a, b) for a, b in zip(ends[0], other, strict=True))


def test_mixed_precision_and_scaling_change_the_rounding_alone():
    ends = []
    for scaled in (False, True):
        model = mlp().float()
        optimizer = PowerPreconditioner(SGD(model.parameters(), lr=0.1), model, -0.5)
        scaler = torch.amp.GradScaler("cpu", init_scale=256.0, enabled=scaled)
        for x, y in batches(5):
            optimizer.zero_grad()
            with torch.autocast("cpu", enabled=scaled):
                value = loss(model, x.float(), y)
            scaler.scale(value).backward()
            scaler.step(optimizer)
            scaler.update()
        ends.append(weights(model))
    assert not same(*ends)
    assert all(torch.allclose(a, b, atol=0.02) for a, b in zip(*ends, strict=True))
    half = mlp().bfloat16()
    optimizer = PowerPreconditioner(SGD(half.parameters(), lr=0.1), half, -0.5)
    train(half, optimizer, ((x.bfloat16(), y) for x, y in batches(2)))
    assert half[0].weight.grad.dtype == torch.bfloat16


def test_frozen_and_shared_weights_are_left_alone_and_named():
    model = mlp()
    model.append(nn.Linear(3, 3).double()).append(nn.Linear(3, 3).double())
    model[4].weight = model[3].weight
    model[0].requires_grad_(False)
    optimizer = PowerPreconditioner(
        SGD(model.parameters(), lr=0.1), model, -1.0, layers="all"
    )
    assert list(optimizer.layers) == ["2"]
    train(model, optimizer, batches(2))
    with pytest.raises(ValueError, match="'0': frozen"):
        PowerPreconditioner(SGD(model.parameters(), lr=0.1), model, -1.0, layers=["0"])
    with pytest.raises(ValueError, match="'3': shared by 3, 4"):
        PowerPreconditioner(SGD(model.parameters(), lr=0.1), model, -1.0, layers=["3"])


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"p": np.nan}, "p = nan"),
        ({"damping": -1}, "damping = -1"),
        ({"layers": ["9"]}, "'9': must be one of 0, 2"),
        ({"layers": []}, "layers is empty: must name some of 0, 2"),
        ({"layers": "second"}, "layers = 'second': must be one of first, all"),
        ({"model": mlp()}, "0.weight: none of this optimizer's parameters"),
        ({"memory": 2}, "memory = 2"),
        ({"every": 0}, "every = 0"),
        ({"moments": {"0": np.eye(2)}}, r"entry '0' has shape.* must be \(6, 6\)"),
        (
            {"moments": {"0": -np.eye(6)}},
            "moments entry '0' has smallest eigenvalue -1",
        ),
        ({"moments": {"0": np.triu(np.ones((6, 6)))}}, "entry '0' is not symmetric"),
        ({"moments": {"0": np.zeros((6, 6))}}, "moments entry '0' is zero"),
        ({"moments": {"2": np.eye(7)}}, "must be one of 0"),
    ],
)
def test_bad_arguments_are_refused_by_name(change, word):
    model = mlp()
    with pytest.raises(ValueError, match=word):
        PowerPreconditioner(
            **{"optimizer": SGD(model.parameters(), lr=1.0), "model": model, "p": -1.0}
            | change
        )
