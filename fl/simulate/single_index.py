r"""One gradient step of a two-layer network on a single-index teacher, and the
direction each optimizer takes.

`directions` measures :math:`\cos^2(\hat\beta,\beta_*)` for filters of :math:`Xy/n`,
without a network. `updates` and `stepped_weights` take the gradient of a real network
:math:`f(x) = \epsilon\,a^\top\sigma(Gx)` at its random start and look at the singular
vectors of what the optimizer makes of it. Samples stand in columns, ``X`` is (d, n);
the head has norm :math:`\epsilon =` `HEAD`, small, so that the residual at the start is
the label. The teacher has one direction, of length 1.
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from fl import validate
from fl.links import LINKS
from fl.tasks import Spectrum, Task

HEAD = 1e-2
MUON_STEP = 10.0  # what is added to a first layer of singular values about 1
ACTIVATIONS = ("linear", "tanh", "relu")
FAMILIES = ("population", "sample", "kfac")


class Signs(Spectrum):
    r"""A spectrum whose inputs are :math:`\Sigma^{1/2}u` with :math:`u` uniform on
    :math:`\{-1,1\}^d`, as in [ZM25], in place of Gaussian.
    """

    def inputs(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return ``n`` samples as the columns of a (d, n) array, drawn by ``rng``."""
        shape = (self.d, n)
        bits = rng.integers(0, 2, shape, np.int8)
        root = np.sqrt(self.eigenvalues)
        return root[:, None] * (2.0 * bits - 1)


def directions(
    task: Task,
    n: int,
    seed: int,
    family: str,
    members: Sequence[float],
    draws: int = 1,
) -> xr.Dataset:
    r"""Return the alignment of a family of directions; all families of one seed see the
    same batches.

    Args:
        task: law of inputs and labels.
        n: samples in a batch.
        seed: whole number >= 0.
        family: ``population`` for the powers :math:`\Sigma^pXy/n` of the true
            covariance, ``sample`` for those :math:`\hat\Sigma^pXy/n` of the batch's
            own, ``kfac`` for :math:`(\hat\Sigma+\lambda)^{-1}Xy/n`.
        members: the exponents p, or the dampings :math:`\lambda`.
        draws: fresh batches.

    Returns:
        ``alignment`` (draw, p) or (draw, damping).

    Raises:
        ValueError: for an unknown family, or n <= d with zero damping or a negative
            power of the sample covariance.
    """
    d = task.spectrum.d
    draws = validate.count("draws", draws)
    if validate.choice("family", family, FAMILIES) == "kfac":
        _check_damping(n, d, min(members))
    if family == "sample" and min(members) < 0:
        _check_rank(n, d, "a negative exponent")
    rng = np.random.default_rng([seed, n])
    X, y, _ = task.sample(n * draws, rng)
    X = X.reshape(d, draws, n).swapaxes(0, 1)
    y = y.reshape(draws, n, 1)
    gradient = X @ y / n
    if family == "population":
        covariance = task.spectrum.power(1)
    else:
        covariance = X @ X.mT / n
    values, vectors = np.linalg.eigh(covariance)
    # rounding of the null directions when n < d
    values = values.clip(min=0)[..., None]
    members = np.array(members)
    damped = family == "kfac"
    filters = 1 / (values + members) if damped else values**members
    found = vectors @ (filters * (vectors.mT @ gradient))
    label = "damping" if damped else "p"
    cosines = _cos2(found, task)
    alignment = ("draw", label), cosines
    return xr.Dataset({"alignment": alignment}, coords={label: members})


def updates(
    task: Task,
    n: int,
    width: int,
    activation: str,
    seed: int,
    damping: float = 0.1,
    rotate: bool = True,
) -> dict[str, float]:
    r"""Return the alignment with the teacher of the first update of each method, labels
    centred: ``sgd``, ``batchnorm``, ``muon``, ``adam``, ``ngd``, ``kfac``, and
    ``muon_head``.

    The direction of an update is its top right singular vector. All singular values of
    Muon's are equal, so it is that of the weights after a step of size `MUON_STEP`;
    ``muon_head`` is what the head sees, the update's transpose times the head.

    Args:
        task: law of inputs and labels.
        n: samples in the batch.
        width: neurons of the first layer.
        activation: one of `ACTIVATIONS`.
        seed: whole number >= 0.
        damping: of K-FAC.
        rotate: turns inputs and teacher by one random rotation; it matters for Adam.

    Raises:
        ValueError: for an unknown activation, or n <= d without damping.
    """
    rng = np.random.default_rng([seed, n, width])
    Q = np.eye(task.spectrum.d)
    if rotate:
        Q = task.spectrum.rotated(rng).rotation
    X, y, G, a = _start(task, n, width, rng)
    X = Q @ X
    y = y - y.mean()
    g = descent(G, a, X, y, activation)
    U, _, Vh = np.linalg.svd(g, full_matrices=False)
    directions = {
        "sgd": _top(g),
        "batchnorm": _top(descent(G, a, X, y, activation, batchnorm=True)),
        "muon": _top(G + MUON_STEP * U @ Vh),
        "adam": _top(np.sign(g)),  # the moments of one gradient: g / |g|
        "ngd": _top(gauss_newton(G, a, X, y, activation)),
        "kfac": _top(_kfac(g, X, damping)),
        "muon_head": (U @ Vh).T @ a,
    }
    columns = np.stack(list(directions.values()), axis=1)
    cosines = _cos2(Q.T @ columns, task)
    return dict(zip(directions, cosines, strict=True))


