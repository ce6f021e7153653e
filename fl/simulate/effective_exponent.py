r"""The bench where optimizers meet their derived exponents: one first layer, known
gradients, weights that stand still.

Inputs are :math:`x\sim N(0,S)` with eigenvalues `EIGENVALUES`, the model is
:math:`z=Wx` with W (h, d) at zero, and

.. math:: L=\frac1{2B}\sum_i\sum_j\bigl(a_jz_{ij}-y_{ij}\bigr)^2,\qquad y_i=a\odot\Delta x_i+\sigma\xi_i .

``signal`` is the size of the entries of :math:`\Delta` along the eigenvectors,
``noise`` is :math:`\sigma`. Without signal the rows of the gradient are noise of
covariance :math:`a_j^2\sigma^2S/B`. With ``batch`` = None the inputs are fixed and have
exactly the covariance S. The learning rate is so small that W does not move while
`fl.instruments.exponent_recorder` reads its displacements; only `along` lets it move.
K-FAC needs a softmax: its labels are classes drawn from :math:`\mathrm{softmax}(\Delta
x)`. The natural gradient is that of two layers, the first of which is read.
"""

import numpy as np
import torch
import xarray as xr
from torch import nn

from fl import optimizers, validate
from fl.instruments import two_layer_optimizers
from fl.instruments.exponent_recorder import Recorder
from fl.simulate import ood
from fl.tasks import Spectrum

EIGENVALUES = np.geomspace(10, 0.1, 8)
NEURONS, CLASSES = 64, 10
BATCH, STEPS, WINDOW, RATE = 64, 200, 100, 1e-8
NATURAL = "natural gradient"
NAMES = (
    *(name for name in optimizers.ZOO if name != "L-BFGS"),
    NATURAL,
)  # L-BFGS has no rate that could be small
# averages that start from few samples; Sophia-H's starts from zero and is not corrected
WARM_UP = {"Sophia-H": 300, "Shampoo": 100, "SOAP": 100, "AdaHessian": 100}


class Bench:
    """Draws the batches and holds the model; see the top of the module for the
    arguments.

    Raises:
        ValueError: for a negative ``signal`` or ``noise``, ``spread`` < 1, or a batch
            that is no whole number >= 1.
    """

    def __init__(
        self,
        seed: int,
        signal: float = 0.0,
        noise: float = 1.0,
        batch: int | None = BATCH,
        rotated: bool = False,
        rank_one: bool = False,
        spread: float = 1.0,
        softmax: bool = False,
        neurons: int = NEURONS,
    ):
        self.rng = np.random.default_rng(validate.count("seed", seed, minimum=0))
        self.noise, self.softmax = validate.number("noise", noise, 0), softmax
        self.batch = batch if batch is None else validate.count("batch", batch)
        self.spectrum = (
            Spectrum(EIGENVALUES).rotated(self.rng)
            if rotated
            else Spectrum(EIGENVALUES)
        )
        d, h = self.spectrum.d, validate.count("neurons", neurons)
        signs = np.sign(
            self.rng.standard_normal((h, d))
        )  # errors of equal size along every eigenvector
        signs = np.outer(signs[:, 0], signs[0]) if rank_one else signs
        U = np.eye(d) if self.spectrum.rotation is None else self.spectrum.rotation
        self.errors = validate.number("signal", signal, 0) * signs @ U.T
        width = np.sqrt(validate.number("spread", spread, 1))
        self.readout = torch.as_tensor(np.geomspace(1 / width, width, h))
        self.model = nn.Sequential(nn.Linear(d, h, bias=softmax, dtype=torch.float64))
        for w in self.model.parameters():
            nn.init.zeros_(w)
        self.redraw()

    @property
    def first(self) -> nn.Parameter:
        """The weights W (h, d)."""
        return self.model[0].weight

    def redraw(self) -> None:
        """Draw the next batch, ``X`` (n, d) and ``Y`` (n, h) or (n,); the whole
        population keeps its inputs.
        """
        n = self.batch or 4 * self.spectrum.d
        X = self.spectrum.inputs(n, self.rng).T
        if self.batch is None:
            X = np.linalg.qr(X)[0] @ self.spectrum.power(0.5) * np.sqrt(n)
        Y = X @ self.errors.T
        self.X = torch.as_tensor(X)
        if self.softmax:
            self.Y = torch.as_tensor((Y + self.rng.gumbel(size=Y.shape)).argmax(1))
        else:
            self.Y = self.readout * torch.as_tensor(Y) + self.noise * torch.as_tensor(
                self.rng.standard_normal(Y.shape)
            )

    def loss(self) -> torch.Tensor:
        """Return the loss of the model on the batch."""
        Z = self.model(self.X)
        if self.softmax:
            return nn.functional.cross_entropy(Z, self.Y)
        return (self.readout * Z - self.Y).square().sum(1).mean() / 2


