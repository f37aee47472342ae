"""Resizing in PyTorch; the contract is `core.resize`."""

import torch
from torch.nn import functional

from core import resize
from core.arrays import Array
from torch_backend.ops import asarray


def resize_bilinear(x: Array, size: tuple[int, int], align_corners: bool = False) -> torch.Tensor:
    x = asarray(x)
    resize.check_resize(x.shape, size)
    planes = x.reshape(-1, 1, *x.shape[-2:])
    resized = functional.interpolate(planes, size=tuple(size), mode="bilinear", align_corners=align_corners)
    return resized.reshape(*x.shape[:-2], *size)


def resize_bicubic(x: Array, size: tuple[int, int], scale: tuple[float, float] | None = None) -> torch.Tensor:
    """By `core.resize.bicubic_matrix`: PyTorch derives the output size from the scale, which rounding can miss by one."""
    x = asarray(x)
    resize.check_resize(x.shape, size)
    rows, columns = (asarray(m, like=x) for m in resize.bicubic_matrices(x.shape[-2:], size, scale))
    return rows @ x @ columns.T
