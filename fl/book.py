"""What a chapter calls: set-up, check lines, numbers for the prose, and the scoreboard."""

import os
import sys
from collections.abc import Iterable

from fl import validate
from fl.evidence import CLAIMS, Verdict, verify_all
from fl.registry import select
from fl.scales import SCALES

_SIGNS = {"equal": "= {} ± {}", "at most": "≤ {} + {}", "at least": "≥ {} − {}"}


def scale() -> str:
    """Return the scale the chapters run at: ``FL_SCALE``, or ``book``.

    Raises:
        ValueError: if ``FL_SCALE`` is no scale.
    """
    return validate.choice("FL_SCALE", os.environ.get("FL_SCALE") or "book", SCALES)


def setup() -> None:
    """Fix the figure style and one thread per process, so that no number depends on the
    cores of the machine.
    """
    from fl import plotting

    os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    if "torch" in sys.modules:  # one that is imported later reads the environment
        sys.modules["torch"].set_num_threads(1)
    plotting.style()


def check(*ids: str) -> None:
    """Evaluate the claims ``ids``, several at a time, and print a line for each.

    A line names what does not change from machine to machine: the prediction and the
    tolerance to two digits. Stored verdicts are read where nothing has changed.

    Raises:
        AssertionError: if a claim does not hold or its control does not fail, with all
            numbers.
        ValueError: for an unknown id.
    """
    known = [c.id for c in select({id.partition(".")[0] for id in ids})]
    for id in ids:
        validate.choice("claim", id, known)
    for v in verify_all([CLAIMS[id] for id in ids], scale()):
        if not v.holds:
            raise AssertionError(
                f"{v.id} does not hold: measured {v.measured:.4g}, predicted "
                f"{v.relation} {v.predicted:.4g}, tolerance {v.tolerance:.2g} "
                f"({v.relation}; {v.reason})"
            )
        if not v.control_fails:
            raise AssertionError(
                f"{v.id} is a broken claim: its control ({v.control}) passes the same "
                "check"
            )
        expected = f"{v.relation} {v.predicted:.2g}, tolerance {v.tolerance:.1g}"
        print(f"{v.id}: PASS ({expected}; control fails)")


def glue(name: str, value, spec: str = ".3g") -> None:
    """Store ``value``, rounded by the format ``spec``, as ``name`` for the prose."""
    from myst_nb import glue as store  # only a chapter needs the book's tool chain

    store(name, rounded(value, spec), display=False)


def show(label: str, value, spec: str = ".3g") -> None:
    """Print ``label`` and ``value`` on a line, the value `rounded` by ``spec``."""
    print(f"{label}: {rounded(value, spec)}")


def rounded(value, spec: str = ".3g") -> str:
    """Return a number in the format ``spec``; a string ``value`` stays as it is.

    >>> rounded(3.14159), rounded("pi")
    ('3.14', 'pi')
    """
    return value if isinstance(value, str) else format(value, spec)


def table(head: list[str], rows: list[list]) -> None:
    """Display a table with the titles ``head``, its ``rows`` `rounded` cell by cell."""
    from IPython.display import Markdown, display

    # a bar of the mathematics is not a column's end
    cells = [[rounded(c).replace("|", r"\|") for c in row] for row in [head, *rows]]
    lines = [" | ".join(line) for line in [cells[0], ["---"] * len(head), *cells[1:]]]
    display(Markdown("\n".join(f"| {line} |" for line in lines)))


def verdicts(names: Iterable[str] = ()) -> list[Verdict]:
    """Return the verdicts of the claims or topics ``names``, of all claims for none."""
    return verify_all(select(names), scale())


def scoreboard(*names: str) -> None:
    """Display the claims or topics ``names``, or all claims, with their verdicts."""
    rows = []
    for v in verdicts(names):
        measured = _SIGNS[v.relation].format(f"{v.predicted:.2g}", f"{v.tolerance:.1g}")
        row = [f"[{v.id}]({v.topic}.md)", v.statement, v.source.removeprefix("paper ")]
        verdict = "stands" if v.stands else "**FAILS**"
        rows.append([*row, measured, v.control, verdict])
    titles = ["claim", "statement", "source", "measured"]
    table([*titles, "control that must fail", "verdict"], rows)
