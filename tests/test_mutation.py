"""The comparison of chapters can fail: a change of one per cent inside `fl` is caught."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent


def nbval(folder: Path) -> subprocess.CompletedProcess:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-o",
        "addopts=",
        "-p",
        "no:cacheprovider",
        "--nbval",
    ]
    command += [
        "--nbval-current-env",
        "--nbval-sanitize-with",
        str(ROOT / "tests" / "sanitize.cfg"),
        "chapter.ipynb",
    ]
    environment = os.environ | {
        "PYTHONPATH": str(folder),
        "FL_CACHE": str(folder / "cache"),
    }
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_nbval_catches_one_per_cent(tmp_path):
    shutil.copytree(
        ROOT / "fl", tmp_path / "fl", ignore=shutil.ignore_patterns("__pycache__")
    )
    book = nbformat.v4.new_notebook()
    code = "import fl\nfrom fl.numerics import gaussian_mean\n"
    code += 'fl.show("mean of abs", gaussian_mean(abs, [0.0]))'
    printed = nbformat.v4.new_output(
        "stream", name="stdout", text="mean of abs: 0.798\n"
    )
    book.cells = [nbformat.v4.new_code_cell(code, execution_count=1, outputs=[printed])]
    nbformat.write(book, tmp_path / "chapter.ipynb")

    result = nbval(tmp_path)
    assert result.returncode == 0, result.stdout

    numerics = tmp_path / "fl" / "numerics.py"
    source = numerics.read_text()
    mutant = source.replace(
        "mean = weights @ f(nodes)", "mean = weights @ f(nodes) * 1.01"
    )
    assert mutant != source
    numerics.write_text(mutant)
    result = nbval(tmp_path)
    assert result.returncode == 1 and "0.806" in result.stdout
