"""Places of a field replaced by the mean of their neighbours."""

from typing import Any

import numpy as np

from core.primitives.arrays import Array

__all__ = ["mean_interpolation"]


def mean_interpolation(ops: Any, fmap: Array, outliers: Array) -> Array:
    """Outliers replaced by the mean of those of their 8 neighbours that are inside the grid and no outliers themselves.

    fmap (B, C, h, w), outliers (B, h, w) booleans -> (B, C, h, w). An outlier without such a neighbour keeps its value.
    The sum over 3 x 3 neighbourhoods is a product with a band matrix on either side. Bai et al., SC-CLIP, 2024.
    """
    fmap = ops.asarray(fmap)
    with ops.undisturbed():  # for which Jittor would keep every intermediate array
        sound = 1 - ops.asarray(outliers, like=fmap)[:, None]
        total, count = (_neighbourhood_sum(ops, x) for x in (fmap * sound, sound))
        replaced = ops.where(count > 0.5, 1 - sound, 0.0)
        return ops.where(replaced > 0.5, total / ops.maximum(count, 1.0), fmap)


def _neighbourhood_sum(ops: Any, x: Array) -> Array:
    rows, columns = (ops.asarray(np.tri(n, k=1) - np.tri(n, k=-2), like=x) for n in x.shape[-2:])
    return ops.swap_last(ops.matmul(ops.swap_last(ops.matmul(x, columns)), rows))
