"""Experiments: seeded, batched over seeds and settings, nothing from `fl.theory`."""

from fl.simulate import noise  # noqa: F401, registers its stored run
