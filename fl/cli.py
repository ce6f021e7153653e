"""Theorems on feature learning, predicted, simulated and held against each other.

Exit codes: 0 all is well; 1 a claim does not stand or is not sound; 2 a bad argument;
3 anything else. An error is one line; ``fl --debug COMMAND`` shows where it came from.
"""

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from fl import audit as audits
from fl import stored, validate
from fl.evidence import Claim, verify_all
from fl.registry import TOPICS, listed, runs, select
from fl.scales import SCALES

app = typer.Typer(
    no_args_is_help=True,
    help=__doc__,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
Scale = StrEnum("Scale", {s: s for s in SCALES})


def _complete(begun: str) -> list[str]:
    names = [*TOPICS, *(id for id, _, _ in listed())]
    return [name for name in names if name.startswith(begun)]


_SHAPE = {"metavar": "[IDS or TOPICS]...", "autocompletion": _complete}
Names = Annotated[list[str] | None, typer.Argument(**_SHAPE)]
Sizes = Annotated[
    Scale, typer.Option(help="Sizes: seconds, the book's, or the papers'.")
]
Json = Annotated[
    Path | None, typer.Option("--json", help="Write the numbers to this file.")
]
Jobs = Annotated[
    int | None, typer.Option(min=1, help="Worker processes; all cores if not given.")
]


def main() -> None:
    """Run the command line: an error is one line, and its traceback comes on demand."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a statement may hold any letter
            stream.reconfigure(encoding="utf-8")
    try:
        app()
    except Exception as error:
        if os.environ.get("FL_DEBUG"):
            raise
        said = " ".join(str(error).split()) or type(error).__name__
        print(f"fl: {said} (fl --debug shows where)", file=sys.stderr)
        sys.exit(3)


@app.callback()
def settings(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error.")
    ] = False,
) -> None:
    """What holds for every command: ``debug`` shows the traceback of an error."""
    if debug:
        os.environ["FL_DEBUG"] = "1"


@app.command("list")
def list_claims(names: Names = None) -> None:
    """List the claims: id, source, statement. Example: `fl list gram`"""
    known, asked = listed(), set(names or [])
    for name in asked:
        topic = name.partition(".")[0]
        near = [id for id, _, _ in known if id.partition(".")[0] == topic]
        with _refused():
            validate.choice("claim or topic", name, [*near, *TOPICS])
    table = Table(Column("claim", no_wrap=True), "source", "statement")
    for id, source, statement in known:
        if not asked or {id, id.partition(".")[0]} & asked:
            table.add_row(id, source, escape(statement))
    _console().print(table)


@app.command("why")
def show_why(names: Annotated[list[str], typer.Argument(**_SHAPE)]) -> None:
    """Show what claims rest on, down to definitions, and what of it no claim checks.

    Example: `fl why unified.same_sample`
    """
    from fl.statements import why

    for claim in _select(names):
        _console().print(why(claim))


@app.command()
def verify(
    names: Names = None,
    scale: Sizes = Scale.book,
    json_path: Json = None,
    jobs: Jobs = None,
    block: Annotated[int, typer.Option(min=0, help="Of seeds; 0 is the book's.")] = 0,
) -> None:
    """Evaluate claims and their controls; exit code 1 unless all of them stand.

    Example: `fl verify gram ood.reversal --scale smoke --json verdicts.json`
    """
    chosen = _select(names)
    _check_folder(json_path)
    verdicts = verify_all(chosen, scale.value, jobs, block)
    names = "predicted measured tolerance s.e. holds control fails sharpness s".split()
    table = Table(Column("claim", no_wrap=True), *names)
    for v in verdicts:
        table.add_row(
            v.id,
            f"{v.relation.replace('equal', '')} {v.predicted:.4g}".strip(),
            f"{v.measured:.4g}",
            f"{v.tolerance:.3g}",
            "" if v.standard_error is None else f"{v.standard_error:.1e}",
            _mark(v.holds),
            f"{v.control_measured:.4g}",
            _mark(v.control_fails),
            f"{v.sharpness:.1f}" if v.sharp else f"[yellow]{v.sharpness:.1f}[/]",
            f"{v.seconds:.1f}",
        )
    _console().print(table)
    _write_json(json_path, [v.record() for v in verdicts])
    failed = [v.id for v in verdicts if not v.stands]
    stand = f"{len(verdicts) - len(failed)} of {len(verdicts)} claims stand"
    print(f"{stand} at scale {scale.value}")
    if failed:
        print("not standing: " + ", ".join(failed))
        raise typer.Exit(1)


@app.command()
def audit(
    names: Names = None,
    scale: Sizes = Scale.book,
    blocks: Annotated[
        int | None,
        typer.Option(min=1, help="Of fresh seeds; 20, 10 and 3 at the three scales."),
    ] = None,
    jobs: Jobs = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Store it for the scoreboard.")
    ] = False,
) -> None:
    """Ask claims and controls again on fresh blocks of seeds; exit code 1 unless all are
    sound: a claim holds, and its control fails, in at least 95 % of the blocks; one that
    misses that is asked on four times as many. What is finished is not lost.

    Example: `fl audit gram --scale smoke --blocks 40`
    """
    chosen = _select(names)
    if keep and (names or scale is not Scale.book):
        raise typer.BadParameter("--keep stores all claims at the scale book alone")
    data = audits.audit(chosen, scale.value, blocks, jobs)
    columns = "blocks,held,control failed,margin,worst,sharpness,stood,sound".split(",")
    table = Table(Column("claim", no_wrap=True), *columns)
    found = audits.summaries(data)
    for id, row in found.items():
        numbers = [f"{row[k]:.3g}" for k in row if k not in ("sound", "source")]
        table.add_row(id, *numbers, _mark(row["sound"]))
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
    name: Annotated[
        str, typer.Argument(help="Name of a stored run, or a file GRID.toml.")
    ],
    scale: Sizes = Scale.paper,
    folder: Annotated[
        Path | None, typer.Option(help="A new one, unless the scale is paper's.")
    ] = None,
    jobs: Jobs = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a running Dask scheduler.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="FILE.nc or FILE.parquet for the results.")
    ] = None,
) -> None:
    """Make a large run that the book shows and store it with its seeds and versions, or
    run a grid of your own (a TOML file, see the page on reproducing).

    Finished units are never computed twice. Exit code 1 if a unit failed; the others go
    on. Only the paper scale replaces the file that the book reads.

    Example: `fl sweep noise --scale smoke --folder runs --jobs 4`
    """
    from fl.sweep_run import Job, carry_out  # what only a sweep needs

    with _refused():
        if not name.endswith(".toml"):
            validate.choice("name", name, sorted(runs()))
            if folder is None and scale is Scale.paper:
                folder = stored.FOLDER
            folder = folder or Path(tempfile.mkdtemp(prefix="fl-"))
        job = Job(name, scale.value, folder, out)
    if not carry_out(job, jobs, scheduler, print):
        raise typer.Exit(1)


@app.command()
def meter(
    target: Annotated[str, typer.Argument(metavar="SCRIPT.py:make")],
    json_path: Json = None,
    seed: Annotated[int, typer.Option(min=0, help="Of gradients and bases.")] = 0,
) -> None:
    """Read the two exponents of the optimizer that make(params) returns.

    Example: `fl meter mine.py:make --json mine.json`
    """
    from fl.meter_script import benches, records  # torch is for those who need it

    _check_folder(json_path)
    with _refused():
        found = records(target, benches(target, seed))
    table = Table("basis", *"left s.e. right s.e. kappa".split())
    for _, basis, *numbers in map(dict.values, found):
        table.add_row(basis, *("none" if x is None else f"{x:.3f}" for x in numbers))
    _console().print(table)
    _write_json(json_path, found)


@app.command()
def diagnose(
    file: Annotated[Path, typer.Argument(help=".csv, .tsv, .parquet, .npz or .npy")],
    target: Annotated[str, typer.Option(help="Name of the column to predict.")],
    raw: Annotated[bool, typer.Option("--raw", help="Keep the units.")] = False,
    json_path: Json = None,
    html_path: Annotated[
        Path | None, typer.Option("--html", help="Write a page to this file.")
    ] = None,
) -> None:
    """Ask a table which power of the input covariance ridge regression should use, and
    whether it can tell. One pass over the rows; columns that cannot be used are named.

    Example: `fl diagnose houses.csv --target price --html houses.html`
    """
    from fl.diagnose_page import written
    from fl.diagnose_run import diagnose_file

    _check_folder(json_path)
    _check_folder(html_path, "--html")
    with _refused():
        report = diagnose_file(file, target, standardise=not raw)
    _console().print(report)
    _write_json(json_path, report.record())
    if html_path is not None:
        _write(html_path, written(report, "page.html"))


@contextmanager
def _refused() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _select(names: list[str] | None) -> list[Claim]:
    with _refused():
        return select(names or [])


def _check_folder(path: Path | None, option: str = "--json") -> None:
    if path is not None and not path.resolve().parent.is_dir():
        raise typer.BadParameter(f"{option} {path}: its folder must exist")


def _console() -> Console:
    console = Console()
    # a pipe or a log has no width; the 80 columns assumed there would cut the numbers
    return console if console.is_terminal else Console(width=140)


def _mark(good: bool) -> str:
    return "[green]yes[/]" if good else "[bold red]NO[/]"


def _write_json(path: Path | None, records: list | dict) -> None:
    if path is not None:
        _write(path, json.dumps(records, indent=1) + "\n")


def _write(path: Path, text: str) -> None:
    part = path.with_suffix(path.suffix + ".part")
    part.write_text(text, "utf-8")
    part.replace(path)
