"""Tower layers in PyTorch; the contract is `core.primitives.layers`."""

import torch
from torch.nn import functional

from core.primitives.arrays import Array
from torch_backend.primitives.ops import asarray

__all__ = ["gelu", "layer_norm", "linear", "quick_gelu"]


def linear(x: Array, weight: Array, bias: Array | None = None) -> torch.Tensor:
    return functional.linear(asarray(x), asarray(weight), None if bias is None else asarray(bias))


def layer_norm(x: Array, weight: Array, bias: Array, eps: float = 1e-5) -> torch.Tensor:
    x, weight = asarray(x), asarray(weight)
    return functional.layer_norm(x, weight.shape, weight, asarray(bias), eps)


def gelu(x: Array) -> torch.Tensor:
    return functional.gelu(asarray(x))


def quick_gelu(x: Array) -> torch.Tensor:
    x = asarray(x)
    return x * torch.sigmoid(1.702 * x)
