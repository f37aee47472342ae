"""Array verbs in PyTorch; the contract is `core.primitives.ops`."""

from collections.abc import Sequence
from contextlib import AbstractContextManager

import numpy as np
import torch

from core.primitives.arrays import Array, as_numpy
from core.primitives.ops import EPS
from torch_backend import undisturbed as set_aside
from torch_backend.device import choose_device

__all__ = [
    "absolute", "argmax", "asarray", "concatenate", "exp", "inner_products", "k_smallest", "l2_normalise", "log",
    "matmul", "max", "maximum", "mean", "minimum", "norm", "quantile", "reshape", "select_device", "softmax",
    "softmax_at_least", "sqrt", "stack", "sum", "swap_last", "transpose", "undisturbed", "where",
]  # fmt: skip


def asarray(x: Array, like: Array | None = None) -> torch.Tensor:
    """A tensor stays where it is; NumPy arrays are shared, read-only ones copied."""
    if not isinstance(x, torch.Tensor):
        x = as_numpy(x)
        x = torch.from_numpy(x if x.flags.writeable and _positive_strides(x) else x.copy())
    if like is None:
        return x
    like = asarray(like)
    return x.to(device=like.device, dtype=like.dtype)


def _positive_strides(x: np.ndarray) -> bool:
    return all(stride >= 0 for stride in x.strides)


def concatenate(arrays: Sequence[Array], axis: int = 0) -> torch.Tensor:
    return torch.cat([asarray(x) for x in arrays], dim=axis)


def stack(arrays: Sequence[Array], axis: int = 0) -> torch.Tensor:
    return torch.stack([asarray(x) for x in arrays], dim=axis)


def reshape(x: Array, shape: Sequence[int]) -> torch.Tensor:
    return asarray(x).reshape(tuple(shape))


def transpose(x: Array, axes: Sequence[int]) -> torch.Tensor:
    return asarray(x).permute(tuple(axes))


def swap_last(x: Array) -> torch.Tensor:
    return asarray(x).transpose(-1, -2)


def matmul(a: Array, b: Array) -> torch.Tensor:
    return torch.matmul(asarray(a), asarray(b))


def inner_products(a: Array, b: Array) -> torch.Tensor:
    return torch.matmul(asarray(a), swap_last(b))


def exp(x: Array) -> torch.Tensor:
    return torch.exp(asarray(x))


def log(x: Array) -> torch.Tensor:
    return torch.log(asarray(x))


def sqrt(x: Array) -> torch.Tensor:
    return torch.sqrt(asarray(x))


def absolute(x: Array) -> torch.Tensor:
    return torch.abs(asarray(x))


def maximum(a: Array, b: Array | float) -> torch.Tensor:
    a = asarray(a)
    return a.clamp(min=b) if isinstance(b, int | float) else torch.maximum(a, asarray(b))


def minimum(a: Array, b: Array | float) -> torch.Tensor:
    a = asarray(a)
    return a.clamp(max=b) if isinstance(b, int | float) else torch.minimum(a, asarray(b))


def where(condition: Array, a: Array, b: Array | float) -> torch.Tensor:
    a = asarray(a)
    return torch.where(asarray(condition), a, b if isinstance(b, int | float) else asarray(b, like=a))


def sum(x: Array, axis: int | tuple[int, ...], keepdims: bool = False) -> torch.Tensor:
    return torch.sum(asarray(x), dim=axis, keepdim=keepdims)


def mean(x: Array, axis: int | tuple[int, ...], keepdims: bool = False) -> torch.Tensor:
    return torch.mean(asarray(x), dim=axis, keepdim=keepdims)


def max(x: Array, axis: int, keepdims: bool = False) -> torch.Tensor:
    return torch.amax(asarray(x), dim=axis, keepdim=keepdims)


def argmax(x: Array, axis: int) -> torch.Tensor:
    """By `max`, which gives the first of equals too and on the CPU is four times faster than `argmax`."""
    return torch.max(asarray(x), dim=axis).indices


def softmax(x: Array, axis: int = -1) -> torch.Tensor:
    return torch.softmax(asarray(x), dim=axis)


def softmax_at_least(x: Array, least: Array, scale: float = 1.0) -> torch.Tensor:
    x = asarray(x)
    return torch.softmax((x * scale).masked_fill_(x < asarray(least), -torch.inf), dim=-1)


def norm(x: Array, axis: int = -1, keepdims: bool = False) -> torch.Tensor:
    return torch.linalg.vector_norm(asarray(x), dim=axis, keepdim=keepdims)


def l2_normalise(x: Array, axis: int = -1) -> torch.Tensor:
    return torch.nn.functional.normalize(asarray(x), dim=axis, eps=EPS)


def quantile(x: Array, q: float) -> torch.Tensor:
    return torch.quantile(asarray(x), q, dim=-1)


def k_smallest(x: Array, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(torch.topk(asarray(x), k, dim=-1, largest=False))


def select_device(device: str | None = None) -> None:
    """Only checks: a tensor's operations run where it lies."""
    choose_device(device)


def undisturbed() -> AbstractContextManager:
    """Autocast, grad mode, inference mode, the default dtype and the default device are set aside."""
    return set_aside.undisturbed()
