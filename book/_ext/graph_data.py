"""The graph of statements as the page shows it: boxes and claims with tag, verdict and audit."""

import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import yaml
from docutils import nodes
from find_places import formula

BOOK = Path(__file__).resolve().parent.parent
FORMULA = re.compile(r"\$([^$]+)\$")
SIGNS = {"stands": "✓", "FAILS": "✗", "": "–"}
WEAK = {"observed", "consistency"}  # say less than a box does


@dataclass
class Node:
    """A box or a claim: ``verdict`` and ``audit`` of a claim are the scoreboard's, "" if it has none."""

    key: str
    name: str
    title: str
    page: str
    uses: tuple[str, ...]
    is_claim: bool
    tag: str = "derived"
    verdict: str = ""
    audit: str = ""
    users: list = field(default_factory=list)
    checks: list = field(default_factory=list)  # the claims that name a box
    grounded: bool = False  # it and everything below it stands

    @property
    def short(self) -> str:
        return self.key.partition(".")[2] if self.is_claim else self.name

    @property
    def href(self) -> str:
        return f"{self.page}.html#{'claim-' if self.is_claim else ''}{self.key}"

    @property
    def sign(self) -> str:
        return SIGNS.get(self.verdict, "–")

    def state(self) -> str:
        """Say in words what is known."""
        if self.is_claim:
            known = self.verdict or "not evaluated"
            audit = f"audit {self.audit}" if self.audit else "not audited"
            known = f"{known}, {audit}"
        else:
            known = {"": "no claim checks it", "stands": "checked"}.get(self.verdict, "a check FAILS")
        below = "all below it stands" if self.grounded else "not all below it is checked"
        return f"{self.tag}, {known}, {below}"

    def words(self) -> str:
        return f"{self.name}: {FORMULA.sub(lambda found: formula(found[1]), self.title)} ({self.state()})"


def parts() -> list[list[str]]:
    """Return the pages of each numbered part."""
    toc = yaml.safe_load((BOOK.parent / "_toc.yml").read_text("utf-8"))
    numbered = [part for part in toc["parts"] if part.get("numbered")]
    return [[Path(c["file"]).name for c in part["chapters"]] for part in numbered]


@cache
def title(page: str) -> str:
    return re.search(r"^# (.+)$", (BOOK / f"{page}.md").read_text("utf-8"), re.M)[1]


def graph(verdicts: dict[str, tuple[str, str]]) -> dict[str, Node]:
    """Return all boxes and claims in reading order; ``verdicts`` holds verdict and audit of claims."""
    from fl.registry import listed, uses
    from fl.statements import boxes

    known, said = {}, boxes()
    for key, box in said.items():
        known[key] = Node(key, box.name, box.title, box.page, box.uses, False)
    places, named = checked_on(), uses()
    for key, source, statement in listed():
        page = places.get(key, key.partition(".")[0])
        state = source.split()[0], *verdicts.get(key, ("", ""))
        known[key] = Node(key, key, statement, page, named[key], True, *state)
    for node in known.values():
        for used in node.uses:
            known[used].users.append(node.key)
            if node.is_claim:
                known[used].checks.append(node)
    for key, box in said.items():
        checks = known[key].checks
        found = {claim.verdict for claim in checks}
        known[key].verdict = "FAILS" if "FAILS" in found else min(found, default="")
        first = [claim for claim in checks if claim.uses[0] == key] or checks
        known[key].tag = tag_of(box, [claim.tag for claim in first])
    for node in known.values():
        ground(node, known)
    return known


def tag_of(box, tags: list[str]) -> str:
    """Return the tag of a box: what its source line says, or the claims that name it, by their ``tags``."""
    if box.name.startswith("Definition"):
        return "definition"
    if re.search(r"Source[.:]\*? \{cite\}`\w+`\.", box.text):
        return "paper"
    strong = Counter(tag for tag in tags if tag not in WEAK)
    if strong or box.name.startswith("Observation"):
        return strong.most_common(1)[0][0] if strong else "observed"
    return "proved" if re.search("[Pp]roof|[Pp]roved (here|below)", box.text) else "derived"


def ground(node: Node, known: dict[str, Node]) -> bool:
    """See whether a statement and everything below it stands."""
    below = [ground(known[used], known) for used in node.uses]
    node.grounded = node.verdict == "stands" and all(below)
    return node.grounded


def checked_on() -> dict[str, str]:
    """Return on which page each claim is checked."""
    found = {}
    for page in (page for part in parts() for page in part):
        for call in re.findall(r"fl\.check\(([^)]*)\)", (BOOK / f"{page}.md").read_text("utf-8")):
            found |= dict.fromkeys(re.findall(r'"([\w.]+)"', call), page)
    return found


def scoreboard(env) -> dict[str, tuple[str, str]]:
    """Return verdict and audit of each claim, read from the table of the scoreboard."""
    found = {}
    if "book/scoreboard" not in env.found_docs:
        return found
    for row in env.get_doctree("book/scoreboard").findall(nodes.row):
        key = re.search(
            r'id="row-([\w.]+)"',
            " ".join(raw.astext() for raw in row.findall(nodes.raw)),
        )
        cells = [cell.astext() for cell in row.findall(nodes.entry)]
        if key and len(cells) == 4:
            held = re.search(r"held (\d+/\d+).*?(\(before an edit\))?$", cells[1], re.S)
            audit = "" if held is None else f"({held[1]})" if held[2] else held[1]
            found[key[1]] = cells[3].strip(), audit
    return found
