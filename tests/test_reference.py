"""The reference notebooks are in step with the chapters; nbval then compares what they
print.
"""

import importlib.util
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
spec = importlib.util.spec_from_file_location(
    "reference", ROOT / "tools" / "reference.py"
)
reference = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reference)
CHAPTERS = reference.chapters()
CURE = "run `make reference CHAPTERS={}` and read the difference"


def stored(page: Path) -> nbformat.NotebookNode:
    return nbformat.read(reference.REFERENCES / f"{page.stem}.ipynb", 4)


def test_one_reference_per_chapter_and_no_orphan():
    assert {p.stem for p in reference.REFERENCES.glob("*.ipynb")} == {
        p.stem for p in CHAPTERS
    }


@pytest.mark.parametrize("page", CHAPTERS, ids=lambda p: p.stem)
def test_code_and_tags_are_those_of_the_chapter(page):
    def code(book):
        return [
            (c.source, c.metadata.get("tags", []))
            for c in book.cells
            if c.cell_type == "code"
        ]

    assert code(stored(page)) == code(reference.notebook(page)), CURE.format(page.stem)


@pytest.mark.parametrize("page", CHAPTERS, ids=lambda p: p.stem)
def test_every_cell_has_run_and_says_nothing_on_stderr(page):
    # a cell without an execution count would be compared with nothing
    book = stored(page)
    assert set(book.metadata) == {"kernelspec"}
    for i, cell in enumerate(book.cells):
        assert cell.id == f"{page.stem}-{i:03d}"
        if cell.cell_type == "code":
            assert cell.execution_count is not None, CURE.format(page.stem)
            assert not [o for o in cell.outputs if o.get("name") == "stderr"]
            assert "raises-exception" in cell.metadata.get("tags", []) or not [
                o for o in cell.outputs if o.output_type == "error"
            ]


@pytest.mark.parametrize("page", CHAPTERS, ids=lambda p: p.stem)
def test_no_chapter_opts_out_of_the_comparison(page):
    banned = {"nbval-skip", "nbval-ignore-output", "skip-execution"}
    for cell in reference.notebook(page).cells:
        assert (
            not banned & set(cell.metadata.get("tags", []))
            and "NBVAL_" not in cell.source
        )
