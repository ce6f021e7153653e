"""The meter: exact readings, corrections, refusals, what it leaves alone, and a battery of
optimizers against everything that a training loop may do.
"""

import copy
import gc
import math
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from fl.meter import Meter
from fl.meter_layers import rows
from fl.optimizers import library
from fl.power_preconditioner import PowerPreconditioner


def data(n=32, d=8, dtype=torch.float64):
    draw = torch.Generator().manual_seed(1)
    mix = torch.diag(torch.logspace(0, -1, d, dtype=torch.float64))
    x = torch.randn(n, d, generator=draw, dtype=torch.float64) @ mix + 0.3
    return x.to(dtype), torch.randint(3, (n,), generator=draw)


def mlp(dtype=torch.float64):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 3)).to(dtype)


def cnn():
    torch.manual_seed(0)
    convolution = nn.Conv2d(
        1, 4, (2, 3), stride=(1, 2), padding=1, padding_mode="reflect"
    )
    layers = nn.Unflatten(1, (1, 4, 2)), convolution, nn.ReLU(), nn.Flatten()
    return nn.Sequential(*layers, nn.LazyLinear(3)).double()


def once(model, x, y):
    nn.functional.cross_entropy(model(x), y).backward()


def train(model, optimizer, steps=40, dtype=torch.float64, batch=16):
    x, y = data(dtype=dtype)
    for t in range(steps):
        i = torch.arange(t, t + batch) % len(x)
        optimizer.zero_grad()
        once(model, x[i], y[i])
        optimizer.step()


def metered(model, optimizer, train=train, **options):
    with Meter(model, optimizer, **options) as meter:
        train(model, optimizer)
    return meter.result()


def weights(model):
    return [w.detach().clone() for w in model.parameters()]


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


# --- exact readings -------------------------------------------------------------------


@pytest.mark.parametrize("net", [mlp, cnn])
@pytest.mark.parametrize("p", [-1.0, -0.5, 0.0, 1.0])
def test_a_power_of_the_shared_moment_is_read_exactly(net, p):
    model = net()
    model(data()[0])
    descent = torch.optim.SGD(model.parameters(), lr=1e-3)
    optimizer = PowerPreconditioner(descent, model, p, 0.0, "all", every=10)
    found = metered(model, optimizer, window=10, moments=optimizer.moments)
    assert len(found) == 2
    for reading in found.values():
        # the basis is exact where the power kept every direction
        assert abs(reading.slope - p) < 1e-6 and reading.kappa > 1 - 1e-9
        assert reading.windows == 4 and reading.moment == "given"


def test_gradient_descent_is_read_as_zero_in_any_basis():
    for centred in (False, True):
        optimizer = torch.optim.SGD((model := mlp()).parameters(), lr=0.05)
        for reading in metered(model, optimizer, centred=centred).values():
            assert abs(reading.p) < 1e-12 and "p = " in str(reading)


def test_rows_of_a_convolution_are_those_its_weight_meets():
    for options in (
        {"padding": 1},
        {"padding": "same", "dilation": 2},
        {"padding": (2, 1), "stride": 2, "padding_mode": "circular"},
    ):
        layer = nn.Conv2d(2, 3, 3, **options).double()
        x = torch.randn(2, 2, 7, 6, dtype=torch.float64)
        out = rows(layer, x) @ layer.weight.flatten(1).T + layer.bias
        assert torch.allclose(out, layer(x).flatten(2).transpose(1, 2).reshape(-1, 3))


