"""How many small errors the unit tests catch: ``python tools/mutate.py NUMBER [SEED]``.

Each of NUMBER random mutants has one token of `fl/theory` or `fl/preconditioners.py`
exchanged: an operator, a comparison, a number. The tests of its topic run on a copy of the
checkout, with a time limit (a mutant that runs for ever is caught). Mutants that no test
catches are printed. ``FL_JOBS`` sets the number of mutants at a time.
"""

import io
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import tokenize
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 300  # seconds for the tests of one mutant
OTHER = {
    "+": "-",
    "-": "+",
    "*": "/",
    "/": "*",
    "**": "*",
    "@": "*",
    "<": "<=",
    ">": ">=",
}
OTHER |= {"<=": "<", ">=": ">", "==": "!=", "and": "or", "or": "and", "not": ""}


def places(path: Path) -> list[tuple]:
    """Return position and new text of every token that can be exchanged."""
    found = []
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        new = OTHER.get(token.string)
        if token.type == tokenize.NUMBER and re.fullmatch(r"\d+", token.string):
            new = str(int(token.string) + 1)
        if new is not None and not _is_marker(token):
            found.append((token.start, token.string, new))
    return found


def _is_marker(token) -> bool:
    """Tell whether a star or a slash is part of a signature or call, not of a product."""
    before = token.line[: token.start[1]].rstrip()[-1:]
    return token.string in ("*", "**", "/") and before in ("", "(", ",", "[", "{")


def mutated(path: Path, place: tuple) -> str:
    """Return the source of ``path`` with the token at ``place`` exchanged."""
    (row, column), old, new = place
    lines = path.read_text().splitlines(keepends=True)
    line = lines[row - 1]
    lines[row - 1] = line[:column] + new + line[column + len(old) :]
    return "".join(lines)


def tests_of(path: Path) -> list[str]:
    """Return the test files of the topic that a module's name begins with."""
    names = [p.stem.removeprefix("test_") for p in ROOT.glob("tests/test_*.py")]
    own = [n for n in names if path.stem == n or path.stem.startswith(f"{n}_")]
    files = [f"tests/test_{max(own, key=len)}.py"]
    if path.parent.name == "theory":
        files += ["tests/test_properties.py", "-k", f"not properties or [{path.stem}."]
    return files


def caught(path: Path, place: tuple) -> bool:
    """Tell whether the tests fail, or do not end, on one mutant."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        unwanted = shutil.ignore_patterns(".*", "_build", "data", "__pycache__")
        shutil.copytree(ROOT, copy, ignore=unwanted)
        inside = path.relative_to(ROOT)
        (copy / inside).write_text(mutated(path, place))
        environment = os.environ | {"PYTHONPATH": str(copy), "FL_CACHE": f"{folder}/c"}
        options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly"]
        run = [sys.executable, "-m", "pytest", *options, *tests_of(path), str(inside)]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        try:
            done = subprocess.run(
                run, cwd=copy, env=environment, timeout=LIMIT, **quiet
            )
        except subprocess.TimeoutExpired:
            return True
    return done.returncode != 0


def main(number: int, seed: int = 0) -> None:
    """Try ``number`` mutants drawn with ``seed``; print the survivors and the score."""
    paths = [*ROOT.glob("fl/theory/[a-z]*.py"), ROOT / "fl" / "preconditioners.py"]
    all_places = [(path, place) for path in sorted(paths) for place in places(path)]
    chosen = random.Random(seed).sample(all_places, number)
    with ThreadPoolExecutor(int(os.environ.get("FL_JOBS") or 2)) as pool:
        found = list(pool.map(lambda mutant: caught(*mutant), chosen))
    for (path, ((row, _), old, new)), hit in zip(chosen, found, strict=True):
        if not hit:
            print(f"survives: {path.relative_to(ROOT)}:{row}: {old} becomes {new!r}")
    print(f"caught {sum(found)} of {number} mutants")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3] or [20]))
