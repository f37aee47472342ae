"""Pixel-adaptive mask refinement in PyTorch; the contract is `core.primitives.pamr`.

Shifted fields are slices of one padded field, accumulated in place: nothing of size neighbours x classes is built.
"""

from collections.abc import Iterator, Sequence

import torch
from torch.nn import functional

from core.primitives.arrays import Array
from core.primitives.pamr import DIRECTIONS, EPS, SHARPNESS, check_pamr
from torch_backend.primitives.ops import asarray
from torch_backend.primitives.resize import resize_bilinear

__all__ = ["pamr", "pamr_affinity"]

CLASSES_AT_ONCE = 4  # whose masks stay in the outer caches through all steps


def pamr(image: Array, mask: Array, num_iter: int = 10, dilations: Sequence[int] = (8, 16)) -> torch.Tensor:
    mask = asarray(mask)
    image = asarray(image, like=mask)
    check_pamr(image.shape, mask.shape, num_iter, dilations)
    affinity = pamr_affinity(image, dilations)
    size = image.shape[-2:]
    refined = mask.new_empty(*mask.shape[:2], *size)
    for result, part in zip(refined.split(CLASSES_AT_ONCE, 1), mask.split(CLASSES_AT_ONCE, 1), strict=True):
        result.copy_(_steps(resize_bilinear(part, size, align_corners=True), affinity, num_iter, dilations))
    return refined


def _steps(mask: torch.Tensor, affinity: torch.Tensor, num_iter: int, dilations: Sequence[int]) -> torch.Tensor:
    for _ in range(num_iter):
        refined = torch.zeros_like(mask)
        for n, shifted in enumerate(_neighbours(mask, dilations)):
            refined.addcmul_(shifted, affinity[:, n : n + 1])
        mask = refined
    return mask


def pamr_affinity(image: Array, dilations: Sequence[int] = (8, 16)) -> torch.Tensor:
    image = asarray(image)
    n = 9 * len(dilations)
    mean = len(dilations) * image
    for x in _neighbours(image, dilations):
        mean += x
    mean /= n
    squares = len(dilations) * (image - mean).square()
    for x in _neighbours(image, dilations):
        squares += (x - mean).square()
    spread = EPS + SHARPNESS * (squares / (n - 1)).sqrt()
    affinity = image.new_empty(len(image), len(DIRECTIONS) * len(dilations), *image.shape[-2:])
    for logits, x in zip(affinity.unbind(1), _neighbours(image, dilations), strict=True):
        torch.mean((image - x).abs_().div_(spread), dim=1, out=logits)
    affinity.sub_(affinity.amin(dim=1, keepdim=True)).neg_().exp_()
    return affinity.div_(affinity.sum(dim=1, keepdim=True))


def _neighbours(x: torch.Tensor, dilations: Sequence[int]) -> Iterator[torch.Tensor]:
    height, width = x.shape[-2:]
    widest = max(dilations)
    padded = functional.pad(x, (widest,) * 4, mode="replicate")
    for d in dilations:
        for row, column in DIRECTIONS:
            top, left = widest + d * row, widest + d * column
            yield padded[..., top : top + height, left : left + width]
