r"""The experiments on one gradient step, at the sizes of each scale.

A study is a list of `Cell`: a problem and what was measured there, with the sizes in
the attributes of the data. Every study takes a ``scale`` and a ``block`` of seeds.
`filters` measures three families of directions; the next four few directions on many
batches, where theory says where to look: around which damping or exponent, at which
sample size. `first_updates` and `steps` take the gradient of a network.
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
from fl.tasks import Spectrum, Task, log_spaced, spectral_task, two_level
from fl.theory import single_index as theory
from fl.theory import single_index_batch as own
from fl.theory import single_index_network as network

# d, units (seeds) and, for directions, batches in a unit
FILTERS = {"smoke": (100, 1, 80), "book": (200, 2, 40), "paper": (1000, 40, 5)}
PAIRED = {"smoke": (60, 1, 200), "book": (100, 2, 300), "paper": (400, 32, 50)}
NETWORK = {"smoke": (120, 20), "book": (250, 12), "paper": (500, 20)}

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


def spectra(d: int) -> tuple[Spectrum, Spectrum]:
    """Return the two spectra of the chapter in ``d`` dimensions, both of mean 1: two
    levels 1.8 and 0.2, and a log-spaced one 1 to 30.
    """
    return two_level(1.8, d // 2, 0.2, d // 2), log_spaced(d, 30.0)


def filters(scale: Scale, block: int = 0, family: str = "kfac") -> list[Cell]:
    """Return the directions of a ``family`` for teachers spread evenly, on weak and on
    strong directions, each with another link, at each of `RATIOS`.

    ``alignment`` (seed, draw) over p or damping, at the sizes of ``scale``, with the
    seeds of ``block``; what needs the inverse of a sample covariance of rank n < d is
    left out.
    """
    d, run = _runs(simulate.directions, FILTERS, scale, block)
    two, log = spectra(d)
    teachers = [
        spectral_task(two, 0.0, "linear", 0.25),
        spectral_task(log, -1.0, "tanh", 0.25),
        spectral_task(log, 1.0, "relu", 0.25),
    ]
    cells = []
    for task, ratio in itertools.product(teachers, RATIOS):
        members = (REGULAR if ratio > 1 else SINGULAR)[family]
        if members:
            cells.append(run(task, ratio, family=family, members=members))
    return cells


def near_dampings(scale: Scale, block: int = 0) -> list[Cell]:
    r"""Return ``alignment`` (seed, draw, damping) at three dampings a factor of 2
    apart, around :math:`\gamma\rho`, for three evenly spread teachers, at the sizes of
    ``scale``, with the seeds of ``block``.
    """
    d, run = _runs(simulate.directions, PAIRED, scale, block)
    two, log = spectra(d)
    cells = []
    for spectrum, ratio in ((two, 2.0), (log, 2.0), (log, 0.75)):
        task = spectral_task(spectrum, 0.0, noise=0.5)
        centre = theory.moments(task).rho / ratio
        dampings = (centre / 2, centre, 2 * centre)
        cells.append(run(task, ratio, family="kfac", members=dampings))
    return cells


def near_exponents(scale: Scale, block: int = 0) -> list[Cell]:
    """Return ``alignment`` (seed, draw, p) at three exponents `GAP` apart, around the
    one that is best.

    The teacher has weights like s^`SPECTRAL_WEIGHT`, and three levels of noise; n = d,
    as large as ``scale`` says, seeds of ``block``.
    """
    d, run = _runs(simulate.directions, PAIRED, scale, block)
    _, log = spectra(d)
    cells = []
    for noise in (0.09, 1.0, 9.0):
        task = spectral_task(log, SPECTRAL_WEIGHT, noise=noise)
        s, b = theory.weights(task)
        best = theory.best_exponent(s, b, 1.0, theory.moments(task).nu)
        exponents = (best - GAP, best, best + GAP)
        cells.append(run(task, 1.0, family="population", members=exponents))
    return cells


def turning_point(curve):
    """Return where the parabola through a ``curve`` (3, ..) at -1, 0, 1 turns."""
    left, middle, right = np.asarray(curve)
    bend = left - 2 * middle + right
    return (left - right) / bend / 2


def vertex(curves) -> tuple[float, float]:
    """Return where the parabola through the mean of ``curves`` (.., 3) at -1, 0, 1
    turns, and its jackknife error.
    """
    curves = np.asarray(curves).reshape(-1, 3)
    others = len(curves) - 1
    left_out = (curves.sum(0) - curves) / others
    means = np.vstack([curves.mean(0), left_out])
    tops = turning_point(means.T)
    return tops[0], np.sqrt(others) * tops[1:].std()


def at_crossing(scale: Scale, block: int = 0, level: str = "rho") -> list[tuple]:
    """Return pairs of cells, whitening by the true and by the batch's own covariance,
    at the number of samples where theory lets them cross, for three teachers.

    ``alignment`` (seed, draw, 1), both on the same batches, at the sizes of ``scale``,
    with the seeds of ``block``; ``level`` names the moment of the label that enters
    where they cross.
    """
    d, run = _runs(simulate.directions, PAIRED, scale, block)
    two, log = spectra(d)
    tasks = [
        spectral_task(two, 0.0, "linear", 0.25),
        spectral_task(log, 0.0, "tanh", 0.09),
        spectral_task(two, 0.0, "relu", 0.04),
    ]
    pairs = []
    for task in tasks:
        m = theory.moments(task)
        ratio = 1 / own.whitening_crossing(m.tau2, getattr(m, level))
        known = run(task, ratio, family="population", members=(-1.0,))
        pairs.append((known, run(task, ratio, family="kfac", members=(0.0,))))
    return pairs


def even_teachers(scale: Scale, block: int = 0, link: str = "abs") -> list[Cell]:
    """Return ``alignment`` (seed, draw, p) of the gradient and the whitened step for a
    teacher with that ``link`` on the weak directions of each of `spectra`, at the sizes
    of ``scale``, with the seeds of ``block``.
    """
    d, run = _runs(simulate.directions, PAIRED, scale, block)
    tasks = [spectral_task(s, -1.0, link, 0.25) for s in spectra(d)]
    fixed = {"family": "population", "members": (0.0, -1.0)}
    return [run(task, 2.0, **fixed) for task in tasks]


def first_updates(scale: Scale, block: int = 0, rotate: bool = True) -> list[Cell]:
    """Return the first update of every method (seed) on a tanh and a ReLU network, n =
    width = 2d, d of ``scale``, seeds of ``block``; ``rotate`` turns the inputs off the
    axes.
    """
    d, run = _runs(simulate.updates, NETWORK, scale, block)
    two, log = spectra(d)
    even = spectral_task(two, 0.0, noise=0.09)
    weak = spectral_task(log, -1.0, noise=0.09)
    fixed = {"width": 2 * d, "rotate": rotate}
    return [
        run(even, 2.0, activation="tanh", **fixed),
        run(weak, 2.0, activation="relu", **fixed),
    ]


def second_spikes(scale: Scale, block: int = 0, activation: str = "relu") -> list[Cell]:
    """Return the alignment of the ``first`` and ``second`` (seed) right singular vector
    of the gradient for three even teachers, n = 8d and width = 2d.

    d of ``scale``, seeds of ``block``; ``activation`` of the network. The third teacher
    lies on the weak directions of a log-spaced spectrum, which is sampled twice as
    well.
    """
    d, run = _runs(simulate.two_spikes, NETWORK, scale, block)
    two, log = spectra(d)
    fixed = {"activation": activation, "width": 2 * d}
    return [
        run(spectral_task(Spectrum(np.ones(d)), 0.0, "abs", 0.0), 8.0, **fixed),
        run(spectral_task(two, 0.0, "abs", 0.1), 8.0, **fixed),
        run(spectral_task(log, -1.0, "abs", 0.05), 16.0, **fixed),
    ]


def steps(scale: Scale, block: int = 0) -> list[Cell]:
    """Return ``values`` (seed, k) and ``alignment`` (seed) after a step that theory
    makes `THETA` strong, plain and by KFAC, for a tanh network with n = width = 2d, d
    of ``scale``, seeds of ``block``.
    """
    d, run = _runs(simulate.stepped_weights, NETWORK, scale, block)
    two, _ = spectra(d)
    task = spectral_task(two, 0.0, noise=0.09)
    slope = theory.moments(task).slope
    cells = []
    for damping in (None, 0.1):
        direction = own.first_step(task, 0.5, damping)
        eta = network.step_size(direction, slope, "tanh", two.eigenvalues, THETA)
        fixed = {"activation": "tanh", "eta": eta, "damping": damping}
        cells.append(run(task, 2.0, width=2 * d, **fixed))
    return cells


def _runs(unit: Callable, table: dict, scale: Scale, block: int) -> tuple:
    # d, and what makes a cell of a task and the samples per dimension
    d, number, *draws = scales.at(scale, **table)
    sizes = {"seeds": list(scales.seeds(number, block))}
    if draws:
        sizes["draws"] = draws[0]

    def run(task: Task, ratio: float, **fixed) -> Cell:
        fixed |= sizes | {"n": round(ratio * d)}
        data = sweep(unit, task=task, **fixed)
        return Cell(task, d / fixed["n"], data.assign_attrs(d=d, **fixed))

    return d, run
