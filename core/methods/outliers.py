"""Outliers among the patches: found by LOF, as attention sinks (SOM) or by their length (L2), and repaired.

Written once over a backend's primitives `ops`; the factors themselves and the interpolation are primitives.
"""

from typing import Any

import numpy as np

from core.clip.features import ClipFeatures
from core.errors import InputError
from core.methods.compose import Given
from core.methods.seen import Steps
from core.primitives.arrays import Array, dtype_name

DETECTORS = ("SOM", "L2", "LOF")
TIE = {"float32": 4e-6, "float64": 1e-14}  # relative: scores nearer to each other are equal but for rounding


def outlier_mask(ops: Any, scores: Array, contamination: float = 0.05) -> Array:
    """Scores (B, N) strictly above their image's 1 - contamination quantile (linear interpolation) -> (B, N) booleans.

    A score counts as above only if it is so by more than rounding. Equal scores therefore are outliers together or not at all.
    """
    limit = ops.quantile(scores, 1 - contamination)[:, None]
    return scores > limit + TIE[dtype_name(limit)] * ops.absolute(limit)


def attention_sinks(ops: Any, attention: Array, n_outliers: int, res_cls: float, res_scale: float) -> Array:
    """SFP's SOM: patches that the class token attends to more than they attend to themselves -> (B, N) booleans.

    attention: (B, H, 1 + N, 1 + N) of block L-2, averaged over heads. A patch is a candidate when
    res_cls * res_scale * A[cls, patch] > A[patch, patch]. Of the candidates those `n_outliers` are outliers that have the
    largest A[cls, patch]. Jin et al., SFP, ICCV 2025, as released: res_cls 0.3, res_scale 5.
    """
    attention = ops.mean(ops.asarray(attention), axis=1)
    n = attention.shape[-1] - 1
    to_patch = attention[:, 0, 1:]
    identity = ops.asarray(np.eye(n), like=attention)
    to_itself = ops.sum(attention[:, 1:, 1:] * identity, axis=-1)
    candidate = res_cls * res_scale * to_patch > to_itself
    return largest(ops, ops.where(candidate, to_patch, -1.0), n_outliers, above=0.0)


def long_tokens(ops: Any, patches: Array, n_outliers: int) -> Array:
    """SFP's L2: the `n_outliers` longest of the patches (B, N, D) -> (B, N) booleans."""
    return largest(ops, ops.norm(patches), n_outliers, above=-1.0)


def largest(ops: Any, values: Array, k: int, above: float) -> Array:
    """Which of values (B, N) are among the k largest of their row, and larger than `above` -> (B, N) booleans."""
    values = ops.asarray(values)
    n = values.shape[-1]
    _, indices = ops.k_smallest(-values, min(k, n))
    chosen = np.zeros(tuple(values.shape), dtype=bool)
    np.put_along_axis(chosen, ops.to_numpy(indices).astype(np.int64), True, axis=-1)
    return ops.asarray(chosen & (ops.to_numpy(values) > above))


def find_outliers(
    ops: Any,
    features: ClipFeatures,
    detector: str,
    *,
    n_neighbors: int = 30,
    contamination: float = 0.05,
    lof_variant: str = "scclip",
    n_outliers: int = 10,
    res_cls: float = 0.3,
    res_scale: float = 5.0,
) -> Array:
    """Outliers among the patches of the last block's input, (B, N) booleans, by "SOM", "L2" or "LOF".

    LOF reads n_neighbors, contamination and lof_variant; L2 n_outliers; SOM n_outliers, res_cls and res_scale.
    Raises InputError for SOM without block L-2's attention.
    """
    patches = features.hidden[-1][:, 1:]
    if detector == "LOF":
        return outlier_mask(ops, ops.local_outlier_factor(patches, n_neighbors, lof_variant), contamination)
    if detector == "L2":
        return long_tokens(ops, patches, n_outliers)
    if features.attention is None:
        raise InputError("detector SOM needs block L-2's attention: give ClipBackbone.features(pixels, attention=True)")
    return attention_sinks(ops, features.attention, n_outliers, res_cls, res_scale)


def repair(ops: Any, features: ClipFeatures, patches: Array, outliers: Array) -> Array:
    """Patches (B, N, D) with the outliers (B, N) interpolated from their neighbours on the grid."""
    batch, n, width = patches.shape
    fmap = ops.reshape(ops.swap_last(patches), (batch, width, *features.grid))
    fmap = ops.mean_interpolation(fmap, ops.reshape(outliers, (batch, *features.grid)))
    return ops.swap_last(ops.reshape(fmap, (batch, width, n)))


def repair_steps(ops: Any, features: ClipFeatures, outliers: Array, before: Array, after: Array) -> Steps:
    """What is seen of a repair: the outliers (B, N), and the patches (B, N, D) before and after it, all on the grid."""
    batch, _, width = before.shape
    return {
        "outliers": lambda: ops.reshape(outliers, (batch, *features.grid)),
        "before_repair": lambda: ops.reshape(before, (batch, *features.grid, width)),
        "after_repair": lambda: ops.reshape(after, (batch, *features.grid, width)),
    }


def last_input(ops: Any, features: ClipFeatures, given: Given) -> tuple[Array, Steps]:
    """The last block's input (B, 1 + N, D), its outliers repaired where the part `repair` is given, and what is seen of it."""
    x = features.hidden[-1]
    if given.repair is None:
        return x, {}
    n_neighbors, contamination = given.repair
    outliers = find_outliers(ops, features, "LOF", n_neighbors=n_neighbors, contamination=contamination)
    repaired = repair(ops, features, x[:, 1:], outliers)
    steps = repair_steps(ops, features, outliers, x[:, 1:], repaired)
    return ops.concatenate([x[:, :1], repaired], axis=1), steps
