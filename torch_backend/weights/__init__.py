"""Weights: `read` files of every kind without running anything in them, `download` those not here, tell them by `digest`."""
