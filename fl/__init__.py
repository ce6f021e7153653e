"""Theorems on feature learning: what the mathematics predicts, what an experiment
measures, and the claim between.

A chapter starts with ``import fl`` and ``fl.setup()``; `check` evaluates a claim and raises
unless it stands.
"""

import importlib

from fl import arithmetic as arithmetic  # before torch computes anything
from fl.freshness import refuse_stale as refuse_stale  # modules are noted as they load

__all__ = [
    "PowerPreconditioner",
    "cached",
    "check",
    "diagnose",
    "glue",
    "meter",
    "scale",
    "scoreboard",
    "setup",
    "show",
    "sweep",
    "table",
    "verdicts",
]


def __getattr__(name: str):
    # a part is loaded when it is first asked for: a process pays for what it uses
    if name in ("sweep", "meter"):  # modules; the first can be called
        return importlib.import_module(f"fl.{name}")
    if name in __all__:
        others = {"cached": "store", "PowerPreconditioner": "power_preconditioner"}
        others |= {"diagnose": "diagnose_run"}
        module = f"fl.{others.get(name, 'book')}"
        return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module 'fl' has no attribute {name!r}")
