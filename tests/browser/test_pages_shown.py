"""Every page of the built book at three widths, in both themes, and on paper."""

import os
from pathlib import Path

import axe_playwright_python
import pytest

from browser.shown import ROOT, SHOWN, settle, visit

PAPER = 658  # a sheet of A4 without its margins, in pixels
AXE = next(Path(axe_playwright_python.__file__).parent.rglob("axe.min.js"))
SHOTS = ROOT / "_build" / "shots"
# the twenty minutes of .ci/run have room for one page of each kind
KINDS = (
    "intro gram spikes unified scoreboard statements notation what_to_do api".split()
)
FEW = [name for name in SHOWN if Path(name).stem in KINDS]
SHOOT = os.environ.get("FL_SHOTS") == "1"


def shot(page, name: str, look: str) -> None:
    """Keep a picture of the page where ``FL_SHOTS=1`` asks for it."""
    if SHOOT:
        SHOTS.mkdir(exist_ok=True)
        page.screenshot(path=SHOTS / f"{Path(name).stem}-{look}.png", full_page=True)


def theme(page, name: str) -> None:
    """Turn the page to a theme."""
    page.evaluate("name => { document.documentElement.dataset.theme = name; }", name)
    settle(page)


def printed(page, name: str) -> list[str]:
    """Return what is wrong with the page on paper, out of either theme."""
    wrong = []
    page.evaluate("fold()")
    page.set_viewport_size({"width": PAPER, "height": 930})
    for look in ("light", "dark"):
        page.emulate_media(media="print", color_scheme=look)
        theme(page, look)
        wrong += [f"print, {look}: {said}" for said in page.evaluate("grounds()")]
    wrong += [f"print: {said}" for said in page.evaluate("paper()")]
    shot(page, name, "print")
    page.emulate_media(media="screen", color_scheme="light")
    theme(page, "light")
    page.set_viewport_size({"width": 1280, "height": 900})
    page.evaluate("unfold()")
    return wrong


@pytest.mark.parametrize("name", FEW if os.environ.get("FL_PAGES") == "few" else SHOWN)
def test_a_page_is_sound(page, name):
    wrong = page.wrong
    visit(page, name)
    page.evaluate("unfold()")
    wrong += page.evaluate("structure()")
    for width in (1280, 768, 390):
        page.set_viewport_size({"width": width, "height": 900})
        settle(page)
        wrong += [f"{width}: {said}" for said in page.evaluate("overflow()")]
        shot(page, name, str(width))
    wrong += printed(page, name)
    if SHOOT:
        theme(page, "dark")
        shot(page, name, "dark")
        theme(page, "light")
    page.evaluate("slim()")
    page.add_script_tag(path=AXE)
    wrong += [f"light: {said}" for said in page.evaluate("axeFinds()")]
    theme(page, "dark")
    dark = page.evaluate("axeFinds(['color-contrast'])")
    wrong += [f"dark: {said}" for said in dark]
    assert not wrong, "\n".join(dict.fromkeys(wrong))
