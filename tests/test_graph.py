"""Statements as a graph: what each claim and each box of the book rests on."""

import importlib
import re
import shutil
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from fl import statements, store
from fl.cli import app
from fl.closure import PACKAGE, parse
from fl.registry import listed, select, uses
from fl.statements import boxes, why

ROOT = Path(__file__).resolve().parent.parent
EXTENSIONS = ROOT / "book" / "_ext"
REF = re.compile(r"\{prf:ref\}`([^`]+)`")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
# a claim whose proof stands on the page without a box
ALONE = {"choosing_p.folds"}
# boxes that no claim checks: each is among the most wanted of book/statements.md
UNCHECKED = {"thm-help-bound", "thm-help-price"}


@pytest.fixture(scope="module")
def page():
    """The extension that draws the page of statements."""
    sys.path.insert(0, str(EXTENSIONS))
    yield importlib.import_module("statements")
    sys.path.remove(str(EXTENSIONS))


@pytest.fixture(scope="module")
def verdicts() -> dict:
    return {id: ("stands", "10/10") for id, _, _ in listed()}


def text(page: str) -> str:
    return (ROOT / "book" / f"{page}.md").read_text("utf-8")


# --- the graph ------------------------------------------------------------------------


def test_every_box_of_the_book_is_known():
    pages = "\n".join(text(p.stem) for p in (ROOT / "book").glob("*.md"))
    labels = re.findall(r"\{prf:(?!ref)\w+\}[^\n]*\n:label: (\S+)", pages)
    assert len(labels) > 70 and sorted(boxes()) == sorted(labels)


def test_boxes_have_the_numbers_and_titles_of_the_book():
    box = boxes()["thm-spikes-location"]
    assert box[:3] == (
        "Proposition 9.3",
        "The spike of the stepped weights",
        "spikes",
    )
    assert boxes()["thm-gram-recursion"].title == "Pathwise"


def test_what_is_used_is_there():
    known = uses() | {label: box.uses for label, box in boxes().items()}
    for name, names in known.items():
        strange = set(names) - known.keys()
        assert not strange, f"{name} uses {strange}: neither a box's label nor a claim"
        assert len(set(names)) == len(names) and name not in names, name


def test_there_is_no_circle():
    known = uses() | {label: box.uses for label, box in boxes().items()}
    assert len(list(TopologicalSorter(known).static_order())) == len(known)


def test_a_claim_says_what_it_uses():
    silent = {id for id, names in uses().items() if not names}
    assert silent == ALONE, "name the box that the claim stands under in uses="


def test_every_box_is_checked_or_wanted():
    checked = {name for names in uses().values() for name in names}
    assert boxes().keys() - checked == UNCHECKED, (
        "name the box in uses= of a claim, or among the most wanted of statements.md"
    )
    wanted = text("statements").partition("## Most wanted")[2]
    assert UNCHECKED <= set(REF.findall(wanted))
    assert 10 <= len(re.findall(r"^\d+\. \*\*", wanted, re.M)) <= 15


def test_a_claim_rests_on_something_of_its_chapter():
    pages = {label: box.page for label, box in boxes().items()}
    for id, names in uses().items():
        topic = id.partition(".")[0]
        here = [
            pages.get(n, "").endswith("_appendix")
            or topic in (pages.get(n), n.partition(".")[0])
            for n in names
        ]
        # a chapter of orders may rest on definitions of another alone
        assert (
            not names or any(here) or id in ("scaling_laws.model_size", "ood.rotation")
        )


def test_what_a_proof_refers_to_is_what_the_graph_shows():
    """Also for a proof that stands in an appendix, or in a fold after a cell of code."""
    elsewhere = r"^Of \{prf:ref\}`([^`]+)`\.$(.*?)(?=^#|\Z)"
    known = boxes()
    for name in {box.page for box in known.values()} | {"one_step_appendix"}:
        proofs = re.findall(elsewhere, text(name), re.M | re.S)
        for part in re.split(r"(?m)^(?=`{3,}\{prf:\w+\} )", text(name))[1:]:
            near = re.split(r"(?m)^#", part)[0]
            folds = re.findall(r"(?ms)^(`{3,})\{dropdown\}(.*?)^\1$", near)
            label = re.search(r":label: (\S+)", part)[1]
            proofs += [(label, fold) for _, fold in folds]
        for label, proof in proofs:
            assert set(REF.findall(proof)) - {label} <= set(known[label].uses), label


def test_what_a_claim_uses_is_no_part_of_its_key():
    code = '@claim("a.b", source="proved"{})\ndef b(scale, broken, block):\n    pass\n'
    texts = [code.format(words).encode() for words in ("", ', uses=("thm-a",)')]
    there, elsewhere = PACKAGE / "claims" / "a.py", Path("mine.py")
    assert len({parse(text, there).digest for text in texts}) == 1
    assert len({parse(text, elsewhere).digest for text in texts}) == 2


# --- in a terminal --------------------------------------------------------------------


def invoke(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["why", *arguments])
    assert done.exit_code == 0, done.output
    return " ".join(re.sub("[│├└─]+", " ", done.output).split())


def test_why_goes_down_to_the_ground(cache):
    said = invoke("help_or_hurt.crossing")
    assert "help_or_hurt.crossing derived, not evaluated here: What the" in said
    names = ["Proposition 3.1 Risk of", "Proposition 2.5 Deterministic equivalent"]
    assert [n for n in names if n in said] == names
    assert "(alignment, thm-alignment-ridge)" in said


def test_why_tells_a_stored_verdict(cache, monkeypatch):
    monkeypatch.setattr(statements, "scale", lambda: "smoke")
    assert "not evaluated here" in invoke("gram.spectrum")
    store.evaluate(
        statements.record,
        [dict(claim=select(["gram.spectrum"])[0], scale="smoke", block=0)],
        1,
    )
    assert "gram.spectrum paper YN25, stands" in invoke("gram.spectrum")


