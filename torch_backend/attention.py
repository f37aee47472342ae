"""Multi-head attention in PyTorch; the contract is `core.attention`."""

import torch
from torch.nn import functional

from core.arrays import Array
from torch_backend.ops import asarray


def attention(
    q: Array, k: Array, v: Array, n_heads: int, scale: float, addition: Array | None = None
) -> torch.Tensor:
    """By PyTorch's own, which never builds the weights."""
    q, k, v = (split_heads(x, n_heads) for x in (q, k, v))
    addition = None if addition is None else asarray(addition, like=q)
    return merge_heads(functional.scaled_dot_product_attention(q, k, v, attn_mask=addition, scale=scale))


def split_heads(x: Array, n_heads: int) -> torch.Tensor:
    x = asarray(x)
    return x.unflatten(-1, (n_heads, x.shape[-1] // n_heads)).transpose(1, 2)


def merge_heads(x: Array) -> torch.Tensor:
    return asarray(x).transpose(1, 2).flatten(2)


def attention_weights(a: Array, b: Array, scale: float, addition: Array | None = None) -> torch.Tensor:
    a = asarray(a)
    logits = (a * scale) @ asarray(b).transpose(-1, -2)
    if addition is not None:
        logits += asarray(addition, like=logits)
    return torch.softmax(logits, dim=-1)
