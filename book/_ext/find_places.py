"""The search of the book: an index of places instead of Sphinx's index of words.

A place is a section, a statement, a figure, an exercise, a word of the glossary, a claim or a name of the package. Each
brings its text without code and formulas, so that an excerpt can be shown with no server: over ``file://`` a page may not
read another. ``book/_static/searchtools.js`` ranks them; it takes the place of Sphinx's file of that name.
"""

import json
import re
from pathlib import Path

from cards import cards
from docutils import nodes
from sphinx import addnodes

# how much a hit in such a place counts: chapters before lists of them, both before the reference of the package
LISTS = {
    "glossary": 0.5,
    "notation": 0.5,
    "exercises": 0.3,
    "teaching": 0.4,
    "neighbours": 0.4,
    "reproducing": 0.6,
}
REFERENCE = 0.2
KINDS = {"figure": 0.8, "exercise": 0.6, "term": 0.7, "claim": 0.5}
SILENT = (
    nodes.literal_block,
    nodes.comment,
    nodes.raw,
    nodes.math_block,
    nodes.image,
    nodes.system_message,
    nodes.target,
)
SIGNS = {
    "Sigma": "Σ",
    "lambda": "λ",
    "eta": "η",
    "gamma": "γ",
    "beta": "β",
    "alpha": "α",
    "sigma": "σ",
    "kappa": "κ",
}
SIGNS |= {
    "mu": "μ",
    "zeta": "ζ",
    "rho": "ρ",
    "psi": "ψ",
    "delta": "δ",
    "theta": "θ",
    "le": "≤",
    "ge": "≥",
    "Sig": "Σ",
}


def formula(tex: str) -> str:
    """Return a short formula in plain signs, dots for any other."""
    plain = re.sub(r"\\([A-Za-z]+)", lambda found: SIGNS.get(found[1], found[0]), tex)
    plain = re.sub(r"[{}\s]", "", plain)
    return plain if len(plain) <= 12 and not set(plain) & set("\\_^&") else "…"


def words(node, apart) -> str:
    """Return the text of a node without code, formulas and the places ``apart`` inside it."""
    if isinstance(node, SILENT) or (
        isinstance(node, nodes.container) and "cell" in node.get("classes", [])
    ):
        return ""
    if isinstance(node, addnodes.pending_xref) and node.astext() == node["reftarget"]:
        return "…"  # a reference by number: it has its words when the page is written
    if isinstance(node, nodes.math):
        return formula(node.astext())
    if isinstance(node, nodes.Text):
        return node.astext()
    inner = "".join(
        words(child, apart) for child in node.children if id(child) not in apart
    )
    return inner if isinstance(node, nodes.Inline) else f"{inner} "


def number(env, docname: str, node) -> str:
    """Return what a numbered box is called, as ``Theorem 1.2``."""
    figures = env.toc_fignumbers.get(docname, {})
    counter = node.get("countertype") or node.get("type") or "figure"
    name = node.get("realtype") or (
        "Fig." if isinstance(node, nodes.figure) else counter
    )
    found = next((figures.get(counter, {}).get(i) for i in node["ids"]), None)
    return f"{name[0].upper()}{name[1:]} {'.'.join(map(str, found))}" if found else ""


def kind_of(node) -> str:
    """Return what kind of place a node begins, or nothing."""
    if isinstance(node, addnodes.desc):
        return "name"
    if isinstance(node, nodes.section):
        return "section" if isinstance(node[0], nodes.title) else ""
    if isinstance(node, nodes.figure | nodes.term):
        return type(node).__name__ if node["ids"] else ""
    if type(node).__name__ == "exercise_enumerable_node":
        return "exercise"
    return "theorem" if node.get("countertype") else ""


def place(
    env, docname: str, node, kind: str, apart: set[int]
) -> tuple[str, str, str] | None:
    """Return anchor, title and text of the place that a node begins; ``apart`` are the ids of all such nodes."""
    if kind == "name":
        signature = node.next_node(addnodes.desc_signature)
        if signature is None or not signature["ids"]:
            return None
        first = node.next_node(nodes.paragraph)
        return (
            signature["ids"][0],
            signature["ids"][0],
            words(first, ()).partition(". ")[0] if first else "",
        )
    title = node.next_node(nodes.title) if kind == "section" else None
    called = words(title, ()) if title else number(env, docname, node)
    if kind == "theorem" and (own := node.next_node(nodes.title)):
        called, apart = f"{called} ({words(own, ()).strip(' ()')})", apart | {id(own)}
    if kind == "term":
        return node["ids"][0], words(node, ()), words(node.parent, apart)
    return node["ids"][0], called, words(node, apart | {id(title)})


def places(env, docname: str) -> list[list]:
    """Return the places of a page: anchor, title, text and weight of each, the page itself first."""
    doctree, name = env.get_doctree(docname), Path(docname).name
    begin = [(n, kind) for n in doctree.findall(nodes.Element) if (kind := kind_of(n))]
    apart = {id(n) for n, _ in begin}
    weight = REFERENCE if docname.startswith("book/api") else LISTS.get(name, 1.0)
    found = []
    for node, kind in begin:
        made = place(env, docname, node, kind, apart)
        anchor, title, text = (" ".join(part.split()) for part in made or ("", "", ""))
        if title and not text.startswith("Alias for field"):
            # 0: the anchor is the title
            where = (0 if anchor == title else anchor) if found else ""
            found.append([where, title, text, round(weight * KINDS.get(kind, 1), 2)])
    if found and name in cards():
        found[0][2] = cards()[name]["result"]
    return found


def claims() -> list[list]:
    """Return the claims as places of the scoreboard."""
    from fl.registry import listed

    plain = lambda words: re.sub(r"\$([^$]*)\$", lambda found: formula(found[1]), words)  # noqa: E731
    return [
        [f"row-{id}", f"Claim {id}", plain(statement), KINDS["claim"]]
        for id, _, statement in listed()
    ]


def write(app):
    """Write the index and the page that searches it."""
    if app.builder.name != "html":
        return
    env, found = app.env, []
    for docname in sorted(env.found_docs):
        page = places(env, docname)
        if docname.endswith("/scoreboard"):
            page += claims()
        if page:
            found.append([docname, page])
    text = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
    (Path(app.outdir) / "searchindex.js").write_text(
        f"const flPages = {text};\n", "utf-8"
    )
    yield "search", {}, "search.html"


def replace(app) -> None:
    """Leave out Sphinx's own index."""
    app.builder.search = False


def drop(app, error) -> None:
    """Remove the words of Sphinx's own search."""
    (Path(app.outdir) / "_static/language_data.js").unlink(missing_ok=True)


def setup(app):
    app.connect("builder-inited", replace)
    app.connect("html-collect-pages", write)
    app.connect("build-finished", drop)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
