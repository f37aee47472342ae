"""Multi-head attention, whole and in its parts: split into heads, weigh, merge.

Vaswani et al., "Attention Is All You Need", 2017, section 3.2.
"""

from typing import Any

import numpy as np

from core.primitives.arrays import Array
from core.primitives.ops import asarray, inner_products, softmax

__all__ = ["attention", "attention_weights", "merge_heads", "split_heads"]


def attention(q: Array, k: Array, v: Array, n_heads: int, scale: float, addition: Array | None = None) -> Array:
    """The values of each head, weighed by `attention_weights`: q (B, N, D), k and v (B, M, D) -> (B, N, D)."""
    batch, n, width = q.shape
    q, k, v = (asarray(x).reshape(batch, -1, n_heads, width // n_heads).transpose(0, 2, 1, 3) for x in (q, k, v))
    mixed = np.matmul(attention_weights(q, k, scale, addition), v)
    return mixed.transpose(0, 2, 1, 3).reshape(batch, n, width)


def attention_weights(a: Array, b: Array, scale: float, addition: Array | None = None) -> Array:
    r"""$\mathrm{softmax}_{keys}(s\, a b^\top + \omega)$: a (B, H, N, d), b (B, H, M, d) -> (B, H, N, M), rows summing to 1.

    `addition` $\omega$ (N, M), the same for all images and heads, is added to the scaled logits.
    """
    logits = inner_products(a, b) * scale
    if addition is not None:
        logits = logits + asarray(addition, like=logits)
    return softmax(logits, axis=-1)


def split_heads(ops: Any, x: Array, n_heads: int) -> Array:
    """(B, N, D) -> (B, H, N, D / H)."""
    batch, n, width = x.shape
    return ops.transpose(ops.reshape(x, (batch, n, n_heads, width // n_heads)), (0, 2, 1, 3))


def merge_heads(ops: Any, x: Array) -> Array:
    """(B, H, N, d) -> (B, N, H d)."""
    batch, n_heads, n, width = x.shape
    return ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (batch, n, n_heads * width))
