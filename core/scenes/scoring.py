"""How well labels agree with a scene's truth."""

import numpy as np


def class_iou(labels: np.ndarray, truth: np.ndarray, index: int) -> float:
    r"""$|L \cap T| / |L \cup T|$ of one class, 0..1; 1 where neither shows it. labels, truth: (H, W) class indices."""
    union = ((labels == index) | (truth == index)).sum()
    return float(((labels == index) & (truth == index)).sum() / union) if union else 1.0


def object_iou(labels: np.ndarray, truth: np.ndarray, n_objects: int) -> float:
    """Mean of `class_iou` over the classes 0..n_objects-1 that the truth shows."""
    present = [index for index in range(n_objects) if (truth == index).any()]
    return float(np.mean([class_iou(labels, truth, index) for index in present]))
