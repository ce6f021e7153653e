"""The book as one file: links stay inside, solutions stand behind, and it prints."""

import importlib.util
import os
import shutil
import sys
from pathlib import Path
from unicodedata import normalize

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = """<!doctype html><html><head><title>x</title><script>1</script></head><body>
<article class="bd-article"><section id="top"><h1>{title}<a href="#top">#</a></h1>
<section id="why"><h2>Why</h2>
<p><a href="{other}.html#why">there</a> <a href="#why">here</a> <a href="api.html#f">f</a>
<a href="https://example.org/">out</a></p>
<details class="sd-dropdown"><summary>Proof</summary>short</details>
<div class="solution">by hand</div><button>copy</button></section></section>
</article></body></html>"""


@pytest.fixture
def pdf(tmp_path, monkeypatch):
    """The tool on a book of two chapters."""
    spec = importlib.util.spec_from_file_location("pdf", ROOT / "tools" / "pdf.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    book = tmp_path / "_build" / "html" / "book"
    book.mkdir(parents=True)
    (book / "a.html").write_text(PAGE.format(title="1. First", other="b"))
    (book / "b.html").write_text(PAGE.format(title="2. Second", other="a"))
    (book.parent / "index.html").write_text("")
    (tmp_path / "_config.yml").write_text("title: T\nauthor: A\ncopyright: '1'\n")
    toc = "root: book/a\nparts:\n- caption: Part I. P\n  chapters:\n"
    toc += "  - file: book/b\n  - file: book/api\n"
    (tmp_path / "_toc.yml").write_text(toc)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "HTML", book.parent)
    monkeypatch.setattr(module, "TARGET", tmp_path / "_build" / "book.pdf")
    return module


def test_links_lead_to_places_of_the_same_file_or_out_of_it(pdf):
    soup = pdf.joined()
    links = {a.get_text(): a.get("href") for a in soup.select("p a")}
    assert links == {
        "there": "#book-a--why",
        "here": "#book-b--why",
        "f": None,
        "out": "https://example.org/",
    }
    ids = [node["id"] for node in soup.select("[id]")]
    assert len(ids) == len(set(ids)) and {"book-a--why", "book-b--why"} <= set(ids)
    inside = [a["href"][1:] for a in soup.select("a[href^='#']")]
    assert set(inside) <= set(ids)


def test_order_proofs_and_solutions(pdf):
    soup = pdf.joined()
    titles = [pdf.title(h1) for h1 in soup.select("body h1")]
    chapters = ["1. First", "Part I. P", "2. Second", "Solutions"]
    assert titles == ["T", "Contents", *chapters]
    behind = soup.select_one("#solutions--")
    assert behind.get_text().count("by hand") == 2
    assert soup.get_text().count("by hand") == 2
    assert all(d.has_attr("open") for d in soup.select("details"))
    assert not soup.select("script, button")
    listed = [a.span.get_text() for a in soup.select(".fl-contents a")]
    assert listed[:4] == ["1. First", "Why", "2. Second", "Why"]


def test_a_machine_without_a_browser_is_told_so(pdf, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("FL_BROWSER", raising=False)
    with pytest.raises(FileNotFoundError, match="FL_BROWSER"):
        pdf.browser()


prints = pytest.mark.skipif(
    not (os.environ.get("FL_SLOW") and shutil.which("chromium")),
    reason="prints: needs FL_SLOW=1 and Chromium",
)


@prints
def test_the_printed_book(pdf):
    assert pdf.main() == 0
    reader = pdf.PdfReader(pdf.TARGET)
    pages = [page.extract_text() for page in reader.pages]
    known = pdf.places(pdf.TARGET)
    assert "1. First" in pages[known["book-a--"] - 1]
    assert "2. Second" in pages[known["book-b--"] - 1]
    assert f"2. Second {known['book-b--']}" in " ".join(pages[0].split())


@prints
@pytest.mark.skipif(os.environ.get("FL_SLOW") != "2", reason="minutes: FL_SLOW=2")
@pytest.mark.skipif(not (ROOT / "_build/html/index.html").is_file(), reason="not built")
def test_the_whole_book():
    sys.path.insert(0, str(ROOT / "tools"))
    import pdf

    sys.path.remove(str(ROOT / "tools"))
    assert pdf.main() == 0
    reader, soup = pdf.PdfReader(pdf.TARGET), pdf.joined()
    # letters that are set as one are two to a reader
    texts = [normalize("NFKC", page.extract_text()) for page in reader.pages]
    pages = [" ".join(text.split()) for text in texts]
    known = pdf.places(pdf.TARGET)
    assert len(pages) > 200
    for chapter in soup.select(".fl-chapter"):
        first = pdf.title(chapter.select_one("h1")).split(":")[0]
        assert first in pages[known[chapter["id"]] - 1], first
    fonts = [
        font.get_object()["/DescendantFonts"][0].get_object()["/FontDescriptor"]
        for page in reader.pages
        for font in page["/Resources"].get("/Font", {}).values()
        if "/DescendantFonts" in font.get_object()
    ]
    assert fonts and all("/FontFile2" in font.get_object() for font in fonts)
