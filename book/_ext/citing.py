"""Which version this book is and how it is cited, where a page says ``{cite-this}``.

Both are made from ``CITATION.cff`` when the book is built, so that they cannot fall behind. The address is
``book_repository`` of ``_config.yml``; while it is empty none is given.
"""

from datetime import date
from pathlib import Path

import yaml
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

FILE = Path(__file__).resolve().parents[2] / "CITATION.cff"


def citation() -> dict:
    """Return what ``CITATION.cff`` says."""
    return yaml.safe_load(FILE.read_text("utf-8"))


def names(said: dict) -> list[str]:
    """Return the authors: a person's name in its usual order, that of a group as it stands."""
    persons = said["authors"]
    return [p.get("name") or f"{p['given-names']} {p['family-names']}" for p in persons]


def released(said: dict) -> date:
    """Return the day of the release."""
    return date.fromisoformat(str(said["date-released"]))


def sentence(said: dict, address: str = "") -> str:
    """Return the citation as a sentence around its title, which stands between two bars."""
    start = f"{', '.join(names(said))} ({released(said).year}). |{said['title']}|, version {said['version']}."
    return f"{start} {address}".rstrip()


def bibtex(said: dict, address: str = "") -> str:
    """Return the citation as an entry of BibTeX."""
    whole = [p.get("name") for p in said["authors"]]  # of a group: its words are no first and last names
    authors = [f"{{{name}}}" if name == group else name for name, group in zip(names(said), whole, strict=True)]
    fields = {
        "author": " and ".join(authors),
        "title": f"{{{said['title']}}}",
        "year": str(released(said).year),
        "note": f"Version {said['version']}, {released(said)}",
    }
    fields |= {"url": address} if address else {}
    rows = ",\n".join(f"  {name:<6} = {{{text}}}" for name, text in fields.items())
    return f"@misc{{fl-{said['version']},\n{rows}\n}}"


class CiteThis(SphinxDirective):
    """Version, address, and the citation as a sentence and as BibTeX."""

    def run(self):
        self.env.note_dependency(str(FILE))
        said, address = citation(), self.config.book_repository
        version = f"This is version {said['version']}, released on {released(said)}"
        first = nodes.paragraph("", version)
        if address:
            link = nodes.reference("", address, refuri=address)
            first += [nodes.Text("; its repository is "), link]
        first += nodes.Text(". To cite it:")
        before, title, after = sentence(said, address).split("|")
        text = nodes.paragraph("", before, nodes.emphasis("", title), nodes.Text(after))
        entry = bibtex(said, address)
        code = nodes.literal_block(entry, entry, language="bibtex")
        return [first, nodes.block_quote("", text), code]


def setup(app):
    app.add_directive("cite-this", CiteThis)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
