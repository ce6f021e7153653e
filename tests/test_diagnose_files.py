"""Tables of other programs, byte by byte: each is read right, or refused by name."""

import importlib.util
from types import SimpleNamespace

import numpy as np
import pytest

from fl.diagnose_pass import gather, usable
from fl.diagnose_read import CELLS, framed, numbers, open_table
from fl.diagnose_run import diagnose_file

parquet = pytest.mark.skipif(
    not importlib.util.find_spec("pyarrow"), reason="needs pyarrow, the extra `tables`"
)
A = np.array([1.5, -2.25, 3.0, 0.5, 7.0, 2.5])
B = np.array([3.0, 1.0, 4.0, 1.0, 5.0, 9.0])
Y = np.array([0.5, 1.0, 0.25, 2.0, 4.0, 1.5])


def table(path, target):
    source = open_table(path)
    seen = gather(source, source.names.index(target))
    whole, _, left_out = usable(seen)
    kept = ~seen.names.isin(left_out)
    return SimpleNamespace(
        names=seen.names[kept].tolist(),
        whole=whole.take(kept),
        left_out=left_out,
        unlabelled=seen.rows - whole.n,
    )


def text(rows, end="\n"):
    return end.join(rows) + end


def plain(a, b, y, point="."):
    return [str(float(x)).replace(".", point) for x in (a, b, y)]


ROWS = list(zip(A, B, Y, strict=True))
FILES = {
    # pandas: DataFrame.to_csv with its index
    "pandas": text(
        [",a,b,y"] + [f"{i},{','.join(plain(*r))}" for i, r in enumerate(ROWS)]
    ).encode(),
    # R: write.csv with row names, text in quotes
    "R": text(
        ['"","a","b","y"']
        + [f'"row {i}",{",".join(plain(*r))}' for i, r in enumerate(ROWS, 1)]
    ).encode(),
    # R: write.table(sep = ","), whose heading lacks the row names
    "R without a corner": text(
        ['"a","b","y"']
        + [f'"{i}",{",".join(plain(*r))}' for i, r in enumerate(ROWS, 1)]
    ).encode(),
    # Excel in Germany or France: semicolons, decimal commas, CRLF
    "Excel": text(
        ["a;b;y"] + [";".join(plain(*r, ",")) for r in ROWS], "\r\n"
    ).encode(),
    # Excel: CSV UTF-8, which begins with a byte order mark
    "byte order mark": b"\xef\xbb\xbf"
    + text(["a,b,y"] + [",".join(plain(*r)) for r in ROWS], "\r\n").encode(),
    # Excel: Unicode text
    "UTF-16": text(["a\tb\ty"] + ["\t".join(plain(*r)) for r in ROWS]).encode("utf-16"),
    # a separator at the end of every line of data, and none in the heading
    "trailing separator": text(
        ["a,b,y"] + [",".join(plain(*r)) + "," for r in ROWS]
    ).encode(),
    # and one in the heading too
    "trailing empty column": text(
        ["a,b,y,"] + [",".join(plain(*r)) + "," for r in ROWS]
    ).encode(),
    "old Mac ends of lines": text(
        ["a,b,y"] + [",".join(plain(*r)) for r in ROWS], "\r"
    ).encode(),
    "pipes and spaces": text(
        ["a | b | y"] + [" | ".join(plain(*r)) for r in ROWS]
    ).encode(),
}


