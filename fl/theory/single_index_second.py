r"""The second spike of one gradient step: where an even teacher shows.

An even teacher, whose :math:`\alpha=\mathbb Ef^{*\prime}=0`, with centred labels leaves
:math:`Xy/n` without direction, but the gradient on the first layer has one more term,

.. math:: c_2\,\mathrm{diag}(a)\,G_0\,\hat H,\qquad \hat H = X\,\mathrm{diag}(y)X^\top/n,
          \qquad c_2 = \mathbb E\sigma'',

and :math:`\mathbb E\hat H = h\,\Sigma\beta_*\beta_*^\top\Sigma` with :math:`h=\mathbb E
f^{*\prime\prime}`. `second_spike` is the law of the right singular vector that it
makes, the second of the gradient, at proportional n, d and width. Letters as in
`fl.theory.single_index` and `fl.theory.single_index_network`; derived in chapter
single_index.
"""

from typing import NamedTuple

import numpy as np
from scipy import optimize

from fl import numerics, validate
from fl.tasks import Task
from fl.theory.single_index import weights
from fl.theory.single_index_network import mean_curvature, slope_moments

REACH = 4.0  # labels of a larger index, six in 100,000, are left out
STEP = 1e-4  # relative, of the derivatives at the outlier


class SecondSpike(NamedTuple):
    r"""The two factors of the alignment: ``direction``, the alignment with the teacher
    of the top eigenvector of a neuron's covariance, and ``kept``, what finitely many
    neurons keep of it.
    """

    direction: float
    kept: float

    @property
    def cos2(self) -> float:
        r"""The alignment :math:`\cos^2(v_2,\beta_*)`."""
        return self.direction * self.kept


class _Pencil(NamedTuple):
    # sum_i x_i x_i'/n (x) blocks_i - 1 (x) diag(t, 1); its inverse has (Q - t)^-1 in the
    # first corner
    s: np.ndarray
    b: np.ndarray
    tau: float
    gamma: float
    blocks: np.ndarray  # (K, 2, 2), at the nodes of the index and the label noise
    weights: np.ndarray  # (2, K), of the mean, and of that times the squared index


class _Point(NamedTuple):
    # the determinant that vanishes at the outlier, the teacher's part of the
    # resolvent times it, which has no pole there, and the trace of (Q - t)^-1 over d
    t: float
    determinant: float
    teacher: float
    trace: float


def second_spike(
    task: Task, gamma: float, aspect: float, activation: str
) -> SecondSpike:
    r"""Return the limits for the second right singular vector of the first gradient,
    labels centred.

    Given the batch, the rows of the gradient without its first spike are independent,
    with covariance proportional to

    .. math:: Q = c_2^2\hat H^2 + (V-c_2^2\bar{\mathbb E}[s])\,\gamma\,
              X\,\mathrm{diag}(y)^2X^\top/n ,

    whose outlier is found from a fixed point of 2 x 2 matrices.

    Args:
        task: with an even teacher.
        gamma: d/n.
        aspect: N/d, neurons per dimension.
        activation: name of a link.

    Raises:
        ValueError: for a teacher that is not even or has no mean curvature, an
            activation without or with no mean slope, which leaves one spike, gamma or
            aspect <= 0, and where no singular value leaves the bulk.
    """
    aspect = validate.number("aspect", aspect, 0, open_low=True)
    pencil, far = _pencil(task, gamma, activation)

    def determinant(t):
        return _point(pencil, t).determinant

    # from where there is no outlier down to the first change of sign
    low = far
    while determinant(low) > 0:
        low *= 0.9
    tiny = numerics.TINY  # no absolute tolerance: t has the units of the inputs
    outlier = optimize.brentq(determinant, low, low / 0.9, xtol=tiny, rtol=1e-12)
    below = _point(pencil, outlier * (1 - STEP))
    above = _point(pencil, outlier * (1 + STEP))
    jump = above.teacher / above.determinant - below.teacher / below.determinant
    direction = outlier * STEP * jump / 2
    ratio = _location(above, aspect) / _location(below, aspect)
    kept = np.log(ratio) / (2 * STEP)
    if not kept > 0:
        raise ValueError(
            f"aspect = {aspect:g}: must be larger, the singular value is in the bulk"
        )
    return SecondSpike(direction, kept)


def _location(point: _Point, aspect: float) -> float:
    # where N neurons show an eigenvalue t of Q: t (1 + d/N int q dH(q)/(t - q))
    spread = -1 - point.t * point.trace
    return point.t * (1 + spread / aspect)


