"""Build the book: ``python tools/book.py`` writes ``_build/html``.

First the claims, then the pages (`tools/pages.py`), both on all cores and only what is not
stored already; then jupyter-book makes the HTML from their outputs. Warnings are errors.
"""

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import claims
import pages
from reference import ROOT, chapters
from tqdm import tqdm

from fl.book import scale

BUILD = ROOT / "_build"
STAMP = BUILD / ".built"
NOISE = "Kernel is running over TCP without encryption"


def say(text: str) -> None:
    """Print a line at once, above the bar of a terminal."""
    tqdm.write(text)
    sys.stdout.flush()


def sources() -> str:
    """Return a digest of every file that the HTML is made from, but for the outputs."""
    found = [ROOT / "_config.yml", ROOT / "_toc.yml", Path(__file__)]
    for folder, pattern in [
        ("book", "**/*"),
        ("fl", "**/*.py"),
        ("_build/.pages", "*"),
    ]:
        found += sorted(p for p in (ROOT / folder).glob(pattern) if p.is_file())
    made = hashlib.sha256()
    for path in found:
        made.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return made.hexdigest()


def build() -> int:
    """Make the HTML and return the exit status of the builder."""
    builder = Path(sys.executable).parent / "jupyter-book"
    # --all: unchanged pages are read again, so that their warnings and the numbers glued
    # from other pages are never stale
    command = [sys.executable, str(builder), "build", str(ROOT), "-W", "--keep-going"]
    command += ["-n", "--all", "-q"]
    quiet = {"JUPYTER_PREFER_ENV_PATH": "1", "PYTHONWARNINGS": "ignore"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, env=pages.environment() | quiet, **pipes) as builder:
        for line in builder.stdout:
            if NOISE not in line:
                print(line, end="", flush=True)
    return builder.returncode


def main() -> int:
    """Build all pages and return the exit status."""
    start = time.perf_counter()
    claims.evaluate(scale())
    if not pages.run_all(chapters(), claims.SECONDS["pages"], say):
        return 1
    index, state = BUILD / "html" / "index.html", sources()
    if not (index.is_file() and STAMP.is_file() and STAMP.read_text() == state):
        STAMP.unlink(missing_ok=True)
        if code := build():
            return code
        STAMP.write_text(state)
    say(f"the book is in {index} ({time.perf_counter() - start:.0f} s)")
    return 0


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
