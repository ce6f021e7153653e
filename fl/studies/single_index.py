r"""The experiments on one gradient step, at the sizes of each scale.

A study is a list of pairs of `Cell`: a problem and what was measured there, in d and in
d/2 dimensions, with the sizes in the attributes of the data, so that what a finite d
does to a mean can be taken out. Every study takes a ``scale``, a ``block`` of seeds, and
whether inputs are Gaussian or made of ``signs``. `filters` measures three families of
directions; the next four few directions on many batches, where theory says where to look:
around which damping or exponent, at which sample size. `first_updates` and `steps` take
the gradient of a network.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import xarray as xr

from fl import scales
from fl.scales import Scale
from fl.simulate import single_index as simulate
from fl.sweep import sweep
from fl.tasks import Spectrum, Task, Teacher, log_spaced, spectral_task, two_level
from fl.theory import single_index as theory
from fl.theory import single_index_batch as own
from fl.theory import single_index_network as network

# d, units (seeds) and, for directions, batches in a unit
FILTERS = {"smoke": (64, 1, 144), "book": (120, 2, 120), "paper": (500, 24, 20)}
PAIRED = {"smoke": (60, 1, 144), "book": (100, 2, 240), "paper": (400, 24, 80)}
NETWORK = {"smoke": (72, 24), "book": (140, 48), "paper": (500, 48)}
STEPS = {"smoke": (72, 48), "book": (140, 96), "paper": (500, 96)}

# members of each family, for more and for fewer samples than dimensions
EXPONENTS = (-1.0, -0.5, 0.0, 0.5)
REGULAR = {"population": EXPONENTS, "sample": (-0.5, 0.5), "kfac": (0.0, 0.1, 1.0)}
SINGULAR = {"population": EXPONENTS, "sample": (), "kfac": (0.1, 1.0)}
RATIOS = (0.5, 2.0, 4.0)  # samples per dimension
GAP = 0.15  # between the exponents of `near_exponents`
SPECTRAL_WEIGHT = 1.0  # of its teachers
THETA = 2.0  # strength of the spike of `steps`


class Cell(NamedTuple):
    """A problem, its ``gamma`` = d/n, and the ``data`` measured there."""

    task: Task
    gamma: float
    data: xr.Dataset


def spectra(d: int, signs: bool = False) -> tuple[Spectrum, Spectrum]:
    """Return the two spectra of the chapter in ``d`` dimensions, both of mean 1: two
    levels 1.8 and 0.2, and a log-spaced one 1 to 30; the inputs are Gaussian or made of
    ``signs``.
    """
    law = simulate.Signs if signs else Spectrum
    both = two_level(1.8, d // 2, 0.2, d // 2), log_spaced(d, 30.0)
    return tuple(law(spectrum.eigenvalues) for spectrum in both)


def filters(
    scale: Scale, block: int = 0, family: str = "kfac", signs: bool = False
) -> list[tuple]:
    """Return the directions of a ``family`` for teachers spread evenly, on weak and on
    strong directions, each with another link, at each of `RATIOS`, for signs at the middle one.

    ``alignment`` (seed, draw) over p or damping, at the sizes of ``scale``, with the
    seeds of ``block``, inputs Gaussian or ``signs``; what needs the inverse of a sample
    covariance of rank n < d is left out.
    """

    def cells(two, log, run):
        teachers = [
            spectral_task(two, 0.0, "linear", 0.25),
            spectral_task(log, -1.0, "tanh", 0.25),
            spectral_task(log, 1.0, "relu", 0.25),
        ]
        ratios = RATIOS[1:2] if signs else RATIOS
        for task, ratio in itertools.product(teachers, ratios):
            members = (REGULAR if ratio > 1 else SINGULAR)[family]
            if members:
                yield run(task, ratio, family=family, members=members)

    return _pairs(cells, simulate.directions, FILTERS, scale, block, signs)


def on_one_axis(scale: Scale, block: int = 0) -> list[tuple]:
    """Return ``alignment`` (seed, draw, damping) of the step with the batch's own
    covariance for a tanh teacher on a single coordinate of inputs made of signs, at the
    sizes of ``scale``, with the seeds of ``block``.
    """

    def cells(two, log, run):
        teacher = Teacher(np.eye(two.d)[0], "tanh")
        task = Task(two, teacher, 2.0)
        yield run(task, 2.0, family="kfac", members=(0.1, 1.0))

    return _pairs(cells, simulate.directions, FILTERS, scale, block, True)


def near_dampings(scale: Scale, block: int = 0, signs: bool = False) -> list[tuple]:
    r"""Return ``alignment`` (seed, draw, damping) at three dampings a factor of 2
    apart, around :math:`\gamma\rho`, for three evenly spread teachers, at the sizes of
    ``scale``, with the seeds of ``block``, inputs Gaussian or ``signs``.
    """

    def cells(two, log, run):
        for spectrum, ratio in ((two, 2.0), (log, 2.0), (log, 0.75)):
            task = spectral_task(spectrum, 0.0, noise=0.5)
            centre = theory.moments(task).rho / ratio
            dampings = (centre / 2, centre, 2 * centre)
            yield run(task, ratio, family="kfac", members=dampings)

    return _pairs(cells, simulate.directions, PAIRED, scale, block, signs)


def near_exponents(scale: Scale, block: int = 0, signs: bool = False) -> list[tuple]:
    """Return ``alignment`` (seed, draw, p) at three exponents `GAP` apart, around the
    one that is best.

    The teacher has weights like s^`SPECTRAL_WEIGHT`, and three levels of noise; n = d,
    as large as ``scale`` says, seeds of ``block``, inputs Gaussian or ``signs``.
    """

    def cells(two, log, run):
        for noise in (0.09, 1.0, 9.0):
            task = spectral_task(log, SPECTRAL_WEIGHT, noise=noise)
            s, b = theory.weights(task)
            best = theory.best_exponent(s, b, 1.0, theory.moments(task).nu)
            exponents = (best - GAP, best, best + GAP)
            yield run(task, 1.0, family="population", members=exponents)

    return _pairs(cells, simulate.directions, PAIRED, scale, block, signs)


def turning_point(curve):
    """Return where the parabola through a ``curve`` (3, ..) at -1, 0, 1 turns."""
    left, middle, right = np.asarray(curve)
    bend = left - 2 * middle + right
    return (left - right) / bend / 2


def at_crossing(
    scale: Scale, block: int = 0, level: str = "rho", signs: bool = False
) -> list[tuple]:
    """Return, for three teachers, whitening by the true and by the batch's own
    covariance at the number of samples where theory lets them cross: the first's cells
    one after the other, then the second's.

    ``alignment`` (seed, draw, 1), both on the same batches, at the sizes of ``scale``,
    with the seeds of ``block``; ``level`` names the moment of the label that enters
    where they cross; inputs Gaussian or ``signs``.
    """

    def cells(two, log, run):
        tasks = [
            spectral_task(two, 0.0, "linear", 0.25),
            spectral_task(log, 0.0, "tanh", 0.09),
            spectral_task(two, 0.0, "relu", 0.04),
        ]
        for family, member in (("population", -1.0), ("kfac", 0.0)):
            for task in tasks:
                m = theory.moments(task)
                ratio = 1 / own.whitening_crossing(m.tau2, getattr(m, level))
                yield run(task, ratio, family=family, members=(member,))

    return _pairs(cells, simulate.directions, PAIRED, scale, block, signs)


def even_teachers(
    scale: Scale, block: int = 0, link: str = "abs", signs: bool = False
) -> list[tuple]:
    """Return ``alignment`` (seed, draw, p) of the gradient and the whitened step for a
    teacher with that ``link`` on the weak directions of each of `spectra`, at the sizes
    of ``scale``, with the seeds of ``block``, inputs Gaussian or ``signs``.
    """

    def cells(two, log, run):
        for spectrum in (two, log):
            task = spectral_task(spectrum, -1.0, link, 0.25)
            yield run(task, 2.0, family="population", members=(0.0, -1.0))

    return _pairs(cells, simulate.directions, PAIRED, scale, block, signs)


def first_updates(
    scale: Scale, block: int = 0, rotate: bool = True, signs: bool = False
) -> list[tuple]:
    """Return the first update of every method (seed) on a tanh and a ReLU network, n =
    width = 2d, d of ``scale``, seeds of ``block``; ``rotate`` turns the inputs, Gaussian
    or ``signs``, off the axes.
    """

    def cells(two, log, run):
        even = spectral_task(two, 0.0, noise=0.09)
        weak = spectral_task(log, -1.0, noise=0.09)
        fixed = {"width": 2 * two.d, "rotate": rotate}
        yield run(even, 2.0, activation="tanh", **fixed)
        yield run(weak, 2.0, activation="relu", **fixed)

    return _pairs(cells, simulate.updates, NETWORK, scale, block, signs)


def second_spikes(
    scale: Scale, block: int = 0, activation: str = "relu", signs: bool = False
) -> list[tuple]:
    """Return the alignment of the ``first`` and ``second`` (seed) right singular vector
    of the gradient for three even teachers, n = 8d and width = 2d.

    d of ``scale``, seeds of ``block``, inputs Gaussian or ``signs``; ``activation`` of
    the network. The third teacher lies on the weak directions of a log-spaced spectrum,
    which is sampled twice as well.
    """

    def cells(two, log, run):
        fixed = {"activation": activation, "width": 2 * two.d}
        isotropic = type(two)(np.ones(two.d))
        yield run(spectral_task(isotropic, 0.0, "abs", 0.0), 8.0, **fixed)
        yield run(spectral_task(two, 0.0, "abs", 0.1), 8.0, **fixed)
        yield run(spectral_task(log, -1.0, "abs", 0.05), 16.0, **fixed)

    return _pairs(cells, simulate.two_spikes, NETWORK, scale, block, signs)


def steps(scale: Scale, block: int = 0, signs: bool = False) -> list[tuple]:
    """Return ``values`` (seed, k) and ``alignment`` (seed) after a step that theory
    makes `THETA` strong, plain and by K-FAC, for a tanh network with n = width = 2d, d
    of ``scale``, seeds of ``block``, inputs Gaussian or ``signs``.
    """

    def cells(two, log, run):
        task = spectral_task(two, 0.0, noise=0.09)
        slope = theory.moments(task).slope
        for damping in (None, 0.1):
            direction = own.first_step(task, 0.5, damping)
            eta = network.step_size(direction, slope, "tanh", two.eigenvalues, THETA)
            fixed = {"activation": "tanh", "eta": eta, "damping": damping}
            yield run(task, 2.0, width=2 * two.d, **fixed)

    return _pairs(cells, simulate.stepped_weights, STEPS, scale, block, signs)


def _pairs(
    cells: Callable, unit: Callable, table: dict, scale: Scale, block: int, signs=False
) -> list[tuple]:
    # the cells at d and at d/2 dimensions, side by side; small ones of signs, which
    # repeat what Gaussians show
    if signs and scale == "book":
        scale = "smoke"
    d, number, *draws = scales.at(scale, **table)
    sizes = {"seeds": list(scales.seeds(number, block))}
    if draws:
        sizes["draws"] = draws[0]

    def run(task: Task, ratio: float, **fixed) -> Cell:
        dim = task.spectrum.d
        fixed |= sizes | {"n": round(ratio * dim)}
        data = sweep(unit, task=task, **fixed)
        return Cell(task, dim / fixed["n"], data.assign_attrs(d=dim, **fixed))

    both = [cells(*spectra(size, signs), run) for size in (d, d // 2)]
    return list(zip(*both, strict=True))
