"""Sliding windows and the size of pictures."""

import naive
import numpy as np
import pytest
from compare import assert_close
from hypothesis import given, settings
from hypothesis import strategies as st

from core import InputError
from core.clip.view import LONG_SIDE, View, cut_windows, model_size, resize_picture, to_pixels, view_of, window_boxes
from core.segment.prediction import onto_view


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(1, 200), st.integers(1, 120), st.integers(3, 120))
def test_windows_cover_every_pixel_and_share_one_size(height, width, crop, stride):
    stride = min(stride, crop)
    boxes = window_boxes(height, width, crop, stride)
    seen = np.zeros((height, width), dtype=int)
    for top, left, bottom, right in boxes:
        assert 0 <= top < bottom <= height
        assert 0 <= left < right <= width
        seen[top:bottom, left:right] += 1
    assert seen.min() >= 1
    assert {(b - t, r - le) for t, le, b, r in boxes} == {(min(crop, height), min(crop, width))}
    assert len(set(boxes)) == len(boxes)


def test_the_published_example():
    """336 x 448 in windows of 224 every 112: 2 rows of 3, the last pulled back to fit."""
    tops_lefts = [box[:2] for box in window_boxes(336, 448, 224, 112)]
    assert tops_lefts == [(0, 0), (0, 112), (0, 224), (112, 0), (112, 112), (112, 224)]
    assert [box[:2] for box in window_boxes(224, 300, 224, 112)] == [(0, 0), (0, 76)]


def test_a_stride_that_would_skip_pixels_is_told():
    for crop, stride in ((10, 11), (10, 0), (0, 1)):
        with pytest.raises(InputError, match="stride"):
            window_boxes(30, 30, crop, stride)


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_the_mean_of_windows_of_one_field_is_the_field(ops, rng, batch_size):
    field = rng.standard_normal((20, 31, 3)).astype("float32")
    view = view_of(20, 31, 20, 1, 8, 5)
    windows = cut_windows(field, view.boxes).transpose(0, 3, 1, 2)
    batches = (ops.asarray(windows[i : i + batch_size]) for i in range(0, len(windows), batch_size))
    assert_close(onto_view(ops, batches, view)[0], field.transpose(2, 0, 1))


@pytest.mark.parametrize(("width", "n"), [(8, 1), (12, 2)])
def test_one_window_and_two(ops, rng, width, n):
    """Two windows of logits at half the size, by hand: where both see a pixel it is their mean."""
    view, logits = view_of(8, width, 8, 1, 8, 4), rng.standard_normal((n, 3, 4, 4))
    assert len(view.boxes) == n
    whole = ops.to_numpy(onto_view(ops, [ops.asarray(part[None]) for part in logits], view))
    expected, seen = np.zeros((3, 8, width)), np.zeros(width)
    for part, left in zip(logits, (0, 4), strict=False):
        expected[:, :, left : left + 8] += naive.resize_bilinear(part, (8, 8), False)
        seen[left : left + 8] += 1
    assert_close(whole[0], expected / seen, "float64" if n == 1 else "float32")  # of one nothing is summed


def test_a_window_s_size_is_that_of_its_box():
    assert View((9, 12), ((2, 3, 7, 9),)).window == (5, 6)


def test_a_picture_of_the_size_asked_for_is_itself(rng):
    image = rng.integers(0, 255, (5, 7, 3), dtype=np.uint8)
    assert resize_picture(image, (5, 7)) is image
    assert resize_picture(image, (7, 5)).shape == (7, 5, 3)


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 700), st.sampled_from([8, 14, 16, 32]))
def test_sizes_are_whole_patches_within_bounds(height, width, short_side, patch):
    h, w = model_size(height, width, short_side, patch)
    assert h % patch == w % patch == 0
    assert min(h, w) >= patch
    assert max(h, w) <= LONG_SIDE + patch
    assert min(h, w) <= max(short_side + patch / 2, patch)


def test_known_sizes():
    assert model_size(375, 500, 336, 16) == (336, 448)
    assert model_size(500, 375, 336, 16) == (448, 336)
    assert model_size(333, 500, 336, 16) == (336, 512)  # 31.53 patches are 32
    assert model_size(340, 500, 336, 16) == (336, 496)  # 30.88 are 31
    assert model_size(1, 1, 336, 16) == (336, 336)
    assert model_size(10, 1000, 336, 16) == (16, 2048)


def test_patches_are_whole_unless_told_otherwise():
    assert view_of(333, 500, 336, 16).size == (336, 512)
    assert view_of(333, 500, 336, 16, whole_patches=False).size == (336, 505)


def test_published_sizes_round_to_pixels_as_mmsegmentation_does():
    assert model_size(375, 500, 336, 16, whole_patches=False) == (336, 448)
    assert model_size(333, 500, 336, 16, whole_patches=False) == (336, 505)  # 504.50 rounds up
    assert model_size(1024, 2048, 560, 16, whole_patches=False) == (560, 1120)
    assert model_size(100, 2000, 336, 16, whole_patches=False) == (102, 2048)


def test_pixels_are_normalised_rgb():
    image = np.zeros((2, 3, 3), dtype=np.uint8)
    image[..., 0] = 255
    pixels = to_pixels(image, (2, 3), (0.5, 0.5, 0.5), (0.5, 0.25, 0.5))
    assert pixels.shape == (1, 3, 2, 3) and pixels.flags.c_contiguous
    assert_close(pixels[0, :, 0, 0], np.array([1, -2, -1], dtype="float32"))
