"""The methods that change the last block alone: which tokens look alike, and what of the block is kept.

| method    | attention A per head               | block   | source                                            |
|-----------|------------------------------------|---------|---------------------------------------------------|
| vanilla   | softmax(q k' s)                    | vanilla | Radford et al., CLIP, ICML 2021                   |
| maskclip  | identity                           | reduced | Zhou, Loy and Dai, MaskCLIP, ECCV 2022            |
| sclip     | softmax(q q' s) + softmax(k k' s)  | vanilla | Wang, Mei and Yuille, SCLIP, ECCV 2024            |
| clearclip | softmax(q q' s)                    | reduced | Lan et al., ClearCLIP, ECCV 2024                  |
| naclip    | softmax(k k' s + omega)            | reduced | Hajimiri, Ben Ayed and Dolz, NACLIP, WACV 2025    |

Every recipe takes `ops`, a backend's primitives, and `ClipFeatures` of that backend's arrays, and gives (B, N, E).
"""

from typing import Any

from core.arrays import Array
from core.errors import InputError
from core.features import ClipFeatures
from core.methods.blocks import attend, embed, full_block, head_scale, qkv

ATTENTION_STRATEGIES = ("naclip", "nonly", "kk", "qq", "csa", "vanilla", "identity")
BLOCKS = ("reduced", "vanilla")


def vanilla(ops: Any, features: ClipFeatures) -> Array:
    """CLIP's own last block, read out at the patches."""
    return last_block(ops, features, "vanilla", arch="vanilla")


def maskclip(ops: Any, features: ClipFeatures) -> Array:
    """Each patch keeps its own value: no attention at all."""
    return last_block(ops, features, "identity", arch="reduced")


def sclip(ops: Any, features: ClipFeatures) -> Array:
    """Correlative self-attention: queries with queries plus keys with keys, the sum of both."""
    return last_block(ops, features, "csa", arch="vanilla")


def clearclip(ops: Any, features: ClipFeatures) -> Array:
    """Queries with queries, without residual and MLP."""
    return last_block(ops, features, "qq", arch="reduced")


def naclip(
    ops: Any, features: ClipFeatures, *, arch: str = "reduced", attn_strategy: str = "naclip", gaussian_std: float = 5.0
) -> Array:
    """Keys with keys plus a Gaussian neighbourhood of `gaussian_std` patches.

    arch: "reduced" or "vanilla". attn_strategy, the paper's: "naclip", "nonly" (the neighbourhood alone), "kk", "csa" (as
    sclip) or "vanilla"; also "qq" and "identity", the other methods' of this family.
    """
    return last_block(ops, features, attn_strategy, arch, gaussian_std)


def last_block(ops: Any, features: ClipFeatures, attn_strategy: str, arch: str, gaussian_std: float = 5.0) -> Array:
    """Patch embeddings (B, N, E) from the last block with another attention, and all or part of the block.

    Raises InputError for an unknown `attn_strategy` or `arch`.
    """
    _check("attn_strategy", attn_strategy, ATTENTION_STRATEGIES)
    _check("arch", arch, BLOCKS)
    weights, x = features.weights, features.hidden[-1]
    q, k, v = qkv(ops, weights, x)
    attention = similarity(ops, features, attn_strategy, q, k, gaussian_std)
    tokens = attend(ops, weights, attention, v)
    if arch == "vanilla":
        tokens = full_block(ops, weights, x, tokens)
    return embed(ops, weights, tokens[:, 1:])


def similarity(
    ops: Any, features: ClipFeatures, attn_strategy: str, q: Array, k: Array, gaussian_std: float
) -> Array | None:
    """Attention weights over class token and patches, (B, H or 1, 1 + N, 1 + N); None stands for the identity."""
    s = head_scale(features)
    if attn_strategy == "identity":
        return None
    if attn_strategy == "vanilla":
        return ops.attention_weights(q, k, s)
    if attn_strategy == "qq":
        return ops.attention_weights(q, q, s)
    if attn_strategy == "kk":
        return ops.attention_weights(k, k, s)
    if attn_strategy == "csa":
        return ops.attention_weights(q, q, s) + ops.attention_weights(k, k, s)
    omega = ops.asarray(ops.neighbourhood_addition(*features.grid, gaussian_std, dtype="float64"), like=k)
    if attn_strategy == "naclip":
        return ops.attention_weights(k, k, s, addition=omega)
    return neighbourhood_only(ops, q, k, s, omega)


def neighbourhood_only(ops: Any, q: Array, k: Array, s: float, omega: Array) -> Array:
    r"""softmax($\omega\, s\, c$), (B, 1, M, M), with c the mean of $|q_p| |k_P|$ over heads and all pairs p, P of one image.

    The scale alone says how sharp the neighbourhood is; what the tokens hold does not enter otherwise.
    """
    q_length = ops.mean(ops.norm(q, axis=-1), axis=-1)
    k_length = ops.mean(ops.norm(k, axis=-1), axis=-1)
    c = ops.mean(q_length * k_length, axis=-1)
    sharpness = c[:, None, None, None] * ops.asarray(s, like=c)
    return ops.softmax(omega[None, None] * sharpness, axis=-1)


def _check(option: str, value: str, offered: tuple[str, ...]) -> None:
    if value not in offered:
        raise InputError(f"{option} must be one of {', '.join(offered)}, not {value!r}")
