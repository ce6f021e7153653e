"""What a cell of a chapter may look like."""

import re
import sys
from pathlib import Path

import jupytext
import pytest

from fl.registry import TOPICS, listed

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    p for p in (ROOT / "book").glob("*.md") if "{code-cell}" in p.read_text()
)
pages = pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
chapters = pytest.mark.parametrize("topic", TOPICS)
FOLDED = {"hide-input", "hide-cell", "remove-input", "remove-cell"}


def cells(page: Path):
    """Yield the code of each cell with its tags."""
    for cell in jupytext.read(page).cells:
        if cell.cell_type == "code":
            yield cell.source, set(cell.metadata.get("tags", []))


@pytest.mark.parametrize(
    "page", sorted((ROOT / "book").glob("*.md")), ids=lambda p: p.stem
)
def test_a_page_has_at_most_600_lines(page):
    lines = len(page.read_text("utf-8").splitlines())
    assert lines <= 600, f"{page.name} has {lines}: take out what is said twice"


@pages
def test_a_visible_cell_has_at_most_15_lines(page):
    for source, tags in cells(page):
        lines = [line for line in source.splitlines() if line.strip()]
        assert tags & FOLDED or len(lines) <= 15, source


@pages
def test_pictures_are_drawn_in_folded_cells(page):
    for source, tags in cells(page):
        assert tags & FOLDED or "plt.show()" not in source, source


MOVING = [p for p in (ROOT / "book").glob("*.md") if "data-figure=" in p.read_text()]


@pytest.mark.parametrize("page", sorted(MOVING), ids=lambda p: p.stem)
def test_a_picture_for_paper_stands_before_a_moving_figure(page):
    before = None
    for cell in jupytext.read(page).cells:
        if cell.cell_type == "code":
            before = cell
        for name in re.findall('data-figure="(.*?)"', cell.source):
            assert "static-picture" in before.metadata.get("tags", []), name
            assert before.metadata["mystnb"]["image"]["alt"], name
            before = None  # a picture serves one figure


def test_every_moving_figure_stands_on_one_page():
    script = (ROOT / "book" / "_static" / "widgets.js").read_text("utf-8")
    made = re.findall(r"^flFigures\.(\w+) =", script, re.M)
    text = "".join(p.read_text("utf-8") for p in MOVING)
    assert sorted(made) == sorted(re.findall('data-figure="(.*?)"', text))


@pages
def test_lines_of_a_cell_fit_the_page(page):
    long = [line for s, _ in cells(page) for line in s.splitlines() if len(line) > 79]
    assert not long, "\n".join(long)


def test_what_to_do_rests_on_claims_that_exist():
    text = (ROOT / "book" / "what_to_do.md").read_text("utf-8")
    ids = set(re.findall(r"\{claim\}`([^`]*)`", text))
    assert ids and ids <= {id for id, _, _ in listed()}


@chapters
def test_a_chapter_names_its_rooms_alike(topic):
    text = "\n".join(s for s, _ in cells(ROOT / "book" / f"{topic}.md"))
    for room, word in [
        ("theory", "theory"),
        ("simulate", "simulate"),
        ("studies", "study"),
    ]:
        alias = re.findall(rf"from fl\.{room} import {topic}(?: as (\w+))?\n", text)
        assert set(alias) <= {word}, f"import fl.{room}.{topic} as {word}"


@chapters
def test_the_smallest_case_comes_before_the_first_general_box(topic):
    text = (ROOT / "book" / f"{topic}.md").read_text("utf-8")
    before = re.split(r"(?m)^`{3,}\{prf:", text)[0]
    told = before.partition("```{code-cell}")[2]  # not in the list of what comes
    assert re.search("[Bb]y hand|smallest case", told), "show it by hand first"


def test_every_update_rule_names_its_source():
    text = (ROOT / "book" / "update_rules.md").read_text("utf-8")
    kinds = r"(?:torch|scipy|ours|pytorch-optimizer)"
    names = re.findall(rf"^\| (.*?) \| .* \| {kinds} \|$", text, re.M)
    assert len(names) == 14 and [n for n in names if "{cite}" not in n] == ["GD"]


def test_the_glossary_is_sorted_and_explains_words_that_are_used():
    text = (ROOT / "book" / "glossary.md").read_text("utf-8")
    words = re.findall(r"^(\w.*)\n  \w", text.split("{glossary}")[1], re.M)
    assert len(words) > 30 and words == sorted(words, key=str.lower)
    others = [
        p for p in (ROOT / "book").glob("*.md") if p.stem not in ("glossary", "api")
    ]
    book = "\n".join(p.read_text("utf-8") for p in others).lower()
    known = [w.partition(" (")[0].lower() for w in words]
    assert [w for w in known if w not in " ".join(book.split())] == []


def test_the_page_of_exercises_has_all_of_them_and_no_solution():
    sys.path.insert(0, str(ROOT / "book" / "_ext"))
    import exercises

    sys.path.remove(str(ROOT / "book" / "_ext"))
    text = "\n".join(map(exercises.listed, exercises.pages()))
    labels = {
        x
        for p in PAGES
        for x in re.findall(r"\{exercise\}\n:label: (\S+)", p.read_text())
    }
    assert len(labels) > 40 and labels == set(re.findall(r"\{ref\}`(ex-[^`]*)`", text))
    assert "{solution" not in text
