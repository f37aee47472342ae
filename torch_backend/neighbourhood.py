"""Gaussian neighbourhoods in PyTorch: computed once by `core.neighbourhood`, then converted."""

from functools import lru_cache

import torch

from core import neighbourhood
from core.arrays import Array
from torch_backend.ops import asarray


def gaussian_window(h: int, w: int, std: float, dtype: str = "float32") -> torch.Tensor:
    return asarray(neighbourhood.gaussian_window(h, w, std, dtype))


def neighbourhood_addition(
    h: int, w: int, std: float, class_token: bool = True, dtype: str = "float32", like: Array | None = None
) -> torch.Tensor:
    compute = _addition if h * w <= neighbourhood.CACHED_PATCHES else _addition.__wrapped__
    if like is None:
        return compute(h, w, std, class_token, dtype, torch.device("cpu"))
    return compute(h, w, std, class_token, str(like.dtype).removeprefix("torch."), like.device)


@lru_cache(maxsize=2)
def _addition(h: int, w: int, std: float, class_token: bool, dtype: str, device: torch.device) -> torch.Tensor:
    return asarray(neighbourhood.neighbourhood_addition(h, w, std, class_token, dtype)).to(device)
