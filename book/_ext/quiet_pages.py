"""Leave out thebe: it needs a network and a Binder, and its scripts weigh on every page.

A launch provider has to be named in ``_config.yml`` all the same, or the theme gives no
button to download a page as a notebook.
"""


def drop_thebe(app, pagename, templatename, context, doctree):
    def is_thebe(script) -> bool:
        return "thebe" in str(getattr(script, "filename", script)) or "thebe" in str(getattr(script, "attributes", ""))

    for kind in ("script_files", "css_files"):
        context[kind] = [s for s in context.get(kind, []) if not is_thebe(s)]
    for button in context.get("header_buttons", []):
        if button.get("label") == "launch-buttons":
            context["header_buttons"].remove(button)
            break


def setup(app):
    app.connect("html-page-context", drop_thebe, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
