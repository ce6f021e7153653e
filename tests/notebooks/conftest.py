"""A chapter that passed is a page of the book: its outputs are kept where the builder looks,
so that `make book` after `make test` executes nothing again.
"""

import json
import os
import sys
from pathlib import Path

import pytest
from filelock import FileLock
from nbval.plugin import IPyNbCell

TOOLS = Path(__file__).resolve().parents[2] / "tools"


def tools():
    """Return the tool that runs pages, for those who ask for chapters alone."""
    sys.path.insert(0, str(TOOLS))
    import pages

    sys.path.remove(str(TOOLS))
    return pages


def ask(kernel, code: str) -> str:
    """Run ``code`` in a kernel between two cells and return what it printed."""
    sent, text = kernel.execute_cell_input(code, allow_stdin=False), ""
    kernel.await_reply(sent, timeout=60)
    while True:
        message = kernel.get_message("iopub", timeout=60)
        if message["parent_header"].get("msg_id") != sent:
            continue
        if message["msg_type"] == "stream":
            text += message["content"]["text"]
        if message["content"].get("execution_state") == "idle":
            return text


def pytest_configure():
    """Give kernels the settings of the book's, before any starts."""
    for name in ("MPLBACKEND", "MATPLOTLIBRC"):
        os.environ.pop(name, None)
    os.environ.update(tools().SETTINGS)


@pytest.hookimpl(trylast=True)
def pytest_runtest_setup(item):
    """Note from before its first cell what a chapter loads and reads."""
    if isinstance(item, IPyNbCell) and not hasattr(item.parent, "passed"):
        ask(item.parent.kernel, tools().BEGIN)
        item.parent.passed = {}


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    """Keep the outputs of a cell that passed."""
    outcome = yield
    if isinstance(item, IPyNbCell) and outcome.excinfo is None:
        item.parent.passed[item.cell_num] = item.test_outputs


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item, nextitem):
    """After the last cell of a chapter, keep the page if every cell passed."""
    if (
        not isinstance(item, IPyNbCell)
        or getattr(nextitem, "parent", None) is item.parent
    ):
        return
    chapter = item.parent
    cells = [c for c in chapter.nb.cells if c.cell_type == "code"]
    if len(chapter.passed) < len(cells):
        return
    pages = tools()
    page = pages.ROOT / "book" / f"{chapter.path.stem}.md"
    used = json.loads(ask(chapter.kernel, pages.END))
    outputs = [chapter.passed[i] for i in range(len(cells))]
    with FileLock(pages.BUILD / "tested.lock"):
        pages.adopt(page, [c.source for c in cells], outputs, used)
