"""The command line: ``fl list``, ``fl verify``, ``fl audit``, ``fl sweep``."""

import json
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from fl import audit as audits
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
    if json_path is not None and not json_path.resolve().parent.is_dir():
        raise typer.BadParameter(f"--json {json_path}: its folder must exist")
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
def audit(
    names: Names = None,
    scale: Annotated[
        Scale, typer.Option(help="Sizes: seconds, the book's, or the papers'.")
    ] = Scale.book,
    blocks: Annotated[
        int | None,
        typer.Option(min=1, help="Of fresh seeds; 20, 10 and 3 at the three scales."),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Worker processes; all cores if not given."),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Store it for the scoreboard.")
    ] = False,
) -> None:
    """Ask claims and controls again on fresh blocks of seeds, e.g. `fl audit gram --scale
    smoke`; exit code 1 if a claim is not sound: it holds, and its control fails, in at
    least 95 % of the blocks. What is finished when a run is killed is not lost.
    """
    chosen = _select(names)
    if keep and (names or scale is not Scale.book):
        raise typer.BadParameter("--keep stores all claims at the scale book alone")
    data = audits.audit(chosen, scale.value, blocks, jobs)
    columns = [
        "blocks",
        "held",
        "control failed",
        "margin",
        "worst",
        "sharpness",
        "sound",
    ]
    table = Table(Column("claim", no_wrap=True), *columns)
    found = audits.summaries(data)
    for id, row in found.items():
        counts = [str(row[k]) for k in ("blocks", "held", "control_failed")]
        margins = [f"{row[k]:.2g}" for k in ("median_margin", "worst_margin")]
        least = f"{row['least_sharpness']:.2g}"
        table.add_row(id, *counts, *margins, least, _mark(row["sound"]))
    _console().print(table)
    if keep:
        print(stored.write(data, "audit", "fl audit --keep"))
    unsound = [id for id, row in found.items() if not row["sound"]]
    print(f"{len(found) - len(unsound)} of {len(found)} claims are sound")
    if unsound:
        print("not sound: " + ", ".join(unsound))
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


def _select(names: list[str] | None) -> list[Claim]:
    try:
        return select(names or [])
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


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
