"""Sweeps for everyone: a grid in a file, failing units, full disks, and a Dask cluster.

The tests that take longer, on a real cluster of two processes, run with ``FL_SLOW=1``.
"""

import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

from fl import cli, stored, sweep_file, sweep_run

ROOT = Path(__file__).resolve().parent.parent
cluster = pytest.mark.skipif(
    not (os.environ.get("FL_SLOW") and find_spec("distributed")),
    reason="needs FL_SLOW=1 and the library distributed (pip install '.[cluster]')",
)
parquet = pytest.mark.skipif(not find_spec("pyarrow"), reason="needs pyarrow")

# a unit leaves a mark, so that another process can count what has run
UNIT = """
import os, signal, time

def unit(seed, p, log, wait=0.0, kills=False):
    with open(log, "a") as file:
        file.write(f"{p} {seed}\\n")
    if kills and not os.path.exists(log + ".killed"):
        open(log + ".killed", "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(wait)
    if p == 7 and seed == 1:
        raise ZeroDivisionError("seven")
    return {"risk": p / (seed + 3), "curve": ("step", [0.1 * seed, p / 3])}
"""


@pytest.fixture
def grid(tmp_path, monkeypatch):
    """Write a grid in a folder with spaces; return what makes others, and its log."""
    folder = tmp_path / "my grids"
    folder.mkdir()
    name = f"mine_{abs(hash(str(tmp_path)))}"  # no other test has loaded it
    (folder / f"{name}.py").write_text(UNIT)
    monkeypatch.setenv("FL_CACHE", str(tmp_path / "my results"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    log = folder / "log"

    def write(p="[1, 2]", seeds="3", **fixed):
        lines = [f'function = "{name}.py:unit"', f"seeds = {seeds}"]
        lines += ["[axes]", f"p = {p}", "[fixed]", f'log = "{log}"']
        lines += [f"{k} = {str(v).lower()}" for k, v in fixed.items()]
        lines += ["[variables]", 'risk = ["test error", "1"]']
        path = folder / "grid.toml"
        path.write_text("\n".join(lines))
        return path

    return write, log


def run(*arguments):
    return CliRunner().invoke(cli.app, ["sweep", *map(str, arguments)])


def begun(log: Path) -> int:
    return len(log.read_text().splitlines()) if log.exists() else 0


# --- the file and what comes out ------------------------------------------------------


def test_a_grid_in_a_file_is_swept_resumed_and_described(grid):
    write, log = grid
    path = write()
    first = run(path, "--jobs", "1")
    assert first.exit_code == 0, first.output
    assert "units: 6 computed, 0 found in the store, 0 failed" in first.output
    data = xr.load_dataset(path.with_suffix(".nc"), engine="scipy")
    assert data.risk.sel(p=2, seed=1).item() == 2 / 4  # in full precision
    assert data.risk.attrs == {"description": "test error", "units": "1"}
    for variable in data.variables.values():
        assert {"description", "units"} <= variable.attrs.keys()
    write(p="[1, 2, 5]")
    again = run(path, "--jobs", "1")
    assert "units: 3 computed, 6 found in the store, 0 failed" in again.output
    assert begun(log) == 9


def test_what_a_unit_says_of_its_variables_is_kept(tmp_path):
    data = xr.Dataset({"risk": ("p", [1.0], {"description": "d", "units": "u"})})
    path = stored.export(data.assign_coords(p=[0]), tmp_path / "x.nc")
    kept = xr.load_dataset(path, engine="scipy")
    assert kept.risk.attrs == {"description": "d", "units": "u"}
    assert kept.p.attrs == {"description": "p", "units": "unspecified"}


@parquet
def test_parquet_has_a_row_for_each_cell_and_descriptions(grid, tmp_path):
    from pyarrow.parquet import read_table

    out = tmp_path / "a table.parquet"
    found = run(grid[0](), "--jobs", "1", "--out", out)
    assert found.exit_code == 0, found.output
    table = read_table(out)
    assert table.num_rows == 2 * 3 * 2
    words = table.schema.field("risk").metadata
    assert words[b"description"] == b"test error" and words[b"units"] == b"1"


def test_one_failing_unit_is_kept_with_its_traceback_and_the_others_go_on(grid):
    write, log = grid
    found = run(write(p="[1, 7]"), "--jobs", "2")
    assert found.exit_code == 1
    assert "units: 5 computed, 0 found in the store, 1 failed" in found.output
    assert "failed at {'p': 7, 'seed': 1" in found.output
    kept = Path(os.environ["FL_CACHE"]) / "grid.failed.txt"
    assert 'raise ZeroDivisionError("seven")' in kept.read_text()
    assert begun(log) == 6
    assert run(write(p="[1]"), "--jobs", "1").exit_code == 0 and not kept.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("function = ", "must be a TOML file"),
        ('function = "none.py:unit"', "function = 'none.py:unit'"),
        ('function = "math:nothing"', "must be FILE.py:name or module:name"),
        ('function = "math:sin"\nseed = 3', "key of .* = 'seed': must be one of"),
        ('function = "math:sin"\naxes = 3', "axes = 3 .*: must be a table"),
        ('function = "math:sin"\nseeds = -1', "seeds = -1: must be an integer"),
    ],
)
def test_mistakes_in_a_grid_are_named(tmp_path, text, message):
    path = tmp_path / "grid.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        sweep_file.read(path)
    assert run(path).exit_code == 2


