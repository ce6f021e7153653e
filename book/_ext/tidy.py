"""Small repairs of the finished HTML of a page, for every page alike.

- sphinx-proof and sphinx-exercise give all boxes of a page one id; nobody asks for it.
- A figure stands in a box of its own, in which it can be moved sideways on a phone; the caption stays.
- A figure with an image in it (digits, heat maps) is marked: in dark mode its colours may not be turned over.
- A number stays on one line with its error and its power of ten, an interval and a name like K-FAC do as well.
- The id of a claim may be broken behind a dot or an underscore, and nowhere else.
- A minus before a number is a minus sign outside of code.
- The link from a solution to its exercise begins at the word, not at the space before it.
"""

import re
from pathlib import Path

# of a list of references: its entries hold links back, which such a list may not
ROLES = re.compile(r' role="(?:list(?=" class="citation-list)|doc-biblioentry)"')
REPEATED = re.compile(r' id="(?:proof|exercise|solution)-content"')
FIGURE = re.compile(r'<img [^>]*src="([^"]*_images/[^"]*)"[^>]*>')
PIECES = re.compile(r"(<(script|style|svg|math|title)\b.*?</\2>|<[^>]*>)", re.S)
PROSE = re.compile(
    r"(<(script|style|svg|math|title|pre|code)\b.*?</\2>|<[^>]*>)", re.S
)
MINUS = re.compile(r"(?<![\w.)\-])-(?=\d)")
REAL = r"[-+−]?\d+(?:\.\d+)?(?:e[-+]?\d+)?"
WHOLE = re.compile(
    rf"{REAL} (?:±|\+-) {REAL}|\b[^\W\d_] = {REAL}|\d+(?:\.\d+)?e[-+]\d+|\[{REAL}, {REAL}\]|\b(?:K-FAC|L-BFGS)\b"
)
CLAIM = re.compile(r'(<a id="claim-[^>]*>)([^<]*)')
SPACE = re.compile(r'(<a class="reference internal" href="#ex-[^"]*">) ')


def boxed(tag: str, path: Path) -> str:
    """Return a figure in its box."""
    mark = (
        " fl-image"
        if path.suffix == ".svg" and "<image" in path.read_text("utf-8")
        else ""
    )
    return f'<div class="fl-wide{mark}">{tag}</div>'


def replaced(html: str, between: re.Pattern, what: re.Pattern, new: str) -> str:
    """Return a page with ``what`` replaced in the text that is not ``between``."""
    pieces = between.split(html)
    pieces[::3] = [what.sub(new, text) for text in pieces[::3]]
    del pieces[2::3]  # the names of the elements that hold no text of the page
    return "".join(pieces)


def whole(html: str) -> str:
    """Return a page on which what `WHOLE` finds in the text is not broken."""
    html = replaced(html, PROSE, MINUS, "−")
    return replaced(html, PIECES, WHOLE, r'<span class="fl-kept">\g<0></span>')


def breakable(found) -> str:
    """Return the link of a claim with places to break its id."""
    return found[1] + re.sub(r"[._]", r"\g<0><wbr>", found[2])


def tidy(app, pagename, templatename, context, doctree) -> None:
    """Repair the body of a page before it is put into its frame."""
    if body := context.get("body"):
        files = {
            name: Path(app.srcdir, path) for path, name in app.builder.images.items()
        }
        box = lambda found: boxed(found[0], files[Path(found[1]).name])  # noqa: E731
        body = FIGURE.sub(box, REPEATED.sub("", ROLES.sub("", body)))
        body = SPACE.sub(r" \1", CLAIM.sub(breakable, body))
        context["body"] = whole(body)


def setup(app):
    app.connect("html-page-context", tidy)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
