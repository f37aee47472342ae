"""The class names that a data set is searched by: the authors' own files, or phrases that the embedded model knows."""

import os
from itertools import product
from pathlib import Path

from core.errors import InputError
from core.evaluation.data.datasets import DataSet
from core.scenes.vocabulary import BACKGROUNDS, PAIRS
from core.segment.query import parse_classes, read_classes_file

FOLDER = Path(__file__).with_name("class_names")
STAND_INS = "stand-in class names: these figures say that the pipeline runs, nothing else"
FILE_NAMES = {"cityscapes": "city_scapes", "coco_stuff164k": "coco_stuff"}
"""What a data set is called in the authors' own file names, where that is something else."""


def class_file(authors: str, dataset: str) -> Path:
    """The file of a data set's class names that is these authors'; whose a method takes, `presets` says."""
    return FOLDER / f"{authors}_{FILE_NAMES.get(dataset, dataset)}.txt"


def read_names(path: str | os.PathLike, dataset: DataSet) -> list[str]:
    """The names in a file, a class a line, synonyms after ", " or "; ".

    Raises InputError for a file that is no list of classes or has another number of them than the data set.
    """
    names = read_classes_file(path)
    parse_classes(names)
    if len(names) != dataset.n_classes:
        background = ", the background among them" if dataset.has_background else ""
        raise InputError(f"{path} names {len(names)} classes, and {dataset.name} has {dataset.n_classes}{background}")
    return names


def stand_in_names(dataset: DataSet) -> list[str]:
    """Phrases in the embedded model's words, one a class: backgrounds for the background, then shapes, then both together."""
    both = [f"{pair} on {ground}" for ground, pair in product(BACKGROUNDS, PAIRS)]
    if dataset.has_background:
        return [", ".join(BACKGROUNDS), *PAIRS, *both][: dataset.n_classes]
    return [*PAIRS, *BACKGROUNDS, *both][: dataset.n_classes]
