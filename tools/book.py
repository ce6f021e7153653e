"""Build the book: ``python tools/book.py`` writes ``_build/html``.

jupyter-book keys its execution cache on the text of a page alone, so a change of `fl`
would leave old outputs standing; the cache is dropped when the package or a library has
changed. Warnings are errors.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "_build"
# kernels talk over the machine's own loopback; ipykernel's advice on it is printed once
# per page
NOISE = "Kernel is running over TCP without encryption"


def drop_outputs_of_another_source() -> None:
    """Remove the execution cache if the package, a library, the scale or the data
    differ from the last build's.
    """
    from fl.book import scale
    from fl.sweep import source_hash

    stamp, sums = BUILD / ".source-hash", ROOT / "book" / "data" / "SHA256SUMS"
    state = " ".join(
        [
            source_hash(),
            scale(),
            os.environ.get("FL_DATA", ""),
            sums.read_text() if sums.is_file() else "",
        ]
    )
    if not stamp.is_file() or stamp.read_text() != state:
        shutil.rmtree(BUILD / ".jupyter_cache", ignore_errors=True)
    BUILD.mkdir(exist_ok=True)
    stamp.write_text(state)


def main() -> int:
    """Build all pages and return the exit status of the builder."""
    start = time.perf_counter()
    drop_outputs_of_another_source()
    builder = Path(sys.executable).parent / "jupyter-book"
    # --all: unchanged pages are read again, so their warnings and the numbers glued
    # from other pages are never stale
    command = [
        sys.executable,
        str(builder),
        "build",
        str(ROOT),
        "-W",
        "--keep-going",
        "-n",
        "--all",
        "-q",
    ]
    quiet = {
        "JUPYTER_PREFER_ENV_PATH": "1",
        "PYTHONWARNINGS": "ignore",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    with subprocess.Popen(
        command,
        env=os.environ | quiet,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as build:
        for line in build.stdout:
            if NOISE not in line:
                print(line, end="", flush=True)
    if build.returncode == 0:
        print(
            f"the book is in {BUILD / 'html' / 'index.html'} ({time.perf_counter() - start:.0f} s)"
        )
    return build.returncode


if __name__ == "__main__":
    sys.exit(main())
