"""How many small errors the unit tests catch:
``python tools/mutate.py NUMBER [SEED [MODULE ...]]``.

Each of NUMBER random mutants has one token of `fl/theory` or `fl/preconditioners.py`
exchanged: an operator, a comparison, a number. It is caught if a unit test, a property row
or an example in a docstring fails, or does not end in three times its usual processor time.

A server has the libraries loaded and forks for each mutant, in a copy of the checkout. One
run without a mutant tells which tests call which function of the theory, and how long each
takes: the tests of the mutated function come first, the cheapest before the others, then
all tests of its topic. ``MODULE`` restricts the sample to modules whose name begins so;
``FL_JOBS`` sets the number of servers.
"""

import ast
import importlib
import io
import json
import multiprocessing
import os
import random
import re
import resource
import shutil
import sys
import tempfile
import time
import tokenize
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HERE = Path()  # the copy that a server works in
LOADED = "numpy scipy.stats scipy.integrate torch xarray pandas sklearn.linear_model "
LOADED += "sklearn.datasets pytest hypothesis numba joblib rich typer"
START = 30  # seconds of processor time to load the package and the tests
OTHER = {"+": "-", "-": "+", "*": "/", "/": "*", "**": "*", "@": "*", "<": "<="}
OTHER |= {"<=": "<", ">": ">=", ">=": ">", "==": "!=", "not": ""}
OTHER |= {"and": "or", "or": "and"}


def modules() -> list[str]:
    """Return the files that are mutated, relative to the checkout."""
    paths = [*ROOT.glob("fl/theory/[a-z]*.py"), ROOT / "fl" / "preconditioners.py"]
    return [str(path.relative_to(ROOT)) for path in sorted(paths)]


def places(path: str) -> list[tuple]:
    """Return position, old and new text of every token that can be exchanged."""
    found = []
    text = (ROOT / path).read_text()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        new = OTHER.get(token.string)
        if token.type == tokenize.NUMBER and re.fullmatch(r"\d+", token.string):
            new = str(int(token.string) + 1)
        if new is not None and not _is_marker(token):
            found += [(token.start, token.string, new)]
    return found


def _is_marker(token) -> bool:
    """Tell whether a star or a slash is part of a signature or call, not of a product."""
    before = token.line[: token.start[1]].rstrip()[-1:]
    return token.string in ("*", "**", "/") and before in ("", "(", ",", "[", "{")


def mutated(text: str, place: tuple) -> str:
    """Return the source ``text`` with the token at ``place`` exchanged."""
    (row, column), old, new = place
    lines = text.splitlines(keepends=True)
    line = lines[row - 1]
    lines[row - 1] = line[:column] + new + line[column + len(old) :]
    return "".join(lines)


def function_at(path: str, row: int) -> str | None:
    """Return the innermost function around a row as ``path:first line``, if any."""
    around = [
        min([node.lineno, *(d.lineno for d in node.decorator_list)])
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.FunctionDef) and node.body[0].lineno <= row
        if row <= node.end_lineno
    ]
    return f"{path}:{max(around)}" if around else None


def tests_of(path: str) -> list[str]:
    """Return the test file of the topic that a module's name begins with, and itself."""
    stem = Path(path).stem
    names = [p.stem.removeprefix("test_") for p in ROOT.glob("tests/test_*.py")]
    own = [n for n in names if f"{stem}_".startswith(f"{n}_")]
    return [f"tests/test_{max(own, key=len)}.py", path]


class Calls:
    """A pytest plugin: which functions of the theory each test calls, and its seconds."""

    def __init__(self, wanted: list[str]):
        self.wanted = {str(HERE / path): path for path in wanted}
        self.found, self.failed = {}, []

    def pytest_runtest_protocol(self, item) -> None:
        """Begin to listen."""
        self.calls, self.start = set(), time.process_time()
        sys.settrace(self._hear)

    def pytest_runtest_logfinish(self, nodeid) -> None:
        """Note what was heard."""
        sys.settrace(None)
        self.found[nodeid] = time.process_time() - self.start, sorted(self.calls)

    def pytest_runtest_logreport(self, report) -> None:
        """Note what fails without a mutant."""
        if report.failed:
            self.failed.append(report.nodeid)

    def _hear(self, frame, event, argument) -> None:
        path = self.wanted.get(frame.f_code.co_filename)
        if path:
            self.calls.add(f"{path}:{frame.f_code.co_firstlineno}")


class Chosen:
    """A pytest plugin: run the tests of ``order`` alone, in that order."""

    def __init__(self, order: list[str]):
        self.place = {name: i for i, name in enumerate(order)}

    def pytest_collection_modifyitems(self, items: list) -> None:
        """Select and sort."""
        items[:] = [item for item in items if item.nodeid in self.place]
        items.sort(key=lambda item: self.place[item.nodeid])


