"""Pages are read and written on all cores.

jupyter-book has no option for it, and two of its extensions do not say that they are safe: one numbers chapters when
all are read, the other serves LaTeX alone. The theorems' extension says so, and merges its list of labels, but forgets
that its domain, which holds nothing, is asked as well.
"""

import gc
import os
import sys
from importlib import import_module

from sphinx.errors import PycodeError
from sphinx.pycode import ModuleAnalyzer
from sphinx_proof.domain import ProofDomain

SILENT = ["sphinx_multitoc_numbering", "sphinx_jupyterbook_latex"]


def allow(app, config) -> None:
    """Let Sphinx use every core."""
    app.parallel = os.cpu_count() or 1


def prepare(app, env, docnames) -> None:
    """Import once what every process needs, and let the long pages begin."""
    for name in SILENT:
        if name in app.extensions:
            app.extensions[name].parallel_read_safe = True
    modules = [name.rpartition("/")[2] for name in docnames if name.startswith("book/api/")]
    for module in modules:
        import_module(module)
    # the comments of other packages are not asked for: a class of ours would have all of torch.nn read, in each process
    for name in list(sys.modules) if modules else ():
        if name.partition(".")[0] != "fl":
            ModuleAnalyzer.cache["module", name] = PycodeError(f"{name} is not of this book")
    gc.freeze()  # what is there stays: no process need look at it again, nor copy it
    docnames.sort(key=lambda name: name.startswith("book/api/"))


def nothing(self, docnames, otherdata) -> None:
    """Merge the data of a domain that has none."""


def setup(app):
    ProofDomain.merge_domaindata = nothing
    app.connect("config-inited", allow)
    app.connect("env-before-read-docs", prepare)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
