"""One sweep from the command line: checked, counted, its failures kept."""

from collections.abc import Callable
from pathlib import Path

from fl import stored, sweep_file
from fl.cluster import workers
from fl.store import Tally, UnitsFailed, cache_folder, tally


def prepared(
    name: str, scale: str, folder: Path | None, out: Path | None
) -> Callable[[], Path]:
    """Return what runs a sweep and returns the file with the results; checked before any
    work.

    Args:
        name: of a stored run, or a file GRID.toml.
        scale: of a stored run.
        folder: for the file of a stored run.
        out: a further file, .nc or .parquet; a grid gets GRID.nc if None.

    Raises:
        ValueError: for a grid that cannot be read, or a file that cannot be written.
    """
    path, grid = Path(name), None
    if name.endswith(".toml"):
        grid = sweep_file.read(path)
        out = out or path.with_suffix(".nc")
    if out is not None:
        stored.check_target(out)

    def make() -> Path:
        if grid is not None:
            return stored.export(sweep_file.run(grid), out)
        made = stored.make(name, scale, folder)
        return made if out is None else stored.export(stored.read(name, folder), out)

    return make


def carry_out(
    name: str,
    make: Callable[[], Path],
    jobs: int | None,
    scheduler: str | None,
    tell: Callable[[str], None],
) -> bool:
    """Run what is `prepared` as ``make`` for ``name``, with ``jobs`` processes or on the
    cluster of ``scheduler`` (`workers`); return whether every unit succeeded.

    ``tell`` is given the file of the results, a line for the units computed, found in the
    store and failed, and one for each failure; tracebacks go to a file in the store.
    """
    with tally() as found, workers(jobs, scheduler):
        try:
            tell(str(make()))
        except UnitsFailed as error:
            tell(str(error))
    counts = f"{found.done} computed, {found.cached} found in the store"
    tell(f"units: {counts}, {len(found.failed)} failed")
    _keep(found, cache_folder() / f"{Path(name).stem}.failed.txt", tell)
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