def test_where_results_cannot_go_is_said_before_any_work(grid, tmp_path):
    write, log = grid
    for out in ("x.csv", tmp_path / "none" / "x.nc"):
        assert run(write(), "--out", out).exit_code == 2
    (tmp_path / "my results").write_text("a file in the way")
    found = run(write(), "--jobs", "1")
    assert isinstance(found.exception, OSError)
    assert "cannot be written" in str(found.exception) and begun(log) == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_named_before_any_work(grid, tmp_path):
    write, log = grid
    (tmp_path / "my results").mkdir(mode=0o500)
    found = run(write(), "--jobs", "1")
    assert "cannot be written" in str(found.exception) and begun(log) == 0


def test_a_full_disk_is_named_before_any_work(grid, monkeypatch):
    write, log = grid
    usage = type("Usage", (), {"free": 2**20})
    monkeypatch.setattr("fl.store.shutil.disk_usage", lambda folder: usage)
    found = run(write(), "--jobs", "1")
    assert "No space left" in str(found.exception) and begun(log) == 0


def test_a_scheduler_without_the_library_says_what_to_install(grid, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    found = run(grid[0](), "--scheduler", "tcp://127.0.0.1:1")
    assert "pip install '.[cluster]'" in str(found.exception)


# --- a real cluster -------------------------------------------------------------------


@pytest.fixture(scope="module")
def scheduler():
    """Return the address of a cluster of two worker processes."""
    code = "from distributed import LocalCluster\n"
    code += "if __name__ == '__main__':\n    import sys\n"
    code += "    c = LocalCluster(n_workers=2, threads_per_worker=1,"
    code += " dashboard_address=None)\n"
    code += "    print(c.scheduler_address, flush=True)\n    sys.stdin.read()\n"
    # a process of its own, as on a real one: the workers inherit nothing of the tests
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    environment.pop("FL_CACHE", None)
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process.stdout.readline().strip()
    process.communicate("")


def client(path, scheduler, *more):
    """Start a client: the command in a process of its own."""
    command = "from fl.cli import main; main()"
    words = ["sweep", str(path), "--scheduler", scheduler, *map(str, more)]
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", command, *words],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def results(path):
    return xr.load_dataset(path.with_suffix(".nc"), engine="scipy")


@cluster
def test_a_cluster_gives_the_same_bits_as_one_process(grid, scheduler, monkeypatch):
    write, _ = grid
    path = write(p="[1, 2, 3]", seeds="[4, 0, 2]")
    process = client(path, scheduler)
    said = process.communicate(timeout=300)[0]
    assert process.returncode == 0 and "units: 9 computed" in said, said
    there = results(path)
    for jobs in (1, 2):
        monkeypatch.setenv("FL_CACHE", os.environ["FL_CACHE"] + str(jobs))
        assert run(path, "--jobs", jobs).exit_code == 0
        assert results(path).identical(there)


@cluster
def test_a_killed_worker_costs_nothing_but_its_unit(grid, scheduler):
    write, log = grid
    process = client(write(seeds="8", wait=0.1, kills=True), scheduler)
    said = process.communicate(timeout=300)[0]
    assert process.returncode == 0 and "0 failed" in said, said
    assert Path(f"{log}.killed").exists() and 16 < begun(log) <= 16 + 3


@cluster
def test_a_killed_client_is_started_again_and_finished_units_stay(grid, scheduler):
    write, log = grid
    path = write(seeds="20", wait=0.3)
    process = client(path, scheduler)
    while begun(log) < 6:
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    again = client(path, scheduler)
    said = again.communicate(timeout=300)[0]
    assert again.returncode == 0 and "0 failed" in said, said
    # what was in flight may run twice, two units in each of two workers' queues
    assert results(path).risk.notnull().all() and begun(log) <= 40 + 6


@cluster
def test_two_clients_share_one_store(grid, scheduler):
    write, log = grid
    path = write(seeds="12", wait=0.1)
    pair = [client(path, scheduler, "--out", path.parent / f"{i}.nc") for i in "ab"]
    for process in pair:
        said = process.communicate(timeout=300)[0]
        assert process.returncode == 0, said
    a, b = (results(path.parent / f"{i}.nc") for i in "ab")
    assert a.identical(b) and begun(log) < 48
    risks = np.array([[p / (s + 3) for s in range(12)] for p in (1, 2)])
    assert np.array_equal(a.risk, risks)
    assert not list(Path(os.environ["FL_CACHE"]).rglob(".part-*"))


@cluster
def test_a_failure_on_a_cluster_is_kept_too(grid, scheduler):
    process = client(grid[0](p="[1, 7]"), scheduler)
    said = process.communicate(timeout=300)[0]
    assert process.returncode == 1 and "5 computed" in said and "1 failed" in said
    assert sweep_run.cache_folder().joinpath("grid.failed.txt").exists()
