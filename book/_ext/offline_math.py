"""Formulas without a network: MathJax is served from the book itself.

The package sphinx-mathjax-offline brings all of MathJax (24 MB); a page needs one
script and one folder of fonts. They are copied when the build has finished, and not put
in ``html_static_path``, because the theme loads every script it finds there.
"""

import shutil
from importlib.metadata import distribution
from pathlib import Path

SCRIPT = "tex-chtml-full.js"
FONTS = "output/chtml/fonts/woff-v2"


def set_path(app, config):
    config.mathjax_path = f"mathjax/{SCRIPT}"


def copy(app, error):
    if error is not None or app.builder.format != "html":
        return
    source = Path(distribution("sphinx-mathjax-offline").locate_file("sphinx-mathjax-offline/static/mathjax"))
    target = Path(app.outdir) / "_static" / "mathjax"
    (target / FONTS).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source / SCRIPT, target / SCRIPT)
    shutil.copytree(source / FONTS, target / FONTS, dirs_exist_ok=True)


def setup(app):
    app.connect("config-inited", set_path)
    app.connect("build-finished", copy)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
