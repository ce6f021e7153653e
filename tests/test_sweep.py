"""The results cache and the sweep: order, keys, and everything that may happen to a run
half way.
"""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from fl import store
from fl.store import cache_folder, cached, evaluate
from fl.sweep import sweep

ROOT = Path(__file__).resolve().parent.parent
CALLS = []


def product(seed, a=1, name="x"):
    CALLS.append((seed, a, name))
    return {"value": 10.0 * a + seed, "curve": ("step", a * np.arange(3.0))}


def labelled(seed, steps):
    return xr.Dataset({"risk": ("step", np.zeros(len(steps)))}, {"step": list(steps)})


@pytest.fixture(autouse=True)
def counted(cache):
    CALLS.clear()
    return cache


# --- the result -----------------------------------------------------------------------


def test_labels_and_order():
    got = sweep(product, {"name": ["u", "v"], "a": [2, 1]}, seeds=[5, 3], jobs=1)
    assert got["value"].dims == ("name", "a", "seed") and got["curve"].dims == (
        "name",
        "a",
        "seed",
        "step",
    )
    assert got["a"].values.tolist() == [2, 1] and got["seed"].values.tolist() == [5, 3]
    for a in (1, 2):
        for seed in (3, 5):
            unit = got.sel(name="v", a=a, seed=seed)
            assert float(unit["value"]) == 10 * a + seed
            assert unit["curve"].values.tolist() == [0, a, 2 * a]


def test_processes_give_the_same_as_one():
    from fl.numerics import log_steps

    units = [{"last": n, "number": 5} for n in (10, 100, 1000, 50)]
    parallel = evaluate(log_steps, units, jobs=2)
    assert [r.tolist() for r in parallel] == [log_steps(**u).tolist() for u in units]


def test_coordinates_of_a_unit_are_kept():
    got = sweep(labelled, seeds=range(2), steps=(1, 10), jobs=1)
    assert got["step"].values.tolist() == [1, 10] and got["risk"].dims == (
        "seed",
        "step",
    )


def test_each_unit_runs_once():
    first = sweep(product, {"a": [1, 2]}, seeds=range(2), jobs=1)
    assert len(CALLS) == 4
    assert sweep(product, {"a": [1, 2]}, seeds=range(2), jobs=1).identical(first)
    sweep(product, {"a": [2, 3]}, seeds=range(2), jobs=1)
    assert len(CALLS) == 6
    assert cached(product, seed=0, a=3)["value"] == 30 and len(CALLS) == 6
    cached(product, seed=0, a=3, name="y")
    assert len(CALLS) == 7


# --- mistakes -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(seeds=[]), r"seeds = \[\]: must hold at least one value"),
        (dict(grid={"a": []}), r"a = \[\]: must hold at least one value"),
        (dict(seeds=[-1]), "seeds entry = -1: must be an integer >= 0"),
        (dict(seeds=[0.5]), "seeds entry = 0.5: must be an integer >= 0"),
        (dict(seeds=[1, 1]), r"seeds = \[1, 1\]: no value may stand twice"),
        (dict(grid={"a": [2, 2]}), r"a = \[2, 2\]: no value may stand twice"),
        (
            dict(grid={"a": [(1, 2)]}),
            r"a holds \(1, 2\): must be a number, a string or a boolean",
        ),
        (dict(grid={"seed": [1]}), "seed is given twice"),
        (dict(grid={"a": [1]}, a=2), "a is given twice"),
        (dict(jobs=0), "jobs = 0: must be an integer >= 1"),
    ],
)
def test_bad_arguments_are_named_before_any_work(arguments, message):
    with pytest.raises(ValueError, match=message):
        sweep(product, **({"jobs": 1} | arguments))
    assert not CALLS


def uneven(seed):
    return {"curve": ("step", np.zeros(seed + 1))}


def shifted(seed):
    return xr.Dataset({"risk": ("step", [0.0])}, {"step": [seed]})


