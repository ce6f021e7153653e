r"""The optimizer zoo: fourteen methods by name, one call.

What a user's own loss sees of the call:

- Its random draws are its own: `minimise` neither reseeds torch's global generator nor
  draws from it. The signs of Hutchinson's estimate come from a stream of their own.
- SAM and K-FAC evaluate the loss twice in a step, L-BFGS many times. All evaluations of
  a step (for L-BFGS: of the run) find torch's global generator in the same state, so a
  loss that draws its mini-batch from it sees one batch. A loss that draws from another
  generator (numpy's, or one of its own), or takes the next batch of a loader, sees
  another batch each time: for these three, give it the whole sample. Buffers of the
  model (running statistics of batch normalisation) count one evaluation a step.
- Frozen weights stay, and so does a weight that the loss does not use. What a method
  cannot serve (a type, a shape, a loss) is refused by name before anything moves.
- The memory of an optimizer (averages, curvature, the age of its factors) begins anew
  with every call. Two calls of 25 steps are one of 50 for GD, SAM and exact, which
  remember nothing; for no other method.

`minimise` moves the weights of a `torch.nn.Module` down a loss. Where a library does
what its paper says, it is used: `torch.optim` for GD, momentum, Adam, AdamW and Muon,
`pytorch_optimizer` for SAM, Sophia-H, AdaHessian and SOAP, scipy for L-BFGS (torch's
line search stops moving on these problems). K-FAC, power-AdaHessian and Shampoo are
`fl.preconditioners*`; the exact power of the input covariance is the papers' definition.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from fl import validate
from fl.optimizers_drive import Problem, by_lbfgs, by_steps, seeded
from fl.preconditioners import PowerAdaHessian, Shampoo
from fl.preconditioners_kfac import KFAC, linear_passes

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

    def checked(self, label: str, value) -> float:
        """Return ``value``, called ``label`` in the message.

        Raises:
            ValueError: if it is out of range.
        """
        if isinstance(self.default, int):
            return validate.count(label, value)
        return validate.number(
            label, value, self.low, self.high, open_low=self.open_low
        )


class Recipe(NamedTuple):
    """How to make an update: ``make(model, problem, **hyper)`` returns a list of
    optimizers, each of which moves its part of the weights.

    ``graph_every`` is the number of steps between two gradients that must carry a
    graph, 0 for never; a text names the hyper-parameter that says it. ``needs`` says
    what has no default and must be given. ``drive``, if given, runs what ``make``
    returned. ``twice`` says that a step evaluates the loss once more.
    """

    make: Callable
    hyper: dict[str, Hyper]
    graph_every: int | str = 0
    needs: dict[str, str] = {}
    drive: Callable | None = None  # step by step if None
    twice: bool = False


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
        model: changed in place. K-FAC wants linear layers alone; the exact power
            preconditions the linear layer that runs first.
        loss: returns the scalar loss of the model with its graph, without arguments.
        steps: largest number of updates; for L-BFGS of iterations.
        watch: called as ``watch(step, value)`` after ``step`` updates with the loss
            there, while ``.grad`` holds the plain gradients; a true answer ends the
            run. Its last call sees the final weights.
        seed: of the random signs of Hutchinson's estimate.
        hyper: hyper-parameters that differ from the table's defaults (`defaults`);
            ``covariance`` for ``exact``.

    Raises:
        ValueError: for an unknown name or hyper-parameter, a value out of range, a loss
            that is no function, is no finite real scalar at the start, or has no graph;
            for a loss without second derivatives where they are needed; for weights
            that are not finite, or of a type that the optimizer cannot serve; for a
            model without the layers that it wants.
        ImportError: if the optimizer comes from `pytorch_optimizer` and the extra
            ``zoo`` is not installed.
    """
    recipe = ZOO[validate.choice("name", name, ZOO)]
    hyper = _checked(name, recipe, hyper)
    steps = validate.count("steps", steps)
    seed = validate.count("seed", seed, minimum=0)
    problem = Problem(name, model, loss)
    every = hyper.get(recipe.graph_every, recipe.graph_every)
    watch = watch or (lambda step, value: False)
    try:
        problem.start(graph=every > 0)
        made = recipe.make(model, problem, **hyper)
        if recipe.drive is not None:
            return recipe.drive(problem, made, steps, watch)
        for part in made:
            problem.check_precision(part)
        closure = [lambda: problem.gradients(problem.again)] * recipe.twice

        def update() -> None:
            for part in made:
                part.step(*closure)

        update = seeded(update, seed) if every else update
        return by_steps(problem, update, steps, watch, every)
    finally:
        model.zero_grad()  # a gradient with a graph keeps the whole step alive


