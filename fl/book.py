"""What a chapter calls: set-up, check lines, numbers for the prose, and the scoreboard."""

import functools
import os
import re
import sys
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fl import audit, validate
from fl.evidence import CLAIMS, SHARP, Verdict, verify_all
from fl.keys import function_name
from fl.registry import chosen, select
from fl.scales import SCALES

BOOK = Path(__file__).resolve().parent.parent / "book"
_RELATIONS = {"equal": "", "at most": "at most ", "at least": "at least "}
_audit = functools.cache(audit.known)


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
    """Evaluate the claims ``ids``, several at a time, and show a line for each.

    A line gives every number to the digits that do not change from machine to machine,
    and links to the scoreboard. Stored verdicts are read where nothing has changed.

    Raises:
        AssertionError: if a claim does not stand, with all numbers.
        ValueError: for an unknown id.
    """
    found = verify_all(chosen(ids), scale())
    for v in found:
        if not v.stands:
            raise AssertionError(_complaint(v))
    from IPython.display import display

    display(_Lines(found))


def _complaint(v: Verdict) -> str:
    numbers = (
        f"measured {v.measured:.4g}, predicted {v.relation} {v.predicted:.4g}, tolerance "
        f"{v.tolerance:.2g} ({v.reason})"
    )
    if not v.holds:
        return f"{v.id} does not hold: {numbers}"
    gave = f"its control ({v.control}) gave {v.control_measured:.4g}"
    if not v.control_fails:
        expected = v.control_expected
        rival = "" if expected is None else f", where {expected:.4g} is expected"
        return f"{v.id} is a broken claim: {gave}{rival}; {numbers}"
    return (
        f"{v.id} is blunt: {gave}, {v.sharpness:.2g} tolerances from the prediction where "
        f"{SHARP:g} are asked for; {numbers}"
    )


class _Lines(NamedTuple):
    """The check lines of some verdicts, in a terminal and on a page."""

    found: list[Verdict]

    def __repr__(self) -> str:
        return "\n".join(f"{v.id}: {line(v)}" for v in self.found)

    def _repr_html_(self) -> str:
        rows = [
            f'<a id="claim-{v.id}" href="scoreboard.html#row-{v.id}">{v.id}</a>: '
            f"{escape(line(v))}"
            for v in self.found
        ]
        return f'<pre class="fl-check">{"<br>".join(rows)}</pre>'


def line(v: Verdict) -> str:
    """Return what the verdict ``v`` measured, what was predicted, what the control gave,
    and in how many blocks of the stored audit the claim stood.
    """
    predicted = f"{_RELATIONS[v.relation]}{v.predicted:.3g}"
    fails = "fails" if v.control_fails else "PASSES"
    control = f"control {_two(v.control_measured)} {fails}"
    numbers = (
        f"measured {_measured(v)}, predicted {predicted}, tolerance {v.tolerance:.3g}"
    )
    verdict = "PASS" if v.stands else "FAIL"
    row = _audit().get(v.id)
    audited = "" if row is None else f", audit {row['stood']}/{row['blocks']}"
    return (
        f"{verdict}, {v.source} ({numbers}; {control}, sharpness {_sharp(v)}{audited})"
    )


def _measured(v: Verdict) -> str:
    """Return the measurement and its standard error, to a tenth of the tolerance, without
    one to the digit of the error, and no more than three digits: what another machine may
    round differently is left out, and what is less than its own error is no number.
    """
    unit, spread = v.tolerance, v.standard_error or 0.0
    error = "" if v.standard_error is None else f" ± {spread:.1g}"
    if unit == spread == 0:
        return f"{v.measured:.3g}{error}"
    places = int(np.floor(np.log10(unit or 10 * spread))) - 1
    value = round(v.measured, -places)
    if value and abs(v.measured) < spread:
        step = 10.0 ** np.floor(np.log10(spread))
        return f"below {np.ceil(spread / step) * step:.1g}"
    if value or not v.measured:
        return f"{value:.3g}{error}"
    return f"below 1e{places}"


def _sharp(v: Verdict) -> str:
    return "over 1000" if v.sharpness > 1000 else _two(v.sharpness)


def _two(value: float) -> str:
    """Return a number with two digits, as ``360``, not ``3.6e+02``."""
    return f"{float(f'{value:.2g}'):g}"


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

    Raises:
        ValueError: for anything else.
    """
    try:
        return value if isinstance(value, str) else format(value, spec)
    except (TypeError, ValueError):
        raise ValueError(
            f"value = {value!r}: must be a text, or a number that {spec!r} can format"
        ) from None


def table(head: list[str], rows: list[list]) -> None:
    """Display a table with the titles ``head``, its ``rows`` `rounded` cell by cell."""
    from IPython.display import Markdown, display

    # a bar of the mathematics is not a column's end
    cells = [[rounded(c).replace("|", r"\|") for c in row] for row in [head, *rows]]
    cells.insert(1, ["---"] * len(head))
    lines = [f"| {' | '.join(row)} |" for row in cells]
    display(Markdown("\n".join(lines)))


def verdicts(names: Iterable[str] = ()) -> list[Verdict]:
    """Return the verdicts of the claims or topics ``names``, of all claims for none."""
    return verify_all(select(names), scale())


def scoreboard(*names: str) -> None:
    """Display the claims or topics ``names``, or all claims, with their verdicts and the
    stored audit.
    """
    audited, pages = _audit(), _pages()
    rows = [_row(v, audited.get(v.id), pages) for v in verdicts(names)]
    table(["claim", "measurement", "control that must fail", "verdict"], rows)


def _row(v: Verdict, audited: dict | None, pages: dict[str, str]) -> list[str]:
    module, _, name = function_name(CLAIMS[v.id].function).rpartition(".")
    page = pages.get(v.id, v.topic)
    predicted = f"predicted {_RELATIONS[v.relation]}{v.predicted:.3g}"
    measured = f"measured {_measured(v)}", f"tolerance {v.tolerance:.3g}"
    gave = f"gave {v.control_measured:.2g}"
    if v.control_expected is not None:
        gave += f", expected {v.control_expected:.2g} ± {v.control_within:.1g}"
    # the built book puts links to the prediction and the experiment before this one
    place = f"../_modules/{module.replace('.', '/')}.html#{name}"
    link = f'<a href="{place}">claim and control</a>'
    title = f'<a id="row-{v.id}" href="{page}.html#claim-{v.id}">{v.id}</a>'
    words = audit.words(audited, CLAIMS[v.id])
    return [
        "<br>".join([title, v.statement, f"*{v.source}* · code: {link}"]),
        "<br>".join([predicted, *measured, words]),
        "<br>".join([v.control, gave, f"sharpness {_sharp(v)}"]),
        "stands" if v.stands else "**FAILS**",
    ]


def _pages() -> dict[str, str]:
    """Return on which page each claim is checked."""
    found = {}
    for page in sorted(BOOK.glob("*.md")):
        for call in re.findall(r"fl\.check\(([^)]*)\)", page.read_text("utf-8")):
            found |= dict.fromkeys(re.findall(r'"([\w.]+)"', call), page.stem)
    return found
