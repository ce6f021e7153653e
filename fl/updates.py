"""A training run, named once for the two routes that make it.

`fl.theory.gram` trains from Gram matrices, `fl.simulate.gram` in parameter space. They
share what they are told, a `Rule`, and what they hand back, a `Run`; no step is
computed here, so that the two stay independent.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from fl import validate


@dataclass(frozen=True, eq=False)
class Rule:
    r"""How a network is trained, checked when it is made.

    Args:
        steps: number of updates.
        eta: step size of all weights.
        activation: of the hidden layers, ``relu`` or ``tanh``.
        bias_eta: step size of the first layer's bias, which starts at 0 and whose
            gradient is not preconditioned.
        momentum: heavy-ball factor in [0, 1), for every layer.
        memory: whether the first layer's buffer holds raw ``gradients`` or
            preconditioned ``steps``.
        damping: :math:`\delta` of the left factor :math:`Q_t = (nD_tD_t^\top + \delta
            I)^{-1}` (``n`` the batch size; the output factor of K-FAC), or None for no
            left factor.
        decay: decoupled weight decay ``k`` of the first layer (not of its bias): it
            shrinks by ``1 - eta * decay`` per step.
        penalty: coupled penalty ``k`` of the first layer, :math:`\tfrac k2|W|^2` in the
            loss, so that its gradient is preconditioned too.
        batches: indices of the samples used, (steps, n); all samples in each step if
            None.
        train_biases: whether the biases of the later layers move.
        every: record every that many steps, and the last.

    Raises:
        ValueError: for a value out of range, or ``batches`` of another length than
            ``steps``.
    """

    steps: int
    eta: float
    activation: str = "tanh"
    bias_eta: float = 0.0
    momentum: float = 0.0
    memory: str = "gradients"
    damping: float | None = None
    decay: float = 0.0
    penalty: float = 0.0
    batches: np.ndarray | None = None
    train_biases: bool = True
    every: int = 1

    def __post_init__(self):
        validate.count("steps", self.steps)
        validate.count("every", self.every)
        validate.number("eta", self.eta, 0, open_low=True)
        for name in ["bias_eta", "decay", "penalty"]:
            validate.number(name, getattr(self, name), 0)
        validate.number("momentum", self.momentum, 0, 1 - 1e-9)
        if self.damping is not None:
            validate.number("damping", self.damping, 0)
        validate.choice("memory", self.memory, ["gradients", "steps"])
        validate.choice("activation", self.activation, ["relu", "tanh"])
        if self.batches is not None:
            validate.array("batches", self.batches, (self.steps, "n"))

    def batch(self, t: int, n: int) -> np.ndarray:
        """Return the indices of the samples of step ``t``, of ``n`` samples in all."""
        if self.batches is None:
            return np.arange(n)
        return self.batches[t]

    def records(self, t: int) -> bool:
        """Return whether the state after ``t`` updates is recorded."""
        return t == self.steps or t % self.every == 0

    def per_step(self, name: str, value, shape: tuple[int, int]) -> np.ndarray:
        """Return ``value``, called ``name``, as one matrix of ``shape`` per step; it is
        such a stack already, or one matrix for all steps.

        Raises:
            ValueError: for another shape.
        """
        stack = (self.steps, *shape)
        wanted = stack if np.ndim(value) == 3 else shape
        value = validate.array(name, value, wanted)
        return np.broadcast_to(value, stack)

    def coupled(self) -> "Rule":
        """Return the rule with its decay as a coupled penalty in the loss."""
        return replace(self, decay=0.0, penalty=self.decay)


class Run(NamedTuple):
    """A recorded run, with the time in front; the dimensions ... belong to networks
    trained together.

    Steps (T,), loss (T, ...), first-layer pre-activations ``Z`` (T, ..., h, N + M) on N
    training and M test inputs, ``outputs`` (T, ..., k, N + M), and, from parameter
    space, the first layer ``W`` (T, ..., h, d).
    """

    steps: np.ndarray
    loss: np.ndarray
    Z: np.ndarray
    outputs: np.ndarray
    W: np.ndarray | None = None


def gap(a: Run, b: Run) -> float:
    """Return the largest difference of the runs ``a`` and ``b`` over all recorded
    steps: of pre-activations or of the loss, relative to the largest of ``a``.

    Infinite if the loss of ``a`` moved by less than 1 %: then nothing was tested.
    """
    moved = a.loss[-1] / a.loss[0] - 1
    if abs(moved) < 0.01:
        return np.inf
    gaps = []
    for ours, others in [(a.Z, b.Z), (a.loss, b.loss)]:
        largest = np.abs(ours).max()
        distance = np.abs(ours - others).max()
        gaps.append(distance / largest)
    return max(gaps)
