"""What every recipe is built on: the last block's projections, its two ways out, and the step into CLIP's shared space."""

from typing import Any

import numpy as np

from core.arrays import Array
from core.errors import InputError
from core.features import ClipFeatures, HeadWeights
from core.feedback import feed_back
from core.methods.parts import Parts


def qkv(ops: Any, weights: HeadWeights, x: Array) -> tuple[Array, Array, Array]:
    """Queries, keys and values of the last block for tokens x (B, M, D), each (B, H, M, D / H)."""
    x = ops.layer_norm(x, weights["ln_1.weight"], weights["ln_1.bias"], weights.eps)
    projected = ops.linear(x, weights["attn.in_proj_weight"], weights["attn.in_proj_bias"])
    width = x.shape[-1]
    parts = (projected[..., i * width : (i + 1) * width] for i in range(3))
    q, k, v = (ops.split_heads(part, weights.n_heads) for part in parts)
    return q, k, v


def head_scale(features: ClipFeatures) -> float:
    r"""$s = d^{-1/2}$, the scale of the attention logits; d is the width of one head."""
    return (features.hidden[-1].shape[-1] / features.weights.n_heads) ** -0.5


def attend(ops: Any, weights: HeadWeights, attention: Array | None, v: Array) -> Array:
    """out_proj(A v): attention (B, H, M, M), or None for the identity, v (B, H, M, d) -> (B, M, D)."""
    mixed = v if attention is None else ops.matmul(attention, v)
    return ops.linear(ops.merge_heads(mixed), weights["attn.out_proj.weight"], weights["attn.out_proj.bias"])


def attend_with_parts(
    ops: Any, weights: HeadWeights, attention: Array | None, v: Array, parts: Parts, text: Array | None
) -> Array:
    """`attend` over the patches, with feedback after the attention has been corrected by its prediction for `text` (Q, E).

    Raises InputError when there is feedback and no text.
    """
    parts.note(attention=attention)
    if parts.feedback is None:
        return attend(ops, weights, attention, v)
    if text is None:
        raise InputError("fsa feeds the prediction back: it needs the text embeddings")
    phrases = ops.l2_normalise(ops.asarray(text, like=v))

    def class_logits(mixed: Array) -> Array:
        tokens = embed(ops, weights, attend(ops, weights, None, mixed))
        return ops.matmul(ops.l2_normalise(tokens), ops.swap_last(phrases))

    if attention is None:
        attention = ops.asarray(np.eye(v.shape[2])[None, None], like=v)
    if parts.seen is not None:
        parts.note(before_feedback=attend(ops, weights, attention, v))
    return attend(ops, weights, None, feed_back(ops, attention, v, class_logits, parts.feedback, parts.note))


def full_block(ops: Any, weights: HeadWeights, x: Array, attended: Array) -> Array:
    """The block as CLIP has it: x + attended, then + mlp(ln_2(.)). All (B, M, D)."""
    x = x + attended
    y = ops.layer_norm(x, weights["ln_2.weight"], weights["ln_2.bias"], weights.eps)
    activation = ops.quick_gelu if weights.activation == "quick_gelu" else ops.gelu
    y = activation(ops.linear(y, weights["mlp.c_fc.weight"], weights["mlp.c_fc.bias"]))
    return x + ops.linear(y, weights["mlp.c_proj.weight"], weights["mlp.c_proj.bias"])


def embed(ops: Any, weights: HeadWeights, tokens: Array) -> Array:
    """ln_post(tokens) @ proj: (B, M, D) -> (B, M, E), CLIP's shared space."""
    tokens = ops.layer_norm(tokens, weights["ln_post.weight"], weights["ln_post.bias"], weights.eps)
    return ops.matmul(tokens, weights["proj"])


def check_choice(option: str, value: str, offered: tuple[str, ...]) -> None:
    """Raises InputError when an option's value is not one of those offered."""
    if value not in offered:
        raise InputError(f"{option} must be one of {', '.join(offered)}, not {value!r}")
