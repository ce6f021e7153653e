"""Theorems on feature learning: what the mathematics predicts, what an experiment measures, and the claim between.

A chapter starts with ``import fl`` and ``fl.setup()``; `check` evaluates a claim and raises unless it stands.
"""

from fl.book import check, glue, scale, scoreboard, setup, show, table
from fl.sweep import cached, sweep

__all__ = ["cached", "check", "glue", "scale", "scoreboard", "setup", "show", "sweep", "table"]
