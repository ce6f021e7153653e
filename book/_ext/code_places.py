"""The scoreboard leads to the modules that a claim takes its prediction and its experiment from.

They are read from the file of the claim: the modules of `fl.theory` and of `fl.studies` whose names its function uses,
itself or through other functions of `fl.claims`.
"""

import ast
import re
from functools import cache
from pathlib import Path

from docutils import nodes

ROOT = Path(__file__).resolve().parents[2]
ROOMS = {"prediction": "fl.theory.", "experiment": "fl.studies."}
CLAIM = re.compile(r'<a href="\.\./_modules/fl/claims/(\w+)\.html#(\w+)">')


@cache
def names(module: str) -> tuple[dict[str, str], dict[str, ast.AST]]:
    """Return what a module of claims imports, by the name that it has there, and what it defines."""
    tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text("utf-8"))
    imported = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            imported |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    defined = {}
    for node in tree.body:
        found = [getattr(node, "name", None)] if hasattr(node, "name") else targets(node)
        defined |= dict.fromkeys(found, node)
    return imported, defined


def targets(node: ast.AST) -> list[str]:
    """Return the names that a statement assigns to."""
    stored = (n for n in ast.walk(node) if isinstance(n, ast.Name))
    return [n.id for n in stored if isinstance(n.ctx, ast.Store)] if isinstance(node, ast.Assign | ast.AnnAssign) else []


def modules(module: str, name: str, seen: set | None = None) -> list[str]:
    """Return the modules of theory and of studies that ``name`` of a module of claims uses, in the order of their use."""
    seen = set() if seen is None else seen
    imported, defined = names(module)
    if name not in defined or (module, name) in seen:
        return []
    seen.add((module, name))
    body = defined[name]
    used = [n for part in getattr(body, "body", [body]) for n in ast.walk(part)]
    words = sorted((n for n in used if isinstance(n, ast.Name)), key=lambda n: (n.lineno, n.col_offset))
    found = []
    for word in dict.fromkeys(n.id for n in words):
        place = imported.get(word, "")
        if place.startswith(tuple(ROOMS.values())):
            found.append(".".join(place.split(".")[:3]))
        elif place.startswith("fl.claims."):
            found += modules(*place.rsplit(".", 1), seen)
        elif word in defined:
            found += modules(module, word, seen)
    return list(dict.fromkeys(found))


def links(module: str, name: str) -> str:
    """Return the links to the modules of a claim, each under the word for what it gives."""
    found, made = modules(f"fl.claims.{module}", name), []
    for word, room in ROOMS.items():
        here = [m for m in found if m.startswith(room)]
        shown = [f'<a href="../_modules/{m.replace(".", "/")}.html">{m.removeprefix(room)}</a>' for m in here]
        made += [f"{word} {', '.join(shown)}"] if shown else []
    return "; ".join([*made, ""])


def lead(app, doctree) -> None:
    """Put them before the link to each claim."""
    for raw in list(doctree.findall(nodes.raw)):
        if found := CLAIM.match(raw.astext()):
            at = raw.parent.index(raw)
            raw.parent.insert(at, nodes.raw("", links(*found.groups()), format="html"))


def setup(app):
    app.connect("doctree-read", lead)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
