"""The optimizer zoo: one convention for all, each against what its paper says, and what
mistakes say.
"""

import copy
import sys
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize
from torch import nn
from torch.nn.functional import cross_entropy

from fl import optimizers
from fl.instruments import two_layer_optimizers
from fl.optimizers import ZOO, defaults, exact_preconditioner, minimise

N, D, H, C = 30, 6, 5, 3
SECOND = ["Sophia-H", "AdaHessian", "power-AdaHessian"]
LIBRARY = ["SAM", "Sophia-H", "AdaHessian", "SOAP"]
every_name = pytest.mark.parametrize("name", list(ZOO))


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, D)) * np.geomspace(1, 0.2, D)
    y = (X @ rng.standard_normal((D, C)) + 0.1 * rng.standard_normal((N, C))).argmax(1)
    return torch.tensor(X), torch.tensor(y)


def network() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(D, H), nn.ReLU(), nn.Linear(H, C)).double()


def weights(model) -> torch.Tensor:
    return nn.utils.parameters_to_vector(model.parameters()).detach().clone()


def run(name, data, steps=6, watch=None, model=None, seed=0, **hyper):
    """Train on the small problem and return the model, what `minimise` returned and the
    weights.
    """
    X, y = data
    model = network() if model is None else model
    if name == "exact":
        hyper = {"covariance": np.cov(X.numpy().T, bias=True)} | hyper
    made = minimise(
        name, model, lambda: cross_entropy(model(X), y), steps, watch, seed, **hyper
    )
    return model, made, weights(model)


# one convention


@every_name
def test_loss_falls(name, data):
    values = []
    hyper = (
        {"every": 1} if name == "Shampoo" else {}
    )  # roots that are five steps old make the first of them too long
    run(name, data, 30, lambda step, value: values.append(value), **hyper)
    assert values[-1] < values[0] - 0.01 and np.isfinite(values).all()


@every_name
def test_watch_sees_every_step_with_loss_and_plain_gradients_of_the_weights_there(
    name, data
):
    (X, y), model, seen = data, network(), []

    def watch(step, value):
        loss = cross_entropy(model(X), y)
        assert value == pytest.approx(loss.item(), rel=1e-14)
        for w, g in zip(
            model.parameters(),
            torch.autograd.grad(loss, list(model.parameters())),
            strict=True,
        ):
            torch.testing.assert_close(w.grad.detach(), g, rtol=1e-12, atol=1e-15)
        seen.append((step, weights(model)))

    _, made, final = run(name, data, 5, watch, model)
    assert [step for step, _ in seen] == [0, 1, 2, 3, 4, 5] and made == 5
    assert torch.equal(seen[0][1], weights(network())) and torch.equal(
        seen[-1][1], final
    )
    moved = [
        not torch.equal(a, b) for (_, a), (_, b) in zip(seen, seen[1:], strict=False)
    ]
    assert moved == [
        name != "SOAP",
        True,
        True,
        True,
        True,
    ]  # SOAP builds its preconditioner in the first step


@every_name
@pytest.mark.parametrize("stop", [0, 3])
def test_a_true_answer_ends_the_run_there(name, data, stop):
    at = {}
    model = network()

    def watch(step, value):
        at[step] = weights(model)
        return np.bool_(step == stop)

    _, made, final = run(name, data, 10, watch, model)
    assert made == stop == max(at) and torch.equal(at[stop], final)


@every_name
def test_a_seed_fixes_the_run_and_the_global_generator_stays(name, data):
    hyper = (
        {"p": 100.0} if name == "Sophia-H" else {}
    )  # else every entry is clipped, whatever its curvature
    torch.manual_seed(11)
    state = torch.get_rng_state()
    first = run(name, data, seed=4, **hyper)[2]
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    assert torch.equal(run(name, data, seed=4, **hyper)[2], first)
    assert torch.equal(run(name, data, seed=5, **hyper)[2], first) == (
        name not in SECOND
    )  # only Hutchinson draws signs


@every_name
def test_no_gradient_is_left(name, data):
    assert all(w.grad is None for w in run(name, data, 2)[0].parameters())