def two_spikes(
    task: Task, n: int, width: int, activation: str, seed: int
) -> dict[str, float]:
    """Return the alignment with the teacher of the ``first`` and the ``second`` right
    singular vector of the gradient, labels centred.

    ``task``, ``n``, ``width``, ``activation`` and ``seed`` as in `updates`.

    Raises:
        ValueError: for an unknown activation.
    """
    rng = np.random.default_rng([seed, n, width])
    X, y, G, a = _start(task, n, width, rng)
    centred = y - y.mean()
    g = descent(G, a, X, centred, activation)
    _, vectors = np.linalg.eigh(g.T @ g)
    last_two = vectors[:, -2:]
    second, first = _cos2(last_two, task)
    return {"first": first, "second": second}


def stepped_weights(
    task: Task,
    n: int,
    width: int,
    activation: str,
    eta: float,
    seed: int,
    damping: float | None = None,
) -> dict:
    r"""Return singular values and the top right alignment of :math:`G_1 = G_0 +
    \eta\,g/\epsilon`.

    Args:
        task: law of inputs and labels.
        n: samples in the batch.
        width: neurons of the first layer.
        activation: one of `ACTIVATIONS`.
        eta: step size.
        seed: whole number >= 0.
        damping: ``g`` is the plain descent direction if None, else that of K-FAC.

    Returns:
        ``values`` ("k",), the singular values, falling, and ``alignment``, that of the
        first right singular vector with the teacher.

    Raises:
        ValueError: for an unknown activation, or n <= d with zero damping.
    """
    rng = np.random.default_rng([seed, n, width])
    X, y, G, a = _start(task, n, width, rng)
    step = descent(G, a, X, y, activation)
    if damping is not None:
        step = _kfac(step, X, damping)
    eta = validate.number("eta", eta)
    stepped = G + eta * step / HEAD
    _, values, Vh = np.linalg.svd(stepped, full_matrices=False)
    (cos2,) = _cos2(Vh[:1].T, task)
    return {"values": ("k", values), "alignment": cos2}


def descent(G, a, X, y, activation: str, batchnorm: bool = False) -> np.ndarray:
    r"""Return minus the gradient of mean((f - y)^2)/2 in the first layer, (width, d),
    by automatic differentiation.

    Args:
        G: first layer (width, d).
        a: head (width,).
        X: inputs (d, n).
        y: labels (n,).
        activation: one of `ACTIVATIONS`.
        batchnorm: standardises each neuron's preactivation over the batch, and the
            gradient flows through that.

    Raises:
        ValueError: for an unknown activation.
    """
    import torch  # filters without a network do without

    sigma = {"linear": lambda u: u, "tanh": torch.tanh, "relu": torch.relu}
    validate.choice("activation", activation, ACTIVATIONS)
    G, a, X, y = (torch.tensor(v) for v in (G, a, X, y))
    u = G.requires_grad_() @ X
    if batchnorm:
        u = u - u.mean(1, keepdim=True)
        u = u / u.std(1, correction=0, keepdim=True)
    residual = a @ sigma[activation](u) - y
    loss = residual.square().mean() / 2
    (gradient,) = torch.autograd.grad(loss, G)
    return -gradient.numpy()


def gauss_newton(G, a, X, y, activation: str) -> np.ndarray:
    r"""Return the least-norm step on the first layer, (width, d), that fits the batch
    to first order: :math:`J^\top(JJ^\top)^{-1}(y-f)`.

    It is the full natural-gradient step of the squared loss in its limit of no damping;
    J is the Jacobian, n rows, and :math:`JJ^\top` is the kernel :math:`\sum_k
    a_k^2\sigma'(u_{ki})\sigma'(u_{kj})\,x_i^\top x_j`. First layer ``G``, head ``a``,
    inputs ``X``, labels ``y`` and ``activation`` are those of `descent`.

    Raises:
        ValueError: for an unknown activation.
    """
    sigma = LINKS[validate.choice("activation", activation, ACTIVATIONS)]
    u = G @ X
    slopes = a[:, None] * sigma.slope(u)
    kernel = (slopes.T @ slopes) * (X.T @ X)
    residual = y - a @ sigma(u)
    weight = np.linalg.solve(kernel, residual)
    return (slopes * weight) @ X.T


def _start(task: Task, n: int, width: int, rng: np.random.Generator) -> tuple:
    width = validate.count("width", width)
    d = task.spectrum.d
    X, y, _ = task.sample(n, rng)
    G = rng.standard_normal((width, d)) / np.sqrt(d)
    signs = rng.choice([-1.0, 1.0], width)
    a = HEAD * signs / np.sqrt(width)
    return X, y, G, a


def _kfac(g, X, damping: float) -> np.ndarray:
    d, n = X.shape
    _check_damping(n, d, damping)
    ridge = damping * np.eye(d)
    covariance = X @ X.T / n
    return np.linalg.solve(covariance + ridge, g.T).T


def _top(W) -> np.ndarray:
    _, vectors = np.linalg.eigh(W.T @ W)
    return vectors[:, -1]


def _check_damping(n: int, d: int, damping: float) -> None:
    if validate.number("damping", damping, 0) == 0:
        _check_rank(n, d, "damping = 0")


def _check_rank(n: int, d: int, reason: str) -> None:
    if validate.count("n", n) <= d:
        singular = "the sample covariance is singular"
        raise ValueError(f"n = {n} with {reason}: n must be > d = {d}, {singular}")


def _cos2(v, task: Task) -> np.ndarray:
    # of the columns v (.., d, k)
    beta = task.teacher.directions[0]
    overlap = beta @ v / np.linalg.norm(beta)
    square = (v**2).sum(-2)
    return overlap**2 / square
