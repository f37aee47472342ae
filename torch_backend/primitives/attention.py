"""Multi-head attention in PyTorch; the contract is `core.primitives.attention`."""

import torch
from torch.nn import functional

from core.primitives.arrays import Array
from torch_backend.primitives.ops import asarray

__all__ = ["attention", "attention_weights"]


def attention(
    q: Array, k: Array, v: Array, n_heads: int, scale: float, addition: Array | None = None
) -> torch.Tensor:
    """By PyTorch's own, which never builds the weights."""
    q, k, v = (asarray(x).unflatten(-1, (n_heads, -1)).transpose(1, 2) for x in (q, k, v))
    addition = None if addition is None else asarray(addition, like=q)
    mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=addition, scale=scale)
    return mixed.transpose(1, 2).flatten(2)


def attention_weights(a: Array, b: Array, scale: float, addition: Array | None = None) -> torch.Tensor:
    a = asarray(a)
    logits = (a * scale) @ asarray(b).transpose(-1, -2)
    if addition is not None:
        logits += asarray(addition, like=logits)
    return torch.softmax(logits, dim=-1)
