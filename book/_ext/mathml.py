"""Formulas as MathML: typeset by the browser itself, with no script, no network and no waiting.

latex2mathml reads the TeX. What is written here is what it leaves out and a reader of TeX expects: the space around
signs (none in exponents, a thin one at the name of a function), upright capital Greek, letters of other alphabets,
accents that keep their size. What it does not know is a warning, and warnings are errors.
"""

import re
from html import escape
from xml.etree import ElementTree as ET

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

LOG = logging.getLogger(__name__)
THIN = "0.167em"
ENVIRONMENTS = {"aligned": "split", "align": "split"}
SCRIPTS = {"msub", "msup", "msubsup", "munder", "mover", "munderover"}
LIMITS = {"max", "min", "sup", "inf", "lim", "argmin", "argmax"}
UNDER = {"msub": "munder", "msup": "mover", "msubsup": "munderover"}
FENCES = set("()[]{}|‖⟨⟩")
OPEN = set("([{⟨")
SIGNS = set("+−±∓-")
ORDINARY = set("/!.…⋯∂∇∞⊤′″‴*⋆□◻#") | FENCES  # no space of their own
SIGN_NOT_LETTER = FENCES | set("~⟂±∓;:#◻")
RELATIONS = set("⟂⊥∼:")  # that browsers give none
ACCENTS = {"^": "ˆ", "¯": "¯", "~": "˜", "˙": "˙", "¨": "¨", "ˇ": "ˇ"}
BAR = "―"
FOLLOWED = re.compile(r'(\(?)(<math alttext="[^"]*">(?:(?!</math>).)*</math>)((?:-\w+)?[,.;:?!)]*)', re.S)
FIRST = {"double-struck": (0x1D538, 0x1D552), "script": (0x1D49C, 0x1D4B6), "bold": (0x1D400, 0x1D41A)}
HOLES = {
    "double-struck": dict(zip("CHNPQRZ", "ℂℍℕℙℚℝℤ", strict=True)),
    "script": dict(zip("BEFHILMReg", "ℬℰℱℋℐℒℳℛℯℊ", strict=True)),
}


def mathml(tex: str, display: bool, macros: dict[str, str] | None = None) -> str:
    """Return a formula as a ``<math>`` element, its source in the attribute ``alttext``.

    Raises:
        ValueError: if the formula has something that the converter does not know.
    """
    source = " ".join(tex.split())
    for name, meaning in (macros or {}).items():
        tex = re.sub(rf"\\{name}(?![A-Za-z])", lambda _, said=meaning: said, tex)
    for name, known in ENVIRONMENTS.items():
        tex = re.sub(rf"\\(begin|end){{{name}\*?}}", rf"\\\1{{{known}}}", tex)
    tex = re.sub(r"\\arg\s*\\(min|max)", r"\\operatorname{arg\1}", tex)
    text = convert(tex, display="block" if display else "inline")
    made = ET.fromstring(re.sub(r' xmlns="[^"]*"', "", text))
    for node in made.iter():
        letters(node)
    for node in list(made.iter()):
        limits(node)
        accent(node)
        prime(node)
        joined(node)
    spaces(made, False)
    for end, side in ((0, "lspace"), (-1, "rspace")):
        edge = made[0][end] if len(made) and len(made[0]) else made
        if edge.tag == "mo":  # the text around a formula has spaces of its own
            edge.set(side, "0")
    unknown = [node.text for node in made.iter() if node.tag != "mtext" and re.search(r"\\|&", node.text or "")]
    if unknown:
        raise ValueError(f"formula {source!r}: {', '.join(unknown)} is not known")
    text = ET.tostring(made, "unicode", short_empty_elements=False).removeprefix("<math ")
    text = text.replace('display="inline"', "", 1)
    return f'<math alttext="{escape(source)}" {text}'.replace('" >', '">')


def letters(node) -> None:
    """Write letters of other alphabets as such, numbers as numbers and upright words in one piece."""
    text, variant = node.text or "", node.get("mathvariant")
    if variant in FIRST:
        node.text = "".join(letter(c, variant) for c in text)
        del node.attrib["mathvariant"]
    elif node.tag == "mi" and re.fullmatch(r"[\d.]+", text):
        node.tag = "mn"
    elif node.tag == "mi" and text in SIGN_NOT_LETTER:
        node.tag = "mo"
    elif node.tag == "mi" and re.fullmatch("[Α-Ω]", text):
        node.set("mathvariant", "normal")
    run = None
    for child in list(node):
        upright = child.tag == "mi" and child.get("mathvariant") == "normal" and (child.text or "").isascii()
        if upright and run is not None:
            run.text += child.text
            node.remove(child)
        else:
            run = child if upright else None


def letter(char: str, variant: str) -> str:
    """Return ``char`` in a mathematical alphabet."""
    if char in HOLES.get(variant, {}):
        return HOLES[variant][char]
    if char.isdigit() and variant == "bold":
        return chr(0x1D7CE + int(char))
    if char.isascii() and char.isalpha():
        capital, small = FIRST[variant]
        return chr(capital + ord(char) - 65) if char.isupper() else chr(small + ord(char) - 97)
    return char


def limits(node) -> None:
    """Put what stands at a maximum or a limit below it, where there is room."""
    if node.tag in UNDER and (node[0].text or "") in LIMITS:
        node.tag = UNDER[node.tag]
        node[0].tag = "mo"
        node[0].attrib.update(movablelimits="true", lspace="0", rspace="0")


