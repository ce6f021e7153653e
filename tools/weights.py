"""Weigh the pages of the built book: ``python tools/weights.py`` fails if one makes a
browser fetch more than 1.5 MB.

Counted are the raw bytes of the page, its scripts, style sheets and pictures, and the fonts
and pictures that its style sheets name for what the page holds.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HTML = ROOT / "_build" / "html"
LIMIT = 1_500_000
TAG = re.compile(r"<(script|img|link)\b[^>]*>")
ADDRESS = re.compile(r'\b(?:src|href)="([^"#?]+)')
FETCHED = re.compile(r"stylesheet|preload|\bicon\b")
FACE = re.compile(r'url\("?([^")]+\.woff2?)"?\)')


def fetched(page: Path) -> set[Path]:
    """Return the files of the book that a browser fetches to show ``page``.

    Raises:
        FileNotFoundError: if the page asks for a file that is not there.
    """
    found = {page}
    for tag in TAG.finditer(page.read_text("utf-8")):
        where = ADDRESS.search(tag[0])
        if where is None or re.match(r"https?:|data:|//", where[1]):
            continue
        if tag[1] != "link" or FETCHED.search(tag[0]):
            found.add((page.parent / where[1]).resolve(strict=True))
    for sheet in [file for file in found if file.suffix == ".css"]:
        for font in FACE.findall(sheet.read_text("utf-8")):
            found.add((sheet.parent / font).resolve(strict=True))
    return found


def weights(folder: Path = HTML) -> dict[str, int]:
    """Return the bytes of every page in ``folder`` that is part of the book."""
    pages = sorted(folder.glob("book/**/*.html"))
    return {
        str(page.relative_to(folder)): sum(f.stat().st_size for f in fetched(page))
        for page in pages
    }


def main() -> int:
    """Print the heaviest page, or all that are too heavy, and return the exit status."""
    found = sorted((size, page) for page, size in weights().items())
    heavy = [row for row in found if row[0] > LIMIT]
    for size, page in heavy or found[-1:]:
        print(f"{page} makes a browser fetch {size / 1e6:.2f} MB of {LIMIT / 1e6} MB")
    return bool(heavy or not found)


if __name__ == "__main__":
    sys.exit(main())