@every_name
def test_no_gradient_is_left_after_an_error(name, data):
    def watch(step, value):
        raise KeyboardInterrupt

    model = network()
    with pytest.raises(KeyboardInterrupt):
        run(name, data, 2, watch, model)
    assert all(w.grad is None for w in model.parameters())


@every_name
def test_a_short_run_is_the_beginning_of_a_long_one(name, data):
    model, at = network(), {}
    run(name, data, 6, lambda step, value: at.update({step: weights(model)}), model)
    assert torch.equal(run(name, data, 4)[2], at[4])


@every_name
def test_defaults_lie_within_their_ranges(name):
    assert defaults(name) == {key: h.default for key, h in ZOO[name].hyper.items()}
    for key, h in ZOO[name].hyper.items():
        assert h.low <= h.default <= h.high and not (
            h.open_low and h.default == h.low
        ), key
        assert not isinstance(h.default, int) or h.default >= 1


# the random numbers of a user's loss, and a second call


TWICE = ["SAM", "K-FAC"]


def drawing(model, data, draw, drawn):
    """Return a loss on a mini-batch of 20 that ``draw()`` gives; ``drawn`` collects the
    batches.
    """
    X, y = data

    def loss():
        batch = draw()
        drawn.append(batch.tolist())
        return cross_entropy(model(X[batch]), y[batch])

    return loss


def descend(name, model, data, loss, steps=6, **hyper):
    if name == "exact":
        hyper = {"covariance": np.cov(data[0].numpy().T, bias=True)} | hyper
    return minimise(name, model, loss, steps, **hyper)


@every_name
def test_a_loss_draws_from_the_global_generator_as_if_alone(name, data):
    """Neither seeded by the call nor used by it: one batch a step, then the user's next
    number.
    """
    model, drawn = network(), []
    loss = drawing(model, data, lambda: torch.randperm(N)[:20], drawn)
    torch.manual_seed(7)
    made = descend(name, model, data, loss)
    after = torch.rand(1)
    torch.manual_seed(7)
    steps = 0 if name == "L-BFGS" else made  # keeps to the draws of the start
    alone = [torch.randperm(N)[:20].tolist() for _ in range(steps + 1)]
    assert torch.equal(after, torch.rand(1))
    assert [b for i, b in enumerate(drawn) if b not in drawn[:i]] == alone


@pytest.mark.parametrize("name", SECOND)
def test_what_the_loss_draws_does_not_change_the_signs(name, data):
    X, y = data
    hyper = {"p": 100.0} if name == "Sophia-H" else {}
    model = network()

    def loss():
        torch.rand(3)
        return cross_entropy(model(X), y)

    minimise(name, model, loss, 6, seed=4, **hyper)
    assert torch.equal(weights(model), run(name, data, seed=4, **hyper)[2])


@pytest.mark.parametrize("name", TWICE)
def test_both_evaluations_of_a_step_see_the_same_draws(name, data):
    """One step on a mini-batch is one step on these very samples."""
    model, drawn = network(), []
    loss = drawing(model, data, lambda: torch.randperm(N)[:20], drawn)
    minimise(name, model, loss, 1)
    *step, end = drawn  # K-FAC also looks at the start which layers run
    assert all(batch == drawn[0] for batch in step) and end != drawn[0]
    batch = torch.tensor(drawn[0])
    fixed = run(name, (data[0][batch], data[1][batch]), 1)[2]
    torch.testing.assert_close(weights(model), fixed, rtol=1e-14, atol=0)


@pytest.mark.parametrize("name", TWICE)
def test_a_generator_of_the_users_own_gives_two_batches_in_a_step(name, data):
    """The limit that the module's docstring names."""
    model, drawn, rng = network(), [], np.random.default_rng(0)
    draw = lambda: torch.tensor(rng.permutation(N)[:20])  # noqa: E731
    minimise(name, model, drawing(model, data, draw, drawn), 1)
    assert drawn[0] != drawn[1]


@every_name
def test_two_calls_are_one_where_nothing_is_remembered(name, data):
    model, _, _ = run(name, data, 4)
    halves = run(name, data, 4, model=model)[2]
    together = run(name, data, 8)[2]
    if name in ("GD", "SAM", "exact"):
        assert torch.equal(halves, together)
    else:
        assert (halves - together).abs().max() > 1e-6


