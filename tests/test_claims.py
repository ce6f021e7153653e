"""The claims engine, its command line, and the bond between the registry and the
chapters.
"""

import itertools
import json
import os
import re
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import fl
from fl import book, cli, registry
from fl.book import _Lines, line
from fl.cli import app
from fl.evidence import CLAIMS, Evidence, claim, verify_all
from fl.registry import TOPICS, select, verify

ROOT = Path(__file__).resolve().parent.parent
KEYS = [
    *["id", "topic", "statement", "source", "predicted", "measured", "standard_error"],
    *["relation", "tolerance", "reason", "holds", "control", "control_measured"],
    *["control_expected", "control_within", "control_fails", "sharpness", "margin"],
    *["blunt", "sizes", "scale", "block", "seconds"],
]


@pytest.fixture
def empty(cache, monkeypatch):
    """An empty registry without topics, and an empty results store."""
    kept = dict(CLAIMS)
    CLAIMS.clear()
    monkeypatch.setattr(registry, "TOPICS", ())
    # keys refuse a module that was changed from outside, as the line above does
    monkeypatch.setattr("fl.freshness._differs", lambda *arguments: False)
    yield CLAIMS
    CLAIMS.clear()
    CLAIMS.update(kept)


def one(measured, otherwise, fields, scale, broken, block):
    return Evidence(measured=otherwise if broken else measured, **fields)


def register(id="demo.good", measured=1.0, broken=2.0, *, source="derived", **evidence):
    fields = dict(predicted=1.0, tolerance=0.1, reason="rounding") | evidence
    words = dict(statement="one is [one] for |x| < 1", control="one is two")
    claim(id, source=source, **words)(partial(one, measured, broken, fields))


# --- evidence -------------------------------------------------------------------------

finite = st.floats(-1e6, 1e6)


@given(finite, finite, st.floats(0, 1e6))
def test_meaning_of_the_relations(predicted, measured, tolerance):
    def holds(relation):
        return Evidence(predicted, measured, tolerance, "", relation=relation).holds

    assert holds("equal") == (abs(measured - predicted) <= tolerance)
    assert holds("at most") == (measured - predicted <= tolerance)
    assert holds("at least") == (predicted - measured <= tolerance)
    assert holds("equal") == (holds("at most") and holds("at least"))


@pytest.mark.parametrize("measured", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("relation", ["equal", "at most", "at least"])
def test_what_is_not_finite_never_holds(measured, relation):
    assert not Evidence(0.0, measured, 1.0, "", relation=relation).holds


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            dict(relation="near"),
            "relation = 'near': must be one of equal, at most, at least",
        ),
        (
            dict(tolerance=-1.0),
            r"tolerance = -1.0: must be a finite number in \[0, inf\)",
        ),
        (dict(predicted=np.nan), "predicted = nan: must be a finite number"),
        (dict(standard_error=np.nan), "standard_error = nan: must be"),
        (
            dict(sizes={"f": print}),
            "sizes holds <built-in function print>: must be numbers, strings, lists",
        ),
    ],
)
def test_evidence_refuses(fields, message):
    with pytest.raises(ValueError, match=message):
        Evidence(
            **(dict(predicted=0.0, measured=0.0, tolerance=1.0, reason="") | fields)
        )


def test_sizes_become_plain_values():
    sizes = {
        "n": np.int64(3),
        "dims": np.arange(2),
        "eta": (np.float32(0.5),),
        "seeds": range(2),
        1: np.bool_(True),
    }
    plain = Evidence(0.0, 0.0, 1.0, "", sizes=sizes).sizes
    assert plain == {"n": 3, "dims": [0, 1], "eta": [0.5], "seeds": [0, 1], "1": True}
    assert json.loads(json.dumps(plain)) == plain


# --- registry -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "id", ["nodot", "a.b.c", ".name", "topic.", "Topic.name", "topic.a name"]
)
def test_ids_are_topic_dot_name(empty, id):
    with pytest.raises(
        ValueError, match=f"id = '{id}': must be a new name of the form topic.name"
    ):
        register(id)


