"""From patch embeddings and phrases to class probabilities and labels."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from core.arrays import Array


def patch_logits(ops: Any, tokens: Array, text: Array, grid: tuple[int, int]) -> Array:
    r"""Cosine of every patch with every phrase: tokens (B, N, E), text (Q, E) of unit length -> (B, Q, h, w)."""
    tokens = ops.l2_normalise(tokens)
    cosines = ops.inner_products(ops.asarray(text, like=tokens)[None], tokens)
    return ops.reshape(cosines, (*cosines.shape[:2], *grid))


def class_probabilities(ops: Any, logits: Array, phrase_class: Sequence[int], logit_scale: float) -> Array:
    r"""softmax(logit_scale * logits) over the phrases, then the largest of each class's phrases.

    logits (Q, H, W), phrase_class: the class of each phrase -> (C, H, W). Sums to 1 where no class has synonyms.
    """
    probabilities = ops.softmax(logits * ops.asarray(logit_scale, like=logits), axis=0)
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
        unsure = ops.max(probabilities, axis=0) < ops.asarray(prob_thd, like=probabilities)
        labels = ops.where(unsure, labels * 0, labels)
    return labels