def defaults(name: str) -> dict[str, float]:
    """Return the hyper-parameters of the optimizer ``name`` with their defaults.

    Raises:
        ValueError: for an unknown name.
    """
    return {
        key: h.default
        for key, h in ZOO[validate.choice("name", name, ZOO)].hyper.items()
    }


def exact_preconditioner(covariance, p: float) -> Tensor:
    r"""Return :math:`P=(\Sigma+10^{-6}\lambda_1 I)^p`, (d, d), scaled so that tr(Sigma
    P) = tr(Sigma), for the ``covariance`` Sigma (d, d) and any ``p``.

    The scale makes one step size serve every p; the jitter bounds what directions
    without variance can do.

    Raises:
        ValueError: if the covariance is not symmetric PSD, or p is not finite.
    """
    p = validate.number("p", p)
    S = validate.psd("covariance", covariance, tolerance=1e-6)
    values, vectors = np.linalg.eigh((S + S.T) / 2)
    values = values.clip(0)
    if values[-1] == 0:
        raise ValueError("covariance = 0: must have a positive eigenvalue")
    powers = (values + JITTER * values[-1]) ** p
    return torch.as_tensor(
        (vectors * powers) @ vectors.T * (values.sum() / (values @ powers))
    )


def _checked(name: str, recipe: Recipe, given: dict) -> dict:
    for key in given:
        allowed = [*recipe.hyper, *recipe.needs]
        validate.choice(f"hyper-parameter of {name}", key, allowed)
    for key, what in recipe.needs.items():
        if key not in given:
            raise ValueError(f"{key} of {name} is missing: give {what}")
    options = defaults(name) | given
    for key, hyper in recipe.hyper.items():
        options[key] = hyper.checked(f"{key} of {name}", options[key])
    return options


def _published(make: Callable) -> Callable:
    """Turn ``make(params, **hyper) -> Optimizer`` into the ``make`` of a recipe."""
    return lambda model, problem, **hyper: [make(problem.params, **hyper)]


def library(name: str) -> type[torch.optim.Optimizer]:
    """Return the class ``name`` of `pytorch_optimizer`.

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


def _sam(params, **hyper):
    return library("SAM")(params, base_optimizer=torch.optim.SGD, **hyper)


def _kfac(model, problem, **hyper):
    return [KFAC(model, problem.again, **hyper)]


def _muon(model, problem, lr, bias_lr):
    matrices = [w for w in problem.params if w.ndim == 2]
    if not matrices:
        raise ValueError("model has no matrix among its weights: Muon moves matrices")
    # Muon is defined for matrices alone
    vectors = [w for w in problem.params if w.ndim != 2]
    parts = [torch.optim.Muon(matrices, lr=lr, weight_decay=0.0)]
    if vectors:
        parts.append(torch.optim.SGD(vectors, lr=bias_lr, momentum=0.9))
    return parts


def _exact(model, problem, lr, p, covariance):
    P = exact_preconditioner(covariance, p)
    _, passes = linear_passes(model, problem.again)
    weight = passes[0].layer.weight if passes else None
    if weight is None or weight.grad is None:
        raise ValueError("model has no linear layer that runs first and has a gradient")
    inputs = weight.shape[1]
    if len(P) != inputs:
        raise ValueError(
            f"covariance has shape {tuple(P.shape)}: must be ({inputs}, {inputs})"
        )

    P = P.to(weight.dtype)

    def turn(*_) -> None:
        weight.grad = weight.grad @ P

    descent = torch.optim.SGD(problem.params, lr=lr)
    descent.register_step_pre_hook(turn)
    return [descent]


def _rate(default: float) -> Hyper:
    return Hyper(default, open_low=True)


ZOO: dict[str, Recipe] = {
    "GD": Recipe(_published(torch.optim.SGD), {"lr": _rate(1.0)}),
    "momentum": Recipe(
        _published(torch.optim.SGD),
        {"lr": _rate(0.1), "momentum": Hyper(0.9, high=0.9999)},
    ),
    "SAM": Recipe(_published(_sam), {"lr": _rate(1.0), "rho": Hyper(0.5)}, twice=True),
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
        _kfac,
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
    "L-BFGS": Recipe(
        lambda model, problem, pairs: pairs, {"pairs": Hyper(20)}, drive=by_lbfgs
    ),
    "exact": Recipe(
        _exact,
        {"lr": _rate(0.5), "p": Hyper(0.0, -4.0, 4.0)},
        needs={
            "covariance": "the (d, d) covariance of the inputs of the first layer",
        },
    ),
}