def prepare(home: str) -> None:
    """Make this process a server, with a copy below ``home`` and the libraries loaded."""
    global HERE
    HERE = Path(tempfile.mkdtemp(dir=home)).resolve()
    unwanted = shutil.ignore_patterns("__pycache__", "notebooks", ".*")
    for name in ("fl", "tests"):
        shutil.copytree(ROOT / name, HERE / name, ignore=unwanted)
    for path in ROOT.glob("[a-zA-Z]*"):
        if not (HERE / path.name).exists() and path.name != "_build":
            (HERE / path.name).symlink_to(path)
    os.chdir(HERE)
    sys.path.insert(0, str(HERE))
    os.environ |= {"PYTHONPATH": str(HERE), "FL_JOBS": "1"}
    for name in LOADED.split():
        importlib.import_module(name)


def forked(act: Callable[[], int], seconds: float) -> bool:
    """Tell whether ``act`` returns zero in a child that may compute for ``seconds``."""
    if not (child := os.fork()):
        quiet = os.open(HERE / "output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(quiet, 1), os.dup2(quiet, 2)
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1,) * 2)
        os.environ["FL_CACHE"] = tempfile.mkdtemp(dir=HERE)
        try:
            os._exit(int(act()))
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def pytest_on(files: list[str], plugin, *options: str) -> int:
    """Run the tests of ``files`` in this process; return pytest's code."""
    import pytest

    quiet = ["-pno:cacheprovider", "-pno:xdist", "-pno:nbval"]
    quiet += ["-W", "ignore:Module already imported"]
    return pytest.main([*quiet, *options, *files], plugins=[plugin])


def listen(files: list[str]) -> dict[str, tuple[float, list[str]]]:
    """Return seconds and called functions of every test of ``files``."""
    answer, calls = HERE / "calls.json", Calls(modules())

    def act() -> int:
        pytest_on(files, calls)
        return not answer.write_text(json.dumps([calls.found, calls.failed]))

    answer.unlink(missing_ok=True)
    forked(act, 3600)
    found, failed = json.loads(answer.read_text())
    for name in failed:  # it would catch everything
        print(f"left out, fails without a mutant: {name}", flush=True)
        del found[name]
    return found


def caught(mutant: tuple, tests: dict) -> bool:
    """Tell whether a test fails, or does not end, on one ``mutant`` (path, place)."""
    path, place = mutant
    sys.dont_write_bytecode = True  # a mutant can have the size and age of another
    own = [t for t in tests if t.split("::")[0] in tests_of(path)]
    own += [t for t in tests if f"[{Path(path).stem}." in t]
    name = function_at(path, place[0][0])
    near = [t for t in tests if name in tests[t][1]]
    file, text = HERE / path, (ROOT / path).read_text()

    def passes(chosen: list[str]) -> bool:
        order = sorted(chosen, key=lambda test: tests[test][0])
        limit = START + 3 * sum(tests[test][0] for test in order)
        files = sorted({test.split("::")[0] for test in order})
        act = lambda: pytest_on(files, Chosen(order), "-x")  # noqa: E731
        return not order or forked(act, limit)

    file.write_text(mutated(text, place))
    try:
        return not (passes(near) and passes(own))
    finally:
        shutil.copy2(ROOT / path, file)


def main(number: int = 20, seed: int = 0, *names: str) -> None:
    """Try ``number`` mutants drawn with ``seed``; print the survivors and the score."""
    chosen = [p for p in modules() if Path(p).stem.startswith(names or "")]
    everywhere = [(path, place) for path in chosen for place in places(path)]
    chosen = random.Random(seed).sample(everywhere, number)
    topics = {}  # the tests of a topic run in one go
    for path in {path for path, _ in chosen}:
        file, own = tests_of(path)
        topics.setdefault(file, [file]).append(own)
    rows = " or ".join(sorted({f"[{Path(path).stem}." for path, _ in chosen}))
    groups = [*topics.values(), ["tests/test_properties.py", "-k", rows]]
    jobs, tests = int(os.environ.get("FL_JOBS") or 2), {}
    pools = multiprocessing.get_context("fork").Pool
    with tempfile.TemporaryDirectory() as home, pools(jobs, prepare, (home,)) as pool:
        for found in pool.imap_unordered(listen, groups):
            tests |= found
        (path, (at, old, _)), hits = chosen[0], 0
        if pool.apply(caught, ((path, (at, old, old)), tests)):
            raise ValueError(f"tests of {path} fail without a mutant")
        tried = enumerate(pool.imap(partial(caught, tests=tests), chosen), 1)
        for (path, ((row, _), old, new)), (i, hit) in zip(chosen, tried, strict=True):
            hits += hit
            if not hit:
                print(f"survives: {path}:{row}: {old} becomes {new!r}", flush=True)
            if i % 20 == 0 or i == number:
                print(f"caught {hits} of {i}", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]), *sys.argv[3:])
