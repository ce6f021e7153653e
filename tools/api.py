"""Write ``book/api.md``, the page that lists every module of `fl`: ``python
tools/api.py``. The pages of the modules are made when the book is built.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEAD = """# Reference of `fl`

Every function says what it computes, with the formula, the shape of each argument and
what it refuses. A page for each module is made from the docstrings, with links to the
source.
"""
GROUPS = [
    (
        "Ground floor",
        "Input laws, teachers, sizes and tools that belong to no theorem.",
        [
            *("tasks", "links", "updates", "numerics", "cells", "datasets"),
            *("validate", "scales", "moments", "moments_folds", "arithmetic"),
        ],
    ),
    (
        "Theory",
        "What the mathematics predicts: deterministic, without a random number.",
        ["theory/"],
    ),
    (
        "Simulation",
        "One unit of an experiment: seeded, batched over seeds and settings.",
        ["simulate/"],
    ),
    (
        "Instruments",
        "What several experiments use and is no experiment.",
        [
            "instruments/",
            "optimizers",
            "optimizers_drive",
            "preconditioners",
            "preconditioners_kfac",
        ],
    ),
    (
        "The meter",
        "The exponent of any torch optimizer, live or on the bench, and one to order.",
        [
            "meter",
            *(f"meter_{part}" for part in ("reading", "layers", "bench", "script")),
        ]
        + ["power_preconditioner"],
    ),
    (
        "Diagnose a table",
        "What a table says about the exponent of ridge regression, and whether it can.",
        [f"diagnose_{part}" for part in ("run", "report", "page", "pass", "read")],
    ),
    (
        "Studies",
        "The sizes at each scale, the sweeps at these sizes, and the stored runs.",
        ["studies/"],
    ),
    (
        "Claims",
        "Study against theory.",
        ["claims/", "evidence", "judging", "audit", "registry", "statements"],
    ),
    (
        "Sweeps and stored runs",
        "How heavy results are computed once, and kept.",
        [
            "sweep",
            "sweep_file",
            "sweep_run",
            "cluster",
            "store",
            "entries",
            "stored",
            "keys",
            "closure",
            "digests",
            "freshness",
            "reads",
        ],
    ),
    (
        "Book and command line",
        "What a chapter and a terminal call.",
        ["book", "plotting", "plotting_points", "cli"],
    ),
]


def modules(entries: list[str]) -> list[str]:
    """Return the dotted names of the modules that the entries name, a folder's engine
    first.
    """
    found = []
    for entry in entries:
        paths = (
            (ROOT / "fl" / entry).glob("*.py")
            if entry.endswith("/")
            else [ROOT / "fl" / f"{entry}.py"]
        )
        here = [p for p in paths if p.is_file() and p.stem != "__init__"]
        found += sorted(here, key=lambda p: p.stem)
    return [".".join(p.relative_to(ROOT).with_suffix("").parts) for p in found]


def page() -> str:
    """Return the text of the page.

    Raises:
        ValueError: if a module of the package belongs to no group.
    """
    text, listed = HEAD, set()
    for title, line, entries in GROUPS:
        names = modules(entries)
        listed.update(names)
        text += f"\n## {title}\n\n{line}\n\n```{{eval-rst}}\n.. modules::\n\n"
        text += "".join(f"   {name}\n" for name in names) + "```\n"
    everything = {
        p for p in (ROOT / "fl").rglob("*.py") if p.stem not in {"__init__", "__main__"}
    }
    for path in sorted(everything):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if name not in listed:
            raise ValueError(
                f"{name} belongs to no group: add it to GROUPS in tools/api.py"
            )
    return text + "\n```{forward-addresses}\n```\n"


if __name__ == "__main__":
    (ROOT / "book" / "api.md").write_text(page())