# what each hyper-parameter is set to, and what else makes it matter within a few steps
CHANGED = {
    ("K-FAC", "clip"): (1e-2, {}),
    ("K-FAC", "lr"): (
        0.05,
        {"clip": 10.0},
    ),  # a clipped step has the length of the bound, whatever the rate
    ("K-FAC", "damping"): (1e-2, {}),
    ("Shampoo", "floor"): (0.1, {}),
    ("L-BFGS", "pairs"): (1, {}),
    ("SOAP", "precondition_frequency"): (3, {}),
    ("exact", "p"): (-0.5, {}),
    ("power-AdaHessian", "p"): (0.5, {}),
    ("Sophia-H", "update_period"): (
        2,
        {"p": 100.0},
    ),  # the curvature is seen where the clip does not act
    ("Sophia-H", "p"): (0.01, {}),
}


@pytest.mark.parametrize(
    ("name", "key"), [(name, key) for name in ZOO for key in ZOO[name].hyper]
)
def test_every_hyper_parameter_reaches_the_optimizer(name, key, data):
    default = defaults(name)[key]
    value, others = CHANGED.get(
        (name, key), (default + 1 if isinstance(default, int) else default / 2, {})
    )
    usual, changed = (
        run(name, data, 8, **others, **{key: v})[2] for v in (default, value)
    )
    assert value != default and (usual - changed).abs().max() > 1e-8
    assert torch.equal(run(name, data, 8, **others)[2], usual)


# against published semantics, written out


def by_hand(data, step, steps=2):
    """Return the weights after ``step(model, gradients, t)``, t = 1, 2, ..., changed
    them ``steps`` times.
    """
    (X, y), model = data, network()
    for t in range(1, steps + 1):
        grads = torch.autograd.grad(
            cross_entropy(model(X), y), list(model.parameters())
        )
        with torch.no_grad():
            step(model, grads, t)
    return weights(model)


def test_descent_by_hand(data):
    def step(model, grads, t):
        for w, g in zip(model.parameters(), grads, strict=True):
            w -= 0.7 * g

    torch.testing.assert_close(
        run("GD", data, 2, lr=0.7)[2], by_hand(data, step), rtol=1e-13, atol=1e-15
    )
    flat = run("exact", data, 2, lr=0.7, p=0.0)[2]
    torch.testing.assert_close(flat, by_hand(data, step), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(
        run("SAM", data, 2, lr=0.7, rho=0.0)[2],
        by_hand(data, step),
        rtol=1e-13,
        atol=1e-15,
    )
    torch.testing.assert_close(
        run("momentum", data, 2, lr=0.7, momentum=0.0)[2],
        by_hand(data, step),
        rtol=1e-13,
        atol=1e-15,
    )


def test_momentum_by_hand(data):
    kept = {}

    def step(model, grads, t):
        for i, (w, g) in enumerate(zip(model.parameters(), grads, strict=True)):
            kept[i] = 0.8 * kept.get(i, 0) + g
            w -= 0.3 * kept[i]

    expected = by_hand(data, step, 3)
    torch.testing.assert_close(
        run("momentum", data, 3, lr=0.3, momentum=0.8)[2],
        expected,
        rtol=1e-13,
        atol=1e-15,
    )


@pytest.mark.parametrize("decay", [None, 0.4], ids=["Adam", "AdamW"])
def test_adam_by_hand(data, decay):
    m, s = {}, {}

    def step(model, grads, t):
        for i, (w, g) in enumerate(zip(model.parameters(), grads, strict=True)):
            m[i] = 0.9 * m.get(i, 0) + 0.1 * g
            s[i] = 0.999 * s.get(i, 0) + 0.001 * g**2
            w *= 1 - 0.01 * (decay or 0)
            w -= 0.01 * m[i] / (1 - 0.9**t) / ((s[i] / (1 - 0.999**t)).sqrt() + 1e-8)

    hyper = {"weight_decay": decay} if decay else {}
    found = run("AdamW" if decay else "Adam", data, 2, lr=0.01, **hyper)[2]
    torch.testing.assert_close(found, by_hand(data, step), rtol=1e-11, atol=1e-13)


class Point(nn.Module):
    """One vector of weights at the given place."""

    def __init__(self, at):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(at, dtype=torch.float64))


