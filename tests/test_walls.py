"""The walls of the house: which room may import which, and what a room may hold."""

import ast
import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted((ROOT / "fl").rglob("*.py"))
TOPICS = ("fl.theory", "fl.simulate", "fl.studies", "fl.claims", "fl.instruments")
GROUND = (
    *("validate", "numerics", "cells", "tasks", "links", "updates", "datasets"),
    *("scales", "moments", "moments_folds", "arithmetic"),
)
LAB = (
    *(
        "closure",
        "freshness",
        "digests",
        "keys",
        "reads",
        "store",
        "entries",
        "sweep",
        "stored",
    ),
    *("sweep_file", "sweep_run", "cluster"),
    *(
        "evidence",
        "judging",
        "audit",
        "registry",
        "plotting",
        "plotting_points",
        "book",
        "cli",
    ),
    "statements",
)
EVERYONE = (
    *("optimizers", "optimizers_drive", "preconditioners", "preconditioners_kfac"),
    "power_preconditioner",
    *("meter", "meter_layers", "meter_reading", "meter_bench", "meter_script"),
)
# a tool for everyone that needs a prediction
TOOL = tuple(f"diagnose_{part}" for part in ("read", "pass", "run", "report", "page"))
# what runs and keeps experiments; one unit of an experiment knows nothing of it
KEEPING = [f"fl.{name}" for name in LAB]
JUDGES = ("fl.evidence", "fl.judging", "fl.registry")


@functools.cache
def nodes_of(path: Path) -> list[ast.AST]:
    """Return the nodes of the syntax tree of a module."""
    return list(ast.walk(ast.parse(path.read_text())))


@functools.cache
def imports(path: Path) -> set[str]:
    """Return the dotted names that a module imports, at any depth of its code."""
    found = set()
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{a.name}" for a in node.names}
    return found


def uses_package_root(path: Path) -> bool:
    """Tell whether a module of the package says ``import fl``."""
    nodes = nodes_of(path)
    return any(
        isinstance(n, ast.Import) and any(a.name == "fl" for a in n.names)
        for n in nodes
    )


def touches(path: Path, *names: str) -> set[str]:
    return {i for i in imports(path) for n in names if i == n or i.startswith(n + ".")}


def random_numbers(path: Path) -> list[str]:
    """Return what a module does with random numbers."""
    words = {"random", "default_rng", "Generator", "rvs", "manual_seed"}
    return [
        n.attr
        for n in nodes_of(path)
        if isinstance(n, ast.Attribute) and n.attr in words
    ]


def room(*parts: str):
    """Parametrise over the modules of a folder ``name/`` or with these names."""
    paths = [m.relative_to(ROOT / "fl").as_posix() for m in MODULES]
    folders = tuple(p for p in parts if p.endswith("/"))
    files = {f"{p}.py" for p in parts}
    chosen = [p for p in paths if p.startswith(folders) or p in files]
    assert chosen, f"no module in {parts}"
    return pytest.mark.parametrize(
        "path", [ROOT / "fl" / p for p in chosen], ids=chosen
    )


everywhere = pytest.mark.parametrize(
    "path", MODULES, ids=[m.relative_to(ROOT / "fl").as_posix() for m in MODULES]
)


# --- the rooms ------------------------------------------------------------------------


@room("theory/")
def test_theory_sees_no_experiment_no_torch_no_randomness(path):
    forbidden = [t for t in TOPICS if t != "fl.theory"] + KEEPING
    assert not touches(path, *forbidden, "torch", "numba", "random", "numpy.random")
    assert not random_numbers(path)


@room("simulate/")
def test_a_unit_of_an_experiment_sees_no_prediction_and_no_sweep(path):
    assert not touches(path, "fl.theory", "fl.studies", "fl.claims", *KEEPING)


@room("instruments/")
def test_an_instrument_sees_no_experiment(path):
    others = [t for t in TOPICS if t != "fl.instruments"]
    assert not touches(path, *others, *KEEPING)


@room("studies/")
def test_a_study_sees_no_claim(path):
    lab = [
        name for name in KEEPING if name not in ("fl.sweep", "fl.store", "fl.stored")
    ]
    assert not touches(path, "fl.claims", *lab)


@room("claims/")
def test_a_claim_makes_no_experiment(path):
    lab = [name for name in KEEPING if name not in JUDGES]
    assert not touches(path, *lab, "fl.simulate", "torch", "numba", "numpy.random")
    assert not random_numbers(path)


@room(*GROUND)
def test_ground_sees_no_topic_and_no_lab(path):
    assert not touches(path, *TOPICS, *KEEPING, "torch")


@room(*LAB)
def test_the_lab_knows_no_theorem(path):
    assert not touches(path, *TOPICS)


@room(*EVERYONE)
def test_what_serves_without_the_book_sees_no_topic(path):
    assert not touches(path, *TOPICS, *KEEPING)


@room(*TOOL)
def test_a_tool_sees_no_experiment_and_of_the_lab_its_look(path):
    others = [t for t in TOPICS if t != "fl.theory"]
    lab = [name for name in KEEPING if name != "fl.plotting"]
    assert not touches(path, *others, *lab, "torch")


def test_every_module_is_in_a_room():
    known = {*GROUND, *LAB, *EVERYONE, *TOOL, "__init__"}
    assert {m.stem for m in (ROOT / "fl").glob("*.py")} == known, (
        "a new module of fl/ needs a room: add it to GROUND, LAB, EVERYONE or TOOL here, and "
        "to the picture in CONTRIBUTING.md"
    )


