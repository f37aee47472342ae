"""The CLIP in hand as its own external model, so that proxyclip and fsa run offline."""

from typing import Any

from core.arrays import Array
from core.features import ClipFeatures

MIDDLE_LAYER = 8  # of 12 blocks, where SC-CLIP finds content best kept apart


def self_features(ops: Any, features: ClipFeatures) -> Array:
    """The patches of block 8, or of the middle block of a tower with fewer, as a field (B, D, h, w) of `ops`' arrays."""
    layer = MIDDLE_LAYER if len(features.hidden) > MIDDLE_LAYER else len(features.hidden) // 2
    patches = ops.asarray(features.hidden[layer])[:, 1:]
    batch, _, width = patches.shape
    return ops.reshape(ops.swap_last(patches), (batch, width, *features.grid))
