"""PAMR, LOF and the KL matrix as they are written in a textbook, in PyTorch: every intermediate of the equation is built.

What the primitives are measured against, and a third witness of what they compute. The equations are in `core.primitives.pamr`,
`core.primitives.outlier_factor` and `core.methods.feedback`.
"""

from collections.abc import Sequence

import torch
from torch.nn import functional


def pamr(image: torch.Tensor, mask: torch.Tensor, num_iter: int = 10, dilations: Sequence[int] = (8, 16)) -> torch.Tensor:
    """Refines mask (B, C, h, w) along the edges of image (B, K, H, W): padded, dilated convolutions with one-hot kernels."""
    affinity = pamr_affinity(image, dilations)
    mask = functional.interpolate(mask, image.shape[-2:], mode="bilinear", align_corners=True)
    for _ in range(num_iter):
        mask = (neighbours(mask, dilations) * affinity[:, None]).sum(dim=2)
    return mask


def pamr_affinity(image: torch.Tensor, dilations: Sequence[int]) -> torch.Tensor:
    """Softmax over the neighbours of -|x - x_n| / (1e-8 + 0.1 std), the mean over channels: (B, 8 |dilations|, H, W)."""
    around = neighbours(image, dilations)
    centres = image[:, :, None].expand(-1, -1, len(dilations), -1, -1)
    std = torch.cat([around, centres], dim=2).std(dim=2, keepdim=True)
    logits = -(image[:, :, None] - around).abs() / (1e-8 + 0.1 * std)
    return torch.softmax(logits.mean(dim=1), dim=1)


def neighbours(x: torch.Tensor, dilations: Sequence[int]) -> torch.Tensor:
    """All neighbours of all pixels of all channels, (B, C, 8 |dilations|, H, W); outside, the edge is repeated."""
    batch, channels, height, width = x.shape
    kernels = torch.eye(9, dtype=x.dtype, device=x.device).reshape(9, 1, 3, 3)
    kernels = kernels[[place for place in range(9) if place != 4]]
    planes = x.reshape(batch * channels, 1, height, width)
    around = [
        functional.conv2d(functional.pad(planes, (d, d, d, d), mode="replicate"), kernels, dilation=d) for d in dilations
    ]
    return torch.cat(around, dim=1).reshape(batch, channels, 8 * len(dilations), height, width)


def local_outlier_factor(x: torch.Tensor, n_neighbors: int = 30) -> torch.Tensor:
    """SC-CLIP's scores (N,) of points x (N, D), from the differences of all pairs, (N, N, D)."""
    differences = x[:, None] - x[None]
    distances = differences.square_().sum(dim=-1)
    distances.fill_diagonal_(torch.inf)
    nearest, index = distances.topk(min(n_neighbors, len(x) - 1), largest=False)
    reach = torch.maximum(nearest, nearest[:, -1:]).mean(dim=1)
    density = 1 / reach
    return density[index].mean(dim=1) / density


def lof_bytes(n_tokens: int, width: int) -> int:
    """The memory that the differences of all pairs take, in float32."""
    return 4 * n_tokens * n_tokens * width


def kl_divergence(p: torch.Tensor) -> torch.Tensor:
    """KL (N, N) of every row of p (N, C) with every row, from the terms of all pairs and classes, (N, N, C)."""
    log = torch.log(p + 1e-10)
    terms = (log[:, None] - log[None]).mul_(p[:, None])
    return terms.sum(dim=-1).clamp(min=0)
