"""The whole book as one file: ``python tools/pdf.py`` writes ``_build/book.pdf``.

The pages that `tools/book.py` has built are joined, with a title page and contents before
them and the solutions behind them, and printed by Chromium: once to learn on which page
each section begins, and again with these numbers in the contents.
"""

import os
import posixpath
import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from bs4 import BeautifulSoup, Tag
from pypdf import PdfReader

ROOT = Path(__file__).resolve().parent.parent
HTML = ROOT / "_build" / "html"
TARGET = ROOT / "_build" / "book.pdf"
LEFT_OUT = {"book/api", "book/exercises"}  # the reference, and exercises a second time
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome", "msedge")


def parts(toc: dict) -> list[tuple[str, list[str]]]:
    """Return the caption and the pages of each part of a table of contents; the root page
    has no caption.
    """
    rest = [
        (part["caption"], [c["file"] for c in part["chapters"]])
        for part in toc["parts"]
    ]
    found = [("", [toc["root"]]), *rest]
    return [(title, [p for p in names if p not in LEFT_OUT]) for title, names in found]


def anchor(page: str, name: str = "") -> str:
    """Return the name, in the joined file, of what ``page`` calls ``name``."""
    return f"{page.replace('/', '-')}--{name}"


def article(page: str, known: set[str]) -> Tag:
    """Return the text of a built page; ids and links are those of the joined file.

    A link to a page that is not ``known`` stays as plain text.
    """
    text = (HTML / f"{page}.html").read_text("utf-8")
    found = BeautifulSoup(text, "html.parser").select_one("article.bd-article")
    for node in found.select("[id]"):
        node["id"] = anchor(page, node["id"])
    for node in found.select("script, button"):
        node.decompose()
    for proof in found.select("details.sd-dropdown"):
        proof["open"] = ""
    for link in found.select("a[href]"):
        where, _, name = link["href"].partition("#")
        if "//" in where or where.startswith("mailto:"):
            continue
        target = posixpath.normpath(posixpath.join(posixpath.dirname(page), where))
        target = page if not where else target.removesuffix(".html")
        if target in known:
            link["href"] = f"#{anchor(target, name)}"
        else:
            del link["href"]
    found.name, found["class"], found["id"] = "section", "fl-chapter", anchor(page)
    return found


def solutions(chapters: list[Tag], soup: BeautifulSoup) -> Tag:
    """Take the solutions out of the ``chapters`` and return them as a chapter."""
    made = soup.new_tag("section", attrs={"class": "fl-chapter", "id": "solutions--"})
    made.append(soup.new_tag("h1", string="Solutions"))
    for chapter in chapters:
        taken = [solution.extract() for solution in chapter.select("div.solution")]
        if taken:
            made.append(soup.new_tag("h2", string=title(chapter.select_one("h1"))))
            made.extend(taken)
    for number, heading in enumerate(made.select("h2")):
        heading["id"] = anchor("solutions", str(number))
    return made


def title(heading: Tag) -> str:
    """Return the words of a heading, without the sign that links to it."""
    words = [text for text in heading.find_all(string=True) if text.strip() != "#"]
    return "".join(words).strip()


def contents(chapters: list[Tag], captions: dict[str, str], soup: BeautifulSoup) -> Tag:
    """Return the list of chapters and sections; ``captions`` are those of the parts, by the
    id of their first chapter.
    """
    made = soup.new_tag("section", attrs={"class": "fl-contents"})
    made.append(soup.new_tag("h1", string="Contents"))
    for chapter in chapters:
        if caption := captions.get(chapter["id"]):
            made.append(soup.new_tag("p", attrs={"class": "fl-group"}, string=caption))
        for heading in chapter.select("h1, h2"):
            near = heading if heading.get("id") else heading.find_parent(id=True)
            where = chapter["id"] if heading.name == "h1" else near["id"]
            link = soup.new_tag("a", attrs={"href": f"#{where}"})
            link.append(soup.new_tag("span", string=title(heading)))
            link.extend([soup.new_tag("i"), soup.new_tag("b")])
            if heading.name == "h2":
                link["style"] = "padding-left: 1.5em"
            made.append(link)
    return made


def joined() -> BeautifulSoup:
    """Return all pages as one, in reading order."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))
    groups = parts(yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8")))
    pages = [page for _, names in groups for page in names]
    head = (HTML / f"{pages[0]}.html").read_text("utf-8").partition("</head>")[0]
    soup = BeautifulSoup(f"{head}</head><body></body></html>", "html.parser")
    for script in soup.select("head script"):
        script.decompose()
    soup.html["data-theme"] = "light"
    soup.title.string = config["title"]
    body = soup.body
    body["class"] = "fl-book bd-content bd-article"
    front = soup.new_tag("section", attrs={"class": "fl-title"})
    front.append(soup.new_tag("img", attrs={"src": "../_static/logo.svg", "alt": ""}))
    front.append(soup.new_tag("h1", string=config["title"]))
    front.append(soup.new_tag("p", string=f"{config['author']}, {config['copyright']}"))
    chapters = [article(page, set(pages)) for page in pages]
    chapters.append(solutions(chapters, soup))
    captions = {anchor(names[0]): caption for caption, names in groups if names}
    body.extend([front, contents(chapters, captions, soup)])
    for chapter in chapters:
        caption = captions.get(chapter["id"], "")
        if caption.startswith("Part "):
            part = soup.new_tag("section", attrs={"class": "fl-part"})
            part.append(soup.new_tag("h1", string=caption))
            body.append(part)
        body.append(chapter)
    return soup


def browser() -> str:
    """Return the path of a Chromium.

    Raises:
        FileNotFoundError: if this machine has none.
    """
    named = os.environ.get("FL_BROWSER")
    for path in filter(None, [named, *map(shutil.which, BROWSERS)]):
        return path
    raise FileNotFoundError(
        f"none of {', '.join(BROWSERS)} is on the path: install one, or name it in FL_BROWSER"
    )


def printed(page: Path, target: Path) -> None:
    """Print an HTML file."""
    command = [browser(), "--headless", "--disable-gpu", "--no-pdf-header-footer"]
    command += ["--generate-pdf-document-outline", f"--print-to-pdf={target}"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command += ["--no-sandbox"]
    run = [*command, "--timeout=600000", page.as_uri()]
    subprocess.run(run, check=True, capture_output=True, timeout=1200)


def places(file: Path) -> dict[str, int]:
    """Return the page on which each name of a PDF stands, from 1."""
    reader = PdfReader(file)
    found = reader.named_destinations
    return {
        name.lstrip("/"): reader.get_destination_page_number(place) + 1
        for name, place in found.items()
    }


def main() -> int:
    """Write the book and return the exit status."""
    if not (HTML / "index.html").is_file():
        sys.exit("the pages are not built: run `make book` first")
    soup, page = joined(), HTML / "book" / "whole.html"
    try:
        page.write_text(str(soup), "utf-8")
        printed(page, TARGET)
        known = places(TARGET)
        for link in soup.select(".fl-contents a"):
            link.b.string = f" {known[link['href'][1:]]}"
        page.write_text(str(soup), "utf-8")
        printed(page, TARGET)
    finally:
        page.unlink(missing_ok=True)
    pages = len(PdfReader(TARGET).pages)
    print(
        f"the book is in {TARGET} ({pages} pages, {TARGET.stat().st_size / 1e6:.1f} MB)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
