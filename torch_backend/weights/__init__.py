"""Weights: `kinds` of files, `read` without running anything in them, `names` and `formats` found, `fit` to a model; digests, downloads."""
