"""Keys: right numbers, or a refusal, for any function that a reader writes."""

import functools
import importlib
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from fl.keys import Held, function_key
from fl.reads import watched
from fl.store import cached
from fl.sweep import sweep

ROOT = Path(__file__).resolve().parent.parent


def typed(source: str, **known) -> dict:
    """Return the names that a notebook has after it ran ``source``."""
    names = {"__name__": "__main__", "np": np, "functools": functools, **known}
    exec(textwrap.dedent(source), names)
    return names


def value(source: str) -> float:
    unit = typed(source)["unit"]
    return float(sweep(unit, seeds=[1], jobs=1)["x"].item())


HELPER = """
def helper(u):
    return {} * u
def unit(seed):
    return {{"x": helper(seed)}}
"""
GLOBAL = """
SCALE = {}
def unit(seed):
    return {{"x": SCALE * seed}}
"""
ARRAY = """
WEIGHTS = np.array([1.0, {}])
def unit(seed):
    return {{"x": WEIGHTS.sum()}}
"""
DEFAULT = """
a = {}
def unit(seed, scale=a):
    return {{"x": scale * seed}}
"""
KEYWORD = """
def unit(seed, *, scale={}):
    return {{"x": scale * seed}}
"""
INNER = """
def unit(seed):
    def inner():
        return {} + seed
    return {{"x": inner()}}
"""
PARTIAL = """
def general(seed, scale):
    return {{"x": scale * seed}}
unit = functools.partial(general, scale={})
"""
PARTIAL_HELPER = """
def general(seed, scale):
    return scale * seed
helper = functools.partial(general, scale={})
def unit(seed):
    return {{"x": helper(seed)}}
"""
METHOD = """
class Model:
    def predict(self, seed):
        return {} * seed
def unit(seed):
    return {{"x": Model().predict(seed)}}
"""
INHERITED = """
class Base:
    scale = {}
class Model(Base):
    def predict(self, seed):
        return self.scale * seed
def unit(seed):
    return {{"x": Model().predict(seed)}}
"""
OBJECT = """
class Model:
    def __init__(self, scale):
        self.scale = scale
model = Model({})
def unit(seed):
    return {{"x": model.scale * seed}}
"""
CACHED = """
@functools.cache
def helper(u):
    return {} * u
def unit(seed):
    return {{"x": helper(seed)}}
"""
CONTAINER = """
STEPS = {{"small": [lambda u: {} * u]}}
def unit(seed):
    return {{"x": STEPS["small"][0](seed)}}
"""
RECURSIVE = """
def down(n):
    return {} if n == 0 else up(n - 1)
def up(n):
    return down(n)
def unit(seed):
    return {{"x": up(3)}}
"""
SLOTS = """
from dataclasses import dataclass
@dataclass(frozen=True, slots=True)
class Setting:
    scale: float
setting = Setting({})
def unit(seed):
    return {{"x": setting.scale * seed}}
"""
FACTORY = """
from dataclasses import dataclass, field
@dataclass
class Setting:
    scales: list = field(default_factory=lambda: [{}])
def unit(seed):
    return {{"x": Setting().scales[0] * seed}}
"""
REPEATED = """
def two(u): return 2.0 * u
def three(u): return 3.0 * u
STEPS = [two, three, two if {} == 2 else three]
def unit(seed):
    return {{"x": STEPS[2](seed)}}
"""
DECORATED = """
def traced(function):
    @functools.wraps(function)
    def inner(*args, **kwargs):
        return function(*args, **kwargs)
    return inner
@traced
def unit(seed):
    return {{"x": {} * seed}}
"""
LIBRARY = """
import collections
STEPS = collections.defaultdict(lambda: {})
def unit(seed):
    return {{"x": STEPS["u"] * seed}}
"""
ATTRIBUTE = """
def helper(u):
    return helper.scale * u
helper.scale = {}
def unit(seed):
    return {{"x": helper(seed)}}
"""
EDITS = {
    "helper": HELPER,
    "global": GLOBAL,
    "array": ARRAY,
    "default": DEFAULT,
    "keyword": KEYWORD,
    "inner function": INNER,
    "partial": PARTIAL,
    "partial helper": PARTIAL_HELPER,
    "method": METHOD,
    "inherited": INHERITED,
    "object": OBJECT,
    "cached helper": CACHED,
    "container": CONTAINER,
    "recursive": RECURSIVE,
    "slots": SLOTS,
    "factory of a field": FACTORY,
    "repeated function": REPEATED,
    "decorated": DECORATED,
    "function inside a library's object": LIBRARY,
    "attribute of a function": ATTRIBUTE,
}


