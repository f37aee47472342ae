"""How a picture is shown to a tower: its size, the windows over it, the pixels; all but the pixels by arithmetic alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.errors import InputError
from core.primitives.resize import resize_bilinear

LONG_SIDE = 2048  # pixels; beyond it the short side gives way, as in mmsegmentation's Resize((2048, S))

Box = tuple[int, int, int, int]  # top, left, bottom, right in pixels, ends excluded


@dataclass(frozen=True)
class View:
    """A picture resized to `size` (rows, columns), seen through `boxes`: windows of one size, or one box of it all."""

    size: tuple[int, int]
    boxes: tuple[Box, ...]

    @property
    def window(self) -> tuple[int, int]:
        """(rows, columns) of each window."""
        top, left, bottom, right = self.boxes[0]
        return bottom - top, right - left

    @property
    def whole(self) -> "View":
        """The same picture in one piece."""
        return View(self.size, ((0, 0, *self.size),))


def view_of(
    height: int, width: int, short_side: int, patch_size: int, window: int = 0, stride: int = 0, whole_patches: bool = True
) -> View:
    """The view of a picture of this size in pixels; window 0 sees it whole. See `model_size` and `window_boxes`."""
    size = model_size(height, width, short_side, patch_size, whole_patches)
    return View(size, tuple(window_boxes(*size, window, stride))) if window else View(size, ((0, 0, *size),))


def model_size(height: int, width: int, short_side: int, patch_size: int, whole_patches: bool = True) -> tuple[int, int]:
    """The size a picture is given to the tower: its short side becomes `short_side` unless the long one would pass 2048.

    whole_patches: both sides are rounded to whole patches, so that the patch grid covers the picture exactly. Without, they
    are mmsegmentation's, rounded to pixels, as the published figures were taken with.
    """
    factor = min(short_side / min(height, width), LONG_SIDE / max(height, width))
    if not whole_patches:
        rows, columns = (max(int(side * factor + 0.5), patch_size) for side in (height, width))
        return rows, columns
    rows, columns = (max(round(side * factor / patch_size), 1) for side in (height, width))
    return rows * patch_size, columns * patch_size


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


def resize_picture(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8 -> (h, w, 3) uint8: bilinear without antialiasing, rounded, as OpenCV does for the published ones."""
    if tuple(size) == image.shape[:2]:
        return image
    resized = np.rint(resize_bilinear(image.transpose(2, 0, 1).astype(np.float32), size))
    return np.ascontiguousarray(resized.astype(np.uint8).transpose(1, 2, 0))


def cut_windows(image: np.ndarray, boxes: Sequence[Box]) -> np.ndarray:
    """(H, W, 3) -> (n, c, c', 3), one window a row."""
    return np.stack([image[top:bottom, left:right] for top, left, bottom, right in boxes])


def normalise(images: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """(B, h, w, 3) uint8 RGB -> (B, 3, h, w) float32: (x - mean) / std, with mean and std of values in 0..1."""
    mean, std = (255 * np.asarray(values, dtype=np.float32)[:, None, None] for values in (mean, std))
    return (np.ascontiguousarray(images.transpose(0, 3, 1, 2)).astype(np.float32) - mean) / std


def to_pixels(image: np.ndarray, size: tuple[int, int], mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """(H, W, 3) uint8 RGB -> (1, 3, h, w) float32: `resize_picture`, then `normalise`."""
    return normalise(resize_picture(image, size)[None], mean, std)
