"""Label pictures: reading class indices, and checking on the first that they are the data set's."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from core.errors import InputError
from core.evaluation.data.datasets import DataSet, Sample
from core.evaluation.metrics import IGNORED
from core.segment.pictures import read_picture

INDEX_MODES = ("P", "L", "I;16", "I;16B", "I")  # Pillow's modes of one channel of whole numbers
FIRST = 10  # pictures that are tried for one that can be read


class WrongLabelsError(InputError):
    """A label picture that is readable, and not of the kind that the data set has."""


def read_label(path: Path) -> np.ndarray:
    """(H, W) integers as they lie on disk: the indices of a palette picture, or the values of its one channel, 8 or 16 bit.

    Raises InputError for a file that cannot be read, WrongLabelsError for one of colours in place of indices.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            mode, values = image.mode, np.array(image)
    except Exception as error:  # a damaged file makes Pillow's decoders raise many kinds, SyntaxError among them
        reason = getattr(error, "strerror", None) or "it is damaged, cut short, or not a picture"
        raise InputError(f"cannot read the label {path}: {reason}") from None
    if mode not in INDEX_MODES:
        raise WrongLabelsError(f"{path} is a picture of mode {mode}, not one of class indices (palette, or one grey channel)")
    return values


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
        raise WrongLabelsError(
            f"{path} holds {found}, and labels of {dataset.name} are {first}..{last} or ignored: {dataset.advice}"
        )
    return indices


def load(sample: Sample, dataset: DataSet) -> tuple[np.ndarray, np.ndarray]:
    """The picture (H, W, 3) uint8 and its truth (H, W) int64.

    Raises InputError when either cannot be read, they differ in size, or the truth is not the data set's.
    """
    image = read_picture(sample.picture)
    truth = class_indices(read_label(sample.label), dataset, sample.label)
    if truth.shape != image.shape[:2]:
        (h, w), (rows, columns) = image.shape[:2], truth.shape
        raise WrongLabelsError(f"{sample.label} is {columns} x {rows}, and its picture is {w} x {h}: they must be of one size")
    return image, truth


def check_first(samples: Sequence[Sample], dataset: DataSet) -> list[str]:
    """Notes about the first picture and label that can be read; what cannot be read is the run's to list.

    Raises WrongLabelsError, with what to do, when the label is not the data set's, and InputError when none of the first ten
    pictures can be read.
    """
    for sample in samples[:FIRST]:
        try:
            _, truth = load(sample, dataset)
        except WrongLabelsError as error:
            advice = "" if dataset.advice in str(error) else f"; {dataset.advice}"
            raise WrongLabelsError(f"{error}{advice}") from None
        except InputError as error:
            reason = error
        else:
            return list(_notes(sample, truth, read_label(sample.label), dataset))
    tried = min(len(samples), FIRST)
    raise InputError(f"{dataset.name}: none of the first {tried} pictures can be used: {reason}")


def _notes(sample: Sample, truth: np.ndarray, values: np.ndarray, dataset: DataSet) -> list[str]:
    notes = []
    if (values == IGNORED).any() and not dataset.ignores:
        doubt = "if its zeros were reduced already, every class is off by one" if dataset.reduce_zero else dataset.advice
        notes.append(f"{sample.label} holds {IGNORED}, which {dataset.name} has not on disk (ignored; {doubt})")
    if (truth == IGNORED).all():
        notes.append(f"every pixel of {sample.label} is ignored")
    return notes
