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
from fl.registry import TOPICS, listed, named, runs, select
from fl.scales import Scale
from fl.store import aside

app = typer.Typer(
    no_args_is_help=True,
    help=__doc__,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _complete(begun: str) -> list[str]:
    ids = (id for id, _, _ in listed())
    return [name for name in (*TOPICS, *ids) if name.startswith(begun)]


def _writable(param: typer.CallbackParam, path: Path | None) -> Path | None:
    if path is not None and not path.resolve().parent.is_dir():
        raise typer.BadParameter(f"{param.opts[0]} {path}: its folder must exist")
    return path


_SHAPE = {"metavar": "[IDS or TOPICS]...", "autocompletion": _complete}
Names = Annotated[list[str] | None, typer.Argument(**_SHAPE)]
Sizes = Annotated[
    Scale, typer.Option(help="Sizes: seconds, the book's, or the papers'.")
]
Json = Annotated[
    Path | None,
    typer.Option("--json", callback=_writable, help="Write the numbers to this file."),
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
    known = {id: words for id, *words in listed()}
    with _refused():
        asked = named(names or [], known)
    table = Table(Column("claim", no_wrap=True), "source", "statement")
    for id in asked:
        table.add_row(id, *map(escape, known[id]))
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
    scale: Sizes = "book",
    json_path: Json = None,
    jobs: Jobs = None,
    block: Annotated[int, typer.Option(min=0, help="Of seeds; 0 is the book's.")] = 0,
) -> None:
    """Evaluate claims and their controls; exit code 1 unless all of them stand.

    Example: `fl verify gram ood.reversal --scale smoke --json verdicts.json`
    """
    verdicts = verify_all(_select(names), scale, jobs, [block])
    columns = (
        "predicted measured tolerance s.e. holds control fails sharpness s".split()
    )
    table = Table(Column("claim", no_wrap=True), *columns)
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
    good = {v.id: v.stands for v in verdicts}
    _conclude(good, f"stand at scale {scale}", "standing")


@app.command()
def audit(
    names: Names = None,
    scale: Sizes = "book",
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
    if keep and (names or scale != "book"):
        raise typer.BadParameter("--keep stores all claims at the scale book alone")
    data = audits.audit(chosen, scale, blocks, jobs)
    columns = "blocks,held,control failed,margin,worst,sharpness,stood,sound".split(",")
    table = Table(Column("claim", no_wrap=True), *columns)
    found = audits.summaries(data)
    for id, row in found.items():
        *numbers, sound, _ = row.values()
        table.add_row(id, *(f"{x:.3g}" for x in numbers), _mark(sound))
    _console().print(table)
    if keep:
        print(stored.write(data, "audit", "fl audit --keep"))
    good = {id: row["sound"] for id, row in found.items()}
    _conclude(good, "are sound", "sound")


@app.command()
def sweep(
    name: Annotated[
        str, typer.Argument(help="Name of a stored run, or a file GRID.toml.")
    ],
    scale: Sizes = "paper",
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
    from fl.sweep_run import carry_out, prepared  # what only a sweep needs

    with _refused():
        if not name.endswith(".toml"):
            validate.choice("name", name, sorted(runs()))
            if folder is None and scale == "paper":
                folder = stored.FOLDER
            folder = folder or Path(tempfile.mkdtemp(prefix="fl-"))
        make = prepared(name, scale, folder, out)
    if not carry_out(name, make, jobs, scheduler, print):
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
        Path | None,
        typer.Option("--html", callback=_writable, help="Write a page to this file."),
    ] = None,
) -> None:
    """Ask a table which power of the input covariance ridge regression should use, and
    whether it can tell. One pass over the rows; columns that cannot be used are named.

    Example: `fl diagnose houses.csv --target price --html houses.html`
    """
    from fl.diagnose_page import written
    from fl.diagnose_run import diagnose_file

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


def _console() -> Console:
    console = Console()
    # a pipe or a log has no width; the 80 columns assumed there would cut the numbers
    return console if console.is_terminal else Console(width=140)


def _conclude(good: dict[str, bool], said: str, word: str) -> None:
    """Say how many claims are ``good``, and which are not ``word``: the exit code is 1."""
    bad = [id for id, fine in good.items() if not fine]
    print(f"{len(good) - len(bad)} of {len(good)} claims {said}")
    if bad:
        print(f"not {word}: {', '.join(bad)}")
        raise typer.Exit(1)


def _mark(good: bool) -> str:
    return "[green]yes[/]" if good else "[bold red]NO[/]"


def _write_json(path: Path | None, records: list | dict) -> None:
    if path is not None:
        _write(path, json.dumps(records, indent=1) + "\n")


def _write(path: Path, text: str) -> None:
    with aside(path) as part:
        part.write_text(text, "utf-8")
