"""An optimizer with powers of both of its factors, as the tests of optimizers want it."""

import torch

FLOOR = 1e-12  # of the largest eigenvalue


class TwoSided(torch.optim.Optimizer):
    r"""The update :math:`L^{\rm left}GR^{\rm right}` with moving averages L of
    :math:`GG^\top` and R of :math:`G^\top G`.

    Args:
        params: matrices to move.
        left: power of L.
        right: power of R.
        memory: of the averages, which are corrected for being short at the start.
        damping: added to both, in units of their mean eigenvalues.
        exchanged: the fault: L and R change places.
    """

    def __init__(self, params, left, right, memory=0.98, damping=0.0, exchanged=False):
        super().__init__(params, {"lr": 1e-6})
        self.powers, self.memory, self.damping = (left, right), memory, damping
        self.exchanged, self.age = exchanged, 0

    @torch.no_grad()
    def step(self) -> None:
        """Move every matrix by one step."""
        self.age += 1
        short = 1 - self.memory**self.age
        (group,) = self.param_groups
        for w in group["params"]:
            G, kept = w.grad, self.state[w]
            products = {
                "L": G @ G.T,
                "R": G.T @ G,
            }
            for side, M in products.items():
                old = kept.get(side, torch.zeros_like(M))
                kept[side] = old.lerp(M, 1 - self.memory)
            sides = [kept["L"], kept["R"]]
            if self.exchanged:
                sides.reverse()
            pairs = zip(sides, self.powers, strict=True)
            roots = [_root(M / short, p, self.damping) for M, p in pairs]
            left, right = roots
            move = left @ G @ right
            w.sub_(move, alpha=group["lr"])


def _root(M, p: float, damping: float) -> torch.Tensor:
    if p == 0:
        return torch.eye(len(M), dtype=M.dtype)
    values, vectors = torch.linalg.eigh(M)
    least = FLOOR * values[-1]
    raised = values.clamp_min(least)
    raised = raised + damping * values.mean()
    return (vectors * raised**p) @ vectors.T
