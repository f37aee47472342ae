"""Outliers of the patch grid: found by a detector, interpolated from their neighbours."""

from typing import Any

from core.arrays import Array
from core.errors import InputError
from core.features import ClipFeatures
from core.methods.parts import Parts
from core.outliers import attention_sinks, long_tokens, outlier_mask

DETECTORS = ("SOM", "L2", "LOF")


def find_outliers(
    ops: Any,
    features: ClipFeatures,
    detector: str,
    n_outliers: int = 10,
    n_neighbors: int = 30,
    contamination: float = 0.05,
    lof_variant: str = "scclip",
) -> Array:
    """Outliers among the patches of the last block's input, (B, N) booleans, by "SOM", "L2" or "LOF".

    Raises InputError for another detector, or for SOM without block L-2's attention.
    """
    patches = features.hidden[-1][:, 1:]
    if detector == "LOF":
        return outlier_mask(ops, ops.local_outlier_factor(patches, n_neighbors, lof_variant), contamination)
    if detector == "L2":
        return long_tokens(ops, patches, n_outliers)
    if detector != "SOM":
        raise InputError(f"detector must be one of {', '.join(DETECTORS)}, not {detector!r}")
    if features.attention is None:
        raise InputError("detector SOM needs block L-2's attention: give ClipBackbone.features(pixels, attention=True)")
    return attention_sinks(ops, features.attention, n_outliers)


def repair(ops: Any, features: ClipFeatures, patches: Array, outliers: Array) -> Array:
    """Patches (B, N, D) with the outliers (B, N) interpolated from their neighbours on the grid."""
    batch, n, width = patches.shape
    fmap = ops.reshape(ops.swap_last(patches), (batch, width, *features.grid))
    fmap = ops.mean_interpolation(fmap, ops.reshape(outliers, (batch, *features.grid)))
    return ops.swap_last(ops.reshape(fmap, (batch, width, n)))


def last_input(ops: Any, features: ClipFeatures, parts: Parts) -> Array:
    """The last block's input (B, 1 + N, D), its outliers repaired where the parts say so."""
    x = features.hidden[-1]
    if parts.repair is None:
        return x
    n_neighbors, contamination = parts.repair
    outliers = find_outliers(ops, features, "LOF", n_neighbors=n_neighbors, contamination=contamination)
    repaired = repair(ops, features, x[:, 1:], outliers)
    parts.note(outliers=outliers, before_repair=x[:, 1:], after_repair=repaired)
    return ops.concatenate([x[:, :1], repaired], axis=1)
