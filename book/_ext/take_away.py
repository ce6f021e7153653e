"""What a reader takes along: a notebook that finds `fl`, links that start it elsewhere, a figure's picture and points.

The address of the repository stands in one place, ``book_repository`` of ``_config.yml``. While it is empty a page has
no such links, and its notebook says how to come by the package.
"""

import json
import re
from pathlib import Path
from urllib.parse import quote

from cards import cards
from light_pages import points

FIRST = '''# This chapter needs the package of its book, `fl`.
import importlib.util
import subprocess
import sys
from pathlib import Path

ADDRESS, BRANCH = {address!r}, {branch!r}


def checkout():
    """The nearest folder above that is the repository, or a copy of it beside this notebook."""
    here = Path.cwd()
    places = [*(here, *here.parents), here / "fl-book"]
    return next((p for p in places if (p / "fl/theory").is_dir() and (p / "book").is_dir()), None)


if importlib.util.find_spec("fl") is None:
    if checkout() is None and ADDRESS:
        subprocess.run(["git", "clone", "-q", "--depth", "1", "-b", BRANCH, ADDRESS, "fl-book"], check=True)
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", "./fl-book"], check=True)
    if checkout() is None:
        raise ModuleNotFoundError(
            "this notebook needs the package fl: in a copy of the book's repository run `pip install -e .`, "
            "or start Jupyter inside of that folder"
        )
    sys.path.insert(0, str(checkout()))'''
FIGURE = re.compile(r'<figure\b[^>]*\bid="([^"]+)".*?</figure>', re.S)
PICTURE = re.compile(r'src="([^"]*_images/[^"]+\.svg)"')
# the buttons of the theme are named by endings: one opens the text as it is, one prints
NAMES = {
    "download-notebook-button": ("Notebook (.ipynb)", "Download the page as a notebook"),
    "download-source-button": ("Source text", "Show the text that the page is made from"),
    "download-pdf-button": ("Print", "Print the page, or save it as PDF"),
}
WORDS = 155  # letters of a description that search engines show


def first_cell(address: str, branch: str) -> dict:
    """Return the cell that finds the package."""
    source = FIRST.format(address=address, branch=branch)
    return {"cell_type": "code", "execution_count": None, "id": "find-fl", "metadata": {}, "outputs": [], "source": source}


def complete(app, error) -> None:
    """Put the cell before all others in every notebook that can be downloaded."""
    if error is not None or app.builder.name != "html":
        return
    for path in Path(app.outdir, "_sources").rglob("*.ipynb"):
        notebook = json.loads(path.read_text("utf-8"))
        if notebook["cells"][0].get("id") != "find-fl":
            notebook["cells"].insert(0, first_cell(app.config.book_repository, app.config.book_branch))
            path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False), "utf-8")


def starts(address: str, branch: str, built: str, page: str) -> list[dict]:
    """Return the buttons that start a chapter on Binder, from its source, and on Colab, from its built notebook."""
    repository = address.removesuffix("/").removesuffix(".git").partition("github.com/")[2]
    if not repository:
        return []
    # the page of single notebooks takes the name of an editor, that of JupyterLab opens every text as text
    editor = f"notebooks/{page}.md?factory={quote('Jupytext Notebook')}"
    binder = f"https://mybinder.org/v2/gh/{repository}/{branch}?urlpath={quote(editor, safe='')}"
    colab = f"https://colab.research.google.com/github/{repository}/blob/{built}/_sources/{page}.ipynb"
    places = {"Binder": binder, "Colab": colab}
    return [{"type": "link", "url": url, "text": name, "tooltip": f"Run on {name}"} for name, url in places.items()]


def buttons(app, pagename, templatename, context, doctree) -> None:
    """Name the entries of the download menu, and add these links to that of a chapter with code."""
    for button in context.get("header_buttons", []):
        if button.get("label") == "download-buttons":
            for entry in button["buttons"]:
                if name := NAMES.get(entry.get("label")):
                    entry["text"], entry["tooltip"] = name
            if "ipynb_source" in context:
                config = app.config
                button["buttons"] += starts(config.book_repository, config.book_branch, config.book_built, pagename)


def pictures(app, pagename, templatename, context, doctree) -> None:
    """Link the picture of every figure under its caption, and its points if it has any, by the name of the figure."""
    sources = {name: path for path, name in app.builder.images.items()}

    def linked(found) -> str:
        figure, picture = found[0], PICTURE.search(found[0])
        if not picture or "</figcaption>" not in figure:
            return figure
        source = Path(app.srcdir, sources[Path(picture[1]).name])
        kinds = {"svg": "Save the figure", "csv": "Save its points"}
        if points(source.read_text("utf-8")) is None:
            del kinds["csv"]
        links = "".join(
            f' <a class="fl-take" href="{picture[1].removesuffix("svg")}{kind}" download="{found[1]}.{kind}" title="{what}">'
            f"{kind.upper()}</a>"
            for kind, what in kinds.items()
        )
        return figure.replace("</p>\n</figcaption>", f"{links}</p>\n</figcaption>", 1)

    if context.get("body"):
        context["body"] = FIGURE.sub(linked, context["body"])


def described(app, pagename, templatename, context, doctree) -> None:
    """Describe a page to search engines, by its result or its first paragraph, and name a picture of it."""
    entry = cards().get(Path(pagename).name)
    words = re.search(r"<p>(.*?)</p>", context.get("body") or "", re.S)
    text = entry["result"] if entry else re.sub("<[^>]*>", "", words[1]) if words else app.config.html_title
    text = " ".join(text.split())
    # only with the address of the site: a picture at a place relative to the page is none to those who ask for it
    address = app.config.html_baseurl
    context["book_picture"] = f"{address.rstrip('/')}/_static/preview.png" if address else ""
    context["book_description"] = text if len(text) <= WORDS else text[:WORDS].rpartition(" ")[0] + " …"


def setup(app):
    app.add_config_value("book_repository", "", "env")  # a page gives it, too
    app.add_config_value("book_branch", "main", "html")
    app.add_config_value("book_built", "gh-pages", "html")
    app.connect("build-finished", complete)
    app.connect("html-page-context", buttons, priority=910)
    app.connect("html-page-context", pictures, priority=450)
    app.connect("html-page-context", described)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
