"""From a picture to a tower's pixels: how large, and how normalised."""

from collections.abc import Sequence

import numpy as np

from core.resize import resize_bilinear

LONG_SIDE = 2048  # pixels; beyond it the short side gives way, as in mmsegmentation's Resize((2048, S))


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


def resize_picture(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8 -> (h, w, 3) uint8: bilinear without antialiasing, rounded, as OpenCV does for the published ones."""
    if tuple(size) == image.shape[:2]:
        return image
    resized = np.rint(resize_bilinear(image.transpose(2, 0, 1).astype(np.float32), size))
    return np.ascontiguousarray(resized.astype(np.uint8).transpose(1, 2, 0))


def normalise(images: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """(B, h, w, 3) uint8 RGB -> (B, 3, h, w) float32: (x - mean) / std, with mean and std of values in 0..1."""
    mean, std = (255 * np.asarray(values, dtype=np.float32)[:, None, None] for values in (mean, std))
    return (np.ascontiguousarray(images.transpose(0, 3, 1, 2)).astype(np.float32) - mean) / std


def to_pixels(image: np.ndarray, size: tuple[int, int], mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """(H, W, 3) uint8 RGB -> (1, 3, h, w) float32: `resize_picture`, then `normalise`."""
    return normalise(resize_picture(image, size)[None], mean, std)
