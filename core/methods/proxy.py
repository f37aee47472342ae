"""ProxyCLIP and FSA: another vision model's features as attention, and the prediction fed back into it.

Lan et al., "ProxyCLIP", ECCV 2024; FSA: `core.feedback`. The embeddings lie on the external model's grid.
"""

from dataclasses import replace
from typing import Any

from core.affinity import contrast_attention, cosine_similarity
from core.arrays import Array
from core.errors import InputError
from core.features import ClipFeatures
from core.feedback import Feedback
from core.methods.blocks import attend_with_parts, embed, qkv
from core.methods.parts import NO_PARTS, Parts
from core.methods.repair import last_input


def proxyclip(
    ops: Any,
    features: ClipFeatures,
    *,
    beta: float = 1.2,
    gamma: float = 3.0,
    external: Array | None = None,
    text: Array | None = None,
    parts: Parts = NO_PARTS,
) -> Array:
    """Attention by the cosines of external features (B, c, hE, wE), over CLIP's values resized to their grid.

    Gives (B, hE wE, E). Raises InputError without external features.
    """
    patches = last_input(ops, features, parts)[:, 1:]
    attention, values = proxy_attention(ops, features, patches, external, beta, gamma)
    mixed = attend_with_parts(ops, features.weights, attention, values, parts, text)
    return embed(ops, features.weights, mixed)


def fsa(
    ops: Any,
    features: ClipFeatures,
    *,
    beta: float = 1.2,
    gamma: float = 3.0,
    isolate: bool = True,
    prune: bool = True,
    ensemble: bool = True,
    sharpness: float = 3.0,
    external: Array | None = None,
    text: Array | None = None,
    parts: Parts = NO_PARTS,
) -> Array:
    """ProxyCLIP's attention, corrected by what it predicts for the phrases of `text` (Q, E).

    sharpness: lambda, 3 in the paper (2.3 for ViT-H, 4.5 with MAE). Gives (B, hE wE, E).
    Raises InputError without external features or text.
    """
    parts = replace(parts, feedback=Feedback(isolate, prune, ensemble, sharpness))
    return proxyclip(ops, features, beta=beta, gamma=gamma, external=external, text=text, parts=parts)


def proxy_attention(
    ops: Any, features: ClipFeatures, patches: Array, external: Array | None, beta: float, gamma: float
) -> tuple[Array, Array]:
    """The external attention (B, 1, M, M) and CLIP's values (B, H, M, d) on the external grid of M = hE wE places."""
    if external is None:
        raise InputError("this method needs another vision model's features: give external (B, c, h', w')")
    external = ops.asarray(external, like=patches)
    if len(external.shape) != 4 or external.shape[0] != patches.shape[0]:
        wanted = f"(B, c, h', w') of {patches.shape[0]} pictures"
        raise InputError(f"external features must be {wanted}, not {tuple(external.shape)}")
    batch, channels, rows, columns = external.shape
    places = ops.swap_last(ops.reshape(external, (batch, channels, rows * columns)))
    _, _, v = qkv(ops, features.weights, patches)
    width = v.shape[1] * v.shape[3]
    fmap = ops.reshape(ops.swap_last(ops.merge_heads(v)), (batch, width, *features.grid))
    resized = ops.reshape(ops.resize_bilinear(fmap, (rows, columns)), (batch, width, rows * columns))
    values = ops.split_heads(ops.swap_last(resized), features.weights.n_heads)
    return contrast_attention(ops, cosine_similarity(ops, places), gamma, beta), values
