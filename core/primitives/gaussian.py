"""Gaussian neighbourhoods on the patch grid (NACLIP). They depend on the grid alone: computed in NumPy, then converted.

Hajimiri, Ben Ayed and Dolz, "Pay Attention to Your Neighbours", WACV 2025, section 3.2.
"""

import sys
from functools import lru_cache
from numbers import Real
from typing import Any

import numpy as np

from core.errors import InputError
from core.primitives.arrays import Array, dtype_name

__all__ = ["gaussian_window", "neighbourhood_addition"]

KEPT_PATCHES = 2048  # of a grid whose neighbourhoods are kept: 16 MB in float32


def gaussian_window(ops: Any, h: int, w: int, std: float, dtype: str = "float32") -> Array:
    r"""(h, w) Gaussian window centred on the grid's middle, with a peak of 1 there.

    $g_{ij} = \exp(-((i - \frac{h-1}{2})^2 + (j - \frac{w-1}{2})^2) / (2\,\mathrm{std}^2))$, `std` in patches.

    Raises InputError when `std` is not a finite number above 0 or a side is below 1.
    """
    _check(h, w, std)
    rows = _gaussian(np.arange(h) - (h - 1) / 2, std)
    columns = _gaussian(np.arange(w) - (w - 1) / 2, std)
    return ops.asarray(np.outer(rows, columns).astype(dtype))


def neighbourhood_addition(
    ops: Any, h: int, w: int, std: float, class_token: bool = True, dtype: str = "float32", like: Array | None = None
) -> Array:
    r"""What NACLIP adds to the attention logits of an h x w grid: (N, N), or (1 + N, 1 + N) with a class token; N = h w.

    $\omega_{(i,j),(m,n)} = \exp(-((i-m)^2 + (j-n)^2) / (2\,\mathrm{std}^2))$; the class token's row and column, which come
    first, are zero. It is the Kronecker product of two one-dimensional Gaussians, so no convolution is needed. With `like`,
    of that array's dtype and on its device. Up to 2048 patches it is computed once for a grid; it is not to be written to.

    Raises InputError when `std` is not a finite number above 0 or a side is below 1.
    """
    _check(h, w, std)
    compute = _addition if h * w <= KEPT_PATCHES else _addition.__wrapped__
    omega = compute(ops, h, w, float(std), class_token, dtype if like is None else dtype_name(like))
    return omega if like is None else ops.asarray(omega, like=like)


@lru_cache(maxsize=4)
def _addition(ops: Any, h: int, w: int, std: float, class_token: bool, dtype: str) -> Array:
    rows = _gaussian(np.subtract.outer(np.arange(h), np.arange(h)), std)
    columns = _gaussian(np.subtract.outer(np.arange(w), np.arange(w)), std)
    omega = np.kron(rows, columns)
    if class_token:
        omega = np.pad(omega, ((1, 0), (1, 0)))
    omega = omega.astype(dtype)
    omega.setflags(write=False)
    return ops.asarray(omega)


def _gaussian(distance: np.ndarray, std: float) -> np.ndarray:
    with np.errstate(over="ignore"):  # a tiny std: the square overflows to infinity, and the weight is 0, as it should be
        return np.exp(-np.square(distance / std) / 2)


def _check(h: int, w: int, std: float) -> None:
    if h < 1 or w < 1:
        raise InputError(f"a grid has at least one row and one column, not {h} x {w}")
    if isinstance(std, bool) or not isinstance(std, Real) or not 0 < std <= sys.float_info.max:
        raise InputError(f"gaussian_std must be a finite number above 0, not {std!r}")
