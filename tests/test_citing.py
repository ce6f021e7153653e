"""The book says which version it is and how it is cited, from the file that says so."""

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parent.parent
ADDRESS = "https://example.org/someone/theorems"


@pytest.fixture(scope="module")
def citing():
    """The extension of the book."""
    sys.path.insert(0, str(ROOT / "book" / "_ext"))
    yield importlib.import_module("citing")
    sys.path.remove(str(ROOT / "book" / "_ext"))


def shown(citing, address: str = "") -> str:
    """Return the text that the directive puts on a page."""
    env = SimpleNamespace(
        note_dependency=lambda path: None,
        config=SimpleNamespace(book_repository=address),
    )
    document = SimpleNamespace(settings=SimpleNamespace(env=env))
    machine = SimpleNamespace(document=document, reporter=None)
    directive = citing.CiteThis("cite-this", [], {}, [], 1, 0, "", machine, machine)
    return "\n".join(node.astext() for node in directive.run())


def test_version_title_and_authors_are_those_of_the_citation_file(citing):
    said, text = citing.citation(), shown(citing)
    year = str(said["date-released"])[:4]
    assert f"version {said['version']}, released on {said['date-released']}." in text
    sentence = f"({year}). {said['title']}, version {said['version']}."
    assert f"{said['authors'][0]['name']} {sentence}" in text
    assert f"@misc{{fl-{said['version']}," in text and f"= {{{year}}}" in text


def test_the_address_is_given_where_it_is_set_and_not_otherwise(citing):
    assert "://" not in shown(citing) and "repository" not in shown(citing)
    text = shown(citing, ADDRESS)
    assert f"its repository is {ADDRESS}." in text
    assert f"url    = {{{ADDRESS}}}" in text and text.count(ADDRESS) == 3


def test_a_person_and_a_group_are_both_names_in_bibtex(citing):
    person = {"given-names": "Ada M.", "family-names": "Example"}
    authors = [person, {"name": "The authors of it"}]
    said = citing.citation() | {"authors": authors}
    line = "  author = {Ada M. Example and {The authors of it}},\n"
    assert line in citing.bibtex(said)
    assert citing.sentence(said).startswith("Ada M. Example, The authors of it (")


def test_the_landing_page_has_it_and_types_no_version():
    page = (ROOT / "book" / "intro.md").read_text("utf-8")
    assert "```{cite-this}\n```" in page
    assert "citing: book/_ext" in (ROOT / "_config.yml").read_text("utf-8")
