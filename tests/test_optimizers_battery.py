"""Every method of the zoo on every kind of model, loss and weights: right, or refused by
name. A new method meets all cases; a new case meets all methods.
"""

import copy
import io
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fl.optimizers import ZOO, defaults, minimise
from fl.optimizers_drive import Problem
from fl.preconditioners import PowerAdaHessian, Shampoo, inverse_root
from fl.preconditioners_kfac import KFAC

N, D, H, C = 24, 6, 5, 3
HUTCHINSON = ["Sophia-H", "AdaHessian", "power-AdaHessian"]
FINE_EPS = ["Adam", "AdamW", "Sophia-H", "AdaHessian", "SOAP"]
ALL = list(ZOO)
ROUGH = {"Muon": 1e-2, "SOAP": 1e-3, "SAM": 1e-6}  # these compute in less than double
# steps that are short enough for every case
HYPER = {
    "GD": {"lr": 0.1},
    "momentum": {"lr": 0.02},
    "SAM": {"lr": 0.1, "rho": 0.05},
    "Sophia-H": {"lr": 0.2},
    "power-AdaHessian": {"lr": 0.02},
    "Shampoo": {"lr": 0.02, "every": 2},
    "exact": {"lr": 0.1, "p": 0.5},
}
rng = np.random.default_rng(0)
X = torch.tensor(rng.standard_normal((N, D)))
Y = torch.tensor(rng.integers(0, C, N))


def hyper(name: str) -> dict:
    covariance = {"covariance": np.cov(X.numpy().T, bias=True)}
    return HYPER.get(name, {}) | (covariance if name == "exact" else {})


class Model(nn.Module):
    """Holds what it is given, in this order."""

    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)


def parameter(*shape, dtype=torch.float64) -> nn.Parameter:
    draws = torch.Generator().manual_seed(2)
    return nn.Parameter(torch.randn(shape, generator=draws, dtype=dtype))


def linear(d: int, h: int, seed: int = 0) -> nn.Linear:
    layer = nn.Linear(d, h).double()
    layer.weight.data = torch.tensor(np.random.default_rng(seed).normal(0, 0.5, (h, d)))
    nn.init.constant_(layer.bias, 0.1)
    return layer


def network() -> nn.Sequential:
    return nn.Sequential(linear(D, H), nn.Tanh(), linear(H, C, 1))


def logits(model, loss=F.cross_entropy):
    return lambda: loss(model(X.to(next(model.parameters()).dtype)), Y)


def plain():
    return (model := network()), logits(model)


def typed(dtype):
    return lambda: ((model := network().to(dtype)), logits(model))


def beside(part, extra=lambda part: 0.0):
    """A network beside a ``part`` of which the loss takes ``extra``."""
    model = Model(net=network(), part=part)
    return model, lambda: F.cross_entropy(model.net(X), Y) + extra(model.part)


def of_weights(w, loss=lambda w: ((w - 1) ** 2).sum()):
    model = Model(w=w)
    return model, lambda: loss(model.w)


def scaled():
    model = Model(net=network(), t=parameter())
    return model, lambda: F.cross_entropy(model.net(X) * model.t, Y)


def strided():
    model = network()
    model[0].weight = nn.Parameter(model[0].weight.detach().T.contiguous().T)
    return model, logits(model)


def frozen():
    model = network()
    model[0].requires_grad_(False)
    return model, logits(model)


def head_alone():
    body, head = network()[:2], linear(H, C, 1)
    features = body(X).detach()
    return head, lambda: F.cross_entropy(head(features), Y)


def head_first():
    net = network()
    model = Model(head=net[2], body=net[0])
    return model, lambda: F.cross_entropy(model.head(model.body(X).tanh()), Y)


def idle_head():
    """A second head that runs last, and that the loss does not use."""
    model = Model(net=network(), aux=linear(C, 2))

    def loss():
        out = model.net(X)
        model.aux(out)
        return F.cross_entropy(out, Y)

    return model, loss


def tied(functional: bool = False):
    first, second = linear(D, D), linear(D, D)
    second.weight = first.weight
    head = linear(D, C, 1)
    model = nn.Sequential(first, nn.Tanh(), second, nn.Tanh(), head)
    if functional:
        del model[2]
        both = lambda: model(X) + F.linear(X, first.weight)[:, :C]  # noqa: E731
        return model, lambda: F.cross_entropy(both(), Y)
    return model, logits(model)


