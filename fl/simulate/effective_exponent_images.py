"""The exponent of an optimizer while it trains on real images."""

import xarray as xr

from fl import validate
from fl.instruments.exponent_recorder import Recorder
from fl.simulate.ood import Student


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
        optimizer: one of `fl.simulate.ood.METHODS`.
        epochs: length of the run, a multiple of ``every``.
        windows: steps per window of the estimator.
        every: epochs between two read-outs.

    Returns:
        ``p_ratio`` and ``p_gain`` (epoch, window) over all updates up to the epoch, and
        ``loss`` (epoch,) there.

    Raises:
        ValueError: for an unknown optimizer or epochs that are no multiple of
            ``every``.
    """
    if validate.count("epochs", epochs) % validate.count("every", every):
        raise ValueError(f"epochs = {epochs}: must be a multiple of every = {every}")
    student = Student(seed, optimizer)
    recorders = [Recorder(student.data.covariance, window) for window in windows]
    found = {"epoch": [], "loss": [], "p_ratio": [], "p_gain": []}

    def watch(epoch: int, loss: float) -> None:
        for recorder in recorders:
            recorder.see(epoch, student.first, student.first.grad)
        if epoch and epoch % every == 0:
            results = [recorder.result() for recorder in recorders]
            found["epoch"].append(epoch)
            found["loss"].append(loss)
            found["p_ratio"].append([result.p_ratio for result in results])
            found["p_gain"].append([result.p_gain for result in results])

    student.minimise(epochs, watch)
    return xr.Dataset(
        {
            "loss": ("epoch", found["loss"]),
            "p_ratio": (("epoch", "window"), found["p_ratio"]),
            "p_gain": (("epoch", "window"), found["p_gain"]),
        },
        coords={"epoch": found["epoch"], "window": list(windows)},
    )
