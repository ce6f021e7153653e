"""The command line: ``fl list``, ``fl verify``, ``fl sweep``, ``fl meter``."""

import json
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from fl import stored
from fl.evidence import Claim, verify_all
from fl.registry import runs, select
from fl.scales import SCALES

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help=__doc__,
    pretty_exceptions_enable=False,
)
Scale = StrEnum("Scale", {s: s for s in SCALES})
Names = Annotated[list[str] | None, typer.Argument(metavar="[IDS or TOPICS]...")]


@app.command("list")
def list_claims(names: Names = None) -> None:
    """List the claims: id, source, statement."""
    table = Table(Column("claim", no_wrap=True), "source", "statement")
    for c in _select(names):
        table.add_row(c.id, c.source, escape(c.statement))
    _console().print(table)


@app.command()
def verify(
    names: Names = None,
    scale: Annotated[
        Scale, typer.Option(help="Sizes: seconds, the book's, or the papers'.")
    ] = Scale.book,
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Write the verdicts to this file.")
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Worker processes; all cores if not given."),
    ] = None,
    block: Annotated[int, typer.Option(min=0, help="Of seeds; 0 is the book's.")] = 0,
) -> None:
    """Evaluate claims and their controls; exit code 1 if a claim fails or a control
    passes.
    """
    chosen = _select(names)
    _check_folder(json_path)
    verdicts = verify_all(chosen, scale.value, jobs, block)
    names = "predicted measured tolerance s.e. holds control fails sharpness s".split()
    table = Table(Column("claim", no_wrap=True), *names)
    for v in verdicts:
        relation = v.relation.replace("equal", "")
        error = "" if v.standard_error is None else f"{v.standard_error:.1e}"
        numbers = [f"{relation} {v.predicted:.4g}".strip(), f"{v.measured:.4g}"]
        numbers += [f"{v.tolerance:.3g}", error, _mark(v.holds)]
        control = [f"{v.control_measured:.4g}", _mark(v.control_fails)]
        sharpness = f"{v.sharpness:.1f}" if v.sharp else f"[yellow]{v.sharpness:.1f}[/]"
        table.add_row(v.id, *numbers, *control, sharpness, f"{v.seconds:.1f}")
    _console().print(table)
    if json_path is not None:
        _write_json(json_path, [v.record() for v in verdicts])
    failed = [v.id for v in verdicts if not v.stands]
    stand = len(verdicts) - len(failed)
    print(f"{stand} of {len(verdicts)} claims stand at scale {scale.value}")
    if failed:
        print("not standing: " + ", ".join(failed))
        raise typer.Exit(1)


@app.command()
def sweep(
    name: Annotated[str, typer.Argument(help="Name of a stored run.")],
    scale: Annotated[
        Scale, typer.Option(help="Sizes: seconds, the book's, or the papers'.")
    ] = Scale.paper,
    folder: Annotated[
        Path | None,
        typer.Option(
            help="Where to write; by default a new folder below the paper scale."
        ),
    ] = None,
) -> None:
    """Make a large run that the book shows and store it with its seeds and versions.

    Only the paper scale replaces the file that the book reads.
    """
    runs()
    if folder is None and scale is Scale.paper:
        folder = stored.FOLDER
    folder = folder or Path(tempfile.mkdtemp(prefix="fl-"))
    try:
        print(stored.make(name, scale.value, folder))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


@app.command()
def meter(
    target: Annotated[str, typer.Argument(metavar="SCRIPT.py:make")],
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Write the numbers to this file.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of gradients and bases.")] = 0,
) -> None:
    """Read the two exponents of the optimizer that make(params) returns."""
    from fl.meter_script import benches, records  # torch is for those who need it

    _check_folder(json_path)
    try:
        found = benches(target, seed)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    table = Table("basis", *"left s.e. right s.e. kappa".split())
    for row in records(target, found):
        numbers = list(row.values())[2:]
        table.add_row(
            row["basis"], *("none" if x is None else f"{x:.3f}" for x in numbers)
        )
    _console().print(table)
    if json_path is not None:
        _write_json(json_path, records(target, found))


def _select(names: list[str] | None) -> list[Claim]:
    try:
        return select(names or [])
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _check_folder(path: Path | None) -> None:
    if path is not None and not path.resolve().parent.is_dir():
        raise typer.BadParameter(f"--json {path}: its folder must exist")


def _console() -> Console:
    console = Console()
    # a pipe or a log has no width; the 80 columns assumed there would cut the numbers
    return console if console.is_terminal else Console(width=140)


def _mark(good: bool) -> str:
    return "[green]yes[/]" if good else "[bold red]NO[/]"


def _write_json(path: Path, records: list[dict]) -> None:
    part = path.with_suffix(path.suffix + ".part")
    part.write_text(json.dumps(records, indent=1) + "\n")
    part.replace(path)
