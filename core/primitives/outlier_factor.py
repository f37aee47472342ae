"""Local outlier factors: how much sparser a point lies than its neighbours do."""

from typing import Any

import numpy as np

from core.errors import InputError
from core.primitives.arrays import Array

__all__ = ["local_outlier_factor"]

VARIANTS = ("scclip", "breunig")
DENSITY_EPS = 1e-10  # scikit-learn's guard for identical points


def local_outlier_factor(ops: Any, x: Array, n_neighbors: int = 30, variant: str = "scclip") -> Array:
    r"""Local outlier factors: x (N, D) or (B, N, D) -> (N,) or (B, N), around 1 for points as dense as their neighbours.

    $s_i = \frac1k \sum_{j \in N_k(i)} l_j / l_i$ with the density $l_i = 1 / \mathrm{mean}_j\, r_{ij}$ over the k nearest
    points without i itself. "breunig" (Breunig et al., "LOF", SIGMOD 2000, definitions 5 to 7): $r_{ij} = \max(d_{ij},
    d_k(j))$ of distances d and the NEIGHBOUR's k-distance. "scclip" (Bai et al., SC-CLIP, 2024): squared distances and the
    point's OWN k-distance, which is therefore $r_{ij}$ itself.

    Image by image; k is clamped to N - 1. Identical points score 1. Memory O(N k) and a bounded block of distances.

    Raises InputError for NaN or infinite features, n_neighbors below 1, or an unknown variant.
    """
    x = ops.asarray(x)
    if variant not in VARIANTS:
        raise InputError(f"variant must be one of {', '.join(VARIANTS)}, not {variant!r}")
    if n_neighbors < 1:
        raise InputError(f"n_neighbors must be at least 1, not {n_neighbors}")
    with ops.undisturbed():  # for which Jittor would keep every intermediate array
        if len(x.shape) == 3:
            return ops.stack([_factors(ops, x[i], n_neighbors, variant) for i in range(x.shape[0])])
        return _factors(ops, x, n_neighbors, variant)


def _factors(ops: Any, x: Array, n_neighbors: int, variant: str) -> Array:
    if not np.isfinite(ops.to_numpy(ops.sum(ops.absolute(x), axis=(0, 1)))).all():
        raise InputError("local outlier factors need finite features; these hold NaN or infinity")
    if x.shape[0] < 2:
        return x[:, 0] * 0 + 1
    distance, neighbours = ops.nearest_neighbours(x, min(n_neighbors, x.shape[0] - 1))
    reach = distance[:, -1]
    if variant == "breunig":
        distance = ops.sqrt(distance)
        reach = ops.mean(ops.maximum(distance, distance[:, -1][neighbours]), axis=-1)
    density = 1 / (reach + DENSITY_EPS)
    return ops.mean(density[neighbours], axis=-1) / density
