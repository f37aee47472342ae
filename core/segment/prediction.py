"""From patch embeddings and phrases to logits on the picture, class probabilities and labels."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from core.clip.view import View
from core.primitives.arrays import Array


def patch_logits(ops: Any, embeddings: Array, text: Array) -> Array:
    r"""Cosine of every patch with every phrase: embeddings (B, h, w, E), text (Q, E) of unit length -> (B, Q, h, w)."""
    batch, rows, columns, width = embeddings.shape
    tokens = ops.l2_normalise(ops.reshape(embeddings, (batch, rows * columns, width)))
    cosines = ops.inner_products(ops.asarray(text, like=tokens)[None], tokens)
    return ops.reshape(cosines, (batch, cosines.shape[1], rows, columns))


def onto_view(ops: Any, batches: Iterable[Array], view: View) -> Array:
    """The logits of a view's windows, (b, Q, h, w) a batch, as one field (1, Q, H, W): resized to the windows, and averaged.

    Fed batch by batch, so that all windows' logits never exist at once.
    """
    resized = (ops.resize_bilinear(logits, view.window) for logits in batches)
    if len(view.boxes) == 1:
        return next(resized)
    boxes, count = iter(view.boxes), np.zeros(view.size, dtype=np.float32)
    total: Any = None
    for logits in resized:
        for window in ops.to_numpy(logits):
            top, left, bottom, right = next(boxes)
            total = np.zeros((len(window), *view.size), dtype=np.float32) if total is None else total
            total[:, top:bottom, left:right] += window
            count[top:bottom, left:right] += 1
    return ops.asarray((total / count)[None], like=logits)


def refine(ops: Any, logits: Array, image: np.ndarray, num_iter: int, dilations: Sequence[int]) -> Array:
    """Logits (1, Q, H, W) drawn along the edges of the picture (H, W, 3) uint8 by PAMR."""
    guide = np.ascontiguousarray(image.transpose(2, 0, 1)[None]) / np.float32(255)
    return ops.pamr(ops.asarray(guide, like=logits), logits, num_iter, dilations)


def class_probabilities(ops: Any, logits: Array, phrase_class: Sequence[int], logit_scale: float) -> Array:
    r"""softmax(logit_scale * logits) over the phrases, then the largest of each class's phrases.

    logits (Q, H, W), phrase_class: the class of each phrase -> (C, H, W). Sums to 1 where no class has synonyms.
    """
    probabilities = ops.softmax(logit_scale * logits, axis=0)
    n_classes = max(phrase_class) + 1
    if n_classes == len(phrase_class):
        return probabilities
    members = [[q for q, c in enumerate(phrase_class) if c == wanted] for wanted in range(n_classes)]
    return ops.stack([ops.max(ops.stack([probabilities[q] for q in own]), axis=0) for own in members])


def label_pixels(ops: Any, probabilities: Array, prob_thd: float = 0.0, area_thd: float = 0.0) -> Array:
    """Labels (H, W): the most probable class of each pixel, from probabilities (C, H, W).

    prob_thd: a pixel whose best probability is below it goes to class 0. area_thd: classes other than 0 that hold no
    more than this share of the pixels that are not labelled 0 are dropped, and their pixels go to the best class left. Both
    only make sense where class 0 is the background. Wang, Mei and Yuille, SCLIP, ECCV 2024, as their code computes it.
    """
    labels = ops.argmax(probabilities, axis=0)
    if area_thd > 0:
        areas = np.bincount(ops.to_numpy(labels).ravel(), minlength=probabilities.shape[0])
        kept = areas > area_thd * areas[1:].sum()
        kept[0] = True
        probabilities = probabilities * ops.asarray(kept[:, None, None], like=probabilities)
        labels = ops.argmax(probabilities, axis=0)
    if prob_thd > 0:
        unsure = ops.max(probabilities, axis=0) < prob_thd
        labels = ops.where(unsure, labels * 0, labels)
    return labels