def colliding(seed):
    return {"curve": ("seed", np.zeros(2))}


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            uneven,
            r"uneven returned .*\('step', 2\).* at .*'seed': 1.*: must be .*\('step', 1\)",
        ),
        (shifted, "shifted returned another coordinate step at .*'seed': 1"),
        (colliding, "colliding returned a dimension seed: must differ from the axes"),
    ],
    ids=lambda f: getattr(f, "__name__", ""),
)
def test_units_that_do_not_fit_together_are_named(function, message):
    with pytest.raises(ValueError, match=message):
        sweep(function, seeds=range(2), jobs=1)


def test_functions_that_no_key_can_name_are_refused():
    offset = 3

    def closure(seed):
        return {"value": seed + offset}

    with pytest.raises(
        ValueError, match="closure closes over variables: pass them as arguments"
    ):
        sweep(closure, jobs=1)


def test_number_of_jobs_from_the_environment(monkeypatch):
    monkeypatch.setenv("FL_JOBS", "two")
    with pytest.raises(ValueError, match="FL_JOBS = 'two': must be an integer >= 1"):
        sweep(product)
    monkeypatch.setenv("FL_JOBS", "")
    assert store._default_jobs() >= 1
    monkeypatch.setenv("FL_JOBS", "3")
    assert store._default_jobs() == 3


def workers(i):
    return store._default_jobs()


def test_no_workers_below_workers(monkeypatch):
    import joblib

    monkeypatch.delenv("FL_JOBS", raising=False)
    assert joblib.Parallel(n_jobs=2)(joblib.delayed(workers)(i) for i in range(2)) == [
        1,
        1,
    ]


# --- keys -----------------------------------------------------------------------------


def test_folder_of_the_cache(monkeypatch, tmp_path):
    assert cache_folder() == Path(os.environ["FL_CACHE"])
    monkeypatch.setenv("FL_CACHE", "")
    assert cache_folder() == ROOT / ".fl-cache"
    monkeypatch.setattr(store, "PACKAGE", tmp_path / "site-packages" / "fl")
    assert cache_folder().name == "results" and tmp_path not in cache_folder().parents


# --- damage ---------------------------------------------------------------------------


def flip(raw: bytes) -> bytes:
    return raw[:-1] + bytes([raw[-1] ^ 1])


@pytest.mark.parametrize(
    "damage",
    [lambda raw: raw[:-5], lambda raw: raw[:10], lambda raw: b"", flip],
    ids=["cut", "stub", "empty", "flipped"],
)
def test_a_damaged_entry_is_computed_again_with_one_line(counted, capfd, damage):
    want = sweep(product, seeds=range(3), jobs=1)
    entry = sorted(p for p in counted.rglob("*") if p.is_file())[1]
    entry.write_bytes(damage(entry.read_bytes()))
    CALLS.clear()
    capfd.readouterr()
    assert sweep(product, seeds=range(3), jobs=1).identical(want)
    out, err = capfd.readouterr()
    assert len(CALLS) == 1 and err == ""
    assert out.splitlines() == [
        f"results cache: {entry.parent.name}/{entry.name} is damaged and is computed again"
    ]
    assert sweep(product, seeds=range(3), jobs=1).identical(want) and len(CALLS) == 1
    assert capfd.readouterr() == ("", "")


def test_a_damaged_entry_makes_no_error_output_in_a_notebook(counted):
    import nbformat
    from nbclient import NotebookClient

    book = nbformat.v4.new_notebook()
    code = [
        "from fl.numerics import log_steps\nfrom fl.sweep import cached, evaluate",
        "_ = cached(log_steps, last=9, number=3)",
        "from fl.sweep import cache_folder\n"
        "entry = next(p for p in cache_folder().rglob('*') if p.is_file())\n"
        "_ = entry.write_bytes(b'')",
        "_ = evaluate(log_steps, [dict(last=n, number=3) for n in (9, 10, 11)], jobs=2)",
    ]
    book.cells = [nbformat.v4.new_code_cell(text) for text in code]
    NotebookClient(book, timeout=120).execute()
    outputs = [[(o.name, o.text) for o in c.outputs] for c in book.cells]
    assert outputs[:3] == [[], [], []]
    ((stream, text),) = outputs[3]
    assert (
        stream == "stdout"
        and text.count("\n") == 1
        and "is damaged and is computed again" in text
    )


