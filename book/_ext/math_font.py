"""The font of the formulas: STIX Two Math, cut down to the signs that the book uses.

ziamath brings the whole font, 1.5 MB under the SIL Open Font License.
"""

import re
from html import unescape
from importlib.metadata import distribution
from pathlib import Path

from fontTools import subset

SOURCE = "ziamath/fonts/STIXTwoMath-Regular.ttf"
TARGET = "_static/math.woff"
FORMULA = re.compile(r"<math.*?</math>", re.S)
ALWAYS = "".join(map(chr, range(0x20, 0x7F))) + "αβγδεζηθικλμνξοπρςστυφχψωϑϕϖϱϵΓΔΘΛΞΠΣΥΦΨΩ−×·…"
ALWAYS += "√"  # a browser draws it for an element, <msqrt>: no formula contains the sign itself
ITALIC = {"h": 0x210E, "∂": 0x1D715, "ϵ": 0x1D716, "ϑ": 0x1D717, "ϕ": 0x1D719, "ϱ": 0x1D71A, "ϖ": 0x1D71B}


def italic(char: str) -> int:
    """Return the code of the sloping letter that a browser draws for a single letter."""
    if char in ITALIC:
        return ITALIC[char]
    for first, last, code in (("A", "Z", 0x1D434), ("a", "z", 0x1D44E), ("Α", "Ω", 0x1D6E2), ("α", "ω", 0x1D6FC)):
        if first <= char <= last:
            return code + ord(char) - ord(first)
    return ord(char)


def signs(folder: Path) -> set[int]:
    """Return the codes of all signs in the formulas of the pages in ``folder``."""
    found = set(ALWAYS)
    for page in folder.rglob("*.html"):
        for formula in FORMULA.findall(page.read_text("utf-8")):
            found |= set(unescape(re.sub("<[^>]*>", "", formula)))
    return {ord(char) for char in found} | {italic(char) for char in found}


def cut(codes: set[int], target: Path) -> None:
    """Write the font with these signs alone, and the larger ones that they stretch to."""
    options = subset.Options(flavor="woff", layout_features=["ssty"], notdef_outline=True, hinting=False)
    options.name_IDs = [0, 1, 2, 5, 13, 14]  # with its authors and its licence
    font = subset.load_font(str(distribution("ziamath").locate_file(SOURCE)), options)
    cutter = subset.Subsetter(options)
    cutter.populate(unicodes=codes)
    cutter.subset(font)
    constants = font["MATH"].table.MathConstants  # fractions in a line keep off the next line
    constants.FractionNumeratorShiftUp.Value = 480
    constants.FractionDenominatorShiftDown.Value = 400
    subset.save_font(font, str(target), options)


def write(app, error) -> None:
    """Write the font for the finished book."""
    if error is None and app.builder.name == "html":
        cut(signs(Path(app.outdir)), Path(app.outdir) / TARGET)


def setup(app):
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
