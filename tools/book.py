"""Build the book: ``python tools/book.py`` writes ``_build/html``.

First the claims, then the pages (`tools/pages.py`), both on all cores and only what is not
stored already; then jupyter-book makes the HTML from their outputs. Warnings are errors.
"""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import claims
import pages
import weights
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


def digest(*patterns: str) -> str:
    """Return a digest of the files of these patterns, by name and content."""
    found = (path for pattern in patterns for path in sorted(ROOT.glob(pattern)))
    made = hashlib.sha256()
    # the pages of the reference are written by the build itself
    made_here = {"api", "__pycache__"}
    for path in filter(Path.is_file, found):
        name = path.relative_to(ROOT)
        if not made_here & set(name.parts):
            made.update(str(name).encode() + b"\0" + path.read_bytes())
    return made.hexdigest()


def sources() -> list[str]:
    """Return digests of what the HTML is made from: the pages, and the docstrings."""
    book = digest("_*.yml", "tools/book.py", "book/**/*", "_build/.pages/*")
    return [book, digest("fl/**/*.py")]


def build(everything: bool) -> int:
    """Make the HTML of all pages, or of those that changed; return the exit status."""
    builder = Path(sys.executable).parent / "jupyter-book"
    command = [sys.executable, str(builder), "build", str(ROOT), "-W", "--keep-going"]
    command += ["-n", "-q"]
    if everything:
        # unchanged pages are read again, so that their warnings and the numbers glued
        # from other pages are never stale
        command += ["--all"]
    quiet = {"JUPYTER_PREFER_ENV_PATH": "1", "PYTHONWARNINGS": "ignore"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, env=pages.environment() | quiet, **pipes) as builder:
        try:
            for line in builder.stdout:
                if NOISE not in line:
                    print(line, end="", flush=True)
        except BaseException:  # whoever ends this ends the builder too
            builder.terminate()
            raise
    return builder.returncode


def main() -> int:
    """Build all pages and return the exit status."""
    start = time.perf_counter()
    claims.evaluate(scale())
    old = pages.stale(chapters(), claims.SECONDS["pages"])
    if not pages.run(old, say):
        STAMP.unlink(missing_ok=True)
        return 1
    index, made = BUILD / "html" / "index.html", sources()
    known = STAMP.read_text().split() if index.is_file() and STAMP.is_file() else []
    if known != made:
        STAMP.unlink(missing_ok=True)
        # where docstrings alone have changed, the reference alone is written anew
        if code := build(everything=known[:1] != made[:1]):
            return code
        if code := weights.main():
            return code
        STAMP.write_text("\n".join(made))
    say(f"the book is in {index} ({time.perf_counter() - start:.0f} s)")
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    for name in {"FL_CACHE", "FL_DATA"} & os.environ.keys():
        os.environ[name] = str(Path(os.environ[name]).absolute())
    os.chdir(ROOT)
    sys.exit(main())