def test_why_marks_what_is_not_checked(cache, monkeypatch):
    monkeypatch.setattr(statements, "uses", lambda: {"gram.twins": ("thm-gram-test",)})
    said = invoke("gram.twins")
    assert "Theorem 1.3 Test time (gram, thm-gram-test) Theorem 1.2" in said
    assert "(gram, thm-gram-information), no claim checks it" in said


def test_why_of_what_is_not_there_names_what_is():
    done = CliRunner().invoke(app, ["why", "gram.twin"])
    assert done.exit_code == 2 and "gram.twins" in done.output


def test_without_the_sources_of_the_book_an_error_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(statements, "BOOK", tmp_path / "book")
    with pytest.raises(FileNotFoundError, match="sources are not beside the package"):
        why(*select(["gram.twins"]))


# --- on the page ----------------------------------------------------------------------


def test_a_statement_is_grounded_if_all_below_it_stands(page, verdicts):
    known = page.graph(verdicts)
    open_ones = {key for key, node in known.items() if not node.grounded}
    above, found = set(), set(UNCHECKED)
    while found - above:
        above |= found
        found = {user for key in above for user in known[key].users}
    assert open_ones == above
    failing = verdicts | {"alignment.ridge_risk": ("FAILS", "")}
    known = page.graph(failing)
    assert known["thm-alignment-ridge"].verdict == "FAILS"
    for key in ("thm-help-risk", "unified.same_sample", "alignment.ridge_risk"):
        assert not known[key].grounded
    assert known["gram.twins"].grounded
    assert not page.graph({})["gram.twins"].grounded


def test_a_box_has_the_tag_of_its_claims_or_of_its_source(page, verdicts):
    tags = {key: node.tag for key, node in page.graph(verdicts).items()}
    assert tags["thm-gram-spectrum"] == tags["thm-spikes-rank-one"] == "paper"
    assert tags["def-exponent"] == "definition" and tags["thm-gram-test"] == "proved"
    assert tags["thm-help-price"] == tags["thm-ood-cues"] == "proved"
    assert tags["thm-spikes-risk"] == tags["thm-transfer-share"] == "derived"
    assert tags["thm-ood-fig2"] == "observed"


def test_pictures_and_index_show_every_statement_once(page, verdicts):
    known = page.graph(verdicts)
    drawn, index = page.chapters(known), page.index(known)
    for key, node in known.items():
        assert f'href="{node.href}"' in drawn and f"<title>{node.name}" in drawn
        assert index.count(f'<tr id="row-{key}"') == 1
        assert drawn.count(f'<a id="node-{key}" href="{node.href}"') == 1
    names = re.findall(r'href="#row-([^"]+)"', index)
    assert set(names) <= known.keys() and len(names) > 400
    shown = set(re.findall(r'href="#chapter-(\w+)"', page.overview(known)))
    assert shown == {node.page for node in known.values()}
    assert (
        "hidden><label" in index
    )  # without scripts there is no field, and all rows show


def test_a_box_leads_to_its_node_and_another_box_nowhere(page):
    box = '<div class="proof lemma admonition" id="{}">\n<p class="admonition-title">'
    box += '<span class="caption-number">Lemma 1.1 </span> (Pathwise)</p>\n<p>Text</p>'
    context = {"body": box.format("thm-gram-recursion") + box.format("elsewhere")}
    page.rests(None, "book/gram", "page.html", context, None)
    assert context["body"].count("fl-rests") == 1
    first = context["body"].partition("<p>Text</p>")[0]
    assert '(Pathwise) <a class="fl-rests" href="statements.html#node-thm-gram' in first
    page.rests(None, "search", "page.html", {}, None)


def test_the_legend_explains_every_sign(page):
    legend = page.PIECES["legend"]({})
    for word in (*page.graph_svg.SHAPES, "✓ stands", "✗ fails", "– not evaluated"):
        assert word in legend
    assert legend.count("<rect") == 3 and legend.count("fl-dashed") == 1


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
def test_the_field_filters_the_index(page, verdicts, tmp_path):
    index = page.index(page.graph(verdicts))
    ask = 'f = document.getElementById("fl-find"); f.value = "ridge PROVED"; '
    ask += 'f.dispatchEvent(new Event("input"))'
    file = tmp_path / "page.html"
    file.write_text(f"<!doctype html>{index}<script>{ask}</script>", "utf-8")
    run = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    run += ["--virtual-time-budget=2000", file.as_uri()]
    made = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    shown = re.findall(r'<tr id="row-([^"]+)" data-find="[^"]*">', made)
    assert 0 < len(shown) < 40 and "alignment.optimal_p" in shown
    assert (
        f">{len(shown)} of {len(uses()) + len(boxes())}<" in made
        and "gram.twins" not in shown
    )


def test_verdicts_are_those_of_the_scoreboard(page):
    from docutils import nodes

    entry = lambda *inside: nodes.entry("", *inside)  # noqa: E731
    cells = [entry(nodes.raw("", '<a id="row-gram.twins">', format="html"))]
    words = [
        "predicted 0 held 9/10, control failed 10/10 (before an edit)",
        "c",
        "stands",
    ]
    cells += [entry(nodes.paragraph("", word)) for word in words]
    row = nodes.row("", *cells)
    env = SimpleNamespace(found_docs={"book/scoreboard"}, get_doctree=lambda name: row)
    assert page.scoreboard(env) == {"gram.twins": ("stands", "(9/10)")}
    env.found_docs = set()
    assert page.scoreboard(env) == {}
