"""Tower layers in Jittor; the contract is `core.primitives.layers`."""

import math

from core.primitives.arrays import Array
from jt_backend import kernels
from jt_backend.jittor import jt
from jt_backend.primitives.ops import asarray

__all__ = ["gelu", "layer_norm", "linear", "quick_gelu"]


def linear(x: Array, weight: Array, bias: Array | None = None) -> jt.Var:
    return kernels.linear(asarray(x), asarray(weight), None if bias is None else asarray(bias))


def layer_norm(x: Array, weight: Array, bias: Array, eps: float = 1e-5) -> jt.Var:
    return kernels.layer_norm(asarray(x), asarray(weight), asarray(bias), eps)


def gelu(x: Array) -> jt.Var:
    x = asarray(x)
    return x * 0.5 * (1 + jt.erf(x * math.sqrt(0.5)))


def quick_gelu(x: Array) -> jt.Var:
    x = asarray(x)
    return x / (1 + jt.exp(x * -1.702))