def _pencil(task: Task, gamma: float, activation: str) -> tuple[_Pencil, float]:
    # and a t far above the outlier
    s, b = weights(task)
    gamma = validate.number("gamma", gamma, 0, open_low=True)
    c, V = slope_moments(activation, s)
    c2 = mean_curvature(activation, s)
    index, y, weight = _labels(task)
    h = weight @ (y * (index**2 - 1)) / task.tau[0] ** 2
    link, tau = task.teacher.link, task.tau[0]
    odd = link(tau * index) - link(-tau * index)
    if weight @ odd**2 > 1e-16 * (weight @ y**2):
        raise ValueError(f"teacher has the link {link.name}: must be an even function")
    if abs(c * c2 * h) < 1e-8:
        raise ValueError(
            f"mean curvatures are {h:g} (teacher) and {c2:g} ({activation}), its mean slope "
            f"is {c:g}: all must differ from 0"
        )
    rest = V - c2**2 * s.mean()
    blocks = np.zeros((len(y), 2, 2))
    blocks[:, 0, 0] = gamma * rest * y**2
    blocks[:, 0, 1] = c2 * y
    blocks[:, 1, 0] = c2 * y
    both = np.stack([weight, weight * index**2])
    root = c2 * h * (b @ s**2)
    far = 100 * root**2
    return _Pencil(s, b, task.tau[0], gamma, blocks, both), far


def _labels(task: Task) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    # standardised index, centred label and weight at the nodes of a quadrature
    u, weight, clean = _clean(task, 0)
    means = _means(u, weight, clean)
    gap = _means(*_clean(task, 2)) - means
    if abs(gap).max() > 1e-6 * (1 + means[1] + means[3]):
        raise ValueError(
            f"teacher has the link {task.teacher.link.name}, which {len(u)} nodes do not "
            "resolve: must be smoother between its kinks"
        )
    noise, share = np.polynomial.hermite_e.hermegauss(7)
    share /= share.sum()
    noise *= np.sqrt(task.noise_variance)
    centred = clean - weight @ clean
    y = np.add.outer(centred, noise)
    joint = np.outer(weight, share)
    index = np.repeat(u, len(noise))
    return index, y.ravel(), joint.ravel()


def _means(u, weight, clean) -> np.ndarray:
    # of the label and its square, each also times the squared index
    seen = np.stack([clean, clean**2])
    plain = seen @ weight
    along = seen @ (weight * u**2)
    return np.concatenate([plain, along])


def _clean(task: Task, halvings: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    # standardised index, weight and label without noise
    link, tau = task.teacher.link, task.tau[0]
    kinks = [kink / tau for kink in link.kinks]
    u, weight = numerics.gaussian_rule(kinks, 12, 16, halvings)
    near = abs(u) <= REACH
    u, weight = u[near], weight[near]
    return u, weight / weight.sum(), link(tau * u)


def _inverse(M: np.ndarray) -> np.ndarray:
    try:
        return np.linalg.inv(M)
    except np.linalg.LinAlgError:
        raise ArithmeticError("a resolvent was met at one of its poles") from None


def _point(pencil: _Pencil, t: float) -> _Point:
    s, b, tau, gamma, blocks, both = pencil
    one, shift = np.eye(2), np.diag([t, 1.0])
    share = s / len(s)
    R = -s.mean() * np.diag([1 / t, 1.0])
    for _ in range(1000):
        screen = one + gamma * R @ blocks
        damped = blocks @ _inverse(screen)
        mean, squared = np.tensordot(both, damped, 1)
        scaled = np.multiply.outer(s, mean)
        resolvents = _inverse(scaled - shift)
        last, R = R, np.tensordot(share, resolvents, 1)
        # the entries have units of their own
        if np.allclose(R.diagonal(), last.diagonal(), 1e-12, 0):
            break
    else:
        raise ValueError(
            f"gamma = {gamma:g}: must be smaller, the second spike is in the bulk"
        )
    excess = squared - mean
    seen = np.tensordot(b * s**2, resolvents, 1) / tau**2
    reached = np.tensordot(b * s, resolvents, 1) / tau
    pole = one + excess @ seen
    adjugate = np.trace(pole) * one - pole  # the inverse times the determinant
    middle = adjugate @ excess
    part = reached @ middle @ reached.T
    trace = resolvents[:, 0, 0].mean()
    return _Point(t, np.linalg.det(pole), part[0, 0], trace)