# --- interruption and company ---------------------------------------------------------

# a unit leaves its mark in a log, so that another process can count what has run
SLOW = textwrap.dedent("""
    import os, sys, time
    from fl.sweep import sweep

    def unit(seed, log):
        with open(log, "a") as file:
            file.write(f"{seed}\\n")
        time.sleep(0.2)
        return {"value": seed**2}

    if __name__ == "__main__":
        result = sweep(unit, seeds=range(12), jobs=int(sys.argv[2]), log=sys.argv[1])
        print(int(result["value"].sum()))
""")


@pytest.fixture
def start(tmp_path):
    script, log = tmp_path / "slow.py", tmp_path / "log"
    script.write_text(SLOW)
    log.touch()
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "FL_CACHE": str(tmp_path / "cache"),
    }
    running = []

    def run(jobs):
        command = [sys.executable, str(script), str(log), str(jobs)]
        running.append(
            subprocess.Popen(
                command,
                env=environment,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )
        return running[-1]

    yield run, log
    for process in running:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.stdout.close()


def stored(folder: Path) -> int:
    return sum(
        p.is_file() and not p.name.startswith(".part-") for p in folder.rglob("*")
    )


def test_killed_half_way_and_resumed(start, counted):
    jobs = 2
    run, log = start
    process = run(jobs)
    while len(log.read_text().split()) < 5:
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(0.5)  # nothing goes on in the background
    done, begun = stored(counted), len(log.read_text().split())
    assert 4 <= done + jobs and done < 12 and begun - done <= jobs

    resumed = run(jobs)
    assert (
        int(resumed.communicate(timeout=120)[0]) == sum(i**2 for i in range(12))
        and resumed.returncode == 0
    )
    # only what was in flight ran again
    assert len(log.read_text().split()) == begun + 12 - done
    assert stored(counted) == 12


def test_two_processes_on_one_cache(start, counted):
    run, log = start
    pair = [run(1), run(1)]
    sums = [int(process.communicate(timeout=120)[0]) for process in pair]
    assert sums == [sum(i**2 for i in range(12))] * 2
    assert stored(counted) == 12 and not list(counted.rglob(".part-*"))
    begun = log.read_text().split()
    # they share the work: only a unit that both have in flight at the same time runs
    # twice
    assert set(begun) == {str(i) for i in range(12)} and len(begun) < 24


def test_an_error_in_one_unit_keeps_the_finished_ones(counted, monkeypatch):
    monkeypatch.setattr(
        store.random.Random, "shuffle", lambda self, units: None
    )  # the failing unit comes last
    with pytest.raises(ZeroDivisionError):
        sweep(fragile, seeds=[3, 2, 0], jobs=1)
    assert stored(counted) == 2


def fragile(seed):
    return {"value": 1 / seed}


def never():
    raise AssertionError("nothing may be computed that cannot be kept")


def test_a_folder_that_cannot_be_written_is_named_before_any_work(
    tmp_path, monkeypatch
):
    blocked = tmp_path / "a file"
    blocked.write_text("")
    monkeypatch.setenv("FL_CACHE", str(blocked / "results"))
    with pytest.raises(OSError, match="results folder .* cannot be written .*FL_CACHE"):
        cached(never)


FULL = """
import os, resource, signal, sys
import numpy as np
from fl import store

def big():
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # as a disk with little space
    return {"x": np.zeros(10_000)}

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    store.cached(big)
except OSError as error:
    print(error)
print([p.name for p in store.cache_folder().rglob("*") if p.is_file()])
"""


def test_a_full_disk_is_named_and_leaves_no_part(tmp_path, cache):
    script = tmp_path / "script.py"
    script.write_text(FULL)
    run = [sys.executable, str(script)]
    out = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    assert "cannot be written (File too large): set FL_CACHE" in out
    assert out.splitlines()[-1] == "[]"


def leak_check(seed):
    from joblib.externals.loky import process_executor

    return {"asked": process_executor._USE_PSUTIL}


def test_workers_are_not_ended_for_what_they_load(cache):
    assert not sweep(leak_check, seeds=range(4), jobs=2)["asked"].any()
