"""Theorems on feature learning: what the mathematics predicts, what an experiment
measures, and the claim between.

A chapter starts with ``import fl`` and ``fl.setup()``; `check` evaluates a claim and
raises unless it stands.
"""

import importlib

from fl.sweep import cached, sweep

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
]


def __getattr__(name: str):
    # fl.book brings in every claim, torch and the figures: seconds that a worker
    # process of a sweep does not spend
    if name in __all__:
        return getattr(importlib.import_module("fl.book"), name)
    raise AttributeError(f"module 'fl' has no attribute {name!r}")
