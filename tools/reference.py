"""Write the reference notebooks that nbval compares, by running the chapters.

    python tools/reference.py [STEM ...]

Each chapter of ``_toc.yml`` with code cells is run in a fresh kernel; its outputs are
stored in ``tests/notebooks/STEM.ipynb`` with deterministic cell ids and without
pictures.
"""

import re
import sys
from pathlib import Path

import jupytext
import nbformat
import yaml
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
REFERENCES = ROOT / "tests" / "notebooks"


def chapters() -> list[Path]:
    """Return the pages of ``_toc.yml`` that have code cells, in reading order."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    entries = [toc["root"]] + [
        c["file"] for part in toc["parts"] for c in part["chapters"]
    ]
    pages = [ROOT / f"{entry}.md" for entry in entries]
    return [page for page in pages if "{code-cell}" in page.read_text()]


def notebook(page: Path) -> nbformat.NotebookNode:
    """Return the chapter as a notebook without outputs, its cell ids made from its
    name.
    """
    book = jupytext.read(page)
    book.metadata = nbformat.NotebookNode(kernelspec=book.metadata["kernelspec"])
    for i, cell in enumerate(book.cells):
        cell["id"] = f"{page.stem}-{i:03d}"
        cell.metadata = nbformat.NotebookNode(
            {k: v for k, v in cell.metadata.items() if k == "tags"}
        )
    return book


def strip(book: nbformat.NotebookNode) -> None:
    """Replace every picture by a stub, and drop what names this machine; what a picture
    shows is printed beside it.
    """
    book.metadata.pop("language_info", None)
    for cell in book.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/svg+xml" in data:
                data["image/svg+xml"] = "<svg></svg>"
            if "text/html" in data:
                html = data["text/html"]
                data["text/html"] = re.sub("(?s)<svg.*</svg>", "<svg></svg>", html)
            data.pop("image/png", None)
            output.pop("transient", None)


def main(stems: list[str]) -> None:
    """Run the named chapters, or all, and store their references."""
    REFERENCES.mkdir(parents=True, exist_ok=True)
    pages = chapters()
    unknown = set(stems) - {p.stem for p in pages}
    if unknown:
        sys.exit(
            f"no chapter {', '.join(sorted(unknown))}: must be among "
            f"{', '.join(page.stem for page in pages)}"
        )
    for page in pages:
        if stems and page.stem not in stems:
            continue
        book = notebook(page)
        where = {"metadata": {"path": str(page.parent)}}
        # streams in one piece: how a kernel cuts its output depends on the load of the
        # machine
        NotebookClient(
            book, timeout=600, coalesce_streams=True, resources=where
        ).execute()
        strip(book)
        for output in (o for c in book.cells for o in c.get("outputs", [])):
            if output.output_type == "stream" and output.name == "stderr":
                sys.exit(
                    f"{page.name} writes to stderr: {re.sub(r'[^ -~]', ' ', output.text)[:300]}"
                )
        nbformat.write(book, REFERENCES / f"{page.stem}.ipynb")
        print(f"{page.stem}: {sum(c.cell_type == 'code' for c in book.cells)} cells")


if __name__ == "__main__":
    main(sys.argv[1:])
