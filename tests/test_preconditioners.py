"""K-FAC, power-AdaHessian and Shampoo against what they are defined to be, computed the
long way.
"""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from scipy.linalg import fractional_matrix_power
from torch import nn

from fl import preconditioners
from fl.optimizers import library, minimise
from fl.preconditioners import PowerAdaHessian, Shampoo, inverse_root
from fl.preconditioners_kfac import KFAC, kfac_factors, kfac_layers

N, D, H, C = 9, 4, 3, 5


@pytest.fixture
def problem():
    """A network, its loss, the inputs and the labels; all in double precision."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(D, H), nn.Tanh(), nn.Linear(H, C)).double()
    X, y = torch.randn(N, D, dtype=torch.float64), torch.randint(0, C, (N,))
    return model, lambda: nn.functional.cross_entropy(model(X), y), X, y


def plain_gradients(model, loss) -> None:
    for w, g in zip(
        model.parameters(),
        torch.autograd.grad(loss(), list(model.parameters())),
        strict=True,
    ):
        w.grad = g


def fisher_gradients(model, layer, X):
    """Yield (p, gradient of -log p in [W b], inputs and a one) for each image and
    class, by one backward pass each.
    """
    seen = {}
    hook = layer.register_forward_hook(
        lambda m, x, y: seen.update(inputs=x[0][0].detach())
    )
    for x in X:
        for c in range(C):
            logs = model(x[None]).log_softmax(1)[0]
            p = float(logs[c].detach().exp())
            W, b = torch.autograd.grad(-logs[c], [layer.weight, layer.bias])
            yield (
                p,
                torch.cat([W, b[:, None]], 1),
                torch.cat([seen["inputs"], torch.ones(1)]),
            )
    hook.remove()


def brute_factors(model, layer, X):
    A, G = 0, 0
    for p, whole, inputs in fisher_gradients(model, layer, X):
        slope = whole[:, -1]  # the gradient in the bias is the gradient in the output
        A, G = (
            A + torch.outer(inputs, inputs) / (N * C),
            G + p * torch.outer(slope, slope) / N,
        )
    return A, G


@pytest.mark.parametrize("which", [0, 2], ids=["first layer", "last layer"])
def test_kfac_factors_are_sums_over_images_and_classes(problem, which):
    model, loss, X, _ = problem
    layer, A, G = kfac_factors(model, loss, kfac_layers(model, loss))[which // 2]
    assert layer is model[which]
    for found, expected in zip((A, G), brute_factors(model, layer, X), strict=True):
        assert torch.linalg.norm(found - expected) < 1e-10 * torch.linalg.norm(expected)


def test_kfac_factors_of_one_image_are_its_whole_fisher_matrix(problem):
    model, _, X, _ = problem
    one = X[:1]
    layers = [model[0], model[2]]
    for layer, A, G in kfac_factors(model, lambda: model(one).sum(), layers):
        fisher = sum(
            p * torch.outer(g.flatten(), g.flatten())
            for p, g, _ in fisher_gradients(model, layer, one)
        )
        torch.testing.assert_close(
            torch.kron(G, A), fisher, rtol=1e-10, atol=1e-14
        )  # weights row by row


def test_kfac_fisher_of_the_logits_is_diag_p_minus_pp(problem):
    model, loss, X, _ = problem
    p = model(X).softmax(1).detach()
    expected = sum(torch.diag(q) - torch.outer(q, q) for q in p) / N
    torch.testing.assert_close(
        kfac_factors(model, loss, kfac_layers(model, loss))[-1][2],
        expected,
        rtol=1e-12,
        atol=1e-15,
    )


def dense_kfac_moves(model, loss, X, damping):
    """Return (layer, (G kron A + damping)^-1 gradient, gradient), the system solved as
    one dense matrix.
    """
    result = []
    for layer in (model[0], model[2]):
        A, G = brute_factors(model, layer, X)
        gradient = torch.cat([layer.weight.grad, layer.bias.grad[:, None]], 1)
        big = torch.kron(G, A) + damping * torch.eye(gradient.numel(), dtype=A.dtype)
        result.append(
            (
                layer,
                torch.linalg.solve(big, gradient.flatten()).view_as(gradient),
                gradient,
            )
        )
    return result


@pytest.mark.parametrize("clip", [1e9, 1e-4], ids=["free", "clipped"])
@pytest.mark.parametrize("damping", [1e-3, 1.0])
def test_kfac_step_solves_the_dense_system(problem, damping, clip):
    model, loss, X, _ = problem
    plain_gradients(model, loss)
    moves = dense_kfac_moves(model, loss, X, damping)
    size = sum(float((move * gradient).sum()) for _, move, gradient in moves)
    lr = 0.3
    nu = min(1.0, np.sqrt(clip / (lr**2 * size)))
    assert (nu == 1) == (clip > 1)
    before = {
        layer: torch.cat([layer.weight, layer.bias[:, None]], 1).detach()
        for layer, *_ in moves
    }
    KFAC(model, loss, lr=lr, damping=damping, clip=clip, every=1).step()
    for layer, move, _ in moves:
        after = torch.cat([layer.weight, layer.bias[:, None]], 1).detach()
        torch.testing.assert_close(
            before[layer] - after, lr * nu * move, rtol=1e-8, atol=1e-13
        )


def test_a_clipped_kfac_step_changes_the_distribution_by_the_bound(problem):
    """The mean divergence between the outputs before and after is clip/2, the quadratic
    form of the Fisher matrix.
    """
    model, _, _, y = problem
    one = nn.Sequential(
        copy.deepcopy(model[2])
    )  # one layer and one input: the factors are the whole Fisher matrix
    inputs = torch.randn(1, H, dtype=torch.float64)
    loss = partial(nn.functional.cross_entropy, target=y[:1])
    before = one(inputs).log_softmax(1).detach()
    minimise(
        "K-FAC", one, lambda: loss(one(inputs)), 1, lr=0.5, damping=1e-9, clip=1e-6
    )
    after = one(inputs).log_softmax(1).detach()
    assert float((before.exp() * (before - after)).sum()) == pytest.approx(
        0.5e-6, rel=0.01
    )


def loss_of(model, problem):
    _, _, X, y = problem
    return lambda: nn.functional.cross_entropy(model(X), y)


def test_kfac_factors_stay_between_refreshes(problem):
    model, loss, _, _ = problem
    calls = []

    def counted():
        calls.append(1)
        return loss()

    kfac = KFAC(model, counted, lr=0.01, damping=1e-2, clip=1.0, every=3)
    counts, bases = [], []
    for _ in range(5):
        plain_gradients(model, loss)
        kfac.step()
        counts.append(len(calls))
        bases.append(kfac.state[model[2].weight]["bases"][0])  # its inputs change
    assert counts == [2, 2, 2, 3, 3]  # one at the start
    assert bases[0] is bases[2] and not torch.equal(bases[2], bases[3])


def test_heavily_damped_kfac_is_gradient_descent(problem):
    model, loss, _, _ = problem
    plain_gradients(model, loss)
    before = [w.detach().clone() for w in model.parameters()]
    KFAC(model, loss, lr=1e6, damping=1e8, clip=1e9, every=1).step()
    for old, w in zip(before, model.parameters(), strict=True):
        torch.testing.assert_close(
            (old - w.detach()) * 100, w.grad, rtol=1e-6, atol=1e-9
        )


def test_kfac_does_not_care_about_a_linear_change_of_its_inputs(problem):
    """Without damping x -> T x gives the same network after a step, if the first layer
    starts at W T^-1.
    """
    model, _, X, y = problem
    T = torch.randn(D, D, dtype=torch.float64) + 3 * torch.eye(D)
    turned = copy.deepcopy(model)
    turned[0].weight.data = torch.linalg.solve(T.T, model[0].weight.data.T).T
    for net, inputs in ((model, X), (turned, X @ T.T)):
        loss = partial(
            lambda net, inputs: nn.functional.cross_entropy(net(inputs), y), net, inputs
        )
        minimise("K-FAC", net, loss, 1, damping=1e-11, lr=0.1, clip=1.0)
    torch.testing.assert_close(turned(X @ T.T), model(X), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Linear(D, H, bias=False), nn.Linear(H, C)),
        nn.Sequential(nn.Linear(D, C), nn.LayerNorm(C)),
        nn.Sequential(nn.LayerNorm(C)),
    ],
    ids=["no bias", "other weights", "no linear layer"],
)
def test_kfac_names_what_it_cannot_serve(model):
    first = next(model.parameters()).shape[-1]
    loss = lambda: model(torch.ones(N, first)).square().sum()  # noqa: E731
    with pytest.raises(ValueError, match="K-FAC wants linear layers with biases"):
        KFAC(model, loss, lr=0.1, damping=1e-3, clip=1.0, every=1)


def test_kfac_refuses_samples_that_meet(problem):
    model, _, X, y = problem
    norm = nn.BatchNorm1d(H, affine=False).double()
    model.insert(1, norm)
    loss = lambda: nn.functional.cross_entropy(model(X), y)  # noqa: E731
    with pytest.raises(ValueError, match="samples meet on their way"):
        KFAC(model, loss, lr=0.1, damping=1e-3, clip=1.0, every=1)
    norm.eval()  # then it is a fixed affine map of each sample
    KFAC(model, loss, lr=0.1, damping=1e-3, clip=1.0, every=1)


# Power-AdaHessian on losses with a diagonal Hessian: squares of signs are one, so
# Hutchinson's estimate is exact.


def quartic(w, v):
    """Loss with the Hessian diag(12 w^2 + 1) in w and diag(2 v^2 + 0.1) in v."""
    return (w**4 + w**2 / 2).sum() + (v**4 / 6 + 0.05 * v**2).sum()


def step_of(params, loss, optimizer) -> None:
    for w, g in zip(
        params,
        torch.autograd.grad(loss(*params), params, create_graph=True),
        strict=True,
    ):
        w.grad = g
    optimizer.step()


@pytest.mark.parametrize("p", [-1.0, -0.5, 0.0, 0.5, 1.0])
def test_power_adahessian_by_hand_over_three_steps(p):
    rng = np.random.default_rng(0)
    w, v = rng.standard_normal((2, 3)), rng.standard_normal(4)
    params = [torch.tensor(x, requires_grad=True) for x in (w, v)]
    optimizer = PowerAdaHessian(params, lr=0.02, p=p)
    slopes = [lambda w: 4 * w**3 + w, lambda v: 4 * v**3 / 6 + 0.1 * v]
    curves = [lambda w: 12 * w**2 + 1, lambda v: 2 * v**2 + 0.1]
    x, m, s = [w, v], [0.0, 0.0], [0.0, 0.0]
    for t in (1, 2, 3):
        step_of(params, quartic, optimizer)
        for i in range(2):
            m[i] = 0.9 * m[i] + 0.1 * slopes[i](x[i])
            s[i] = 0.999 * s[i] + 0.001 * curves[i](x[i]) ** 2
            h = np.sqrt(s[i] / (1 - 0.999**t))
            x[i] = x[i] - 0.02 * m[i] / (1 - 0.9**t) * (h / h.mean() + 1e-3) ** p
            np.testing.assert_allclose(params[i].detach(), x[i], rtol=1e-12)


def test_power_minus_one_is_adahessian_up_to_the_scale_of_each_tensor(monkeypatch):
    monkeypatch.setattr(preconditioners, "FLOOR", 0.0)
    moves = []
    for make in (
        lambda q: PowerAdaHessian(q, lr=1e-3, p=-1.0),
        lambda q: library("AdaHessian")(q, lr=1e-3),
    ):
        rng = np.random.default_rng(1)
        params = [
            torch.tensor(rng.standard_normal(n), requires_grad=True) for n in (5, 3)
        ]
        before, optimizer = [w.detach().clone() for w in params], make(params)
        step_of(params, quartic, optimizer)
        moves.append([old - w.detach() for old, w in zip(before, params, strict=True)])
    for own, published in zip(*moves, strict=True):
        assert (own / published).std() < 1e-9 * (own / published).mean() and (
            own / published
        ).mean() > 0


def test_power_zero_is_descent_with_averaged_gradients(problem):
    model, loss, _, _ = problem
    twin = copy.deepcopy(model)
    minimise("power-AdaHessian", model, loss, 3, p=0.0, lr=0.5)
    m = [torch.zeros_like(w) for w in twin.parameters()]
    for t in (1, 2, 3):
        plain_gradients(twin, loss_of(twin, problem))
        for w, slope in zip(twin.parameters(), m, strict=True):
            slope.mul_(0.9).add_(0.1 * w.grad)
            w.data -= 0.5 * slope / (1 - 0.9**t)
    for w, v in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(w, v, rtol=1e-12, atol=1e-14)


def test_power_adahessian_uses_the_rademacher_estimate(problem):
    """On a full Hessian one step follows z * Hz for the signs that the generator gives."""
    model, loss, _, _ = problem
    params, before = (
        list(model.parameters()),
        [w.detach().clone() for w in model.parameters()],
    )
    slopes = torch.autograd.grad(loss(), params, create_graph=True)
    torch.manual_seed(5)
    signs = [torch.randint_like(w, 0, 2) * 2 - 1 for w in params]
    assert all(set(z.flatten().tolist()) <= {-1.0, 1.0} for z in signs)
    h = [
        abs(z * Hz)
        for z, Hz in zip(signs, torch.autograd.grad(slopes, params, signs), strict=True)
    ]
    minimise("power-AdaHessian", model, loss, 1, seed=5, lr=0.1, p=1.0)
    for w, old, g, k in zip(params, before, slopes, h, strict=True):
        torch.testing.assert_close(
            old - w.detach(),
            0.1 * g.detach() * (k / k.mean() + 1e-3),
            rtol=1e-10,
            atol=1e-14,
        )


def powered(M: np.ndarray, power: float, floor: float) -> np.ndarray:
    """Return M to a power by scipy, after its small eigenvalues were raised."""
    values, vectors = np.linalg.eigh(M)
    raised = (vectors * values.clip(floor * values[-1])) @ vectors.T
    return fractional_matrix_power(raised, power).real


@pytest.mark.parametrize("every", [1, 3], ids=["roots each step", "roots every third"])
@pytest.mark.parametrize("floor", [1e-6, 0.1])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_shampoo_is_the_matrix_powers(momentum, floor, every):
    rng = np.random.default_rng(2)
    W, b = rng.standard_normal((3, 4)), rng.standard_normal(3)
    params = [torch.tensor(W), torch.tensor(b)]
    shampoo = Shampoo(
        params, lr=0.1, memory=0.8, momentum=momentum, floor=floor, every=every
    )
    L = R = V = M = m = 0.0
    for t in range(1, 6):
        G, g = rng.standard_normal((3, 4)), rng.standard_normal(3)
        L, R, V = (
            0.8 * old + 0.2 * new
            for old, new in ((L, G @ G.T), (R, G.T @ G), (V, np.outer(g, g)))
        )
        M, m = (momentum * old + (1 - momentum) * new for old, new in ((M, G), (m, g)))
        if t % every == 1 or every == 1:
            left, right = (powered(S / (1 - 0.8**t), -0.25, floor) for S in (L, R))
            vector = powered(V / (1 - 0.8**t), -0.5, floor)
        W, b = W - 0.1 * left @ M @ right, b - 0.1 * vector @ m
        for w, new in zip(params, (G, g), strict=True):
            w.grad = torch.tensor(new)
        shampoo.step()
        np.testing.assert_allclose(params[0], W, rtol=1e-8)
        np.testing.assert_allclose(params[1], b, rtol=1e-8)


def test_the_first_step_of_shampoo_is_the_polar_factor():
    G = torch.randn(
        3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    W, b = torch.zeros(3, 5, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)
    W.grad, b.grad = G, torch.tensor([3.0, 0.0, -4.0, 0.0], dtype=torch.float64)
    Shampoo([W, b], lr=1.0, floor=1e-12).step()
    U, _, Vt = torch.linalg.svd(G, full_matrices=False)
    torch.testing.assert_close(-W, U @ Vt, rtol=0, atol=1e-5)
    torch.testing.assert_close(-b, b.grad / 5, rtol=0, atol=1e-6)  # g/|g|


def test_old_roots_of_shampoo_stretch_a_direction_that_they_have_not_seen():
    """By the root of the floor: known behaviour, and the reason why the first few steps
    can raise the loss.
    """
    b = torch.zeros(2, dtype=torch.float64)
    shampoo = Shampoo([b], lr=1.0, floor=1e-6, every=5)
    for g in ([1.0, 0.0], [0.0, 1.0]):
        b.grad = torch.tensor(g, dtype=torch.float64)
        shampoo.step()
    assert b.tolist() == pytest.approx([-1, -1000])


def test_shampoo_does_not_move_without_a_gradient():
    W = torch.ones(2, 3, dtype=torch.float64)
    W.grad = torch.zeros_like(W)
    Shampoo([W], lr=1.0).step()
    assert torch.equal(W, torch.ones(2, 3, dtype=torch.float64))


@pytest.mark.parametrize("power", [-0.25, -0.5, -1.0])
def test_inverse_root_on_a_known_spectrum(power):
    Q = torch.linalg.qr(
        torch.randn(
            3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
        )
    )[0]
    M = Q @ torch.diag(torch.tensor([16.0, 1.0, 1e-9], dtype=torch.float64)) @ Q.T
    expected = (
        Q
        @ torch.diag(torch.tensor([16.0, 1.0, 0.16], dtype=torch.float64) ** power)
        @ Q.T
    )
    torch.testing.assert_close(
        inverse_root(M, power, 0.01), expected, rtol=1e-9, atol=1e-12
    )