def cheat(scale, broken, block):
    relation = "at least" if broken else "equal"
    return Evidence(0.0, 1.0 * broken, 0.1, "rounding", relation=relation)


WORDS = dict(statement="s", source="derived", control="c")


def test_a_name_is_taken_once(empty):
    register()
    with pytest.raises(ValueError, match="id = 'demo.good': must be a new name"):
        claim("demo.good", **WORDS)(cheat)


def test_a_claim_that_is_defined_again_replaces_itself(empty):
    register(measured=1.0)
    assert verify("demo.good", "smoke").measured == 1.0
    register(measured=5.0)
    assert verify("demo.good", "smoke").measured == 5.0


@pytest.mark.parametrize("source", ["", "paper", "rumour", "derived, mostly"])
def test_sources_are_of_three_kinds(empty, source):
    with pytest.raises(
        ValueError,
        match=f"source = '{source}': must be one of paper KEY, proved, derived, cons",
    ):
        register(source=source)
    for good in ["paper YN25", "proved", "derived", "consistency", "observed"]:
        register(source=good)


def test_selection_by_id_and_topic_in_order(empty):
    for id in ["b.one", "a.one", "b.two"]:
        register(id)
    ids = [c.id for c in select(["b.two", "a"])]
    assert ids == ["b.two", "a.one"] and len(select()) == 3
    with pytest.raises(
        ValueError,
        match="claim or topic = 'c': must be one of b, a$",
    ):
        select(["c"])


# --- verdicts -------------------------------------------------------------------------


def test_a_claim_stands_if_it_holds_and_its_control_does_not(empty):
    register("demo.good", 1.05, 1.2)
    register("demo.wrong", 1.2, 1.3)
    register("demo.toothless", 1.05, 1.05)
    register("demo.undefined", np.nan, 2.0)
    register("demo.crashed_control", 1.0, np.nan)
    got = {c.id: verify(c.id, "smoke") for c in select()}
    assert [id for id, v in got.items() if v.stands] == ["demo.good"]
    assert not got["demo.wrong"].holds and got["demo.wrong"].control_fails
    assert got["demo.toothless"].holds and not got["demo.toothless"].control_fails
    # a control that gives NaN has not run the check, so it proves nothing
    assert not got["demo.crashed_control"].control_fails


def test_the_control_must_be_the_same_check(empty):
    claim("demo.cheat", **WORDS)(cheat)
    with pytest.raises(
        ValueError, match="demo.cheat: the control must be the same check"
    ):
        verify("demo.cheat", "smoke")


def surprising(measured, scale, broken, block):
    rival = {"expected": 2.0, "within": 0.1} if broken else {}
    return Evidence(1.0, measured if broken else 1.0, 0.1, "rounding", **rival)


@pytest.mark.parametrize(("measured", "fails"), [(2.05, True), (3.0, False)])
def test_a_control_must_fail_by_what_its_rival_predicts(empty, measured, fails):
    claim("demo.rival", **WORDS)(partial(surprising, measured))
    v = verify("demo.rival", "smoke")
    assert v.control_fails is fails and v.control_measured == measured
    assert v.control_expected == 2.0 and v.control_within == 0.1


@pytest.mark.parametrize(
    ("relation", "control", "error", "sharpness"),
    [
        ("equal", 1.5, None, 5.0),
        ("equal", 0.5, 0.5, 5.0),
        ("at most", 2.0, 0.25, 4.0),
        ("at most", 0.5, None, -5.0),
        ("at least", 0.5, 0.05, 5.0),
    ],
)
def test_sharpness_is_the_way_to_the_control(relation, control, error, sharpness):
    sides = [
        Evidence(1.0, m, 0.1, "", error, relation=relation) for m in (1.0, control)
    ]
    assert sides[0].distance(sides[1]) == pytest.approx(sharpness)


def test_a_bound_without_tolerance_is_as_sharp_as_can_be():
    bound = Evidence(1.0, 0.5, 0.0, "", relation="at most")
    other = Evidence(1.0, 2.0, 0.0, "", relation="at most")
    assert bound.distance(other) == np.inf and other.distance(bound) == -np.inf
    assert bound.distance(Evidence(1.0, 1.0, 0.0, "", relation="at most")) == 0


