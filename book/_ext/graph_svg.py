"""Pictures of the graph of statements: the chapters, and the statements of one chapter.

Placement is by columns: what a chapter takes from elsewhere, its boxes, its claims, what uses
them elsewhere. Every node is a link; shapes and words say what colours say.
"""

import html
import textwrap
from collections.abc import Iterable

# of the columns, in reading order: width and height of a node
SIZES = {"from": (136, 36), "box": (198, 40), "claim": (252, 28), "to": (136, 36)}
GAP, ROW, PAD = 36, 8, 4
ARROW = (
    '<defs><marker id="fl-arrow" markerUnits="userSpaceOnUse" viewBox="0 0 8 8" refX="8" refY="4" '
    'markerWidth="8" markerHeight="8" orient="auto"><path d="M0 1 8 4 0 7Z"/></marker></defs>'
)
SHAPES = {
    "paper": '<path d="M0 -6 6 0 0 6 -6 0Z"/>',
    "proved": '<circle r="5.2"/>',
    "derived": '<rect x="-4.8" y="-4.8" width="9.6" height="9.6"/>',
    "consistency": '<path d="M0 -6 6 5 -6 5Z"/>',
    "observed": '<circle r="4.2" class="fl-ring"/>',
    "definition": '<path d="M-5 0H5M0 -5V5" class="fl-ring"/>',
}


def clip(text: str, letters: int) -> str:
    """Return a title that fits, without the dollars of its formulas."""
    whole = text.replace("$", "")
    return whole if len(whole) <= letters else f"{whole[: letters - 1].rstrip()}…"


def mark(tag: str, x: float, y: float) -> str:
    """Return the sign of a tag."""
    return f'<g class="fl-tag fl-{tag}" transform="translate({x:g} {y:g})">{SHAPES[tag]}</g>'


