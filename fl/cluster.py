"""Where the units of a sweep run: processes of this machine, or a running Dask cluster."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from fl import validate


@contextmanager
def workers(jobs: int | None = None, scheduler: str | None = None) -> Iterator[None]:
    """Let every sweep inside use ``jobs`` processes, or the workers of the cluster whose
    ``scheduler`` has this address; ``FL_JOBS`` or all cores if neither is given.

    The workers of a cluster need this package with the same source, and the folder of the
    results under the same path.

    Raises:
        ValueError: for jobs < 1, or a scheduler without the library `distributed`.
        OSError: if no scheduler answers there.
    """
    if scheduler is None:
        with _jobs(jobs):
            yield
        return
    try:
        from distributed import Client
    except ImportError:
        raise ValueError(
            f"scheduler = {scheduler!r}: needs the library distributed, pip install "
            "'.[cluster]'"
        ) from None
    import joblib

    with Client(scheduler, timeout=30) as client:
        _prepare(client)
        threads = sum(client.nthreads().values())
        with joblib.parallel_config(backend="dask"), _jobs(jobs or max(threads, 2)):
            yield


@contextmanager
def _jobs(jobs: int | None) -> Iterator[None]:
    before = os.environ.get("FL_JOBS", "")  # empty is as good as none
    if jobs is not None:
        os.environ["FL_JOBS"] = str(validate.count("jobs", jobs))
    try:
        yield
    finally:
        os.environ["FL_JOBS"] = before


def _prepare(client) -> None:
    """Let the scheduler and all workers, later ones too, import what this process can."""
    from distributed import WorkerPlugin

    known = list(sys.path)

    def extend():  # travels by value: nothing of this package is known there yet
        import sys

        sys.path += [path for path in known if path not in sys.path]
        import fl.store  # noqa: F401

    class Paths(WorkerPlugin):
        def setup(self, worker):
            extend()

    client.run_on_scheduler(extend)
    client.register_plugin(Paths())
