"""Run the pages of the book, two at a time, and only those whose outputs may be old.

A page runs again if its text, a module that it loaded, a file that it read, a library,
the scale or an environment variable that matters has changed since it ran; what it loaded
and read is asked of its kernel at the end. Outputs go into the cache that jupyter-book
reads, so that the builder executes nothing.
"""

import asyncio
import itertools
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat.v4 import new_code_cell
from reference import ROOT, chapters
from tqdm import tqdm

BUILD = ROOT / "_build"
CACHE, RECORDS = BUILD / ".jupyter_cache", BUILD / ".pages"
FAILURES = (CellExecutionError, CellTimeoutError, DeadKernelError)
READER = {"name": "myst_nb_md", "type": "plugin"}
# a kernel has no settings but these: a reader's own would change what a page shows
SETTINGS = {
    "FL_JOBS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "IPYTHONDIR": str(BUILD / "ipython"),
    "MPLCONFIGDIR": str(BUILD / "matplotlib"),
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
}
BEGIN = "from fl import reads\nreads.begin()"
END = f"""
import json
from jupyter_core.paths import jupyter_runtime_dir
from pathlib import Path
from fl import reads, store
ignored = [store.cache_folder(), Path({str(BUILD)!r}), Path(jupyter_runtime_dir())]
print(json.dumps(reads.end(ignored)))
"""


def environment() -> dict[str, str]:
    """Return the environment of a kernel, without a backend that hides the figures."""
    kept = {
        k: v for k, v in os.environ.items() if k not in ("MPLBACKEND", "MATPLOTLIBRC")
    }
    return kept | SETTINGS


def digest(page: Path, modules: list[str], files: list[str]) -> str:
    """Return the key of a page that loaded ``modules`` and read ``files``."""
    from fl.book import scale
    from fl.keys import Key

    key = Key()
    key.feed(page.read_bytes(), scale(), os.environ.get("FL_KEYS", ""))
    key.feed(Path(__file__).read_bytes())
    key.feed_modules(modules)
    for file in files:
        key.feed_file(Path(file))
    for name in ("matplotlib", "IPython", "myst_nb", "ipykernel"):
        key.feed_package(name)
    key.feed(str(bool(os.environ.get("FL_DATA"))))
    return key.digest


def record(page: Path) -> Path:
    """Return the file that says what a page depended on when it last ran."""
    return RECORDS / f"{page.stem}.json"


def is_fresh(page: Path, cache) -> bool:
    """Tell whether the stored outputs of a page are those that it would give now."""
    if not record(page).is_file():
        return False
    known = json.loads(record(page).read_text())
    modules = [m for m in known["modules"] if _exists(m)]
    if (
        modules != known["modules"]
        or digest(page, modules, known["files"]) != known["key"]
    ):
        return False
    try:
        cache.match_cache_notebook(_notebook(page, cache).nb)
    except KeyError:
        return False
    return True


def _exists(module: str) -> bool:
    from fl.closure import locate

    return locate(module) is not None


def _notebook(page: Path, cache):
    return cache.get_project_notebook(
        cache.add_nb_to_project(str(page), read_data=READER).pk
    )


async def execute(book, page: Path) -> dict:
    """Run the cells of ``book`` in place and return the modules and files it used."""
    resources = {"metadata": {"path": str(page.parent)}}
    # without times in the cells: the cache knows a notebook by what is in its cells
    options = {"timeout": 600, "record_timing": False, "coalesce_streams": True}
    client = NotebookClient(book, resources=resources, **options)
    cells = len(book.cells)
    book.cells += [new_code_cell(BEGIN), new_code_cell(END)]
    silent = {"store_history": False}
    # kernels talk over the machine's own loopback; each would advise against it here
    quiet = {"env": environment(), "stderr": subprocess.DEVNULL}
    async with client.async_setup_kernel(**quiet):
        await client.async_execute_cell(book.cells[cells], cells, **silent)
        for i, cell in enumerate(book.cells[:cells]):
            await client.async_execute_cell(cell, i)
        last = await client.async_execute_cell(book.cells[-1], cells + 1, **silent)
    del book.cells[cells:]
    return json.loads(last["outputs"][0]["text"])


def stale(pages: list[Path], seconds: dict[str, float]) -> list[Path]:
    """Return the pages that have to run, the longest first by ``seconds``."""
    cache = _cache()
    found = [page for page in pages if not is_fresh(page, cache)]
    return sorted(found, key=lambda page: -seconds.get(page.stem, 1e9))


def run(pages: list[Path], say=tqdm.write) -> bool:
    """Run ``pages`` on all cores; tell whether all succeeded.

    ``say`` takes a line for each.
    """
    return asyncio.run(_run(pages, _cache(), say))


def _cache():
    RECORDS.mkdir(parents=True, exist_ok=True)
    cache = get_cache(str(CACHE))
    cache.change_cache_limit(max(1000, cache.get_cache_limit()))
    return cache


async def _run(pages: list[Path], cache, say) -> bool:
    free, done = asyncio.Semaphore(os.cpu_count() or 1), itertools.count(1)
    bar = tqdm(total=len(pages), desc="pages", leave=False, disable=None)

    async def one(page: Path) -> bool:
        async with free:
            start, project = time.perf_counter(), _notebook(page, cache)
            try:
                used = await execute(project.nb, page)
            except FAILURES as error:
                record(page).unlink(missing_ok=True)
                say(
                    f"[{next(done)}/{len(pages)}] {page.stem}: FAILED\n{plain(str(error))}"
                )
                return False
            took = time.perf_counter() - start
        keep(page, project, used, took, cache)
        bar.update()
        say(f"[{next(done)}/{len(pages)}] {page.stem}: {took:.0f} s")
        return True

    with bar:
        return all(await asyncio.gather(*map(one, pages)))


def keep(page: Path, project, used: dict, seconds: float, cache) -> None:
    """Store the outputs of a page, and what they depend on."""
    data = {"execution_seconds": seconds}
    bundle = CacheBundleIn(project.nb, project.uri, data=data)
    cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
    used["key"] = digest(page, used["modules"], used["files"])
    record(page).write_text(json.dumps(used, indent=1))


def adopt(page: Path, sources: list[str], outputs: list[list], used: dict) -> bool:
    """Keep outputs that a test of these cells gave; tell whether they are the page's.

    ``used`` is what the kernel said at the end, see ``END``.
    """
    cache = _cache()
    project = _notebook(page, cache)
    cells = [c for c in project.nb.cells if c.cell_type == "code"]
    if [c.source for c in cells] != sources:
        return False
    for number, (cell, given) in enumerate(zip(cells, outputs, strict=True), 1):
        cell.execution_count, cell.outputs = number, given
        for output in given:
            if output.output_type == "execute_result":
                output.execution_count = number
    keep(page, project, used, 0.0, cache)
    return True


def plain(text: str) -> str:
    """Return ``text`` without the colours of a terminal."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


if __name__ == "__main__":
    sys.exit(not run(stale(chapters(), {})))
