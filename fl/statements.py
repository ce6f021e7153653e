"""What a claim rests on: the boxes of the book's pages and other claims, down to the ground.

A claim says what it uses in its decorator. A box uses what it refers to, in its text and in
the lines after it up to the next heading, cell of code or box: its source and proof.
"""

import re
from itertools import chain
from typing import NamedTuple

from rich.markup import escape
from rich.tree import Tree

from fl.book import BOOK, scale
from fl.evidence import Claim, Verdict, record
from fl.registry import select, uses
from fl.store import peek

_BOX = re.compile(
    r"^`{3,}\{prf:(\w+)\} ([^\n;]*).*?\n:label: (\S+)\n"
    r"(.*?)(?=^#|^`{3,}\{(?:prf:|code-cell)|\Z)",
    re.M | re.S,
)
_PART = re.compile(r"numbered: true(.*?)(?=- caption:|\Z)", re.S)
_REF = re.compile(r"\{prf:ref\}`([^`]+)`")


class Box(NamedTuple):
    """A box: its ``name``, a kind and a number, its title, the page that it is on, the boxes
    that it ``uses``, by their labels, and its ``text`` with source and proof.
    """

    name: str
    title: str
    page: str
    uses: tuple[str, ...]
    text: str


def boxes() -> dict[str, Box]:
    """Return the boxes of the book by label, in reading order.

    Raises:
        FileNotFoundError: if the sources of the book are not beside the package.
    """
    found = {}
    for chapter, page in enumerate(_numbered(), 1):
        text = (BOOK / f"{page}.md").read_text("utf-8")
        for count, box in enumerate(_BOX.findall(text), 1):
            kind, title, label, said = box
            name = f"{kind.capitalize()} {chapter}.{count}"
            refs = dict.fromkeys(_REF.findall(said))
            found[label] = Box(name, title, page, tuple(refs), said)
    return found


def _numbered() -> list[str]:
    """Return the pages of the numbered parts, in reading order."""
    toc = BOOK.with_name("_toc.yml")
    if not toc.is_file():
        raise FileNotFoundError(
            f"{BOOK}: the book's sources are not beside the package"
        )
    parts = _PART.findall(toc.read_text("utf-8"))
    return re.findall(r"file: book/(\w+)", "".join(parts))


def why(claim: Claim) -> Tree:
    """Return the tree of what a ``claim`` rests on, in words; the verdicts are those that
    are stored, and nothing is evaluated.
    """
    claims, known = uses(), boxes()
    below = claims | {label: box.uses for label, box in known.items()}
    checked = set(chain(*claims.values()))

    def grow(name: str, tree: Tree) -> Tree:
        words = name
        if name in claims:
            words = _words(*select([name]))
        elif name in known:
            box = known[name]
            mark = "" if name in checked else ", [yellow]no claim checks it[/]"
            words = f"[cyan]{box.name}[/] {box.title} ({box.page}, {name}){mark}"
        branch = tree.add(words)
        for other in below.get(name, ()):
            grow(other, branch)
        return branch

    return grow(claim.id, Tree(""))


def _words(claim: Claim) -> str:
    fields = peek(record, claim=claim, scale=scale(), block=0)
    verdict = "[yellow]not evaluated here[/]"
    if fields is not None:
        stands = Verdict(**fields).stands
        verdict = "[green]stands[/]" if stands else "[bold red]FAILS[/]"
    said = escape(claim.statement)
    return f"[bold]{claim.id}[/] {claim.source}, {verdict}: {said}"
