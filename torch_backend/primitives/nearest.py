"""Nearest neighbours in PyTorch; the contract is `core.primitives.nearest`."""

import torch

from core.primitives.arrays import Array
from core.primitives.chunks import row_blocks
from core.primitives.nearest import BLOCK_ENTRIES, NOISE
from torch_backend.primitives.ops import asarray, k_smallest

__all__ = ["nearest_neighbours"]


def nearest_neighbours(x: Array, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    x = asarray(x)
    x = x - x.mean(dim=0)
    squares = x.square().sum(dim=1)
    noise = NOISE[str(x.dtype).removeprefix("torch.")]
    distances, indices = [], []
    for rows in row_blocks(len(x), len(x), BLOCK_ENTRIES):
        order = torch.addmm(squares, x[rows], x.T, alpha=-2)
        order.diagonal(rows.start).fill_(torch.inf)
        nearest, index = k_smallest(order, k)
        nearest = nearest + squares[rows, None]
        distances.append(torch.where(nearest > noise * (squares[rows, None] + squares[index]), nearest, 0))
        indices.append(index)
    return torch.cat(distances), torch.cat(indices)
