"""An edit changes exactly the keys that reach it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fl import closure
from fl.keys import Key

ROOT = Path(__file__).resolve().parent.parent
PROBES = {
    "theory": "fl.theory.gram",
    "simulate": "fl.simulate.gram",
    "study": "fl.studies.gram",
    "claims": "fl.claims.gram",
    "other claims": "fl.claims.alignment",
    "engine": "fl.evidence",
    "sweep": "fl.sweep",
}
CLAIMS = {"study", "claims", "other claims"}
ENGINE = {"engine", "claims", "other claims"}
CODE = "\n_ADDED = 1.5\n"
WORDS = '"""Other words.\n\nMore of them.\n"""\n'
# file, what is appended, and the probes whose keys change: written by hand
TABLE = [
    ("validate.py", CODE, {*PROBES}),
    ("theory/gram.py", CODE, {"theory", "claims"}),
    ("theory/gram_linear.py", CODE, set()),
    ("simulate/gram.py", CODE, {"simulate", "study", "claims"}),
    ("simulate/alignment.py", CODE, {"other claims"}),
    ("studies/gram.py", CODE, {"study", "claims"}),
    ("studies/alignment.py", CODE, {"other claims"}),
    ("claims/gram.py", CODE, {"claims"}),
    ("claims/alignment.py", CODE, {"other claims"}),
    ("evidence.py", CODE, ENGINE),
    ("sweep.py", CODE, {"sweep", *CLAIMS}),
    ("plotting.py", CODE, set()),
    ("cli.py", CODE, set()),
    ("__init__.py", CODE, set()),
    ("theory/__init__.py", CODE, set()),
    ("validate.py", "\n# a comment\n\n\n", set()),
    ("theory/gram.py", "\n\n# layout  \n", set()),
]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package, which stands for it."""
    copy = tmp_path / "fl"
    shutil.copytree(ROOT / "fl", copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(closure, "PACKAGE", copy)
    monkeypatch.setattr("fl.keys.refuse_stale", lambda name, path: None)
    return copy


def digests() -> dict[str, str]:
    found = {}
    for probe, module in PROBES.items():
        key = Key()
        key.feed_modules([module])
        found[probe] = key.digest
    return found


def test_an_edit_changes_exactly_the_keys_that_reach_it(package):
    before = digests()
    for name, text, reached in TABLE:
        path = package / name
        kept = path.read_text()
        path.write_text(kept + text)
        after = digests()
        assert {p for p in PROBES if before[p] != after[p]} == reached, name
        path.write_text(kept)
        assert digests() == before


def test_words_of_every_kind_change_nothing(package):
    before = digests()
    for path in package.rglob("*.py"):
        text = path.read_text()
        if text.startswith('"""') and '"""' in text[3:]:
            path.write_text(WORDS + text[text.index('"""', 3) + 3 :])
    assert digests() == before


def test_a_new_import_widens_a_closure(package):
    before = digests()
    path = package / "theory" / "gram.py"
    path.write_text(path.read_text() + "\ndef _late():\n    import fl.plotting\n")
    wide = digests()
    assert {p for p in PROBES if before[p] != wide[p]} == {"theory", "claims"}
    (package / "plotting.py").write_text("CHANGED = 1\n")
    after = digests()
    assert {p for p in PROBES if wide[p] != after[p]} == {"theory", "claims"}


def test_a_renamed_module_changes_who_imports_it(package):
    before = digests()
    (package / "theory" / "gram.py").rename(package / "theory" / "gram_matrix.py")
    path = package / "claims" / "gram.py"
    text = path.read_text()
    new = text.replace("fl.theory import gram", "fl.theory import gram_matrix")
    path.write_text(new.replace("fl.theory.gram ", "fl.theory.gram_matrix "))
    after = digests()
    changed = {p for p in PROBES if before[p] != after[p]}
    assert changed == {"theory", "claims"}


# a child for each module: the libraries are loaded only once
LOADED = """
import os, sys
import numpy, scipy.stats, torch, xarray
for module in sys.argv[1:]:
    if (child := os.fork()) == 0:
        __import__(module)
        print(*(m for m in sys.modules if m[:3] == "fl."), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


def test_what_python_loads_is_inside_the_closure():
    modules = ["fl.simulate.gram", "fl.claims.alignment"]
    run = [sys.executable, "-c", LOADED, *modules]
    printed = subprocess.run(run, capture_output=True, text=True).stdout.splitlines()
    # what the faces load: they are no part of a key
    always = {"fl.arithmetic", "fl.freshness", "fl.closure", "fl.registry"}
    always |= {"fl.stored"}
    for module, line in zip(modules, printed, strict=True):
        loaded = {m for m in line.split() if not _is_face(m)}
        assert loaded and loaded - always <= closure.closure([module]).modules.keys()


def _is_face(module: str) -> bool:
    return (ROOT / module.replace(".", "/") / "__init__.py").is_file()
