r"""The linear student under label noise: its exact test-error curve for finite samples.

Labels are :math:`y=w_*^\top x+` noise of variance :math:`\sigma^2`, inputs have the
eigenvalues ``lam``, and the flow :math:`\dot w=-P\nabla\frac1N|y-X^\top w|^2`,
:math:`P=\Sigma^p`, starts at zero. In the coordinates :math:`P^{-1/2}w` the inputs have
the covariance S with eigenvalues :math:`s_r=\lambda_r^{p+1}`; call its sample version
:math:`\hat S`. The error is the sum of what is not yet learned and of what noise wrote,

.. math:: \tilde w_*^\top e^{-2t\hat S}\,S\,e^{-2t\hat S}\,\tilde w_*
          +\frac{\sigma^2}{N}\operatorname{tr}S\,\hat S\,\varphi_t(\hat S)^2,\qquad
          \varphi_t(c)=\frac{1-e^{-2tc}}{c}.

Both are superpositions of ridge regressions with complex penalties, whose deterministic
equivalent is known (`fl.theory.help_or_hurt_stopping`). Derived in chapter "noise".
"""

import numpy as np

from fl import numerics, validate
from fl.tasks import Task
from fl.theory import help_or_hurt_stopping
from fl.theory.alignment import ROUNDING
from fl.theory.alignment_ridge import linear_part

MOMENTS = 41  # of the search for the smallest error, on a logarithmic scale


def flow_risk(lam, energy, p: float, n: int, noise: float, t) -> np.ndarray:
    r"""Return the expected excess risk of the linear student at the times ``t``.

    With the nodes :math:`u_j` and weights :math:`\omega_j` of the contour, the penalties
    :math:`\rho_j=u_j/2t`, their implicit ridges :math:`\kappa_j` and :math:`h_{jr}=
    \kappa_j/(s_r+\kappa_j)`,

    .. math:: R(t)=\sum_{jk}\frac{\omega_j\omega_k}{u_ju_k}\,
              \frac{\sum_re_rh_{jr}h_{kr}}{1-\frac1N\sum_r(1-h_{jr})(1-h_{kr})}
              +\sigma^2\bigl[2\psi(t)-\psi(2t)\bigr],\qquad
              \psi(t)=\sum_j\frac{\omega_j}{u_j}\Bigl(\frac{\kappa_j}{\rho_j}-1\Bigr).

    The last bracket is computed as the double sum with 1 in place of the numerator,
    minus 1: :math:`\rho_j-\rho_k=(\kappa_j-\kappa_k)(1-\frac1N\sum_r(1-h_{jr})(1-h_{kr}))`.

    Args:
        lam: eigenvalues of the inputs (d,).
        energy: :math:`e_r=\lambda_rw_{*r}^2` (d,).
        p: the exponent of the preconditioner.
        n: number N of training samples.
        noise: variance :math:`\sigma^2` of what is not linear in a label.
        t: times > 0, (T,); a step of size :math:`\eta` lasts :math:`\eta`.

    Returns:
        shape (T,), without the noise of a fresh label; right up to relative order 1/N.

    Raises:
        ValueError: for eigenvalues or times that are not > 0, negative noise, sizes that
            do not fit.

    >>> ends = flow_risk([1.0, 1.0], [1.0, 0.0], 0.0, 10, 1.0, [1e-9, 1e9])
    >>> ends.round(6).tolist()  # nothing learned; least squares, d/(N - d)
    [1.0, 0.25]
    """
    lam = validate.positive("lam", lam)
    times = validate.positive("t", t, ("T",))
    speed = numerics.raised(lam, validate.number("p", p) + 1)
    return help_or_hurt_stopping.flow_risk(speed, energy, n, noise, times)


def least_flow_risk(lam, energy, p: float, n: int, noise: float) -> float:
    """Return the smallest `flow_risk` along the flow, its start included: the linear
    student, stopped by an oracle; ``lam``, ``energy``, ``p``, ``n`` and ``noise`` are
    those of `flow_risk`.

    Raises:
        ValueError: for what `flow_risk` refuses.
    """
    lam = validate.positive("lam", lam)
    rates = numerics.raised(lam, validate.number("p", p) + 1)
    first = 1e-3 / rates.max()
    last = 10 / rates.min()
    times = np.geomspace(first, last, MOMENTS)
    risks = flow_risk(lam, energy, p, n, noise, times)
    return float(min(risks.min(), np.sum(energy)))


def least_share(task: Task, p: float, n: int) -> float:
    """Return the `least_flow_risk` on the linear part of a single-index ``task`` with
    ``n`` samples at the exponent ``p``, over the energy of that part.

    What the link adds beyond its linear part counts as noise.

    Raises:
        ValueError: for a multi-index task, a link without a linear part, or what
            `flow_risk` refuses.
    """
    lam, energy, noise = linear_part(task)
    bent = noise - task.noise_variance
    if energy.sum() <= ROUNDING * bent:
        raise ValueError("task: its link must have a linear part")
    least = least_flow_risk(lam, energy, p, n, noise)
    return least / energy.sum()
