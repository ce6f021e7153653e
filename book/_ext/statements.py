"""What rests on what: pictures and an index of all boxes and claims, where a page asks for them.

The graph is that of ``fl.statements`` and ``fl.registry``; verdicts and audits are those that the
scoreboard shows. The index takes the place of sphinx-proof's own.
"""

import html
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import graph_svg
from docutils import nodes
from graph_data import BOOK, FORMULA, Node, graph, parts, scoreboard, title
from mathml import mathml
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

MACROS = {}  # of the book, set when its configuration has been read
BOX = re.compile(r'(<div class="proof [^"]*" id="([^"]+)">\s*<p class="admonition-title">(?:(?!</p>).)*)</p>', re.S)
HEADS = ("statement", "state", "uses", "used by")
SCRIPT = """<script>
(() => {
  const field = document.getElementById("fl-find"), told = document.getElementById("fl-found");
  const rows = [...document.querySelectorAll(".fl-index tbody tr")];
  const show = () => {
    const words = field.value.toLowerCase().split(/\\s+/);
    for (const row of rows) row.hidden = !words.every((word) => row.dataset.find.includes(word));
    told.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length}`;
  };
  field.closest("p").hidden = false;
  field.addEventListener("input", show);
  show();
})();
</script>"""


@dataclass
class Chapter:
    """A chapter of the overview."""

    key: str
    title: str
    counts: str
    grounded: bool
    href: str

    def words(self) -> str:
        return f"{self.title}: {self.counts}"


def math(text: str) -> str:
    """Return a title for the page, with its formulas."""
    pieces = FORMULA.split(text)
    for k, piece in enumerate(pieces):
        pieces[k] = mathml(piece, False, MACROS) if k % 2 else html.escape(piece)
    return "".join(pieces)


def broken(name: str) -> str:
    """Return a name that may go on in a next line."""
    return html.escape(name).replace("_", "_<wbr>").replace(".", ".<wbr>")


def cell(node: Node) -> str:
    """Return the first cell of a row of the index."""
    where = f'<a href="{node.page}.html">{html.escape(title(node.page))}</a>'
    row = f' · <a href="scoreboard.html#row-{node.key}">verdict</a>' if node.is_claim else ""
    name = f'<a href="{node.href}"><strong>{broken(node.name)}</strong></a>'
    return f'{name}<br>{math(node.title)}<br><span class="fl-small">in {where}{row}</span>'


def index(known: dict[str, Node]) -> str:
    """Return a table of all statements with a field that filters it."""

    def names(keys) -> str:
        return " ".join(f'<a href="#row-{k}">{broken(known[k].name)}</a>' for k in keys) or "–"

    rows = []
    for node in known.values():
        cells = [
            cell(node),
            node.state().replace(", ", "<br>"),
            names(node.uses),
            names(node.users),
        ]
        find = f"{node.key} {node.words()} {title(node.page)}".lower()
        columns = "".join(f"<td>{each}</td>" for each in cells)
        rows.append(f'<tr id="row-{node.key}" data-find="{html.escape(find)}">{columns}</tr>')
    head = "".join(f"<th>{each}</th>" for each in HEADS)
    field = (
        '<p hidden><label for="fl-find">Find</label> <input id="fl-find" type="search" '
        'placeholder="for instance: ridge proved"> <span id="fl-found" role="status"></span></p>'
    )
    return f'{field}<table class="fl-index"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>{SCRIPT}'


def plural(number: int, word: str, end: str) -> str:
    return f"{number} {word}{end if number != 1 else ''}"