# --- corrections ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (lambda w: torch.optim.SGD(w, lr=0.02, momentum=0.9), {"momentum": 0.9}),
        (lambda w: torch.optim.SGD(w, lr=0.02, weight_decay=0.1), {"decay": "coupled"}),
        (
            lambda w: torch.optim.SGD(w, lr=0.02, momentum=0.9, weight_decay=0.1),
            {"momentum": 0.9, "decay": "coupled"},
        ),
        (lambda w: torch.optim.SGD(w, lr=0.02, maximize=True), {}),
        (
            lambda w: library("SGDW")(w, lr=0.02, weight_decay=0.1),
            {"decay": "decoupled"},
        ),
    ],
)
def test_corrections_are_exact_and_matter(make, options):
    model = mlp()
    corrected = metered(model, make(model.parameters()), window=10, **options)
    assert all(abs(r.p) < 1e-9 for r in corrected.values()), corrected
    if options:
        raw = metered(model := mlp(), make(model.parameters()), window=10)
        assert any(abs(r.slope) > 1e-3 for r in raw.values())
    if "decay" in options:
        assert all("weight_decay = 0.1" in r.refusal for r in raw.values())


def test_momentum_is_filtered_through_windows_that_are_not_read():
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    found = metered(model, optimizer, window=5, every=3, momentum=0.9)
    assert all(abs(r.p) < 1e-9 and r.windows == 3 for r in found.values())


# --- refusals -------------------------------------------------------------------------


def test_weights_in_bfloat16_are_refused_and_in_float32_read():
    for dtype, read in ((torch.bfloat16, False), (torch.float32, True)):
        model = mlp(dtype)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        found = metered(model, optimizer, lambda m, o, t=dtype: train(m, o, dtype=t))
        for reading in found.values():
            assert read == (not reading.refusal) == math.isfinite(reading.p)
            assert read or "roundings" in str(reading)


@pytest.mark.parametrize("p", [0.5, 1.0])
def test_directions_that_rounding_keeps_still_do_not_bend_the_exponent(p):
    torch.manual_seed(0)
    scales = torch.logspace(0, -2, 20)
    model = nn.Sequential(nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 3))
    moments = {"0": torch.diag(scales**2)}
    descent = torch.optim.SGD(model.parameters(), lr=1e-3)
    optimizer = PowerPreconditioner(descent, model, p, 0.0, moments=moments)
    with Meter(model, optimizer, moments=moments) as meter:
        for _ in range(100):
            optimizer.zero_grad()
            once(model, torch.randn(64, 20) * scales, torch.randint(3, (64,)))
            optimizer.step()
    reading = meter.result()["0"]
    assert 4 <= len(reading.lam) < 20 and abs(reading.p - p) < 0.01, reading


@pytest.mark.parametrize(
    ("inputs", "word"),
    [
        (lambda x: x[:, :3], "3 directions"),
        (lambda x: torch.linalg.qr(x)[0] * 5, "eigenvalues within a factor 1"),
        (lambda x: x * 0, "no complete window|0 directions"),
    ],
)
def test_inputs_without_a_spectrum_are_refused(inputs, word):
    x, y = data()
    x = inputs(x)
    model = nn.Sequential(nn.Linear(x.shape[1], 3)).double()

    def whole(model, optimizer):
        for _ in range(20):
            optimizer.zero_grad()
            once(model, x, y)
            optimizer.step()

    (reading,) = metered(
        model, torch.optim.SGD(model.parameters(), lr=0.1), whole
    ).values()
    assert any(w in reading.refusal for w in word.split("|")), reading


def test_updates_that_are_no_power_or_go_up_are_refused_with_the_number():
    class Odd(torch.optim.SGD):
        def step(self):
            for w in self.param_groups[0]["params"]:
                w.grad = self.change(w.grad)
            super().step()

    for change, word in [
        (lambda g: -g, "follows the gradient in a share 0.00"),
        (lambda g: g + 9 * g.roll(1, -1), "directions|kappa"),
    ]:
        model = mlp()
        optimizer = Odd(model.parameters(), lr=1e-3)
        optimizer.change = change
        for reading in metered(model, optimizer).values():
            assert any(w in reading.refusal for w in word.split("|")), reading


