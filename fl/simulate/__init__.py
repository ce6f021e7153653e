"""Experiments: seeded, batched over seeds and settings, nothing from `fl.theory`."""

from fl.simulate import noise, ood_runs, optimizer_contest  # noqa: F401, registers the stored runs
