"""Statements as a graph: what each claim and each box of the book rests on."""

import re
from pathlib import Path

from fl.closure import PACKAGE, parse
from fl.registry import uses

ROOT = Path(__file__).resolve().parent.parent
# a claim whose proof stands on the page without a box
ALONE = {
    "choosing_p.folds",
    "exponent_meter.refusals",
    "representation.batchnorm_inert",
    "single_index.even_teacher",
}


def labels() -> set[str]:
    """Return the labels of all boxes."""
    pages = (p.read_text("utf-8") for p in (ROOT / "book").glob("*.md"))
    box = re.compile(r"^`{3,}\{prf:\w+\}[^\n]*\n:label: (\S+)", re.M)
    return {label for page in pages for label in box.findall(page)}


def test_what_a_claim_uses_is_there():
    known = uses()
    for id, names in known.items():
        strange = set(names) - labels() - known.keys()
        assert not strange, f"{id} uses {strange}: neither a box's label nor a claim"
        assert len(set(names)) == len(names) and id not in names, id


def test_a_claim_says_what_it_uses():
    silent = {id for id, names in uses().items() if not names}
    assert silent == ALONE, "name the box that the claim stands under in uses="


def test_what_a_claim_uses_is_no_part_of_its_key():
    code = '@claim("a.b", source="proved"{})\ndef b(scale, broken, block):\n    pass\n'
    texts = [code.format(words).encode() for words in ("", ', uses=("thm-a",)')]
    there, elsewhere = PACKAGE / "claims" / "a.py", Path("mine.py")
    assert len({parse(text, there).digest for text in texts}) == 1
    assert len({parse(text, elsewhere).digest for text in texts}) == 2
