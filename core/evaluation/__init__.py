"""Evaluation on the field's data sets and on the embedded scenes: what `scripts/evaluate.py` runs.

datasets, labels, derive: the layouts on disk, read without any mm* package. names, presets: the authors' class names and
settings. metrics: the field's figures. journal, run: long runs that survive being killed. report: what is printed and
stored. scenes, search: the embedded benchmark, and the best composition on it.
"""
