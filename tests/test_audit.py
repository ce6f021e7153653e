"""The audit counts what fresh seeds give, keeps it, and knows when the code has changed."""

import platform
from functools import partial

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

from fl import audit, cli, registry, stored
from fl.claims import gram, noise
from fl.evidence import CLAIMS, Claim, Evidence, claim


def drawn(spread, scale, broken, block):
    """A mean that is off by more than it may on every tenth block, from the third on."""
    lucky = block % 10 != 3
    return Evidence(0.0, 3.0 if broken else 0.5 if lucky else spread, 1.0, "a tenth")


@pytest.fixture
def three(cache, monkeypatch):
    """Claims that are sound, lucky, and without a control, in an empty store."""
    kept = dict(CLAIMS)
    CLAIMS.clear()
    monkeypatch.setattr(registry, "TOPICS", ())
    monkeypatch.setattr("fl.freshness._differs", lambda *arguments: False)
    words = dict(statement="s", source="derived", control="c")
    claim("demo.sound", **words)(partial(drawn, 0.9))
    claim("demo.lucky", **words)(partial(drawn, 2.0))
    claim("demo.toothless", **words)(toothless)
    yield list(CLAIMS.values())
    CLAIMS.clear()
    CLAIMS.update(kept)


def toothless(scale, broken, block):
    return Evidence(0.0, 0.1, 1.0, "a tenth")


def test_a_claim_stood_where_it_held_and_its_control_failed():
    values = {"holds": [[0.0, 1.0, 1.0]], "control_fails": [[1.0, 0.0, 1.0]]}
    values |= {"margin": [[0.5] * 3], "sharpness": [[9.0] * 3]}
    data = xr.Dataset({k: (("claim", "block"), v) for k, v in values.items()})
    data = data.assign_coords(claim=["demo.one"]).assign(source=("claim", ["x"]))
    row = audit.summaries(data)["demo.one"]
    assert (row["held"], row["control_failed"], row["stood"]) == (2, 2, 1)


def test_counts_margins_and_verdict(three):
    found = audit.summaries(audit.audit(three, "smoke", jobs=1))
    row = found["demo.sound"]
    assert (row["blocks"], row["held"], row["control_failed"]) == (20, 20, 20)
    assert (row["median_margin"], row["worst_margin"]) == (0.5, 0.9)
    assert row["least_sharpness"] == 3.0
    row = found["demo.lucky"]  # blocks 3, 13, ...; so it is asked on more of them
    assert (row["blocks"], row["held"]) == (80, 72)
    assert found["demo.toothless"]["control_failed"] == 0
    assert [r["stood"] for r in found.values()] == [20, 72, 0]
    assert [r["sound"] for r in found.values()] == [True, False, False]


def test_one_failure_in_twenty_is_sound_and_the_book_is_never_asked(three):
    data = audit.audit(three[:1], "smoke", blocks=20, jobs=1)
    assert 0 not in data["block"]
    data["holds"][0, 5] = 0.0
    assert audit.sound(data).item()
    data["holds"][0, 6] = 0.0
    assert not audit.sound(data).item()


def test_one_miss_in_ten_is_asked_on_forty_blocks(three):
    claim("demo.once", statement="s", source="derived", control="c")(partial(once))
    data = audit.audit([CLAIMS["demo.once"], three[0]], "smoke", 10, jobs=1)
    found = audit.summaries(data)
    counts = [[r["blocks"], r["held"], r["sound"]] for r in found.values()]
    assert list(found) == ["demo.once", "demo.sound"]
    assert counts == [[40, 39, True], [10, 10, True]]
    assert audit.words(found["demo.once"], CLAIMS["demo.once"]).startswith("held 39/40")


def once(scale, broken, block):
    return Evidence(0.0, 3.0 if broken else 2.0 if block == 3 else 0.5, 1.0, "a tenth")


def test_what_was_asked_is_not_asked_again(three):
    computed = []
    audit.audit(three[:1], "smoke", 2, jobs=1, tell=computed.append)
    audit.audit(three[:1], "smoke", 3, jobs=1, tell=computed.append)
    assert len(computed) == 3


def test_it_is_stored_and_says_whether_the_code_is_still_the_same(three, tmp_path):
    data = audit.audit(three, "smoke", 2, jobs=1)
    assert audit.known(tmp_path) == {}
    stored.write(data, "audit", "fl audit --keep", tmp_path)
    row = audit.known(tmp_path)["demo.sound"]
    assert audit.words(row, three[0]) == (
        "held 2/2, control failed 2/2, margin 0.5, at worst 0.5, sharpness at least 3"
    )
    row["source"] = "another"
    assert audit.words(row, three[0]).endswith("(before an edit)")
    assert audit.words(None, three[0]) == "not audited"


def test_the_stored_audit_is_of_this_code():
    data = stored.read("audit")
    if f"Python {platform.python_version()}" not in data.machine:
        pytest.skip("another Python writes syntax trees, and digests, differently")
    claims = {c.id: audit.digest(c) for c in registry.select()}
    found = dict(zip(data.claim.values, data.source.values.astype(str), strict=True))
    edited = [id for id, digest in claims.items() if found.get(id) != digest]
    assert not edited, "edited since they were audited: fl audit --keep"


def test_the_digest_is_of_the_code_and_not_of_how_results_are_kept(monkeypatch):
    functions = gram.twins, noise.high
    two = [Claim("demo.any", "s", "derived", "c", f) for f in functions]
    assert audit.digest(two[0]) != audit.digest(two[1])
    read, known = audit.read, audit.digest(two[0])

    def edited(module):
        def other(path, name):
            source = read(path, name)
            return source._replace(digest="edited") if name == module else source

        monkeypatch.setattr(audit, "read", other)
        return audit.digest(two[0])

    assert edited("fl.store") == known
    assert edited("fl.judging") != known and edited("fl.claims.gram") != known


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"scale": "huge"}, "scale = 'huge'"), ({"blocks": 0}, "blocks = 0")],
)
def test_mistakes(three, arguments, message):
    with pytest.raises(ValueError, match=message):
        audit.audit(three, **arguments)


def test_the_command(three):
    run = partial(CliRunner().invoke, cli.app)
    arguments = ["audit", "--scale", "smoke", "--blocks", "2", "--jobs", "1"]
    good = run([*arguments, "demo.sound"])
    assert good.exit_code == 0 and "1 of 1 claims are sound" in good.output
    bad = run(arguments)
    assert bad.exit_code == 1 and "not sound: demo.toothless" in bad.output
    refused = run([*arguments, "--keep"])
    assert refused.exit_code == 2 and "--keep" in refused.output


def test_margins_are_numbers_where_there_is_no_tolerance():
    exact = Evidence(3.0, 3.0, 0.0, "a count")
    assert exact.distance(exact) == 0 and np.isinf(
        exact.distance(Evidence(3, 4, 0, ""))
    )