def overview(known: dict[str, Node]) -> str:
    """Return the picture of all chapters that have statements."""
    columns, number = [], 0
    for pages in parts():
        made = []
        for number, page in enumerate(pages, number + 1):
            here = [node for node in known.values() if node.page == page]
            if here:
                claims = sum(node.is_claim for node in here)
                boxes = plural(len(here) - claims, "box", "es")
                counts = f"{boxes}, {plural(claims, 'claim', 's')}"
                name = f"{number}. {title(page).partition(':')[0]}"
                grounded = all(node.grounded for node in here)
                made.append(Chapter(page, name, counts, grounded, f"#chapter-{page}"))
        columns.append(made)
    pairs = Counter((known[used].page, node.page) for node in known.values() for used in node.uses)
    return graph_svg.overview(columns, {pair: n for pair, n in pairs.items() if pair[0] != pair[1]})


def chapters(known: dict[str, Node]) -> str:
    """Return a heading and a picture for each chapter."""
    made = []
    for page in (page for part in parts() for page in part):
        here = [node for node in known.values() if node.page == page]
        boxes = [node for node in here if not node.is_claim]
        order = {node.key: i for i, node in enumerate(boxes)}
        claims = [node for node in here if node.is_claim]
        claims.sort(key=lambda node: min((order.get(used, 99) for used in node.uses), default=99))
        if here:
            name = f'<a href="{page}.html">{html.escape(title(page))}</a>'
            drawing = graph_svg.chapter(boxes, claims, known)
            made.append(f'<h3 class="fl-of" id="chapter-{page}">{name}</h3>{drawing}')
    return "".join(made)


PIECES = {
    "overview": overview,
    "chapters": chapters,
    "index": index,
    "legend": lambda known: graph_svg.legend(),
}


class place(nodes.General, nodes.Element):
    """Where a piece goes when all pages have been read."""


class Statements(SphinxDirective):
    """One of the pieces: overview, chapters, index or legend."""

    required_arguments = 1

    def run(self):
        sources = [
            *BOOK.glob("*.md"),
            *(BOOK.parent / "fl" / "claims").glob("*.py"),
            BOOK.parent / "_toc.yml",
        ]
        for path in sources:
            self.env.note_dependency(str(path))
        return [place(piece=self.arguments[0])]


def fill(app, doctree, docname) -> None:
    """Put the pieces in their places."""
    places = list(doctree.findall(place))
    if places:
        known = graph(scoreboard(app.env))
        compare(app.env, known)
        for each in places:
            each.replace_self(nodes.raw("", PIECES[each["piece"]](known), format="html"))


def rests(app, pagename, templatename, context, doctree) -> None:
    """Lead from each box of a page to its node in the pictures."""
    if body := context.get("body"):
        context["body"] = BOX.sub(node_link, body)


@cache
def labels() -> set[str]:
    """Return the labels of all boxes."""
    from fl.statements import boxes

    return set(boxes())


def node_link(found) -> str:
    """Return the title of a box with this link at its end."""
    if found[2] not in labels():
        return found[0]
    place = f"statements.html#node-{found[2]}"
    return f'{found[1]} <a class="fl-rests" href="{place}" title="What it rests on, and what rests on it">in the graph</a></p>'


def compare(env, known: dict[str, Node]) -> None:
    """Warn where a box has another number on its page."""
    for node in known.values():
        numbers = env.toc_fignumbers.get(f"book/{node.page}", {})
        shown = next((n[node.key] for n in numbers.values() if node.key in n), None)
        if shown and not node.is_claim and ".".join(map(str, shown)) != node.name.split()[1]:
            logging.getLogger(__name__).warning("%s is %s on its page, not %s", node.key, shown, node.name)


def forget_index(app, error) -> None:
    """Remove the index of sphinx-proof that an older build has left."""
    if error is None and app.builder.format == "html":
        (Path(app.outdir) / "prf-prf.html").unlink(missing_ok=True)


def setup(app):
    from sphinx_proof.domain import ProofDomain

    ProofDomain.indices = ()  # this page is the index of statements
    app.add_node(place)
    app.add_directive("statements", Statements)
    app.connect("config-inited", lambda app, config: MACROS.update(config.math_macros))
    app.connect("doctree-resolved", fill)
    app.connect("html-page-context", rests)
    app.connect("build-finished", forget_index)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
