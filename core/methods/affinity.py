"""Which patches belong together by content, and what is done with that: aggregation and attention.

Written once over a backend's primitives `ops`. S is a similarity (B, N, N) of patches, P patches (B, N, D).
"""

from typing import Any

from core.primitives.arrays import Array

AGGREGATION_EPS = 1e-6


def cosine_similarity(ops: Any, patches: Array) -> Array:
    """Cosine of every patch with every patch: (B, N, D) -> (B, N, N)."""
    unit = ops.l2_normalise(patches)
    return ops.inner_products(unit, unit)


def keep_similar(ops: Any, similarity: Array, beta: float) -> Array:
    """S where it is at least `beta`, else 0. SC-CLIP, section 3.3, beta 0.4."""
    similarity = ops.asarray(similarity)
    return ops.where(similarity >= beta, similarity, 0.0)


def aggregate(ops: Any, patches: Array, similarity: Array) -> Array:
    r"""Every patch becomes the mean of all, weighted by S: $S P / (\sum_j S_{ij} + 10^{-6})$."""
    total = ops.sum(similarity, axis=-1, keepdims=True)
    return ops.matmul(similarity, patches) / (total + AGGREGATION_EPS)


def contrast_attention(ops: Any, similarity: Array, gamma: float = 3.0, beta: float = 1.0) -> Array:
    r"""Softmax of $\gamma (S - \beta \bar S)$ over what is not negative in it; $\bar S$ is the mean of one image's S.

    (B, N, N) -> (B, 1, N, N), the same for all heads. ProxyCLIP (Lan et al., ECCV 2024, section 3.3) with beta 1.2, SC-CLIP
    with beta 1. A row that is negative throughout keeps its largest entries. $\beta \bar S$, the same for all of a row, decides
    who takes part, not with what weight.
    """
    similarity = ops.asarray(similarity)
    mean = ops.mean(similarity, axis=(1, 2), keepdims=True)
    floor = ops.minimum(ops.max(similarity, axis=-1, keepdims=True), beta * mean)
    batch, n, _ = similarity.shape
    return ops.reshape(ops.softmax_at_least(similarity, floor, gamma), (batch, 1, n, n))