def measure(
    seed: int,
    optimizer: str,
    steps: int = STEPS,
    window: int = WINDOW,
    hyper: dict | None = None,
    **setting,
) -> xr.Dataset:
    r"""Return the exponents of an optimizer on the bench, and the curve that they are
    read from.

    Args:
        seed: draws batches, errors and the rotation.
        optimizer: one of `NAMES`.
        steps: recorded updates, a multiple of ``window``.
        window: updates per window of the estimator, many more than the memory of the
            optimizer's averages.
        hyper: its hyper-parameters; those of the zoo if None.
        setting: further arguments of `Bench`.

    Returns:
        ``p_ratio``, ``p_gain`` and ``kappa`` of `fl.instruments.exponent_recorder`;
        ``gain`` (lam,), the multiplier along the eigenvectors, and ``row`` (neuron,),
        that of every neuron, both with geometric mean 1; ``size``, the mean norm of the
        gradient.

    Raises:
        ValueError: for an unknown optimizer, setting or hyper-parameter, or steps that
            are no multiple of the window.
    """
    validate.choice("optimizer", optimizer, NAMES)
    if validate.count("steps", steps) % validate.count("window", window):
        raise ValueError(f"steps = {steps}: must be a multiple of window = {window}")
    hyper = hyper or {}
    setting = (
        {"neurons": CLASSES, "softmax": True} | setting
        if optimizer == "K-FAC"
        else setting
    )
    bench, warm = Bench(seed, **setting), WARM_UP.get(optimizer, 0)
    recorder, sizes = Recorder(bench.spectrum.power(1), window), []

    def watch(step: int, value: float) -> None:
        if step >= warm:
            gradient = bench.first.grad.detach()
            sizes.append(float(gradient.norm()))
            recorder.see(step - warm, bench.first, gradient)
        bench.redraw()

    if optimizer == NATURAL:
        _natural(bench, steps, watch, **hyper)
    else:
        given = (
            {"covariance": bench.spectrum.power(1)} | hyper
            if optimizer == "exact"
            else hyper
        )
        optimizers.minimise(
            optimizer,
            bench.model,
            bench.loss,
            steps + warm,
            watch,
            seed,
            lr=RATE,
            **given,
        )
    return _report(recorder, float(np.mean(sizes)))


def along(
    seed: int, rho: float = 0.5, rate: float = 0.03, steps: int = 226, every: int = 15
) -> xr.Dataset:
    """Train with SAM on the whole population, which moves the weights, and return its
    exponent along the way.

    Returns:
        ``p_gain`` and ``size`` (the gradient's norm) over the dimension ``step``, each
        read from a single update.

    Raises:
        ValueError: for ``rho`` < 0, ``rate`` <= 0 or whole numbers that are not.
    """
    bench = Bench(seed, signal=1.0, noise=0.0, batch=None)
    # one input on each axis and weights that end at zero: a direction can die out
    # without drowning in rounding
    bench.X = torch.as_tensor(np.diag(np.sqrt(EIGENVALUES * len(EIGENVALUES))))
    bench.Y = torch.zeros(len(EIGENVALUES), NEURONS, dtype=torch.float64)
    with torch.no_grad():
        bench.first.copy_(torch.as_tensor(bench.errors))
    every, rows = validate.count("every", every, minimum=2), []
    recorder, size = Recorder(bench.spectrum.power(1), 1), np.nan

    def watch(step: int, value: float) -> None:
        nonlocal recorder, size
        if step % every == 1:  # the update from the step before
            recorder.see(1, bench.first, bench.first.grad)
            rows.append((step - 1, recorder.result().p_gain, size))
        if step % every == 0:
            recorder, size = (
                Recorder(bench.spectrum.power(1), 1),
                float(bench.first.grad.norm()),
            )
            recorder.see(0, bench.first, bench.first.grad)

    optimizers.minimise(
        "SAM", bench.model, bench.loss, steps, watch, seed, lr=rate, rho=rho
    )
    step, p, size = (list(column) for column in zip(*rows, strict=True))
    return xr.Dataset(
        {"p_gain": ("step", p), "size": ("step", size)}, coords={"step": step}
    )