def bowl(seed: int = 0, d: int = 5):
    """Return a model at a random point, a quadratic loss of it, the Hessian and the
    minimum.
    """
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((d, d))
    A = torch.tensor(A @ A.T / d + np.eye(d))
    best = torch.tensor(rng.standard_normal(d))
    model = Point(rng.standard_normal(d))
    return model, lambda: (model.w - best) @ A @ (model.w - best) / 2, A, best


def test_sam_steps_along_the_gradient_uphill():
    model, loss, A, best = bowl()
    g = A @ (model.w.detach() - best)
    before = weights(model)
    minimise("SAM", model, loss, 1, lr=0.1, rho=0.7)
    # the gradient at w + rho g/|g| is (I + rho A/|g|) g: a plus sign. The library takes
    # |g| in single precision.
    torch.testing.assert_close(
        (before - weights(model)) / 0.1,
        g + 0.7 * A @ g / g.norm(),
        rtol=1e-6,
        atol=1e-6,
    )


@pytest.mark.parametrize("p", [-1.0, 0.5, 1.0])
def test_exact_power_turns_the_gradient_of_the_first_layer_alone(p, data):
    X, y = data
    S = np.cov(X.numpy().T, bias=True)
    P = exact_preconditioner(S, p)

    def step(model, grads, t):
        for i, (w, g) in enumerate(zip(model.parameters(), grads, strict=True)):
            w -= 0.05 * (g @ P if i == 0 else g)

    found = run("exact", data, 2, lr=0.05, p=p)[2]
    torch.testing.assert_close(found, by_hand(data, step), rtol=1e-11, atol=1e-13)


def test_exact_preconditioner_by_hand():
    S = np.diag([4.0, 1.0])
    np.testing.assert_allclose(exact_preconditioner(S, 0.0), np.eye(2), rtol=1e-14)
    np.testing.assert_allclose(exact_preconditioner(S, 1.0), S * 5 / 17, rtol=1e-5)
    np.testing.assert_allclose(
        exact_preconditioner(S, -1.0), np.diag([0.25, 1.0]) * 5 / 2, rtol=1e-5
    )


def test_jitter_is_relative_and_bounds_empty_directions():
    for scale in (1.0, 1e4):  # scale * 1e-6 is added to 0, and to scale
        P = exact_preconditioner(scale * np.diag([1.0, 0.0]), -1.0)
        np.testing.assert_allclose(P, np.diag([1.0, (1 + 1e-6) / 1e-6]), rtol=1e-9)


@given(st.floats(-2, 2), st.integers(0, 1000), st.floats(1e-3, 1e3))
def test_exact_preconditioner_keeps_the_trace_and_turns_with_the_inputs(p, seed, scale):
    rng = np.random.default_rng(seed)
    A, Q = rng.standard_normal((4, 9)), np.linalg.qr(rng.standard_normal((4, 4)))[0]
    S = A @ A.T / 9
    P = exact_preconditioner(S, p).numpy()
    assert np.trace(S @ P) == pytest.approx(np.trace(S))
    tight = {"rtol": 1e-7, "atol": 1e-9 * abs(P).max()}
    np.testing.assert_allclose(
        exact_preconditioner(Q @ S @ Q.T, p), Q @ P @ Q.T, **tight
    )
    np.testing.assert_allclose(exact_preconditioner(scale * S, p), P, **tight)


def test_exact_run_does_not_care_about_the_basis(data):
    X, y = data
    Q = torch.linalg.qr(
        torch.randn(
            D, D, dtype=torch.float64, generator=torch.Generator().manual_seed(2)
        )
    )[0]
    turned = network()
    turned[0].weight.data = turned[0].weight.data @ Q
    model, turned = (
        run("exact", (X, y), p=-1.0, lr=0.1)[0],
        run("exact", (X @ Q, y), model=turned, p=-1.0, lr=0.1)[0],
    )
    torch.testing.assert_close(turned(X @ Q), model(X), rtol=1e-9, atol=1e-11)


