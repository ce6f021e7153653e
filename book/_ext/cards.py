"""What a chapter gives, needs and costs: a card each on the landing page, a line under its title.

The sentences stand in ``book/cards.yml``; minutes are counted from the words of the page, tags from the claims.
"""

import html
import re
from functools import cache
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import yaml
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

BOOK = Path(__file__).resolve().parent.parent
WORDS_PER_MINUTE = 130  # with formulas and figures
FORMULA = re.compile(r"\$\$.*?\$\$|\$.*?\$", re.S)


@cache
def cards() -> dict[str, dict]:
    """Return the entries of ``cards.yml`` whose page exists, in reading order."""
    known = yaml.safe_load((BOOK / "cards.yml").read_text("utf-8"))
    toc = yaml.safe_load((BOOK.parent / "_toc.yml").read_text("utf-8"))
    order = [Path(c["file"]).name for part in toc["parts"] for c in part["chapters"]]
    return {name: known[name] for name in order if name in known}


def title(name: str) -> str:
    """Return the title of a page."""
    return re.search(r"^# (.+)$", (BOOK / f"{name}.md").read_text("utf-8"), re.M)[1]


def minutes(name: str) -> int:
    """Return how long a page takes to read, to five minutes: its words outside of code cells."""
    text = (BOOK / f"{name}.md").read_text("utf-8").split("---", 2)[2]
    prose = re.sub(r"```\{code-cell\}.*?\n```", "", text, flags=re.S)
    words = len(FORMULA.sub(" formula formula ", prose).split())
    return max(5, 5 * round(words / WORDS_PER_MINUTE / 5))


def needs(entry: dict, link) -> str:
    """Return the prerequisites, with a link for those that are chapters."""
    parts = [part.strip() for part in entry["needs"].split(",")]
    return ", ".join(link(p) if (BOOK / f"{p}.md").is_file() else html.escape(p) for p in parts)


@cache
def claims() -> dict[str, str]:
    """Return the source of every claim by its id."""
    from fl.registry import listed

    return {id: source for id, source, _ in listed()}


@cache
def audited() -> dict[str, dict]:
    """Return the stored audit of every claim."""
    from fl.audit import known

    return known()


@cache
def digest(module: str) -> str:
    """Return the digest of the code that the claims of a module rest on; importing the module would take seconds."""
    from fl.audit import digest

    return digest(SimpleNamespace(function=SimpleNamespace(__module__=f"fl.claims.{module}")))


@cache
def modules() -> dict[str, str]:
    """Return in which module of `fl.claims` each claim stands."""
    files = {path.stem: path.read_text("utf-8") for path in (BOOK.parent / "fl" / "claims").glob("*.py")}
    return {id: name for name, text in files.items() for id in re.findall(r'@claim\(\s*"([\w.]+)"', text)}


def tags(name: str) -> str:
    """Return how many claims of each tag a chapter has."""
    kinds = Counter(source.split()[0] for id, source in claims().items() if id.partition(".")[0] == name)
    order = ("paper", "proved", "derived", "consistency", "observed")
    return ", ".join(f"{kinds[kind]} {kind}" for kind in order if kinds[kind])


def link(name: str) -> str:
    """Return a link to a page by its title."""
    return f'<a class="reference internal" href="{name}.html">{html.escape(title(name))}</a>'


class ChapterCards(SphinxDirective):
    """All chapters, a card each."""

    def run(self):
        self.env.note_dependency(str(BOOK / "cards.yml"))
        made = []
        for name, entry in cards().items():
            self.env.note_dependency(str(BOOK / f"{name}.md"))
            small = f"{minutes(name)} minutes · needs {needs(entry, link)}"
            small += f" · claims: {kinds}" if (kinds := tags(name)) else ""
            made.append(
                f'<div class="fl-card"><h3>{link(name)}</h3><p>{html.escape(entry["result"])}</p>'
                f'<p class="fl-small">{small}</p></div>'
            )
        return [nodes.raw("", f'<div class="fl-cards">{"".join(made)}</div>', format="html")]


def claim_role(name, rawtext, text, lineno, inliner, options=None, content=None):
    """Link to a claim on the scoreboard, with how often it held on fresh seeds, and whether its code changed since."""
    if text not in claims():
        message = inliner.reporter.warning(f"no claim {text}", line=lineno)
        return [inliner.problematic(rawtext, rawtext, message)], [message]
    row = audited().get(text)
    edited = "" if not row or row["source"] == digest(modules()[text]) else ", before an edit"
    audit = f" ({row['held']} of {row['blocks']} seed blocks{edited})" if row else ""
    shown = f'<a class="reference internal" href="scoreboard.html#row-{text}">{text}</a>{audit}'
    return [nodes.raw("", shown, format="html")], []


def head(app, doctree):
    """Put a line with minutes and prerequisites under the title of a chapter."""
    name = Path(app.env.docname).name
    entry = cards().get(name)
    section = next(iter(doctree.findall(nodes.section)), None)
    if entry and section is not None:
        line = f"{minutes(name)} minutes of reading · needs {needs(entry, link)}"
        raw = nodes.raw("", f'<p class="fl-head">{line}</p>', format="html")
        section.insert(1, raw)


def setup(app):
    app.add_directive("chapter-cards", ChapterCards)
    app.add_role("claim", claim_role)
    app.connect("doctree-read", head)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
