"""The walls of the house: which part of `fl` may import which."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted((ROOT / "fl").rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Return the dotted names that a module imports, at any depth of its code."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {
                f"{node.module}.{alias.name}" for alias in node.names
            }
    return found


def uses_package_root(path: Path) -> bool:
    """Tell whether a module of the package says ``import fl``, which brings in
    everything.
    """
    nodes = ast.walk(ast.parse(path.read_text()))
    return any(
        isinstance(n, ast.Import) and any(a.name == "fl" for a in n.names)
        for n in nodes
    )


def touches(path: Path, *names: str) -> set[str]:
    return {i for i in imports(path) for n in names if i == n or i.startswith(n + ".")}


def under(*parts: str) -> list[Path]:
    return [
        m for m in MODULES if m.relative_to(ROOT / "fl").as_posix().startswith(parts)
    ]


@pytest.mark.parametrize("path", under("theory/"), ids=lambda p: p.stem)
def test_theory_sees_no_simulation_no_torch_no_randomness(path):
    assert not touches(
        path,
        "fl.simulate",
        "fl.claims",
        "fl.book",
        "fl.sweep",
        "torch",
        "numba",
        "random",
        "numpy.random",
    )
    assert not [
        n
        for n in ast.walk(ast.parse(path.read_text()))
        if isinstance(n, ast.Attribute) and n.attr == "random"
    ]


@pytest.mark.parametrize("path", under("simulate/"), ids=lambda p: p.stem)
def test_simulation_sees_no_theory(path):
    assert not touches(path, "fl.theory", "fl.claims", "fl.book")


@pytest.mark.parametrize(
    "path", under("tasks", "numerics", "datasets", "validate"), ids=lambda p: p.stem
)
def test_ground_floor_sees_neither_wing(path):
    assert not touches(
        path, "fl.theory", "fl.simulate", "fl.claims", "fl.book", "fl.sweep", "torch"
    )


@pytest.mark.parametrize(
    "path", [m for m in MODULES if m.stem != "plotting"], ids=lambda p: p.stem
)
def test_only_plotting_draws(path):
    assert not touches(path, "matplotlib")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.stem)
def test_no_module_imports_everything_or_by_dots(path):
    assert not uses_package_root(path)
    assert not [
        n
        for n in ast.walk(ast.parse(path.read_text()))
        if isinstance(n, ast.ImportFrom) and n.level
    ]


@pytest.mark.parametrize(
    "path", [m for m in MODULES if m.stem != "sweep"], ids=lambda p: p.stem
)
def test_only_sweep_starts_processes(path):
    assert not touches(path, "joblib", "multiprocessing", "subprocess", "concurrent")


@pytest.mark.parametrize(
    "path", under("theory/", "simulate/", "tasks", "numerics"), ids=lambda p: p.stem
)
def test_the_wings_leave_the_disk_alone(path):
    assert not touches(path, "pathlib", "os", "shutil", "tempfile", "pickle")


def test_a_worker_of_a_sweep_imports_what_it_runs():
    code = "import sys, fl.simulate.noise; print({'torch', 'matplotlib', 'scipy.stats', 'fl.claims'} & set(sys.modules))"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True
        ).stdout.strip()
        == "set()"
    )


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.stem)
def test_modules_are_short(path):
    assert len(path.read_text().splitlines()) <= 320


def test_the_test_sees_forbidden_imports(tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text(
        "import fl\ndef f():\n    from fl.simulate import gram\n    import torch.nn\n"
    )
    assert (
        touches(bad, "fl.simulate") and touches(bad, "torch") and uses_package_root(bad)
    )
