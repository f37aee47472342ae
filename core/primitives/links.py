"""FSA's links: how much each patch should attend to each other, by how alike they are predicted.

Chi et al., "Plug-in Feedback Self-adaptive Attention in CLIP for Training-free Open-Vocabulary Segmentation", 2025.
"""

import numpy as np

from core.primitives.arrays import Array
from core.primitives.ops import asarray, softmax

__all__ = ["link_weights"]


def link_weights(divergence: Array, sharpness: float, mass: float | None = None) -> Array:
    r"""Softmax along the last axis of $\mathrm{sim} \, e^{\lambda\, \mathrm{sim}}$ with $\mathrm{sim} = 1 / (1 + KL)$.

    divergence: KL >= 0 (..., N), finite. sharpness: lambda. mass: below 1; only the strongest links of a row take part, as many
    as hold at most this share of the softmax of its sim together, and the strongest always; None for all. Equal links stay or
    go together.
    """
    similarity = 1 / (1 + asarray(divergence))
    logits = similarity * np.exp(sharpness * similarity)
    if mass is not None:
        logits = np.where(similarity >= _weakest_kept(similarity, mass), logits, -np.inf)
    return softmax(logits)


def _weakest_kept(similarity: np.ndarray, mass: float) -> np.ndarray:
    """The smallest of a row's largest entries, as many as hold at most `mass` of its softmax, and one: (..., N) -> (..., 1)."""
    descending = -np.sort(-similarity, axis=-1)
    n_kept = np.sum(np.cumsum(softmax(descending), axis=-1) <= mass, axis=-1, keepdims=True)
    return np.take_along_axis(descending, np.maximum(n_kept, 1) - 1, axis=-1)
