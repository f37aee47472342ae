"""Weights: `read` files of every kind without running anything in them, `download` those that are not here."""
