"""Array verbs: the small vocabulary that every method is written in.

This module is the contract and the NumPy backend's part of it: NumPy's names, `axis` and `keepdims`. The other backends
mirror the file, the names and the signatures. Arguments may be NumPy or native arrays, results are native.

Arithmetic, comparison, slicing and `.shape` are used on the arrays themselves, and numbers stand in them as in the formula:
`0.3 * x`. A number counts in full in the array's dtype; float32 stays float32, and float64 stays float64. NumPy and PyTorch do
so; Jittor rounds a number to float32 even beside float64, and so its backend mends the operators of its arrays
(`jt_backend.numbers`).
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager

import numpy as np

from core.errors import InputError
from core.primitives.arrays import Array, as_numpy

__all__ = [
    "absolute", "argmax", "asarray", "concatenate", "exp", "inner_products", "k_smallest", "l2_normalise", "log",
    "matmul", "max", "maximum", "mean", "minimum", "norm", "quantile", "reshape", "select_device", "softmax",
    "softmax_at_least", "sqrt", "stack", "sum", "swap_last", "transpose", "undisturbed", "where",
]  # fmt: skip

EPS = 1e-12  # below this a length counts as zero
NUMPYS_OWN = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}


def asarray(x: Array, like: Array | None = None) -> Array:
    """`x` as a native array; with `like`, on its device and of its dtype."""
    x = as_numpy(x)
    return x if like is None else x.astype(like.dtype, copy=False)


def concatenate(arrays: Sequence[Array], axis: int = 0) -> Array:
    """The arrays one after another along an axis they have."""
    return np.concatenate([asarray(x) for x in arrays], axis=axis)


def stack(arrays: Sequence[Array], axis: int = 0) -> Array:
    """The arrays side by side along a new axis."""
    return np.stack([asarray(x) for x in arrays], axis=axis)


def reshape(x: Array, shape: Sequence[int]) -> Array:
    """The same entries in row-major order under another shape; one -1 is filled in."""
    return asarray(x).reshape(tuple(shape))


def transpose(x: Array, axes: Sequence[int]) -> Array:
    """Axis i of the result is axis `axes[i]` of `x`."""
    return asarray(x).transpose(tuple(axes))


def swap_last(x: Array) -> Array:
    """(..., m, n) -> (..., n, m)."""
    return np.swapaxes(asarray(x), -1, -2)


def matmul(a: Array, b: Array) -> Array:
    """Matrix product over the last two axes; the leading axes broadcast."""
    return np.matmul(asarray(a), asarray(b))


def inner_products(a: Array, b: Array) -> Array:
    """Of every row of `a` with every row of `b`, a b': (..., m, d), (..., n, d) -> (..., m, n); the leading axes broadcast."""
    return np.matmul(asarray(a), swap_last(b))


def exp(x: Array) -> Array:
    """E to the x."""
    return np.exp(asarray(x))


def log(x: Array) -> Array:
    """Natural logarithm."""
    return np.log(asarray(x))


def sqrt(x: Array) -> Array:
    """Square root."""
    return np.sqrt(asarray(x))


def absolute(x: Array) -> Array:
    """Magnitude."""
    return np.abs(asarray(x))


def maximum(a: Array, b: Array | float) -> Array:
    """The larger of two, entry by entry; `b` may be a number."""
    return np.maximum(asarray(a), b if isinstance(b, int | float) else asarray(b))


def minimum(a: Array, b: Array | float) -> Array:
    """The smaller of two, entry by entry; `b` may be a number."""
    return np.minimum(asarray(a), b if isinstance(b, int | float) else asarray(b))


def where(condition: Array, a: Array, b: Array | float) -> Array:
    """`a` where the condition holds, else `b` (an array or a number), in the dtype of `a`."""
    a = asarray(a)
    return np.where(asarray(condition), a, asarray(b, like=a))


def sum(x: Array, axis: int | tuple[int, ...], keepdims: bool = False) -> Array:
    """Sum over an axis or several."""
    return np.sum(asarray(x), axis=axis, keepdims=keepdims)


def mean(x: Array, axis: int | tuple[int, ...], keepdims: bool = False) -> Array:
    """Mean over an axis or several."""
    return np.mean(asarray(x), axis=axis, keepdims=keepdims)


def max(x: Array, axis: int, keepdims: bool = False) -> Array:
    """Largest entry along an axis."""
    return np.max(asarray(x), axis=axis, keepdims=keepdims)


def argmax(x: Array, axis: int) -> Array:
    """Index of the largest entry along an axis, the first of equals."""
    return np.argmax(asarray(x), axis=axis)


def softmax(x: Array, axis: int = -1) -> Array:
    r"""$e^{x_i} / \sum_j e^{x_j}$ along one axis, computed from differences to the maximum."""
    x = asarray(x)
    e = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return e / np.sum(e, axis=axis, keepdims=True)


def softmax_at_least(x: Array, least: Array, scale: float = 1.0) -> Array:
    """Softmax of `scale` times x along the last axis over the entries that are at least `least`; the others weigh 0.

    x (..., n), least (..., 1). Every row must keep one entry.
    """
    x = asarray(x)
    return softmax(np.where(x >= asarray(least), x * scale, -np.inf))


def norm(x: Array, axis: int = -1, keepdims: bool = False) -> Array:
    """Euclidean length along an axis."""
    return np.sqrt(np.sum(np.square(asarray(x)), axis=axis, keepdims=keepdims))


def l2_normalise(x: Array, axis: int = -1) -> Array:
    """`x` divided by its Euclidean length along an axis; a zero vector stays zero."""
    x = asarray(x)
    return x / np.maximum(norm(x, axis=axis, keepdims=True), EPS)


def quantile(x: Array, q: float) -> Array:
    """The q-quantile along the last axis, interpolated linearly between its two nearest entries: (..., n) -> (...)."""
    x = asarray(x)
    return np.quantile(x, q, axis=-1).astype(x.dtype)


def k_smallest(x: Array, k: int) -> tuple[Array, Array]:
    """The k smallest entries along the last axis, ascending, and their indices: (..., n) -> (..., k) twice."""
    x = asarray(x)
    indices = np.argpartition(x, k - 1, axis=-1)[..., :k]
    values = np.take_along_axis(x, indices, axis=-1)
    order = np.argsort(values, axis=-1, kind="stable")
    return np.take_along_axis(values, order, axis=-1), np.take_along_axis(indices, order, axis=-1)


def select_device(device: str | None = None) -> None:
    """Checks that this backend can compute on "cpu" or "cuda", and has it compute there where that is not the arrays' choice.

    None takes a GPU where one can be used. NumPy computes on the CPU whatever the backbone runs on. Raises InputError for
    another name, or a GPU that is not there.
    """
    if device not in (None, "cpu", "cuda"):
        raise InputError(f"unknown device {device!r}: choose cpu or cuda")


def undisturbed() -> AbstractContextManager:
    """A context in which nothing counts that the caller has left on, and nothing is recorded for gradients.

    NumPy's error handling is its usual one there; so is what the backend's framework has of the kind, such as autocast. All
    that is computed within is the same with and without. Raises InputError where the framework cannot compute: in a fork.
    """
    return np.errstate(**NUMPYS_OWN)
