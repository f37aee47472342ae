"""Resizing in Jittor; the contract is `core.resize`."""

from core import resize
from core.arrays import Array
from jt_backend import jt, kernels
from jt_backend.ops import asarray, matmul


def resize_bilinear(x: Array, size: tuple[int, int], align_corners: bool = False) -> jt.Var:
    x = asarray(x)
    resize.check_resize(x.shape, size)
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    rows, columns = (resize.bilinear_taps(*sides, align_corners) for sides in zip(x.shape[-2:], size, strict=True))
    resized = kernels.resize_bilinear(x.reshape([-1, *x.shape[-2:]]), rows, columns)
    return resized.reshape([*x.shape[:-2], *size])


def resize_bicubic(x: Array, size: tuple[int, int], scale: tuple[float, float] | None = None) -> jt.Var:
    x = asarray(x)
    resize.check_resize(x.shape, size)
    rows, columns = (asarray(m, like=x) for m in resize.bicubic_matrices(x.shape[-2:], size, scale))
    right = matmul(x, columns.transpose(1, 0))
    if x.ndim == 2:
        return matmul(rows, right)
    return matmul(rows.reshape([1] * (x.ndim - 2) + list(rows.shape)), right)
