"""What the three backends have in common: any framework's array as a NumPy array."""

from typing import Any

import numpy as np

Array = Any  # np.ndarray, torch.Tensor or jittor.Var


def as_numpy(x: Array) -> np.ndarray:
    """The NumPy form of a NumPy, PyTorch or Jittor array (no copy where the framework shares its memory)."""
    if isinstance(x, np.ndarray):
        return x
    if hasattr(x, "detach") and hasattr(x, "cpu"):
        return x.detach().cpu().numpy()
    if hasattr(x, "numpy"):
        return x.numpy()
    return np.asarray(x)
