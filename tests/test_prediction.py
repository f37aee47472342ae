"""Logits, synonyms, thresholds, labels."""

import numpy as np
from compare import assert_close

from core.segment.prediction import class_probabilities, label_pixels, patch_logits


def test_logits_are_cosines(ops, dtype, rng):
    tokens, text = rng.standard_normal((2, 6, 5)).astype(dtype), rng.standard_normal((3, 5)).astype(dtype)
    text /= np.linalg.norm(text, axis=-1, keepdims=True)
    logits = ops.to_numpy(patch_logits(ops, ops.asarray(tokens.reshape(2, 2, 3, 5)), text))
    for b in range(2):
        for p in range(6):
            expected = text @ (tokens[b, p] / np.linalg.norm(tokens[b, p]))
            assert_close(logits[b, :, p // 3, p % 3], expected)


def test_a_class_is_as_probable_as_its_best_synonym(ops, dtype, rng):
    logits = rng.standard_normal((4, 2, 3)).astype(dtype)
    probabilities = ops.to_numpy(class_probabilities(ops, ops.asarray(logits), (0, 1, 1, 2), 10.0))
    e = np.exp(10 * logits - (10 * logits).max(0))
    p = e / e.sum(0)
    assert_close(probabilities, np.stack([p[0], np.maximum(p[1], p[2]), p[3]]).astype(dtype))


def test_scale_is_exact_in_double_precision(ops, rng):
    logits = rng.standard_normal((3, 2, 2))
    a = ops.to_numpy(class_probabilities(ops, ops.asarray(logits), (0, 1, 2), 0.1))
    e = np.exp(0.1 * logits)
    assert_close(a, e / e.sum(0))


def labels(ops, probabilities, **thresholds):
    return ops.to_numpy(label_pixels(ops, ops.asarray(np.asarray(probabilities, dtype="float32")), **thresholds)).tolist()


def test_uncertain_pixels_go_to_the_background(ops):
    p = [[[0.1, 0.3, 0.2]], [[0.6, 0.3, 0.41]], [[0.3, 0.4, 0.39]]]
    assert labels(ops, p) == [[1, 2, 1]]
    assert labels(ops, p, prob_thd=0.41) == [[1, 0, 1]]
    assert labels(ops, p, prob_thd=1.0) == [[0, 0, 0]]


def test_nobody_is_unsure_unless_asked(ops):
    """Among many classes the best of a pixel may hold less than a hundredth."""
    p = np.full((300, 1, 2), 1 / 400)
    p[7, 0, 0], p[9, 0, 1] = 0.004, 0.005
    assert labels(ops, p) == [[7, 9]]
    assert labels(ops, p, prob_thd=0.0045) == [[0, 9]]


def test_no_class_is_too_small_unless_asked(ops):
    """One pixel of 300 is its own class, where nothing is said of areas."""
    p = np.full((3, 1, 300), 0.2)
    p[1] = 0.5
    p[2, 0, 7] = 0.6
    assert labels(ops, p) == [[2 if i == 7 else 1 for i in range(300)]]
    assert labels(ops, p, area_thd=0.01) == [[1] * 300]


def test_small_classes_are_dropped_for_the_next_best(ops):
    p = [[[0.1, 0.1, 0.1, 0.4]], [[0.8, 0.7, 0.3, 0.35]], [[0.1, 0.2, 0.6, 0.25]]]
    assert labels(ops, p) == [[1, 1, 2, 0]]
    assert labels(ops, p, area_thd=0.3) == [[1, 1, 2, 0]]  # class 2 holds a third of what is not background
    assert labels(ops, p, area_thd=0.34) == [[1, 1, 1, 0]]
    assert labels(ops, p, area_thd=0.9) == [[0, 0, 0, 0]]
    assert labels(ops, p, area_thd=0.34, prob_thd=0.5) == [[1, 1, 0, 0]]


def test_a_class_that_holds_just_the_share_is_dropped(ops):
    """SCLIP's code keeps what is larger than the share: class 2 holds a quarter of what is not background."""
    p = [[[0.1, 0.1, 0.1, 0.1]], [[0.8, 0.7, 0.6, 0.3]], [[0.1, 0.2, 0.3, 0.6]]]
    assert labels(ops, p, area_thd=0.25) == [[1, 1, 1, 1]]
    assert labels(ops, p, area_thd=0.2499) == [[1, 1, 1, 2]]


def test_a_picture_of_background_alone_survives_the_area_threshold(ops):
    assert labels(ops, [[[0.9, 0.8]], [[0.1, 0.2]]], area_thd=0.1) == [[0, 0]]