def test_only_an_observation_may_be_blunt(empty):
    with pytest.raises(ValueError, match="blunt = 'few seeds': must be empty"):
        claim("demo.one", **WORDS, blunt="few seeds")(cheat)
    claim("demo.one", **(WORDS | {"source": "observed"}), blunt="few seeds")(cheat)


def test_unknown_claims_and_scales(empty):
    register()
    with pytest.raises(
        ValueError, match="claim = 'demo.bad': must be one of demo.good"
    ):
        verify("demo.bad")
    with pytest.raises(
        ValueError, match="scale = 'huge': must be one of smoke, book, paper"
    ):
        verify("demo.good", "huge")
    with pytest.raises(ValueError, match="scale = 'huge'"):
        verify_all(select(), "huge")


RAN = []


def counted(scale, broken, block):
    RAN.append((scale, broken, block))
    return Evidence(0.0, float(broken), 0.1, "rounding")


def test_a_verdict_is_evaluated_once_per_scale_and_block(empty):
    RAN.clear()
    claim("demo.counted", **WORDS)(counted)
    for _ in range(2):
        verify("demo.counted", "smoke")
        verify_all(select(), "smoke", jobs=1)
    assert RAN == [("smoke", False, 0), ("smoke", True, 0)]
    verify("demo.counted", "book")
    verify("demo.counted", "smoke", block=3)
    assert len(RAN) == 6 and RAN[-1] == ("smoke", True, 3)


def test_claims_of_a_reader_are_evaluated_in_parallel(empty):
    for i in range(3):
        register(f"mine.number{i}", 1.0 + 0.01 * i)
    found = verify_all(select(), "smoke", jobs=2)
    assert [v.measured for v in found] == [1.0, 1.01, 1.02]


# --- what a chapter prints ------------------------------------------------------------


def test_check_prints_one_stable_line(empty, capsys, monkeypatch):
    monkeypatch.setenv("FL_SCALE", "smoke")
    register("demo.good", 1.0123456, standard_error=0.01)
    fl.check("demo.good")
    assert (
        capsys.readouterr().out
        == "demo.good: PASS, derived (measured 1.01 ± 0.01, predicted 1, tolerance 0.1; control 2 "
        "fails, sharpness 10)\n"
    )
    register("demo.other", 1.0)
    fl.check("demo.other", "demo.good")
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        "demo.other",
        "demo.good",
    ]
    with pytest.raises(
        ValueError, match="claim = 'demo.none': must be one of demo.good, demo.other"
    ):
        fl.check("demo.none")


@pytest.mark.parametrize(
    ("measured", "broken", "message"),
    [
        (
            1.2,
            2.0,
            "demo.good does not hold: measured 1.2, predicted equal 1, "
            r"tolerance 0.1 \(rounding\)",
        ),
        (
            1.0,
            1.0,
            r"demo.good is a broken claim: its control \(one is two\) gave 1; measured 1",
        ),
    ],
)
def test_check_raises_with_the_numbers(empty, measured, broken, message):
    register("demo.good", measured, broken)
    with pytest.raises(AssertionError, match=message):
        fl.check("demo.good")


def test_a_blunt_claim_does_not_stand_in_the_book(empty):
    register("demo.good", 1.0, 1.25)
    assert (
        verify("demo.good", "smoke").stands and not verify("demo.good", "book").stands
    )
    with pytest.raises(AssertionError, match="demo.good is blunt: .* 2.5 tolerances"):
        fl.check("demo.good")
    excused = claim("demo.seen", **(WORDS | {"source": "observed"}), blunt="few seeds")
    excused(partial(one, 1.0, 1.25, dict(predicted=1.0, tolerance=0.1, reason="")))
    assert verify("demo.seen", "book").stands


