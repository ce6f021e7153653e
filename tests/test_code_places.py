"""A claim on the scoreboard leads to the modules that it really uses."""

import importlib
import re
import sys
from pathlib import Path

import pytest
from docutils import nodes

from fl.book import _row
from fl.evidence import CLAIMS, Verdict
from fl.keys import function_name
from fl.registry import select

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def code_places():
    """The extension of the book."""
    sys.path.insert(0, str(ROOT / "book" / "_ext"))
    yield importlib.import_module("code_places")
    sys.path.remove(str(ROOT / "book" / "_ext"))


def verdict(id: str) -> Verdict:
    """Return a verdict of no account."""
    known = dict.fromkeys(Verdict.__dataclass_fields__, 1.0)
    words = {"id": id, "statement": "s", "source": "proved", "control": "c"}
    return Verdict(**known | words | {"relation": "equal", "blunt": ""})


def test_the_modules_are_those_that_the_function_uses(code_places):
    found = code_places.modules("fl.claims.spikes_risk", "pole_is_outlier")
    theory = ["fl.theory.spikes", "fl.theory.spikes_risk"]
    assert sorted(found) == ["fl.studies.spikes", *theory]
    # by way of another function of the module, and of another module of claims
    assert "fl.theory.spikes_risk" in code_places.modules(
        "fl.claims.spikes_risk", "risk"
    )
    floor = code_places.modules("fl.claims.spikes_risk", "linear_floor")
    assert "fl.studies.spikes_large" in floor
    assert not code_places.modules("fl.claims.spikes_risk", "no_such_function")


def test_every_claim_has_an_experiment_and_pages_that_the_reference_makes(code_places):
    reference = (ROOT / "book" / "api.md").read_text("utf-8")
    pages = set(re.findall(r"^   (fl\.\S+)$", reference, re.M))
    for claim in select():
        module, _, name = function_name(claim.function).rpartition(".")
        found = code_places.modules(module, name)
        assert [m for m in found if m.startswith("fl.studies.")], claim.id
        assert set(found) <= pages, f"{claim.id}: name its modules in book/api.md"


def test_the_links_stand_before_the_link_to_the_claim(code_places):
    select(["single_index"])
    (cell, *_) = _row(verdict("single_index.second_spike"), None, {})
    start = re.search(r'<a href="[^"]*_modules[^"]*">', cell)[0]
    row = nodes.paragraph("", "", nodes.raw("", start, format="html"))
    code_places.lead(None, nodes.section("", row))
    text = "".join(raw.astext() for raw in row)
    theory = '<a href="../_modules/fl/theory/single_index_second.html">'
    study = '<a href="../_modules/fl/studies/single_index.html">'
    assert text == (
        f"prediction {theory}single_index_second</a>; "
        f"experiment {study}single_index</a>; {start}"
    )
    assert CLAIMS["single_index.second_spike"].topic == "single_index"
