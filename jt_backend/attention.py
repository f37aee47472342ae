"""Multi-head attention in Jittor; the contract is `core.attention`."""

from core.arrays import Array
from jt_backend import jt, kernels
from jt_backend.ops import asarray, matmul, swap_last


def split_heads(x: Array, n_heads: int) -> jt.Var:
    x = asarray(x)
    batch, n, width = x.shape
    return x.reshape([batch, n, n_heads, width // n_heads]).permute(0, 2, 1, 3)


def merge_heads(x: Array) -> jt.Var:
    x = asarray(x)
    batch, n_heads, n, width = x.shape
    return x.permute(0, 2, 1, 3).reshape([batch, n, n_heads * width])


def attention_weights(a: Array, b: Array, scale: float, addition: Array | None = None) -> jt.Var:
    a = asarray(a)
    logits = matmul(a * asarray(scale, like=a), swap_last(b))
    if addition is not None:
        logits = logits + asarray(addition, like=logits)
    return kernels.softmax(logits, -1)
