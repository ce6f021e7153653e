"""The first use of each word of the glossary on a chapter's page leads to the glossary, and says on pointing what it means.

Set when a page is written, so that neither its source nor the search knows of it. A word that also has an everyday meaning
is linked on the pages of `ONLY` alone.
"""

import re
from functools import cache
from pathlib import Path

from cards import cards
from docutils import nodes
from find_places import words
from sphinx import addnodes
from sphinx_design.dropdown import dropdown_title

GLOSSARY = "book/glossary"
OTHERS = {"what_to_do"}  # no chapters, and they speak their language
ONE_STEP = {"spikes", "spectrum", "one_step_appendix", "single_index", "layerwise_appendix", "unified"}
ONLY = {
    "evidence": {"choosing_p"},
    "index": {"noise", "single_index"},
    "overlap": ONE_STEP,
    "sharp": set(),
    "sound": set(),
    "spike": ONE_STEP | {"representation", "what_to_do"},
}
# no place for a link: titles, code, formulas, tables, and what is a link already
CLOSED = (
    *(nodes.title, nodes.caption, nodes.rubric, nodes.raw, nodes.literal, nodes.literal_block, nodes.math),
    *(nodes.math_block, nodes.table, nodes.reference, nodes.footnote, nodes.citation, addnodes.pending_xref),
    dropdown_title,  # itself what is pressed
)


def pattern(names) -> re.Pattern:
    """Return what finds these words, in the singular and in the plural, the longest first."""
    found = []
    for name in sorted(names, key=len, reverse=True):
        word = r"\s+".join(map(re.escape, name.replace("(", "").replace(")", "").split()))
        word = re.sub("^block", "blocks?", word)
        found.append(f"({word.removesuffix('matrix')}matri(?:x|ces))" if word.endswith("matrix") else f"({word}(?:e?s)?)")
    return re.compile(rf"(?<![\w-])(?:{'|'.join(found)})(?![\w-])", re.I)


def known(glossary) -> dict[str, tuple[str, str]]:
    """Return the anchor and the meaning of each word of the glossary, read from its doctree."""
    found = {}
    for term in glossary.findall(nodes.term):
        meaning = " ".join(words(term.parent[-1], ()).split())
        found[term.astext()] = term["ids"][0], meaning
    return found


def is_open(node) -> bool:
    """Tell whether a text may become a link."""
    while node is not None:
        if isinstance(node, CLOSED) or "cell" in getattr(node, "attributes", {}).get("classes", []):
            return False
        node = node.parent
    return True


def link(doctree, terms: dict[str, tuple[str, str]], address: str) -> list[str]:
    """Make the first use of each of ``terms`` a link to ``address``, and return the words that were found."""
    left = dict(terms)
    for text in list(doctree.findall(nodes.Text)):
        if not left or not is_open(text.parent):
            continue
        made, at, plain = [], 0, text.astext()
        while left and (found := pattern(left).search(plain, at)):
            name = sorted(left, key=len, reverse=True)[found.lastindex - 1]
            anchor, meaning = left.pop(name)
            where = {"internal": True, "refuri": f"{address}#{anchor}", "reftitle": meaning}
            made += [nodes.Text(plain[at : found.start()]), nodes.reference("", found[0], classes=["fl-term"], **where)]
            at = found.end()
        if made:
            text.parent.replace(text, [*made, nodes.Text(plain[at:])])
    return [name for name in terms if name not in left]


@cache
def glossary(env) -> dict[str, tuple[str, str]]:
    """Return the words of the glossary of a build."""
    return known(env.get_doctree(GLOSSARY))


def lead(app, doctree, docname) -> None:
    """Link the words on a page of a chapter."""
    page = Path(docname).name
    if (page in cards() or page in OTHERS) and GLOSSARY in app.env.found_docs:
        terms = {name: place for name, place in glossary(app.env).items() if page in ONLY.get(name, {page})}
        link(doctree, terms, app.builder.get_relative_uri(docname, GLOSSARY))


def setup(app):
    app.connect("doctree-resolved", lead)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
