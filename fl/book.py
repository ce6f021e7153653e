"""What a chapter calls: set-up, check lines, numbers for the prose, and the scoreboard."""

import os

import torch
from IPython.display import Markdown, display

from fl import claims, plotting, validate


def scale() -> str:
    """Return the scale the chapters run at: ``FL_SCALE``, or ``book``."""
    return os.environ.get("FL_SCALE", "book")


def setup() -> None:
    """Fix the figure style and one thread per process: results do not depend on the
    number of cores.
    """
    torch.set_num_threads(1)
    plotting.style()


def check(*ids: str) -> None:
    """Evaluate claims (from the store where possible, several at a time) and print the
    line of each that stands.

    A line names what does not change from machine to machine: the prediction and the
    tolerance to two digits.

    Raises:
        AssertionError: if a claim does not hold or its control does not fail, with all
            numbers.
        ValueError: for an unknown id.
    """
    for v in claims.verify_all(
        [claims.CLAIMS[validate.choice("claim", id, claims.CLAIMS)] for id in ids],
        scale(),
    ):
        relation = v.relation
        if not v.holds:
            raise AssertionError(
                f"{v.id} does not hold: measured {v.measured:.4g}, predicted {relation} {v.predicted:.4g}, "
                f"tolerance {v.tolerance:.2g} ({v.relation}; {v.reason})"
            )
        if not v.control_fails:
            raise AssertionError(
                f"{v.id} is a broken claim: its control ({v.control}) passes the same check"
            )
        print(
            f"{v.id}: PASS ({relation} {v.predicted:.2g}, tolerance {v.tolerance:.1g}; control fails)"
        )


def glue(name: str, value, spec: str = ".3g") -> None:
    """Store ``value``, rounded by the format ``spec``, under ``name`` for the prose of
    this page.
    """
    from myst_nb import glue as store  # only a chapter needs the book's tool chain

    store(name, value if isinstance(value, str) else format(value, spec), display=False)


def show(label: str, value, spec: str = ".3g") -> None:
    """Print ``label: value`` on a line; a number with three significant digits.

    Args:
        label: what the value is.
        value: a number, or a string, which is printed as it is.
        spec: format of a number.
    """
    print(f"{label}: {value if isinstance(value, str) else format(value, spec)}")


def table(head: list[str], rows: list[list]) -> None:
    """Display a table; numbers that are not strings already are rounded to three
    significant digits.
    """
    cells = [
        [c if isinstance(c, str) else format(c, ".3g") for c in row]
        for row in [head, *rows]
    ]
    cells = [
        [c.replace("|", r"\|") for c in row] for row in cells
    ]  # a bar of the mathematics is not a column's end
    lines = [" | ".join(line) for line in [cells[0], ["---"] * len(head), *cells[1:]]]
    display(Markdown("\n".join(f"| {line} |" for line in lines)))


def scoreboard(*names: str) -> None:
    """Display every claim (or those of the named topics) with its verdict, evaluated at
    this book's scale.
    """
    signs = {"equal": "= {} ± {}", "at most": "≤ {} + {}", "at least": "≥ {} − {}"}
    rows = []
    for v in claims.verify_all(claims.select(names), scale()):
        check = signs[v.relation].format(f"{v.predicted:.2g}", f"{v.tolerance:.1g}")
        verdict = "stands" if v.stands else "**FAILS**"
        name, source = f"[{v.id}]({v.topic}.md)", v.source.removeprefix("paper ")
        rows.append([name, v.statement, source, check, v.control, verdict])
    table(
        [
            "claim",
            "statement",
            "source",
            "measured",
            "control that must fail",
            "verdict",
        ],
        rows,
    )