def test_muon_moves_matrices_by_nearly_polar_factors_and_biases_by_descent(data):
    X, y = data
    model = network()
    grads = torch.autograd.grad(cross_entropy(model(X), y), list(model.parameters()))
    before = [w.detach().clone() for w in model.parameters()]
    run("Muon", data, 1, model=model, lr=0.01, bias_lr=0.2)
    for w, old, g in zip(model.parameters(), before, grads, strict=True):
        move = old - w.detach()
        if w.ndim == 1:
            torch.testing.assert_close(move, 0.2 * g, rtol=1e-12, atol=1e-15)
        else:  # Newton-Schulz in bfloat16 leaves singular values between 0.5 and 1.3
            U, _, Vt = torch.linalg.svd(g, full_matrices=False)
            factor = 0.01 * max(1, w.shape[0] / w.shape[1]) ** 0.5
            kept = torch.linalg.svdvals(move / factor)[
                : np.linalg.matrix_rank(g.numpy(), tol=1e-3 * g.norm().item())
            ]
            assert kept.max() < 1.35 and kept.min() > 0.4
            assert (move * (U @ Vt)).sum() > 0


def test_lbfgs_reaches_the_minimum_of_a_bowl_and_is_scipys():
    model, loss, A, best = bowl()
    begin = model.w.detach().numpy().copy()
    path = []
    made = minimise(
        "L-BFGS",
        model,
        loss,
        15,
        lambda step, value: path.append(model.w.detach().numpy().copy()),
    )
    assert made <= 15 and len(path) == made + 1
    np.testing.assert_allclose(model.w.detach(), best, atol=1e-6)

    def function(x):
        r = x - best.numpy()
        return r @ A.numpy() @ r / 2, A.numpy() @ r

    direct = [begin]
    options = {"maxcor": 20, "maxiter": 4, "ftol": 0.0, "gtol": 0.0}
    optimize.minimize(
        function,
        begin,
        jac=True,
        method="L-BFGS-B",
        options=options,
        callback=lambda x: direct.append(x.copy()),
    )
    np.testing.assert_allclose(path[:5], direct, rtol=1e-9, atol=1e-11)


def test_lbfgs_stops_by_itself_at_the_minimum():
    model, loss, _, best = bowl()
    model.w.data = best.clone()
    assert minimise("L-BFGS", model, loss, 50) == 0
    assert torch.equal(model.w.detach(), best)


def test_lbfgs_ends_at_its_last_iterate_also_when_a_line_search_fails():
    """A wrong slope: no trial point is better, and the weights return to where the
    iteration stood.
    """
    model, at = Point([1.0, 2.0]), {}

    def loss():
        value = (model.w**2).sum()
        return value.detach() - (
            value - value.detach()
        )  # the value of the bowl, the slope of its negative

    made = minimise(
        "L-BFGS", model, loss, 9, lambda step, value: at.update({step: weights(model)})
    )
    assert made == max(at) == 1  # scipy counts the failed search as an iteration
    assert torch.equal(weights(model), at[1]) and torch.equal(at[1], at[0])


def test_sophia_clips_its_update():
    model = Point([3.0, -2.0, 1e-6])
    before = weights(model)
    minimise(
        "Sophia-H", model, lambda: (model.w**2).sum() / 2, 1, lr=0.1, p=1e-3, seed=1
    )
    move = before - weights(model)
    assert move[:2].tolist() == pytest.approx([1e-4, -1e-4]) and abs(
        move[2]
    ) <= 1e-4 * (1 + 1e-9)


def test_first_adahessian_step_divides_by_the_curvature():
    """For a diagonal Hessian the estimate is exact, so that the first step is lr times
    Newton's.
    """
    model, k = Point([3.0, -2.0, 0.5]), torch.tensor([5.0, 1.0, 0.2])
    before = weights(model)
    minimise("AdaHessian", model, lambda: (k * model.w**2).sum() / 2, 1, lr=0.1)
    torch.testing.assert_close(weights(model), 0.9 * before)


def test_shampoo_of_the_contest_is_that_of_the_zoo():
    """The contest gives rates by hand and changes them; the update is the one tested
    against matrix powers.
    """
    rng = np.random.default_rng(3)
    F, G, gF, gG = (
        torch.tensor(rng.standard_normal(s)) for s in ((5, 2), (2, 7), (5, 2), (2, 7))
    )
    before = F.clone(), G.clone()
    update = two_layer_optimizers.updater("Shampoo", F, G)
    with torch.no_grad():
        update(0.1, gF, gG, None, None)
    for old, W, g in zip(before, (F, G), (gF, gG), strict=True):
        U, _, Vt = torch.linalg.svd(g, full_matrices=False)
        torch.testing.assert_close(old - W.detach(), 0.1 * U @ Vt, rtol=0, atol=1e-3)


