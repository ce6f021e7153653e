"""The way of adding a theorem: each step that was forgotten says what to do."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from fl.registry import TOPICS

ROOT = Path(__file__).resolve().parent.parent


def tool(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def topic_of(module: Path) -> str | None:
    """Return the topic that a module's name begins with."""
    named = [t for t in TOPICS if module.stem == t or module.stem.startswith(f"{t}_")]
    return max(named, key=len, default=None)


ROOMS = ["theory", "simulate", "studies", "claims"]
MODULES = [p for room in ROOMS for p in sorted((ROOT / "fl" / room).glob("[a-z]*.py"))]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_a_module_of_a_wing_is_named_after_its_topic(path):
    assert topic_of(path), (
        f"{path.stem} begins with no topic: rename it, or enter its topic in TOPICS of "
        "fl/registry.py, in reading order"
    )


@pytest.mark.parametrize("topic", TOPICS)
def test_a_topic_has_all_its_places(topic):
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    pages = [c["file"] for part in toc["parts"] for c in part["chapters"]]
    assert f"book/{topic}" in pages, f"enter book/{topic} in _toc.yml"
    for room in ROOMS[2:]:
        path = ROOT / "fl" / room / f"{topic}.py"
        assert path.is_file(), (
            f"write fl/{room}/{topic}.py (tools/new_topic.py shows one)"
        )
    assert (ROOT / "tests" / f"test_{topic}.py").is_file(), (
        f"write tests/test_{topic}.py"
    )
    reference = ROOT / "tests" / "notebooks" / f"{topic}.ipynb"
    assert reference.is_file(), f"run `make reference CHAPTERS={topic}`"


def test_every_page_is_in_the_contents():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    pages = {c["file"] for part in toc["parts"] for c in part["chapters"]}
    found = {f"book/{p.stem}" for p in (ROOT / "book").glob("*.md")}
    missing = found - pages - {toc["root"]}
    assert not missing, f"enter {', '.join(sorted(missing))} in _toc.yml"


def test_every_key_that_a_page_cites_is_in_the_bibliography():
    bibliography = (ROOT / "book" / "references.bib").read_text()
    keys = set(re.findall(r"@\w+\{([\w-]+),", bibliography))
    for page in (ROOT / "book").glob("*.md"):
        cited = re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", page.read_text())
        named = {key.strip() for group in cited for key in group.split(",")}
        assert named <= keys, (
            f"{page.name} cites {', '.join(named - keys)}: add to book/references.bib"
        )


def test_the_reference_lists_every_module():
    written = (ROOT / "book" / "api.md").read_text()
    assert written == tool("api").page(), "run `python tools/api.py`"


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A copy of the house with a new topic in it."""
    root = tmp_path_factory.mktemp("house")
    kept = ["fl", "book", "tests", "tools", "_toc.yml", "_config.yml", "pyproject.toml"]
    unwanted = shutil.ignore_patterns("__pycache__", "data", "notebooks")
    for name in kept:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=unwanted)
        else:
            shutil.copy(source, root / name)
    run(root, "tools/new_topic.py", "edge_case", "A test of the tool", "noise")
    return root


def run(root: Path, *arguments: str) -> str:
    environment = os.environ | {
        "PYTHONPATH": str(root),
        "FL_CACHE": str(root / "cache"),
        "FL_JOBS": "1",
    }
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_new_topic_stands_at_once(house):
    verify = "from fl.cli import app; app(['verify', 'edge_case', '--scale', 'smoke'])"
    assert "1 of 1 claims stand" in run(house, "-c", verify)


def test_a_new_topic_keeps_the_rules(house):
    tests = ["tests/test_edge_case.py", "fl/theory/edge_case.py"]
    rules = ["tests/test_walls.py", "tests/test_docstrings.py", "-k", "edge_case"]
    quick = ["-q", "-p", "no:cacheprovider"]
    run(house, "-m", "pytest", *quick, *tests, *rules)
    made = [f"fl/{room}/edge_case.py" for room in ROOMS] + ["tests/test_edge_case.py"]
    run(house, "-m", "ruff", "check", "-q", *made)
    run(house, "-m", "ruff", "format", "-q", "--check", *made)
    registry = (house / "fl" / "registry.py").read_text()
    assert '"noise",\n    "edge_case",\n' in registry
    assert (
        "book/noise\n      - file: book/edge_case" in (house / "_toc.yml").read_text()
    )


@pytest.mark.parametrize("name", ["noise", "Edge", "edge-case"])
def test_a_bad_name_of_a_topic_is_refused(name, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    with pytest.raises(SystemExit, match="must be a new name"):
        tool("new_topic").main(name, "Title")