def test_a_positive_power_is_read_with_a_given_moment_only():
    model = mlp()
    descent = torch.optim.SGD(model.parameters(), lr=0.05)
    optimizer = PowerPreconditioner(descent, model, 1.0, every=20)
    own = metered(model, optimizer)["0"]
    assert "positive powers" in own.refusal and np.isnan(own.p)


def test_what_cannot_be_metered_is_named():
    shared = nn.Linear(5, 5)
    model = nn.ModuleDict(
        {
            "good": nn.Linear(8, 5),
            "one": shared,
            "two": nn.Linear(5, 5),
            "frozen": nn.Linear(5, 5).requires_grad_(False),
            "depth": nn.Conv2d(4, 4, 3, groups=4),
            "wide": nn.Linear(2049, 2),
            "norm": nn.LayerNorm(5),
            "words": nn.Embedding(7, 5),
            "lazy": nn.LazyLinear(5),
            "tied": nn.utils.parametrizations.weight_norm(nn.Linear(5, 5)),
            "other": nn.Linear(5, 5),
        }
    )
    model["two"].weight = shared.weight
    other = set(model["other"].parameters())
    chosen = [w for w in model.parameters() if w not in other]
    with Meter(model, torch.optim.SGD(chosen, lr=0.1)) as meter:
        assert list(meter.layers) == ["good"]
    words = {
        "good.bias": "no matrix",
        "one.weight": "shared by one, two",
        "frozen.weight": "frozen",
        "depth.weight": "groups = 4",
        "wide.weight": "2049 inputs",
        "norm.weight": "LayerNorm",
        "words.weight": "Embedding",
        "lazy.weight": "no shape yet",
        "other.weight": "none of this optimizer",
        "tied.parametrizations.weight.original0": "ParametrizationList",
    }
    for name, word in words.items():
        assert word in meter.skipped[name]
    named = {n for n, _ in model.named_parameters(remove_duplicate=False)}
    assert named == meter.skipped.keys() | {"good.weight"}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"model": 3}, "torch.nn.Module"),
        ({"optimizer": 3}, "torch.optim.Optimizer"),
        ({"model": nn.ReLU()}, "no layer that can be metered"),
        ({"window": 0}, "window = 0"),
        ({"every": 1.5}, "every = 1.5"),
        ({"momentum": 2}, "momentum = 2"),
        ({"decay": "both"}, "must be one of coupled, decoupled"),
        ({"moments": {"9": np.eye(8)}}, "moments entry = '9'"),
        ({"moments": {"0": np.eye(5)}}, r"moments entry '0' has shape \(5, 5\)"),
        (
            {"moments": {"0": -np.eye(8)}},
            "moments entry '0' has smallest eigenvalue -1",
        ),
    ],
)
def test_bad_arguments_are_refused_by_name(change, word):
    model = mlp()
    good = {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.1)}
    with pytest.raises(ValueError, match=word):
        Meter(**good | change)


# --- it leaves the run alone ----------------------------------------------------------


def test_the_run_is_the_same_bit_for_bit_and_the_hooks_go():
    ends = []
    for watched in (False, True):
        model = cnn().float()
        model(data()[0].float())
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        if watched:
            meter = Meter(model, optimizer, window=7)
        train(model, optimizer, dtype=torch.float32)
        ends.append([*weights(model), torch.rand(2)])
    assert same(*ends)
    meter.close()
    hooks = [len(m._forward_pre_hooks) for m in model.modules()]
    assert sum(hooks) == len(optimizer._optimizer_step_pre_hooks) == 0
    assert len(optimizer._optimizer_step_post_hooks) == 0
    before = meter.result()["1"].windows
    train(model, optimizer, dtype=torch.float32)
    assert meter.result()["1"].windows == before == 5


def test_a_copy_of_the_model_is_not_counted():
    model = mlp()
    with Meter(model, torch.optim.SGD(model.parameters(), lr=0.1)) as meter:
        copy.deepcopy(model)(data()[0])
        assert meter.layers["0"].seen == 0


