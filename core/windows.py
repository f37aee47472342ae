"""Sliding windows: where they lie, and how their logits become one field."""

from collections.abc import Sequence

import numpy as np

from core.errors import InputError

Box = tuple[int, int, int, int]  # top, left, bottom, right in pixels, ends excluded


def window_boxes(height: int, width: int, crop: int, stride: int) -> list[Box]:
    r"""Windows of `crop` pixels every `stride`, row by row; the last of a row or column is pulled back to fit.

    Along a side of n pixels there are $\lfloor \max(n - c + t - 1, 0) / t \rfloor + 1$ windows (c crop, t stride). A side
    shorter than `crop` has one window of its own length, so all windows of a picture are of one size.

    Raises InputError unless 1 <= stride <= crop: a longer stride would leave pixels that no window sees.
    """
    if crop < 1 or not 1 <= stride <= crop:
        raise InputError(f"windows need 1 <= stride <= window, not a window of {crop} and a stride of {stride}")
    tops, lefts = _starts(height, crop, stride), _starts(width, crop, stride)
    return [(top, left, min(top + crop, height), min(left + crop, width)) for top in tops for left in lefts]


def _starts(side: int, crop: int, stride: int) -> list[int]:
    count = max(side - crop + stride - 1, 0) // stride + 1
    return [max(min(i * stride, side - crop), 0) for i in range(count)]


def cut_windows(image: np.ndarray, boxes: Sequence[Box]) -> np.ndarray:
    """(H, W, 3) -> (n, c, c', 3), one window a row."""
    return np.stack([image[top:bottom, left:right] for top, left, bottom, right in boxes])


class WindowMean:
    """The mean, at every pixel, of the logits of the windows that cover it.

    Fed window by window, so that all windows' logits never exist at once.
    """

    def __init__(self, n_channels: int, height: int, width: int) -> None:
        self._total = np.zeros((n_channels, height, width), dtype=np.float32)
        self._count = np.zeros((height, width), dtype=np.float32)

    def add(self, box: Box, logits: np.ndarray) -> None:
        """Adds logits (n_channels, bottom - top, right - left) of one window."""
        top, left, bottom, right = box
        self._total[:, top:bottom, left:right] += logits
        self._count[top:bottom, left:right] += 1

    def mean(self) -> np.ndarray:
        """(n_channels, height, width)."""
        return self._total / self._count
