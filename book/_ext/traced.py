"""A number in the prose leads to the cell that computed it.

myst-nb pastes what a cell has stored under a name; here the cell's place is stored with it, the pasted text becomes a link,
and the cell gets the first of its names as an anchor. A cell that a page does not show is no place to go to: its numbers stay text.
"""

from docutils import nodes
from myst_nb.core.execute import base
from myst_nb.ext.glue.domain import NbGlueDomain
from myst_nb.ext.glue.roles import PasteTextRole
from myst_nb.ext.glue.utils import retrieve_glue_data

stored = base.extract_glue_data


def placed(notebook, *args):
    """Return what the cells of a notebook have stored, each with the index of its cell."""
    for index, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            if "scrapbook" in output.get("metadata", {}):
                output["metadata"]["cell"] = index
    return stored(notebook, *args)


class Traced(PasteTextRole):
    """Paste a stored text of this page as a link that `lead` completes; one of another page as it is."""

    def run(self):
        pasted, messages = super().run()
        if "::" not in self.text and pasted:
            key = self.text.partition(":")[0]
            cell = retrieve_glue_data(self.document, key).metadata["cell"]
            where = {"internal": True, "refid": nodes.make_id(f"from-{key}"), "classes": ["fl-number"], "cell": cell}
            pasted = [nodes.reference("", "", *pasted, **where)]
        return pasted, messages


def lead(app, doctree) -> None:
    """Give the cells that numbers lead to their anchors, and take the link from a number whose cell is not shown."""
    links = [link for link in doctree.findall(nodes.reference) if "fl-number" in link["classes"]]
    shown = {cell["cell_index"]: cell for cell in doctree.findall(nodes.container) if "cell_index" in cell}
    for link in links:
        if link["cell"] in shown:
            ids = shown[link["cell"]]["ids"]
            ids[:] = ids or [link["refid"]]
            link["refid"] = ids[0]
        else:
            link.replace_self(link.children)


def setup(app):
    base.extract_glue_data = placed
    NbGlueDomain.roles["text"] = Traced()
    app.connect("doctree-read", lead)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
