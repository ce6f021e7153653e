"""What the book says of its chapters and claims in passing: cards, heads and references."""

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from docutils import nodes

from fl import audit
from fl.registry import TOPICS, listed, select

ROOT = Path(__file__).resolve().parent.parent
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
NUMBERED = [
    Path(c["file"]).name
    for part in TOC["parts"]
    if part.get("numbered")
    for c in part["chapters"]
]


@pytest.fixture(scope="module")
def cards():
    """The extension of the book."""
    sys.path.insert(0, str(ROOT / "book" / "_ext"))
    yield importlib.import_module("cards")
    sys.path.remove(str(ROOT / "book" / "_ext"))


def test_all_topics_are_numbered_pages():
    assert set(TOPICS) < set(NUMBERED)


@pytest.mark.parametrize("page", NUMBERED)
def test_a_numbered_page_has_a_card(cards, page):
    known = cards.cards()
    assert page in known, f"add {page} to book/cards.yml: its result, what it needs"
    assert set(known[page]) == {"result", "needs"}


def test_a_card_names_claims_only_where_there_are_some(cards):
    env = SimpleNamespace(note_dependency=lambda path: None)
    document = SimpleNamespace(settings=SimpleNamespace(env=env))
    machine = SimpleNamespace(document=document, reporter=None)
    card = cards.ChapterCards("chapter-cards", [], {}, [], 1, 0, "", machine, machine)
    made = card.run()[0].astext().split('<div class="fl-card">')[1:]
    assert len(made) == len(NUMBERED)
    for page, text in zip(NUMBERED, made, strict=True):
        assert f'href="{page}.html"' in text and " minutes · needs " in text
        assert ("claims:" in text) == (page in TOPICS)


def test_the_head_of_an_appendix_leads_to_its_chapters(cards):
    title = nodes.title("", "Appendix")
    tree = nodes.container("", nodes.section("", title))
    app = SimpleNamespace(env=SimpleNamespace(docname="book/gram_appendix"))
    cards.head(app, tree)
    text = tree[0][1].astext()
    assert 'href="gram.html"' in text and 'href="ood.html"' in text


def reference(cards, id: str) -> str:
    """Return the text of a reference to a claim."""
    ((node,), messages) = cards.claim_role("claim", "", id, 1, None)
    assert not messages
    return node.astext()


def test_every_claim_is_found_in_its_module(cards):
    assert set(cards.modules()) == {id for id, _, _ in listed()}


def test_a_reference_to_a_claim_says_whether_its_code_changed_since(cards, monkeypatch):
    (claim,) = select(["gram.twins"])
    now = audit.digest(claim)
    row = {"held": 9, "blocks": 10, "source": now}
    monkeypatch.setattr(cards, "audited", lambda: {"gram.twins": row})
    assert reference(cards, "gram.twins").endswith("</a> (9 of 10 seed blocks)")
    row["source"] = "another"
    after = "</a> (9 of 10 seed blocks, before an edit)"
    assert reference(cards, "gram.twins").endswith(after)
    assert reference(cards, "gram.spectrum").endswith("</a>")
