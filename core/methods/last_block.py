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
from core.features import ClipFeatures
from core.methods.blocks import (
    Attention,
    TokenAttention,
    attend,
    attend_with_parts,
    attention_weights,
    check_choice,
    embed,
    full_block,
    head_scale,
    projections,
)
from core.methods.parts import NO_PARTS, Parts
from core.methods.repair import last_input

ATTENTION_STRATEGIES = ("naclip", "nonly", "kk", "qq", "csa", "vanilla", "identity")
BLOCKS = ("reduced", "vanilla")


def vanilla(ops: Any, features: ClipFeatures, *, parts: Parts = NO_PARTS) -> Array:
    """CLIP's own last block, read out at the patches."""
    return last_block(ops, features, "vanilla", "vanilla", parts=parts)


def maskclip(ops: Any, features: ClipFeatures, *, text: Array | None = None, parts: Parts = NO_PARTS) -> Array:
    """Each patch keeps its own value: no attention at all."""
    return last_block(ops, features, "identity", "reduced", parts=parts, text=text)


def sclip(ops: Any, features: ClipFeatures, *, text: Array | None = None, parts: Parts = NO_PARTS) -> Array:
    """Correlative self-attention: queries with queries plus keys with keys, the sum of both."""
    return last_block(ops, features, "csa", "vanilla", parts=parts, text=text)


def clearclip(ops: Any, features: ClipFeatures, *, text: Array | None = None, parts: Parts = NO_PARTS) -> Array:
    """Queries with queries, without residual and MLP."""
    return last_block(ops, features, "qq", "reduced", parts=parts, text=text)


def naclip(
    ops: Any,
    features: ClipFeatures,
    *,
    arch: str = "reduced",
    attn_strategy: str = "naclip",
    gaussian_std: float = 5.0,
    text: Array | None = None,
    parts: Parts = NO_PARTS,
) -> Array:
    """Keys with keys plus a Gaussian neighbourhood of `gaussian_std` patches.

    arch: "reduced" or "vanilla". attn_strategy, the paper's: "naclip", "nonly" (the neighbourhood alone), "kk", "csa" (as
    sclip) or "vanilla"; also "qq" and "identity", the other methods' of this family.
    """
    return last_block(ops, features, attn_strategy, arch, gaussian_std, parts, text)


def last_block(
    ops: Any,
    features: ClipFeatures,
    attn_strategy: str,
    arch: str,
    gaussian_std: float = 5.0,
    parts: Parts = NO_PARTS,
    text: Array | None = None,
) -> Array:
    """Patch embeddings (B, N, E) from the last block with another attention, and all or part of the block.

    Feedback works on the attention between patches, without the class token, and on the reduced block.
    Raises InputError for an unknown `attn_strategy` or `arch`.
    """
    check_choice("attn_strategy", attn_strategy, ATTENTION_STRATEGIES)
    check_choice("arch", arch, BLOCKS)
    weights, x = features.weights, last_input(ops, features, parts)
    std = gaussian_std if attn_strategy in ("naclip", "nonly") else parts.neighbourhood
    attention, v = similarity(ops, features, x, attn_strategy, std)
    if parts.feedback is not None:
        patches = between_patches(ops, attention, weights.n_heads)
        return embed(ops, weights, attend_with_parts(ops, weights, patches, v[:, 1:], parts, text))
    if parts.seen is not None and attention is not None:
        parts.note(attention=attention_weights(ops, attention, weights.n_heads)[:, :, 1:, 1:])
    tokens = attend(ops, weights, attention, v)
    if arch == "vanilla":
        tokens = full_block(ops, weights, x, tokens)
    return embed(ops, weights, tokens[:, 1:])


def similarity(
    ops: Any, features: ClipFeatures, x: Array, attn_strategy: str, gaussian_std: float | None
) -> tuple[Attention | None, Array]:
    """The attention over class token and patches, None for the identity, and the values (B, 1 + N, D), of the input x.

    gaussian_std: of the neighbourhood added to the logits, None for none.
    """
    s, omega = head_scale(features), None
    if gaussian_std is not None:
        omega = ops.neighbourhood_addition(*features.grid, gaussian_std, like=x)
    if attn_strategy == "nonly":
        q, k, v = projections(ops, features.weights, x)
        return [(1, neighbourhood_only(ops, q, k, features.weights.n_heads, s, omega))], v
    pairs = {"identity": (), "vanilla": ("qk",), "qq": ("qq",), "kk": ("kk",), "naclip": ("kk",), "csa": ("qq", "kk")}
    names = sorted({*"".join(pairs[attn_strategy]), "v"})
    token = dict(zip(names, projections(ops, features.weights, x, "".join(names)), strict=True))
    terms = [(1, TokenAttention(token[a], token[b], s, omega)) for a, b in pairs[attn_strategy]]
    return terms or None, token["v"]


def neighbourhood_only(ops: Any, q: Array, k: Array, n_heads: int, s: float, omega: Array) -> Array:
    r"""softmax($\omega\, s\, c$), (B, 1, M, M), with c the mean of $|q_p| |k_P|$ over heads and all pairs p, P of one image.

    The scale alone says how sharp the neighbourhood is; what the tokens hold does not enter otherwise.
    """
    q_length, k_length = (ops.mean(ops.norm(ops.split_heads(x, n_heads), axis=-1), axis=-1) for x in (q, k))
    c = ops.mean(q_length * k_length, axis=-1)
    sharpness = c[:, None, None, None] * ops.asarray(s, like=c)
    return ops.softmax(omega[None, None] * sharpness, axis=-1)


def between_patches(ops: Any, attention: Attention | None, n_heads: int) -> Attention | None:
    """The attention without the class token's row and column, its rows summing to 1 again; the identity as it is."""
    if attention is None:
        return None
    weights = attention_weights(ops, attention, n_heads)[:, :, 1:, 1:]
    return [(1, weights / ops.sum(weights, axis=-1, keepdims=True))]
