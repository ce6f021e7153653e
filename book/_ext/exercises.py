"""All exercises of the book without their solutions, on the page that says ``{all-exercises}``.

The page is written from the chapters when it is read, so that it cannot fall behind.
"""

import re
from pathlib import Path

import yaml

BOOK = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^(`{3,})\{exercise\}[^\n]*\n:label: (\S+)\n(.*?)^\1\s*$", re.M | re.S)
MARK = "{all-exercises}"


def pages() -> list[str]:
    """Return the names of the pages in reading order."""
    toc = yaml.safe_load((BOOK.parent / "_toc.yml").read_text("utf-8"))
    return [Path(c["file"]).name for part in toc["parts"] for c in part["chapters"]]


def listed(name: str) -> str:
    """Return the exercises of a page under its title, each with a link to its place."""
    text = (BOOK / f"{name}.md").read_text("utf-8")
    found = [(label, body.strip()) for _, label, body in BLOCK.findall(text)]
    if not found:
        return ""
    title = re.search(r"^# (.+)$", text, re.M)[1]
    items = [f"{{ref}}`{label}`\n\n{body}" for label, body in found]
    return "\n\n".join([f"## [{title}]({name}.md)", *items])


def write(app, docname, source) -> None:
    """Put the exercises in the place of the mark."""
    if MARK in source[0]:
        app.env.note_dependency(str(BOOK / "cards.yml"))
        for name in pages():
            app.env.note_dependency(str(BOOK / f"{name}.md"))
        found = [text for text in map(listed, pages()) if text]
        source[0] = source[0].replace(MARK, "\n\n".join(found))


def setup(app):
    app.connect("source-read", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
