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
        client.register_plugin(_paths(list(sys.path)))
        threads = sum(client.nthreads().values())
        with joblib.parallel_config(backend="dask"), _jobs(jobs or max(threads, 2)):
            yield


@contextmanager
def _jobs(jobs: int | None) -> Iterator[None]:
    before = os.environ.get("FL_JOBS")
    if jobs is not None:
        os.environ["FL_JOBS"] = str(validate.count("jobs", jobs))
    try:
        yield
    finally:
        if before is not None:
            os.environ["FL_JOBS"] = before
        elif jobs is not None:
            del os.environ["FL_JOBS"]


def _paths(known: list[str]):
    """Return a plugin that lets workers, later ones too, import what this process can."""
    from distributed import WorkerPlugin

    class Paths(WorkerPlugin):
        def setup(self, worker):
            import sys

            sys.path += [path for path in known if path not in sys.path]

    return Paths()