def test_batch_norm_of_a_feature_of_zeros_is_zero():
    rng = np.random.default_rng(3)
    F, G, X, Y = (
        torch.tensor(rng.standard_normal(s)) for s in ((2, 3), (3, 4), (9, 4), (9, 2))
    )
    G[1] = 0
    *slopes, Z = two_layer_optimizers.gradients(F, G, X, Y, normalise=True)
    assert all(slope.isfinite().all() for slope in slopes) and not Z[:, 1].any()


@pytest.mark.parametrize("damping", [-1.0, np.nan, "1"])
def test_a_damping_of_the_contest_that_is_no_number_is_named(damping):
    with pytest.raises(ValueError, match="damping = .*: must be a finite number in"):
        two_layer_optimizers.updater("NGD", torch.eye(2), torch.eye(2), damping)


# mistakes


class Fixed(torch.autograd.Function):
    """A square whose derivative cannot be differentiated."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        return 2 * g * ctx.saved_tensors[0]


@pytest.mark.parametrize("name", SECOND)
def test_missing_second_derivatives_are_named(name):
    for loss in (lambda w: w.sum(), lambda w: Fixed.apply(w).sum()):
        model = Point([1.0, 2.0])
        with pytest.raises(ValueError, match=f"{name} needs second derivatives"):
            minimise(name, model, partial(loss, model.w), 3)
        assert model.w.tolist() == [1.0, 2.0] and model.w.grad is None


@every_name
@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (
            lambda model: None,
            "loss = None: .* needs a function without arguments that returns the loss",
        ),
        (lambda model: 3.0, "loss = 3.0: .* needs a function"),
        (
            lambda model: lambda: model.w,
            r"(?s)loss\(\) = .*: must be a tensor with one entry",
        ),
        (lambda model: lambda: 3.0, r"loss\(\) = 3.0: must be a tensor with one entry"),
        (
            lambda model: lambda: model.w.detach().sum(),
            "has no graph, so .* gets no gradient",
        ),
        (
            lambda model: lambda: (model.w**2).sum() * np.nan,
            r"loss\(\) = nan at the start: must be finite",
        ),
        (
            lambda model: lambda: (model.w**2).sum() / 0,
            r"loss\(\) = inf at the start: must be finite",
        ),
    ],
    ids=["none", "number", "vector", "no tensor", "no graph", "nan", "infinite"],
)
def test_a_loss_that_cannot_serve_is_named(name, loss, message):
    model = Point([1.0, 2.0])
    covariance = {"covariance": np.eye(2)} if name == "exact" else {}
    with pytest.raises(ValueError, match=message):
        minimise(name, model, loss(model), 3, **covariance)
    assert model.w.tolist() == [1.0, 2.0] and model.w.grad is None


def call(name="GD", model=None, steps=3, **hyper):
    model = network() if model is None else model
    inputs = torch.ones(4, hyper.pop("inputs", D), dtype=torch.float64)
    return minimise(name, model, lambda: (model(inputs) ** 2).mean(), steps, **hyper)


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (
            {"name": "Lion"},
            "name = 'Lion': must be one of GD, momentum, SAM, Adam, .*, exact",
        ),
        ({"rho": 1.0}, "hyper-parameter of GD = 'rho': must be one of lr"),
        (
            {"name": "K-FAC", "clips": 1.0},
            "hyper-parameter of K-FAC = 'clips': must be one of lr, damping, clip, every",
        ),
        (
            {"covariance": np.eye(D)},
            "hyper-parameter of GD = 'covariance': must be one of lr",
        ),
        ({"lr": 0.0}, r"lr of GD = 0.0: must be a finite number in \(0, inf\)"),
        ({"lr": -1.0}, "lr of GD = -1.0"),
        ({"lr": "1"}, "lr of GD = '1'"),
        ({"lr": np.nan}, "lr of GD = nan"),
        (
            {"name": "momentum", "momentum": 1.5},
            r"momentum of momentum = 1.5: must be a finite number in \[0, 0.9999\]",
        ),
        ({"name": "Shampoo", "memory": 1.0}, "memory of Shampoo = 1.0"),
        (
            {"name": "Shampoo", "every": 2.5},
            "every of Shampoo = 2.5: must be an integer >= 1",
        ),
        ({"name": "K-FAC", "every": 0}, "every of K-FAC = 0: must be an integer >= 1"),
        (
            {"name": "L-BFGS", "pairs": 2.0},
            "pairs of L-BFGS = 2.0: must be an integer >= 1",
        ),
        (
            {"name": "Sophia-H", "update_period": True},
            "update_period of Sophia-H = True",
        ),
        (
            {"name": "power-AdaHessian", "p": 5.0},
            r"p of power-AdaHessian = 5.0: must be a finite number in \[-4, 4\]",
        ),
        ({"steps": 0}, "steps = 0: must be an integer >= 1"),
        ({"steps": 1.5}, "steps = 1.5"),
        ({"seed": -1}, "seed = -1: must be an integer >= 0"),
        ({"model": lambda: 0}, "model = .*: must be a torch.nn.Module"),
        ({"model": nn.ReLU()}, "model must have weights"),
        ({"name": "exact"}, "covariance of exact is missing"),
        (
            {"name": "exact", "covariance": np.eye(D + 1)},
            r"covariance has shape \(7, 7\): must be \(6, 6\)",
        ),
        (
            {"name": "exact", "covariance": np.ones(D)},
            r"covariance has shape \(6,\): must be \(d, d\)",
        ),
        (
            {"name": "exact", "covariance": -np.eye(D)},
            "covariance has smallest eigenvalue -1: must be positive semi",
        ),
        (
            {"name": "exact", "covariance": np.triu(np.ones((D, D)))},
            "covariance is not symmetric",
        ),
        (
            {"name": "exact", "covariance": np.zeros((D, D))},
            "covariance = 0: must have a positive eigenvalue",
        ),
        (
            {
                "name": "exact",
                "covariance": np.eye(2),
                "model": nn.LayerNorm(2).double(),
                "inputs": 2,
            },
            "model has no linear layer",
        ),
        (
            {"name": "K-FAC", "model": nn.LayerNorm(2).double(), "inputs": 2},
            "K-FAC wants linear layers with biases",
        ),
    ],
    ids=lambda v: "-".join(v) if isinstance(v, dict) else "",
)
def test_mistakes_are_named_and_move_nothing(mistake, message):
    model = mistake.pop("model", None) or network()
    before = copy.deepcopy(model.state_dict()) if isinstance(model, nn.Module) else {}
    with pytest.raises(ValueError, match=message):
        call(model=model, **mistake)
    assert all(torch.equal(before[key], model.state_dict()[key]) for key in before)


def test_defaults_of_an_unknown_name():
    with pytest.raises(ValueError, match="name = 'Lion': must be one of GD"):
        defaults("Lion")


@pytest.mark.parametrize("name", LIBRARY)
def test_a_missing_extra_says_how_to_install_it(name, data, monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_optimizer", None)
    with pytest.raises(
        ImportError,
        match="needs pytorch-optimizer, which is not here: install the extra `zoo`, with",
    ):
        run(name, data)


def test_the_rest_of_the_zoo_does_without_the_extra(data, monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_optimizer", None)
    for name in set(ZOO) - set(LIBRARY):
        assert run(name, data, 2)[1] == 2
    with pytest.raises(ImportError, match="install the extra `zoo`"):
        two_layer_optimizers.updater("SOAP", torch.eye(2), torch.eye(2))


def test_a_run_that_blows_up_ends_there(data):
    values = []
    _, made, _ = run(
        "GD", data, 400, lambda step, value: values.append(value), lr=1e200
    )
    assert made < 400 and len(values) == made + 1 and not np.isfinite(values[-1])


def test_an_error_of_the_loss_itself_is_passed_on(data):
    X, y = data
    model, calls = network(), []

    def loss():
        calls.append(1)
        if len(calls) > 2:
            raise RuntimeError("out of paper")
        return cross_entropy(model(X), y)

    with pytest.raises(RuntimeError, match="out of paper"):
        optimizers.minimise("AdaHessian", model, loss, 9)
