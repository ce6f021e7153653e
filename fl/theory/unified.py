r"""One preconditioned gradient step under inputs of any covariance: where it points, and
which preconditioner of which kind points best.

The network and the step are those of `fl.theory.spikes`, with inputs of covariance
:math:`\Sigma` and the step multiplied by a preconditioner: :math:`W_1\simeq
W_0+\eta\mu_1\,v\,a^\top`, :math:`v=P X^\top y/n`. Eigenvalues ``s``, squared coordinates
``b`` of the teacher and :math:`\gamma=d/n` are those of `fl.theory.single_index`, whose
teacher has length 1; here :math:`{\beta^\star}^\top\Sigma\beta^\star=1`. All is derived
in chapter "unified".
"""

from dataclasses import dataclass

import numpy as np

from fl import validate
from fl.theory.alignment_ridge import resolvent_scale
from fl.theory.single_index import Direction, Moments, check
from fl.theory.single_index_batch import kfac
from fl.theory.spikes import Pair

LEAST, MOST = 1e-3, 1e3  # where differences of what is close are not yet rounding


@dataclass(frozen=True, eq=False)
class Problem:
    r"""Student and teacher, and the inputs they meet.

    Attributes:
        pair: the numbers of student and teacher: ``mu1`` and ``mu1s`` of either sign and
            of size `LEAST` to `MOST`, the others 0 to 1e6.
        s: eigenvalues of the input covariance (d,), or levels of equal weight; of mean
            1 to 1e-6, so that a preactivation has variance 1.
        b: squared coordinates of the teacher's direction (d,), of sum 1.
        psi1: samples per dimension, `LEAST` to `MOST`.
        psi2: neurons per dimension, `LEAST` to `MOST`.

    Raises:
        ValueError: for anything else.
    """

    pair: Pair
    s: np.ndarray
    b: np.ndarray
    psi1: float
    psi2: float

    def __post_init__(self):
        pair = Pair(*validate.array("pair", self.pair, (6,)).tolist())
        sizes = {
            "|mu1|": abs(pair.mu1),
            "|mu1s|": abs(pair.mu1s),
            "psi1": self.psi1,
            "psi2": self.psi2,
        }
        for name, value in sizes.items():
            validate.number(name, value, LEAST, MOST)
        for name in ("rest", "slope_variance", "floor", "noise"):
            validate.number(name, getattr(pair, name), 0, 1e6)
        s, b, _ = check(*self.sizes)
        if abs(s.mean() - 1) > 1e-6:
            raise ValueError(f"s has mean {s.mean():.9g}: must be 1 to 1e-6")
        # copies: the caller may change its arrays, a checked problem stays what it was
        for name, value in {"pair": pair, "s": s.copy(), "b": b.copy()}.items():
            object.__setattr__(self, name, value)

    @property
    def sizes(self) -> tuple:
        """``s``, ``b`` and d/n: how the filters of single_index begin."""
        return self.s, self.b, 1 / self.psi1

    @property
    def energy(self) -> np.ndarray:
        r"""Shares :math:`\lambda_j{\beta^\star_j}^2` of the teacher (d,), of sum 1."""
        return self.s * self.b / self.moments.tau2

    @property
    def moments(self) -> Moments:
        r"""The dictionary to `fl.theory.single_index`: :math:`\tau^2=1/|\beta^\star|^2`,
        :math:`\alpha=\mu_{1*}|\beta^\star|`, :math:`\rho=(F+\sigma^2)/\alpha^2`,
        :math:`\nu=\mathbb Ey^2/\alpha^2`.
        """
        tau2 = self.s @ self.b
        slope = self.pair.mu1s / tau2**0.5
        rho = (self.pair.floor + self.pair.noise) / slope**2
        return Moments(tau2, slope, rho, rho + tau2)

    def own(self, damping: float) -> Direction:
        r"""Return the limits for :math:`P=(\hat\Sigma+\lambda)^{-1}` with the covariance
        of the sample that gives the gradient: v is the ridge estimator of y on x with
        the penalty ``damping``.
        """
        return kfac(*self.sizes, self.moments.rho, damping)


def best_filter(problem: Problem, level: float | None = None) -> tuple:
    r"""Return the filter of Sigma that aligns best with the teacher of ``problem``, and
    its :math:`\cos^2`.

    .. math:: \varphi_j=\frac{k_j}{k_j\lambda_j+c},\qquad
              \cos^2=\bar{\mathbb E}\Bigl[k\,\frac{k\lambda}{k\lambda+c}\Bigr],
              \qquad c=\gamma\nu,

    with the teacher's weights :math:`k=d\,b`. Another ``level`` c gives the same two
    expressions in c.

    Raises:
        ValueError: for a level < 0, or 0 and a teacher without weight somewhere.
    """
    if level is None:
        level = problem.moments.nu / problem.psi1
    if validate.number("level", level, 0) == 0:
        validate.positive("b", problem.b)
    k = len(problem.b) * problem.b
    phi = k / (k * problem.s + level)
    return phi, problem.s * problem.b @ phi


def best_own(problem: Problem) -> tuple:
    r"""Return the damping :math:`\lambda=\gamma\rho` at which :math:`(\hat\Sigma+\lambda
    K^{-1})^{-1}`, K diagonal with the weights k, aligns best, and its :math:`\cos^2`.

    It is that of `best_filter` for ``problem`` at the level :math:`\kappa`, the root of
    :math:`\kappa=\gamma\bigl(\rho+\bar{\mathbb E}[\kappa k\lambda/(k\lambda+
    \kappa)]\bigr)`: what the label has left, where :math:`\gamma\nu` is all of it.

    Raises:
        ValueError: for a teacher without weight in some direction.
    """
    damping = problem.moments.rho / problem.psi1
    return damping, best_filter(problem, _scale(problem, damping))[1]


def other(problem: Problem, damping: float) -> Direction:
    r"""Return the limits for ``problem`` and :math:`P=\frac\lambda\kappa
    (\hat\Sigma'+\lambda K^{-1})^{-1}`, ``damping`` > 0, with the covariance of
    *another* sample of the same size.

    With :math:`t=k\lambda`, :math:`\kappa` that of :math:`\lambda` for the spectrum t,
    :math:`D=t+\kappa` and :math:`\ell=\lambda b+\nu/n`, the overlap is the
    :math:`\cos^2` of `best_filter` at the level :math:`\kappa`, and

    .. math:: \frac{|v|^2}{\alpha^2}\to
              \sum_j\frac{k_jt_j\ell_j}{D_j^2}+\frac{\gamma\,\bar{\mathbb
              E}[kt/D^2]}{1-\gamma\bar{\mathbb E}[t^2/D^2]}
              \sum_j\frac{t_j^2\ell_j}{D_j^2}.

    Raises:
        ValueError: for a damping that is not > 0, or a teacher without weight in some
            direction.
    """
    damping = validate.number("damping", damping, 0, open_low=True)
    phi, along = best_filter(problem, _scale(problem, damping))
    s, b, gamma = problem.sizes
    share2 = (s * phi) ** 2
    spread = np.mean(share2 / s) / (1 / gamma - np.mean(share2))
    label = s * b + gamma * problem.moments.nu / len(b)
    return Direction(
        along,
        label * share2 @ (1 / s + spread),
    )


def _scale(problem, damping) -> float:
    """Return the kappa of a ``damping`` for inputs that have the teacher's weights."""
    validate.positive("b", problem.b)
    s, b, gamma = problem.sizes
    return resolvent_scale(
        len(b) * b * s,
        gamma,
        damping,
    )
