"""Pixel-adaptive mask refinement in Jittor; the contract is `core.pamr`."""

from collections.abc import Sequence

from core.arrays import Array
from core.pamr import EPS, SHARPNESS, check_pamr
from jt_backend import jt, kernels
from jt_backend.ops import asarray
from jt_backend.resize import resize_bilinear


def pamr(image: Array, mask: Array, num_iter: int = 10, dilations: Sequence[int] = (8, 16)) -> jt.Var:
    mask = asarray(mask)
    image = asarray(image, like=mask)
    check_pamr(image.shape, mask.shape, num_iter, dilations)
    affinity = pamr_affinity(image, dilations)
    mask = resize_bilinear(mask, tuple(image.shape[-2:]), align_corners=True)
    return kernels.pamr_steps(mask, affinity, dilations, num_iter)


def pamr_affinity(image: Array, dilations: Sequence[int] = (8, 16)) -> jt.Var:
    return kernels.pamr_affinity(asarray(image), dilations, EPS, SHARPNESS)
