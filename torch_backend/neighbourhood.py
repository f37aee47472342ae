"""Gaussian neighbourhoods in PyTorch: computed once by `core.neighbourhood`, then converted."""

import torch

from core import neighbourhood
from torch_backend.ops import asarray


def gaussian_window(h: int, w: int, std: float, dtype: str = "float32") -> torch.Tensor:
    return asarray(neighbourhood.gaussian_window(h, w, std, dtype))


def neighbourhood_addition(h: int, w: int, std: float, class_token: bool = True, dtype: str = "float32") -> torch.Tensor:
    return asarray(neighbourhood.neighbourhood_addition(h, w, std, class_token, dtype))
