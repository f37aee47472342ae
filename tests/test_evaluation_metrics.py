"""The figures against scikit-learn's, and their laws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from core import InputError
from core.evaluation.metrics import IGNORED, class_iou, confusion_matrix, figures, object_iou


def maps(rng, n_classes, size=(23, 31), used=None):
    """Truth with ignored pixels, and labels that are right about half of the time; only the `used` classes occur."""
    used = np.arange(n_classes) if used is None else np.array(used)
    truth = rng.choice([*used, IGNORED], size)
    labels = np.where((rng.random(size) < 0.5) & (truth != IGNORED), truth, rng.choice(used, size))
    return truth, labels


@pytest.mark.parametrize(("n_classes", "used"), [(2, None), (21, None), (171, None), (19, (0, 3, 18)), (5, (4,))])
def test_equal_to_scikit_learn(rng, n_classes, used):
    truth, labels = maps(rng, n_classes, used=used)
    counted = truth != IGNORED
    t, p = truth[counted], labels[counted]
    every = np.arange(n_classes)
    matrix = confusion_matrix(truth, labels, n_classes)
    np.testing.assert_array_equal(matrix, sk.confusion_matrix(t, p, labels=every))
    result = figures(matrix)
    defined = np.isin(every, np.union1d(t, p))
    shown = np.isin(every, t)
    np.testing.assert_allclose(result.iou[defined], sk.jaccard_score(t, p, labels=every[defined], average=None))
    np.testing.assert_allclose(result.accuracy[shown], sk.recall_score(t, p, labels=every[shown], average=None))
    assert np.isnan(result.iou[~defined]).all() and np.isnan(result.accuracy[~shown]).all()
    assert result.miou == pytest.approx(sk.jaccard_score(t, p, labels=every[defined], average="macro"))
    assert result.macc == pytest.approx(sk.recall_score(t, p, labels=every[shown], average="macro"))
    assert result.aacc == pytest.approx(sk.accuracy_score(t, p))


def test_by_hand():
    truth = np.array([[0, 0, 1, IGNORED], [0, 2, 1, IGNORED]])
    labels = np.array([[0, 1, 1, 3], [0, 2, 2, 0]])
    result = figures(confusion_matrix(truth, labels, 5))
    np.testing.assert_allclose(result.iou, [2 / 3, 1 / 3, 1 / 2, np.nan, np.nan])
    np.testing.assert_allclose(result.accuracy, [2 / 3, 1 / 2, 1, np.nan, np.nan])
    assert (result.miou, result.macc, result.aacc) == pytest.approx((1 / 2, 13 / 18, 4 / 6))


def test_a_class_that_only_the_labels_show_counts_as_0():
    result = figures(confusion_matrix(np.zeros((1, 4), int), np.array([[0, 0, 0, 1]]), 3))
    np.testing.assert_allclose(result.iou, [3 / 4, 0, np.nan])
    np.testing.assert_allclose(result.accuracy, [3 / 4, np.nan, np.nan])
    assert (result.miou, result.macc, result.aacc) == pytest.approx((3 / 8, 3 / 4, 3 / 4))


def test_nothing_counted_has_no_figures():
    result = figures(confusion_matrix(np.full((2, 2), IGNORED), np.zeros((2, 2), int), 3))
    assert np.isnan([result.miou, result.macc, result.aacc]).all() and np.isnan(result.iou).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 40), st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_matrices_of_pictures_add_up_to_the_matrix_of_all(n_classes, seed, n_pictures):
    pictures = [maps(np.random.default_rng([seed, i]), n_classes, (7, 5 + i)) for i in range(n_pictures)]
    total = sum(confusion_matrix(truth, labels, n_classes) for truth, labels in pictures)
    joined = [np.concatenate([picture[side].ravel() for picture in pictures])[None] for side in (0, 1)]
    np.testing.assert_array_equal(total, confusion_matrix(*joined, n_classes))
    assert total.sum() == sum((truth != IGNORED).sum() for truth, _ in pictures)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 12), st.integers(0, 2**32 - 1))
def test_renaming_the_classes_renames_the_figures(n_classes, seed):
    rng = np.random.default_rng(seed)
    truth, labels = maps(rng, n_classes, (9, 8))
    order = np.append(rng.permutation(n_classes), np.zeros(IGNORED - n_classes, int))
    renamed = np.append(order, IGNORED)
    result = figures(confusion_matrix(truth, labels, n_classes))
    other = figures(confusion_matrix(renamed[truth], renamed[labels], n_classes))
    np.testing.assert_allclose(other.iou[order[:n_classes]], result.iou)
    np.testing.assert_allclose([other.miou, other.macc, other.aacc], [result.miou, result.macc, result.aacc])
    assert 0 <= np.nanmin(result.iou) <= result.miou <= np.nanmax(result.iou) <= 1


@pytest.mark.parametrize(
    ("truth", "labels", "says"),
    [
        ([[0, 1]], [[0, 3]], "labels must lie in 0..2"),
        ([[0, 255]], [[0, 255]], "labels must lie in 0..2"),
        ([[0, 1]], [[0, -1]], "labels must lie in 0..2"),
        ([[0, 3]], [[0, 1]], "the truth must lie in 0..2"),
        ([[-1, 0]], [[0, 1]], "the truth must lie in 0..2"),
        ([[0, 1, 2]], [[0, 1]], "of one size"),
    ],
)
def test_maps_that_cannot_be_counted_are_refused(truth, labels, says):
    with pytest.raises(InputError, match=says):
        confusion_matrix(np.array(truth), np.array(labels), 3)


def test_object_iou_by_hand():
    truth = np.array([[0, 0, 1, 1], [0, 0, 2, 2]])
    labels = np.array([[0, 0, 0, 1], [0, 3, 2, 2]])
    assert object_iou(truth, truth, 2) == 1
    assert object_iou(labels, truth, 2) == pytest.approx((3 / 5 + 1 / 2) / 2)
    assert object_iou(labels, truth, 1) == pytest.approx(3 / 5)


def test_an_object_that_is_not_in_the_picture_does_not_count():
    truth = np.array([[0, 0, 2, 2]])
    assert object_iou(np.array([[0, 1, 2, 2]]), truth, 2) == pytest.approx(1 / 2)


def test_iou_of_a_class_that_neither_shows_is_1_and_that_one_shows_is_0():
    truth, labels = np.array([[0, 0, 1]]), np.array([[0, 2, 1]])
    assert [class_iou(labels, truth, index) for index in range(4)] == [1 / 2, 1, 0, 1]


def test_a_long_class_name_does_not_widen_the_table():
    from core.evaluation.report import table

    entries = [{"name": name, "IoU": 0.5, "Acc": 0.5} for name in ("x" * 100_000, "cat")]
    lines = table({"classes": entries, "figures": {}, "pictures": {"asked": 1, "failed": {}}}).splitlines()
    assert max(map(len, lines)) < 120 and lines[2].split() == ["cat", "50.00", "50.00"]
