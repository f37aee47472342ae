"""Resizing in Jittor; the contract is `core.primitives.resize`."""

from core.primitives.arrays import Array
from core.primitives.resize import bilinear_taps, check_resize
from jt_backend import kernels
from jt_backend.jittor import jt
from jt_backend.primitives.ops import asarray

__all__ = ["resize_bilinear"]


def resize_bilinear(x: Array, size: tuple[int, int], align_corners: bool = False) -> jt.Var:
    x = asarray(x)
    check_resize(x.shape, size)
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    rows, columns = (bilinear_taps(*sides, align_corners) for sides in zip(x.shape[-2:], size, strict=True))
    resized = kernels.resize_bilinear(x.reshape([-1, *x.shape[-2:]]), rows, columns)
    return resized.reshape([*x.shape[:-2], *size])
