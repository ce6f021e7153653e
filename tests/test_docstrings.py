"""Every public function says what each argument is, what it returns and what it refuses."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def public(path: Path) -> list[tuple[str, ast.FunctionDef]]:
    """Return the public functions and methods of a module, but for the claims."""
    found = []

    def visit(body, prefix):
        for node in body:
            hidden = getattr(node, "name", "_").startswith("_")
            if isinstance(node, ast.ClassDef) and not hidden:
                visit(node.body, f"{node.name}.")
            elif isinstance(node, FUNCTIONS) and not hidden and not is_claim(node):
                found.append((prefix + node.name, node))

    visit(ast.parse(path.read_text()).body, "")
    return found


def is_claim(node: ast.FunctionDef) -> bool:
    """Tell whether the engine or the command line says what the arguments are."""
    names = [a.arg for a in node.args.args]
    command = any("app.command" in ast.unparse(d) for d in node.decorator_list)
    return names[-3:] == ["scale", "broken", "block"] or command


def own(node: ast.FunctionDef):
    """Yield the nodes of a function without those of the functions inside it."""
    waiting = list(node.body)
    while waiting:
        inner = waiting.pop()
        yield inner
        if not isinstance(inner, (*FUNCTIONS, ast.Lambda, ast.ClassDef)):
            waiting += ast.iter_child_nodes(inner)


def arguments(node: ast.FunctionDef) -> list[str]:
    a = node.args
    named = [*a.posonlyargs, *a.args, *a.kwonlyargs, a.vararg, a.kwarg]
    return [arg.arg for arg in named if arg and arg.arg not in ("self", "cls")]


def faults(node: ast.FunctionDef) -> list[str]:
    text = ast.get_docstring(node) or ""
    found = []
    for name in arguments(node):
        if not re.search(
            rf"``\*{{0,2}}{name}\b|^ *\*{{0,2}}{name}(, \w+)*:", text, re.M
        ):
            found.append(f"says nothing of {name}")
    returns = [
        n for n in own(node) if isinstance(n, ast.Return) and n.value is not None
    ]
    if returns and not re.search(r"\b(Returns?|Yields?|Whether|return)\b", text):
        if not is_property(node):
            found.append("does not say what it returns")
    if refuses(node) and not re.search(r"^Raises:", text, re.M):
        found.append("has no Raises: section")
    return found


def is_property(node: ast.FunctionDef) -> bool:
    return any(
        isinstance(d, ast.Name) and "property" in d.id for d in node.decorator_list
    )


def refuses(node: ast.FunctionDef) -> bool:
    """Tell whether a function raises, by itself or through a check of an argument."""
    for inner in own(node):
        if isinstance(inner, ast.Raise) and inner.exc is not None:
            return True
        call = inner.func if isinstance(inner, ast.Call) else None
        if isinstance(call, ast.Attribute) and isinstance(call.value, ast.Name):
            if call.value.id == "validate":
                return True
    return False


MODULES = sorted((ROOT / "fl").rglob("*.py"))


@pytest.mark.parametrize(
    "path", MODULES, ids=[p.relative_to(ROOT / "fl").as_posix() for p in MODULES]
)
def test_public_functions_say_what_they_do(path):
    named = {name: faults(node) for name, node in public(path)}
    wrong = [f"{name} {', '.join(f)}" for name, f in named.items() if f]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('def f(x):\n    """Return ``x``."""\n    return x', []),
        ('def f(x):\n    """Return it."""\n    return x', ["says nothing of x"]),
        ('def f():\n    """One."""\n    return 1', ["does not say what it returns"]),
        ('def f(x):\n    """Args:\n        x, y: one.\n    """', []),
        (
            'def f(n):\n    """Take ``n``."""\n    validate.count("n", n)',
            ["has no Raises: section"],
        ),
    ],
)
def test_the_test_sees_faults(source, found):
    assert faults(ast.parse(source).body[0]) == found
