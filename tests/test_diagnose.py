"""What `fl.diagnose` says of a table, and what it does not say."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import fl
from fl import diagnose_pass, diagnose_run
from fl.cli import app
from fl.diagnose_page import written
from fl.diagnose_report import BARE, BINARY, CUT, LOUD, SHORT, compared
from fl.moments import Moments, spectral
from fl.theory import choosing_p as theory


def powers(p=0.5, n=1500, d=60, noise=0.3, seed=0):
    """Inputs with eigenvalues 1/r, turned, and a teacher with weights of variance lam^p."""
    rng = np.random.default_rng(seed)
    lam = 1 / np.arange(1, d + 1)
    U = np.linalg.qr(rng.standard_normal((d, d)))[0]
    X = rng.standard_normal((n, d)) * np.sqrt(lam)
    w = rng.standard_normal(d) * lam ** (p / 2)
    y = X @ w
    return X @ U.T, y + noise * y.std() * rng.standard_normal(n)


def noise(n=300, d=12, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)), rng.standard_normal(n)


def page(report):
    return written(report, "page.html")


def close(one, two, rtol=1e-6):
    assert (one.told, one.rows) == (two.told, two.rows)
    a, b = one.choice, two.choice
    np.testing.assert_allclose([a.p, a.low, a.high], [b.p, b.low, b.high], atol=1e-6)
    np.testing.assert_allclose(
        a.deviance - a.deviance.min(), b.deviance - b.deviance.min(), atol=1e-6
    )
    for name in ("risk", "se"):
        np.testing.assert_allclose(one.risks[name], two.risks[name], rtol=rtol)


def test_a_known_exponent_is_found_and_noise_tells_nothing():
    X, y = powers(p=0.5)
    report = fl.diagnose(X, y, standardise=False)
    assert report.told and report.choice.low < 0.5 < report.choice.high
    assert len(report.risks) == 6 and report.risks.p[5] == report.choice.p
    assert f"{report.noise:.2f}" in ("0.07", "0.08", "0.09")
    report = fl.diagnose(*noise())
    assert not report.told and "cannot tell, keep 0" in report.verdict()
    assert report.risks.p.tolist() == [-1, -0.5, 0, 0.5, 1]
    assert report.real().endswith("from p = 0: none.")


def test_the_choice_is_that_of_the_moments_of_all_rows():
    X, y = powers(n=200, d=8)
    report = fl.diagnose(X, y, standardise=False)
    seen = spectral(Moments(8).add(X, y))
    expected = theory.fit(seen.lam, seen.scores, seen.residual, seen.dof)
    np.testing.assert_allclose(report.choice.p, expected.p, atol=1e-9)
    np.testing.assert_allclose(report.choice.deviance, expected.deviance, rtol=1e-9)


def test_standardising_from_moments_is_standardising_the_rows():
    X, y = powers(n=200, d=8)
    X = X * np.geomspace(1, 1e6, 8) + 100
    close(fl.diagnose(X, y), fl.diagnose((X - X.mean(0)) / X.std(0), y, False))


@settings(max_examples=8, deadline=None)
@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6), st.integers(0, 99))
def test_common_units_and_the_order_of_columns_do_not_matter(inputs, labels, seed):
    X, y = powers(n=150, d=7)
    order = np.random.default_rng(seed).permutation(7)
    other = fl.diagnose(inputs * X[:, order] + inputs, labels * y - labels, False)
    close(other, fl.diagnose(X, y, False))


def test_the_units_of_one_column_matter_if_they_are_kept():
    X, y = powers(n=600)
    Z = X.copy()
    Z[:, 0] *= 100
    close(fl.diagnose(X, y), fl.diagnose(Z, y))
    raw = [fl.diagnose(A, y, standardise=False) for A in (X, Z)]
    assert abs(raw[0].choice.p - raw[1].choice.p) > 0.1
    assert any("Raw units" in words for words in raw[1].warnings())
    assert not any("Raw units" in words for words in fl.diagnose(Z, y).warnings())


def test_batches_do_not_matter(monkeypatch):
    X, y = powers(n=1000, d=5)
    whole = fl.diagnose(X, y)
    monkeypatch.setattr("fl.diagnose_read.CELLS", 1)  # 256 rows at a time
    close(fl.diagnose(X, y), whole)


def test_folds_are_balanced_and_follow_no_pattern():
    which = diagnose_pass.PATTERN
    assert (np.bincount(which) == len(which) // 5).all()
    for period in range(5, 30):  # chance: 1/5, s.e. .006; nearer rows differ more often
        assert abs((which[period:] == which[:-period]).mean() - 0.2) < 0.04


def test_standard_errors_of_folds_count_their_overlap():
    errors = np.array([[1.0, 2.0, 3.0, 4.0], [1.0, 2.5, 3.0, 4.5]])
    sizes = np.array([1, 1, 1, 1])
    x = compared([0, 1], [0.1, 0.2], [3, 4], errors, sizes)
    assert x.risk[0] == 2.5 and x.difference[0] == 0 and x.difference_se[0] == 0
    factor = np.sqrt(1 / 4 + 1 / 3)
    np.testing.assert_allclose(x.se[0], factor * np.std([1, 2, 3, 4], ddof=1))
    np.testing.assert_allclose(x.difference[1], 0.25)
    se = factor * np.std([0, 0.5] * 2, ddof=1)
    np.testing.assert_allclose(x.difference_se[1], se)
    assert x.largest[0] == 0.4


def test_a_difference_is_real_above_two_standard_errors_and_a_thousandth():
    report = fl.diagnose(*noise())
    x = report.risks.assign(risk=1.0, difference=[0.3, -0.3, 0, 0.001, 0.1])
    said = replace(report, risks=x.assign(difference_se=[0.1, 0.2, 0, 0, 0.04])).real()
    assert said.endswith("Beyond that from p = 0: -1.00, +1.00.")


@pytest.mark.parametrize(
    ("data", "warning", "absent"),
    [
        (powers(n=40, d=60), BARE, LOUD),
        (powers(n=100, d=60), SHORT, BARE),
        (noise(), CUT, SHORT),
        (powers(n=400), None, LOUD),
    ],
)
def test_what_limits_the_findings_is_said(data, warning, absent):
    said = fl.diagnose(*data).warnings()
    assert warning in said if warning else not said
    assert absent not in said


def test_one_fold_that_dominates_and_two_labels_are_said():
    X, y = noise()
    y[7] = 1e3
    assert LOUD in fl.diagnose(X, y).warnings()
    said = fl.diagnose(X, X[:, 0] > 0).warnings()
    assert BINARY in said and LOUD not in said


def test_an_end_of_the_range_is_no_number():
    # one direction of the smallest eigenvalue carries the label: no power is low enough
    rng = np.random.default_rng(0)
    X = rng.standard_normal((4000, 20)) * np.geomspace(1, 0.05, 20)
    y = X[:, -1] / 0.05 + 0.1 * rng.standard_normal(4000)
    report = fl.diagnose(X, y, standardise=False)
    assert report.choice.p == -2 and CUT in report.warnings()
    assert re.search(r"p: at most -\d|cannot tell.*\[at most -2.00", report.verdict())


def test_many_directions_of_one_size_are_not_called_few():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 40))
    y = X @ rng.standard_normal(40) + rng.standard_normal(400)
    report = fl.diagnose(X, y)
    assert not report.told and report.choice.resolved > 30
    assert "eigenvalues too much alike" in report.verdict()


def test_an_interval_of_no_width_is_no_end_of_the_range():
    report = fl.diagnose(*powers(), standardise=False)
    choice = replace(report.choice, low=report.choice.p, high=report.choice.p)
    said = replace(report, choice=choice).verdict()
    assert "at least" not in said and "at most" not in said


def test_few_labels_among_many_rows_fill_the_folds_evenly():
    X = np.random.default_rng(0).standard_normal((40, 2))
    for seed in range(20):
        y = np.full(40, np.nan)
        y[np.random.default_rng(seed).choice(40, 7, replace=False)] = range(7)
        labelled = np.isfinite(y)
        report = fl.diagnose(X, y)
        assert report.folds == 5 and report.unlabelled == 33
        close(report, fl.diagnose(X[labelled], y[labelled]))


@pytest.mark.parametrize("n", [3, 4, 5, 6, 11])
def test_very_few_rows_give_a_report(n):
    report = fl.diagnose(*noise(n=n, d=2))
    assert not report.told and report.folds == min(n, 5)
    assert np.isfinite(report.risks.risk).all()
    json.dumps(report.record(), allow_nan=False)


@pytest.mark.parametrize("d", [1, 2])
def test_directions_of_one_size_tell_nothing(d):
    X, y = noise(d=d)
    report = fl.diagnose(X, y + X.sum(1))
    assert not report.told
    assert str(report) and page(report)


@pytest.mark.parametrize("p", [-1.0, -0.5, 0.3])
@pytest.mark.parametrize(("n", "d"), [(1e5, 60), (1e8, 60)])
def test_many_rows_do_not_move_the_exponent(p, n, d):
    # from the law of the scores: every direction far above the noise
    rng = np.random.default_rng(3)
    lam = np.geomspace(1, 0.05, d)
    t = lam ** (p + 1)
    D = 1 + n * t / t.sum()
    found = []
    for _ in range(40):
        scores = D * rng.chisquare(1, d)
        found.append(theory.fit(lam, scores, n - d, int(n) - 1))
    inside = np.mean([c.low <= p <= c.high for c in found])
    assert all(c.told for c in found) and inside > 0.8  # .95, s.e. .034
    mean = np.mean([c.p for c in found])
    assert abs(mean - p) < 4 * found[0].se / np.sqrt(40)


def test_labels_without_noise_are_no_error_and_no_evidence_of_an_end():
    X, _ = powers(n=300, d=6)
    assert not fl.diagnose(X[:, :3] / X[:, :3].std(0), X.sum(1)).told
    report = fl.diagnose(X, X.sum(1))
    assert report.noise < 1e-3 and report.risks.risk.max() < 1e-6
    json.dumps(report.record(), allow_nan=False)
    assert str(report) and page(report)


def test_names_differ_even_where_one_looks_like_a_repaired_one():
    for names in (["a", "a", "a (column 2)"], ["a (column 2)", "a", "a", ""]):
        assert len(set(diagnose_pass.unique(names))) == len(names)


def test_doubled_and_rare_columns_are_harmless():
    X, y = powers(n=300, d=6)
    rare = np.zeros(300)
    rare[11] = 1  # constant in four of five training sets ... or in none of them
    report = fl.diagnose(np.column_stack([X, X[:, 0], rare]), y)
    assert len(report.lam) == 7 and len(report.columns) == 8
    assert report.risks.risk.max() < 0.2


def test_columns_out_of_floating_point_range_are_left_out_by_name():
    X, y = powers(n=60, d=3)
    report = fl.diagnose(X * [1, 1e200, 1e-200], y)
    assert "too large" in report.left_out["column 2"]
    assert report.left_out["column 3"] == diagnose_pass.CONSTANT
    close(report, fl.diagnose(X[:, :1], y))


def test_a_frame_keeps_its_names_even_that_of_the_label():
    pd = pytest.importorskip("pandas")
    X, y = powers(n=60, d=3)
    frame = pd.DataFrame(X, columns=["y", "b", 3])
    frame["word"], frame["one"] = "red", 1
    report = fl.diagnose(frame, pd.Series(y))
    assert report.columns == ["y (column 1)", "b", "3"] and report.target == "y"
    assert fl.diagnose(frame, pd.Series(y, name="price")).target == "price"
    with pytest.raises(ValueError, match="y has another index than X"):
        fl.diagnose(frame, pd.Series(y, index=range(60, 0, -1)))
    assert set(report.left_out) == {"word", "one"}
    close(report, fl.diagnose(X, y))


def test_what_only_looks_like_a_number_is_none():
    pd = pytest.importorskip("pandas")
    X, y = powers(n=60, d=2)
    frame = pd.DataFrame(X, columns=["a", "b"])
    frame["month"] = pd.period_range("2020-01", periods=60, freq="M")
    frame["turned"] = pd.Series([*(y + 2j)], dtype=object)
    frame["flag"] = pd.Series([*(y > 0)], dtype=object)
    frame["text"] = [f"{x:.17g}" for x in y**2]
    report = fl.diagnose(frame, y)
    assert report.columns == ["a", "b", "flag", "text"]
    assert report.left_out["month"] == "has '2020-01' in row 1"
    assert "turned" in report.left_out
    numbers = np.column_stack([X, y > 0, y**2])
    close(report, fl.diagnose(numbers, y))
    with pytest.raises(ValueError, match="'month' has '2020-01'"):
        fl.diagnose(X, frame["month"])


def test_labels_that_are_linear_are_no_error():
    rng = np.random.default_rng(13)
    X = rng.standard_normal((200, 20))
    X[:, 1:] += X[:, :-1]
    report = fl.diagnose(X, X.sum(1))
    assert (report.risks.risk < 1e-12).all() and not report.real().count("+0.5")


def test_frames_and_arrays_of_other_libraries_are_tables():
    pd, xr = pytest.importorskip("pandas"), pytest.importorskip("xarray")
    X, y = powers(n=60, d=3)
    columns = pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)])
    frame = pd.DataFrame(X, columns=columns)
    report = fl.diagnose(frame, y)
    assert report.columns == ["('a', 1)", "('a', 2)", "('b', 1)"]
    assert frame.columns.equals(columns)
    other = fl.diagnose(xr.DataArray(X), xr.DataArray(y, name="price"))
    assert other.target == "price"
    close(other, report)
    masked = np.ma.masked_array(X, np.eye(60, 3) * [1, 0, 0])
    report = fl.diagnose(masked, np.ma.masked_array(y, np.arange(60) == 5))
    assert report.left_out == {"column 1": "has 'nan' in row 1"} and report.rows == 59


@pytest.mark.parametrize(
    ("X", "y", "word"),
    [
        (np.ones(4), np.ones(4), r"shapes \(4,\), \(4,\)"),
        (np.ones((4, 2)), np.ones(3), r"must be \(n, d\) and \(n,\)"),
        (scipy.sparse.csr_array(np.eye(4)), np.ones(4), r"shapes \(\), \(4,\)"),
        (np.ones((0, 2)), np.ones(0), "0 rows with a label, 0 different"),
        (np.eye(4), np.ones(4), "1 different"),
        (np.eye(2), [1, 2], "2 rows with a label"),
        (np.eye(4), [1, 2, np.inf, 4], "'y' has 'inf' in row 3"),
        (np.eye(4), ["a", "b", "c", "d"], "'y' has 'a' in row 1"),
        (np.full((4, 1), 2.0), range(4), "no column is left: column 1 is constant"),
        (np.full((4, 1), np.nan), range(4), "column 1 has 'nan' in row 1"),
        (
            np.full((4, 1), 1e200) * [[1], [2], [3], [5]],
            range(4),
            "'1e.200' in row 1, too",
        ),
        (np.eye(4), [1, 2, 1e200, 4], "'y' has '1e.200' in row 3, too large"),
        (np.ma.masked_equal(np.eye(4), 1), range(4), "column 1 has 'nan' in row 1"),
        (np.eye(300), 2**60 + np.arange(300), "the label is constant to rounding"),
        (np.eye(4), np.array([1, 2, 4, 3]) * 1e-160, "the label is constant to"),
    ],
)
def test_bad_tables_are_refused_by_name(X, y, word):
    with pytest.raises(ValueError, match=word):
        fl.diagnose(X, y)


def test_more_columns_than_memory_are_refused_before_a_row_is_read():
    from fl.diagnose_read import Source

    source = Source([str(j) for j in range(200_000)], None, iter(()))
    with pytest.raises(ValueError, match="199999 columns need 6400 GB, this machine"):
        diagnose_pass.gather(source, 0)


# --- what is shown --------------------------------------------------------------------


def test_the_text_says_everything_and_promises_nothing():
    report = fl.diagnose(*powers(n=300))
    text = " ".join(str(report).split())
    for words in (report.verdict(), *report.warnings()):
        assert words in text
    for words in ("rows", "resolved directions", "noise, share", "5-fold", "not real"):
        assert words in text
    assert "Not about a network" in text and "best p" not in text
    assert "Nothing" not in text and "nan" not in text


class Reader(HTMLParser):
    """Counts what a page would fetch."""

    def __init__(self):
        super().__init__()
        self.asked, self.open = [], []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.asked += [found[k] for k in ("src", "href", "xlink:href") if k in found]
        if tag in ("script", "link", "iframe", "img"):
            self.asked.append(tag)


def test_the_page_needs_nothing_from_elsewhere_and_no_name_breaks_it():
    X, y = powers(n=100, d=3)
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=["<b>&", "[red]", "b"]).assign(z="<script>")
    report = fl.diagnose(frame, y)
    html = page(report)
    reader = Reader()
    reader.feed(html)
    assert all(a.startswith("#") for a in reader.asked), reader.asked
    assert "url(http" not in html and "<script>" not in html and "@import" not in html
    assert html.count("<svg") == 1 and html.count('role="img"') == 1
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids)) and {a[1:] for a in reader.asked} <= set(ids)
    assert "prefers-color-scheme:dark" in html and "&lt;script&gt;" in html
    assert "[red]" in report.columns and "<script>" in str(report)
    assert report._repr_html_() in html


def test_the_record_is_plain_json():
    report = fl.diagnose(*noise())
    record = json.loads(json.dumps(report.record(), allow_nan=False))
    assert record["choice"]["told"] is False and record["rows"] == 300
    assert [x["p"] for x in record["risks"]] == [-1, -0.5, 0, 0.5, 1]
    assert len(record["choice"]["deviance"]) == len(record["choice"]["exponents"])
    assert record["warnings"] == report.warnings() and "network" in record["scope"]


def test_the_command_writes_a_table_a_record_and_a_page(tmp_path):
    X, y = powers(n=200, d=4)
    rows = [",a,b,c,d,price"] + [
        ",".join([str(i), *map(repr, map(float, (*x, t)))])
        for i, (x, t) in enumerate(zip(X, y, strict=True))
    ]
    file, out, html = (tmp_path / name for name in ("t.csv", "t.json", "t.html"))
    file.write_text("\n".join(rows))
    options = ["--target", "price", "--json", str(out), "--html", str(html)]
    run = CliRunner().invoke(app, ["diagnose", str(file), *options])
    assert run.exit_code == 0, run.output
    assert "without a name" in run.output and "cannot tell" in run.output
    record = json.loads(out.read_text())
    assert record["columns"] == list("abcd") and record["standardised"]
    close(fl.diagnose(X, y), diagnose_run.diagnose_file(file, "price"))
    assert html.read_text("utf-8").startswith("<!doctype html>")
    run = CliRunner().invoke(app, ["diagnose", str(file), "--target", "price", "--raw"])
    assert "raw units" in run.output and "Raw units: p measures them too" in run.output


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--target", "prize"], "must be one of a, price"),
        (["--target", "price", "--json", "no/where.json"], "its folder must exist"),
        (["--target", "price", "--html", "no/where.html"], "--html no/where.html"),
    ],
)
def test_an_error_of_the_command_is_one_message(options, word, tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("a,price\n1,2\n3,5\n4,9\n")
    environment = {"COLUMNS": "400"}
    run = CliRunner().invoke(app, ["diagnose", str(file), *options], env=environment)
    assert run.exit_code == 2 and word in run.output and "Traceback" not in run.output


def test_it_is_loaded_when_it_is_asked_for():
    code = (
        "import sys, fl.cli; assert 'pandas' not in sys.modules\n"
        "import fl.diagnose_run, fl.diagnose_read; assert callable(fl.diagnose)\n"
        "assert not {'torch', 'matplotlib', 'scipy.stats'} & set(sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
