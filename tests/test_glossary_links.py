"""A word of the glossary leads to it once on a page, at its first use in the text."""

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from docutils import nodes
from sphinx_design.dropdown import dropdown_title

ROOT = Path(__file__).resolve().parent.parent
TERMS = {
    "feature": ("term-feature", "what a layer gives"),
    "Gram matrix": ("term-Gram-matrix", "all inner products"),
    "random features": ("term-random-features", "never trained"),
    "block (of seeds)": ("term-block", "all seeds of a claim"),
    "evidence": ("term-evidence", "the likelihood"),
    "spike": ("term-spike", "a part of rank one"),
}


@pytest.fixture(scope="module")
def extension():
    """The extension of the book."""
    sys.path.insert(0, str(ROOT / "book" / "_ext"))
    yield importlib.import_module("glossary_links")
    sys.path.remove(str(ROOT / "book" / "_ext"))


def linked(tree) -> list[tuple[str, str]]:
    """Return the words that lead somewhere, and where."""
    return [(link.astext(), link["refuri"]) for link in tree.findall(nodes.reference)]


def test_the_first_use_in_the_text_is_linked_and_no_other(extension):
    said = "Two Gram\nmatrices of random features, and a feature. A Gram matrix."
    text = nodes.paragraph("", said)
    title = nodes.title("", "A spike")
    code = nodes.paragraph("", "", nodes.literal("", "spike"))
    cell = nodes.container("", nodes.paragraph("", "a spike"), classes=["cell"])
    fold = dropdown_title("", "", nodes.Text("What a spike is"))
    tree = nodes.section("", title, code, cell, fold, text)
    found = extension.link(tree, TERMS, "glossary.html")
    assert found == ["feature", "Gram matrix", "random features"]
    assert linked(tree) == [
        ("Gram\nmatrices", "glossary.html#term-Gram-matrix"),
        ("random features", "glossary.html#term-random-features"),
        ("feature", "glossary.html#term-feature"),
    ]
    assert text.astext() == said
    assert next(tree.findall(nodes.reference))["reftitle"] == "all inner products"


def test_a_part_of_a_longer_word_is_none(extension):
    said = "anisotropic spikelets, a P-spike, feature-wise, blocks of weights"
    tree = nodes.section("", nodes.paragraph("", said))
    assert extension.link(tree, TERMS, "glossary.html") == []
    tree = nodes.section("", nodes.paragraph("", "on blocks of seeds"))
    assert extension.link(tree, TERMS, "glossary.html") == ["block (of seeds)"]


def page(extension, name: str, monkeypatch, said: str) -> list[tuple[str, str]]:
    """Return the links of a page that says this."""
    monkeypatch.setattr(extension, "glossary", lambda env: TERMS)
    env = SimpleNamespace(found_docs={extension.GLOSSARY})
    builder = SimpleNamespace(get_relative_uri=lambda here, there: "glossary.html")
    tree = nodes.section("", nodes.paragraph("", said))
    extension.lead(SimpleNamespace(env=env, builder=builder), tree, f"book/{name}")
    return linked(tree)


def test_everyday_words_are_linked_on_their_pages_alone(extension, monkeypatch):
    said = "evidence for a spike"
    words = {
        name: [word for word, _ in page(extension, name, monkeypatch, said)]
        for name in ("choosing_p", "spikes", "noise", "intro", "what_to_do")
    }
    assert words == {
        "choosing_p": ["evidence"],
        "spikes": ["spike"],
        "noise": [],
        "intro": [],
        "what_to_do": ["spike"],
    }


def test_words_and_meanings_are_those_of_the_glossary(extension):
    entry = nodes.definition_list_item(
        "",
        nodes.term("", "spike", ids=["term-spike"]),
        nodes.definition("", nodes.paragraph("", "A part of\nrank one.")),
    )
    tree = nodes.definition_list("", entry)
    assert extension.known(tree) == {"spike": ("term-spike", "A part of rank one.")}
    assert set(extension.ONLY) <= set(
        line for line in (ROOT / "book" / "glossary.md").read_text("utf-8").split("\n")
    )
