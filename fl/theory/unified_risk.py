r"""The ridge risk after a preconditioned step under inputs of any covariance: the formula
of `fl.theory.spikes_risk` with the resolvent of :math:`\Sigma^{1/2}W_1` in place of that
of :math:`W_1`; derived in chapter "unified".
"""

from functools import lru_cache

import numpy as np
from scipy.optimize import brentq

from fl import validate
from fl.theory.spikes_risk import effective, from_form
from fl.theory.unified import Problem
from fl.theory.unified_spike import spiked


def resolvent(problem: Problem, s: float) -> tuple:
    r"""Return the limits, for a ``problem`` and ``s`` > 0, of the diagonal (d,) of
    :math:`(\Sigma^{1/2}W_0W_0^\top\Sigma^{1/2}+s)^{-1}` in the eigenbasis, and of
    :math:`e=\frac1d\operatorname{tr}\Sigma` times it.

    .. math:: q_j=\frac1{s+\psi_2\lambda_j/(1+e)},\qquad e=\bar{\mathbb E}[\lambda q].
    """
    seen = problem.psi2 * problem.s

    def diagonal(e):
        return 1 / (s + seen / (1 + e))

    def excess(e):
        q = diagonal(e)
        return np.mean(problem.s * q) - e

    e = brentq(excess, 0, 2 / s, xtol=1e-15, rtol=1e-14)
    return diagonal(e), e


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
    validate.array("etas", etas, np.shape(etas))
    model = spiked(problem, phi, "features")
    squares = np.square(etas)

    def form(s):
        q, e = resolvent(problem, s)
        bottom = 1 + e + squares * (q @ model.square)
        along = q @ model.along
        gain = squares * along**2 / bottom
        return problem.energy @ q - gain

    found = _effective(problem, penalty)
    return from_form(problem.pair, found, *_with_slope(form, found[2]))


@lru_cache(maxsize=64)  # it does not depend on the step
def _effective(problem: Problem, penalty: float) -> tuple:
    def trace(s):
        q, _ = resolvent(problem, s)
        null = 1 / s
        return null + (q.mean() - null) / problem.psi2

    sizes = problem.psi1, problem.psi2, penalty
    return effective(problem.pair, *sizes, lambda s, _: _with_slope(trace, s))


def _with_slope(f, s: float) -> tuple:
    """Return f(s) and f'(s), by differences of fourth order."""
    h = 1e-3 * s
    near = f(s + h) - f(s - h)
    far = f(s + 2 * h) - f(s - 2 * h)
    slope = (8 * near - far) / (12 * h)
    return f(s), slope