def test_passes_outside_training_are_not_counted_and_no_graph_is_kept():
    model = mlp()
    x, y = data()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Meter(model, optimizer) as meter:
        model.eval()
        model(x)
        with torch.no_grad():
            model.train()(x)
        layer = meter.layers["0"]
        assert layer.seen == 0
        loss = model(x).sum()
        loss.backward()
        assert layer.seen == len(x)
        node = loss.grad_fn
        optimizer.step()
        del loss
        gc.collect()
        tensors = (t for t in gc.get_objects() if type(t) is torch.Tensor)
        held = [t for t in tensors if t.grad_fn is node]
        assert not held
        kept = [v for v in vars(layer).values() if torch.is_tensor(v)]
        assert not [v for v in kept if v.requires_grad and not v.is_leaf]


# --- compiled, distributed, copied ----------------------------------------------------


@pytest.fixture
def compiler():
    """Compiled code that must not be compiled anew for what the hooks count."""
    torch._dynamo.reset()
    with torch._dynamo.config.patch(
        recompile_limit=2, fail_on_recompile_limit_hit=True
    ):
        yield lambda model: torch.compile(model, backend="eager")
    torch._dynamo.reset()


def slopes_of(meter):
    return [reading.slope for reading in meter.result().values()]


# torch's own, where compiled code is left for a hook
quiet = pytest.mark.filterwarnings("ignore:The .grad attribute", "ignore:.torch.jit")


@quiet
@pytest.mark.parametrize("order", ["compiled first", "meter first", "in place", "step"])
def test_a_compiled_model_is_read_like_any_other(order, compiler):
    found = []
    for compiled in (False, True):
        model = mlp()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        watched = runs = model
        if compiled and order == "compiled first":
            watched = runs = compiler(model)
        meter = Meter(watched, optimizer)
        if compiled and order == "meter first":
            runs = compiler(model)
        if compiled and order == "in place":
            model.compile(backend="eager")
        if compiled and order == "step":
            optimizer.step = compiler(optimizer.step)
        train(runs, optimizer)
        found.append(slopes_of(meter))
        meter.close()
    assert np.allclose(*found, atol=1e-5)  # compiled Adam rounds otherwise


@quiet
def test_what_compiled_code_hides_is_refused_and_not_taken_for_a_power(compiler):
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    compiled = compiler(model)
    train(compiled, optimizer, 1)
    with Meter(compiled, optimizer) as meter:
        train(compiled, optimizer)
    for reading in meter.result().values():
        assert "did compiled code run before" in reading.refusal
    late = PowerPreconditioner(optimizer, model, -0.5)
    with pytest.raises(ValueError, match="layer '0' has a gradient and no inputs"):
        train(compiled, late, 1)