def twice():
    layer = linear(D, D)
    model = nn.Sequential(layer, nn.Tanh(), layer, nn.Tanh(), linear(D, C, 1))
    return model, logits(model)


def two_batches():
    model = network()
    losses = [(slice(9), 9 / N), (slice(9, N), 1 - 9 / N)]
    return model, lambda: sum(
        share * F.cross_entropy(model(X[part]), Y[part]) for part, share in losses
    )


def one_logit():
    model = nn.Sequential(linear(D, H), nn.Tanh(), linear(H, 1, 1))
    target = (Y > 0).double()
    return model, lambda: F.binary_cross_entropy_with_logits(model(X)[:, 0], target)


def squared():
    model = network()
    return model, lambda: ((model(X) - X[:, :C]) ** 2).mean()


def normalised():
    net = network()
    model = nn.Sequential(net[0], nn.BatchNorm1d(H).double(), *net[1:])
    return model, logits(model)


def convolution():
    draws = nn.Conv2d(1, 2, 2).double()
    draws.weight.data = parameter(2, 1, 2, 2).detach()
    nn.init.zeros_(draws.bias)
    layers = nn.Unflatten(1, (1, 2, 3)), draws, nn.Flatten(), linear(4, C)
    model = nn.Sequential(*layers)
    return model, logits(model)


def zero_head(dtype=torch.float64):
    model = network().to(dtype)
    for w in model[2].parameters():
        nn.init.zeros_(w)
    return model, logits(model)


def two_types():
    model = network()
    model[2].float()
    return model, lambda: F.cross_entropy(model[2](model[:2](X).float()), Y)


def embedding():
    model = nn.Embedding(5, 3, sparse=True).double()
    model.weight.data = parameter(5, 3).detach()
    return model, lambda: (model(torch.tensor([1, 2])) ** 2).sum()


def lazy():
    torch.manual_seed(0)
    model = nn.LazyLinear(C)
    return model, lambda: F.cross_entropy(model(X.float()), Y)


