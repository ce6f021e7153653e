"""The table of multipliers with the numbers of the bench: what each optimizer does to
the gradient there, with the memories it has in this package.

A ``case`` is anything with an ``optimizer``, its hyper-parameters ``hyper`` and a
``setting``, which has ``signal``, ``noise`` (the variance of the labels' noise),
``batch`` (inf for the whole population), ``width``, the number of neurons, and
``rotated``, whether the eigenvectors leave the axes. ``lam`` (d,) are the eigenvalues
of the input covariance S, from the largest on.
"""

from collections.abc import Iterable

import numpy as np

from fl import validate
from fl.theory.effective_exponent import (
    ascent,
    averaged,
    clipped,
    damped,
    hutchinson_square,
    newton_schulz,
    normalised,
    polar,
    second_moment,
    slope,
    turned,
    two_sided,
)

WINDOW = 100  # steps over which a displacement is read
ADAM = 0.9  # memory of Adam's mean
SOPHIA = (1 - 0.96) / (1 + 0.96)  # share of the variance that Sophia-H's mean keeps
RHO = 0.5  # radius of SAM's ascent step

# ``moment`` (d,) is the mean square of the gradient along the eigenvectors, ``U`` (d,
# d); a diagonal method sees its mixture on the axes
MULTIPLIERS = {
    "GD": lambda lam, **rest: np.ones_like(lam),
    # the floor that the package gives to a covariance before it takes its power
    "exact": lambda lam, p, **rest: (lam + 1e-6 * lam.max()) ** p,
    # at uniform probabilities the output factor has the eigenvalue 1 / classes
    "K-FAC": lambda lam, damping, width, **rest: damped(lam, damping, 1 / width),
    "natural gradient": lambda lam, damping, **rest: damped(lam, damping),
    "Adam": lambda lam, moment, U, signal, noise, batch, **rest: (
        turned(normalised(U**2 @ moment), U)
        * averaged(lam, signal, noise, batch, ADAM, WINDOW)
    ),
    "AdaHessian": lambda lam, U, batch, **rest: turned(
        hutchinson_square((U * lam) @ U.T, batch) ** -0.5, U
    ),
    "Sophia-H": lambda lam, moment, U, p, **rest: turned(
        clipped(U**2 @ lam, p, np.sqrt(SOPHIA * U**2 @ moment)), U
    ),
    "Shampoo": lambda lam, width, batch, memory, momentum, **rest: (
        two_sided(lam, width, memory, momentum)
        if memory
        else polar(lam, 1 / width + 1 / batch)
    ),
    "SOAP": lambda moment, **rest: normalised(moment),
    # a signal has the same singular values at any width
    "Muon": lambda lam, moment, noise, width, **rest: (
        newton_schulz(moment) * polar(lam, (noise > 0) / width) / polar(lam)
    ),
    "SAM": lambda lam, signal, width, **rest: ascent(
        lam, RHO, signal * np.linalg.norm(lam) * np.sqrt(width)
    ),
}


def multiplier(lam, case, U=None) -> np.ndarray:
    """Return the derived multiplier (d,) of a ``case`` for the eigenvalues ``lam`` (d,)
    along the eigenvectors.

    These are the columns of ``U`` (d, d) where the setting is rotated, else the
    coordinate axes.

    Raises:
        ValueError: for an optimizer without a derived multiplier, or no eigenvectors
            where the setting is rotated.
    """
    validate.choice("optimizer", case.optimizer, MULTIPLIERS)
    lam = validate.positive("lam", lam)
    law, d = case.setting, len(lam)
    U = validate.array("U", U, (d, d)) if law.rotated else np.eye(d)
    return MULTIPLIERS[case.optimizer](
        lam=lam,
        moment=second_moment(lam, law.signal, law.noise, law.batch),
        U=U,
        **vars(law),
        **case.hyper,
    )


def exponents(lam, case, bases: Iterable) -> np.ndarray:
    """Return the derived exponents (m,) of a ``case`` for each of the eigenvectors
    ``bases`` (m, d, d); ``lam`` as in `multiplier`.
    """
    found = []
    for U in bases:
        found.append(slope(lam, multiplier(lam, case, U)))
    return np.array(found)
