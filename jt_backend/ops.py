"""Array verbs in Jittor; the contract is `core.ops`."""

from collections.abc import Sequence
from contextlib import AbstractContextManager

import numpy as np

from core.arrays import Array, as_numpy
from core.ops import EPS
from jt_backend import jt, kernels, runtime


def asarray(x: Array, like: Array | None = None) -> jt.Var:
    """Jittor makes float32 of float64 unless the dtype is said."""
    if not isinstance(x, jt.Var):
        x = np.ascontiguousarray(as_numpy(x))
        x = jt.array(x, dtype=str(x.dtype))
    return x if like is None or x.dtype == like.dtype else x.cast(str(like.dtype))


def to_numpy(x: Array) -> np.ndarray:
    return as_numpy(x)


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
    """Only products of two matrices reach oneDNN, so a batch of them is taken one by one."""
    a, b = asarray(a), asarray(b)
    if b.ndim == 2:
        rows = a.reshape([-1, a.shape[-1]]) if a.ndim != 2 else a
        return jt.matmul(rows, b).reshape([*a.shape[:-1], b.shape[-1]])
    lead = np.broadcast_shapes(tuple(a.shape[:-2]), tuple(b.shape[:-2]))
    a = _batched(a, lead)
    b = _batched(b, lead)
    if jt.flags.use_cuda or a.dtype != "float32":
        product = jt.bmm(a, b)
    else:
        product = jt.stack([jt.matmul(a[i], b[i]) for i in range(a.shape[0])], dim=0)
    return product.reshape([*lead, a.shape[-2], b.shape[-1]])


def _batched(x: jt.Var, lead: tuple[int, ...]) -> jt.Var:
    """(..., m, n) -> (product of `lead`, m, n), repeating what broadcasts."""
    if tuple(x.shape[:-2]) != lead:
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
    x = asarray(x)
    return jt.sum(x, dims=_axes(axis, x.ndim), keepdims=keepdims)


def mean(x: Array, axis: int | tuple[int, ...], keepdims: bool = False) -> jt.Var:
    x = asarray(x)
    return jt.mean(x, dims=_axes(axis, x.ndim), keepdims=keepdims)


def _axes(axis: int | tuple[int, ...], ndim: int) -> tuple[int, ...]:
    return tuple(a % ndim for a in ((axis,) if isinstance(axis, int) else axis))


def max(x: Array, axis: int, keepdims: bool = False) -> jt.Var:
    return jt.max(asarray(x), dim=axis, keepdims=keepdims)


def argmax(x: Array, axis: int) -> jt.Var:
    return jt.argmax(asarray(x), dim=axis)[0]


def softmax(x: Array, axis: int = -1) -> jt.Var:
    return kernels.softmax(asarray(x), axis)


def norm(x: Array, axis: int = -1, keepdims: bool = False) -> jt.Var:
    return jt.sqrt(sum(jt.sqr(asarray(x)), axis, keepdims))


def l2_normalise(x: Array, axis: int = -1) -> jt.Var:
    x = asarray(x)
    return x / maximum(norm(x, axis=axis, keepdims=True), EPS)


def sort(x: Array, axis: int = -1) -> jt.Var:
    x = asarray(x)
    return jt.argsort(x, dim=axis % x.ndim)[1]


def cumsum(x: Array, axis: int = -1) -> jt.Var:
    x = asarray(x)
    return jt.cumsum(x, dim=axis % x.ndim)


def quantile(x: Array, q: float) -> jt.Var:
    """Jittor has none: read off the sorted entries."""
    x = sort(x)
    at = q * (x.shape[-1] - 1)
    low = min(int(at), x.shape[-1] - 1)
    high = min(low + 1, x.shape[-1] - 1)
    return x[..., low] + (x[..., high] - x[..., low]) * asarray(at - low, like=x)


def k_smallest(x: Array, k: int) -> tuple[jt.Var, jt.Var]:
    x = asarray(x)
    values, indices = kernels.k_smallest(x.reshape([-1, x.shape[-1]]), k)
    return tuple(part.reshape([*x.shape[:-1], k]) for part in (values, indices))


def select_device(device: str | None = None) -> None:
    """Jittor computes everything of a process on one device."""
    runtime.select_device(device or ("cuda" if runtime.gpu_usable() else "cpu"))


def no_grad() -> AbstractContextManager:
    return jt.no_grad()
