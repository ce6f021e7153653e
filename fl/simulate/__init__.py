"""Experiments: seeded, batched over seeds and settings, nothing from `fl.theory`."""

from fl.simulate import noise, optimizer_contest, transfer  # noqa: F401, registers the stored runs
