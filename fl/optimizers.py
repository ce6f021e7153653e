r"""The optimizer zoo: fourteen methods by name, one call.

`minimise` moves the weights of a `torch.nn.Module` down a loss. Where a library does
what its paper says, it is used: `torch.optim` for GD, momentum, Adam, AdamW and Muon,
`pytorch_optimizer` for SAM, Sophia-H, AdaHessian and SOAP, scipy for L-BFGS (torch's
line search stops moving on these problems). K-FAC, power-AdaHessian and Shampoo are
`fl.preconditioners`; the exact power of the input covariance is the definition of the
papers' preconditioner.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from scipy import optimize
from torch import Tensor, nn

from fl import validate
from fl.preconditioners import KFAC, PowerAdaHessian, Shampoo

# of the largest eigenvalue, added to the covariance before its power is taken
JITTER = 1e-6


class Hyper(NamedTuple):
    """A hyper-parameter: its default and the closed range [low, high] it must lie in; a
    whole default asks for one.
    """

    default: float
    low: float = 0.0
    high: float = np.inf
    open_low: bool = False  # the lower end itself is excluded


class Recipe(NamedTuple):
    """How to make an update: ``make(model, loss, **hyper)`` returns a function without
    arguments that moves once.

    ``graph_every`` is the number of steps between two gradients that must carry a
    graph, 0 for never; a text names the hyper-parameter that says it.
    """

    make: Callable
    hyper: dict[str, Hyper]
    graph_every: int | str = 0


def minimise(
    name: str,
    model: nn.Module,
    loss: Callable[[], Tensor],
    steps: int,
    watch: Callable[[int, float], bool | None] | None = None,
    seed: int = 0,
    **hyper,
) -> int:
    """Move the weights of ``model`` by at most ``steps`` updates of an optimizer and
    return how many were made.

    Args:
        name: one of `ZOO`.
        model: changed in place. K-FAC and the exact power want linear layers, the first
            of which sees the inputs.
        loss: returns the scalar loss of the model with its graph, without arguments.
        steps: largest number of updates; for L-BFGS of iterations.
        watch: called as ``watch(step, value)`` after ``step`` updates with the loss
            there, while ``.grad`` holds the plain gradients; a true answer ends the
            run. Its last call sees the final weights.
        seed: of the random signs of Hutchinson's estimate; the global generator is left
            as it was.
        hyper: hyper-parameters that differ from the table's defaults (`defaults`);
            ``covariance`` for ``exact``.

    Raises:
        ValueError: for an unknown name or hyper-parameter, a value out of range, a loss
            that is no function, is not a finite scalar at the start, or has no graph;
            for a loss without second derivatives where they are needed; for a model
            with frozen weights, or without the layers that the optimizer wants.
        ImportError: if the optimizer comes from `pytorch_optimizer` and the extra
            ``zoo`` is not installed.
    """
    recipe = ZOO[validate.choice("name", name, ZOO)]
    hyper = _checked(name, recipe, hyper)
    steps = validate.count("steps", steps)
    if not isinstance(model, nn.Module):
        raise ValueError(f"model = {model!r}: must be a torch.nn.Module")
    if not callable(loss):
        raise ValueError(
            f"loss = {loss!r}: {name} needs a function without arguments that returns the loss"
        )
    every = (
        recipe.graph_every
        if isinstance(recipe.graph_every, int)
        else hyper[recipe.graph_every]
    )
    watch = watch or (lambda step, value: False)
    params = list(model.parameters())
    if not params or not all(w.requires_grad for w in params):
        raise ValueError("model must have weights, and requires_grad on all of them")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(validate.count("seed", seed, minimum=0))
        try:
            start = _gradients(name, params, loss, graph=every > 0)
            if not np.isfinite(start):
                raise ValueError(f"loss() = {start} at the start: must be finite")
            if name == "L-BFGS":
                return _lbfgs(params, loss, steps, watch, **hyper)
            return _loop(
                name,
                params,
                loss,
                steps,
                watch,
                every,
                recipe.make(model, loss, **hyper),
                start,
            )
        finally:
            for w in params:  # a gradient with a graph keeps the whole step alive
                w.grad = None


def defaults(name: str) -> dict[str, float]:
    """Return the hyper-parameters of an optimizer with their defaults.

    Raises:
        ValueError: for an unknown name.
    """
    return {
        key: h.default
        for key, h in ZOO[validate.choice("name", name, ZOO)].hyper.items()
    }


def exact_preconditioner(covariance, p: float) -> Tensor:
    r"""Return :math:`P=(\Sigma+10^{-6}\lambda_1 I)^p`, (d, d), scaled so that tr(Sigma
    P) = tr(Sigma).

    The scale makes one learning rate serve every p; the jitter bounds what directions
    without variance can do.

    Raises:
        ValueError: if the covariance is not symmetric PSD, or p is not finite.
    """
    p, S = (
        validate.number("p", p),
        validate.psd("covariance", covariance, tolerance=1e-6),
    )
    values, vectors = np.linalg.eigh((S + S.T) / 2)
    values = values.clip(0)
    if values[-1] == 0:
        raise ValueError("covariance = 0: must have a positive eigenvalue")
    powers = (values + JITTER * values[-1]) ** p
    return torch.as_tensor(
        (vectors * powers) @ vectors.T * (values.sum() / (values @ powers))
    )


def _loop(name, params, loss, steps, watch, every, update, value) -> int:
    for step in range(steps + 1):
        if step:  # the gradients of the start are there already
            value = _gradients(
                name, params, loss, graph=every > 0 and step % every == 0
            )
        if watch(step, value) or step == steps or not np.isfinite(value):
            return step
        try:
            update()
        except RuntimeError as error:
            if every and re.search("differentia|does not require grad", str(error)):
                raise ValueError(
                    f"{name} needs second derivatives, which this loss does not have: {error}"
                ) from None
            raise
    raise AssertionError("unreachable")


def _gradients(name: str, params: list, loss: Callable, graph: bool = False) -> float:
    value = loss()
    if not isinstance(value, Tensor) or value.numel() != 1:
        raise ValueError(f"loss() = {value!r}: must be a tensor with one entry")
    if not value.requires_grad:
        raise ValueError(
            f"loss() has no graph, so {name} gets no gradient: compute it from the model, with gradients on"
        )
    slopes = torch.autograd.grad(
        value.reshape(()), params, create_graph=graph, materialize_grads=True
    )
    if graph and not any(g.requires_grad for g in slopes):
        raise ValueError(
            f"{name} needs second derivatives, but the gradient of this loss does not depend on the weights"
        )
    for w, g in zip(params, slopes, strict=True):
        w.grad = g
    return float(value.detach())


def _checked(name: str, recipe: Recipe, given: dict) -> dict:
    allowed = list(recipe.hyper) + (["covariance"] if name == "exact" else [])
    result = defaults(name)
    for key, value in given.items():
        validate.choice(f"hyper-parameter of {name}", key, allowed)
        if key == "covariance":
            result[key] = value
            continue
        default, low, high, open_low = recipe.hyper[key]
        label = f"{key} of {name}"
        whole = isinstance(default, int)
        result[key] = (
            validate.count(label, value)
            if whole
            else validate.number(label, value, low, high, open_low=open_low)
        )
    if name == "exact" and "covariance" not in result:
        raise ValueError(
            "covariance of exact is missing: give the (d, d) covariance of the inputs of the first layer"
        )
    return result


def _published(make: Callable) -> Callable:
    """Turn ``make(params, **hyper) -> Optimizer`` into a maker of updates."""
    return lambda model, loss, **hyper: make(list(model.parameters()), **hyper).step


def library(name: str) -> type[torch.optim.Optimizer]:
    """Return a class of `pytorch_optimizer`.

    Raises:
        ImportError: if the package is not installed; the message says how to install
            it.
    """
    try:
        import pytorch_optimizer  # slow to import, and only the extra `zoo` brings it
    except ImportError as error:
        cure = "install the extra `zoo`, with pip install -e '.[zoo]' in the checkout"
        raise ImportError(
            f"{name} needs pytorch-optimizer, which is not here: {cure}"
        ) from error
    return getattr(pytorch_optimizer, name)


def _from_library(name: str, **fixed) -> Callable:
    return _published(lambda params, **hyper: library(name)(params, **hyper, **fixed))


def _sam(model, loss, lr, rho):
    params = list(model.parameters())
    sam = library("SAM")(params, base_optimizer=torch.optim.SGD, lr=lr, rho=rho)
    return lambda: sam.step(lambda: _gradients("SAM", params, loss))


def _muon(model, loss, lr, bias_lr):
    matrices = [w for w in model.parameters() if w.ndim == 2]
    vectors = [
        w for w in model.parameters() if w.ndim != 2
    ]  # Muon is defined for matrices alone
    parts = [torch.optim.Muon(matrices, lr=lr, weight_decay=0.0)]
    if vectors:
        parts.append(torch.optim.SGD(vectors, lr=bias_lr, momentum=0.9))
    return lambda: [part.step() for part in parts]


def _exact(model, loss, lr, p, covariance):
    first = next((m for m in model.modules() if isinstance(m, nn.Linear)), None)
    if first is None:
        raise ValueError("model has no linear layer: exact preconditions the first one")
    P = exact_preconditioner(covariance, p).to(first.weight.dtype)
    if len(P) != first.in_features:
        raise ValueError(
            f"covariance has shape {tuple(P.shape)}: must be ({first.in_features}, {first.in_features})"
        )
    descent = torch.optim.SGD(model.parameters(), lr=lr)

    def update():
        first.weight.grad = first.weight.grad @ P
        descent.step()

    return update


def _lbfgs(params, loss, steps, watch, pairs) -> int:
    """Run scipy's L-BFGS-B, whose iterations are the steps; its last evaluation is the
    point it stands at.
    """

    def evaluate(x):
        with torch.no_grad():
            nn.utils.vector_to_parameters(
                torch.as_tensor(x, dtype=params[0].dtype), params
            )
        value = _gradients("L-BFGS", params, loss)
        return value, torch.cat([w.grad.flatten() for w in params]).double().numpy()

    made = 0

    def callback(intermediate_result) -> None:
        nonlocal made
        made += 1
        value, _ = evaluate(intermediate_result.x)
        if watch(made, value):
            raise StopIteration

    begin = torch.cat([w.detach().flatten() for w in params]).double().numpy()
    if watch(0, evaluate(begin)[0]):
        return 0
    options = {
        "maxcor": pairs,
        "maxiter": steps,
        "ftol": 0.0,
        "gtol": 0.0,
        "maxfun": 20 * steps + 20,
    }
    optimize.minimize(
        evaluate, begin, jac=True, method="L-BFGS-B", callback=callback, options=options
    )
    return made


def _rate(default: float) -> Hyper:
    return Hyper(default, open_low=True)


ZOO: dict[str, Recipe] = {
    "GD": Recipe(_published(torch.optim.SGD), {"lr": _rate(1.0)}),
    "momentum": Recipe(
        _published(torch.optim.SGD),
        {"lr": _rate(0.1), "momentum": Hyper(0.9, high=1.0)},
    ),
    "SAM": Recipe(_sam, {"lr": _rate(1.0), "rho": Hyper(0.5)}),
    "Adam": Recipe(_published(torch.optim.Adam), {"lr": _rate(1e-3)}),
    "AdamW": Recipe(
        _published(torch.optim.AdamW), {"lr": _rate(1e-3), "weight_decay": Hyper(1.0)}
    ),
    "Sophia-H": Recipe(
        _from_library("SophiaH"),
        {"lr": _rate(0.01), "p": _rate(0.05), "update_period": Hyper(10)},
        graph_every="update_period",
    ),
    "AdaHessian": Recipe(
        _from_library("AdaHessian"), {"lr": _rate(0.01)}, graph_every=1
    ),
    "power-AdaHessian": Recipe(
        _published(PowerAdaHessian),
        {"lr": _rate(1.0), "p": Hyper(-1.0, -4.0, 4.0)},
        graph_every=1,
    ),
    "K-FAC": Recipe(
        lambda model, loss, **hyper: KFAC(model, loss, **hyper).step,
        {
            "lr": _rate(0.1),
            "damping": _rate(1e-6),
            "clip": _rate(1e-4),
            "every": Hyper(5),
        },
    ),
    "Shampoo": Recipe(
        _published(Shampoo),
        {
            "lr": _rate(0.01),
            "memory": Hyper(0.95, high=0.9999),
            "momentum": Hyper(0.9, high=0.9999),
            "floor": _rate(1e-6),
            "every": Hyper(5),
        },
    ),
    "SOAP": Recipe(
        _from_library("SOAP", weight_decay=0.0),
        {"lr": _rate(0.01), "precondition_frequency": Hyper(1)},
    ),
    "Muon": Recipe(_muon, {"lr": _rate(0.01), "bias_lr": _rate(0.1)}),
    "L-BFGS": Recipe(lambda model, loss: None, {"pairs": Hyper(20)}),
    "exact": Recipe(_exact, {"lr": _rate(0.5), "p": Hyper(0.0, -4.0, 4.0)}),
}
