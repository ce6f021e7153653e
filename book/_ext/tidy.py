"""Small repairs of the finished HTML of a page, for every page alike.

- sphinx-proof and sphinx-exercise give all boxes of a page one id; nobody asks for it.
- A figure stands in a box of its own, in which it can be moved sideways on a phone; the caption stays.
- A figure with an image in it (digits, heat maps) is marked: in dark mode its colours may not be turned over.
"""

import re
from pathlib import Path

# of a list of references: its entries hold links back, which such a list may not
ROLES = re.compile(r' role="(?:list(?=" class="citation-list)|doc-biblioentry)"')
REPEATED = re.compile(r' id="(?:proof|exercise|solution)-content"')
FIGURE = re.compile(r'<img [^>]*src="([^"]*_images/[^"]*)"[^>]*>')


def boxed(tag: str, path: Path) -> str:
    """Return a figure in its box."""
    mark = (
        " fl-image"
        if path.suffix == ".svg" and "<image" in path.read_text("utf-8")
        else ""
    )
    return f'<div class="fl-wide{mark}">{tag}</div>'


def tidy(app, pagename, templatename, context, doctree) -> None:
    """Repair the body of a page before it is put into its frame."""
    if body := context.get("body"):
        files = {
            name: Path(app.srcdir, path) for path, name in app.builder.images.items()
        }
        box = lambda found: boxed(found[0], files[Path(found[1]).name])  # noqa: E731
        context["body"] = FIGURE.sub(box, REPEATED.sub("", ROLES.sub("", body)))


def setup(app):
    app.connect("html-page-context", tidy)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