@pytest.mark.parametrize(
    "page", sorted((ROOT / "book").glob("*.md")), ids=lambda p: p.stem
)
def test_chapters_see_no_claims(page):
    # a chapter calls fl.check; its experiments come from the studies
    cells = re.findall(r"```\{code-cell\}.*?```", page.read_text(), re.S)
    assert "fl.claims" not in "".join(cells) and "import claims" not in "".join(cells)


# --- manners --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [m for m in MODULES if not m.stem.startswith("plotting")],
    ids=lambda p: p.stem,
)
def test_only_plotting_draws(path):
    assert not touches(path, "matplotlib")


@everywhere
def test_no_module_imports_everything_or_by_dots(path):
    assert not uses_package_root(path)
    nodes = nodes_of(path)
    assert not [n for n in nodes if isinstance(n, ast.ImportFrom) and n.level]


@everywhere
def test_only_the_store_starts_processes(path):
    if path.stem in ("store", "cluster"):
        return
    hashing = {"joblib"} if path.stem == "digests" else set()
    processes = {"joblib", "multiprocessing", "subprocess", "concurrent"}
    assert not touches(path, *(processes - hashing))


@room(
    "theory/", "simulate/", "instruments/", "studies/", "claims/", "tasks", "numerics"
)
def test_the_wings_leave_the_disk_alone(path):
    assert not touches(path, "pathlib", "os", "shutil", "tempfile", "pickle")


@pytest.mark.parametrize(
    "path", [m for m in MODULES if m.stem == "__init__"], ids=lambda p: p.parent.name
)
def test_faces_hold_no_logic(path):
    """A face is not part of a key (`fl.closure`), so nothing may depend on its code."""
    allowed = (ast.Import, ast.ImportFrom, ast.Assign, ast.AugAssign, ast.Expr)
    for node in ast.parse(path.read_text()).body:
        if path.parent.name == "fl" and isinstance(node, ast.FunctionDef):
            assert node.name == "__getattr__"
            continue
        assert isinstance(node, allowed), f"line {node.lineno}"
        if isinstance(node, ast.Assign | ast.AugAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            assert target.id == "__all__"
        if isinstance(node, ast.Expr):
            assert isinstance(node.value, ast.Constant)


def loaded(code: str) -> set[str]:
    """Return the slow libraries that a fresh process has loaded after ``code``."""
    slow = "torch sklearn numba scipy.stats pytorch_optimizer xarray joblib matplotlib"
    code += f"\nimport sys; print(*(set({slow.split()!r}) & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split())


@pytest.mark.parametrize(
    ("code", "allowed"),
    [
        ("import fl", set()),
        ("import fl; fl.setup()", {"matplotlib"}),
        ("import fl.store, fl.sweep", set()),
        ("import fl.simulate.noise", {"xarray"}),
        ("import fl.simulate.transfer", {"xarray"}),
        ("from fl.registry import select; select(['noise'])", {"xarray"}),
    ],
)
def test_a_process_loads_what_it_needs(code, allowed):
    assert loaded(code) <= allowed


# --- lines ----------------------------------------------------------------------------


@functools.cache
def undocumented(path: Path) -> list[ast.AST]:
    """Return the nodes of the syntax tree of a module without its docstrings."""
    from fl.closure import without_docstrings

    return list(ast.walk(without_docstrings(ast.parse(path.read_text()))))


def body_lines(path: Path) -> tuple[int, int]:
    """Return the syntax-tree nodes and the lines of the bodies of all functions."""
    text = path.read_text().splitlines()
    nodes = lines = 0
    for function in undocumented(path):
        if isinstance(function, ast.FunctionDef):
            rows = set()
            for statement in function.body:
                nodes += sum(1 for _ in ast.walk(statement))
                rows |= set(range(statement.lineno, statement.end_lineno + 1))
            code = (text[row - 1].strip() for row in rows)
            lines += sum(bool(line) and not line.startswith("#") for line in code)
    return nodes, lines


@everywhere
def test_lines_are_light(path):
    nodes, lines = body_lines(path)
    if lines >= 20:  # a handful of lines has no average
        each = nodes / lines
        assert each <= 14, f"{each:.1f} nodes a line: name what is between"


def test_the_package_stays_small():
    assert sum(len(undocumented(m)) for m in MODULES) <= 189_500


@everywhere
def test_modules_are_short(path):
    lines = path.read_text().splitlines()
    assert len(lines) <= 320 and max(map(len, lines), default=0) <= 100


@everywhere
def test_functions_take_few_arguments(path):
    for node in nodes_of(path):
        if isinstance(node, ast.FunctionDef):
            names = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
            assert len([a for a in names if a.arg != "self"]) <= 8, node.name


@everywhere
def test_words_of_the_house(path):
    """One word for one meaning; see the list in CONTRIBUTING.md."""
    banned = {"reg", "ridges", "rate", "rates", "learning_rate", "power", "powers"}
    exempt = {"numerics.py", "tasks.py", "trainer.py"}
    for node in nodes_of(path):
        if isinstance(node, ast.FunctionDef) and path.name not in exempt:
            names = {a.arg for a in node.args.args + node.args.kwonlyargs}
            assert not names & banned, f"{node.name}({', '.join(names & banned)})"


def test_the_test_sees_forbidden_imports(tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text(
        "import fl\ndef f():\n    from fl.simulate import gram\n    import torch.nn\n"
    )
    assert touches(bad, "fl.simulate") and touches(bad, "torch")
    assert uses_package_root(bad)
