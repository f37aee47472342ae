"""Resizing in PyTorch; the contract is `core.primitives.resize`."""

import torch
from torch.nn import functional

from core.primitives.arrays import Array
from core.primitives.resize import check_resize
from torch_backend.primitives.ops import asarray

__all__ = ["resize_bilinear"]


def resize_bilinear(x: Array, size: tuple[int, int], align_corners: bool = False) -> torch.Tensor:
    x = asarray(x)
    check_resize(x.shape, size)
    planes = x.reshape(-1, 1, *x.shape[-2:])
    resized = functional.interpolate(planes, size=tuple(size), mode="bilinear", align_corners=align_corners)
    return resized.reshape(*x.shape[:-2], *size)