def text(x: float, y: float, words: str, kind: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" class="{kind}">{html.escape(words)}</text>'


class Spot:
    """Where a node stands: its box with left edge x and top y."""

    def __init__(self, x: float, y: float, width: float, height: float):
        self.x, self.y, self.width, self.height = x, y, width, height

    def left(self) -> tuple[float, float]:
        return self.x, self.y + self.height / 2

    def right(self) -> tuple[float, float]:
        return self.x + self.width, self.y + self.height / 2


def edge(first: Spot, last: Spot) -> str:
    """Return the curve from what is used to what uses it, in one column on the left side."""
    if first.x == last.x:
        (x, a), (_, b) = first.left(), last.left()
        reach = min(14 + abs(b - a) / 12, GAP - 8)
        return f'<path d="M{x:g} {a:g}C{x - reach:g} {a:g} {x - reach:g} {b:g} {x:g} {b:g}"/>'
    ends = (first.right(), last.left()) if first.x < last.x else (first.left(), last.right())
    (x, a), (z, b) = ends
    bend = (z - x) / 2
    return f'<path d="M{x:g} {a:g}C{x + bend:g} {a:g} {z - bend:g} {b:g} {z:g} {b:g}"/>'


def link(node, spot: Spot, inner: str, kind: str, name: str = "") -> str:
    """Return a node as a link with its whole description as a title, with an id where it has a ``name``."""
    shape = f'<rect x="{spot.x:g}" y="{spot.y:g}" width="{spot.width:g}" height="{spot.height:g}" rx="5"/>'
    words = html.escape(node.words())
    place = f'id="node-{name}" ' if name else ""
    start = f'<a {place}href="{node.href}" class="fl-node {kind}" aria-label="{words}">'
    return f"{start}<title>{words}</title>{shape}{inner}</a>"


def drawn(node, spot: Spot) -> str:
    """Return a statement of the chapter: its tag, its name, its verdict and its audit."""
    kind = "fl-solid" if node.grounded else "fl-open"
    x, y = spot.x, spot.y + spot.height / 2
    parts = [mark(node.tag, x + 13, y)]
    if node.is_claim:
        parts.append(text(x + 25, y + 4.5, clip(node.short, 25)))
    else:
        parts += [
            text(x + 25, y - 3, node.name, "fl-name"),
            text(x + 25, y + 12, clip(node.title, 24)),
        ]
    # beside the name, which is short, and not at the end of a long title
    line = y + 4.5 if node.is_claim else y - 3
    parts.append(text(x + spot.width - 6, line, f"{node.audit} {node.sign}".strip(), "fl-end"))
    return link(node, spot, "".join(parts), kind, node.key)


def chip(node, spot: Spot) -> str:
    """Return a statement of another chapter, by name and page."""
    inner = text(spot.x + 8, spot.y + 14, clip(node.short, 17), "fl-name")
    return link(
        node,
        spot,
        inner + text(spot.x + 8, spot.y + 28, clip(node.page, 19), "fl-page"),
        "fl-chip",
    )


def canvas(parts: Iterable[str], width: float, height: float, label: str) -> str:
    """Return a drawing that scrolls inside its own box where the page is narrow."""
    widths = f"min-width:{0.84 * width:.0f}px;max-width:{0.95 * width:.0f}px"
    size = f'viewBox="0 0 {width:g} {height:g}" style="{widths}"'
    drawing = f'<svg {size} role="group" aria-label="{html.escape(label)}">{"".join(parts)}</svg>'
    return f'<div class="fl-graph">{drawing}</div>'


def chapter(boxes: list, claims: list, every: dict) -> str:
    """Return the picture of the statements of one chapter."""
    here = [*boxes, *claims]
    own = {node.key for node in here}
    used = dict.fromkeys(k for node in here for k in node.uses if k not in own)
    users = dict.fromkeys(k for node in here for k in node.users if k not in own)
    columns = {"from": used, "box": [n.key for n in boxes]}
    columns |= {"claim": [n.key for n in claims], "to": users}
    tall = {name: len(keys) * (SIZES[name][1] + ROW) for name, keys in columns.items()}
    whole, x = max(tall.values()), PAD + GAP / 2
    spots = {}  # by column, since a statement may stand on both sides
    for name, keys in columns.items():
        width, height = SIZES[name]
        y = PAD + (whole - tall[name]) / 2
        spots[name] = {k: Spot(x, y + i * (height + ROW), width, height) for i, k in enumerate(keys)}
        x += (width + GAP) if keys else 0
    near = spots["from"] | spots["box"] | spots["claim"]
    edges = [edge(near[k], near[node.key]) for node in here for k in node.uses]
    edges += [edge(near[n.key], spots["to"][k]) for n in here for k in n.users if k in users]
    parts = [f'<g class="fl-edges" marker-end="url(#fl-arrow)">{"".join(edges)}</g>']
    parts += [chip(every[k], spot) for side in ("from", "to") for k, spot in spots[side].items()]
    parts += [drawn(node, near[node.key]) for node in here]
    label = "Statements of the chapter and what they rest on"
    return canvas(parts, x - GAP + PAD, whole + PAD, label)


def overview(parts: list[list], arrows: dict) -> str:
    """Return the picture of the chapters, a column for each part of the book; ``arrows`` counts
    what each chapter takes from each other.
    """
    width, spots, inside, tallest = 160, {}, [], 0.0
    for i, pages in enumerate(parts):
        y = PAD + 0.0
        for page in pages:
            lines = textwrap.wrap(page.title, 19)
            height = 17 * len(lines) + 28
            x = PAD + GAP / 2 + i * (width + GAP)
            spot = spots[page.key] = Spot(x, y, width, height)
            at = ((line, y + 18 + 17 * n) for n, line in enumerate(lines))
            words = [text(x + 9, down, line, "fl-name") for line, down in at]
            words.append(text(x + 9, y + height - 10, page.counts))
            kind = "fl-solid" if page.grounded else "fl-open"
            inside.append(link(page, spot, "".join(words), kind))
            y += spot.height + 16
        tallest = max(tallest, y)
    edges = []
    for (first, last), count in sorted(arrows.items()):
        thick = f'<path stroke-width="{1 + 0.7 * (count - 1) ** 0.5:.1f}"'
        edges.append(edge(spots[first], spots[last]).replace("<path", thick))
    whole = PAD * 2 + GAP / 2 + len(parts) * (width + GAP) - GAP
    body = [ARROW, f'<g class="fl-edges" marker-end="url(#fl-arrow)">{"".join(edges)}</g>', *inside]
    return canvas(body, whole, tallest, "Chapters and what they take from each other")


def legend() -> str:
    """Return what the signs of the tags, the verdicts and the frames mean."""
    signs = [(f'<svg viewBox="-8 -8 16 16" aria-hidden="true">{mark(tag, 0, 0)}</svg>', tag) for tag in SHAPES]
    verdicts = [("✓", "stands"), ("✗", "fails"), ("–", "not evaluated, or no claim checks it")]
    frame = '<svg viewBox="-8 -8 16 16" aria-hidden="true"><rect x="-7" y="-5" width="14" height="10" rx="2" class="{}"/></svg>'
    frames = [
        (frame.format("fl-frame"), "it and everything below it stands"),
        (frame.format("fl-frame fl-dashed"), "something below, or itself, is not checked"),
    ]
    rows = (" ".join(f"<span>{sign} {word}</span>" for sign, word in row) for row in (signs, verdicts, frames))
    return "".join(f'<p class="fl-legend">{row}</p>' for row in rows)