@pytest.fixture
def one_process(tmp_path):
    start = f"file://{tmp_path}/group"
    torch.distributed.init_process_group("gloo", start, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_data_parallel_training_is_read_through_the_wrapper_and_beneath(one_process):
    found = []
    for wrapped in (None, "wrapper", "beneath"):
        model = mlp()
        whole = nn.parallel.DistributedDataParallel(model) if wrapped else model
        optimizer = torch.optim.Adam(whole.parameters(), lr=0.01)
        with Meter(whole if wrapped == "wrapper" else model, optimizer) as meter:
            train(whole, optimizer)
        assert list(meter.layers)[0] == ("module.0" if wrapped == "wrapper" else "0")
        found.append(slopes_of(meter))
    assert np.allclose(found[0], found[1:])


def test_weights_in_shards_are_named(one_process):
    model = mlp()
    mesh = torch.distributed.init_device_mesh("cpu", (1,))
    sharded = torch.distributed.tensor.distribute_tensor(model[0].weight.detach(), mesh)
    model[0].weight = nn.Parameter(sharded)
    meter = Meter(model, torch.optim.SGD(model.parameters(), lr=0.1))
    assert "sharded" in meter.skipped["0.weight"] and list(meter.layers) == ["2"]


def through_pickle(pair):
    return pickle.loads(pickle.dumps(pair))


@pytest.mark.parametrize("copied", [copy.deepcopy, through_pickle])
def test_copies_of_model_and_optimizer_train_alike_and_are_not_watched(copied):
    for name in ("SGD", "Adam", "RMSprop", "power"):
        model = mlp()
        optimizer = METHODS[name](model.parameters(), model)
        meter = Meter(model, optimizer, window=5)
        train(model, optimizer, 7)
        twin, other = copied((model, optimizer))
        train(twin, other, 7)
        assert meter.steps == 7
        train(model, optimizer, 7)
        assert meter.steps == 14 and same(weights(model), weights(twin))
        with Meter(twin, other, window=5) as second:
            train(twin, other, 5)
        assert second.result()["0"].windows == 1 and meter.steps == 14
    with pytest.raises(TypeError, match="a Meter has no copies"):
        copied(meter)


def test_defaults_of_the_session_do_not_matter():
    found = []
    for dtype, device in (("float32", "cpu"), ("bfloat16", "meta")):
        model = mlp()
        # no Adam: torch 2.9 keeps its count of steps on the device of the session
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        meter = Meter(model, optimizer)
        x, y = data()
        torch.set_default_dtype(getattr(torch, dtype))
        try:
            with torch.device(device):
                for _ in range(20):
                    optimizer.zero_grad()
                    once(model, x, y)
                    optimizer.step()
        finally:
            torch.set_default_dtype(torch.float32)
        found.append(slopes_of(meter))
    assert np.allclose(*found, atol=1e-12)


def test_a_moment_may_be_a_tensor_or_an_array():
    found = []
    for form in (torch.as_tensor, np.asarray):
        model = mlp()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        d = model[0].weight.shape[1]
        moment = form(np.diag(np.geomspace(1, 0.1, d)))
        meter = Meter(model, optimizer, moments={"0": moment})
        x, y = data()
        for _ in range(20):
            optimizer.zero_grad()
            once(model, x, y)
            optimizer.step()
        found.append(meter.result()["0"])
    assert found[0].slope == found[1].slope and found[0].windows == 1


# --- the battery ----------------------------------------------------------------------


def power(w, model):
    return PowerPreconditioner(torch.optim.SGD(w, lr=1e-3), model, -0.5, layers="all")


METHODS = {
    "SGD": lambda w, m: torch.optim.SGD(w, lr=0.01),
    "Adam": lambda w, m: torch.optim.Adam(w, lr=0.01),
    "AdamW": lambda w, m: torch.optim.AdamW(w, lr=0.01),
    "Adagrad": lambda w, m: torch.optim.Adagrad(w, lr=0.01),
    "RMSprop": lambda w, m: torch.optim.RMSprop(w, lr=0.01),
    "Adafactor": lambda w, m: torch.optim.Adafactor(w, lr=0.01),
    "SOAP": lambda w, m: library("SOAP")(w, lr=0.01),
    "Shampoo": lambda w, m: library("Shampoo")(w, lr=0.01),
    "Lion": lambda w, m: library("Lion")(w, lr=0.01),
    "power": power,
}


def plain(model, make):
    optimizer = make(model.parameters(), model)
    return optimizer, lambda x, y: (
        optimizer.zero_grad(),
        once(model, x, y),
        optimizer.step(),
    )


def closure(model, make):
    optimizer = make(model.parameters(), model)

    def step(x, y):
        def evaluate():
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            return loss

        assert optimizer.step(evaluate).isfinite()

    return optimizer, step


def missing(model, make):
    optimizer, step = plain(model, make)

    def once_in_two(x, y):
        model[2].requires_grad_(bool(x[0, 0] > 0.3))
        optimizer.zero_grad()
        step(x, y)

    return optimizer, once_in_two


def groups(model, make):
    parts = [
        {"params": model[0].parameters(), "lr": 1e-3},
        {"params": model[2].parameters()},
    ]
    optimizer = make(parts, model)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)

    def step(x, y):
        optimizer.zero_grad()
        once(model, x, y)
        optimizer.step()
        scheduler.step()

    return optimizer, step


