"""One sweep from the command line: checked, counted, its failures kept."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fl import stored, sweep_file
from fl.cluster import workers
from fl.store import Tally, UnitsFailed, cache_folder, tally


@dataclass(frozen=True)
class Job:
    """What to run, checked before any work.

    Attributes:
        name: of a stored run, or a file GRID.toml.
        scale: of a stored run.
        folder: for the file of a stored run.
        out: a further file, .nc or .parquet; a grid gets GRID.nc if None.

    Raises:
        ValueError: for a grid that cannot be read, or a file that cannot be written.
    """

    name: str
    scale: str
    folder: Path | None = None
    out: Path | None = None
    grid: dict | None = field(init=False, default=None)

    def __post_init__(self):
        if self.name.endswith(".toml"):
            path = Path(self.name)
            object.__setattr__(self, "grid", sweep_file.read(path))
            object.__setattr__(self, "out", self.out or path.with_suffix(".nc"))
        if self.out is not None:
            stored.check_target(self.out)

    def make(self) -> Path:
        """Run it and return the file with the results."""
        if self.grid is not None:
            return stored.export(sweep_file.run(self.grid), self.out)
        path = stored.make(self.name, self.scale, self.folder)
        if self.out is None:
            return path
        return stored.export(stored.read(self.name, self.folder), self.out)


def carry_out(
    job: Job, jobs: int | None, scheduler: str | None, tell: Callable[[str], None]
) -> bool:
    """Run ``job`` with ``jobs`` processes or on the cluster of ``scheduler`` (`workers`);
    return whether every unit succeeded.

    ``tell`` is given the file of the results, a line for the units computed, found in the
    store and failed, and one for each failure; tracebacks go to a file in the store.
    """
    with tally() as found:
        try:
            with workers(jobs, scheduler):
                tell(str(job.make()))
        except UnitsFailed as error:
            tell(str(error))
    counts = f"{found.done} computed, {found.cached} found in the store"
    tell(f"units: {counts}, {len(found.failed)} failed")
    _keep(found, cache_folder() / f"{Path(job.name).stem}.failed.txt", tell)
    return not found.failed


def _keep(found: Tally, path: Path, tell: Callable[[str], None]) -> None:
    """Write the tracebacks of what failed, or take away those of an earlier time."""
    if not found.failed:
        path.unlink(missing_ok=True)
        return
    parts = [f"{dict(unit.arguments)}\n{unit.trace}" for unit in found.failed]
    path.write_text("\n".join(parts), encoding="utf-8")
    for unit in found.failed:
        tell(f"failed at {dict(unit.arguments)}: {unit.error}")
    tell(f"tracebacks: {path}")
