"""Labels: values on disk as class indices, and the look at several of them that says whether they are the data set's."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from core.errors import InputError
from core.evaluation.data.datasets import DataSet, Sample
from core.evaluation.data.values import WrongLabelsError, read_label
from core.evaluation.data.whose import MOST_NAMED, Look, doubts, fitting, look
from core.evaluation.metrics import IGNORED
from core.notes import one_line
from core.segment.pictures import read_picture

LOOKED_AT = 24
"""Labels that are looked at before a run, spread over the data set."""


def class_indices(values: np.ndarray, dataset: DataSet, path: Path) -> np.ndarray:
    """Values on disk (H, W) -> classes 0..C-1 (H, W) int64, `IGNORED` where the truth is unknown.

    With reduce_zero, 0 is ignored and 1..C become 0..C-1; 255 stays 255, as in mmsegmentation.
    Raises WrongLabelsError for values that the data set has not.
    """
    indices = values.astype(np.int64)
    if dataset.reduce_zero:
        indices = np.where((indices == 0) | (indices == IGNORED), IGNORED, indices - 1)
    strange = (indices != IGNORED) & ((indices < 0) | (indices >= dataset.n_classes))
    if strange.any():
        found = ", ".join(map(str, np.unique(values[strange])[:5]))
        first, last = int(dataset.reduce_zero), dataset.n_classes - 1 + dataset.reduce_zero
        says = f"{path} holds {found}, and labels of {dataset.name} are {first}..{last} or ignored: {dataset.advice}"
        raise WrongLabelsError(one_line(says))
    return indices


def load(sample: Sample, dataset: DataSet) -> tuple[np.ndarray, np.ndarray]:
    """The picture (H, W, 3) uint8 and its truth (H, W) int64.

    Raises InputError when either cannot be read, they differ in size, or the truth is not the data set's.
    """
    image = read_picture(sample.picture)
    truth = class_indices(read_label(sample.label), dataset, sample.label)
    if truth.shape != image.shape[:2]:
        (h, w), (rows, columns) = image.shape[:2], truth.shape
        says = f"{sample.label} is {columns} x {rows}, and its picture is {w} x {h}: they must be of one size"
        raise WrongLabelsError(one_line(says))
    return image, truth


def check_first(samples: Sequence[Sample], dataset: DataSet) -> list[str]:
    """What is looked at first, before a model is loaded: up to 24 labels spread over the data set; gives notes about them.

    What cannot be read is the run's to list, and so is a single label that is not the data set's.

    Raises WrongLabelsError, with what to do, when the first that can be read or several are not the data set's, and InputError
    when none of the pictures can be used.
    """
    right: list[Look] = []
    wrong: list[WrongLabelsError] = []
    unread: list[InputError] = []
    values: set[int] = set()
    first_is_wrong = False
    for sample in spread(samples):
        try:
            on_disk = read_label(sample.label)
            values.update(np.unique(on_disk).tolist())
            class_indices(on_disk, dataset, sample.label)
            if not right:
                load(sample, dataset)
        except WrongLabelsError as error:
            first_is_wrong = first_is_wrong or not right
            wrong.append(error)
        except InputError as error:
            unread.append(error)
        else:
            right.append(look(sample, on_disk))
    if first_is_wrong or len(wrong) > 1:
        raise WrongLabelsError(_what_is_wrong(wrong, right, values, dataset))
    if not right:
        raise InputError(f"{dataset.name}: none of the {len(unread)} pictures that were looked at can be used: {unread[-1]}")
    return [one_line(text) for text in (*map(str, wrong), *_notes(right, dataset), *doubts(dataset, right))]


def spread(samples: Sequence[Sample]) -> list[Sample]:
    """Up to 24 of the samples, the first and the last among them, at equal distances."""
    places = np.linspace(0, len(samples) - 1, min(len(samples), LOOKED_AT)).round().astype(int)
    return [samples[place] for place in places]


def _what_is_wrong(wrong: Sequence[WrongLabelsError], right: Sequence[Look], values: set[int], dataset: DataSet) -> str:
    says = str(wrong[0])
    if dataset.advice not in says:
        says += f"; {dataset.advice}"
    n_labels = len(wrong) + len(right)
    kinds = fitting(dataset, values) if values and (len(wrong) > 1 or not right) else []
    if kinds:
        says += f" ({len(wrong)} of the {n_labels} that were looked at; they fit {' or '.join(kinds[:MOST_NAMED])})"
    return says


def _notes(looks: Sequence[Look], dataset: DataSet) -> Iterator[str]:
    strange = [one.sample.label for one in looks if IGNORED in one.values and not dataset.ignores]
    if strange:
        holds = "holds" if len(strange) == 1 else f"and {len(strange) - 1} more of {len(looks)} hold"
        doubt = "if its zeros were reduced already, every class is off by one" if dataset.reduce_zero else dataset.advice
        yield f"{strange[0]} {holds} {IGNORED}, which {dataset.name} has not on disk (ignored; {doubt})"
    nothing = {0, IGNORED} if dataset.reduce_zero else {IGNORED}
    empty = [one.sample.label for one in looks if one.values <= nothing]
    if empty:
        more = f", and of {len(empty) - 1} more of {len(looks)}," if len(empty) > 1 else ""
        yield f"every pixel of {empty[0]}{more} is ignored"
