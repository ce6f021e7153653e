"""The reference: a page for each module that ``api.md`` names, and there a line for each.

The pages are written when a build begins, into ``book/api``, which git does not keep. They stand in no table of
contents, so that the chapters' side bar stays short. A source page has the code and nothing else around it.
"""

import ast
import re
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import nested_parse_with_titles

BOOK = Path(__file__).resolve().parent.parent
PAGE = """:orphan:

{title}
{line}

:doc:`../api`

.. automodule:: {name}
   :members:
"""
CONTENTS = {}  # of the book, as pages of modules show them: drawn once
# an address of the time when the reference was one page
FORWARD = """<script>
for (let name = location.hash.slice(1); name; name = name.slice(0, Math.max(0, name.lastIndexOf(".")))) {
  const link = document.querySelector(`a[href$="/${name}.html"]`);
  if (link) { location.replace(link.href + location.hash); break; }
}
</script>"""


def listed() -> list[str]:
    """Return the modules that ``api.md`` names."""
    return re.findall(r"^   (fl\.\S+)$", (BOOK / "api.md").read_text("utf-8"), re.M)


def summary(module: str) -> str:
    """Return the first paragraph of a module's docstring, on one line."""
    path = BOOK.parent.joinpath(*module.split(".")).with_suffix(".py")
    words = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    return " ".join(words.partition("\n\n")[0].split()).removesuffix(":").removesuffix(":")


def write(app, config) -> None:
    """Write the pages of the modules, and let Sphinx read them."""
    folder = Path(app.srcdir) / "book" / "api"
    folder.mkdir(exist_ok=True)
    wanted = {folder / f"{name}.rst": name for name in listed()}
    for path in set(folder.iterdir()) - set(wanted):
        path.unlink()
    for path, name in wanted.items():
        title = f"``{name}``"
        text = PAGE.format(title=title, line="=" * len(title), name=name)
        if not path.is_file() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
    # the table of contents has shut out what it does not name
    config.exclude_patterns = [p for p in config.exclude_patterns if not p.startswith("book/api/")]


class Modules(SphinxDirective):
    """A line for each module: its name, with a link, and what it is for."""

    has_content = True

    def run(self):
        lines = []
        for name in filter(None, (line.strip() for line in self.content)):
            lines += [f":doc:`{name} <api/{name}>`", f"   {summary(name)}", ""]
            self.env.note_dependency(str(BOOK.parent.joinpath(*name.split(".")).with_suffix(".py")))
        made = nodes.container(classes=["fl-modules"])
        nested_parse_with_titles(self.state, StringList(lines, "api.md"), made)
        return [made]


class Forward(SphinxDirective):
    """Send an address of the one-page reference to the page of its module."""

    def run(self):
        return [nodes.raw("", FORWARD, format="html")]


def plain(app, pagename, templatename, context, doctree):
    """Give a source page a template without side bars, and all pages of modules one table of contents."""
    if pagename.startswith("_modules/"):
        return "source.html"
    if pagename.startswith("book/api/"):
        draw = context["toctree"]

        def once(**options) -> str:
            key = tuple(sorted(options.items()))
            if key not in CONTENTS:
                CONTENTS[key] = draw(**options)
            return CONTENTS[key]

        context["toctree"] = once
    return None


def setup(app):
    app.add_directive("modules", Modules)
    app.add_directive("forward-addresses", Forward)
    app.connect("config-inited", write, priority=950)
    app.connect("html-page-context", plain, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
