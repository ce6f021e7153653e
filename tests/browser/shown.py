"""Which pages the built book has, and whether it can be tested."""

import functools
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HTML = ROOT / "_build" / "html"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
PAGES = sorted(p.relative_to(HTML).as_posix() for p in HTML.glob("book/**/*.html"))
# the pages of the reference are alike: the list of modules and one module stand for all
REFERENCE = [page for page in PAGES if page.startswith("book/api/")]
SHOWN = [page for page in PAGES if page not in REFERENCE[1:]]


@functools.cache
def why_not() -> str:
    """Return why the built book cannot be tested, or nothing."""
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        import book
    finally:
        sys.path.pop(0)
    if not book.STAMP.is_file():
        return "the book is not built"
    known = book.STAMP.read_text().split()
    return "" if known == book.sources() else "the built book is older than its sources"


def settle(page) -> None:
    """Wait until the font of the formulas is there and the page has been drawn."""
    page.evaluate(
        "async () => { await document.fonts.ready;"
        "await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))); }"
    )


def visit(page, name: str) -> None:
    """Open a page of the book and bring what the tests ask it with."""
    page.goto(f"{HTML.as_uri()}/{name}")
    page.add_script_tag(path=Path(__file__).with_name("look.js"))
    page.add_style_tag(
        content="* { transition: none !important; animation: none !important; }"
    )
    settle(page)
