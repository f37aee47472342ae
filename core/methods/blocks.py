"""What every recipe is built on: the last block's projections, its two ways out, and the step into CLIP's shared space."""

from typing import Any

from core.arrays import Array
from core.features import ClipFeatures, HeadWeights


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
