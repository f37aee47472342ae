"""Resizing of fields sampled on a grid: bilinear with both corner conventions, bicubic by scale factor."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from core.errors import InputError
from core.primitives.arrays import Array
from core.primitives.ops import asarray

__all__ = ["resize_bicubic", "resize_bilinear"]

BICUBIC_A = -0.75  # Keys' free parameter, as PyTorch and OpenCV choose it


def resize_bilinear(x: Array, size: tuple[int, int], align_corners: bool = False) -> Array:
    r"""(..., h, w) -> (..., H, W), linear along each axis, without antialiasing; outside the field its edge is repeated.

    Output place i reads the input at $(i + \frac12) \frac{h}{H} - \frac12$, or, with `align_corners`, at
    $i \frac{h-1}{H-1}$.
    """
    x = asarray(x)
    check_resize(x.shape, size)
    for axis, n_out in zip((-2, -1), size, strict=True):
        low, high, weight = bilinear_taps(x.shape[axis], n_out, align_corners)
        weight = weight.astype(x.dtype).reshape((-1, 1) if axis == -2 else (-1,))
        x = np.take(x, low, axis) * (1 - weight) + np.take(x, high, axis) * weight
    return x


def resize_bicubic(ops: Any, x: Array, size: tuple[int, int], scale: tuple[float, float] | None = None) -> Array:
    r"""(..., h, w) -> (..., H, W) by cubic convolution (a = -0.75) along each axis, without antialiasing.

    Output place i reads the input at $(i + \frac12) / s - \frac12$ from four samples; s is `scale` (rows, columns), H / h
    and W / w unless given. CLIP's position embeddings are resized with a scale other than the ratio of the sizes.
    Keys, "Cubic convolution interpolation for digital image processing", 1981.
    """
    x = ops.asarray(x)
    check_resize(x.shape, size)
    scale = [n_out / n_in for n_in, n_out in zip(x.shape[-2:], size, strict=True)] if scale is None else scale
    rows, columns = (ops.asarray(bicubic_matrix(*side), like=x) for side in zip(x.shape[-2:], size, scale, strict=True))
    return ops.inner_products(ops.matmul(rows, x), columns)


def bilinear_taps(n_in: int, n_out: int, align_corners: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each of `n_out` places: the index of the sample below, of the one above, and the weight of the one above."""
    place = np.arange(n_out, dtype=np.float64)
    if align_corners:
        at = place * ((n_in - 1) / (n_out - 1) if n_out > 1 else 0.0)
    else:
        at = np.maximum((place + 0.5) * (n_in / n_out) - 0.5, 0.0)
    low = np.minimum(np.floor(at).astype(np.int64), n_in - 1)
    return low, np.minimum(low + 1, n_in - 1), at - low


def bilinear_matrix(n_in: int, n_out: int) -> np.ndarray:
    """(n_out, n_in): what `resize_bilinear` is along one axis; its rows sum to 1."""
    low, high, weight = bilinear_taps(n_in, n_out, align_corners=False)
    places, matrix = np.arange(n_out), np.zeros((n_out, n_in))
    np.add.at(matrix, (places, low), 1 - weight)
    np.add.at(matrix, (places, high), weight)
    return matrix


def bicubic_matrix(n_in: int, n_out: int, scale: float) -> np.ndarray:
    """(n_out, n_in) matrix of cubic convolution along one axis; its rows sum to 1."""
    at = (np.arange(n_out) + 0.5) / scale - 0.5
    low = np.floor(at).astype(np.int64)
    matrix = np.zeros((n_out, n_in))
    for tap in (-1, 0, 1, 2):
        column = np.clip(low + tap, 0, n_in - 1)
        np.add.at(matrix, (np.arange(n_out), column), _keys_kernel(np.abs(at - (low + tap))))
    return matrix


def _keys_kernel(t: np.ndarray) -> np.ndarray:
    a = BICUBIC_A
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
    return np.where(t <= 1, near, far)


def check_resize(shape: Sequence[int], size: tuple[int, int]) -> None:
    """Raises InputError when a side is empty."""
    if len(shape) < 2 or math.prod(shape[-2:]) == 0 or min(size) < 1:
        raise InputError(f"cannot resize a field of shape {tuple(shape)} to {tuple(size)}: every side must be at least 1")
