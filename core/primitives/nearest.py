"""The nearest other points of each point, by Euclidean distance."""

import numpy as np

from core.primitives.arrays import Array
from core.primitives.chunks import row_blocks
from core.primitives.ops import asarray, k_smallest

__all__ = ["nearest_neighbours"]

BLOCK_ENTRIES = 1 << 21  # distances held at once: 8 MB in float32
NOISE = {name: 8 * float(np.finfo(name).eps) for name in ("float32", "float64")}  # a squared distance, in squared lengths


def nearest_neighbours(x: Array, k: int) -> tuple[Array, Array]:
    r"""Squared distances (N, k) to the k nearest other points of x (N, D), ascending, and their indices; k < N.

    $d_{ij} = |x_i|^2 - 2 x_i \cdot x_j + |x_j|^2$ around the points' mean, a block of rows at a time, so that nothing of
    size N x N x D is built. What rounding leaves between identical points, below $8 \epsilon (|x_i|^2 + |x_j|^2)$, is 0.
    """
    x = asarray(x)
    x = x - x.mean(axis=0)  # nearer the origin, less is lost to cancellation
    squares = np.sum(np.square(x), axis=1)
    noise = NOISE[x.dtype.name]
    distances, indices = [], []
    for rows in row_blocks(len(x), len(x), BLOCK_ENTRIES):
        order = squares - 2 * (x[rows] @ x.T)  # of the distances, but for |x_i|^2
        order[np.arange(len(order)), np.arange(rows.start, rows.stop)] = np.inf
        nearest, index = k_smallest(order, k)
        nearest = nearest + squares[rows, None]
        distances.append(np.where(nearest > noise * (squares[rows, None] + squares[index]), nearest, 0))
        indices.append(index)
    return np.concatenate(distances), np.concatenate(indices)
