"""Pixel-adaptive mask refinement in Jittor; the contract is `core.primitives.pamr`."""

from collections.abc import Sequence

from core.primitives.arrays import Array
from core.primitives.pamr import EPS, SHARPNESS, check_pamr
from jt_backend import kernels
from jt_backend.jittor import jt
from jt_backend.primitives.ops import asarray
from jt_backend.primitives.resize import resize_bilinear

__all__ = ["pamr", "pamr_affinity"]


def pamr(image: Array, mask: Array, num_iter: int = 10, dilations: Sequence[int] = (8, 16)) -> jt.Var:
    mask = asarray(mask)
    image = asarray(image, like=mask)
    check_pamr(image.shape, mask.shape, num_iter, dilations)
    affinity = pamr_affinity(image, dilations)
    mask = resize_bilinear(mask, tuple(image.shape[-2:]), align_corners=True)
    return kernels.pamr_steps(mask, affinity, dilations, num_iter)


def pamr_affinity(image: Array, dilations: Sequence[int] = (8, 16)) -> jt.Var:
    return kernels.pamr_affinity(asarray(image), dilations, EPS, SHARPNESS)
