"""The built book in a real browser, with every name blocked: nothing leaves the machine.

One browser for all pages of a worker. The tests are skipped where there is no Chromium,
and where the book is not built from the present sources.
"""

from pathlib import Path

import pytest
from shown import CHROMIUM, HTML, why_not


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


@pytest.fixture
def page(browser):
    """A page; what went wrong on it stands in ``page.wrong``."""
    opened = browser.new_page(
        viewport={"width": 1280, "height": 900}, color_scheme="light"
    )
    opened.set_default_timeout(120_000)
    wrong = opened.wrong = []
    opened.on(
        "console", lambda m: m.type == "error" and wrong.append(f"console: {m.text}")
    )
    opened.on("pageerror", lambda error: wrong.append(f"script: {error}"))
    opened.on("requestfailed", lambda r: wrong.append(f"failed: {r.url}"))
    leaves = ("file:", "data:", "blob:")
    opened.on(
        "request", lambda r: r.url.startswith(leaves) or wrong.append(f"left: {r.url}")
    )
    yield opened
    opened.close()
