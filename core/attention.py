"""Multi-head attention, whole and in its parts: split into heads, weigh, merge.

Vaswani et al., "Attention Is All You Need", 2017, section 3.2.
"""

from core import ops
from core.arrays import Array


def attention(q: Array, k: Array, v: Array, n_heads: int, scale: float, addition: Array | None = None) -> Array:
    """The values of each head, weighed by `attention_weights`: q (B, N, D), k and v (B, M, D) -> (B, N, D)."""
    q, k, v = (split_heads(x, n_heads) for x in (q, k, v))
    return merge_heads(ops.matmul(attention_weights(q, k, scale, addition), v))


def split_heads(x: Array, n_heads: int) -> Array:
    """(B, N, D) -> (B, H, N, D / H)."""
    x = ops.asarray(x)
    batch, n, width = x.shape
    return ops.transpose(ops.reshape(x, (batch, n, n_heads, width // n_heads)), (0, 2, 1, 3))


def merge_heads(x: Array) -> Array:
    """(B, H, N, d) -> (B, N, H d)."""
    x = ops.asarray(x)
    batch, n_heads, n, width = x.shape
    return ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (batch, n, n_heads * width))


def attention_weights(a: Array, b: Array, scale: float, addition: Array | None = None) -> Array:
    r"""$\mathrm{softmax}_{keys}(s\, a b^\top + \omega)$: a (B, H, N, d), b (B, H, M, d) -> (B, H, N, M), rows summing to 1.

    `addition` $\omega$ (N, M), the same for all images and heads, is added to the scaled logits.
    """
    logits = ops.inner_products(a, b) * scale
    if addition is not None:
        logits = logits + ops.asarray(addition, like=logits)
    return ops.softmax(logits, axis=-1)
