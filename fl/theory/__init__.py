"""Predictions: numpy and scipy only, deterministic, no random number, nothing from
`fl.simulate`.
"""
