r"""The ridge risk after a preconditioned step under inputs of any covariance: the formula
of `fl.theory.spikes_risk` with the resolvent of :math:`\Sigma^{1/2}W_1` in place of that
of :math:`W_1`; derived in chapter "unified".
"""

from functools import lru_cache

import numpy as np

from fl import validate
from fl.theory.alignment_ridge import resolvent_scale
from fl.theory.spikes_risk import effective, from_form
from fl.theory.unified import Problem
from fl.theory.unified_spike import spiked


def resolvent(problem: Problem, s: float) -> tuple:
    r"""Return the limits, for a ``problem`` and ``s`` > 0, of the diagonal (d,) of
    :math:`(\Sigma^{1/2}W_0W_0^\top\Sigma^{1/2}+s)^{-1}` in the eigenbasis, and of
    :math:`e=\frac1d\operatorname{tr}\Sigma` times it.

    .. math:: q_j=\frac1{s+\psi_2\lambda_j/(1+e)},\qquad e=\bar{\mathbb E}[\lambda q].
    """
    kappa = resolvent_scale(problem.s, 1 / problem.psi2, s / problem.psi2)
    q = kappa / (kappa + problem.s) / s
    return q, np.mean(problem.s * q)


def risk(problem: Problem, phi, penalty: float, etas) -> np.ndarray:
    r"""Return the risk of ridge on fresh data after steps ``etas`` with the
    preconditioner of eigenvalues ``phi`` (d,), in the shape of ``etas``.

    The formula of `fl.theory.spikes_risk.small_step_risk` with

    .. math:: T(s)=\sum_je_jq_j-\frac{(\eta\mu_1\mu_{1*}\sum_jq_jP_j\lambda_je_j)^2}
              {1+e+\eta^2\mu_1^2\sum_jq_j\lambda_j\mathbb Ev_j^2}.

    Args:
        problem: student, teacher and inputs.
        phi: eigenvalues of P (d,), > 0.
        penalty: of the ridge, > 0.
        etas: step sizes.

    Raises:
        ValueError: for a step size that is not finite, eigenvalues of P or a penalty
            that are not > 0.
    """
    squares = validate.array("etas", etas, np.shape(etas)) ** 2
    model = spiked(problem, phi, "features")

    def form(s):
        q, e = resolvent(problem, s)
        return problem.energy @ q - squares * (q @ model.along) ** 2 / (
            1 + e + squares * (q @ model.square)
        )

    found = _effective(problem, penalty)
    return from_form(problem.pair, found, *_with_slope(form, found[2]))


@lru_cache(maxsize=64)  # it does not depend on the step
def _effective(problem: Problem, penalty: float) -> tuple:
    def trace(s):
        _, e = resolvent(problem, s)
        return 1 / (s + e * s)

    return effective(
        problem.pair,
        problem.psi1,
        problem.psi2,
        penalty,
        lambda s, _: _with_slope(trace, s),
    )


def _with_slope(f, s) -> tuple:
    """Return f(s) and f'(s), by differences of fourth order."""

    def central(h):
        return (f(s + h) - f(s - h)) / (2 * h)

    return f(s), (4 * central(1e-3 * s) - central(2e-3 * s)) / 3
