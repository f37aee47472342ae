"""Evaluation on the field's data sets and on the embedded scenes: what the command `evaluate` runs.

data: the layouts on disk and the labels, read without any mm* package. published: the authors' settings, class names and
figures. metrics: the field's figures, and the scenes'. compositions: which methods are measured. journal, run: long runs that
survive being killed. one_method: a method on a data set, from its preset to its files. report: what is printed and stored.
on_scenes, search: the embedded benchmark, and the best composition on it.
"""
