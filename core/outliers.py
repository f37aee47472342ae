"""Which patch tokens are outliers (LOF, attention sinks, long tokens), and how they are repaired from their neighbours.

Written once over a backend's primitives `ops`; `load_backend` offers `local_outlier_factor` and `mean_interpolation` bound
to each backend.
"""

from typing import Any

import numpy as np

from core.arrays import Array
from core.errors import InputError

VARIANTS = ("scclip", "breunig")
TIE = {"float32": 4e-6, "float64": 1e-14}  # relative: scores nearer to each other are equal but for rounding
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
    if len(x.shape) == 3:
        return ops.stack([local_outlier_factor(ops, x[i], n_neighbors, variant) for i in range(x.shape[0])])
    if not np.isfinite(ops.to_numpy(ops.sum(ops.absolute(x), axis=(0, 1)))).all():
        raise InputError("local outlier factors need finite features; these hold NaN or infinity")
    if x.shape[0] < 2:
        return x[:, 0] * 0 + 1
    distance, neighbours = ops.nearest_neighbours(x, min(n_neighbors, x.shape[0] - 1))
    reach = distance[:, -1]
    if variant == "breunig":
        distance = ops.sqrt(distance)
        reach = ops.mean(ops.maximum(distance, distance[:, -1][neighbours]), axis=-1)
    density = 1 / (reach + ops.asarray(DENSITY_EPS, like=reach))
    return ops.mean(density[neighbours], axis=-1) / density


def outlier_mask(ops: Any, scores: Array, contamination: float = 0.05) -> Array:
    """Scores (B, N) strictly above their image's 1 - contamination quantile (linear interpolation) -> (B, N) booleans.

    Above by more than rounding: where scores tie, as those of the two points furthest apart do among few, none of them is.
    Raises InputError for a contamination outside 0..1.
    """
    if not 0 <= contamination <= 1:
        raise InputError(f"contamination must lie in 0..1, not {contamination}")
    limit = ops.quantile(scores, 1 - contamination)[:, None]
    return scores > limit + ops.absolute(limit) * ops.asarray(TIE[ops.to_numpy(limit).dtype.name], like=limit)


def attention_sinks(ops: Any, attention: Array, n_outliers: int = 10, res_cls: float = 0.3, res_scale: float = 5.0) -> Array:
    """SFP's SOM: patches that the class token attends to more than they attend to themselves -> (B, N) booleans.

    attention: (B, H, 1 + N, 1 + N) of block L-2, averaged over heads. A patch is a candidate when
    res_cls * res_scale * A[cls, patch] > A[patch, patch]; the `n_outliers` candidates with the largest A[cls, patch] are it.
    """
    attention = ops.mean(ops.asarray(attention), axis=1)
    n = attention.shape[-1] - 1
    to_patch = attention[:, 0, 1:]
    identity = ops.asarray(np.eye(n), like=attention)
    to_itself = ops.sum(attention[:, 1:, 1:] * identity, axis=-1)
    candidate = to_patch * ops.asarray(res_cls * res_scale, like=to_patch) > to_itself
    return largest(ops, ops.where(candidate, to_patch, -1.0), n_outliers, above=0.0)


def long_tokens(ops: Any, patches: Array, n_outliers: int = 10) -> Array:
    """SFP's L2: the `n_outliers` longest of the patches (B, N, D) -> (B, N) booleans."""
    return largest(ops, ops.norm(patches), n_outliers, above=-1.0)


def largest(ops: Any, values: Array, k: int, above: float) -> Array:
    """Which of values (B, N) are among the k largest of their row, and larger than `above` -> (B, N) booleans."""
    if k < 1:
        raise InputError(f"n_outliers must be at least 1, not {k}")
    values = ops.asarray(values)
    n = values.shape[-1]
    _, indices = ops.k_smallest(-values, min(k, n))
    chosen = np.zeros(tuple(values.shape), dtype=bool)
    np.put_along_axis(chosen, ops.to_numpy(indices).astype(np.int64), True, axis=-1)
    return ops.asarray(chosen & (ops.to_numpy(values) > above))


def mean_interpolation(ops: Any, fmap: Array, outliers: Array) -> Array:
    """Outliers replaced by the mean of those of their 8 neighbours that are inside the grid and no outliers themselves.

    fmap (B, C, h, w), outliers (B, h, w) booleans -> (B, C, h, w). An outlier without such a neighbour keeps its value.
    The sum over 3 x 3 neighbourhoods is a product with a band matrix on either side. Bai et al., SC-CLIP, 2024.
    """
    fmap = ops.asarray(fmap)
    sound = 1 - ops.asarray(outliers, like=fmap)[:, None]
    total, count = (_neighbourhood_sum(ops, x) for x in (fmap * sound, sound))
    replaced = ops.where(count > 0.5, 1 - sound, 0.0)
    return ops.where(replaced > 0.5, total / ops.maximum(count, 1.0), fmap)


def _neighbourhood_sum(ops: Any, x: Array) -> Array:
    rows, columns = (ops.asarray(np.tri(n, k=1) - np.tri(n, k=-2), like=x) for n in x.shape[-2:])
    return ops.swap_last(ops.matmul(ops.swap_last(ops.matmul(x, columns)), rows))
