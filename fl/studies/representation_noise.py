"""What the chapter on linear representation learning runs on noisy batches, and at
which sizes.

Block 0 holds the problems and batches of the book, each other block its own.
"""

import xarray as xr
from numpy.random import default_rng

from fl import scales
from fl.simulate.representation import METHODS, Problem, random_problem, start
from fl.simulate.representation_noise import Setting, step_spread, transfer, wander
from fl.studies.representation import LARGE, Run
from fl.sweep import cached

CHAIN = {"dX": 14, "dY": 7, "k": 2, "kappa_S": 25, "kappa_F": 2.5}
SPREAD = Setting(eta=0.1, n=50, noise=0.25)
FLOORS = {"sgd": Setting(0.04, 150, 1e-6), "kfac": Setting(0.1, 150, 1e-6)}
TRANSFER = {"n": 30, "noise": 0.25}


def chain_problem(block=0) -> Problem:
    """Return the problem of ``block`` on which the noise floors are measured."""
    return random_problem(**CHAIN, seed=scales.seeds(2, block)[0])


def spreads(scale, block=0, signs: bool = False) -> Run:
    """Return the squared distances of one step of each method from its mean at the
    setting `SPREAD`, over more batches at a larger ``scale``; seeds of ``block``, inputs
    Gaussian or made of ``signs``.
    """
    batches = scales.at(scale, smoke=4000, book=12000, paper=40000)
    sizes = LARGE | {"kappa_S": 50, "kappa_F": 2}
    seeds = scales.seeds(2, block)
    problem = random_problem(**sizes, seed=seeds[0])
    rng = default_rng(seeds[0])
    F = rng.standard_normal(problem.F_star.shape)
    G = rng.standard_normal(problem.G_star.shape)
    setting = SPREAD._replace(signs=signs)
    found = {}
    for method in METHODS:
        case = {"method": method, "batches": batches, "seed": seeds[1]}
        found[method] = cached(
            step_spread, problem=problem, F=F, G=G, setting=setting, **case
        )
    attrs = setting._asdict() | {"batches": batches, "seeds": seeds}
    return Run(problem, F, G, found, sizes | attrs)


def floors(scale, block=0, signs: bool = False) -> Run:
    """Return the squared slopes of independent chains of each method after many steps
    at its setting in `FLOORS`, more of both at a larger ``scale``; problem and seeds of
    ``block``, inputs Gaussian or made of ``signs``: fewer of those, which have to be
    drawn.
    """
    steps, chains = scales.at(
        scale, smoke=((150, 30), 400), book=((300, 60), 1000), paper=((3000, 100), 2000)
    )
    if signs:
        steps, chains = (60, 20), 400
    problem = chain_problem(block)
    seeds = scales.seeds(2, block)
    found = {}
    for method, t in zip(FLOORS, steps, strict=True):
        setting = FLOORS[method]._replace(signs=signs)
        case = {"method": method, "steps": t, "chains": chains, "seed": seeds[1]}
        found[method] = cached(wander, problem=problem, setting=setting, **case)
    attrs = {"steps": steps, "chains": chains, "signs": signs, "seeds": seeds}
    return Run(problem, problem.F_star, problem.G_star, found, CHAIN | attrs)


def accumulation(scale, block=0) -> xr.Dataset:
    """Return the squared slopes ``sgd`` and ``kfac`` (step, chain) of a hundred chains,
    drawn anew for every step, at the setting ``FLOORS["sgd"]``: the same at every
    ``scale``; problem of ``block``.
    """
    steps = [3, 10, 30, 100, 300]
    given = {"problem": chain_problem(block), "setting": FLOORS["sgd"], "chains": 100}
    found = {}
    for method in METHODS:
        slopes = []
        for t in steps:
            case = {"method": method, "steps": t, "seed": t + 1000 * block}
            slopes.append(cached(wander, **case, **given))
        found[method] = ("step", "chain"), slopes
    return xr.Dataset(found, {"step": steps}, CHAIN)


def trained_problem(block=0) -> Problem:
    """Return the problem of ``block`` on which the features of `transfers` were
    trained.
    """
    return random_problem(
        **LARGE, kappa_S=20, kappa_F=2, seed=scales.seeds(2, block)[0]
    )


def transfers(scale, block=0, signs: bool = False) -> Run:
    """Return the excess ``risk`` of new heads under a new covariance, on features half
    a radian from those of `trained_problem`, on more draws at a larger ``scale``; seeds
    of ``block``, inputs Gaussian or made of ``signs``.
    """
    draws = scales.at(scale, smoke=4000, book=12000, paper=100000)
    seeds = scales.seeds(2, block)
    rng = default_rng(seeds[0])
    old = trained_problem(block)
    new = random_problem(**LARGE, kappa_S=5, kappa_F=2, seed=seeds[1])
    F = rng.standard_normal(new.F_star.shape)
    task = Problem(new.S, F, old.G_star)
    G = start(old, 0.5, rng)
    sizes = TRANSFER | {"draws": draws, "signs": signs}
    risk = cached(transfer, problem=task, G=G, seed=seeds[1], **sizes)
    return Run(task, F, G, {"risk": risk}, LARGE | sizes | {"seeds": seeds})
