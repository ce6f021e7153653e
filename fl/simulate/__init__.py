"""Experiments: seeded, batched over seeds and settings, nothing from `fl.theory`."""
