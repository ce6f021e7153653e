"""Build the book: ``python tools/book.py`` writes ``_build/html``.

jupyter-book keys its execution cache on the text of a page alone, so a change of `fl` would leave old outputs standing;
the cache is dropped when the package or a library has changed. Warnings are errors.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "_build"


def main() -> int:
    """Build all pages and return the exit status of the builder."""
    from fl.sweep import source_hash

    start = time.perf_counter()
    stamp = BUILD / ".source-hash"
    data = ROOT / "book" / "data" / "SHA256SUMS"
    state = source_hash() + (data.read_text() if data.is_file() else "")
    if not stamp.is_file() or stamp.read_text() != state:
        shutil.rmtree(BUILD / ".jupyter_cache", ignore_errors=True)
    BUILD.mkdir(exist_ok=True)
    stamp.write_text(state)
    builder = Path(sys.executable).parent / "jupyter-book"
    # --all: unchanged pages are read again, so their warnings and the numbers glued from other pages are never stale
    command = [sys.executable, str(builder), "build", str(ROOT), "-W", "--keep-going", "-n", "--all", "-q"]
    quiet = {"JUPYTER_PREFER_ENV_PATH": "1", "PYTHONWARNINGS": "ignore"}
    status = subprocess.run(command, env=os.environ | quiet, check=False).returncode
    if status == 0:
        print(f"the book is in {BUILD / 'html' / 'index.html'} ({time.perf_counter() - start:.0f} s)")
    return status


if __name__ == "__main__":
    sys.exit(main())
