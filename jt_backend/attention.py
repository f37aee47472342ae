"""Multi-head attention in Jittor; the contract is `core.attention`."""

from core.arrays import Array
from jt_backend import jt, kernels
from jt_backend.ops import asarray


def attention(q: Array, k: Array, v: Array, n_heads: int, scale: float, addition: Array | None = None) -> jt.Var:
    q, k, v = (asarray(x) for x in (q, k, v))
    return kernels.attention(q, k, v, n_heads, scale, None if addition is None else asarray(addition, like=q))


def split_heads(x: Array, n_heads: int) -> jt.Var:
    x = asarray(x)
    batch, n, width = x.shape
    return x.reshape([batch, n, n_heads, width // n_heads]).permute(0, 2, 1, 3)


def merge_heads(x: Array) -> jt.Var:
    x = asarray(x)
    batch, n_heads, n, width = x.shape
    return x.permute(0, 2, 1, 3).reshape([batch, n, n_heads * width])


def attention_weights(a: Array, b: Array, scale: float, addition: Array | None = None) -> jt.Var:
    a, b = asarray(a), asarray(b)
    planes = (x.reshape([-1, *x.shape[-2:]]) for x in (a, b))
    weights = kernels.attention_weights(*planes, scale, None if addition is None else asarray(addition, like=a))
    return weights.reshape([*a.shape[:-1], b.shape[-2]])