@pytest.mark.parametrize("source", EDITS.values(), ids=EDITS.keys())
def test_an_edit_anywhere_below_a_typed_function_is_seen(cache, source):
    first, second = value(source.format(2.0)), value(source.format(3.0))
    assert second - first == 1.0
    assert value(source.format(2.0)) == first  # and the old number is still there


def test_words_and_layout_of_a_typed_function_do_not_count():
    plain = "def unit(seed):\n    return {'x': 1.0}"
    worded = (
        'def unit(seed):\n    """A word."""\n\n    # and another\n    return {"x": 1.0}'
    )
    keys = [function_key(typed(s)["unit"]).digest for s in (plain, worded)]
    assert keys[0] == keys[1]


def test_two_lambdas_on_one_line(cache):
    first, second = (lambda seed: {"x": 1.0}, lambda seed: {"x": 2.0})  # noqa: E731
    got = [sweep(f, seeds=[0], jobs=1)["x"].item() for f in (first, second)]
    assert got == [1.0, 2.0]


class Scaled:
    def __init__(self, scale):
        self.scale = scale

    def unit(self, seed):
        return {"x": self.scale * seed}

    def __call__(self, seed):
        return self.unit(seed)


def closure_over(state):
    return lambda seed: {"x": state}


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (Scaled(2.0).unit, r"Scaled.unit, bound to an object .*: write a function"),
        (
            functools.partial(Scaled(2.0).unit, seed=1),
            "Scaled.unit, bound to an object",
        ),
        (closure_over(3), r"closes over variables: pass them as arguments \(state\)"),
        (Scaled(2.0), "has no source to make a key of: write a plain function"),
        ([].append, "has no source to make a key of"),
    ],
    ids=["method", "partial of a method", "closure", "object", "builtin method"],
)
def test_what_has_no_honest_digest_is_refused(function, message):
    with pytest.raises(ValueError, match=message):
        sweep(function, seeds=[0], jobs=1)


@pytest.mark.parametrize(
    "state",
    [np.random.default_rng(0), iter([1, 2]), (i for i in range(3))],
    ids=["generator", "iterator", "generator expression"],
)
def test_state_is_refused_as_an_argument_and_as_a_global(state):
    with pytest.raises(ValueError, match="the argument rng is .* pass a seed"):
        cached(lambda rng: 0, rng=state)
    unit = typed("def unit(seed):\n    return {'x': next(state)}", state=state)["unit"]
    with pytest.raises(
        ValueError, match="state, which the function uses, is .* pass a"
    ):
        sweep(unit, seeds=[0], jobs=1)


def test_arguments_of_every_kind_have_a_key_of_their_own():
    from fl.tasks import LINKS, Link, power_law

    values = [
        *[1, 1.0, "1", True, None, (1,), [1], {1}, {"a": 1}, {"a": 2}, {"b": 1}],
        *[np.arange(2), np.arange(2.0), np.arange(2).reshape(1, 2), np.float32(1)],
        *[LINKS["relu"], LINKS["abs"], Link("mine", lambda u: u, lambda u: 1.0)],
        *[Link("mine", lambda u: 2 * u, lambda u: 1.0), power_law(3, 1.0), np.sin],
        *[power_law(3, 2.0), xr.DataArray([1.0]), xr.DataArray([2.0]), Scaled(1.0)],
        *[Scaled(2.0), np.cos, value, typed, (1, (2, 3)), ((1, 2), 3), slice(2)],
    ]
    key = function_key(value)
    digests = [key.with_arguments({"x": v}).digest for v in values]
    assert len(set(digests)) == len(values)
    again = [key.with_arguments({"x": v}).digest for v in values]
    assert digests == again


