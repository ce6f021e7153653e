r"""The bench where optimizers meet their derived exponents: one first layer, known
gradients, weights that stand still.

Inputs are :math:`x\sim N(0,S)` with eigenvalues `EIGENVALUES`, the model is
:math:`z=Wx` with W (h, d) at zero, and

.. math:: L=\frac1{2B}\sum_i\sum_j\bigl(a_jz_{ij}-y_{ij}\bigr)^2,\qquad
          y_i=a\odot\Delta x_i+\sigma\xi_i .

Without signal the rows of the gradient are noise of covariance
:math:`a_j^2\sigma^2S/B`. The step size is so small that W does not move while
`fl.instruments.exponent_recorder` reads its displacements; only `along` lets it move.
K-FAC needs a softmax: its labels are classes drawn from :math:`\mathrm{softmax}(\Delta
x)`. The natural gradient is that of two layers, the first of which is read.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from torch import nn

from fl import optimizers, validate
from fl.instruments import two_layer_optimizers
from fl.instruments.exponent_recorder import Recorder
from fl.tasks import Spectrum

EIGENVALUES = np.geomspace(10, 0.1, 8)
STEPS, WINDOW, ETA = 200, 100, 1e-8
NATURAL = "natural gradient"
# L-BFGS has no step size that could be small
NAMES = (*(name for name in optimizers.ZOO if name != "L-BFGS"), NATURAL)
# averages that start from few samples; Sophia-H's starts from zero and is not corrected
WARM_UP = {"Sophia-H": 300, "Shampoo": 100, "SOAP": 100, "AdaHessian": 100}


@dataclass(frozen=True)
class Setting:
    r"""What the gradient on the bench is made of.

    ``signal`` is the size of the entries of :math:`\Delta` along the eigenvectors,
    ``noise`` the variance :math:`\sigma^2` of the labels, ``batch`` the number of
    inputs B; inf is the whole population: fixed inputs that have exactly the covariance
    S. ``width`` is h. The factors a go from 1 / sqrt(``spread``) to sqrt(``spread``).
    ``softmax`` puts classes in the place of the labels, ``rotated`` turns the
    eigenvectors away from the axes, and ``rank_one`` gives the errors rank one.

    Raises:
        ValueError: for a negative ``signal`` or ``noise``, ``spread`` < 1, or a batch
            or width that is no whole number >= 1.
    """

    signal: float = 0.0
    noise: float = 1.0
    batch: float = 64
    width: int = 64
    spread: float = 1.0
    softmax: bool = False
    rotated: bool = False
    rank_one: bool = False

    def __post_init__(self):
        validate.number("signal", self.signal, 0)
        validate.number("noise", self.noise, 0)
        validate.number("spread", self.spread, 1)
        validate.count("width", self.width)
        if self.batch != np.inf:
            validate.count("batch", self.batch)


class Bench:
    """Draws the batches and holds the model.

    Args:
        seed: of batches, errors and the rotation.
        setting: what the gradient is made of.
    """

    def __init__(self, seed: int, setting: Setting):
        self.rng = np.random.default_rng(validate.count("seed", seed, minimum=0))
        self.setting, self.spectrum = setting, Spectrum(EIGENVALUES)
        d, h = self.spectrum.d, setting.width
        self.axes = np.eye(d)  # columns: the eigenvectors
        if setting.rotated:
            self.spectrum = self.spectrum.rotated(self.rng)
            self.axes = self.spectrum.rotation
        # errors of equal size along every eigenvector
        signs = np.sign(self.rng.standard_normal((h, d)))
        if setting.rank_one:
            signs = np.outer(signs[:, 0], signs[0])
        self.errors = setting.signal * signs @ self.axes.T
        largest = np.sqrt(setting.spread)
        self.readout = torch.as_tensor(np.geomspace(1 / largest, largest, h))
        layer = nn.Linear(d, h, bias=setting.softmax, dtype=torch.float64)
        for w in layer.parameters():
            nn.init.zeros_(w)
        self.model = nn.Sequential(layer)
        self.redraw()

    @property
    def first(self) -> nn.Parameter:
        """The weights W (h, d)."""
        return self.model[0].weight

    def redraw(self) -> None:
        """Draw the next batch, ``X`` (n, d) and ``Y`` (n, h) or (n,); the whole
        population keeps its inputs.
        """
        whole = self.setting.batch == np.inf
        n = 4 * self.spectrum.d if whole else self.setting.batch
        X = self.spectrum.inputs(n, self.rng).T
        if whole:
            frame = np.linalg.qr(X)[0]
            X = frame @ self.spectrum.power(0.5) * np.sqrt(n)
        Y = X @ self.errors.T
        if self.setting.softmax:
            Y = (Y + self.rng.gumbel(size=Y.shape)).argmax(1)
        else:
            deviation = np.sqrt(self.setting.noise)
            normal = self.rng.standard_normal(Y.shape)
            Y = self.readout.numpy() * Y + deviation * normal
        self.X = torch.as_tensor(X)
        self.Y = torch.as_tensor(Y)

    def loss(self) -> torch.Tensor:
        """Return the loss of the model on the batch."""
        Z = self.model(self.X)
        if self.setting.softmax:
            return nn.functional.cross_entropy(Z, self.Y)
        return (self.readout * Z - self.Y).square().sum(1).mean() / 2

    def recorder(self, window: int) -> Recorder:
        """Return a fresh recorder with windows of ``window`` steps."""
        return Recorder(self.spectrum.power(1), window)


def measure(
    seed: int,
    optimizer: str,
    setting: Setting = Setting(),  # noqa: B008, it is frozen
    hyper: dict | None = None,
    steps: int = STEPS,
    window: int = WINDOW,
) -> xr.Dataset:
    r"""Return the exponents of an optimizer on the bench, and the curve that they are
    read from.

    Args:
        seed: draws batches, errors and the rotation.
        optimizer: one of `NAMES`.
        setting: what the gradient is made of; K-FAC needs a softmax.
        hyper: hyper-parameters that differ from those of the zoo.
        steps: recorded updates, a multiple of ``window``.
        window: updates per window of the estimator, many more than the memory of the
            optimizer's averages.

    Returns:
        ``p_ratio``, ``p_gain`` and ``kappa`` of `fl.instruments.exponent_recorder`;
        ``gain`` (lam,), the multiplier along the eigenvectors, and ``row`` (neuron,),
        that of every neuron, both with geometric mean 1; ``axes`` (input, lam), the
        eigenvectors.

    Raises:
        ValueError: for an unknown optimizer or hyper-parameter, or steps that are no
            multiple of the window.
    """
    validate.choice("optimizer", optimizer, NAMES)
    if validate.count("steps", steps) % validate.count("window", window):
        raise ValueError(f"steps = {steps}: must be a multiple of window = {window}")
    bench, warm = Bench(seed, setting), WARM_UP.get(optimizer, 0)
    recorder = bench.recorder(window)

    def watch(step: int, value: float) -> None:
        if step >= warm:
            recorder.see(step - warm, bench.first, bench.first.grad)
        bench.redraw()

    hyper = dict(hyper or {})
    if optimizer == "exact":
        hyper["covariance"] = bench.spectrum.power(1)
    if optimizer == NATURAL:
        _natural(bench, steps, watch, **hyper)
    else:
        hyper["lr"] = ETA
        optimizers.minimise(
            optimizer, bench.model, bench.loss, steps + warm, watch, seed, **hyper
        )
    return _report(bench, recorder)


def along(
    seed: int, rho: float = 0.5, eta: float = 0.03, steps: int = 226, every: int = 15
) -> xr.Dataset:
    """Train with SAM on the whole population, which moves the weights, and return its
    exponent along the way.

    Args:
        seed: of the errors that the weights start from.
        rho: radius of SAM's ascent step.
        eta: step size.
        steps: updates.
        every: updates between two readings.

    Returns:
        ``p_gain`` and ``size`` (the gradient's norm) over the dimension ``step``, each
        read from a single update.

    Raises:
        ValueError: for ``rho`` < 0, ``eta`` <= 0 or whole numbers that are not.
    """
    every = validate.count("every", every)
    bench = Bench(seed, Setting(signal=1.0, noise=0.0, batch=np.inf))
    # one input on each axis and weights that end at zero: a direction can die out
    # without drowning in rounding
    d = len(EIGENVALUES)
    bench.X = torch.as_tensor(np.diag(np.sqrt(EIGENVALUES * d)))
    bench.Y = torch.zeros(d, bench.setting.width, dtype=torch.float64)
    with torch.no_grad():
        bench.first.copy_(torch.as_tensor(bench.errors))
    recorder, first = bench.recorder(1), bench.first

    def watch(step: int, value: float) -> None:
        recorder.see(step, first, first.grad)

    optimizers.minimise(
        "SAM", bench.model, bench.loss, steps, watch, seed, lr=eta, rho=rho
    )
    updates, read = recorder.windows, range(0, steps, every)
    p_gain, size = [], []
    for step in read:
        recorder.windows = updates[step : step + 1]
        p_gain.append(recorder.result().p_gain)
        size.append(np.linalg.norm(updates[step][1]))
    variables = {"p_gain": ("step", p_gain), "size": ("step", size)}
    return xr.Dataset(variables, {"step": read})


def _natural(
    bench: Bench,
    steps: int,
    watch: Callable,
    damping: float = 1e-9,
    outputs: int = 4,
    width: int = 8,
) -> None:
    """Move the first of two linear layers, with an orthonormal head, by damped natural
    gradients.
    """
    F = torch.eye(outputs, width, dtype=torch.float64)
    start = torch.zeros(width, bench.spectrum.d, dtype=torch.float64)
    bench.model[0].weight = nn.Parameter(start)
    G = bench.first.data
    update = two_layer_optimizers.updater("NGD", F, G, damping)
    for step in range(steps + 1):
        X, Y = bench.X, bench.Y[:, :outputs]
        gF, gG, Z = two_layer_optimizers.gradients(F, G, X, Y)
        bench.first.grad = gG
        watch(step, 0.0)
        if step < steps:
            update(ETA, gF, gG, X, Z)


def _report(bench: Bench, recorder: Recorder) -> xr.Dataset:
    found = recorder.result()
    D, S = map(np.array, zip(*recorder.windows, strict=True))
    along, squares = (np.sum(S * A, (0, 2)) for A in (-D, S))
    row = along / squares.clip(np.finfo(float).tiny)
    variables = {
        "p_ratio": found.p_ratio,
        "p_gain": found.p_gain,
        "kappa": found.kappa,
        "gain": ("lam", _relative(found.gain)),
        "row": ("neuron", _relative(row)),
        "axes": (("input", "lam"), bench.axes),
    }
    # the recorder has the eigenvalues up to rounding
    return xr.Dataset(variables, coords={"lam": EIGENVALUES})


def _relative(values: np.ndarray) -> np.ndarray:
    """Return values with geometric mean 1; what is not positive counts as missing."""
    logs = np.log(np.where(values > 0, values, np.nan))
    if np.isnan(logs).all():
        return logs
    return np.exp(logs - np.nanmean(logs))
