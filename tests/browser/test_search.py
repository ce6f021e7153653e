"""The search over ``file://``: chapters first, statements by their number, excerpts to read."""

import re
from pathlib import Path

import pytest
import yaml

from browser.shown import HTML, ROOT, visit

WORDS = {
    "gram": "Gram matrix",
    "alignment": "alignment",
    "help_or_hurt": "interpolator",
    "scaling_laws": "scaling laws",
    "noise": "label noise",
    "ood": "cue",
    "transfer": "transfer",
    "gram_appendix": "appendix geometry",
    "spikes": "spike",
    "spectrum": "giant step",
    "one_step_appendix": "appendix one gradient step",
    "representation": "linear representation",
    "single_index": "single direction",
    "layerwise_appendix": "two models in more detail",
    "unified": "one preconditioned step",
    "effective_exponent": "effective exponent",
    "choosing_p": "evidence",
    "diagnose": "diagnose",
    "spectral_updates": "singular values",
    "feature_matrix": "trained weights",
    "exponent_meter": "measure your own",
    "update_rules": "update rules",
    "glossary": "glossary",
}
STATEMENT = re.compile(
    r'id="([^"]+)">\s*<p class="admonition-title"><span class="caption-number">'
    r"((?:Theorem|Lemma|Proposition|Corollary|Definition) \d+\.\d+) "
)


def test_every_chapter_and_appendix_is_asked_for():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
    parts = [part["chapters"] for part in toc["parts"] if part.get("numbered")]
    pages = {Path(c["file"]).name for part in parts for c in part}
    missing = pages - WORDS.keys()
    assert not missing, f"name words in WORDS that lead to {missing}"


@pytest.fixture
def search(page):
    """A function from a query to the places found, asked on the search page."""
    visit(page, "search.html")
    yield lambda query: page.evaluate("flSearch", query)
    assert not page.wrong


def test_a_word_of_a_chapter_leads_to_the_chapter(search):
    first = {name: search(word)[0]["page"] for name, word in WORDS.items()}
    assert first == {name: f"book/{name}" for name in WORDS}


def test_a_statement_is_found_by_its_number(search):
    for chapter in HTML.glob("book/*.html"):
        for anchor, called in STATEMENT.findall(chapter.read_text("utf-8"))[-2:]:
            found = search(called)[0]
            assert (found["page"], found["anchor"]) == (f"book/{chapter.stem}", anchor)


def test_a_statement_is_found_under_another_name(search):
    kinds = {
        search(f"{kind} 9.3")[0]["title"]
        for kind in ("Theorem", "Lemma", "proposition")
    }
    assert len(kinds) == 1 and "9.3" in kinds.pop()


def test_names_of_the_package_are_found_and_come_last(search):
    assert (
        search("early_alignment")[0]["title"] == "fl.theory.alignment.early_alignment"
    )
    assert search("fl.evidence")[0]["title"] == "fl.evidence"
    pages = [place["page"] for place in search("alignment")[:5]]
    assert not [page for page in pages if page.startswith("book/api")]


def test_a_query_without_an_answer_says_so(page):
    visit(page, "search.html?q=zzzz")
    assert "No place" in page.inner_text("#search-results") and not page.wrong


def test_results_bring_excerpts_without_code_and_tex(page):
    visit(page, "search.html?q=alignment")
    excerpts = page.locator("#search-results .context").all_inner_texts()
    assert len(excerpts) > 20 and sum(map(bool, excerpts)) > 0.9 * len(excerpts)
    assert not [text for text in excerpts if re.search(r"\\[a-z]|\bimport\b|\$", text)]
    page.click("#search-results a >> nth=0")
    assert page.url.endswith("book/alignment.html") and not page.wrong


def test_the_field_of_a_page_asks_the_search(page):
    visit(page, "book/intro.html")
    page.keyboard.press("Control+k")
    page.keyboard.type("Theorem 1.2")
    page.keyboard.press("Enter")
    page.wait_for_selector("#search-results .search a")
    assert page.inner_text("#search-results a >> nth=0").startswith("Theorem 1.2")
    assert not page.wrong
