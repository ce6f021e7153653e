"""Theorems on feature learning: what the mathematics predicts, what an experiment
measures, and the claim between.

A chapter starts with ``import fl`` and ``fl.setup()``; `check` evaluates a claim and raises
unless it stands.
"""

import importlib

from fl.freshness import refuse_stale as refuse_stale  # modules are noted as they load

__all__ = [
    "cached",
    "check",
    "glue",
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
    if name == "sweep":
        return importlib.import_module("fl.sweep")  # a module that can be called
    if name in __all__:
        module = "fl.store" if name == "cached" else "fl.book"
        return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module 'fl' has no attribute {name!r}")