@pytest.mark.parametrize("name", FILES)
def test_tables_of_other_programs_are_read_right(name, tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(FILES[name])
    found = table(path, "y")
    assert found.names == ["a", "b"]
    np.testing.assert_allclose(found.whole.mean, [A.mean(), B.mean()])
    np.testing.assert_allclose(
        found.whole.b, [((x - x.mean()) * Y).sum() for x in (A, B)]
    )


def written(tmp_path, content: bytes, name="table.csv"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def lines(heading, *columns, sep=","):
    rows = zip(*columns, strict=True)
    return text([heading] + [sep.join(map(str, row)) for row in rows]).encode()


@pytest.mark.parametrize(
    ("column", "why"),
    [
        (["1", "NA", "3", "4", "5", "7"], "'nan' in row 2"),
        (["1", "", "3", "4", "5", "7"], "'nan' in row 2"),
        (["1", "2", "3", "inf", "5", "7"], "'inf' in row 4"),
        (["red", "2", "3", "4", "5", "7"], "'red' in row 1"),
        (['"1,234"', "2", "3", "4", "5", '"6,500"'], "'1,234' in row 1"),
        (["1", "2", "3", "4", "?", "6"], "'?' in row 5"),
        (["2026-01-02"] * 6, "'2026-01-02' in row 1"),
        (["3.5"] * 6, "is constant"),
        (["0", "1", "2", "3", "4", "5"], "counts the rows"),
        (["1", "2", "3", "4", "5", "6"], "counts the rows"),
    ],
)
def test_a_column_that_cannot_be_used_is_named_with_the_reason(column, why, tmp_path):
    found = table(written(tmp_path, lines("a,c,y", A, column, Y)), "y")
    assert found.names == ["a"] and why in found.left_out["c"]
    assert found.whole.n == 6


def test_a_late_gap_costs_the_column_and_no_row(tmp_path, monkeypatch):
    monkeypatch.setattr("fl.diagnose_read.CELLS", 4)  # many batches of 256 rows
    rng = np.random.default_rng(0)
    a, c, y = rng.standard_normal((3, 1000)).round(3)
    late = [*map(str, c[:-1]), "NA"]
    found = table(written(tmp_path, lines("a,c,y", a, late, y)), "y")
    assert found.left_out == {"c": "has 'nan' in row 1000"} and found.whole.n == 1000
    np.testing.assert_allclose(found.whole.v, 1000 * y.var())
    assert CELLS > 4


def test_names_with_commas_quotes_and_letters_of_another_century(tmp_path):
    heading = '"Länge, außen","say ""y""",y'
    for encoding in ("utf-8", "latin-1"):
        path = written(tmp_path, lines(heading, A, B, Y).decode().encode(encoding))
        assert table(path, "y").names == ["Länge, außen", 'say "y"']


def test_columns_of_one_name_are_told_apart_and_a_double_target_is_chosen_by_number(
    tmp_path,
):
    path = written(tmp_path, lines("a,a,y", A, B, Y))
    assert table(path, "y").names == ["a (column 1)", "a (column 2)"]
    with pytest.raises(
        ValueError, match=r"must be one of a .column 1., a .column 2., y"
    ):
        diagnose_file(path, "a")
    assert diagnose_file(path, "a (column 2)").columns == ["a (column 1)", "y"]


def test_integers_without_proof_of_a_decimal_comma_are_refused(tmp_path):
    thousands = ["1,234", "2,345", "3,456", "1,000", "9,999", "5,432"]
    path = written(tmp_path, lines("a;y", thousands, range(6), sep=";"))
    with pytest.raises(ValueError, match="1,234 a thousand or a fraction"):
        table(path, "y")
    proof = ["0,5", *thousands[1:]]
    path = written(tmp_path, lines("a;y", proof, range(6), sep=";"))
    np.testing.assert_allclose(table(path, "y").whole.mean, [22.732 / 6])


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "must have a heading"),
        (b"a,y\n", "must have a heading and at least one row"),
        (b"1,2\n3,4\n5,6\n7,8\n", "first line is all numbers"),
        (b"a,y\n1,2\n3,4\n5,6,7\n8,9\n", "[Ee]xpected 2 fields in line 4, saw 3"),
        (b"a,y\n1,2,3,4\n3,4,5,6\n", "Length of header"),
        (b"a,y\n1,2\n3,4\n", "2 rows with a label, 2 different: must be at least 3"),
        (b"a,y\n1,2\n3,2\n4,2\n", "1 different"),
        (b"a,y\n1,yes\n2,no\n4,no\n", "target 'y' has 'yes' in row 1: labels must be"),
        (b"a,y\n1,2\n2,inf\n4,3\n", "target 'y' has 'inf' in row 2"),
        (b"a,y\n1,2\n1,3\n1,4\n", "no column is left: a is constant"),
        (b"a,b\n1,2\n1,3\n1,4\n", "target = 'y': must be one of a, b"),
        (b"y\n1\n2\n3\n", "d = 0: must be an integer >= 1"),
        (b'a,y\n1,"2\n3,4\n', "EOF inside string"),
        (bytes(range(256)) * 4, "table.csv: "),
    ],
)
def test_what_is_no_table_is_refused_in_a_line(content, word, tmp_path):
    with pytest.raises(ValueError, match=word):
        diagnose_file(written(tmp_path, content), "y")


def test_rows_without_a_label_are_left_out(tmp_path):
    y = ["NA", *Y[1:]]
    found = table(written(tmp_path, lines("a,b,y", A, B, y)), "y")
    assert found.unlabelled == 1 and found.whole.n == 5
    np.testing.assert_allclose(found.whole.mean, [A[1:].mean(), B[1:].mean()])


def test_a_file_of_no_kind_or_nowhere_is_refused(tmp_path):
    with pytest.raises(ValueError, match="none.csv: .*[Nn]o such file"):
        diagnose_file(tmp_path / "none.csv", "y")
    with pytest.raises(ValueError, match=r"must be one of .csv, .tsv, .parquet"):
        diagnose_file(written(tmp_path, b"", "table.xlsx"), "y")


# --- arrays on disk -------------------------------------------------------------------


