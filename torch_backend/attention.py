"""Multi-head attention in PyTorch; the contract is `core.attention`."""

import torch

from core.arrays import Array
from torch_backend.ops import asarray


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
