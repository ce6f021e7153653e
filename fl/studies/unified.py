"""Preconditioned first steps: the problems, the sizes at each scale, and the sweeps.

A study is a list of pairs of `Run`, in d and in d/2 dimensions, so that what a finite d
does to a mean can be taken out. Steps and dampings are put where theory says that
something is to be seen, so each problem has sweeps of its own.
"""

from typing import NamedTuple

import xarray as xr

from fl.scales import Scale, at, seeds
from fl.simulate import unified as simulate
from fl.sweep import sized, sweep
from fl.tasks import log_spaced
from fl.theory import unified as theory
from fl.theory.spikes import pair
from fl.theory.unified_spike import spiked, threshold

PENALTY = 0.03
STRENGTH = 2.0  # of the steps of `damped`
FELT = 1.5  # of those of `risks` that are to be compared
EXPONENTS = (-1.0, 0.0, 1.0)
POWERS = (-1.0, -0.5, 0.5, 1.0)


class Cell(NamedTuple):
    """Fields of `fl.simulate.unified.Setting`."""

    ratio: float = 12.0
    slope: float = 0.0
    psi1: float = 3.0
    psi2: float = 1.0
    noise: float = 0.01

    def at(self, d: int) -> theory.Problem:
        """Return the problem in ``d`` dimensions, as theory has it."""
        s = log_spaced(d, self.ratio).eigenvalues
        b = s**self.slope
        return theory.Problem(
            pair(noise=self.noise), s, b / b.sum(), self.psi1, self.psi2
        )


class Run(NamedTuple):
    """A problem, what its study says of it, and the ``data`` measured there."""

    problem: theory.Problem
    case: tuple
    data: xr.Dataset


WEAK, FLAT, STRONG = (Cell(slope=slope) for slope in (-1.5, 0.0, 1.5))
# the problem, the step over its threshold, the exponent and the layer of that
SPIKES = (
    (WEAK, 1.6, -1.0, "weights"),
    (Cell(30.0, 1.5, 2.0, 2.0), 1.8, 0.5, "weights"),
    (WEAK, 1.6, 1.0, "features"),
    (Cell(12.0, 1.5, 4.0, 0.5), 1.8, -0.5, "features"),
)
HALVES = ((FLAT, 1.8), (STRONG, 1.6))  # at p = -1/2 in the weights
# the problem and the damping of its own covariance
DAMPED = ((WEAK, 0.05), (Cell(psi1=2.0), 0.15), (STRONG, 0.5))
# the last two: a teacher on the weak directions and few samples
GRADIENTS = (
    (FLAT,),
    (Cell(psi1=1.5, noise=0.3),),
    (STRONG,),
    (Cell(30.0, -0.5, 1.5),),
    (Cell(12.0, -2.0, 0.5, 1.0, 0.3),),
    (Cell(30.0, -2.0, 0.7, 1.0, 0.3),),
)
# teachers on the weak directions, spread evenly, and on the strong ones, and the size of
# the last two steps
RISKS = tuple((Cell(12.0, slope, 2.5, 1.2), 2.0) for slope in (-1.5, 0.0, 0.75))


def spikes(scale: Scale, block: int = 0, cases: tuple = SPIKES, **fixed) -> list:
    """Return the spike in the problems of ``cases``, `SPIKES` or `HALVES`, at ``scale``,
    for the seeds of ``block``; ``fixed`` may name another exponent ``p`` for the step.
    """

    def place(problem, multiple, p=-0.5, layer="weights"):
        return {
            "eta": multiple * float(threshold(spiked(problem, problem.s**p, layer))),
            "p": p,
            "features": layer == "features",
            **fixed,
        }

    return _runs(simulate.spike, cases, place, scale, block, 24)


def damped(scale: Scale, block: int = 0) -> list:
    """Return the spike in the problems of `DAMPED`, after steps of `STRENGTH`, at
    ``scale``, for the seeds of ``block``.
    """

    def place(problem, damping):
        length = problem.moments.slope * problem.own(damping).square ** 0.5
        return {
            "eta": float(STRENGTH / problem.pair.mu1 / length),
            "damping": damping,
        }

    return _runs(simulate.spike, DAMPED, place, scale, block, 24)


def gradients(scale: Scale, block: int = 0) -> list:
    """Return moments and alignments in the problems of `GRADIENTS`, preconditioners that
    know the teacher at their best strength; ``scale`` and ``block`` as in `spikes`.
    """

    def place(problem):
        return {
            "draws": at(scale, smoke=20, book=40, paper=60),
            "level": float(problem.moments.nu / problem.psi1),
            "damping": float(theory.best_own(problem)[0]),
        }

    return _runs(simulate.gradients, GRADIENTS, place, scale, block, 12)


def risks(scale: Scale, block: int = 0) -> list:
    """Return the risk in the problems of `RISKS` without a step, after steps with each
    of `EXPONENTS` and the strength `FELT` in the features, and after two steps of one
    size with -1 and 1; ``scale`` and ``block`` as in `spikes`.
    """

    def place(problem, eta):
        felt = [
            float(FELT / spiked(problem, problem.s**p, "features").square.sum() ** 0.5)
            for p in EXPONENTS
        ]
        return {
            "exponents": (0.0, *EXPONENTS, -1.0, 1.0),
            "etas": (0.0, *felt, eta, eta),
            "penalty": PENALTY,
        }

    return _runs(simulate.risk, RISKS, place, scale, block, 48)


def twins(scale: Scale, block: int = 0, matched: bool = True) -> xr.Dataset:
    """Return how far two networks are apart that should be one, over the exponents
    `POWERS` and seeds; ``matched`` as in `fl.simulate.unified.twins`, ``scale``
    and ``block`` as in `spikes`.
    """
    return sized(
        simulate.twins,
        scale,
        block,
        (6, 6, 6),
        {"p": POWERS},
        **FLAT._asdict(),
        d=at(scale, smoke=30, book=60, paper=200),
        eta=0.1,
        steps=10,
        matched=matched,
    )


def _runs(function, cases, place, scale, block, number) -> list:
    d = at(scale, smoke=100, book=140, paper=400)

    def run(d, cell, *case):
        problem = cell.at(d)
        fixed = {**cell._asdict(), "d": d, **place(problem, *case)}
        data = sweep(function, seeds=seeds(number, block), **fixed)
        return Run(
            problem,
            case,
            data.assign_attrs(fixed, n=round(cell.psi1 * d)),
        )

    return [(run(d, *case), run(d // 2, *case)) for case in cases]