@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_on_disk_are_tables_too(order, tmp_path):
    X = np.array([A, B, Y]).T
    np.save(tmp_path / "table.npy", np.asarray(X, order=order))
    np.savez(tmp_path / "table.npz", X=X[:, :2].astype("float32"), y=Y)
    for name, target, names in [
        ("table.npy", "2", ["0", "1"]),
        ("table.npz", "y", ["X[0]", "X[1]"]),
    ]:
        found = table(tmp_path / name, target)
        assert found.names == names
        np.testing.assert_allclose(found.whole.mean, [A.mean(), B.mean()])


@pytest.mark.parametrize(
    ("arrays", "word"),
    [
        ({"X": np.ones((3, 2)), "y": np.ones(4)}, "must be of the same length"),
        ({"X": np.ones((3, 2, 2)), "y": np.ones(3)}, "must each be 1-dimensional"),
        (
            {"X": np.array([["a"], ["b"], ["c"]]), "y": range(3)},
            "X.0. has 'a' in row 1",
        ),
        ({"X": np.array([{}, 1]), "y": np.ones(2)}, "allow_pickle"),
    ],
)
def test_arrays_that_are_no_table_are_refused(arrays, word, tmp_path):
    np.savez(tmp_path / "table.npz", **arrays)
    with pytest.raises(ValueError, match=word):
        diagnose_file(tmp_path / "table.npz", "y")


@pytest.mark.parametrize("name", ["table.npy", "table.npz", "table.parquet"])
def test_broken_files_are_refused_by_name(name, tmp_path):
    for content in (b"", b"\x93NUMPY\x01", b"PK\x03\x04 nothing", b"PAR1"):
        with pytest.raises(ValueError, match=name):
            diagnose_file(written(tmp_path, content, name), "y")


@parquet
def test_a_parquet_file_with_gaps_words_and_an_index(tmp_path):
    import pandas as pd

    frame = pd.DataFrame({"a": A, "b": B, "y": Y, "c": list("abcabc")}, list("uvwxyz"))
    frame["gap"] = pd.array([1, None, 3, 4, 5, 6], "Int64")
    frame["when"] = pd.Timestamp("2026-01-01")
    frame["flag"] = [True, False] * 3
    frame.to_parquet(tmp_path / "table.parquet")
    found = table(tmp_path / "table.parquet", "y")
    assert found.names == ["a", "b", "flag"]
    assert set(found.left_out) == {"c", "gap", "when", "__index_level_0__"}


# --- frames ---------------------------------------------------------------------------


def test_numbers_of_every_type_and_nothing_else():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(
        {
            "whole": pd.array([1, None], "Int64"),
            "truth": [True, False],
            "single": np.array([1.5, 2], "float32"),
            "written": ["1e3", "2"],
            "word": ["1", "two"],
            "time": pd.to_datetime(["2026-01-01", "2026-01-02"]),
            "complex": [1j, 2],
            "kind": pd.Categorical(["a", "b"]),
        }
    )
    found = numbers(frame)
    nan = np.nan
    expected = [[1, nan], [1, 0], [1.5, 2], [1000, 2], [1, nan]] + 3 * [[nan, nan]]
    np.testing.assert_array_equal(found, expected)


def test_a_frame_is_handed_out_row_by_row_whatever_its_index(monkeypatch):
    pd = pytest.importorskip("pandas")
    monkeypatch.setattr("fl.diagnose_read.CELLS", 3)
    Z = np.arange(1800.0).reshape(600, 3)
    source = framed(pd.DataFrame(Z, index=np.linspace(9, 0, 600), columns=list("aab")))
    parts = [numbers(frame) for frame in source.batches]
    assert [p.shape[1] for p in parts] == [256, 256, 88] and source.rows == 600
    assert source.names == ["a", "a", "b"]
    np.testing.assert_array_equal(np.hstack(parts).T, Z)


def test_a_row_without_a_label_may_have_gaps(tmp_path):
    a, y = ["NA", *A[1:]], ["", *Y[1:]]
    found = table(written(tmp_path, lines("a,b,y", a, B, y)), "y")
    assert found.names == ["a", "b"] and found.unlabelled == 1


def test_a_point_is_no_decimal_sign_where_the_comma_is(tmp_path):
    rows = ["rent;income;day;y", "5,5;950;24.12;1,25", "6,1;1.234;25.12;2,50"]
    rows += ["7,5;2.345.678;26.12;1,75", "8,25;999;27.12;3,5", "9;12,5;28.12;0,5"]
    report = diagnose_file(written(tmp_path, "\n".join(rows).encode()), "y")
    assert report.columns == ["rent"]
    assert report.left_out == {
        "income": "has '1.234' in row 2",
        "day": "has '24.12' in row 1",
    }


def test_quotes_after_a_space_hold_the_separator(tmp_path):
    rows = ['x, "who, where", y', '1, "a, b", 3', '2, "c, d", 5', '4, "e, f", 6']
    report = diagnose_file(written(tmp_path, "\n".join(rows).encode()), "y")
    assert report.columns == ["x"] and "who, where" in report.left_out