def accent(node) -> None:
    """Keep the size of a hat, a bar or a dot, and draw what is over several letters as a line."""
    over = node[1].text or "" if node.tag == "mover" else ""
    if over in ACCENTS:
        node.set("accent", "true")
        node[1].text, node[1].attrib = ACCENTS[over], {"stretchy": "true" if len(node[0]) > 1 else "false"}
    elif over == BAR:
        node.tag = "mrow"
        node.set("class", "overline")
        node.remove(node[1])


def prime(node) -> None:
    """Write a prime beside its letter: as an exponent it would be made small twice."""
    if node.tag == "msup" and (node[1].text or "") in {"′", "″", "‴"}:
        node.tag, node[1].tag = "mrow", "mo"


def joined(node) -> None:
    """Write a colon and an equals sign as one sign."""
    row = list(node)
    for first, second in zip(row, row[1:]):
        pair = (first.text or "") + (second.text or "")
        if first.tag == second.tag == "mo" and pair in {":=", "=:"}:
            first.text = pair
            node.remove(second)


def spaces(node, script: bool) -> None:
    """Set the space around the signs and the names in ``node``, which may be a script of another."""
    if node.tag in SCRIPTS:
        for i, child in enumerate(node):
            spaces(child, script or (i > 0 and node.get("accent") != "true"))
        if node[0].tag == "mo":
            sign(node[0], None, script, len(node[0].text or "") > 1)
        if "minsize" in node[0].attrib:  # with a script of its own a bracket would fall back to its small size
            sized = ET.Element("mrow")
            sized.append(node[0])
            node[0] = sized
        return
    row = list(node)
    for before, child in zip([None, *row], row):
        if child.tag == "mo":
            sign(child, before, script, len(row) == 1 and node.tag == "mrow")
        spaces(child, script)
    for i, child in reversed(list(enumerate(row))):
        if is_name(child):
            after = row[i + 1] if i + 1 < len(row) else None
            if after is not None and not is_sign(after) and after.tag != "mspace":
                node.insert(i + 1, ET.Element("mspace", width=THIN))
            if i and (not is_sign(row[i - 1]) or closes(row[i - 1])) and row[i - 1].tag != "mspace":
                node.insert(i, ET.Element("mspace", width=THIN))


def sign(mo, before, script: bool, alone: bool) -> None:
    """Set the space of a sign that follows ``before``."""
    mo.text = text = {"~": "∼"}.get(mo.text, mo.text or "")
    if text.isalpha() and len(text) > 1:
        if "movablelimits" not in mo.attrib:
            mo.tag, mo.attrib = "mi", {}
            return
        mo.text = text.replace("arg", "arg\u2009")
    unary = text in SIGNS and before is not None and is_sign(before) and not closes(before)
    named = "movablelimits" in mo.attrib and text.isalpha()
    if text in ORDINARY or script or alone or unary or named:
        mo.attrib.update(lspace="0", rspace="0")
    elif text in RELATIONS:
        mo.attrib.update(lspace="0.278em", rspace="0.278em")
    elif text == ";":
        mo.attrib.update(lspace="0", rspace=THIN)
    if text in "|‖⟨⟩" and "stretchy" not in mo.attrib:
        mo.set("stretchy", "false")


def core(node):
    """Return what scripts are attached to, of a node that may have some."""
    while node.tag in SCRIPTS or (node.tag in {"mrow", "mstyle"} and len(node) == 1):
        node = node[0]
    return node


def is_name(node) -> bool:
    """Tell whether ``node`` is the name of a function, such as a logarithm."""
    inner = core(node)
    text = (inner.text or "").replace("\u2009", "")
    named = inner.tag == "mi" and "mathvariant" not in inner.attrib or "movablelimits" in inner.attrib
    return named and text.isalpha() and len(text) > 1


def is_sign(node) -> bool:
    """Tell whether ``node`` is a sign."""
    return core(node).tag == "mo" and not is_name(node)


def closes(node) -> bool:
    """Tell whether ``node`` is a closing bracket, after which a sign has two sides."""
    return (core(node).text or "") in {")", "]", "}", "|", "‖", "⟩", "⊤", "′", "″", "‴", "…", "⋯", "!"}


def rendered(builder, node, display: bool) -> str:
    """Return the formula of a node, or its source with a warning."""
    tex = node.astext()
    if "\\\\" in tex and "\\begin" not in tex:
        tex = rf"\begin{{split}}{tex}\end{{split}}"
    try:
        return mathml(tex, display, builder.config.math_macros)
    except Exception as error:
        LOG.warning("formula %s: %s", tex, error, location=node)
        return f"<code>{escape(tex)}</code>"


def inline(self, node) -> None:
    """Write a formula in a line."""
    self.body.append(rendered(self.builder, node, False))
    raise nodes.SkipNode


def block(self, node) -> None:
    """Write a formula on a line of its own, with its number."""
    self.body.append(self.starttag(node, "div", CLASS="math"))
    if node["number"]:
        self.body.append(f'<span class="eqno">({get_node_equation_number(self, node)})')
        self.add_permalink_ref(node, "Link to this equation")
        self.body.append("</span>")
    self.body.append(rendered(self.builder, node, True) + "</div>\n")
    raise nodes.SkipNode


def kept(html: str) -> str:
    """Keep a comma on the line of the formula before it, and a bracket on that of the formula behind it: a browser may break
    between the two.
    """

    def together(found) -> str:
        return f'<span class="fl-kept">{found[0]}</span>' if found[1] or found[3] else found[0]

    return FOLLOWED.sub(together, html)


def keep(app, pagename, templatename, context, doctree) -> None:
    """Do so on a whole page."""
    if context.get("body"):
        context["body"] = kept(context["body"])


def setup(app):
    app.connect("html-page-context", keep)
    app.add_config_value("math_macros", {}, "env")
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
