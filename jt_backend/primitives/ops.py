"""Array verbs in Jittor; the contract is `core.primitives.ops`."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager

import numpy as np

from core.primitives.arrays import Array, as_numpy
from core.primitives.ops import EPS
from jt_backend import kernels
from jt_backend import undisturbed as set_aside
from jt_backend.jittor import jt
from jt_backend.start import runtime

__all__ = [
    "absolute", "argmax", "asarray", "concatenate", "exp", "inner_products", "k_smallest", "l2_normalise", "log",
    "matmul", "max", "maximum", "mean", "minimum", "norm", "quantile", "reshape", "select_device", "softmax",
    "softmax_at_least", "sqrt", "stack", "sum", "swap_last", "transpose", "undisturbed", "where",
]  # fmt: skip


def asarray(x: Array, like: Array | None = None) -> jt.Var:
    """Jittor makes float32 of float64 unless the dtype is said."""
    if not isinstance(x, jt.Var):
        x = np.ascontiguousarray(as_numpy(x))
        x = jt.array(x, dtype=str(x.dtype))
    return x if like is None or x.dtype == like.dtype else x.cast(str(like.dtype))


def concatenate(arrays: Sequence[Array], axis: int = 0) -> jt.Var:
    return jt.concat([asarray(x) for x in arrays], dim=axis)


def stack(arrays: Sequence[Array], axis: int = 0) -> jt.Var:
    arrays = [asarray(x) for x in arrays]
    return jt.stack(arrays, dim=axis % (arrays[0].ndim + 1))


def reshape(x: Array, shape: Sequence[int]) -> jt.Var:
    return asarray(x).reshape(list(shape))


def transpose(x: Array, axes: Sequence[int]) -> jt.Var:
    return asarray(x).permute(*axes)


def swap_last(x: Array) -> jt.Var:
    x = asarray(x)
    return x.permute(*range(x.ndim - 2), x.ndim - 1, x.ndim - 2)


def matmul(a: Array, b: Array) -> jt.Var:
    return _product(asarray(a), asarray(b), transpose_b=False)


def inner_products(a: Array, b: Array) -> jt.Var:
    return _product(asarray(a), asarray(b), transpose_b=True)


def _product(a: jt.Var, b: jt.Var, transpose_b: bool) -> jt.Var:
    """By the kernel of matrices and batches of them; further leading axes are folded into one."""
    n = b.shape[-2 if transpose_b else -1]
    if b.ndim == 2:
        return kernels.matmul(a.reshape([-1, a.shape[-1]]), b, transpose_b).reshape([*a.shape[:-1], n])
    lead = np.broadcast_shapes(tuple(a.shape[:-2]), tuple(b.shape[:-2]))
    return kernels.matmul(_batched(a, lead), _batched(b, lead), transpose_b).reshape([*lead, a.shape[-2], n])


def _batched(x: jt.Var, lead: tuple[int, ...]) -> jt.Var:
    """(..., m, n) -> (product of `lead`, m, n), repeating what broadcasts; (1, m, n) for a single matrix."""
    if tuple(x.shape[:-2]) != lead and x.numel() != x.shape[-2] * x.shape[-1]:
        x = x.reshape([1] * (len(lead) + 2 - x.ndim) + list(x.shape)).expand([*lead, *x.shape[-2:]])
    return x.reshape([-1, *x.shape[-2:]])


def exp(x: Array) -> jt.Var:
    return jt.exp(asarray(x))


def log(x: Array) -> jt.Var:
    return jt.log(asarray(x))


def sqrt(x: Array) -> jt.Var:
    return jt.sqrt(asarray(x))


def absolute(x: Array) -> jt.Var:
    return jt.abs(asarray(x))


def maximum(a: Array, b: Array | float) -> jt.Var:
    a = asarray(a)
    return jt.maximum(a, asarray(b, like=a))


def minimum(a: Array, b: Array | float) -> jt.Var:
    a = asarray(a)
    return jt.minimum(a, asarray(b, like=a))


def where(condition: Array, a: Array, b: Array | float) -> jt.Var:
    a = asarray(a)
    return jt.ternary(asarray(condition), a, asarray(b, like=a))


def sum(x: Array, axis: int | tuple[int, ...], keepdims: bool = False) -> jt.Var:
    """Over the last axes by a kernel: Jittor adds one entry after the other, which is slow and rounds each time."""
    x = asarray(x)
    axes = _axes(axis, x.ndim)
    first = x.ndim - len(axes)
    if x.dtype not in ("float32", "float64") or sorted(axes) != list(range(first, x.ndim)):
        return jt.sum(x, dims=axes, keepdims=keepdims)
    lead = list(x.shape[:first])
    sums = kernels.row_sum(x.reshape([math.prod(lead), math.prod(x.shape[first:])]))
    return sums.reshape(lead + [1] * len(axes) if keepdims else lead or [1])


def mean(x: Array, axis: int | tuple[int, ...], keepdims: bool = False) -> jt.Var:
    x = asarray(x)
    total = sum(x, axis, keepdims)
    count = np.float64(math.prod(x.shape[a] for a in _axes(axis, x.ndim)))
    return total / asarray(count, like=total)  # -Ofast rounds the division by a plain number otherwise


def _axes(axis: int | tuple[int, ...], ndim: int) -> tuple[int, ...]:
    return tuple(a % ndim for a in ((axis,) if isinstance(axis, int) else axis))


def max(x: Array, axis: int, keepdims: bool = False) -> jt.Var:
    x = asarray(x)
    if axis % x.ndim != x.ndim - 1 or x.dtype not in ("float32", "float64"):
        return jt.max(x, dim=axis, keepdims=keepdims)
    largest = kernels.row_max(x.reshape([-1, x.shape[-1]]))
    return largest.reshape([*x.shape[:-1], 1] if keepdims else list(x.shape[:-1]) or [1])


def argmax(x: Array, axis: int) -> jt.Var:
    return jt.argmax(asarray(x), dim=axis)[0]


def softmax(x: Array, axis: int = -1) -> jt.Var:
    return kernels.softmax(asarray(x), axis)


def softmax_at_least(x: Array, least: Array, scale: float = 1.0) -> jt.Var:
    x, least = asarray(x), asarray(least)
    return kernels.softmax_at_least(x.reshape([-1, x.shape[-1]]), least.reshape([-1]), scale).reshape(x.shape)


def norm(x: Array, axis: int = -1, keepdims: bool = False) -> jt.Var:
    return jt.sqrt(sum(jt.sqr(asarray(x)), axis, keepdims))


def l2_normalise(x: Array, axis: int = -1) -> jt.Var:
    x = asarray(x)
    return x / maximum(norm(x, axis=axis, keepdims=True), EPS)


def quantile(x: Array, q: float) -> jt.Var:
    """Jittor has none: read off the sorted entries."""
    x = jt.argsort(asarray(x), dim=-1)[1]
    at = q * (x.shape[-1] - 1)
    low = min(int(at), x.shape[-1] - 1)
    high = min(low + 1, x.shape[-1] - 1)
    return x[..., low] + (x[..., high] - x[..., low]) * (at - low)


def k_smallest(x: Array, k: int) -> tuple[jt.Var, jt.Var]:
    x = asarray(x)
    values, indices = kernels.k_smallest(x.reshape([-1, x.shape[-1]]), k)
    return tuple(part.reshape([*x.shape[:-1], k]) for part in (values, indices))


def select_device(device: str | None = None) -> None:
    """Jittor computes everything of a process on one device."""
    runtime.select_device(device or ("cuda" if runtime.gpu_usable() else "cpu"))


def undisturbed() -> AbstractContextManager:
    """Jittor's flags are set aside, and one thread computes at a time: Jittor is not made for several. Others wait."""
    return set_aside.undisturbed()
