"""Stored runs: what is written is what is read, or an error says what to do."""

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from fl import stored


def small(scale):
    return xr.Dataset(
        {"risk": (("snr", "seed"), np.arange(6.0).reshape(2, 3) / 7)},
        {"snr": [0.5, 1.0], "seed": [3, 4, 5]},
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(
        stored,
        "RUNS",
        {"small": small, "seedless": lambda scale: xr.Dataset({"x": 1.0})},
    )
    return tmp_path / "data"


def test_round_trip_with_its_origin(folder):
    path = stored.make("small", "smoke", folder)
    got = stored.read("small", folder)
    xr.testing.assert_allclose(got, small("smoke"), rtol=1e-6)
    assert (
        got.attrs["command"] == "fl sweep small --scale smoke"
        and got.attrs["seeds"] == "3, 4, 5"
    )
    assert re.search(r"numpy \d", got.attrs["versions"]) and got.attrs[
        "machine"
    ].startswith("Python 3.")
    assert sorted(p.name for p in folder.iterdir()) == ["SHA256SUMS", path.name]


def test_the_same_run_has_the_same_bytes(folder):
    first = stored.make("small", "smoke", folder).read_bytes()
    assert stored.make("small", "smoke", folder).read_bytes() == first


def test_sums_of_other_runs_are_kept(folder):
    stored.make("small", "smoke", folder)
    with (folder / "SHA256SUMS").open("a") as sums:
        sums.write("0123  other.nc\n")
    stored.make("small", "smoke", folder)
    assert "0123  other.nc" in (folder / "SHA256SUMS").read_text()
    stored.read("small", folder)


def test_an_edited_file_is_refused(folder):
    path = stored.make("small", "smoke", folder)
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    with pytest.raises(
        ValueError,
        match=r"small.nc has sha256 .*damaged or edited; make it with: fl sweep small",
    ):
        stored.read("small", folder)


@pytest.mark.parametrize("mark", ["  ", " *"])
def test_sums_of_either_form_are_read(folder, mark):
    stored.make("small", "smoke", folder)
    sums = folder / "SHA256SUMS"
    sums.write_text(sums.read_text().replace("  ", mark) + "\n")
    stored.read("small", folder)


def test_what_single_precision_cannot_hold_keeps_double(folder):
    values = np.array([1e-50, 1e39, 0.0, np.nan])
    data = xr.Dataset({"loss": ("seed", values)}, {"seed": range(4)})
    stored.write(data, "wide", "by hand", folder)
    np.testing.assert_array_equal(stored.read("wide", folder).loss, values)
    data = xr.Dataset({"loss": ("seed", values[2:] + 1)}, {"seed": range(2)})
    stored.write(data, "narrow", "by hand", folder)
    assert stored.read("narrow", folder).loss.dtype == np.float32


def test_a_missing_file_says_how_to_make_it(folder):
    with pytest.raises(
        FileNotFoundError,
        match="small.nc does not exist; make it with: fl sweep small --scale paper",
    ):
        stored.read("small", folder)


def test_mistakes(folder):
    with pytest.raises(
        ValueError, match="name = 'big': must be one of seedless, small"
    ):
        stored.make("big", "smoke", folder)
    with pytest.raises(ValueError, match="'seedless' has no coordinate `seed`"):
        stored.make("seedless", "smoke", folder)
    with pytest.raises(ValueError, match="stored run 'small' exists already"):
        stored.stored("small")(small)


def test_every_file_that_the_book_carries_is_whole():
    for line in (
        (stored.FOLDER / "SHA256SUMS").read_text().splitlines()
        if stored.FOLDER.is_dir()
        else []
    ):
        stored.read(line.split("  ")[1].removesuffix(".nc"))


def test_verdicts_at_the_papers_sizes_are_counted_over_blocks(tmp_path):
    place = Path(__file__).resolve().parent.parent / "tools" / "paper.py"
    spec = importlib.util.spec_from_file_location("paper", place)
    paper = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(paper)
    record = {"scale": "paper", "holds": True, "control_fails": True, "seconds": 2.0}
    files = []
    for holds, sharpness in [(True, None), (False, 4.0), (True, 0.0)]:
        one = record | {"id": "demo.one", "holds": holds, "sharpness": sharpness}
        files.append(tmp_path / f"{len(files)}.json")
        files[-1].write_text(json.dumps([one]))
    found = paper.gathered(files).sel(claim="demo.one")
    assert (found.asked, found.stood, found.seconds) == (3, 2, 6.0)
    assert found.sharpness == 0  # none at all, where nothing given means infinity
    files[0].write_text(json.dumps([record | {"id": "demo.one", "scale": "book"}]))
    with pytest.raises(SystemExit, match="demo.one must be paper"):
        paper.gathered(files)
