r"""How much of the early feature points where the next task will look.

While the weights are tiny all neurons move along :math:`v=\Sigma^pg`
(`fl.theory.alignment`). Along the eigenvector r the feature :math:`v^\top x` has the
variance :math:`\lambda_rv_r^2=\lambda_r^{2p+1}g_r^2`, and :math:`\mathbb
E\,g_r^2=\alpha\,\lambda_r^2\beta_r^2+\nu\,\lambda_r`: the signal writes the teacher's own
direction, the noise of 200 samples writes every direction in proportion to its
variance.
"""

import numpy as np

from fl import numerics, validate
from fl.tasks import Task
from fl.theory.alignment import eigenbasis, gradient_weights


def early_shares(task: Task, p: float, n: float) -> np.ndarray:
    r"""Return the shares (r,) of the early feature's variance along the eigenvectors; a
    ratio of expectations.

    .. math:: \frac{\alpha\,\lambda_r^{2p+3}\beta_r^2+\nu\,\lambda_r^{2p+2}}
              {\alpha\,\beta^\top\Sigma^{2p+3}\beta+\nu\operatorname{tr}\Sigma^{2p+2}}

    If the teacher is on eigenvector k its own share is the alignment A(p), and the
    others divide the rest like :math:`\lambda_r^{2p+2}`: equally at p = -1. Derived in
    chapter "transfer".

    Args:
        task: a single-index task; its label noise enters through :math:`\nu`.
        p: the exponent of the preconditioner.
        n: number of training samples, a whole number >= 2, or ``inf``.

    Raises:
        ValueError: for a multi-index task, a p that is not finite or overflows, n < 2,
            or n = ``inf`` and a link without a linear part.

    >>> from fl.tasks import Teacher, two_level
    >>> task = Task(two_level(4.0, 1, 1.0, 1), Teacher([1.0, 0.0]), snr=1.0)
    >>> early_shares(task, -1.0, 101).round(3).tolist()
    [0.981, 0.019]
    """
    p = validate.number("p", p)
    s, nu = gradient_weights(task, n)
    lam, beta = eigenbasis(task)
    powers = numerics.raised(lam, 2 * p + 2)
    taught = s * powers * lam * beta**2
    sampled = nu * powers
    energy = taught + sampled
    return energy / energy.sum()
