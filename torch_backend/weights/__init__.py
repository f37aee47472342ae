"""Weights: files of every kind `read` without running anything in them, and `fit` to a model under whatever names."""