@pytest.mark.parametrize(
    ("measured", "tolerance", "error", "shown"),
    [
        (3e-16, 1e-12, None, "below 1e-13"),
        (0.0, 1e-12, None, "0"),
        (1.0123456, 0.1, 0.0123, "1.01 ± 0.01"),
        (1234.56, 0.1, None, "1.23e+03"),
        (-0.98765, 0.0, 0.04, "-0.99 ± 0.04"),
        (7.0, 0.0, None, "7"),
        (0.052, 1.0, 0.083, "below 0.09"),
        (-0.3, 1.0, 0.4, "below 0.4"),
    ],
)
def test_a_measurement_is_shown_to_a_tenth_of_its_tolerance(
    empty, measured, tolerance, error, shown
):
    register("demo.one", measured, tolerance=tolerance, standard_error=error)
    assert f"(measured {shown}, " in line(verify("demo.one", "smoke"))


def test_a_line_says_in_how_many_blocks_of_the_audit_the_claim_stood(
    empty, monkeypatch
):
    register()
    row = {"stood": 9, "blocks": 10}
    monkeypatch.setattr(book, "_audit", lambda: {"demo.good": row})
    assert line(verify("demo.good", "smoke")).endswith(", audit 9/10)")


def test_a_line_on_a_page_leads_to_the_scoreboard_and_back(empty, monkeypatch):
    register()
    html = _Lines([verify("demo.good", "smoke")])._repr_html_()
    assert 'id="claim-demo.good" href="scoreboard.html#row-demo.good"' in html
    shown = []
    monkeypatch.setenv("FL_SCALE", "smoke")
    monkeypatch.setattr(
        "IPython.display.display", lambda table: shown.append(table.data)
    )
    fl.scoreboard()
    assert 'id="row-demo.good" href="demo.html#claim-demo.good"' in shown[0]
    assert "not audited" in shown[0] and "tolerance 0.1" in shown[0]


@pytest.mark.parametrize("value", [None, np.ones(1), [1.0]])
def test_what_has_no_digits_is_refused_by_its_value(value):
    with pytest.raises(ValueError, match="value = .*: must be a text, or a number"):
        fl.show("x", value)


def test_tables_keep_bars_of_the_mathematics(empty, monkeypatch):
    shown = []
    monkeypatch.setattr(
        "IPython.display.display", lambda markdown: shown.append(markdown.data)
    )
    fl.table(["|x|", "n"], [["$\\|x\\|$", 1.23456]])
    assert shown == [r"| \|x\| | n |" + "\n| --- | --- |\n" + r"| $\\|x\\|$ | 1.23 |"]


# --- command line ---------------------------------------------------------------------


def invoke(*arguments):
    return CliRunner().invoke(app, list(arguments))


def test_the_list_is_read_from_the_files():
    words = [(c.id, c.source, c.statement) for c in select()]
    assert registry.listed() == words


