"""A page runs again when something that it used has changed, and not otherwise."""

import importlib.util
import json
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = """---
jupytext: {text_representation: {extension: .md, format_name: myst}}
kernelspec: {display_name: Python 3, language: python, name: python3}
---

# A page

```{code-cell} ipython3
from pathlib import Path
from fl.numerics import log_steps

print(log_steps(9, 3), Path("FOLDER/data.txt").read_text())
```
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The tool with folders of its own."""
    sys.path.insert(0, str(ROOT / "tools"))
    spec = importlib.util.spec_from_file_location("pages", ROOT / "tools" / "pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path.remove(str(ROOT / "tools"))
    build = tmp_path_factory.mktemp("build")
    module.CACHE, module.RECORDS = build / ".jupyter_cache", build / ".pages"
    return module


@pytest.fixture(scope="module")
def page(pages, tmp_path_factory):
    """A page that ran once and says what it did."""
    folder = tmp_path_factory.mktemp("book")
    (folder / "data.txt").write_text("one")
    page = folder / "page.md"
    page.write_text(PAGE.replace("FOLDER", str(folder)))
    said = []
    assert pages.run(pages.stale([page], {}), said.append)
    assert len(said) == 1 and said[0].startswith("[1/1] page: ")
    return page


def fresh(pages, page) -> bool:
    return pages.is_fresh(page, pages.get_cache(str(pages.CACHE)))


def test_a_page_knows_what_it_used(pages, page):
    known = json.loads(pages.record(page).read_text())
    assert "fl.numerics" in known["modules"] and "fl.cli" not in known["modules"]
    assert known["files"] == [str(page.parent / "data.txt")]


def test_nothing_changed_nothing_runs(pages, page):
    assert pages.stale([page], {}) == []


def test_its_text_a_file_it_read_and_the_scale_count(pages, page, monkeypatch):
    assert fresh(pages, page)
    data = page.parent / "data.txt"
    data.write_text("two")
    assert not fresh(pages, page)
    data.write_text("one")
    assert fresh(pages, page)
    monkeypatch.setenv("FL_SCALE", "smoke")
    assert not fresh(pages, page)
    monkeypatch.delenv("FL_SCALE")
    text = page.read_text()
    page.write_text(text.replace("9, 3", "9, 4"))
    assert not fresh(pages, page)
    page.write_text(text)
    assert fresh(pages, page)


def test_a_module_that_it_loaded_counts(pages, page):
    # that an edit of a module changes its part of the key is tested with the keys
    known = json.loads(pages.record(page).read_text())
    others = [
        pages.digest(page, [m], known["files"]) for m in ("fl.numerics", "fl.cli")
    ]
    assert len({known["key"], *others}) == 3
    gone = known | {"modules": [*known["modules"], "fl.no_longer_there"]}
    text = pages.record(page).read_text()
    pages.record(page).write_text(json.dumps(gone))
    assert not fresh(pages, page)
    pages.record(page).write_text(text)
    assert fresh(pages, page)


def test_a_library_counts(pages, page, monkeypatch):
    from fl import keys

    monkeypatch.setattr(keys, "version", lambda package: "another")
    assert not fresh(pages, page)


def test_a_settings_file_of_the_reader_does_not_reach_a_kernel(pages, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setenv("IPYTHONDIR", "/somewhere")
    kernel = pages.environment()
    assert "MPLBACKEND" not in kernel and kernel["IPYTHONDIR"] != "/somewhere"
    assert kernel["FL_JOBS"] == "1"


def test_a_page_that_fails_says_where_and_keeps_nothing(pages, tmp_path):
    page = tmp_path / "broken.md"
    page.write_text(PAGE.replace("log_steps(9, 3)", "1 / 0"))
    said = []
    assert not pages.run([page], said.append)
    assert "broken: FAILED" in said[0] and "ZeroDivisionError" in said[0]
    assert not fresh(pages, page) and "\x1b" not in said[0]


def test_a_chapter_that_was_tested_is_not_run_again(pages, tmp_path):
    page = tmp_path / "tested.md"
    page.write_text(PAGE)
    cells = pages._notebook(page, pages.get_cache(str(pages.CACHE))).nb.cells
    sources = [cell.source for cell in cells if cell.cell_type == "code"]
    outputs = [[nbformat.v4.new_output("stream", text="as tested\n")] for _ in sources]
    used = {"modules": ["fl.numerics"], "files": []}
    assert not pages.adopt(page, [s + "\n1" for s in sources], outputs, dict(used))
    assert pages.stale([page], {}) == [page]
    assert pages.adopt(page, sources, outputs, dict(used))
    assert pages.stale([page], {}) == []