def test_a_key_is_the_same_in_every_process():
    code = """
    import numpy as np
    from fl.keys import function_key
    NAMES = {"b", "a", "c"}
    def unit(seed, kinds=frozenset({"u", "v"})):
        return {"x": len(NAMES) if seed in {"x", "y", "z"} else np.sin(seed)}
    print(function_key(unit).with_arguments({"s": {"p", "q", "r"}}).digest)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    runs = [subprocess.run(command, capture_output=True, text=True) for _ in range(2)]
    assert runs[0].stdout == runs[1].stdout and len(runs[0].stdout) == 33


# --- modules of a reader --------------------------------------------------------------


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A reader's package ``mine`` with a module, a helper and a face."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "__init__.py").write_text("LEVEL = 1.0\n")
    (folder / "helper.py").write_text("def double(u):\n    return 2.0 * u\n")
    unit = "from mine import LEVEL\nfrom .helper import double\n"
    unit += "def unit(seed):\n    return {'x': LEVEL * double(seed)}\n"
    (folder / "unit.py").write_text(unit)
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    for name in [m for m in sys.modules if m.partition(".")[0] == "mine"]:
        del sys.modules[name]


def load(*names):
    importlib.invalidate_caches()
    for name in names:
        module = importlib.import_module(name)
        module = importlib.reload(module)
    return module.unit


ALL = ("mine", "mine.helper", "mine.unit")


@pytest.mark.parametrize(
    ("file", "old", "new", "result"),
    [
        ("helper.py", "2.0", "3.25", 3.25),
        ("__init__.py", "1.0", "5.25", 10.5),
        ("unit.py", "LEVEL *", "7.25 * LEVEL *", 14.5),
    ],
)
def test_an_edit_in_a_readers_package_is_seen(cache, package, file, old, new, result):
    assert sweep(load(*ALL), seeds=[1], jobs=1)["x"].item() == 2.0
    path = package / file
    path.write_text(path.read_text().replace(old, new))
    assert sweep(load(*ALL), seeds=[1], jobs=1)["x"].item() == result


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_module_edited_and_not_loaded_again_is_refused(cache, package, jobs):
    unit = load(*ALL)
    got = sweep(unit, seeds=[1, 2], jobs=jobs)["x"].values.tolist()
    assert got == [2.0, 4.0]
    path = package / "helper.py"
    path.write_text(path.read_text().replace("2.0", "3.25"))
    if jobs == 1:  # the caller refuses, before there is a worker
        asked = "mine.helper is not what .*importlib.reload"
        with pytest.raises(ValueError, match=asked):
            sweep(unit, seeds=[1, 2], jobs=jobs)
    # loaded again, also the workers compute with the new source
    got = sweep(load(*ALL), seeds=[1, 2], jobs=jobs)["x"].values.tolist()
    assert got == [3.25, 6.5]
    path.write_text(path.read_text().replace("3.25", "2.0"))
    assert sweep(load(*ALL), seeds=[1, 2], jobs=jobs)["x"].values.tolist() == [2.0, 4.0]


def test_a_module_edited_before_its_first_use_is_refused(cache, package):
    unit = load(*ALL)
    path = package / "helper.py"
    path.write_text(path.read_text().replace("2.0", "3.25"))
    with pytest.raises(ValueError, match="mine.helper is not what"):
        sweep(unit, seeds=[1], jobs=1)


def test_an_import_by_a_computed_name_is_refused_and_nothing_stored(cache, package):
    text = "import importlib\ndef unit(seed):\n"
    text += "    other = importlib.import_module('mine.' + 'helper')\n"
    text += "    return {'x': other.double(seed)}\n"
    (package / "dynamic.py").write_text(text)
    unit = load("mine.dynamic")
    with pytest.raises(ValueError, match="imported mine.helper by a computed name"):
        sweep(unit, seeds=[1], jobs=1)
    assert not [p for p in cache.rglob("*") if p.is_file()]


def test_a_module_that_the_unit_writes_itself_is_in_its_key(
    cache, package, monkeypatch
):
    place = package.parent / "written"
    place.mkdir()
    monkeypatch.syspath_prepend(place)
    text = "import importlib\nfrom pathlib import Path\ndef unit(seed):\n"
    text += f"    Path({str(place / 'by_a_unit.py')!r}).write_text('SCALE = 2.0')\n"
    text += "    importlib.invalidate_caches()\n"
    text += "    made = importlib.import_module('by_' + 'a_unit')\n"
    text += "    return {'x': made.SCALE * seed}\n"
    (package / "writing.py").write_text(text)
    run = sweep(load("mine.writing"), seeds=[3], jobs=1)
    assert run["x"].values.tolist() == [6.0]


def test_a_module_changed_from_outside_is_refused(cache, package):
    text = "SCALE = 2.0\ndef unit(seed):\n    return {'x': SCALE * seed}\n"
    (package / "scaled.py").write_text(text)
    unit = load("mine.scaled")
    sweep(unit, seeds=[1], jobs=1)
    sys.modules["mine.scaled"].SCALE = 3.0
    with pytest.raises(ValueError, match="mine.scaled.SCALE is not what .*argument"):
        sweep(unit, seeds=[1], jobs=1)


def test_a_module_that_kept_an_old_import_is_refused(cache, package):
    unit = load(*ALL)
    path = package / "helper.py"
    path.write_text(path.read_text().replace("2.0", "3.25"))
    load_only = importlib.reload(sys.modules["mine.helper"])
    assert load_only.double(1) == 3.25
    with pytest.raises(
        ValueError, match="mine.unit.double is not what .*reload mine.u"
    ):
        sweep(unit, seeds=[1], jobs=1)


# --- files ----------------------------------------------------------------------------


def total(path, seed=0):
    with open(path) as file:
        return {"x": sum(map(float, file))}


def test_a_file_counts_by_content(cache, tmp_path):
    data = tmp_path / "data.txt"
    data.write_text("1\n2\n")
    assert sweep(total, path=data, jobs=1)["x"].item() == 3
    data.write_text("1\n4\n")
    assert sweep(total, path=data, jobs=1)["x"].item() == 5
    data.rename(tmp_path / "elsewhere")
    (tmp_path / "more").mkdir()
    data = (tmp_path / "elsewhere").rename(tmp_path / "more" / "data.txt")
    assert sweep(total, path=data, jobs=1)["x"].item() == 5


def test_a_file_that_the_key_does_not_hold_is_refused(cache, tmp_path):
    data = tmp_path / "data.txt"
    data.write_text("1\n2\n")
    with pytest.raises(ValueError, match=r"read .*data.txt.* argument of type pathlib"):
        sweep(total, path=str(data), jobs=1)


def test_what_a_unit_wrote_itself_it_may_read(tmp_path):
    held = Held({}, frozenset(), frozenset({"fl"}))
    with watched("f", held, tmp_path / "store"):
        (tmp_path / "own").write_text("1")
        assert (tmp_path / "own").read_text() == "1"


def test_mnist_is_part_of_the_key_of_what_may_read_it(monkeypatch, tmp_path):
    from fl import datasets

    def digest():
        return function_key(datasets.load).digest

    monkeypatch.delenv("FL_DATA", raising=False)
    without = digest()
    for name in datasets.FILES:
        (tmp_path / name).write_bytes(b"one")
    monkeypatch.setenv("FL_DATA", str(tmp_path))
    first = digest()
    (tmp_path / name).write_bytes(b"two")
    assert len({without, first, digest()}) == 3


# --- what a unit must return ----------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "found"),
    [
        (np.zeros(3), "a ndarray"),
        (1.5, "a float"),
        (None, "a NoneType"),
        ({"x": np.zeros(3)}, "x = array"),
        ({"x": None}, "x = None"),
        ([1.0], "a list"),
    ],
    ids=str,
)
def test_a_unit_must_return_names_with_numbers(cache, result, found):
    unit = functools.partial(returned, result)
    message = f"returned {found}.*: must be a mapping of names to numbers or"
    with pytest.raises(ValueError, match=message):
        sweep(unit, seeds=[0, 1], jobs=1)
    assert not [p for p in cache.rglob("*") if p.is_file()]


def returned(result, seed):
    return result


def test_a_grid_takes_labelled_values_of_any_kind(cache):
    from fl.tasks import power_law

    spectra = {"flat": power_law(3, 0.0), "steep": power_law(3, 2.0)}
    got = sweep(smallest, {"spectrum": spectra}, jobs=1)["x"]
    assert got["spectrum"].values.tolist() == ["flat", "steep"]
    assert got.squeeze("seed").values.tolist() == [1.0, pytest.approx(1 / 9)]


def smallest(seed, spectrum):
    return {"x": spectrum.eigenvalues.min()}


def test_the_module_and_the_function_of_the_name_sweep():
    import fl
    import fl.sweep as module

    assert module.sweep is sweep and callable(fl.sweep)


# --- whole-source mode ----------------------------------------------------------------


def test_whole_source_mode(monkeypatch):
    narrow = function_key(value).digest
    monkeypatch.setenv("FL_KEYS", "whole")
    assert function_key(value).digest != narrow
    monkeypatch.setenv("FL_KEYS", "half")
    with pytest.raises(
        ValueError, match="FL_KEYS = 'half': must be one of closure, wh"
    ):
        function_key(value)
