r"""The ridge risk after a preconditioned step under inputs of any covariance: the formula
of `fl.theory.spikes_risk` with the resolvent of :math:`\Sigma^{1/2}W_1` in place of that
of :math:`W_1`; derived in chapter "unified".
"""

import numpy as np

from fl import validate
from fl.theory.alignment_ridge import resolvent_scale
from fl.theory.spikes_risk import effective, from_form
from fl.theory.unified import Problem
from fl.theory.unified_spike import spiked

STEP = 1e-30j  # in s: too small to change a value, its imaginary part the derivative


def resolvent(problem: Problem, s: float) -> tuple:
    r"""Return :math:`\kappa` and :math:`d\kappa/ds` for a ``problem`` and ``s``,
    1e-20 to 1e30.

    The limits of the diagonal of :math:`(\Sigma^{1/2}W_0W_0^\top\Sigma^{1/2}+s)^{-1}`
    in the eigenbasis, and of :math:`e=\frac1d\operatorname{tr}\Sigma` times it, are

    .. math:: q_j=\frac1{s+\psi_2\lambda_j/(1+e)}
              =\frac1s\,\frac\kappa{\kappa+\lambda_j},\qquad
              1+e=\frac{\psi_2\kappa}s,\qquad
              s=\kappa\Bigl(\psi_2-\bar{\mathbb E}\frac\lambda{\lambda+\kappa}
              \Bigr),\qquad
              \frac{ds}{d\kappa}=\psi_2-\bar{\mathbb
              E}\frac{\lambda^2}{(\lambda+\kappa)^2}.

    Raises:
        ValueError: for another ``s``.
    """
    validate.number("s", s, 1e-20, 1e30)
    kappa = resolvent_scale(problem.s, 1 / problem.psi2, s / problem.psi2)
    share = problem.s / (problem.s + kappa)
    return kappa, 1 / (problem.psi2 - np.mean(share**2))


def risk(problem: Problem, phi, penalty: float, etas) -> np.ndarray:
    r"""Return the risk of ridge on fresh data after steps ``etas`` with the
    preconditioner of eigenvalues ``phi`` (d,), in the shape of ``etas``.

    The formula of `fl.theory.spikes_risk.small_step_risk` with

    .. math:: T(s)=\sum_je_jq_j-\frac{(\eta\mu_1\mu_{1*}\sum_jq_jP_j\lambda_je_j)^2}
              {1+e+\eta^2\mu_1^2\sum_jq_j\lambda_j\mathbb Ev_j^2}.

    Args:
        problem: student, teacher and inputs.
        phi: eigenvalues of P (d,), > 0.
        penalty: of the ridge, 1e-12 to 1e12. At 1e-12, where the risk changes most,
            rounding leaves five digits of it for ``mu1`` = 1, three for `MOST`.
        etas: step sizes of size up to 1e12.

    Raises:
        ValueError: for a penalty or a step size beyond these, or eigenvalues of P that
            are not > 0.
    """
    validate.number("penalty", penalty, 1e-12, 1e12)
    etas = np.abs(validate.array("etas", etas, np.shape(etas)))
    validate.number("largest of |etas|", etas.max(initial=0), high=1e12)
    model = spiked(problem, phi, "features")

    def companion(s, psi2):
        kappa, slope = resolvent(problem, s)
        trace = 1 / (psi2 * kappa)
        return trace, -slope * trace / kappa

    found = effective(
        problem.pair,
        problem.psi1,
        problem.psi2,
        penalty,
        companion,
    )
    s = found[2]
    kappa, slope = resolvent(problem, s)
    kappa = kappa + slope * STEP
    q = kappa / (kappa + problem.s)
    below = problem.psi2 * kappa + etas**2 * (q @ model.square)
    gain = (etas * (q @ model.along)) ** 2 / below
    form = (problem.energy @ q - gain) / (s + STEP)
    return from_form(problem.pair, found, form.real, form.imag / STEP.imag)
