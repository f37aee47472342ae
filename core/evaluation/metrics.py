"""The field's figures, all from one confusion matrix of integers: mIoU, IoU and accuracy of each class, aAcc and mAcc.

And of a single picture, the mean IoU over its objects, which is what the embedded scenes are measured by.
"""

from dataclasses import dataclass

import numpy as np

from core.errors import InputError

IGNORED = 255
"""The label of pixels that no figure counts, in every data set."""


@dataclass(frozen=True, eq=False)
class Figures:
    """What a confusion matrix comes to; shares of 0..1.

    iou, accuracy: (C,) float64 of each class, NaN where it is undefined. miou, macc: their means over the classes for
    which they are defined. aacc: the share of the counted pixels that are right. NaN where nothing is counted.
    """

    iou: np.ndarray
    accuracy: np.ndarray
    miou: float
    aacc: float
    macc: float


def confusion_matrix(truth: np.ndarray, labels: np.ndarray, n_classes: int) -> np.ndarray:
    """(C, C) int64: in row t, column p the number of pixels of class t that were labelled p.

    truth, labels: (H, W) integers. Pixels whose truth is `IGNORED` are left out, whatever their label.
    Raises InputError for maps of different shapes, a truth outside 0..C-1 that is not ignored, or a label outside 0..C-1.
    """
    if truth.shape != labels.shape:
        raise InputError(f"the truth is {_size(truth)} pixels and the labels are {_size(labels)}: they must be of one size")
    if labels.size and not 0 <= labels.min() <= labels.max() < n_classes:
        raise InputError(f"labels must lie in 0..{n_classes - 1}, not in {labels.min()}..{labels.max()}")
    counted = truth != IGNORED
    truth, labels = truth[counted].astype(np.int64), labels[counted].astype(np.int64)
    if truth.size and not 0 <= truth.min() <= truth.max() < n_classes:
        raise InputError(f"the truth must lie in 0..{n_classes - 1} or be {IGNORED}, not in {truth.min()}..{truth.max()}")
    return np.bincount(truth * n_classes + labels, minlength=n_classes**2).reshape(n_classes, n_classes)


def figures(matrix: np.ndarray) -> Figures:
    r"""The figures of a confusion matrix $M$ (C, C), summed over all pictures before anything is divided.

    $\mathrm{IoU}_c = M_{cc} / (\sum_p M_{cp} + \sum_t M_{tc} - M_{cc})$ and $\mathrm{Acc}_c = M_{cc} / \sum_p M_{cp}$, as
    mmsegmentation's IoUMetric has them: a class that neither truth nor labels show has no IoU and one that the truth does
    not show has no Acc, and the means leave them out. A class that only the labels show has an IoU of 0, which counts.
    """
    right, shown, labelled = np.diagonal(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    iou = _ratio(right, shown + labelled - right)
    accuracy = _ratio(right, shown)
    return Figures(iou, accuracy, _mean(iou), float(_ratio(right.sum(), matrix.sum())), _mean(accuracy))


def class_iou(labels: np.ndarray, truth: np.ndarray, index: int) -> float:
    r"""$|L \cap T| / |L \cup T|$ of one class, 0..1; 1 where neither shows it. labels, truth: (H, W) class indices."""
    union = ((labels == index) | (truth == index)).sum()
    return float(((labels == index) & (truth == index)).sum() / union) if union else 1.0


def object_iou(labels: np.ndarray, truth: np.ndarray, n_objects: int) -> float:
    """Mean of `class_iou` over the classes 0..n_objects-1 that the truth shows; labels, truth: (H, W) class indices."""
    present = [index for index in range(n_objects) if (truth == index).any()]
    return float(np.mean([class_iou(labels, truth, index) for index in present]))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def _mean(values: np.ndarray) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")


def _size(array: np.ndarray) -> str:
    return " x ".join(map(str, array.shape[::-1]))
