"""What a page needs and no more: the finished book loses what no page asks for.

The theme's style sheet brings the rules and fonts of an icon set that `icons.css` replaces, its scripts bring source
maps, and myst-nb leaves figures of earlier builds behind. Coordinates of figures keep two decimals: a hundredth of a
point is nothing on a screen. The points of a figure leave its picture for a file of their own.
"""

import html
import re
import shutil
from itertools import groupby
from pathlib import Path

UNUSED = [
    *("_static/**/*.map", "_static/**/*.LICENSE.txt", "_static/**/*webpack-macros.html", ".buildinfo"),
    *("_static/scripts/fontawesome.js", "_static/vendor", "_static/locales", "_static/images"),
    *("_static/sphinx-thebe.*", "_static/minus.png", "_static/plus.png", "_static/file.png"),
    *("_static/play-solid.svg", "_static/check-solid.svg", "_static/copy-button.svg", "_static/mathjax"),
]
ICONS = re.compile(
    r"/\*!\s*\* Font Awesome.*?\*/"
    r"|@font-face\{[^}]*Font Awesome[^}]*\}"
    r"|@(?:-webkit-)?keyframes fa-\w+\{(?:[^{}]*\{[^}]*\})*\}"
    r"|(?<=[};/])(?:\.fa[\w-]*[^{};]*)\{[^{}]*\}"
    r"|(?<=[};/]):host,:root\{--fa-[^}]*\}",
    re.S,
)
NUMBER = re.compile(r"-?\d+\.\d{3,}")
COORDINATES = re.compile(r' (?:d|points|x|y)="[^"]*"')
MARKS = re.compile(r"(?:<use [^>]*/>){2,}")
MARK = re.compile(r"(<use [^>]*?)( style=\"[^\"]*\")?/>")
POINTS = re.compile(r"<dc:description>(panel,.*?)</dc:description>", re.S)
NAME = re.compile(r'(?<= id=")m[0-9a-f]{10}(?=")')


def without_icons(sheet: str) -> str:
    """Return a style sheet without the rules of Font Awesome."""
    return ICONS.sub("", sheet)


def _short(number) -> str:
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")


def _together(marks) -> str:
    """Give marks in a row their common style once."""
    found = groupby(MARK.findall(marks[0]), key=lambda mark: mark[1])
    rows = ((style, [f"{use}/>" for use, _ in same]) for style, same in found)
    return "".join(f"<g{style}>{''.join(uses)}</g>" if style else "".join(uses) for style, uses in rows)


def light(figure: str) -> str:
    """Return the text of a figure of matplotlib with the same picture in fewer letters."""
    text = re.sub(r"<metadata>.*?</metadata>", "", figure, flags=re.S)
    text = re.sub(r">\s+<", "><", text)
    text = re.sub(r"<g>(<use [^>]*/>)</g>", r"\1", text)
    text = COORDINATES.sub(lambda found: NUMBER.sub(_short, found[0]), text)
    text = MARKS.sub(_together, text)
    for number, name in enumerate(dict.fromkeys(NAME.findall(text))):
        text = text.replace(name, f"m{number}")
    return text


def points(figure: str) -> str | None:
    """Return the table of points that a picture carries as its description, if it does."""
    found = POINTS.search(figure)
    return found and html.unescape(found[1])


def lighten(app, error) -> None:
    """Remove from the finished book what no page asks for."""
    if error is not None or app.builder.name != "html":
        return
    out = Path(app.outdir)
    for pattern in UNUSED:
        for path in out.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    sheet = out / "_static/styles/pydata-sphinx-theme.css"
    sheet.write_text(without_icons(sheet.read_text("utf-8")), "utf-8")
    used = {name for _, name in app.env.images.values()}
    used |= {Path(name).with_suffix(".csv").name for name in used}
    for figure in (out / "_images").glob("*"):
        if figure.name not in used:
            figure.unlink()
        elif figure.suffix == ".svg":
            picture = figure.read_text("utf-8")
            if table := points(picture):
                figure.with_suffix(".csv").write_text(table, "utf-8")
            figure.write_text(light(picture), "utf-8")


def setup(app):
    app.connect("build-finished", lighten)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
