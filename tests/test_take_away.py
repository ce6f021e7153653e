"""A notebook finds the package wherever it runs, or says how to come by it."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import nbformat
import pytest
from jupyter_core.paths import jupyter_path

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def take_away():
    """The extension of the book."""
    folder = str(ROOT / "book" / "_ext")
    sys.path.insert(0, folder)
    path = ROOT / "book" / "_ext" / "take_away.py"
    spec = importlib.util.spec_from_file_location("take_away", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path.remove(folder)
    return module


@pytest.fixture
def nothing_installed(monkeypatch):
    """A kernel that has no `fl`."""
    known = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "fl" else known(name)
    )
    monkeypatch.setattr(sys, "path", list(sys.path))


def run(take_away, address="") -> None:
    exec(take_away.first_cell(address, "main")["source"], {})


def test_without_an_address_it_says_what_to_do(
    take_away, nothing_installed, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModuleNotFoundError, match=r"pip install -e \."):
        run(take_away)


def test_in_a_checkout_it_takes_that(
    take_away, nothing_installed, tmp_path, monkeypatch
):
    (tmp_path / "fl" / "theory").mkdir(parents=True)
    (tmp_path / "book").mkdir()
    monkeypatch.chdir(tmp_path / "book")
    run(take_away)
    assert sys.path[0] == str(tmp_path)


def test_with_an_address_it_is_fetched_and_installed(
    take_away, nothing_installed, tmp_path, monkeypatch
):
    said = []

    def fake(command, check):
        said.append(command)
        (tmp_path / "fl-book" / "fl" / "theory").mkdir(parents=True, exist_ok=True)
        (tmp_path / "fl-book" / "book").mkdir(exist_ok=True)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(subprocess, "run", fake)
    run(take_away, "https://example.org/fl.git")
    assert said[0][:2] == ["git", "clone"] and "https://example.org/fl.git" in said[0]
    assert said[1][1:] == ["-m", "pip", "install", "-q", "./fl-book"]
    assert sys.path[0] == str(tmp_path / "fl-book")


def test_a_downloaded_notebook_runs_in_an_empty_folder(take_away, tmp_path):
    sources = tmp_path / "out" / "_sources" / "book"
    sources.mkdir(parents=True)
    reference = ROOT / "tests" / "notebooks" / "gram.ipynb"
    (sources / "gram.ipynb").write_text(reference.read_text("utf-8"), "utf-8")
    config = SimpleNamespace(book_repository="", book_branch="main")
    app = SimpleNamespace(
        outdir=tmp_path / "out", config=config, builder=SimpleNamespace(name="html")
    )
    take_away.complete(app, None)
    once = (sources / "gram.ipynb").read_text("utf-8")
    take_away.complete(app, None)
    assert (sources / "gram.ipynb").read_text("utf-8") == once
    book = nbformat.reads(once, 4)
    nbformat.validate(book)
    cells = [c.source for c in book.cells if c.cell_type == "code"][:3]
    assert "find_spec" in cells[0] and "import fl" in cells[1]
    empty = tmp_path / "empty"
    empty.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(cells)],
        cwd=empty,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "G: 6" in done.stdout, done.stderr


def page(take_away, address: str) -> list[dict]:
    """Return the download menu of a chapter in a book with this address."""
    config = SimpleNamespace(
        book_repository=address, book_branch="main", book_built="gh-pages"
    )
    print_it = {"label": "download-pdf-button", "text": ".pdf", "tooltip": "PDF"}
    menu = {"label": "download-buttons", "buttons": [{"text": ".ipynb"}, print_it]}
    context = {"ipynb_source": "book/gram.ipynb", "header_buttons": [menu]}
    app = SimpleNamespace(config=config)
    take_away.buttons(app, "book/gram", "page.html", context, None)
    return menu["buttons"]


def test_a_chapter_starts_elsewhere_when_the_address_is_set_and_not_otherwise(
    take_away,
):
    assert [b["text"] for b in page(take_away, "")] == [".ipynb", "Print"]
    found = page(take_away, "https://github.com/someone/theorems.git")
    urls = {button["text"]: button.get("url", "") for button in found}
    binder = urlsplit(urls["Binder"])
    assert binder.netloc + binder.path == "mybinder.org/v2/gh/someone/theorems/main"
    # its own query survives inside of Binder's: one value, which is decoded once
    opened = urlsplit(parse_qs(binder.query, strict_parsing=True)["urlpath"][0])
    assert opened.path == "notebooks/book/gram.md"
    assert opened.query == "factory=Jupytext%20Notebook"
    assert urls["Colab"].endswith(
        "/github/someone/theorems/blob/gh-pages/_sources/book/gram.ipynb"
    )


def test_the_editor_that_binder_is_asked_for_is_registered_by_jupytext():
    places = [Path(folder, "labextensions") for folder in jupyter_path()]
    scripts = [
        script
        for place in places
        for script in place.glob("jupyterlab-jupytext/static/*.js")
    ]
    assert any('"Jupytext Notebook"' in script.read_text("utf-8") for script in scripts)


def test_a_figure_links_to_its_picture_and_its_points_by_name(take_away, tmp_path):
    drawn = '<figure id="{0}"><img src="../_images/{0}.svg"/><figcaption>\n'
    drawn += "<p>Caption</p>\n</figcaption></figure>"
    description = "<dc:description>panel,x\n1,2\n</dc:description>"
    (tmp_path / "a.svg").write_text(f"<svg><metadata>{description}</metadata></svg>")
    (tmp_path / "b.svg").write_text("<svg></svg>")
    images = {"a.svg": "fig-one.svg", "b.svg": "fig-two.svg"}
    app = SimpleNamespace(srcdir=tmp_path, builder=SimpleNamespace(images=images))
    other = "<figure id='b'><img src='c.png'/></figure>"
    context = {"body": drawn.format("fig-one") + drawn.format("fig-two") + other}
    take_away.pictures(app, "book/gram", "page.html", context, None)
    for link in ("fig-one.svg", "fig-one.csv", "fig-two.svg"):
        assert f'href="../_images/{link}" download="{link}"' in context["body"]
    assert context["body"].count("fl-take") == 3


def test_a_page_is_described_in_words_that_fit(take_away):
    config = SimpleNamespace(html_title="The book", html_baseurl="")
    app = SimpleNamespace(config=config)
    for name, body in (
        ("book/gram", "<p>not this</p>"),
        ("book/x", "<p>A <b>b</b> " + "long " * 99),
        ("search", None),
    ):
        context = {"body": body and body + "</p>"}
        take_away.described(app, name, "page.html", context, None)
        text = context["book_description"]
        assert 0 < len(text) <= take_away.WORDS + 2 and "<" not in text
    assert text == "The book" and context["book_picture"] == ""
    config.html_baseurl = "https://example.org/fl/"
    take_away.described(app, "search", "page.html", context, None)
    assert context["book_picture"] == "https://example.org/fl/_static/preview.png"


def test_the_address_stands_in_one_place():
    config = (ROOT / "_config.yml").read_text()
    assert config.count("book_repository") == 1
    assert json.dumps("") in config
