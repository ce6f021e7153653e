"""The built book in a real browser, with every name blocked: nothing leaves the machine.

One browser for all pages of a worker. The tests are skipped where there is no Chromium,
and where the book is not built from the present sources.
"""

from pathlib import Path

import pytest

from browser.shown import CHROMIUM, HTML, why_not


@pytest.fixture(scope="session")
def built() -> Path:
    """The folder of the built book."""
    if reason := why_not():
        pytest.skip(reason)
    return HTML


@pytest.fixture(scope="session")
def browser(built):
    """One browser."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    from playwright.sync_api import sync_playwright

    arguments = [
        "--no-sandbox",
        "--disable-gpu",
        "--host-resolver-rules=MAP * ~NOTFOUND",
    ]
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield started
        started.close()


@pytest.fixture(scope="session")
def tab(browser):
    """One tab for all pages; what goes wrong on them stands in ``tab.wrong``."""
    opened = browser.new_page(color_scheme="light")
    opened.set_default_timeout(120_000)
    wrong = opened.wrong = []
    stays = ("file:", "data:", "blob:")
    opened.on("console", lambda m: m.type == "error" and wrong.append(f"says {m.text}"))
    opened.on("pageerror", lambda error: wrong.append(f"script: {error}"))
    opened.on("requestfailed", lambda r: wrong.append(f"failed: {r.url}"))
    opened.on(
        "request", lambda r: r.url.startswith(stays) or wrong.append(f"left {r.url}")
    )
    return opened


@pytest.fixture
def page(tab):
    """The tab, empty and as wide as a desk's screen."""
    tab.goto("about:blank")
    tab.set_viewport_size({"width": 1280, "height": 900})
    tab.wrong.clear()
    return tab
