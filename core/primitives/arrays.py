"""What the three backends have in common: any framework's array as a NumPy array, and the names of dtypes."""

from typing import Any

import numpy as np

__all__ = ["to_numpy"]

Array = Any  # np.ndarray, torch.Tensor or jittor.Var


def to_numpy(ops: Any, x: Array) -> np.ndarray:
    """`x` as a NumPy array, whichever of the three frameworks it is of (no copy where the framework shares its memory)."""
    return as_numpy(x)


def as_numpy(x: Array) -> np.ndarray:
    """The NumPy form of a NumPy, PyTorch or Jittor array (no copy where the framework shares its memory)."""
    if isinstance(x, np.ndarray):
        return x
    if hasattr(x, "detach") and hasattr(x, "cpu"):
        return x.detach().cpu().numpy()
    if hasattr(x, "numpy"):
        return x.numpy()
    return np.asarray(x)


def dtype_name(x: Array) -> str:
    """The name of an array's dtype, such as "float32", of any framework."""
    return str(x.dtype).removeprefix("torch.")