def accumulated(model, make):
    optimizer = make(model.parameters(), model)

    def step(x, y):
        optimizer.zero_grad()
        for part in (slice(0, 8), slice(8, None)):
            once(model, x[part], y[part])
        optimizer.step()

    return optimizer, step


def nothing(model, make):
    optimizer = make(model.parameters(), model)

    def step(x, y):
        optimizer.zero_grad()
        (0 * model(x).sum()).backward()
        optimizer.step()

    return optimizer, step


def scaled(model, make):
    optimizer = make(model.parameters(), model)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)

    def step(x, y):
        optimizer.zero_grad()
        with torch.autocast("cpu"):
            loss = nn.functional.cross_entropy(model(x.float()), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    return optimizer, step


LOOPS = [plain, closure, missing, groups, accumulated, nothing, scaled]


@pytest.mark.parametrize("loop", LOOPS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("method", METHODS)
def test_no_training_loop_breaks_the_meter_and_it_breaks_none(method, loop):
    ends = []
    for watched in (False, True):
        model = mlp(torch.float32)
        optimizer, step = loop(model, METHODS[method])
        meter = (
            Meter(model, optimizer, window=5, decay="decoupled") if watched else None
        )
        x, y = data(dtype=torch.float32)
        for t in range(11):
            i = torch.arange(t, t + 16) % len(x)
            step(x[i], y[i])
        ends.append(weights(model))
    assert same(*ends)
    found = meter.result()
    assert found.keys() == {"0", "2"}
    for reading in found.values():
        assert math.isfinite(reading.p) or reading.refusal
        assert loop is not nothing or "no complete window" in reading.refusal


@pytest.mark.parametrize("option", ["foreach", "fused"])
def test_foreach_and_fused_are_read_like_the_loop(option):
    for make in (torch.optim.Adam, torch.optim.SGD):
        slopes = []
        for options in ({}, {option: True}):
            model = mlp(torch.float32)
            optimizer = make(model.parameters(), lr=0.01, **options)
            found = metered(
                model, optimizer, lambda m, o: train(m, o, dtype=torch.float32)
            )
            slopes.append([r.slope for r in found.values()])
        assert np.allclose(*slopes, atol=1e-3)


def test_one_by_one_matrices_and_a_layer_used_twice():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.square, self.tiny = nn.Linear(8, 8), nn.Linear(1, 1)

        def forward(self, x):
            x = self.square(torch.relu(self.square(x)))
            return torch.cat([x[:, :2], self.tiny(x[:, :1])], 1)

    torch.manual_seed(0)
    model = Twice().double()
    found = metered(model, torch.optim.SGD(model.parameters(), lr=0.01))
    assert abs(found["square"].p) < 1e-12 and found["square"].rows == 20 * 32
    assert "1 directions" in found["tiny"].refusal


def test_a_gradient_that_is_not_finite_costs_its_window_alone():
    model = mlp(torch.float32)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with Meter(model, optimizer, window=5) as meter:
        train(model, optimizer, 5, torch.float32)
        kept = weights(model)
        x, y = data(dtype=torch.float32)
        once(model, x * np.inf, y)
        optimizer.step()
        with torch.no_grad():
            for w, old in zip(model.parameters(), kept, strict=True):
                w.copy_(old)
        train(model, optimizer, 9, torch.float32)
    reading = meter.result()["0"]
    assert reading.windows == 2 and "1 windows" in reading.refusal