def course(
    seed: int,
    optimizer: str,
    epochs: int,
    windows: tuple[int, ...] = (1, 5, 20),
    every: int = 20,
) -> xr.Dataset:
    """Train on the digits for a fixed number of epochs and return the exponent that a
    run of each length would have.

    Args:
        seed: of the data and the network of `fl.simulate.ood`.
        optimizer: one of `ood.METHODS`.
        epochs: length of the run, a multiple of ``every``.
        windows: steps per window of the estimator.
        every: epochs between two read-outs.

    Returns:
        ``p_ratio`` and ``p_gain`` (window, epoch) over all updates up to the epoch, and
        ``loss`` (epoch,) there.

    Raises:
        ValueError: for an unknown optimizer or epochs that are no multiple of
            ``every``.
    """
    name, hyper = ood.METHODS[validate.choice("optimizer", optimizer, ood.METHODS)]
    if validate.count("epochs", epochs) % validate.count("every", every):
        raise ValueError(f"epochs = {epochs}: must be a multiple of every = {every}")
    data = ood.draw(seed)
    X = torch.as_tensor(data.X["train"], dtype=torch.float32)
    model, y = ood.network(X.shape[1], seed), torch.as_tensor(data.labels["train"])
    recorders, rows = [Recorder(data.covariance, w) for w in windows], []

    def watch(epoch: int, loss: float) -> None:
        for recorder in recorders:
            recorder.see(epoch, model[0].weight, model[0].weight.grad)
        if epoch and epoch % every == 0:
            results = [recorder.result() for recorder in recorders]
            rows.append(
                (loss, [r.p_ratio for r in results], [r.p_gain for r in results])
            )

    hyper = hyper | ({"covariance": data.covariance} if name == "exact" else {})
    optimizers.minimise(
        name,
        model,
        lambda: nn.functional.cross_entropy(model(X), y),
        epochs,
        watch,
        seed,
        **hyper,
    )
    loss, ratio, gain = (np.array(column).T for column in zip(*rows, strict=True))
    return xr.Dataset(
        {
            "loss": ("epoch", loss),
            "p_ratio": (("window", "epoch"), ratio),
            "p_gain": (("window", "epoch"), gain),
        },
        coords={
            "window": list(windows),
            "epoch": np.arange(every, epochs + 1, every)[: len(loss)],
        },
    )


def _natural(
    bench: Bench, steps: int, watch, damping: float = 1e-9, outputs: int = 4
) -> None:
    """Move the first of two linear layers, of width 8 and with an orthonormal head, by
    damped natural gradients.
    """
    d, h = bench.spectrum.d, 8
    F = torch.eye(outputs, h, dtype=torch.float64)
    with torch.no_grad():
        bench.model[0].weight = nn.Parameter(torch.zeros(h, d, dtype=torch.float64))
        G = bench.first.data
        update = two_layer_optimizers.updater("NGD", F, G, damping)
        for step in range(steps + 1):
            gF, gG, Z = two_layer_optimizers.gradients(
                F, G, bench.X, bench.Y[:, :outputs]
            )
            bench.first.grad, X = gG, bench.X
            watch(step, 0.0)
            if step < steps:
                update(RATE, gF, gG, X, Z)


def _report(recorder: Recorder, size: float) -> xr.Dataset:
    found = recorder.result()
    D, S = (np.array(part) for part in zip(*recorder.windows, strict=True))
    row = -np.sum(D * S, (0, 2)) / np.maximum(
        np.sum(S**2, (0, 2)), np.finfo(float).tiny
    )
    return xr.Dataset(
        {
            "p_ratio": found.p_ratio,
            "p_gain": found.p_gain,
            "kappa": found.kappa,
            "size": size,
        }
        | {"gain": ("lam", _relative(found.gain)), "row": ("neuron", _relative(row))},
        coords={"lam": EIGENVALUES},  # the recorder has them up to rounding
    )


def _relative(values: np.ndarray) -> np.ndarray:
    """Return values with geometric mean 1; what is not positive counts as missing."""
    logs = np.log(np.where(values > 0, values, np.nan))
    return (
        np.exp(logs - np.nanmean(logs))
        if np.isfinite(logs).any()
        else np.full(len(values), np.nan)
    )
