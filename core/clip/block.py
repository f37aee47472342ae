"""The last block of a CLIP image tower, opened up: its projections, its own way out, and the step into shared space."""

from typing import Any

from core.clip.features import ClipFeatures, HeadWeights
from core.primitives.arrays import Array


def projections(ops: Any, weights: HeadWeights, x: Array, which: str = "qkv") -> list[Array]:
    """Those of the last block's queries, keys and values that are asked for, of tokens x (B, M, D), each (B, M, D)."""
    x = ops.layer_norm(x, weights["ln_1.weight"], weights["ln_1.bias"], weights.eps)
    return [ops.linear(x, *weights.projection(name)) for name in which]


def head_scale(features: ClipFeatures) -> float:
    r"""$s = d^{-1/2}$, the scale of the attention logits; d is the width of one head."""
    return (features.hidden[-1].shape[-1] / features.weights.n_heads) ** -0.5


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


def embed_on_grid(ops: Any, weights: HeadWeights, tokens: Array, grid: tuple[int, int]) -> Array:
    """`embed` of the tokens of a grid's places, row by row: (B, h w, D) -> (B, h, w, E)."""
    embeddings = embed(ops, weights, tokens)
    return ops.reshape(embeddings, (embeddings.shape[0], *grid, embeddings.shape[-1]))
