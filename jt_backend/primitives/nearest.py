"""Nearest neighbours in Jittor; the contract is `core.primitives.nearest`."""

from core.primitives.arrays import Array
from core.primitives.chunks import row_blocks
from core.primitives.nearest import BLOCK_ENTRIES, NOISE
from jt_backend import kernels
from jt_backend.jittor import jt
from jt_backend.primitives.ops import asarray, concatenate, inner_products, mean, sum

__all__ = ["nearest_neighbours"]


def nearest_neighbours(x: Array, k: int) -> tuple[jt.Var, jt.Var]:
    x = asarray(x)
    x = x - mean(x, axis=0, keepdims=True)
    squares, noise = sum(x * x, axis=1), NOISE[str(x.dtype)]
    blocks = row_blocks(x.shape[0], x.shape[0], BLOCK_ENTRIES)
    found = [kernels.nearest_of_products(inner_products(x[rows], x), squares, rows.start, k, noise) for rows in blocks]
    distances, indices = (concatenate(parts) for parts in zip(*found, strict=True))
    return distances, indices