def sequences():
    model = network()
    inputs, labels = X.reshape(4, N // 4, D), Y.reshape(4, N // 4)
    return model, lambda: F.cross_entropy(model(inputs).transpose(1, 2), labels)


def one_memory():
    model = network()
    model.twin = nn.Parameter(model[2].weight.data)
    return model, lambda: F.cross_entropy(model(X), Y) + (model.twin**2).sum()


summed = partial(F.cross_entropy, reduction="sum")


def penalised():
    model = network()
    ridge = lambda: sum((w**2).sum() for w in model.parameters())  # noqa: E731
    return model, lambda: F.cross_entropy(model(X), Y) + 0.1 * ridge()


def all_frozen():
    model, loss = plain()
    return model.requires_grad_(False), loss


ALIEN = "K-FAC wants linear layers with biases, each of which runs once"
LOSS = r"loss\(\) is no mean cross-entropy of the outputs of the linear layer that runs last"
FIRST = "model has no linear layer that runs first and has a gradient"
MATRIX = "model has no matrix among its weights"
alien = {"K-FAC": ALIEN}
no_layer = alien | {"exact": FIRST}
curved = dict.fromkeys(HUTCHINSON, "needs second derivatives, and the gradient")
# what is built, who refuses it and how (`ALL`: every method), and a problem on which the
# weights take the same way
CASES = {
    "plain": (plain, {}),
    "float32": (typed(torch.float32), {}),
    "bfloat16": (typed(torch.bfloat16), {}),
    "float16": (
        typed(torch.float16),
        dict.fromkeys(FINE_EPS, "model.0.weight has dtype float16, where eps = "),
    ),
    "two types": (two_types, {}),
    "scalar": (scaled, alien),
    "scalar alone": (lambda: of_weights(parameter()), no_layer | {"Muon": MATRIX}),
    "vector alone": (lambda: of_weights(parameter(4)), no_layer | {"Muon": MATRIX}),
    "empty": (lambda: beside(parameter(0, 3), torch.sum), {}, plain),
    "not contiguous": (strided, {}, plain),
    "frozen body": (frozen, {"exact": FIRST}, head_alone),
    "unused head": (lambda: beside(linear(H, 2)), {}, plain),
    "idle head": (idle_head, {}, plain),
    "head first": (head_first, {}, plain),
    "tied": (tied, alien),
    "tied by a function": (lambda: tied(True), alien),
    "layer twice": (twice, alien),
    "two batches": (two_batches, alien),
    "sequences": (sequences, alien),
    "one logit": (one_logit, {"K-FAC": LOSS}),
    "squared loss": (squared, {"K-FAC": LOSS}),
    "summed loss": (
        lambda: ((m := network()), logits(m, summed)),
        {"K-FAC": LOSS},
    ),
    "penalty": (penalised, alien),
    "batch norm": (normalised, alien),
    "convolution": (convolution, alien | {"exact": r"must be \(4, 4\)"}),
    "zero head": (zero_head, {}),
    "zero head in float32": (lambda: zero_head(torch.float32), {}),
    "sparse": (embedding, no_layer | curved),
    "lazy": (lazy, {}),
    "linear weight": (lambda: beside(parameter(1), torch.sum), alien | curved),
    "complex weights": (
        lambda: of_weights(
            parameter(2, 2, dtype=torch.complex128), lambda w: (w.abs() ** 2).sum()
        ),
        dict.fromkeys(ALL, "model.w has dtype torch.complex128: must be one of"),
    ),
    "complex loss": (
        lambda: of_weights(parameter(2, 2), lambda w: (w**2).sum() * (1 + 0j)),
        dict.fromkeys(ALL, r"loss\(\) = .*: must be a tensor with one entry, a real"),
    ),
    "NaN weight": (
        lambda: beside(nn.Parameter(torch.tensor([np.nan]))),
        dict.fromkeys(ALL, "model.part has 1 entries that are NaN or infinite"),
    ),
    "NaN gradient": (
        lambda: of_weights(
            nn.Parameter(torch.zeros(2, 2)), lambda w: (w**2).sum().sqrt()
        ),
        dict.fromkeys(ALL, "the gradient of model.w at the start must be finite"),
    ),
    "other weights": (
        lambda: (network(), of_weights(parameter(3))[1]),
        dict.fromkeys(ALL, r"loss\(\) depends on no weight of model"),
    ),
    "expanded": (
        lambda: of_weights(nn.Parameter(torch.zeros(1).expand(4))),
        dict.fromkeys(ALL, "model.w is expanded"),
    ),
    "one memory": (
        one_memory,
        dict.fromkeys(ALL, "model.2.weight shares its memory with model.twin"),
    ),
    "all frozen": (
        all_frozen,
        dict.fromkeys(ALL, "model must have weights, and requires_grad on one of them"),
    ),
}


def weights(model) -> list[torch.Tensor]:
    return [w.detach().clone() for w in model.parameters()]


def descent(name, model, loss, steps=7) -> list[float]:
    values = []
    watch = lambda step, value: values.append(value)  # noqa: E731
    made = minimise(name, model, loss, steps, watch, **hyper(name))
    assert made == len(values) - 1
    return values


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", ALL)
def test_right_or_refused_by_name(name, case):
    build, refusals, *same = CASES[case]
    model, loss = build()
    if name in refusals:
        before = copy.deepcopy(model.state_dict())
        with pytest.raises(ValueError, match=refusals[name]):
            minimise(name, model, loss, 3, **hyper(name))
        for key, w in model.state_dict().items():
            assert (
                w.is_complex()
                or "num_batches" in key
                or "running" in key
                or torch.equal(w.nan_to_num(7.0), before[key].nan_to_num(7.0))
            )
        return
    values = descent(name, model, loss)
    assert np.isfinite(values).all() and values[-1] < values[0]
    assert all(w.isfinite().all() for w in model.parameters())
    # running statistics see the first evaluation and one of each step
    counts = [int(b) for key, b in model.named_buffers() if "num_batches" in key]
    assert counts in ([], [len(values)])
    other_signs = case in ("head first", "not contiguous") and name in HUTCHINSON
    if same and not other_signs:
        tolerance = ROUGH.get(name, 1e-9)
        np.testing.assert_allclose(values, descent(name, *same[0]()), rtol=tolerance)


def test_unused_and_frozen_weights_stay():
    for name in ALL:
        model, loss = CASES["unused head"][0]()
        before = weights(model.part)
        descent(name, model, loss, 3)
        assert all(map(torch.equal, before, weights(model.part)))


@pytest.mark.parametrize("name", ALL)
def test_a_run_that_blows_up_ends(name):
    model, loss = squared() if name != "K-FAC" else plain()
    rates = {key: 1e30 for key in ("lr", "bias_lr") if key in ZOO[name].hyper}
    made = minimise(name, model, loss, 50, **hyper(name) | rates)
    assert made <= 50


# the contract of torch.optim.Optimizer

OWN = ["power-AdaHessian", "K-FAC", "Shampoo"]
STEPPING = [name for name in ALL if ZOO[name].drive is None]


def stepping(name, model, loss):
    """Return a function that makes one step, and the optimizers that it calls."""
    problem = Problem(name, model, loss)
    graph = ZOO[name].graph_every != 0
    problem.start(graph)
    options = defaults(name) | hyper(name)
    parts = ZOO[name].make(model, problem, **options)
    closure = [lambda: problem.gradients(problem.again)] * ZOO[name].twice

    def step() -> None:
        problem.gradients(graph=graph)
        for part in parts:
            part.step(*closure)

    return step, parts


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", STEPPING)
def test_a_state_that_went_through_a_file_goes_on_as_if_nothing_had_happened(
    name, dtype
):
    model, loss = typed(dtype)()
    step, parts = stepping(name, model, loss)
    torch.manual_seed(0)
    for _ in range(5):
        step()
    file = io.BytesIO()
    torch.save([part.state_dict() for part in parts], file)
    twin = copy.deepcopy(model)
    for w in twin.parameters():
        w.grad = None
    again, fresh = stepping(name, twin, logits(twin))
    file.seek(0)
    for part, state in zip(fresh, torch.load(file), strict=True):
        part.load_state_dict(state)
    for go in (step, again):
        torch.manual_seed(1)
        for _ in range(4):
            go()
    assert all(map(torch.equal, weights(model), weights(twin)))


def one_step(name, rates, idle=()):
    """Return by how much the four weights of the network moved in one step, at own rates
    of its layers and without the gradients of the ``idle`` weights.
    """
    model, loss = plain()
    groups = [{"params": list(layer.parameters())} for layer in (model[0], model[2])]
    optimizer = {
        "K-FAC": lambda: KFAC(model, loss, lr=1.0, damping=1e-3, clip=1e9, every=1),
        "Shampoo": lambda: Shampoo(groups, 1.0),
        "power-AdaHessian": lambda: PowerAdaHessian(groups, 1.0, 0.5),
    }[name]()
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    params, before = list(model.parameters()), weights(model)

    def closure():
        value = loss()
        slopes = torch.autograd.grad(value, params, create_graph=True)
        for i, (w, slope) in enumerate(zip(params, slopes, strict=True)):
            w.grad = None if i in idle else slope
        return value

    torch.manual_seed(0)
    assert optimizer.step(closure).item() == plain()[1]().item()
    return [old - new for old, new in zip(before, weights(model), strict=True)]


RATIOS = (1, 1, 0.1, 0.1)


@pytest.mark.parametrize("name", OWN)
def test_groups_have_rates_of_their_own_and_missing_gradients_move_nothing(name):
    usual = one_step(name, [0.1, 0.1])
    for move, other, rate in zip(
        usual, one_step(name, [0.1, 0.01]), RATIOS, strict=True
    ):
        torch.testing.assert_close(other, rate * move, rtol=1e-9, atol=1e-15)
    assert all(move.any() for move in usual)
    idle = one_step(name, [0.1, 0.1], idle=(2, 3))
    assert idle[0].any() and not idle[2].any() and not idle[3].any()
    assert not any(move.any() for move in one_step(name, [0.1, 0.1], idle=range(4)))


def test_a_clipped_step_of_kfac_counts_every_layer_at_its_own_rate():
    moves, rates = {}, (1, 1, 0.5, 0.5)
    for clip in (1e-6, 1e9):
        model, loss = plain()
        kfac = KFAC(model, loss, lr=1.0, damping=1e-3, clip=clip, every=1)
        kfac.param_groups[1]["lr"] = 0.5
        before = weights(model)
        kfac.step(lambda loss=loss: loss().backward())
        ends = weights(model)
        moves[clip] = [old - new for old, new in zip(before, ends, strict=True)]
    slopes = [w.grad for w in model.parameters()]
    nu = moves[1e-6][0] / moves[1e9][0]
    torch.testing.assert_close(nu, nu[0, 0].expand_as(nu), rtol=1e-9, atol=0)
    sizes = zip(rates, moves[1e-6], slopes, strict=True)
    # with the direction V = move/(rate nu): the sum of (rate nu)^2 <V, slope>
    total = float(nu[0, 0]) * sum(r * float((m * g).sum()) for r, m, g in sizes)
    assert nu[0, 0] < 1 and total == pytest.approx(1e-6)


# hyper-parameters: every method, every argument, every kind of mistake

NOT_FINITE = [np.nan, np.inf, -np.inf]
NOT_NUMBERS = ["0.1", b"1", None, True, 1j, [0.1], np.array([0.1]), torch.tensor([1])]


def beyond(h) -> list:
    """Return numbers outside the range of a hyper-parameter of the table."""
    if isinstance(h.default, int):
        return [0, -1, 1.0, 2.5, np.float64(3)]
    below = [h.low - 1e-9, h.low - 1, -1e30] if h.low > -np.inf else []
    above = [h.high + 1e-9, h.high + 1] if h.high < np.inf else []
    return below + above + [h.low] * h.open_low


@pytest.mark.parametrize("name", ALL)
def test_bad_hyper_parameters_are_refused_before_any_work(name):
    def loss():
        raise AssertionError("the loss was asked")

    needs = {key: np.eye(1) for key in ZOO[name].needs}
    for key, h in ZOO[name].hyper.items():
        allowed = "an integer >= 1" if isinstance(h.default, int) else "a finite number"
        for value in [*NOT_FINITE, *NOT_NUMBERS, *beyond(h)]:
            with pytest.raises(ValueError) as error:
                minimise(name, nn.Linear(1, 1), loss, 1, **needs | {key: value})
            message = f"{key} of {name} = {value!r}: must be {allowed}"
            assert str(error.value).startswith(message)


@pytest.mark.parametrize("name", ALL)
def test_averages_of_the_table_forget(name):
    """What is kept of an average lies in [0, 1), and a damping is not zero."""
    for key in {"momentum", "memory"} & ZOO[name].hyper.keys():
        assert ZOO[name].hyper[key].low == 0 and ZOO[name].hyper[key].high < 1
    for key in {"lr", "bias_lr", "damping", "clip", "floor"} & ZOO[name].hyper.keys():
        assert ZOO[name].hyper[key].low == 0 and ZOO[name].hyper[key].open_low


MAKE = {
    "Shampoo": lambda **hyper: Shampoo([parameter(2)], **{"lr": 0.1} | hyper),
    "power-AdaHessian": lambda **hyper: PowerAdaHessian(
        [parameter(2)], **{"lr": 0.1, "p": 1.0} | hyper
    ),
    "K-FAC": lambda **hyper: KFAC(
        *plain(), **{"lr": 0.1, "damping": 1e-3, "clip": 1.0, "every": 1} | hyper
    ),
}
RATES = {key: [-1.0] for key in ("lr", "damping", "clip", "floor")}
KEPT = {key: [-0.1, 1.0, 2.0] for key in ("memory", "momentum")}
OPTIONS = {
    "Shampoo": ["lr", "memory", "momentum", "floor"],
    "power-AdaHessian": ["lr", "p"],
    "K-FAC": ["lr", "damping", "clip"],
}


@pytest.mark.parametrize("name", OWN)
def test_bad_options_of_an_optimizer_are_named(name):
    make = MAKE[name]
    make()
    for key in OPTIONS[name]:
        outside = {**RATES, **KEPT, "p": []}[key]
        for value in [*NOT_FINITE, *NOT_NUMBERS, *outside]:
            with pytest.raises(ValueError) as error:
                make(**{key: value})
            message = f"{key} = {value!r}: must be a finite number in "
            assert str(error.value).startswith(message)
    for value in [0, -1, 1.0, *NOT_FINITE, *NOT_NUMBERS] * (name != "power-AdaHessian"):
        with pytest.raises(ValueError) as error:
            make(every=value)
        assert str(error.value) == f"every = {value!r}: must be an integer >= 1"


@pytest.mark.parametrize(
    ("betas", "message"),
    [
        ((1.0, 0.9), r"betas\[0\] = 1.0: must be a finite number in \[0, 0.9999\]"),
        ((0.9, 1.5), r"betas\[1\] = 1.5: must be a finite number in \[0, 0.9999\]"),
        ((-0.1, 0.9), r"betas\[0\] = -0.1"),
        ((0.9, np.nan), "betas has 1 entries that are NaN or infinite"),
        ((0.9,), r"betas has shape \(1,\): must be \(2,\)"),
        (0.9, r"betas has shape \(\): must be \(2,\)"),
        ("ab", "betas = 'ab': must be an array of real numbers of shape"),
    ],
)
def test_averages_that_never_forget_are_named(betas, message):
    with pytest.raises(ValueError, match=message):
        MAKE["power-AdaHessian"](betas=betas)


def test_a_gradient_without_its_graph_is_named():
    w = parameter(3)
    with pytest.raises(ValueError, match="params: a gradient lacks its graph"):
        PowerAdaHessian([w], 0.1, 1.0).step(lambda: (w**2).sum().backward())


@pytest.mark.parametrize("make", [Shampoo, lambda w, lr: PowerAdaHessian(w, lr, 1.0)])
def test_weights_that_cannot_be_moved_are_named(make):
    with pytest.raises(ValueError, match=r"params\[1\] has dtype torch.complex64"):
        make([parameter(2), parameter(2, dtype=torch.complex64)], 0.1)


# rows of what users reported, with the value that is right


def test_lbfgs_reaches_a_minimum_beside_a_wall_where_the_loss_is_not_defined():
    model, loss = of_weights(
        nn.Parameter(torch.full((2,), 5.0).double()),
        lambda w: (w - 0.1 * w.log()).sum(),
    )
    assert descent("L-BFGS", model, loss, 50)[-1] == pytest.approx(
        0.2 - 0.2 * np.log(0.1)
    )
    assert model.w.tolist() == pytest.approx([0.1, 0.1])


def test_lbfgs_returns_to_the_last_accepted_point():
    """Every other point is worse, or no number: nothing is accepted."""
    for other in (np.nan, np.inf, 1e9):
        start = torch.tensor([1.0, 2.0]).double()
        loss = lambda w, v=other, s=start: (  # noqa: E731
            w.sum() if torch.equal(w.detach(), s) else w.sum() * 0 + v
        )
        model, function = of_weights(nn.Parameter(start.clone()), loss)
        minimise("L-BFGS", model, function, 9)
        assert torch.equal(model.w.detach(), start)


@pytest.mark.parametrize("size", [0.0, 1e-12, 1e-6, 1e-2])
def test_shampoo_falls_from_a_small_head(size):
    model, loss = zero_head()
    model[2].weight.data += size
    values = []
    minimise("Shampoo", model, loss, 50, lambda step, value: values.append(value))
    assert values[0] == pytest.approx(np.log(3), abs=0.1)
    assert max(values) <= values[0] + 1e-9 and values[-1] < values[0] - 0.05


def test_power_adahessian_without_curvature_is_plain_descent():
    """0/0: the relative curvature is one where none was seen."""
    w, v = parameter(3), parameter(2)
    loss = w.sum() + 0 * (w**3).sum() + (v**2).sum()
    before = w.detach().clone()
    w.grad, v.grad = torch.autograd.grad(loss, [w, v], create_graph=True)
    PowerAdaHessian([w, v], 0.1, -1.0).step()
    moved = before - w.detach()
    torch.testing.assert_close(moved, torch.full_like(moved, 0.1 / 1.001))
    w.grad = v.grad = None


@pytest.mark.parametrize("values", [[1, 1, 1], [1, 0, 0], [1, 1, 0], [4, 1, 1e-9]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_inverse_root_of_repeated_and_zero_eigenvalues(values, dtype):
    Q = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    M = torch.tensor(Q @ np.diag(values) @ Q.T, dtype=dtype)
    least = max(values) * torch.finfo(dtype).eps
    powers = np.clip(values, 10 * least, None) ** -0.25
    expected = torch.tensor(Q @ np.diag(powers) @ Q.T)
    found = inverse_root(M, -0.25, 10 * torch.finfo(dtype).eps).double()
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0.05 * powers.max())
