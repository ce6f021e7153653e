"""What a reader opens, closes and moves, by mouse and by keyboard."""

import re

import pytest
from test_widgets import small_task

from browser.shown import HTML, visit
from fl.theory.alignment import early_alignment

FIGURES = sorted(
    p.name for p in HTML.glob("book/*.html") if "data-figure=" in p.read_text("utf-8")
)
NUMBERS = sorted(
    p.name for p in HTML.glob("book/*.html") if "fl-number" in p.read_text("utf-8")
)
FOLDED = ["details.sd-dropdown", ".bd-content details.hide"]  # proofs, code cells


@pytest.mark.parametrize("kind", FOLDED)
def test_proofs_and_code_open_by_mouse_and_keyboard(page, kind):
    visit(page, "book/gram.html")
    box = page.locator(kind).first
    is_open = "box => box.open"
    assert not box.evaluate(is_open), "closed at first"
    title = box.locator("summary")
    title.click()
    assert box.evaluate(is_open) and box.locator("p, pre").last.is_visible()
    title.focus()
    page.keyboard.press("Enter")
    assert not box.evaluate(is_open)
    page.keyboard.press("Space")
    assert box.evaluate(is_open) and not page.wrong


def test_a_number_leads_to_its_cell_which_unfolds(page):
    folded = '//div[contains(@class, "cell ") and .//details]'
    for name in NUMBERS:
        visit(page, f"book/{name}")
        ids = page.locator(f"xpath={folded}").evaluate_all("all => all.map(c => c.id)")
        anchors = [id for id in ids if id.startswith("from-")]
        if anchors:
            break
    cell = page.locator(f"#{anchors[0]}")
    assert cell.locator("pre").first.is_hidden(), "closed at first"
    page.locator(f'a.fl-number[href="#{anchors[0]}"]').first.click()
    assert cell.locator("pre").first.is_visible() and not page.wrong


def test_solutions_open_by_mouse_and_keyboard(page):
    visit(page, "book/gram.html")
    box = page.locator(".solution.dropdown").first
    inside = box.locator("section p, section div").first
    assert inside.is_hidden(), "closed at first"
    box.locator(".admonition-title").click()
    assert inside.is_visible()
    button = box.locator(".toggle-button")
    button.focus()
    page.keyboard.press("Enter")
    assert inside.is_hidden()
    page.keyboard.press("Space")
    assert inside.is_visible() and not page.wrong


@pytest.mark.parametrize("name", FIGURES)
def test_every_slider_moves_its_figure_by_keyboard(page, name):
    visit(page, f"book/{name}")
    for figure in page.locator(".fl-figure").all():
        for row in figure.locator(".fl-slider").all():
            slider, shown = row.locator("input"), row.locator("output")
            slider.focus()
            page.keyboard.press("Home")
            before = figure.locator(".fl-picture").inner_html()
            page.keyboard.press("ArrowRight")
            low, step = (float(slider.get_attribute(k)) for k in ("min", "step"))
            assert float(shown.inner_text()) == pytest.approx(low + step)
            assert figure.locator(".fl-picture").inner_html() != before
    assert not page.wrong


def test_the_numbers_under_the_sliders_are_those_of_the_theory(page):
    visit(page, "book/intro.html")
    for slider, keys in {"strong": ["Home", *["PageUp"] * 3], "snr": ["End"]}.items():
        page.focus(f"#fl-alignment-{slider}")
        for key in keys:
            page.keyboard.press(key)
    names = ("strong", "snr", "n")
    strong, snr, n = (float(page.input_value(f"#fl-alignment-{k}")) for k in names)
    said = page.inner_text("[data-figure=alignment] .fl-said")
    best, most, plain = map(float, re.findall(r"-?\d+\.\d+", said))
    task = small_task(strong, snr)
    for p, shown in ((best, most), (0.0, plain)):
        assert shown == pytest.approx(early_alignment(task, p, int(n)), abs=6e-4)
    assert most > plain, (
        "the sliders were moved away from where nothing is to be gained"
    )