def test_an_error_is_one_line_and_its_traceback_comes_on_demand(
    tmp_path, monkeypatch, capsys
):
    blocked = tmp_path / "a file"
    blocked.write_text("")
    monkeypatch.setenv("FL_CACHE", str(blocked / "results"))
    monkeypatch.setenv("FL_DEBUG", "")  # and gone again after the test

    monkeypatch.setattr(sys, "argv", ["fl", "verify", "gram.twins"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().err
    assert ended.value.code == 3 and said.count("\n") == 1
    assert said.startswith("fl: the results folder") and "--debug" in said

    monkeypatch.setattr(sys, "argv", ["fl", "--debug", "verify", "gram.twins"])
    with pytest.raises(OSError, match="the results folder"):
        cli.main()


def test_a_statement_reaches_a_console_of_another_encoding():
    run = [sys.executable, "-m", "fl.cli", "list"]
    environment = os.environ | {"PYTHONIOENCODING": "cp1252"}
    code = "from fl.cli import main; import sys; sys.argv[1:] = ['list']; main()"
    run = [sys.executable, "-c", code]
    found = subprocess.run(run, capture_output=True, env=environment, check=True)
    assert "gram.twins" in found.stdout.decode("utf-8")


def test_names_are_completed(empty, monkeypatch):
    monkeypatch.undo()
    assert "gram.twins" in cli._complete("gram.t")
    assert cli._complete("gra")[0] == "gram"


def test_every_command_has_an_example():
    for command in app.registered_commands:
        assert "Example: `fl " in command.callback.__doc__


def test_verify_writes_exactly_the_keys(empty, tmp_path):
    register("demo.good", sizes={"n": np.int64(3)}, standard_error=np.float64(0.01))
    path = tmp_path / "out.json"
    result = invoke("verify", "--scale", "smoke", "--json", str(path))
    assert result.exit_code == 0, result.output
    assert (
        "1 of 1 claims stand at scale smoke" in result.output
        and "demo.good" in result.output
    )
    (record,) = json.loads(path.read_text())
    assert list(record) == KEYS
    assert (
        record["sizes"] == {"n": 3}
        and record["scale"] == "smoke"
        and record["holds"] is True
    )
    assert record["topic"] == "demo" and record["relation"] == "equal"


@pytest.mark.parametrize(
    ("measured", "broken"),
    [(2.0, 3.0), (1.0, 1.0), (np.nan, 2.0)],
    ids=["fails", "toothless", "nan"],
)
def test_verify_exits_with_1_if_a_claim_fails_or_a_control_passes(
    empty, tmp_path, measured, broken
):
    register("demo.good")
    register("demo.bad", measured, broken)
    path = tmp_path / "out.json"
    result = invoke("verify", "--scale", "smoke", "--json", str(path))
    assert result.exit_code == 1
    assert (
        "not standing: demo.bad" in result.output
        and "1 of 2 claims stand" in result.output
    )
    records = json.loads(path.read_text(), parse_constant=pytest.fail)  # NaN is no JSON
    assert len(records) == 2
    assert invoke("verify", "demo.good", "--scale", "smoke").exit_code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["verify", "nothing"],
        ["verify", "--scale", "huge"],
        ["verify", "--jobs", "0"],
        ["verify", "--json", "/no/such/folder/x.json"],
        ["list", "nothing"],
        ["sweep", "nothing"],
    ],
    ids=" ".join,
)
def test_mistakes_at_the_command_line_exit_with_2(empty, arguments):
    register()
    result = invoke(*arguments)
    assert result.exit_code == 2 and not isinstance(result.exception, ValueError)


def test_list_shows_statements_as_they_are(monkeypatch):
    known = [("demo.good", "derived", "one is [one] for |x| < 1")]
    monkeypatch.setattr("fl.cli.listed", lambda: known)
    result = invoke("list")
    assert result.exit_code == 0 and "one is [one] for |x| < 1" in result.output


# --- registry and chapters ------------------------------------------------------------


def check_lines() -> dict[str, Counter]:
    """Return, per page of the book, how often each claim is checked."""
    return {
        page.stem: Counter(
            id
            for call in re.findall(r"fl\.check\(([^)]*)\)", page.read_text())
            for id in re.findall(r'"([^"]+)"', call)
        )
        for page in (ROOT / "book").glob("*.md")
    }


def test_every_claim_is_checked_once_in_the_chapter_of_its_topic():
    on_pages = Counter()
    for page, ids in check_lines().items():
        topics = {id.split(".")[0] for id in ids}
        # an appendix serves the chapters of its part
        assert topics <= {page} or page.endswith("_appendix"), (
            f"{page} checks claims of another topic"
        )
        on_pages += ids
    book = [c.id for c in select()]
    assert on_pages == Counter(book), "registry and chapters differ"


def test_claims_stand_in_the_order_of_the_chapters():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    pages = [
        Path(chapter["file"]).stem
        for part in toc["parts"]
        for chapter in part["chapters"]
    ]
    topics = [t for t, _ in itertools.groupby(select(), lambda c: c.topic)]
    assert topics == list(TOPICS) == [page for page in pages if page in TOPICS]


def test_papers_named_as_sources_are_in_the_bibliography():
    keys = set(
        re.findall(r"@\w+\{(\w+),", (ROOT / "book" / "references.bib").read_text())
    )
    for c in select():
        if c.source.startswith("paper "):
            assert c.source.split()[1].strip(",") in keys, c.id
