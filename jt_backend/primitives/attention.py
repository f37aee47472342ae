"""Multi-head attention in Jittor; the contract is `core.primitives.attention`."""

from core.primitives.arrays import Array
from jt_backend import kernels
from jt_backend.jittor import jt
from jt_backend.primitives.ops import asarray

__all__ = ["attention", "attention_weights"]


def attention(q: Array, k: Array, v: Array, n_heads: int, scale: float, addition: Array | None = None) -> jt.Var:
    q, k, v = (asarray(x) for x in (q, k, v))
    return kernels.attention(q, k, v, n_heads, scale, None if addition is None else asarray(addition, like=q))


def attention_weights(a: Array, b: Array, scale: float, addition: Array | None = None) -> jt.Var:
    a, b = asarray(a), asarray(b)
    planes = (x.reshape([-1, *x.shape[-2:]]) for x in (a, b))
    weights = kernels.attention_weights(*planes, scale, None if addition is None else asarray(addition, like=a))
    return weights.reshape([*a.shape[:-1], b.shape[-2]])
